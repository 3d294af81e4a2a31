//! Signed documents: a line of JSON and a line with its signature.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::hash::Hash;
use crate::key::{PublicKey, SecretKey};

/// What is signed begins with this, so that a signature stands for nothing else.
const CONTEXT: &str = "edgectl-rounds-1\n";

/// What the second line begins with.
const SCHEME: &str = "ed25519 ";

/// A kind of document.
pub trait Document: Serialize + DeserializeOwned {
    /// Its name, the value of `kind`.
    const KIND: &'static str;
}

/// A document whose signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked<T> {
    /// What it says.
    pub body: T,
    /// Hash of the whole file, by which others refer to it.
    pub hash: Hash,
}

/// `kind` beside the body.
#[derive(Serialize, serde::Deserialize)]
struct Tagged<T> {
    kind: String,
    #[serde(flatten)]
    body: T,
}

/// The file of a document: `JSON \n "ed25519 " signature \n`, where the signature, 128 hexadecimal digits, is over
/// `"edgectl-rounds-1\n"` and the JSON without its line end.
///
/// # Errors
/// If a value has no JSON, as a number that is not finite.
pub fn sign<T: Document>(body: &T, key: &SecretKey) -> Result<Vec<u8>, Error> {
    let tagged = Tagged { kind: T::KIND.to_owned(), body };
    let json = serde_json::to_string(&tagged)
        .map_err(|error| Error::refused(T::KIND, format!("cannot be written: {error}")))?;
    let signature = key.sign(&message(&json));
    Ok(format!("{json}\n{SCHEME}{signature}\n").into_bytes())
}

/// Reads a document that a key has signed.
///
/// # Errors
/// If it is none, of another kind, or not signed by the key.
pub fn verify<T: Document>(path: &str, bytes: &[u8], key: &PublicKey) -> Result<Checked<T>, Error> {
    let (json, signature) = split(bytes).ok_or_else(|| {
        Error::refused(path, "no signed document: a line of JSON and a signature")
    })?;
    if !key.verifies(&message(json), signature) {
        return Err(Error::refused(path, format!("not signed by {key}")));
    }
    let tagged: Tagged<T> = serde_json::from_str(json)
        .map_err(|error| Error::refused(path, format!("no {}: {error}", T::KIND)))?;
    if tagged.kind != T::KIND {
        return Err(Error::refused(path, format!("a {} where a {} belongs", tagged.kind, T::KIND)));
    }
    Ok(Checked { body: tagged.body, hash: Hash::of(bytes) })
}

/// What a document says of itself, whoever signed it: for messages only.
pub fn unverified<T: Document>(bytes: &[u8]) -> Option<T> {
    let tagged: Tagged<T> = serde_json::from_str(split(bytes)?.0).ok()?;
    (tagged.kind == T::KIND).then_some(tagged.body)
}

/// The two lines.
fn split(bytes: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (json, rest) = text.split_once('\n')?;
    let signature = rest.strip_prefix(SCHEME)?.strip_suffix('\n')?;
    (!signature.contains('\n')).then_some((json, signature))
}

fn message(json: &str) -> Vec<u8> {
    [CONTEXT.as_bytes(), json.as_bytes()].concat()
}
