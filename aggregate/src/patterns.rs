//! Names of tensors by pattern.

use glob::Pattern;

use crate::Error;

/// Patterns in which `*` stands for anything, `?` for one character and `[ab]` for one of several.
#[derive(Debug, Default)]
pub(crate) struct Patterns(Vec<Pattern>);

impl Patterns {
    pub(crate) fn new(patterns: &[String]) -> Result<Self, Error> {
        let one = |pattern: &String| {
            Pattern::new(pattern)
                .map_err(|e| Error::Pattern { pattern: pattern.clone(), problem: e.msg.to_owned() })
        };
        patterns.iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// Fails if a pattern matches none of the names: a slip of the pen would go unnoticed.
    pub(crate) fn check_all_match<'a>(
        &self,
        names: &(impl Iterator<Item = &'a str> + Clone),
    ) -> Result<(), Error> {
        match self.0.iter().find(|pattern| !names.clone().any(|name| pattern.matches(name))) {
            None => Ok(()),
            Some(pattern) => Err(Error::Pattern {
                pattern: pattern.as_str().to_owned(),
                problem: "no tensor has such a name".to_owned(),
            }),
        }
    }
}
