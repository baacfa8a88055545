//! Checkpoints of 8-bit integers: what `resnest quantize` writes, here made by hand, and every way it can be damaged.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};
use resnest_loader::{
    Checkpoint, Error, HeadPolicy, ModelSource, Overrides, load_checkpoint, load_fused,
    resolve_parts,
};
use resnest_model::{FuseOptions, InputScale, Precision};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::common::{demo_config, demo_weights, image, loader};

/// Convolutions of the demo model in 8 bits; a network may have others in f32 beside them.
const LAYERS: [&str; 3] = [
    "layer2.1.conv1",
    "layer3.0.conv2.conv",
    "layer4.0.downsample.1",
];
const INPUT: InputScale = InputScale {
    scale: 0.03125,
    zero_point: 7,
};

type Part = (Dtype, Vec<usize>, Vec<u8>);

/// A file in the making.
struct File {
    tensors: BTreeMap<String, Part>,
    metadata: HashMap<String, String>,
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn floats(part: &Part) -> Vec<f32> {
    let (values, _) = part.2.as_chunks();
    values.iter().map(|v| f32::from_le_bytes(*v)).collect()
}

impl File {
    /// The demo model with [`LAYERS`] in 8 bits, by the words of the format.
    fn new() -> Self {
        let mut tensors = BTreeMap::new();
        let weights = demo_weights();
        for (name, view) in SafeTensors::deserialize(&weights).unwrap().tensors() {
            let part = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            tensors.insert(name, part);
        }
        for layer in LAYERS {
            let weight = &tensors[&format!("{layer}.weight")];
            let (shape, values) = (weight.1.clone(), floats(weight));
            let (mut q, mut scales) = (Vec::new(), Vec::new());
            for channel in values.chunks(values.len() / shape[0]) {
                let largest = channel.iter().fold(0f32, |m, v| m.max(v.abs()));
                scales.push(largest / 127.0);
                q.extend(
                    channel
                        .iter()
                        .map(|v| (v * 127.0 / largest).round() as i8 as u8),
                );
            }
            let mut add = |part: &str, value| tensors.insert(format!("{layer}.{part}"), value);
            add("weight_scale", (Dtype::F32, vec![shape[0]], bytes(&scales)));
            add("weight", (Dtype::I8, shape, q));
            add("input_scale", (Dtype::F32, vec![1], bytes(&[INPUT.scale])));
            add(
                "input_zero_point",
                (Dtype::U8, vec![1], vec![INPUT.zero_point]),
            );
        }
        let metadata = [
            ("format", "resnest-int8".to_owned()),
            ("version", "1".to_owned()),
            ("config", demo_config()),
        ];
        let metadata = metadata.map(|(name, value)| (name.to_owned(), value));
        Self {
            tensors,
            metadata: metadata.into(),
        }
    }

    fn part(&mut self, name: &str) -> &mut Part {
        self.tensors.get_mut(name).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        let views = self.tensors.iter().map(|(name, (dtype, shape, bytes))| {
            (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        safetensors::serialize(views, Some(self.metadata.clone())).unwrap()
    }

    fn open(&self) -> Result<Checkpoint, Error> {
        Checkpoint::from_bytes(self.bytes(), "int8")
    }

    /// Opened, loaded and run in f32: the logits.
    fn logits(&self, overrides: &Overrides) -> Result<Vec<f32>, Error> {
        let resolved = resolve_parts("int8", &demo_config(), self.bytes(), overrides)?;
        let loaded = load_checkpoint(&self.open()?, &resolved, &Device::Cpu, DType::F32)?;
        Ok(values(&loaded.model.forward(&image(3)).unwrap()))
    }
}

/// The demo model with some convolutions in 8 bits.
pub fn demo_in_int8() -> Vec<u8> {
    File::new().bytes()
}

/// One convolution in 8 bits and nothing else.
pub fn small() -> Vec<u8> {
    let mut file = File::new();
    file.tensors.clear();
    file.metadata.remove("config");
    for (name, part) in [
        (
            "a.weight",
            (Dtype::I8, vec![2, 1, 1, 2], vec![127, 3, 5, 129]),
        ),
        ("a.weight_scale", (Dtype::F32, vec![2], bytes(&[0.5, 0.25]))),
        ("a.input_scale", (Dtype::F32, vec![1], bytes(&[0.5]))),
        ("a.input_zero_point", (Dtype::U8, vec![1], vec![0])),
    ] {
        file.tensors.insert(name.to_owned(), part);
    }
    file.bytes()
}

fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn it_is_a_checkpoint_like_any_other_and_a_table_of_inputs() {
    let file = File::new();
    let checkpoint = file.open().unwrap();
    let expected = LAYERS.map(|layer| (layer.to_owned(), INPUT)).into();
    assert_eq!(**checkpoint.quantization().unwrap(), expected);
    // Each weight is q times its channel's scale.
    for layer in LAYERS {
        let weight = checkpoint.get(&format!("{layer}.weight")).unwrap();
        let (_, shape, q) = &file.tensors[&format!("{layer}.weight")];
        let scales = floats(&file.tensors[&format!("{layer}.weight_scale")]);
        let each = q.len() / shape[0];
        let expected = q.iter().enumerate();
        let expected = expected.map(|(i, q)| f32::from(*q as i8) * scales[i / each]);
        assert_eq!(weight.to_f32().unwrap(), expected.collect::<Vec<_>>());
        assert!(weight.is_weight() && !weight.dtype().is_weight());
    }
    // The strict check has nothing to say, and the network is close to that of the original weights.
    let got = file.logits(&Overrides::default()).unwrap();
    let original = resolve_parts(
        "demo",
        &demo_config(),
        demo_weights(),
        &Overrides::default(),
    );
    let checkpoint = Checkpoint::from_bytes(demo_weights(), "demo").unwrap();
    let loaded = load_checkpoint(&checkpoint, &original.unwrap(), &Device::Cpu, DType::F32);
    let expected = values(&loaded.unwrap().model.forward(&image(3)).unwrap());
    let norm = |v: &[f32]| v.iter().map(|v| v * v).sum::<f32>().sqrt();
    let off: Vec<f32> = got.iter().zip(&expected).map(|(a, b)| a - b).collect();
    assert!(
        norm(&off) > 0.0 && norm(&off) < 0.03 * norm(&expected),
        "{off:?}"
    );
    assert!(checkpoint.quantization().is_none());
}

#[test]
fn another_number_of_classes_goes_as_with_any_checkpoint() {
    let mut overrides = Overrides::default();
    overrides.num_classes = Some(3);
    let refused = File::new().logits(&overrides).unwrap_err();
    assert!(
        matches!(&refused, Error::Strict(report) if report.misshaped.len() == 2),
        "{refused}"
    );
    overrides.head = HeadPolicy::Replace;
    assert_eq!(File::new().logits(&overrides).unwrap().len(), 3);
}

#[test]
fn int8_takes_the_table_of_the_checkpoint_and_wants_one() {
    let (file, mut options) = (File::new(), FuseOptions::default());
    options.precision = Precision::Int8;
    let resolved = resolve_parts("x", &demo_config(), file.bytes(), &Overrides::default()).unwrap();
    let loaded = load_fused(&file.open().unwrap(), &resolved, &options).unwrap();
    let plan = loaded.model.plan().iter();
    let plan = plan.filter(|layer| layer.algorithm.name() == "direct-int8");
    assert!(plan.map(|layer| layer.path.as_str()).eq(LAYERS));
    let plain = Checkpoint::from_bytes(demo_weights(), "demo.safetensors").unwrap();
    let error = load_fused(&plain, &resolved, &options).unwrap_err();
    assert!(matches!(error, Error::NotQuantized { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("demo.safetensors") && text.contains("resnest quantize"),
        "{text}"
    );
}

#[test]
fn the_file_alone_describes_its_network_unless_a_config_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    std::fs::write(&path, File::new().bytes()).unwrap();
    let resolve = |architecture: Option<String>| {
        let path = path.clone();
        let source = ModelSource::File { path, architecture };
        loader().resolve(&source, &Overrides::default()).unwrap()
    };
    for architecture in [None, Some("resnest50d.in1k"), Some("demo")] {
        let resolved = resolve(architecture.map(str::to_owned));
        assert_eq!(
            (resolved.name.as_str(), resolved.config.num_classes),
            ("resnest14d.cifar10", 10)
        );
        assert_eq!(resolved.labels.unwrap().name(3), Some("cat"));
        assert_eq!(resolved.pretrained.input_size, [3, 48, 48]);
    }
    // A folder's config goes before the file's own.
    let config = demo_config().replace("\"cat\"", "\"tiger\"");
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let resolved = resolve(Some(format!("local-dir:{}", folder.path().display())));
    assert_eq!(resolved.labels.unwrap().name(3), Some("tiger"));
    let source = ModelSource::LocalDir(folder.path().to_owned());
    let resolved = loader().resolve(&source, &Overrides::default()).unwrap();
    let checkpoint = loader().open(&resolved).unwrap();
    assert_eq!(checkpoint.quantization().unwrap().len(), LAYERS.len());
}

#[test]
fn damage_is_named_tensor_by_tensor() {
    const LAYER: &str = "layer2.1.conv1";
    type Damage = fn(&mut File);
    let name = |part: &str| format!("{LAYER}.{part}");
    let cases: [(&str, Damage, String, &str); 19] = [
        (
            "scale gone",
            |f| drop(f.tensors.remove("layer2.1.conv1.weight_scale")),
            name("weight_scale"),
            "not there",
        ),
        (
            "step gone",
            |f| drop(f.tensors.remove("layer2.1.conv1.input_scale")),
            name("input_scale"),
            "not there",
        ),
        (
            "zero gone",
            |f| drop(f.tensors.remove("layer2.1.conv1.input_zero_point")),
            name("input_zero_point"),
            "not there",
        ),
        (
            "weights gone",
            |f| drop(f.tensors.remove("layer2.1.conv1.weight")),
            name("weight"),
            "missing",
        ),
        (
            "scale of a pair",
            |f| {
                let p = f.part("layer2.1.conv1.weight_scale");
                p.1 = vec![16, 2]
            },
            name("weight_scale"),
            "[16, 2]",
        ),
        (
            "two steps",
            |f| {
                let p = f.part("layer2.1.conv1.input_scale");
                *p = (Dtype::F32, vec![2], bytes(&[1.0; 2]))
            },
            name("input_scale"),
            "[2]",
        ),
        (
            "step of 0",
            |f| f.part("layer2.1.conv1.input_scale").2 = bytes(&[0.0]),
            name("input_scale"),
            "is 0",
        ),
        (
            "step below 0",
            |f| f.part("layer2.1.conv1.input_scale").2 = bytes(&[-1.0]),
            name("input_scale"),
            "is -1",
        ),
        (
            "step NaN",
            |f| f.part("layer2.1.conv1.input_scale").2 = bytes(&[f32::NAN]),
            name("input_scale"),
            "is NaN",
        ),
        (
            "step infinite",
            |f| f.part("layer2.1.conv1.input_scale").2 = bytes(&[f32::INFINITY]),
            name("input_scale"),
            "is inf",
        ),
        (
            "step too small",
            |f| f.part("layer2.1.conv1.input_scale").2 = bytes(&[1e-40]),
            name("input_scale"),
            "above zero",
        ),
        (
            "a scale NaN",
            |f| {
                f.part("layer2.1.conv1.weight_scale").2[8..12]
                    .copy_from_slice(&f32::NAN.to_le_bytes())
            },
            name("weight_scale"),
            "[2] is NaN",
        ),
        (
            "zero as i8",
            |f| f.part("layer2.1.conv1.input_zero_point").0 = Dtype::I8,
            name("input_zero_point"),
            "i8, where u8",
        ),
        (
            "scale as i32",
            |f| f.part("layer2.1.conv1.weight_scale").0 = Dtype::I32,
            name("weight_scale"),
            "i32, where f32",
        ),
        (
            "-128",
            |f| f.part("layer2.1.conv1.weight").2[129] = 128,
            name("weight"),
            "[1, 1, 0, 0] is -128",
        ),
        (
            "a channel too small",
            |f| f.part("layer2.1.conv1.weight").2[128..256].fill(5),
            name("weight"),
            "[1, 0, 0, 0] is 5",
        ),
        (
            "left over",
            |f| {
                drop(f.tensors.insert(
                    "fc.weight_scale".into(),
                    (Dtype::F32, vec![1], bytes(&[1.0])),
                ))
            },
            "fc.weight_scale".into(),
            "unexpected",
        ),
        (
            "no convolution",
            |f| {
                let p = f.part("fc.weight");
                let n: usize = p.1.iter().product();
                *p = (Dtype::I8, p.1.clone(), vec![127; n]);
                for part in ["weight_scale", "input_scale"] {
                    let n = if part == "input_scale" { 1 } else { 10 };
                    f.tensors.insert(
                        format!("fc.{part}"),
                        (Dtype::F32, vec![n], bytes(&vec![1.0; n])),
                    );
                }
                f.tensors
                    .insert("fc.input_zero_point".into(), (Dtype::U8, vec![1], vec![0]));
            },
            "fc.weight".into(),
            "convolutions",
        ),
        (
            "8 bits of another format",
            |f| drop(f.metadata.insert("format".into(), "pt".into())),
            name("weight"),
            "i8, not floating point",
        ),
    ];
    for (case, damage, tensor, wanted) in cases {
        let mut file = File::new();
        damage(&mut file);
        let error = file.logits(&Overrides::default()).unwrap_err();
        assert!(error.is_bad_checkpoint(), "{case}: {error}");
        let text = error.to_string();
        assert!(
            text.contains(&tensor) && text.contains(wanted),
            "{case}: {text}"
        );
    }
}

#[test]
fn another_version_and_a_file_without_any_are_refused() {
    let mut newer = File::new();
    newer.metadata.insert("version".into(), "2".into());
    let mut none = File::new();
    none.metadata.remove("version");
    let mut without = File::new();
    without.tensors.retain(|_, part| part.0 != Dtype::I8);
    let cases = [
        (newer, "is 2"),
        (none, "is missing"),
        (without, "no weight is in 8 bits"),
    ];
    for (file, wanted) in cases {
        let text = file.open().unwrap_err().to_string();
        assert!(
            text.contains(wanted) && text.contains("resnest quantize"),
            "{text}"
        );
    }
}
