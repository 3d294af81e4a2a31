//! Names of tensors by pattern.

use optim::Pattern;

use crate::Error;

/// Patterns in which `*` stands for anything, `?` for one character and `[ab]` for one of several.
#[derive(Debug, Default)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Patterns from their texts.
    ///
    /// # Errors
    /// [`Error::Pattern`] if one is malformed.
    pub fn new(patterns: &[String]) -> Result<Self, Error> {
        let one = |pattern: &String| {
            Pattern::new(pattern).map_err(|error| {
                let problem = match error {
                    optim::Error::Pattern { problem, .. } => problem.to_owned(),
                    other => other.to_string(),
                };
                Error::Pattern { pattern: pattern.clone(), problem }
            })
        };
        patterns.iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Whether one of them matches the whole name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// Fails if a pattern matches none of the names: a slip of the pen would go unnoticed.
    ///
    /// # Errors
    /// [`Error::Pattern`] with the first one that matches none.
    pub fn check_all_match<'a>(
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
