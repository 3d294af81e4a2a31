//! The word that lets somebody change what runs.

use std::path::Path;

use anyhow::{Context, ensure};

/// Fewest signs of a token.
const SHORTEST: usize = 16;

/// A token, of which only a hash is kept.
#[derive(Debug, Clone, Copy)]
pub struct Token(blake3::Hash);

impl Token {
    /// Reads a token: the first line of a file that nobody but its owner may read.
    ///
    /// # Errors
    /// If it cannot be read, others may read it, or it is short.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let place = || format!("{}", path.display());
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let mode = std::fs::metadata(path).with_context(place)?.mode();
            ensure!(
                mode.trailing_zeros() >= 6,
                "{}: others may read it; say: chmod 600 {0}",
                path.display()
            );
        }
        let text = std::fs::read_to_string(path).with_context(place)?;
        let token = text.lines().next().unwrap_or_default().trim();
        let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(
            token.len() >= SHORTEST && is_plain,
            "{}: a token has at least {SHORTEST} letters, digits or signs, and no blanks; make one by: openssl rand -hex 24",
            path.display()
        );
        Ok(Self(blake3::hash(token.as_bytes())))
    }

    /// Whether somebody has said it. How long this takes tells nothing of it.
    pub fn is(&self, said: &[u8]) -> bool {
        // Hashes are compared in constant time.
        blake3::hash(said) == self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_first_line_of_a_file_of_ones_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        let read = |text: &str, mode| {
            use std::os::unix::fs::PermissionsExt;
            std::fs::write(&path, text).expect("written");
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, mode).expect("set");
            Token::read(&path).map_err(|error| error.to_string())
        };
        let token = read(" 0123456789abcdef \nmore\n", 0o600).expect("a token");
        assert!(token.is(b"0123456789abcdef"));
        assert!(!token.is(b"0123456789abcde") && !token.is(b""));
        for (text, mode, part) in [
            ("0123456789abcdef", 0o640, "chmod 600"),
            ("short", 0o600, "at least 16"),
            ("", 0o600, "at least 16"),
            ("0123456789 abcdef", 0o600, "no blanks"),
        ] {
            let error = read(text, mode).expect_err(text);
            assert!(error.contains(part), "{error}");
        }
    }
}
