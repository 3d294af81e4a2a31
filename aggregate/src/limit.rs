//! A number that something may not exceed, or none.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A greatest number, or no limit at all.
///
/// In a configuration file and as text it is the number or `off`; in a file the number 0 is read as
/// `off`, which is how earlier job files spell it.
///
/// ```
/// use aggregate::Limit;
///
/// assert_eq!("2.5".parse::<Limit>()?, Limit::at(2.5));
/// assert_eq!(serde_json::from_str::<Limit>("\"off\"")?, Limit::OFF);
/// assert_eq!(serde_json::from_str::<Limit>("0")?.get(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit(Option<f64>);

impl Limit {
    /// No limit.
    pub const OFF: Self = Self(None);

    /// This number; 0 is [`OFF`](Self::OFF).
    pub fn at(number: f64) -> Self {
        Self(Some(number).filter(|&number| number != 0.0))
    }

    /// The number, if there is a limit.
    pub fn get(self) -> Option<f64> {
        self.0
    }

    /// Whether it is off or a finite number above 0.
    pub(crate) fn is_sound(self) -> bool {
        self.0.is_none_or(|number| number.is_finite() && number > 0.0)
    }
}

/// What a [`Limit`] may be, in words.
pub(crate) const EXPECTED: &str = "a number above 0, or off";

const OFF: &str = "off";

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let limit = match text.parse() {
            // Only earlier job files spell `off` so.
            Ok(number) => Some(Self(Some(number))),
            Err(_) => (text == OFF).then_some(Self::OFF),
        };
        limit.filter(|limit| limit.is_sound()).ok_or_else(|| format!("expected {EXPECTED}"))
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(number) => serializer.serialize_f64(number),
            None => serializer.serialize_str(OFF),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Spelling)
    }
}

/// Reads a number, whole or not, or the word.
struct Spelling;

impl Visitor<'_> for Spelling {
    type Value = Limit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_f64<E>(self, number: f64) -> Result<Limit, E> {
        Ok(Limit::at(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Limit, E> {
        Ok(Limit::at(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Limit, E> {
        Ok(Limit::at(number as f64))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Limit, E> {
        if text == OFF {
            return Ok(Limit::OFF);
        }
        Err(E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_a_zero_and_the_word() {
        for (text, expected) in
            [("3", Limit::at(3.0)), ("0.5", Limit::at(0.5)), ("0", Limit::OFF), ("0.0", Limit::OFF)]
        {
            // What somebody types now is no old job file.
            let typed = text.parse::<Limit>().ok();
            assert_eq!(typed, Some(expected).filter(|limit| *limit != Limit::OFF), "{text}");
            assert_eq!(serde_json::from_str::<Limit>(text).unwrap(), expected, "{text}");
        }
        assert_eq!("off".parse(), Ok(Limit::OFF));
        for limit in [Limit::OFF, Limit::at(7.25)] {
            let json = serde_json::to_string(&limit).unwrap();
            assert_eq!(serde_json::from_str::<Limit>(&json).unwrap(), limit, "{json}");
        }
        for bad in ["-1", "nan", "inf", "of", ""] {
            assert_eq!(bad.parse::<Limit>(), Err("expected a number above 0, or off".to_owned()));
        }
        let error = serde_json::from_str::<Limit>("\"of\"").unwrap_err().to_string();
        assert!(error.contains("expected a number above 0, or off"), "{error}");
        assert!(serde_json::from_str::<Limit>("true").is_err());
        // What a file says out of range is for `Rules::validate`, which knows the field.
        assert!(!serde_json::from_str::<Limit>("-1").unwrap().is_sound());
        assert!(!Limit::at(f64::NAN).is_sound() && !Limit::at(f64::INFINITY).is_sound());
    }
}
