//! Names of nodes, which become part of paths.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Most bytes of a name.
const LONGEST: usize = 100;

/// A node's name: letters, digits, `.`, `_` and `-`, not beginning with a dot or a dash, so that it is
/// the same in every file system, bucket and URL, and leads nowhere else.
///
/// ```
/// use rounds::NodeId;
/// assert_eq!("ward-3.bed_07".parse::<NodeId>()?.as_str(), "ward-3.bed_07");
/// for wrong in ["", "..", "../other", "a/b", "a b", "-x", ".hidden", "é"] {
///     assert!(wrong.parse::<NodeId>().is_err(), "{wrong}");
/// }
/// # Ok::<(), rounds::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(String);

impl NodeId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || text.starts_with(['.', '-']) || !text.chars().all(fine) {
            let problem = "no name of a node: letters, digits, '.', '_' and '-', beginning with a letter or a digit";
            return Err(Error::setup(format!("{text:?}"), problem));
        }
        if text.len() > LONGEST {
            let problem =
                format!("a node's name has at most {LONGEST} bytes, this one {}", text.len());
            return Err(Error::setup(format!("{:?}…", &text[..20]), problem));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for NodeId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> Self {
        id.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
