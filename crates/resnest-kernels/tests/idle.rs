//! Idle helpers cost nothing. Alone in its file: other tests would use the CPU meanwhile.
#![cfg(all(target_os = "linux", not(miri)))]

use resnest_kernels::{
    Algorithm, ConvInput, ConvOutput, ConvSpec, Epilogue, Isa, Nhwc, PackedConv, with_threads,
};
use std::time::Duration;

/// User and system time of this process and all its threads, in ticks of 10 ms.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name in parentheses may hold blanks; utime and stime are fields 14 and 15.
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    fields
        .skip(11)
        .take(2)
        .map(|t| t.parse::<u64>().unwrap())
        .sum()
}

#[test]
fn helpers_sleep_when_there_is_nothing_to_do() {
    resnest_kernels::threads::oversubscribe();
    let spec = ConvSpec::new(64, 64, 3);
    let input = Nhwc::new(1, 28, 28, 64);
    let weight = vec![0.5; spec.weight_len()];
    let conv = PackedConv::new(Isa::portable(), spec, &weight, None, Algorithm::Direct).unwrap();
    let x = vec![0.5; input.len()];
    with_threads(6, || {
        for _ in 0..3 {
            let x = ConvInput::Map(&x, input);
            conv.run(x, ConvOutput::New, Epilogue::default()).unwrap();
            let before = cpu_ticks();
            std::thread::sleep(Duration::from_millis(200));
            let used = cpu_ticks() - before;
            assert!(
                used < 2,
                "{} ms of CPU time in 200 ms of idleness",
                used * 10
            );
        }
    });
}
