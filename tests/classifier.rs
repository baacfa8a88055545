//! What a classifier promises beyond its answers, which `demo.rs` holds to timm's: the same bits on any number of
//! threads and beside any other caller, and the network that its options ask for.

#[path = "common/root.rs"]
mod root;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use candle_core::DType;
use resnest::model::{Algorithm, current_threads, with_threads};
use resnest::{
    Classifier, ClassifierOptions, DeviceChoice, Error, ModelOptions, Precision, Prediction, TopK,
    create_model,
};

fn on_cpu() -> ModelOptions {
    let mut options = ModelOptions::default();
    options.device = DeviceChoice::Cpu;
    options
}

fn demo(model: ModelOptions, threads: Option<usize>) -> Classifier {
    let mut options = ClassifierOptions::default();
    options.model = model;
    options.threads = threads;
    Classifier::load("demo", &options).unwrap()
}

/// A network of other shapes, fused for other images and direct convolution only.
fn other(threads: Option<usize>) -> Classifier {
    let mut builder = Classifier::builder("demo")
        .device(DeviceChoice::Cpu)
        .precision(Precision::Exact)
        .input_size((72, 88));
    if let Some(threads) = threads {
        builder = builder.threads(threads);
    }
    builder.load().unwrap()
}

/// The bundled photos, often enough for a batch.
fn photos() -> Vec<Vec<u8>> {
    let photo =
        |name| std::fs::read(root::root().join("crates/resnest/demo/photos").join(name)).unwrap();
    let (cat, horse) = (photo("chelsea.png"), photo("horse.png"));
    vec![cat.clone(), horse.clone(), horse, cat.clone(), cat]
}

/// Index and bits of the logit of every class, best first.
type Bits = Vec<(usize, u32)>;

fn bits(predictions: &[Prediction]) -> Bits {
    let bits = |p: &Prediction| (p.index, p.logit.to_bits());
    predictions.iter().map(bits).collect()
}

/// Of a whole batch and of single photos.
fn answers(classifier: &Classifier, photos: &[Vec<u8>]) -> Vec<Bits> {
    let batch = classifier.classify_batch(photos, 10).into_iter();
    let batch = batch.map(|answer| bits(&answer.unwrap()));
    let single = photos.iter().take(2);
    let single = single.map(|photo| bits(&classifier.classify(photo, 10).unwrap()));
    batch.chain(single).collect()
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let photos = photos();
    for precision in [Precision::Fast, Precision::Exact] {
        let mut model = on_cpu();
        model.precision = Some(precision);
        let expected = answers(&demo(model.clone(), Some(1)), &photos);
        for threads in [2, 3] {
            // Packed on as many threads as it computes on, or on others.
            let packed_too = demo(model.clone(), Some(threads));
            let later = demo(model.clone(), None).with_threads(threads).unwrap();
            for classifier in [packed_too, later] {
                assert!(
                    answers(&classifier, &photos) == expected,
                    "{threads} threads"
                );
            }
        }
        let default = demo(model, None);
        assert!(with_threads(2, || answers(&default, &photos)) == expected);
    }
}

#[test]
fn each_classifier_keeps_its_number_of_threads() {
    let (one, three) = (demo(on_cpu(), Some(1)), demo(on_cpu(), Some(3)));
    // Of rayon's pool and of the kernels'.
    let seen = |classifier: &Classifier| {
        let seen = |_: &()| (rayon::current_num_threads(), current_threads());
        classifier.pipeline().map(&[()], seen)[0]
    };
    for _ in 0..2 {
        assert_eq!((seen(&one), seen(&three)), ((1, 1), (3, 3)));
    }
    let two = three.with_threads(2).unwrap();
    assert_eq!((seen(&one), seen(&two)), ((1, 1), (2, 2)));
    // One without a number of its own takes its caller's.
    let any = demo(on_cpu(), None);
    assert_eq!(with_threads(5, || seen(&any)).1, 5);
}

#[test]
fn callers_of_two_models_at_once_get_the_bits_they_get_alone() {
    let photos = photos();
    let models = [demo(on_cpu(), Some(2)), other(None)];
    let expected = models.each_ref().map(|model| answers(model, &photos));
    assert_ne!(expected[0], expected[1]);
    std::thread::scope(|scope| {
        for caller in 0..4 {
            let (model, expected) = (&models[caller % 2], &expected[caller % 2]);
            let photos = &photos;
            scope.spawn(move || {
                for _ in 0..10 {
                    assert!(answers(model, photos) == *expected, "caller {caller}");
                }
            });
        }
    });
}

#[test]
fn a_caller_that_panics_or_gives_up_costs_the_others_nothing() {
    let photos = photos();
    let models = [demo(on_cpu(), Some(2)), other(None)];
    let expected = models.each_ref().map(|model| answers(model, &photos));
    std::thread::scope(|scope| {
        for (model, expected) in models.iter().zip(&expected) {
            let photos = &photos;
            // Panics between the photos of a batch, quietly.
            scope.spawn(move || {
                for _ in 0..10 {
                    let prepare = |photo: &Vec<u8>| match photo == &photos[1] {
                        true => resume_unwind(Box::new("cancelled")),
                        false => model.preprocess(photo),
                    };
                    let batch = || model.pipeline().map(photos, prepare);
                    assert!(catch_unwind(AssertUnwindSafe(batch)).is_err());
                }
            });
            // Gives up one photo of a batch, and the others' answers with it.
            scope.spawn(move || {
                for _ in 0..10 {
                    let prepare = |photo: &Vec<u8>| match photo == &photos[1] {
                        true => model.preprocess(b"no photo"),
                        false => model.preprocess(photo),
                    };
                    let prepared = model.pipeline().map(photos, prepare);
                    let got: Vec<Result<Vec<Prediction>, Error>> =
                        model.pipeline().answer(prepared, &TopK(10));
                    let failed: Vec<bool> = got.iter().map(Result::is_err).collect();
                    assert_eq!(failed, [false, true, true, false, false]);
                }
            });
            scope.spawn(move || {
                for _ in 0..10 {
                    assert!(answers(model, photos) == *expected);
                }
            });
        }
    });
    for (model, expected) in models.iter().zip(&expected) {
        assert!(answers(model, &photos) == *expected, "afterwards");
    }
}

#[test]
fn test_time_pooling_runs_fused_and_gives_the_unfused_answers() {
    let load = |fuse, precision| {
        let builder = Classifier::builder("demo").device(DeviceChoice::Cpu);
        let builder = builder.fuse(fuse).precision(precision);
        let builder = builder.input_size((96, 112)).test_time_pool(true);
        builder.load().unwrap()
    };
    let logits = |classifier: &Classifier, photo: &[u8]| {
        let mut logits = [0.0; 10];
        for p in classifier.classify(photo, 10).unwrap() {
            logits[p.index] = p.logit;
        }
        logits
    };
    let plain = load(false, Precision::Fast);
    assert!(!plain.model().is_fused());
    assert_eq!(plain.transform().crop_pct, 1.0);
    for precision in [Precision::Fast, Precision::Exact] {
        let fused = load(true, precision);
        assert!(fused.model().is_fused());
        assert_eq!(fused.model().plan()[0].input_size, (96, 112));
        for photo in photos().iter().take(2) {
            let (got, expected) = (logits(&fused, photo), logits(&plain, photo));
            let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            for (a, b) in got.iter().zip(expected) {
                assert!((a - b).abs() <= 1e-5 * largest, "{got:?} {expected:?}");
            }
        }
    }
}

#[test]
fn a_model_is_fused_where_it_can_be_and_as_it_was_asked() {
    let small = "resnest14d";
    for (name, pretrained) in [("demo", true), ("demo", false), (small, false)] {
        let mut options = on_cpu();
        options.pretrained = pretrained;
        options.size_hint = Some((64, 80));
        let fast = create_model(name, &options).unwrap();
        assert_eq!(fast.plan()[0].input_size, (64, 80));
        let mut exact = options.clone();
        exact.precision = Some(Precision::Exact);
        let exact = create_model(name, &exact).unwrap();
        assert!(
            exact
                .plan()
                .iter()
                .all(|l| l.algorithm == Algorithm::Direct)
        );
        assert!(fast.plan().iter().any(|l| l.algorithm != Algorithm::Direct));
        let mut plain = options.clone();
        plain.fuse = false;
        assert!(!create_model(name, &plain).unwrap().is_fused());
        let mut wide = options;
        wide.dtype = Some(DType::F64);
        assert!(!create_model(name, &wide).unwrap().is_fused());
    }
    // The CPU computes half precision in f32.
    let mut half = on_cpu();
    half.dtype = Some(DType::F16);
    assert!(create_model("demo", &half).unwrap().is_fused());
    let native = create_model("demo", &on_cpu()).unwrap();
    assert_eq!(native.plan()[0].input_size, (48, 48));
}

#[test]
fn decoded_pictures_get_the_answers_of_their_bytes() {
    let photos = photos();
    let classifier = demo(on_cpu(), None);
    let gray = Classifier::builder("demo").in_chans(1).load().unwrap();
    let (file, luma) = (&photos[0], gray.decode(&photos[0]).unwrap());
    let expected = bits(&classifier.classify(file, 10).unwrap());
    let decoded = image::load_from_memory(file).unwrap();
    let ours = resnest::image::decode(file, &resnest::Limits::default()).unwrap();
    let answers = [
        classifier.classify_image(&decoded, 10),
        classifier.classify_image(&decoded.to_rgb8(), 10),
        classifier.classify_image(&ours, 10),
    ];
    for answer in answers {
        assert!(bits(&answer.unwrap()) == expected);
    }
    for answer in classifier.classify_images(&[decoded.clone(), decoded.clone()], 10) {
        assert!(bits(&answer.unwrap()) == expected);
    }
    let logits = classifier.logits_batch(&photos[..1]).remove(0).unwrap();
    for (index, bits) in expected {
        assert_eq!(logits[index].to_bits(), bits);
    }
    let all = resnest::explain::Classes::Top(1);
    let seen = gray.cam_image(&decoded, &all).unwrap();
    assert_eq!(seen.image, luma, "what the model was shown");
    // A model of one channel takes colour as luma; a model of three takes luma three times, as Pillow's `convert` does.
    let expected = bits(&gray.classify(file, 10).unwrap());
    for answer in [
        gray.classify_image(&luma, 10),
        gray.classify_image(&decoded, 10),
    ] {
        assert!(bits(&answer.unwrap()) == expected);
    }
    let thrice = luma
        .clone()
        .into_mode(resnest::image::ColorMode::Rgb)
        .unwrap();
    let gray_picture = image::GrayImage::try_from(&luma).unwrap();
    let expected = bits(&classifier.classify_image(&thrice, 10).unwrap());
    for answer in [
        classifier.classify_image(&luma, 10),
        classifier.classify_image(&gray_picture, 10),
    ] {
        assert!(bits(&answer.unwrap()) == expected);
    }
}

#[test]
fn whose_fault_it_is_can_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str| {
        let builder = Classifier::builder(name)
            .cache_dir(folder.path())
            .offline(true);
        builder.load().unwrap_err()
    };
    let kinds = |e: &Error| {
        let kinds = [
            e.is_unknown_model(),
            e.is_unreachable(),
            e.is_not_found(),
            e.is_bad_checkpoint(),
            e.is_bad_image(),
        ];
        kinds.map(u8::from)
    };
    let typo = load("resnest50");
    assert!(
        matches!(typo, Error::Unreachable(_)),
        "the official name: {typo}"
    );
    let typo = load("resnets50d");
    assert_eq!(kinds(&typo), [1, 0, 0, 0, 0], "{typo}");
    let near = load("dmeo");
    assert!(near.to_string().contains("demo"), "{near}");
    let offline = load("resnest50d");
    assert_eq!(kinds(&offline), [0, 1, 0, 0, 0], "{offline}");
    let absent = load("local-dir:/nonexistent/folder");
    assert_eq!(kinds(&absent), [0, 0, 1, 0, 0], "{absent}");
    let checkpoint = folder.path().join("model.safetensors");
    std::fs::write(&checkpoint, b"no weights").unwrap();
    let builder = Classifier::builder("resnest50d").checkpoint(&checkpoint);
    let broken = builder.load().unwrap_err();
    assert_eq!(kinds(&broken), [0, 0, 0, 1, 0], "{broken}");
    let size = Classifier::builder("demo").input_size(0).load();
    let size = size.unwrap_err();
    assert!(matches!(size, Error::Preprocessing(_)), "{size}");
    assert_eq!(kinds(&size), [0; 5], "{size}");
    let no_image = demo(on_cpu(), None).classify(b"no image", 1).unwrap_err();
    assert_eq!(kinds(&no_image), [0, 0, 0, 0, 1], "{no_image}");
}

#[test]
fn an_open_device_is_taken_as_it_is() {
    let builder = Classifier::builder("demo").device(DeviceChoice::Cuda(9));
    let classifier = builder.opened_device(candle_core::Device::Cpu).load();
    assert!(classifier.unwrap().device().is_cpu());
}
