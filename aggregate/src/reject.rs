//! Updates that were not merged, and why.

use std::fmt;
use std::path::PathBuf;

use crate::tensor::{TensorInfo, shape_text};
use crate::{Dtype, FormatProblem};

/// An update that did not pass a check; the others were merged without it.
///
/// Displays as `path (node): reason`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// The update's file.
    pub path: PathBuf,
    /// The node it came from, if it was stated.
    pub node: Option<String>,
    /// Which check it failed.
    pub reason: Reason,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(node) = &self.node {
            write!(f, " (node {node:?})")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// The check an update failed. Displays as a phrase that does not repeat the file's path.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The file is missing or cannot be read.
    #[error("cannot be read: {message}")]
    Unreadable {
        /// What the system said.
        message: String,
    },
    /// The file is not a valid safetensors file.
    #[error("not a valid safetensors file: {problem}")]
    Malformed {
        /// What is wrong with it.
        problem: FormatProblem,
    },
    /// The file changed while it was checked.
    #[error("the file changed while it was being read")]
    Changed,
    /// A tensor that the others have is missing.
    #[error("tensor {tensor:?} is missing")]
    Missing {
        /// The tensor.
        tensor: String,
    },
    /// There is a tensor that the others do not have.
    #[error("tensor {tensor:?} is not expected")]
    Unexpected {
        /// The tensor.
        tensor: String,
    },
    /// A tensor has another shape.
    #[error("tensor {tensor:?} has shape {}, expected {}", shape_text(found), shape_text(expected))]
    Shape {
        /// The tensor.
        tensor: String,
        /// The shape of the base or of the majority.
        expected: Vec<usize>,
        /// The shape in this update.
        found: Vec<usize>,
    },
    /// A tensor has another dtype.
    #[error(
        "tensor {tensor:?} has dtype {found}, expected {expected}{}",
        if *convertible { "; files that differ in no more than the dtype of floats can be merged into one (dtype: f16, bf16, f32 or f64)" } else { "" }
    )]
    Dtype {
        /// The tensor.
        tensor: String,
        /// The dtype of the base or of the majority.
        expected: Dtype,
        /// The dtype in this update.
        found: Dtype,
        /// Whether a result of one dtype ([`Options::dtype`](crate::Options::dtype)) would take both:
        /// files differ in nothing but the dtypes of floats.
        convertible: bool,
    },
    /// A float is NaN or infinite, or a boolean is neither 0 nor 1.
    #[error("tensor {tensor:?} holds {found} at element {index}")]
    Value {
        /// The tensor.
        tensor: String,
        /// The first bad element.
        index: usize,
        /// What is there, in words.
        found: String,
    },
    /// It was trained from another model.
    #[error("started from another base: hash {found}, expected {expected}")]
    Base {
        /// The hash of the base, or the one most updates state.
        expected: String,
        /// The hash this update states.
        found: String,
    },
    /// It was trained from a model that is too old.
    #[error("started from a model that is {age} versions old, at most {max_age} are allowed")]
    Age {
        /// Versions between its base and the base of the merge.
        age: u64,
        /// The most that is allowed.
        max_age: u64,
    },
    /// It moved much further from the base than the others.
    #[error(
        "its change has norm {norm:.3e}, that of the others is {median:.3e}; at most {limit:.3e} is allowed"
    )]
    Norm {
        /// Euclidean norm of the change over all tensors.
        norm: f64,
        /// The median of all updates' norms.
        median: f64,
        /// The greatest that counts.
        limit: f64,
    },
    /// It claims a length of local training that makes no sense, or is far beyond the others'.
    #[error("it states {steps:.3e} local steps, at most {limit:.3e} are believed")]
    Steps {
        /// What it claims.
        steps: f64,
        /// The most that is believed.
        limit: f64,
    },
    /// It does not state the loss that the rule goes by.
    #[error(
        "it does not state its loss at the model it started from; train it with a program that does, or merge by another rule"
    )]
    NoLoss,
    /// Its loss is no loss.
    #[error("it states a loss of {loss:.3e}, expected a finite number of at least 0")]
    Loss {
        /// What it claims.
        loss: f64,
    },
    /// Its integers, its booleans, or the bytes of a dtype that is not averaged are not those of the
    /// others.
    #[error(
        "tensor {tensor:?} holds {found} at element {index}, {} {expected}, and such tensors are not averaged; say how it is carried (carry: max, first or base), or keep it local",
        if *of_most { "most others" } else { "others (no value has a majority)" }
    )]
    Integers {
        /// The tensor.
        tensor: String,
        /// The first element that differs.
        index: usize,
        /// What is there, in words.
        found: String,
        /// What is in the others.
        expected: String,
        /// Whether more than half of the nodes hold that, and not only as many as hold another.
        of_most: bool,
    },
    /// Another update goes by the name of the same node; both are left out.
    #[error("node {node:?} sent {} too, and none of the two counts", other.display())]
    Duplicate {
        /// The node.
        node: String,
        /// The other update, or one of them.
        other: PathBuf,
    },
    /// The updates that were merged into it are not all its own.
    #[error("node {node:?} is in {} too", other.display())]
    Overlap {
        /// A node of both.
        node: String,
        /// The other update, of as many nodes or fewer.
        other: PathBuf,
    },
    /// It is byte for byte another update of its node, or leads to the same file; that one counts.
    #[error("it is a copy of {}, which counts once", of.display())]
    Copy {
        /// The other path.
        of: PathBuf,
    },
    /// Its adapters cannot be stacked, or not with those of the others.
    #[error("{problem}")]
    Adapter {
        /// Why, in words.
        problem: String,
    },
    /// It is no difference that can be applied to the base.
    #[error("{problem}")]
    Difference {
        /// Why, in words.
        problem: String,
    },
    /// The caller left it out.
    #[error("{message}")]
    Refused {
        /// Why, in words.
        message: String,
    },
}

impl Reason {
    /// The kind of reason in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "unreadable",
            Self::Malformed { .. } => "malformed",
            Self::Changed => "changed",
            Self::Missing { .. } => "missing",
            Self::Unexpected { .. } => "unexpected",
            Self::Shape { .. } => "shape",
            Self::Dtype { .. } => "dtype",
            Self::Value { .. } => "value",
            Self::Base { .. } => "base",
            Self::Age { .. } => "age",
            Self::Norm { .. } => "norm",
            Self::Steps { .. } => "steps",
            Self::NoLoss | Self::Loss { .. } => "loss",
            Self::Integers { .. } => "integers",
            Self::Duplicate { .. } => "duplicate",
            Self::Overlap { .. } => "overlap",
            Self::Copy { .. } => "copy",
            Self::Adapter { .. } => "adapter",
            Self::Difference { .. } => "difference",
            Self::Refused { .. } => "refused",
        }
    }

    /// The same for an update that may lack tensors, though not all of them.
    pub(crate) fn mismatch_of_part(expected: &[TensorInfo], found: &[TensorInfo]) -> Option<Self> {
        let is_there =
            |tensor: &&TensorInfo| found.binary_search_by(|f| f.name.cmp(&tensor.name)).is_ok();
        let part: Vec<TensorInfo> = expected.iter().filter(is_there).cloned().collect();
        // Of a file with nothing in common the first difference is what is said.
        Self::mismatch(if part.is_empty() { expected } else { &part }, found)
    }

    /// The first difference in names, dtypes and shapes, in order of names; both lists are sorted.
    pub(crate) fn mismatch(expected: &[TensorInfo], found: &[TensorInfo]) -> Option<Self> {
        for (e, f) in expected.iter().zip(found) {
            let tensor = f.name.clone();
            if e.name < f.name {
                return Some(Self::Missing { tensor: e.name.clone() });
            } else if e.name > f.name {
                return Some(Self::Unexpected { tensor });
            } else if e.dtype != f.dtype {
                let (expected, found) = (e.dtype, f.dtype);
                return Some(Self::Dtype { tensor, expected, found, convertible: false });
            } else if e.shape != f.shape {
                let (expected, found) = (e.shape.clone(), f.shape.clone());
                return Some(Self::Shape { tensor, expected, found });
            }
        }
        if let Some(extra) = found.get(expected.len()) {
            return Some(Self::Unexpected { tensor: extra.name.clone() });
        }
        let missing = expected.get(found.len())?;
        Some(Self::Missing { tensor: missing.name.clone() })
    }
}

/// The rejections after a colon, if there are some.
pub(crate) fn refused(rejected: &[Rejected]) -> String {
    if rejected.is_empty() { String::new() } else { format!("; refused:{}", lines(rejected)) }
}

/// The rejections, each on a line of its own.
pub(crate) fn lines(rejected: &[Rejected]) -> String {
    rejected.iter().flat_map(|r| ["\n  ".to_owned(), r.to_string()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, shape: &[usize]) -> TensorInfo {
        TensorInfo {
            name: name.into(),
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            start: 0,
            shard: 0,
        }
    }

    #[test]
    fn the_first_difference_is_named() {
        let (a, b, c) = (info("a", &[1]), info("b", &[2, 3]), info("c", &[]));
        let check = |expected: &[&TensorInfo], found: &[&TensorInfo]| {
            let list = |tensors: &[&TensorInfo]| tensors.iter().map(|&t| t.clone()).collect();
            let (expected, found): (Vec<_>, Vec<_>) = (list(expected), list(found));
            Reason::mismatch(&expected, &found).map(|reason| reason.to_string())
        };
        assert_eq!(check(&[&a, &b], &[&a, &b]), None);
        assert_eq!(check(&[&a, &b, &c], &[&a, &c]).unwrap(), "tensor \"b\" is missing");
        assert_eq!(check(&[&a, &b], &[&a]).unwrap(), "tensor \"b\" is missing");
        assert_eq!(check(&[&a], &[&a, &b]).unwrap(), "tensor \"b\" is not expected");
        assert_eq!(check(&[&b], &[&a, &b]).unwrap(), "tensor \"a\" is not expected");
        let other = info("b", &[3, 2]);
        assert_eq!(
            check(&[&b], &[&other]).unwrap(),
            "tensor \"b\" has shape [3, 2], expected [2, 3]"
        );
        let part = |found: &[TensorInfo]| {
            let expected = [a.clone(), b.clone(), c.clone()];
            Reason::mismatch_of_part(&expected, found).map(|reason| reason.to_string())
        };
        assert_eq!(part(std::slice::from_ref(&b)), None);
        assert_eq!(part(&[]).unwrap(), "tensor \"a\" is missing");
        let other_name = info("bb", &[1]);
        assert_eq!(part(&[b.clone(), other_name]).unwrap(), "tensor \"bb\" is not expected");
        assert!(part(&[info("b", &[7])]).unwrap().contains("shape [7]"));
        let half = TensorInfo { dtype: Dtype::F16, ..b.clone() };
        assert_eq!(check(&[&b], &[&half]).unwrap(), "tensor \"b\" has dtype F16, expected F32");
    }
}
