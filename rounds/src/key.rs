//! Ed25519 keys and their files.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use ed25519_dalek::{Signer, SigningKey, Verifier, VerifyingKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::file::write_new;

/// What a public key begins with when written.
const PUBLIC: &str = "ed25519:";
/// What a secret key begins with in its file.
const SECRET: &str = "ed25519-secret:";

/// What signs for a center or a node. Its file holds one line, and only its owner may read it.
pub struct SecretKey(SigningKey);

/// By which a signature is checked; written as `ed25519:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(VerifyingKey);

impl SecretKey {
    /// A fresh key by the system's random numbers.
    ///
    /// # Errors
    /// If the system has none.
    pub fn generate() -> Result<Self, Error> {
        let mut seed = Zeroizing::new([0; 32]);
        let problem = |error| Error::setup("a fresh key", format!("no random numbers: {error}"));
        getrandom::fill(&mut *seed).map_err(problem)?;
        Ok(Self::of_seed(&seed))
    }

    /// The key of a seed of 32 bytes (RFC 8032).
    pub fn of_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads a key from its file.
    ///
    /// # Errors
    /// If there is no such file, others than its owner may read it, or it is no secret key.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let shown = path.display();
        let failed = |source| Error::File { path: path.to_owned(), source };
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
            if mode & 0o077 != 0 {
                let problem = format!(
                    "others may read this secret key (mode {:o}); chmod 600 it, and make a new one if somebody has",
                    mode & 0o777
                );
                return Err(Error::setup(shown.to_string(), problem));
            }
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
        let digits = text.trim().strip_prefix(SECRET).ok_or_else(|| {
            let what =
                if text.starts_with(PUBLIC) { "this is a public key" } else { "no secret key" };
            Error::setup(shown.to_string(), format!("{what}; make one with edgectl keys new"))
        })?;
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits, &mut *seed)
            .map_err(|_| Error::setup(shown.to_string(), "damaged: not 64 hexadecimal digits"))?;
        Ok(Self::of_seed(&seed))
    }

    /// Writes the key to a file that is not there yet, which only its owner may read.
    ///
    /// # Errors
    /// If there is one, or it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let text = Zeroizing::new(format!("{SECRET}{}\n", hex::encode(self.0.as_bytes())));
        write_new(path, text.as_bytes(), true)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs a message.
    pub(crate) fn sign(&self, message: &[u8]) -> String {
        hex::encode(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the secret key of {}", self.public())
    }
}

impl PublicKey {
    /// Reads a key from its file of one line.
    ///
    /// # Errors
    /// If there is no such file, or it is no public key.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(failed)?;
        if text.starts_with(SECRET) {
            let problem = "this is the secret key; its public half ends in .pub";
            return Err(Error::setup(path.display().to_string(), problem));
        }
        text.trim().parse().map_err(|_| {
            Error::setup(path.display().to_string(), "no public key: ed25519:… on one line")
        })
    }

    /// Writes the key to a file that is not there yet.
    ///
    /// # Errors
    /// If there is one, or it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        write_new(path, format!("{self}\n").as_bytes(), false)
    }

    /// Whether a signature of 128 hexadecimal digits is of this key and message.
    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        let mut bytes = [0; 64];
        hex::decode_to_slice(signature, &mut bytes).is_ok()
            && self.0.verify(message, &ed25519_dalek::Signature::from_bytes(&bytes)).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", hex::encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut bytes = [0; 32];
        let digits =
            text.strip_prefix(PUBLIC).filter(|d| hex::decode_to_slice(d, &mut bytes).is_ok());
        let key = digits.and_then(|_| VerifyingKey::from_bytes(&bytes).ok());
        // A weak key would verify many messages.
        let key = key.filter(|key| !key.is_weak()).map(Self);
        key.ok_or_else(|| {
            Error::setup(format!("{text:?}"), "no public key: ed25519: and 64 hexadecimal digits")
        })
    }
}

impl TryFrom<String> for PublicKey {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}
