use super::*;

#[test]
fn names_resolve_and_a_misspelling_is_answered_with_its_neighbours() {
    for name in ResNetConfig::names() {
        ResNetConfig::by_name(name).unwrap().validate().unwrap();
    }
    let Err(Error::UnknownModel { nearest, .. }) = ResNetConfig::by_name("resnest5od") else {
        panic!("resolved a misspelling");
    };
    assert_eq!(nearest[0], "resnest50d");
}

#[test]
fn official_names_are_timms() {
    for (official, timm) in [
        ("resnest50", "resnest50d"),
        ("resnest101", "resnest101e"),
        ("resnest269", "resnest269e"),
        ("resnest50_fast_4s2x40d", "resnest50d_4s2x40d"),
    ] {
        assert_eq!(
            ResNetConfig::by_name(official).unwrap(),
            ResNetConfig::by_name(timm).unwrap()
        );
    }
    assert!(ResNetConfig::by_name("resnest50_fast_9s9x9d").is_err());
}

#[test]
fn pool_spellings_are_timms() {
    let spellings = [
        ("avg", PoolType::Avg),
        ("fast", PoolType::Avg),
        ("fastavg", PoolType::Avg),
        ("fastmax", PoolType::Max),
        ("AvgMax", PoolType::AvgMax),
        ("fastavgmax", PoolType::AvgMax),
        ("fastcatavgmax", PoolType::CatAvgMax),
        ("", PoolType::None),
        ("none", PoolType::None),
    ];
    for (text, pool) in spellings {
        assert_eq!(text.parse::<PoolType>().unwrap(), pool, "{text}");
    }
    for wrong in ["mean", "fastnone", "avgavg"] {
        assert!(wrong.parse::<PoolType>().is_err(), "{wrong}");
    }
}

#[test]
fn what_cannot_be_built_is_refused_by_name() {
    let base = ResNetConfig::resnest50d;
    let radix = |radix| {
        Block::ResNest(ResNestArgs {
            radix,
            avd: true,
            avd_first: false,
        })
    };
    let cases: [(&str, ResNetConfig); 11] = [
        (
            "output_stride",
            ResNetConfig {
                output_stride: 7,
                ..base()
            },
        ),
        (
            "layers",
            ResNetConfig {
                layers: [3, 0, 6, 3],
                ..base()
            },
        ),
        (
            "layers",
            ResNetConfig {
                layers: [1 << 14; 4],
                ..base()
            },
        ),
        (
            "channels",
            ResNetConfig {
                channels: [64, 128, 256, usize::MAX],
                ..base()
            },
        ),
        (
            "in_chans",
            ResNetConfig {
                in_chans: 0,
                ..base()
            },
        ),
        (
            "cardinality",
            ResNetConfig {
                cardinality: 0,
                ..base()
            },
        ),
        (
            "cardinality",
            ResNetConfig {
                cardinality: 3,
                base_width: 8,
                block: radix(1),
                ..base()
            },
        ),
        (
            "base_width",
            ResNetConfig {
                base_width: 0,
                ..base()
            },
        ),
        (
            "radix",
            ResNetConfig {
                block: radix(3),
                ..base()
            },
        ),
        (
            "global_pool",
            ResNetConfig {
                global_pool: PoolType::None,
                ..base()
            },
        ),
        (
            "stem_width",
            ResNetConfig {
                stem_type: StemType::DeepTiered,
                stem_width: 3,
                ..base()
            },
        ),
    ];
    for (wanted, config) in cases {
        match config.validate() {
            Err(Error::Config { option, .. }) => assert_eq!(option, wanted, "{config:?}"),
            other => panic!("{wanted}: {other:?}"),
        }
    }
}
