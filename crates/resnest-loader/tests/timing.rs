struct Instant(f64);
fn cpu() -> f64 {
    let t = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    t.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}
impl Instant {
    fn now() -> Self {
        std::thread::yield_now();
        Self(cpu())
    }
    fn elapsed(&self) -> std::time::Duration {
        std::thread::yield_now();
        std::time::Duration::from_secs_f64(cpu() - self.0)
    }
}
use candle_core::{Device, Tensor};
use resnest_loader::*;
use resnest_model::*;
#[test]
fn timing() {
    with_threads(1, timing1)
}
fn timing1() {
    let path = std::env::var("CK").unwrap();
    let mut hub = hub::HubOptions::default();
    hub.offline = true;
    let source = ModelSource::File {
        path: path.into(),
        architecture: Some(std::env::var("ARCH").unwrap_or("resnest50d".into())),
    };
    let rounds: usize = std::env::var("N").map_or(10, |n| n.parse().unwrap());
    let mut best = std::collections::BTreeMap::<&str, f64>::new();
    let mut note = |name: &'static str, since: Instant| {
        let t = since.elapsed().as_secs_f64() * 1e3;
        let b = best.entry(name).or_insert(f64::MAX);
        *b = b.min(t);
    };
    let cache = WeightsCache::At("/tmp/wc".into());
    for _ in 0..rounds {
        let t = Instant::now();
        let loader = Loader::new(LoaderOptions::new(hub.clone())).unwrap();
        note("1 loader", t);
        let t = Instant::now();
        let resolved = loader.resolve(&source, &Overrides::default()).unwrap();
        note("2 resolve", t);
        let t = Instant::now();
        let checkpoint = loader.open(&resolved).unwrap();
        note("3 open", t);
        let t = Instant::now();
        expected_tensors(&resolved.config).unwrap();
        note("4 (expected_tensors)", t);
        let t = Instant::now();
        let r = check(&checkpoint, &resolved.config).unwrap();
        assert!(r.is_ok());
        note("4 (strict)", t);
        let options = FuseOptions::default();
        let t = Instant::now();
        let choices = ResNet::fuse_choices(&resolved.config, &options).unwrap();
        note("5 (choices)", t);
        let t = Instant::now();
        choices.describe();
        note("5 (describe)", t);
        let t = Instant::now();
        let loaded = load_cached(&checkpoint, &resolved, &options, &cache).unwrap();
        note("6 load_cached", t);
        let x = Tensor::zeros((1, 3, 224, 224), candle_core::DType::F32, &Device::Cpu).unwrap();
        let t = Instant::now();
        loaded.model.forward(&x).unwrap();
        note("7 first forward", t);
        for _ in 0..3 {
            let t = Instant::now();
            loaded.model.forward(&x).unwrap();
            note("8 next forward", t);
        }
        let t = Instant::now();
        drop(loaded);
        note("9 drop", t);
    }
    for (name, ms) in best {
        println!("{name}: {ms:.2} ms");
    }
    if std::env::var("SMAPS").is_ok() {
        println!(
            "{}",
            std::fs::read_to_string("/proc/self/smaps_rollup").unwrap()
        );
    }
}

#[test]
fn pages() {
    with_threads(1, pages1)
}
fn pages1() {
    let mut hub = hub::HubOptions::default();
    hub.offline = true;
    let source = ModelSource::File {
        path: std::env::var("CK").unwrap().into(),
        architecture: Some("resnest50d".into()),
    };
    let loader = Loader::new(LoaderOptions::new(hub)).unwrap();
    let resolved = loader.resolve(&source, &Overrides::default()).unwrap();
    let checkpoint = loader.open(&resolved).unwrap();
    let options = FuseOptions::default();
    let x = Tensor::zeros((1, 3, 224, 224), candle_core::DType::F32, &Device::Cpu).unwrap();
    let huge = load_fused(&checkpoint, &resolved, &options).unwrap().model;
    for _ in 0..20 {
        huge.forward(&x).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_secs(3));
    let mapped = load_cached(
        &checkpoint,
        &resolved,
        &options,
        &WeightsCache::At("/tmp/wc".into()),
    )
    .unwrap()
    .model;
    let shm = load_cached(
        &checkpoint,
        &resolved,
        &options,
        &WeightsCache::At("/dev/shm/wc".into()),
    )
    .unwrap()
    .model;
    let rounds: usize = std::env::var("N").map_or(10, |n| n.parse().unwrap());
    let mut all: [Vec<f64>; 4] = Default::default();
    for round in 0..rounds {
        let small = load_fused(&checkpoint, &resolved, &options).unwrap().model;
        small.forward(&x).unwrap();
        for turn in 0..8 {
            for (i, m) in [&small, &huge, &mapped, &shm].into_iter().enumerate() {
                let t = Instant::now();
                m.forward(&x).unwrap();
                if turn > 0 {
                    all[i].push(t.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
        if round == 1 {
            println!(
                "{}",
                std::fs::read_to_string("/proc/self/smaps_rollup").unwrap()
            );
        }
    }
    for (a, name) in
        all.iter_mut()
            .zip(["private 4 KB", "private huge", "mapped /tmp", "mapped shm"])
    {
        a.sort_by(f64::total_cmp);
        println!(
            "{name}: min {:.2} p10 {:.2} median {:.2}",
            a[0],
            a[a.len() / 10],
            a[a.len() / 2]
        );
    }
}
