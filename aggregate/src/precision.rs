//! How finely a difference is sent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Dtype;

/// The numbers in which [`Differences`](crate::Differences) are sent, in place of 32 bits each.
///
/// As text, in a configuration file and in a difference file it is `bf16` or `int8`.
///
/// ```
/// use aggregate::Precision;
///
/// assert_eq!("int8".parse::<Precision>()?, Precision::Int8);
/// assert_eq!(Precision::Bf16.to_string(), "bf16");
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// The upper half of an f32: every change to a relative 2⁻⁹, in half the bytes.
    Bf16,
    /// Whole steps from −127 to 127, of a size of its own for every 256 values: to half a step, in
    /// little more than a quarter of the bytes.
    Int8,
}

impl Precision {
    /// All of them, by falling width.
    pub const ALL: [Self; 2] = [Self::Bf16, Self::Int8];

    /// Its name as text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }

    /// The dtype of the changes in a file.
    pub(crate) fn dtype(self) -> Dtype {
        match self {
            Self::Bf16 => Dtype::BF16,
            Self::Int8 => Dtype::I8,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let precision = Self::ALL.into_iter().find(|precision| precision.name() == text);
        precision.ok_or_else(|| "expected bf16 or int8".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse(), Ok(precision));
            let json = serde_json::to_string(&precision).unwrap();
            assert_eq!(json, format!("\"{precision}\""));
            assert_eq!(serde_json::from_str::<Precision>(&json).unwrap(), precision);
        }
        assert_eq!("BF16".parse::<Precision>().unwrap_err(), "expected bf16 or int8");
    }
}
