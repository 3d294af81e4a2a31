//! Passes over the training windows: a number, or as many as suit how many windows there are.

use serde::{Deserialize, Serialize};

/// Passes in a job file: a number, or `"auto"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "EpochsSpelling", into = "EpochsSpelling")]
pub enum Epochs {
    /// So many.
    Fixed(u32),
    /// By the number of training windows, see [`Epochs::of`]; in a round of a federation
    /// [`Epochs::IN_A_ROUND`].
    #[default]
    Auto,
}

/// The most passes, for few windows.
const MOST: usize = 100;

/// The fewest, for many.
const FEWEST: usize = 20;

/// Windows that are handled in all between the two: more are not learned from, and cost time.
const WINDOWS: usize = 50_000;

impl Epochs {
    /// What `"auto"` means in a round of a federation, whose length is no matter of one node's rows: nodes that train
    /// on for long drift apart.
    pub const IN_A_ROUND: u32 = 2;

    /// Passes over so many training windows: with `"auto"` as many as make 50,000 windows in all, but at
    /// least 20 and at most 100.
    ///
    /// ```
    /// use engine::job::Epochs;
    ///
    /// assert_eq!([50, 1000, 10_000].map(|n| Epochs::Auto.of(n)), [100, 50, 20]);
    /// assert_eq!(Epochs::Fixed(7).of(50), 7);
    /// ```
    pub fn of(self, windows: usize) -> u32 {
        match self {
            Self::Fixed(epochs) => epochs,
            Self::Auto => (WINDOWS / windows.max(1)).clamp(FEWEST, MOST) as u32,
        }
    }

    /// Passes in a round of a federation.
    pub fn in_a_round(self) -> u32 {
        match self {
            Self::Fixed(epochs) => epochs,
            Self::Auto => Self::IN_A_ROUND,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "epochs is a whole number or \"auto\"")]
enum EpochsSpelling {
    Number(u32),
    Word(String),
}

impl TryFrom<EpochsSpelling> for Epochs {
    type Error = String;

    fn try_from(spelling: EpochsSpelling) -> Result<Self, String> {
        match spelling {
            EpochsSpelling::Number(epochs) => Ok(Self::Fixed(epochs)),
            EpochsSpelling::Word(word) if word == "auto" => Ok(Self::Auto),
            EpochsSpelling::Word(word) => {
                Err(format!("epochs is a whole number or \"auto\", not {word:?}"))
            }
        }
    }
}

impl From<Epochs> for EpochsSpelling {
    fn from(epochs: Epochs) -> Self {
        match epochs {
            Epochs::Fixed(epochs) => Self::Number(epochs),
            Epochs::Auto => Self::Word("auto".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_a_number_and_a_word() {
        let read = |text: &str| serde_json::from_str::<Epochs>(text).map_err(|e| e.to_string());
        assert_eq!(read("7"), Ok(Epochs::Fixed(7)));
        assert_eq!(read("\"auto\""), Ok(Epochs::Auto));
        for wrong in ["\"three\"", "-1", "1.5", "[]"] {
            assert!(
                read(wrong).expect_err("wrong").contains("epochs is a whole number"),
                "{wrong}"
            );
        }
        let written =
            [Epochs::Fixed(7), Epochs::Auto].map(|e| serde_json::to_string(&e).expect("JSON"));
        assert_eq!(written, ["7", "\"auto\""]);
    }

    #[test]
    fn more_windows_never_get_more_passes() {
        let passes: Vec<u32> = (0..10_000).step_by(7).map(|n| Epochs::Auto.of(n)).collect();
        assert!(passes.is_sorted_by(|a, b| a >= b));
        assert_eq!((passes.first(), passes.last()), (Some(&100), Some(&20)));
    }
}
