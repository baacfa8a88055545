//! How long loops would take on more threads than there are here: their tasks, as long as they were seen to be, are
//! handed out as `resnest-kernels`' pool hands them out.
//!
//! Not in it: what threads do to each other through memory, shared caches and lower clocks. All times in milliseconds.

/// A stretch of a forward.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// What the caller does alone.
    Serial(f64),
    /// A parallel loop: its tasks by their numbers, and how many threads it engages at most.
    Loop { tasks: Vec<f64>, most: usize },
}

impl Part {
    /// What the caller does alone.
    pub fn serial(&self) -> Option<f64> {
        match self {
            Part::Serial(ms) => Some(*ms),
            Part::Loop { .. } => None,
        }
    }

    /// The tasks of a loop; else none.
    pub fn tasks(&self) -> &[f64] {
        match self {
            Part::Serial(_) => &[],
            Part::Loop { tasks, .. } => tasks,
        }
    }
}

/// What the pool itself takes.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// From a loop's beginning to the first task of a helper that is awake.
    pub join: f64,
    /// So much later than the helper before it each further one begins: they take turns at a lock.
    pub turn: f64,
    /// From the end of the last task until the caller goes on.
    pub leave: f64,
    /// So long an idle helper stays awake.
    pub awake: f64,
    /// What it takes the caller to wake one, and that one to be there.
    pub wake: f64,
    pub woken: f64,
}

/// A caller and its helpers.
pub struct Pool {
    costs: Costs,
    now: f64,
    /// When each helper last had something to do or saw a loop begin.
    seen: Vec<f64>,
}

/// A thread of a loop: when it is free, and whether it takes tasks from the first on.
struct Worker {
    free: f64,
    first: bool,
}

impl Pool {
    /// So many threads, the caller included; all awake.
    pub fn new(threads: usize, costs: Costs) -> Self {
        Self {
            costs,
            now: 0.0,
            seen: vec![0.0; threads.saturating_sub(1)],
        }
    }

    /// How long the parts take, one after the other.
    pub fn run(&mut self, parts: &[Part]) -> f64 {
        let begin = self.now;
        for part in parts {
            match part {
                Part::Serial(ms) => self.now += ms,
                Part::Loop { tasks, most } => self.share(tasks, *most),
            }
        }
        self.now - begin
    }

    fn share(&mut self, tasks: &[f64], most: usize) {
        let helpers = most.min(tasks.len()).saturating_sub(1);
        let helpers = helpers.min(self.seen.len());
        if helpers == 0 {
            self.now += tasks.iter().sum::<f64>();
            return;
        }
        let mut workers = self.gather(helpers);
        let (mut first, mut last) = (0, tasks.len());
        while first < last {
            // The caller before helpers that are free at the same time, helpers by their numbers.
            let next = workers
                .iter_mut()
                .min_by(|a, b| a.free.total_cmp(&b.free))
                .expect("the caller is one");
            let task = match next.first {
                true => {
                    first += 1;
                    first - 1
                }
                false => {
                    last -= 1;
                    last
                }
            };
            next.free += tasks[task];
            self.now = self.now.max(next.free);
        }
        for (seen, worker) in self.seen.iter_mut().zip(&workers[1..]) {
            // One that came too late saw the loop all the same.
            *seen = worker.free.min(self.now);
        }
        self.now += self.costs.leave;
    }

    /// The caller and the first helpers, each free when it can begin.
    fn gather(&mut self, helpers: usize) -> Vec<Worker> {
        let Costs {
            join,
            turn,
            awake,
            wake,
            woken,
            ..
        } = self.costs;
        let begin = self.now;
        let sleeps = |seen: f64| begin - seen > awake;
        let (mut calls, mut turns) = (0.0, 0.0);
        let mut workers = vec![Worker {
            free: begin,
            first: true,
        }];
        for (index, seen) in self.seen.iter_mut().enumerate() {
            let free = if index >= helpers {
                // Not wanted; awake, it looks, and waits anew.
                if !sleeps(*seen) {
                    *seen = begin;
                }
                continue;
            } else if sleeps(*seen) {
                calls += 1.0;
                begin + calls * wake + woken
            } else {
                turns += 1.0;
                begin + join + (turns - 1.0) * turn
            };
            workers.push(Worker {
                free,
                first: index % 2 == 1,
            });
        }
        workers[0].free = begin + calls * wake;
        workers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Costs = Costs {
        join: 0.0,
        turn: 0.0,
        leave: 0.0,
        awake: f64::INFINITY,
        wake: 0.0,
        woken: 0.0,
    };

    fn run(threads: usize, costs: Costs, parts: &[Part]) -> f64 {
        Pool::new(threads, costs).run(parts)
    }

    fn tasks(tasks: &[f64]) -> Part {
        Part::Loop {
            tasks: tasks.to_vec(),
            most: usize::MAX,
        }
    }

    #[test]
    fn one_thread_does_all_in_turn() {
        let parts = [Part::Serial(2.0), tasks(&[1.0, 3.0, 4.0])];
        let dear = Costs {
            join: 9.0,
            leave: 9.0,
            ..FREE
        };
        assert_eq!(run(1, dear, &parts), 10.0);
    }

    #[test]
    fn equal_tasks_are_shared_evenly_and_what_is_serial_stays() {
        let parts = [Part::Serial(2.0), tasks(&[1.0; 8]), Part::Serial(1.0)];
        let times = [1, 2, 4, 8, 16].map(|threads| run(threads, FREE, &parts));
        assert_eq!(times, [11.0, 7.0, 5.0, 4.0, 4.0]);
    }

    #[test]
    fn a_barrier_ends_each_loop() {
        // Nine equal tasks on two threads take five; the second loop does not begin before.
        let parts = [tasks(&[1.0; 9]), tasks(&[1.0; 9])];
        assert_eq!(run(2, FREE, &parts), 10.0);
    }

    #[test]
    fn the_caller_takes_the_first_tasks_and_the_first_helper_the_last() {
        // Caller: 0, 1, 2 (till 3). Helper: 4 (till 5), where the caller takes 3 at 3, and ends at 7.
        assert_eq!(run(2, FREE, &[tasks(&[1.0, 1.0, 1.0, 4.0, 5.0])]), 7.0);
        // From the first on alone, the long one would have come last, at 2, and ended at 7 too; from the last on at 5.
        assert_eq!(run(2, FREE, &[tasks(&[1.0, 1.0, 1.0, 1.0, 5.0])]), 5.0);
        // The second helper takes from the first on: caller 0, it 1, the first 3; then the caller 2, at 1.
        assert_eq!(run(3, FREE, &[tasks(&[1.0, 2.0, 6.0, 3.0])]), 7.0);
    }

    #[test]
    fn no_more_threads_are_engaged_than_the_loop_wants() {
        let part = Part::Loop {
            tasks: vec![1.0; 8],
            most: 2,
        };
        assert_eq!(run(16, FREE, std::slice::from_ref(&part)), 4.0);
    }

    #[test]
    fn helpers_join_one_after_the_other() {
        let costs = Costs {
            join: 1.0,
            turn: 0.5,
            leave: 0.25,
            ..FREE
        };
        // Caller 0 to 4; helpers from 1 and 1.5 on, 2 each.
        let part = Part::Loop {
            tasks: vec![2.0; 4],
            most: 3,
        };
        assert_eq!(run(3, costs, &[part]), 4.25);
        // Two short tasks are done before a helper comes.
        assert_eq!(run(3, costs, &[tasks(&[0.25, 0.25])]), 0.75);
    }

    #[test]
    fn helpers_fall_asleep_and_are_woken_by_the_caller() {
        let costs = Costs {
            awake: 5.0,
            wake: 1.0,
            woken: 2.0,
            ..FREE
        };
        // Awake: two tasks of 4 at once.
        assert_eq!(run(2, costs, &[Part::Serial(5.0), tasks(&[4.0; 2])]), 9.0);
        // Asleep: the caller begins at 7, the helper at 9.
        assert_eq!(run(2, costs, &[Part::Serial(6.0), tasks(&[4.0; 2])]), 13.0);
        // Once woken it is awake for the next.
        let parts = [Part::Serial(6.0), tasks(&[4.0; 2]), tasks(&[4.0; 2])];
        assert_eq!(run(2, costs, &parts), 17.0);
    }
}
