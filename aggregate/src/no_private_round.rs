//! Stands for private merging where it is not built in: there is never such a round.

use serde::{Deserialize, Serialize};

use crate::blocks::Block;
use crate::{Error, Privacy, PrivacyReport};

/// What a state says of private rounds, not looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PrivacyState {}

#[derive(Debug, Clone)]
pub(crate) enum PrivateRound {}

impl PrivateRound {
    /// Never one: [`Privacy::validate`] refuses all options.
    pub(crate) fn new(options: Privacy, _: Option<PrivacyState>) -> Result<Self, Error> {
        options.validate()?;
        Err(Error::Feature { option: "private merging", feature: "privacy" })
    }

    pub(crate) fn clip(&self) -> f64 {
        match *self {}
    }

    pub(crate) fn noise(&self, _: usize) -> Noise {
        match *self {}
    }

    pub(crate) fn check(&self, _: usize) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn finish(&self, _: &[f64]) -> Result<(PrivacyState, PrivacyReport), Error> {
        match *self {}
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Noise {}

impl Noise {
    pub(crate) fn add(&self, _: Block, _: &mut [f64]) {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use crate::Rules;

    #[test]
    fn what_is_not_built_in_says_so() {
        for json in [
            r#"{ "privacy": { "clip_norm": 1, "noise_multiplier": 1 } }"#,
            #[cfg(not(feature = "random"))]
            r#"{ "reduce": { "name": "dare" } }"#,
            #[cfg(not(feature = "random"))]
            r#"{ "reduce": { "name": "median" }, "bucket": 2 }"#,
        ] {
            let rules: Rules = serde_json::from_str(json).unwrap();
            let text = rules.validate().unwrap_err().to_string();
            assert!(text.contains("is not built in; build the crate aggregate with"), "{text}");
        }
    }
}
