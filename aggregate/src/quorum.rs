//! How many updates must be left for a merge.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// How many updates must be admitted with a weight above 0, at least.
///
/// In a configuration file and as text it is the number or `half`.
///
/// ```
/// use aggregate::Quorum;
///
/// assert_eq!("5".parse::<Quorum>()?, Quorum::AtLeast(5));
/// assert_eq!(serde_json::from_str::<Quorum>("\"half\"")?, Quorum::Half);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Quorum {
    /// More than half of the distinct names in the list; each file without a name counts as one.
    ///
    /// So no single node can end a round of three or more, though whoever floods it with new names,
    /// or with files that cannot be read, can.
    #[default]
    Half,
    /// So many.
    AtLeast(usize),
}

impl Quorum {
    /// Whether `found` of `of` are enough.
    pub(crate) fn is_met(self, found: usize, of: usize) -> bool {
        match self {
            Self::Half => 2 * found > of,
            Self::AtLeast(least) => found >= least,
        }
    }
}

const HALF: &str = "half";

/// What it may be, in words.
const EXPECTED: &str = "a number of updates, or half";

/// What must be left, as a phrase.
impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Half => f.write_str("more than half"),
            Self::AtLeast(least) => least.fmt(f),
        }
    }
}

impl FromStr for Quorum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(least) => Ok(Self::AtLeast(least)),
            Err(_) if text == HALF => Ok(Self::Half),
            Err(_) => Err(format!("expected {EXPECTED}")),
        }
    }
}

impl Serialize for Quorum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Half => serializer.serialize_str(HALF),
            Self::AtLeast(least) => serializer.serialize_u64(*least as u64),
        }
    }
}

impl<'de> Deserialize<'de> for Quorum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Spelling)
    }
}

/// Reads a whole number or the word.
struct Spelling;

impl Visitor<'_> for Spelling {
    type Value = Quorum;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Quorum, E> {
        let least = usize::try_from(number);
        least
            .map(Quorum::AtLeast)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Quorum, E> {
        let least = usize::try_from(number);
        least.map(Quorum::AtLeast).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Quorum, E> {
        if text == HALF {
            return Ok(Quorum::Half);
        }
        Err(E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_the_word() {
        assert_eq!("half".parse(), Ok(Quorum::Half));
        for bad in ["-1", "1.5", "most", ""] {
            assert_eq!(bad.parse::<Quorum>(), Err("expected a number of updates, or half".into()));
        }
        for quorum in [Quorum::Half, Quorum::AtLeast(0), Quorum::AtLeast(7)] {
            let json = serde_json::to_string(&quorum).unwrap();
            assert_eq!(serde_json::from_str::<Quorum>(&json).unwrap(), quorum, "{json}");
        }
        for bad in ["-1", "1.5", "\"most\"", "null"] {
            let error = serde_json::from_str::<Quorum>(bad).unwrap_err().to_string();
            assert!(error.contains("expected a number of updates, or half"), "{error}");
        }
    }

    #[test]
    fn half_is_more_than_half() {
        let half = |found, of| Quorum::Half.is_met(found, of);
        assert!(half(1, 1) && half(2, 3) && half(3, 5) && half(2, 2));
        assert!(!half(0, 0) && !half(1, 2) && !half(2, 4));
        assert!(Quorum::AtLeast(2).is_met(2, 100) && !Quorum::AtLeast(3).is_met(2, 2));
    }
}
