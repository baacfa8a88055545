//! Which instruction set runs: the one place that asks the CPU.

use super::dot::Element;
use super::dots::plain;
use super::dots::table::DotKernels;
use super::portable;
use super::table::Kernels;
use crate::error::Error;
use std::sync::OnceLock;

/// The instruction sets there are kernels for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum IsaKind {
    /// Plain Rust, any CPU.
    Portable,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512F.
    Avx512,
    /// NEON.
    Neon,
}

impl IsaKind {
    const ALL: [IsaKind; 4] = [
        IsaKind::Portable,
        IsaKind::Avx2,
        IsaKind::Avx512,
        IsaKind::Neon,
    ];

    /// The name `RESNEST_ISA` knows it by.
    pub fn name(self) -> &'static str {
        match self {
            IsaKind::Portable => "portable",
            IsaKind::Avx2 => "avx2",
            IsaKind::Avx512 => "avx512",
            IsaKind::Neon => "neon",
        }
    }
}

/// Proof that this CPU can run an instruction set: it can only be had after asking the CPU, so
/// whoever holds one may call that set's kernels.
#[derive(Clone, Copy)]
pub struct Isa {
    kind: IsaKind,
    kernels: &'static Kernels,
    dots: Dots,
}

/// The kernels for bf16 and for integers.
#[derive(Clone, Copy)]
struct Dots {
    bf16: &'static DotKernels,
    int8: &'static DotKernels,
}

/// Those of any CPU.
const PLAIN: Dots = Dots {
    bf16: &plain::bf16::KERNELS,
    int8: &plain::int8::KERNELS,
};

impl std::fmt::Debug for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Isa({})", self.kind.name())
    }
}

impl Isa {
    /// The given instruction set, if this CPU (and this build) has it.
    pub fn new(kind: IsaKind) -> Option<Self> {
        let dots = *dots(kind).last()?;
        kernels(kind).map(|kernels| Isa {
            kind,
            kernels,
            dots,
        })
    }

    /// The plain loops, which every CPU can run.
    pub fn portable() -> Self {
        Isa {
            kind: IsaKind::Portable,
            kernels: &portable::KERNELS,
            dots: PLAIN,
        }
    }

    /// The best one of this CPU, or the one that the environment variable `RESNEST_ISA` forces.
    ///
    /// # Errors
    /// [`Error::Isa`] when `RESNEST_ISA` names none, or one that this CPU lacks.
    pub fn detect() -> Result<Self, Error> {
        static FOUND: OnceLock<Result<Isa, String>> = OnceLock::new();
        FOUND
            .get_or_init(|| match std::env::var("RESNEST_ISA") {
                Ok(name) if !name.is_empty() => Self::from_name(&name).ok_or(name),
                _ => Ok(Self::best()),
            })
            .clone()
            .map_err(|name| Error::Isa {
                name,
                available: Self::available().map(|isa| isa.kind.name()).collect(),
            })
    }

    /// Every instruction set this CPU can run, the plain loops first.
    pub fn available() -> impl Iterator<Item = Isa> {
        IsaKind::ALL.into_iter().filter_map(Isa::new)
    }

    /// The same with every choice of low-precision kernels that this CPU can run: some CPUs with AVX-512 have instructions
    /// for bf16 and 8-bit integers, some have not. The last is the one that [`new`](Self::new) takes.
    pub fn low_precision_choices(self) -> impl Iterator<Item = Isa> {
        dots(self.kind)
            .into_iter()
            .map(move |dots| Isa { dots, ..self })
    }

    /// What the products of bf16 and of 8-bit integers are computed with: `avx512-bf16`, `avx512-vnni`, ...
    pub fn low_precision(self) -> [&'static str; 2] {
        [self.dots.bf16.name, self.dots.int8.name]
    }

    /// Which one it is.
    pub fn kind(self) -> IsaKind {
        self.kind
    }

    pub(crate) fn kernels(self) -> &'static Kernels {
        self.kernels
    }

    pub(crate) fn dots(self, element: Element) -> &'static DotKernels {
        match element {
            Element::Bf16 => self.dots.bf16,
            Element::Int8 => self.dots.int8,
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::available().find(|isa| isa.kind.name() == name)
    }

    fn best() -> Self {
        Self::available().last().unwrap_or(Self::portable())
    }
}

#[cfg(target_arch = "x86_64")]
fn kernels(kind: IsaKind) -> Option<&'static Kernels> {
    use super::{avx2, avx512};
    match kind {
        IsaKind::Portable => Some(&portable::KERNELS),
        IsaKind::Avx2 => (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"))
            .then_some(&avx2::KERNELS),
        IsaKind::Avx512 => is_x86_feature_detected!("avx512f").then_some(&avx512::KERNELS),
        IsaKind::Neon => None,
    }
}

/// What this CPU can run of low precision, the fastest last.
#[cfg(target_arch = "x86_64")]
fn dots(kind: IsaKind) -> Vec<Dots> {
    use super::dots::{avx2, avx512};
    let mut choices = match kind {
        IsaKind::Portable | IsaKind::Neon => vec![PLAIN],
        IsaKind::Avx2 => vec![Dots {
            bf16: &avx2::bf16::KERNELS,
            int8: &avx2::int16::KERNELS,
        }],
        IsaKind::Avx512 => vec![Dots {
            bf16: &avx512::split_bf16::KERNELS,
            int8: &avx2::int16::KERNELS,
        }],
    };
    let best = choices[0];
    match kind {
        IsaKind::Avx2 if is_x86_feature_detected!("avxvnni") => choices.push(Dots {
            int8: &avx2::vnni::KERNELS,
            ..best
        }),
        IsaKind::Avx512
            if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw") =>
        {
            let int8 = &avx512::vnni::KERNELS;
            choices.push(Dots { int8, ..best });
            if is_x86_feature_detected!("avx512bf16") {
                let bf16 = &avx512::bf16::KERNELS;
                choices.push(Dots { bf16, int8 });
            }
        }
        _ => {}
    }
    choices
}

#[cfg(not(target_arch = "x86_64"))]
fn dots(kind: IsaKind) -> Vec<Dots> {
    match kind {
        #[cfg(target_arch = "aarch64")]
        IsaKind::Neon => vec![Dots {
            bf16: &plain::neon_bf16::KERNELS,
            ..PLAIN
        }],
        _ => vec![PLAIN],
    }
}

#[cfg(target_arch = "aarch64")]
fn kernels(kind: IsaKind) -> Option<&'static Kernels> {
    match kind {
        IsaKind::Portable => Some(&portable::KERNELS),
        IsaKind::Neon => Some(&super::neon::KERNELS),
        IsaKind::Avx2 | IsaKind::Avx512 => None,
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn kernels(kind: IsaKind) -> Option<&'static Kernels> {
    (kind == IsaKind::Portable).then_some(&portable::KERNELS)
}
