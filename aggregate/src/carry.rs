//! How tensors that are not averaged become one: integers, booleans, and what can only be copied.

use crate::dtype::{Kind, kind};
use crate::patterns::Patterns;
use crate::{Dtype, Error, TensorInfo};

/// How the values of one tensor become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carry {
    /// All updates must hold the same.
    Agree,
    /// The largest of each element.
    Max,
    /// Those of the first update in order of nodes that holds the tensor.
    First,
    /// Those of the base.
    Base,
}

/// The end of a text that takes tensors from the base.
pub(crate) const FROM_BASE: &str = "=base";

/// How each tensor is carried: by the first pattern that matches; without one, the largest of
/// counters, and what all hold of everything else.
#[derive(Debug)]
pub(crate) struct Carries {
    /// Text, pattern and rule.
    rules: Vec<(String, Patterns, Carry)>,
    /// What becomes of integers without dimensions.
    counters: Carry,
}

impl Carries {
    /// The rules of texts `PATTERN=max`, `PATTERN=first` or `PATTERN=base`.
    ///
    /// The largest of all counters is one node's number, which private merging must not tell.
    pub(crate) fn new(texts: &[String], is_private: bool) -> Result<Self, Error> {
        let one = |text: &String| {
            let rule = text.rsplit_once('=').and_then(|(pattern, rule)| match rule {
                "max" => Some((pattern, Carry::Max)),
                "first" => Some((pattern, Carry::First)),
                "base" => Some((pattern, Carry::Base)),
                _ => None,
            });
            let (pattern, rule) = rule.ok_or_else(|| {
                error(text, "expected PATTERN=max, PATTERN=first or PATTERN=base".to_owned())
            })?;
            Ok((text.clone(), Patterns::new(&[pattern.to_owned()])?, rule))
        };
        let rules = texts.iter().map(one).collect::<Result<_, Error>>()?;
        Ok(Self { rules, counters: if is_private { Carry::Agree } else { Carry::Max } })
    }

    /// How a tensor that is not averaged is carried.
    pub(crate) fn rule(&self, tensor: &TensorInfo) -> Carry {
        let matching =
            |(_, patterns, _): &&(String, Patterns, Carry)| patterns.matches(&tensor.name);
        if let Some(&(.., rule)) = self.rules.iter().find(matching) {
            return rule;
        }
        let is_number = kind(tensor.dtype) == Kind::Integer && tensor.dtype != Dtype::BOOL;
        if is_number && tensor.shape.is_empty() { self.counters } else { Carry::Agree }
    }

    /// Fails if a pattern has no effect, or asks for the largest of what has no order.
    pub(crate) fn check(&self, tensors: &[TensorInfo]) -> Result<(), Error> {
        for (text, patterns, rule) in &self.rules {
            let mut named = tensors.iter().filter(|t| patterns.matches(&t.name)).peekable();
            if named.peek().is_none() {
                return Err(error(text, "no tensor has such a name".to_owned()));
            }
            let mut carried = named.filter(|t| kind(t.dtype) != Kind::Float).peekable();
            if carried.peek().is_none() {
                let problem = "the tensors of such names hold floats, which are merged";
                return Err(error(text, problem.to_owned()));
            }
            let opaque = carried.find(|t| *rule == Carry::Max && kind(t.dtype) == Kind::Opaque);
            if let Some(TensorInfo { name, dtype, .. }) = opaque {
                let problem =
                    format!("tensor {name:?} has dtype {dtype}, of which none is largest");
                return Err(error(text, problem));
            }
        }
        Ok(())
    }
}

fn error(text: &str, problem: String) -> Error {
    Error::Pattern { pattern: text.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, dtype: Dtype, shape: &[usize]) -> TensorInfo {
        TensorInfo { name: name.into(), dtype, shape: shape.to_vec(), start: 0, shard: 0 }
    }

    #[test]
    fn the_first_pattern_decides_and_counters_take_the_largest() {
        let texts = ["a=b*=max", "*.ids=first", "*=base"].map(str::to_owned);
        let carries = Carries::new(&texts, false).unwrap();
        let rule = |name| carries.rule(&info(name, Dtype::I32, &[2]));
        assert_eq!(["a=b1", "x.ids", "y"].map(rule), [Carry::Max, Carry::First, Carry::Base]);
        for (dtype, shape, expected) in [
            (Dtype::I64, &[][..], Carry::Max),
            (Dtype::U8, &[], Carry::Max),
            (Dtype::I64, &[1], Carry::Agree),
            (Dtype::BOOL, &[], Carry::Agree),
            (Dtype::F8_E4M3, &[], Carry::Agree),
        ] {
            let tensor = info("n", dtype, shape);
            assert_eq!(Carries::new(&[], false).unwrap().rule(&tensor), expected, "{dtype}");
            assert_eq!(Carries::new(&[], true).unwrap().rule(&tensor), Carry::Agree, "{dtype}");
        }
    }

    #[test]
    fn what_has_no_effect_is_an_error() {
        let tensors =
            [info("f", Dtype::F32, &[]), info("i", Dtype::I8, &[]), info("q", Dtype::F4, &[2])];
        for (text, says) in [
            ("i", "expected PATTERN=max"),
            ("i=min", "expected PATTERN=max"),
            ("i[=max", "\"i[\""),
            ("j=max", "no tensor"),
            ("f=first", "floats"),
            ("q=max", "F4"),
        ] {
            let carries = Carries::new(&[text.to_owned()], false);
            let error = carries.and_then(|carries| carries.check(&tensors)).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
        for text in ["*=first", "q=base", "i=max"] {
            Carries::new(&[text.to_owned()], false).unwrap().check(&tensors).unwrap();
        }
    }
}
