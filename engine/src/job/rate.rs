//! A learning rate: a number, or a test of several.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A learning rate in a job file: a number, or `"auto"`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RateSpelling", into = "RateSpelling")]
pub enum LearningRate {
    /// This one.
    Fixed(f32),
    /// What a range test on the training rows finds.
    Auto,
}

impl FromStr for LearningRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let number = text.parse().map_err(|_| format!("{text:?} is neither a number nor auto"))?;
        Ok(Self::Fixed(number))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "lr is a number or \"auto\"")]
enum RateSpelling {
    Number(f32),
    Word(String),
}

impl TryFrom<RateSpelling> for LearningRate {
    type Error = String;

    fn try_from(spelling: RateSpelling) -> Result<Self, String> {
        match spelling {
            RateSpelling::Number(lr) => Ok(Self::Fixed(lr)),
            RateSpelling::Word(word) if word == "auto" => Ok(Self::Auto),
            RateSpelling::Word(word) => Err(format!("lr is a number or \"auto\", not {word:?}")),
        }
    }
}

impl From<LearningRate> for RateSpelling {
    fn from(lr: LearningRate) -> Self {
        match lr {
            LearningRate::Fixed(lr) => Self::Number(lr),
            LearningRate::Auto => Self::Word("auto".to_owned()),
        }
    }
}
