//! A parameter group as in a configuration file.

use crate::Error;
use crate::checks::check_option;
use crate::pattern::Pattern;

/// One group, as in a configuration file; a tensor belongs to the first group that matches its name.
///
/// ```
/// use optim::GroupConfig;
///
/// let no_decay = GroupConfig { weight_decay: Some(0.0), ..GroupConfig::new(&["*.bias", "*norm*"]) };
/// # #[cfg(feature = "serde")]
/// assert_eq!(
///     serde_json::from_str::<GroupConfig>(r#"{ "params": ["*.bias", "*norm*"], "weight_decay": 0.0 }"#)?,
///     no_decay
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct GroupConfig {
    /// Names of tensors, with the feature `glob` also patterns for them: `*` is any run of
    /// characters, `?` any one, `[ab]` a or b.
    pub params: Vec<String>,
    /// What the learning rate is multiplied by, at least 0; 1 if left out.
    pub lr_scale: f32,
    /// Weight decay instead of that of the optimizer.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub weight_decay: Option<f32>,
    /// Longest gradient over the tensors of the group; a longer one is scaled down to it.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub clip_norm: Option<f32>,
    /// Whether these parameters stay as they are.
    pub frozen: bool,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self { params: vec![], lr_scale: 1.0, weight_decay: None, clip_norm: None, frozen: false }
    }
}

impl GroupConfig {
    /// A group of these names or patterns with nothing special.
    pub fn new(params: &[&str]) -> Self {
        Self { params: params.iter().map(|&p| p.to_owned()).collect(), ..Self::default() }
    }

    /// Checks numbers and patterns.
    ///
    /// # Errors
    /// If a number is out of range, there is no pattern, or one is malformed.
    pub fn validate(&self) -> Result<(), Error> {
        const OWNER: &str = "parameter group";
        check_option(OWNER, "lr_scale", self.lr_scale, |v| v >= 0.0, "at least 0")?;
        for (option, value) in [("weight_decay", self.weight_decay), ("clip_norm", self.clip_norm)]
        {
            check_option(OWNER, option, value.unwrap_or(0.0), |v| v >= 0.0, "at least 0")?;
        }
        if self.params.is_empty() {
            let conflict = "it has no pattern for names; give params = [\"head.*\"]";
            return Err(Error::Conflict { owner: OWNER, conflict });
        }
        self.params.iter().try_for_each(|text| Pattern::new(text).map(|_| ()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_an_error_that_says_so() {
        let ok = GroupConfig::new(&["head.bias"]);
        assert_eq!(ok.validate(), Ok(()));
        let error = |group: GroupConfig| group.validate().unwrap_err().to_string();
        assert!(error(GroupConfig::default()).contains("no pattern"));
        assert!(error(GroupConfig::new(&["[a"])).contains("\"[a\""));
        let nan = GroupConfig { lr_scale: f32::NAN, ..ok.clone() };
        assert!(error(nan).contains("lr_scale is NaN"));
        let negative = GroupConfig { weight_decay: Some(-1.0), ..ok };
        assert!(error(negative).contains("weight_decay is -1"));
    }
}
