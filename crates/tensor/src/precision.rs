use half::f16;

/// The number format of the weights of linear layers on the device, and of the activations between them. Sums
/// are in f32 with every choice. The processor has the same numbers, but stores all weights in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precision {
    /// f16 where that loses nothing, as with weights that a checkpoint holds in f16: half the memory and the
    /// same numbers, except that a GPU may flush subnormals (|x| < 6e-5) to zero.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// f16, rounded to nearest. A layer with a weight beyond 65504, the largest f16, stays in f32.
    ///
    /// With the workgroup kernels, which GPUs run, the activations inside transformer blocks are in f16 too:
    /// the output of a layer norm that feeds a linear layer, queries, keys and values, the output of
    /// attention, and the inside of the MLP. Values beyond 65504 are clamped to it. What goes from block to
    /// block, and all that callers see, stays in f32, so that rounding errors do not add up. The subgroup
    /// kernels keep all activations in f32: they serve software adapters, whose time goes into instructions
    /// and not into memory.
    F16,
}

impl Precision {
    /// The names that it is read from.
    pub const NAMES: [&str; 3] = ["auto", "f32", "f16"];

    /// Whether to store `weight` in f16.
    pub(crate) fn stores_as_f16(self, weight: &[f32]) -> bool {
        match self {
            Self::Auto => weight.iter().all(|&value| f16::from_f32(value).to_f32() == value),
            Self::F32 => false,
            Self::F16 => weight.iter().all(|value| value.abs() <= f16::MAX.to_f32()),
        }
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            _ => Err(format!("{name:?} is not a precision; there are {}", Self::NAMES.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read() {
        assert_eq!(
            Precision::NAMES.map(str::parse),
            [Precision::Auto, Precision::F32, Precision::F16].map(Ok)
        );
        assert!("f8".parse::<Precision>().unwrap_err().contains("auto, f32, f16"));
    }

    #[test]
    fn auto_loses_nothing() {
        assert!(Precision::Auto.stores_as_f16(&[0.5, -0.0, 65504.0, f16::from_f32(0.1).to_f32()]));
        assert!(!Precision::Auto.stores_as_f16(&[0.5, 0.1]));
        assert!(!Precision::Auto.stores_as_f16(&[1e-9]));
    }

    #[test]
    fn f16_rounds_and_does_not_overflow() {
        assert!(Precision::F16.stores_as_f16(&[0.1, 1e-9]));
        assert!(!Precision::F16.stores_as_f16(&[0.1, 70000.0]));
        assert!(!Precision::F16.stores_as_f16(&[f32::NAN]));
    }

    #[test]
    fn f32_never_does() {
        assert!(!Precision::F32.stores_as_f16(&[0.5]));
    }
}
