//! How many updates become one: the choice of the rule.

use serde::{Deserialize, Serialize};

/// The rule that makes one model of many, coordinate by coordinate.
///
/// In a configuration file it is a table with the rule's `name`.
///
/// ```
/// use aggregate::Reducer;
///
/// let reducer: Reducer = serde_json::from_str(r#"{ "name": "mean" }"#)?;
/// assert_eq!(reducer, Reducer::Mean);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", from = "Spelling")]
#[non_exhaustive]
pub enum Reducer {
    /// The weighted mean `Σ p_i x_i` with `p_i = w_i / Σ w_j`.
    ///
    /// Floats are summed in f64 and rounded once. Integers are rounded to the nearest, ties to
    /// even; booleans go with the greater weight, a tie to false.
    ///
    /// It is the averaging of <https://arxiv.org/abs/1602.05629>.
    #[default]
    Mean,
}

impl Reducer {
    /// The name as spelled in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mean => "mean",
        }
    }
}

/// What is read: serde refuses unknown keys beside a tag only if the variant has braces.
#[derive(Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
enum Spelling {
    Mean {},
}

impl From<Spelling> for Reducer {
    fn from(spelling: Spelling) -> Self {
        match spelling {
            Spelling::Mean {} => Self::Mean,
        }
    }
}
