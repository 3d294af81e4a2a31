//! Exact names.

use crate::Error;

/// A name.
#[derive(Debug, Clone)]
pub struct Pattern(String);

impl Pattern {
    /// A name. What means many names elsewhere must not mean none here.
    ///
    /// # Errors
    /// [`Error::Pattern`] if the text is a pattern.
    pub fn new(text: &str) -> Result<Self, Error> {
        if text.contains(['*', '?', '[']) {
            let problem = "only exact names are known; build optim with its feature `glob`";
            return Err(Error::Pattern { pattern: text.to_owned(), problem });
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether it is this name.
    pub fn matches(&self, name: &str) -> bool {
        self.0 == name
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_themselves_and_patterns_are_refused() {
        let name = Pattern::new("head.bias").unwrap();
        assert!(name.matches("head.bias") && !name.matches("head.weight"));
        for pattern in ["head.*", "head.bia?", "head.[bw]"] {
            let message = Pattern::new(pattern).unwrap_err().to_string();
            assert!(message.contains("feature `glob`"), "{message}");
        }
    }
}
