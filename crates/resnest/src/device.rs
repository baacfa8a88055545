//! The one choice of device, made at run time among those compiled in.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;

use crate::Error;

/// Where a model runs; `"auto"`, `"cpu"`, `"cuda"`, `"cuda:1"` or `"metal"` parse into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The best device that is compiled in and works: CUDA, then Metal, then the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this index; needs the `cuda` feature.
    Cuda(usize),
    /// The first Metal device; needs the `metal` feature.
    Metal,
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::DeviceNotBuilt`] if its feature is not compiled in, [`Error::DeviceFailed`] if it is but the device
    /// does not open. `Auto` never fails: it goes on to the next best.
    pub fn open(self) -> Result<Device, Error> {
        match self {
            Self::Auto => Ok(Self::best(Self::compiled_in(), Self::open).0),
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(_) if !cfg!(feature = "cuda") => Err(Error::DeviceNotBuilt {
                device: self.to_string(),
                feature: "cuda",
            }),
            Self::Metal if !cfg!(feature = "metal") => Err(Error::DeviceNotBuilt {
                device: self.to_string(),
                feature: "metal",
            }),
            Self::Cuda(index) => Device::new_cuda(index).map_err(|e| self.failed(e)),
            Self::Metal => Device::new_metal(0).map_err(|e| self.failed(e)),
        }
    }

    /// Opens the device; where `Auto` had to go on to the next best, says why.
    pub(crate) fn open_and_explain(self) -> Result<(Device, Vec<String>), Error> {
        match self {
            Self::Auto => Ok(Self::best(Self::compiled_in(), Self::open)),
            choice => Ok((choice.open()?, Vec::new())),
        }
    }

    /// The first of `choices` that opens, else the CPU; and why those before it did not.
    fn best(
        choices: Vec<Self>,
        open: impl Fn(Self) -> Result<Device, Error>,
    ) -> (Device, Vec<String>) {
        let mut left_out = Vec::new();
        for choice in choices {
            match open(choice) {
                Ok(device) => return (device, left_out),
                Err(error) => left_out.push(format!("left out: {}", error.with_causes())),
            }
        }
        (Device::Cpu, left_out)
    }

    /// The accelerators compiled into this build, best first; the CPU is always there besides.
    pub fn compiled_in() -> Vec<Self> {
        let mut choices = Vec::new();
        if cfg!(feature = "cuda") {
            choices.push(Self::Cuda(0));
        }
        if cfg!(feature = "metal") {
            choices.push(Self::Metal);
        }
        choices
    }

    fn failed(self, source: candle_core::Error) -> Error {
        Error::DeviceFailed {
            device: self.to_string(),
            source: Box::new(source),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || Error::UnknownDevice {
            text: text.to_owned(),
        };
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(unknown),
        }
    }
}

/// A short name for an opened device: `cpu`, `cuda` or `metal`.
pub fn device_name(device: &Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Metal(_) => "metal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_print() {
        for text in ["auto", "cpu", "cuda:0", "cuda:3", "metal"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        assert_eq!(
            "cuda".parse::<DeviceChoice>().unwrap(),
            DeviceChoice::Cuda(0)
        );
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU"] {
            let message = text.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(message.contains("auto, cpu, cuda"), "{message}");
        }
    }

    #[test]
    fn auto_goes_on_to_what_opens_and_says_why() {
        let choices = vec![DeviceChoice::Cuda(0), DeviceChoice::Metal];
        let no_driver =
            |choice: DeviceChoice| Err(choice.failed(candle_core::Error::Msg("no driver".into())));
        let (device, left_out) = DeviceChoice::best(choices.clone(), no_driver);
        assert!(device.is_cpu());
        assert_eq!(
            left_out,
            [
                "left out: device cuda:0 cannot be opened: no driver",
                "left out: device metal cannot be opened: no driver"
            ]
        );
        let (_, left_out) = DeviceChoice::best(choices, |choice| match choice {
            DeviceChoice::Metal => Ok(Device::Cpu),
            choice => no_driver(choice),
        });
        assert_eq!(left_out.len(), 1);
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn an_absent_device_says_how_to_get_it() {
        let message = DeviceChoice::Cuda(0).open().unwrap_err().to_string();
        assert!(message.contains("feature `cuda`"), "{message}");
        assert!(DeviceChoice::Auto.open().unwrap().is_cpu());
    }
}
