//! Patterns as of the shell.

use crate::Error;

/// A pattern for names: `*` is any run of characters, `?` any one, `[ab]` a or b.
#[derive(Debug, Clone)]
pub struct Pattern(glob::Pattern);

impl Pattern {
    /// A pattern from its text.
    ///
    /// # Errors
    /// [`Error::Pattern`] if it is malformed.
    pub fn new(text: &str) -> Result<Self, Error> {
        glob::Pattern::new(text)
            .map(Self)
            .map_err(|error| Error::Pattern { pattern: text.to_owned(), problem: error.msg })
    }

    /// Whether a whole name matches.
    pub fn matches(&self, name: &str) -> bool {
        self.0.matches(name)
    }

    /// The text it was made of.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_marks_and_lists() {
        let matches = |pattern, name| Pattern::new(pattern).unwrap().matches(name);
        assert!(matches("*.attn.*", "blocks.0.attn.qkv.weight"));
        assert!(matches("blocks.[01].norm?.weight", "blocks.1.norm2.weight"));
        assert!(!matches("head.*", "blocks.0.head.weight"));
        assert!(matches("head.bias", "head.bias"));
        assert!(Pattern::new("[a").unwrap_err().to_string().contains("\"[a\" is malformed"));
    }
}
