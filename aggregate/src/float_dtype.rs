//! The dtype of what is written: one of the four that hold floats which are averaged.

use std::fmt;
use std::str::FromStr;

use crate::Dtype;

/// A dtype in which floats are averaged, as [`Options::dtype`](crate::Options::dtype) asks for it.
///
/// As text it is `f16`, `bf16`, `f32` or `f64`.
///
/// ```
/// use aggregate::{Dtype, FloatDtype};
///
/// assert_eq!("bf16".parse::<FloatDtype>()?, FloatDtype::Bf16);
/// assert_eq!(Dtype::from(FloatDtype::F64), Dtype::F64);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatDtype {
    /// IEEE half precision, up to 65504.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl FloatDtype {
    /// All of them, by rising width.
    pub const ALL: [Self; 4] = [Self::F16, Self::Bf16, Self::F32, Self::F64];

    /// Its name as text.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }
}

impl From<FloatDtype> for Dtype {
    fn from(dtype: FloatDtype) -> Self {
        match dtype {
            FloatDtype::F16 => Self::F16,
            FloatDtype::Bf16 => Self::BF16,
            FloatDtype::F32 => Self::F32,
            FloatDtype::F64 => Self::F64,
        }
    }
}

impl fmt::Display for FloatDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FloatDtype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let dtype = Self::ALL.into_iter().find(|dtype| dtype.name() == text);
        dtype.ok_or_else(|| "expected f16, bf16, f32 or f64".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for dtype in FloatDtype::ALL {
            assert_eq!(dtype.to_string().parse(), Ok(dtype));
            assert_eq!(Dtype::from(dtype).to_string().to_lowercase(), dtype.name());
        }
        assert!("F32".parse::<FloatDtype>().unwrap_err().contains("bf16"));
    }
}
