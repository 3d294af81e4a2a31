//! Documents, keys and rosters as files.

use std::fs;

use proptest::prelude::*;
use rounds::{
    BlobRef, Commit, Encoding, Hash, NodeId, PublicKey, Roster, SecretKey, Work, sign, verify,
};

use crate::bench::{NOW, key};

fn commit(examples: u64) -> Commit {
    let blob = BlobRef { hash: Hash::of(b"blob"), bytes: 4 };
    Commit {
        job: "0123456789abcdef0123456789abcdef".to_owned(),
        round: 1,
        node: "node-1".parse().expect("a name"),
        base: Hash::of(b"base"),
        blob,
        unpacked: blob,
        encoding: Encoding::Whole,
        work: Work { examples, steps: 3, partial: false, seconds: 1.5, speed: None },
        sent: NOW,
        expires: NOW + 1,
    }
}

/// The vector of docs/protocol.md.
#[test]
fn a_document_is_signed_as_the_page_says() {
    let key = SecretKey::of_seed(&[7; 32]);
    let bytes = sign(&commit(10), &key).expect("signed");
    let page = include_str!("../../../docs/protocol.md");
    let text = String::from_utf8(bytes).expect("text");
    assert!(page.contains(&key.public().to_string()), "{}", key.public());
    assert!(page.contains(&text), "{text}");
}

#[test]
fn keys_are_written_once_and_for_their_owner() {
    let folder = tempfile::tempdir().expect("a folder");
    let (secret, public) = (folder.path().join("a.key"), folder.path().join("a.pub"));
    let key = SecretKey::generate().expect("random numbers");
    key.write(&secret).expect("written");
    key.public().write(&public).expect("written");
    assert_eq!(SecretKey::read(&secret).expect("read").public(), key.public());
    assert_eq!(PublicKey::read(&public).expect("read"), key.public());
    assert!(key.write(&secret).expect_err("there").to_string().contains("is there already"));
    assert!(SecretKey::read(&public).is_err() && PublicKey::read(&secret).is_err());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&secret).expect("there").permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).expect("set");
        let error = SecretKey::read(&secret).expect_err("others may read it").to_string();
        assert!(error.contains("others may read"), "{error}");
    }
    fs::write(&public, "ed25519:12").expect("written");
    assert!(PublicKey::read(&public).is_err());
    // A point of small order verifies what nobody signed.
    assert!(format!("ed25519:{}", "00".repeat(32)).parse::<PublicKey>().is_err());
}

#[test]
fn rosters_say_what_is_wrong_with_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("roster.toml");
    let of = |text: &str| {
        fs::write(&path, text).expect("written");
        Roster::read(&path)
    };
    let (a, b) = (key(1).public(), key(2).public());
    let roster =
        of(&format!("revoked = [\"b\"]\n[nodes]\na = \"{a}\"\nb = \"{b}\"\n")).expect("sound");
    assert_eq!(roster.counting().nodes.len(), 1);
    assert_eq!(of(&roster.to_toml()).expect("sound"), roster);
    for (text, why) in [
        (String::new(), "missing field `nodes`"),
        ("[nodes]\n".to_owned(), "names no node"),
        (format!("[nodes]\na = \"{a}\"\nb = \"{a}\"\n"), "the same key"),
        (format!("revoked = [\"c\"]\n[nodes]\na = \"{a}\"\n"), "not listed"),
        (format!("[nodes]\n\"../a\" = \"{a}\"\n"), "no name of a node"),
        ("[nodes]\na = \"ed25519:00\"\n".to_owned(), "no public key"),
        (format!("revokd = []\n[nodes]\na = \"{a}\"\n"), "unknown field"),
    ] {
        let error = of(&text).expect_err(&text).to_string();
        assert!(error.contains(why), "{error:?} does not say {why:?}");
    }
}

proptest! {
    #[test]
    fn a_document_with_one_other_byte_is_not_believed(examples in 0..1_000_000_u64, at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let key = key(3);
        let mut bytes = sign(&commit(examples), &key).expect("signed");
        prop_assert!(verify::<Commit>("x", &bytes, &key.public()).is_ok());
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        // Hexadecimal digits of a signature may be of either case.
        if let Ok(checked) = verify::<Commit>("x", &bytes, &key.public()) {
            prop_assert_eq!(checked.body, commit(examples));
            prop_assert_eq!(flip, 0x20);
        }
    }

    #[test]
    fn names_are_safe_in_paths(name in ".{0,120}") {
        if let Ok(id) = name.parse::<NodeId>() {
            prop_assert!(!id.as_str().contains(['/', '\\', ':', '%', '#', '?']));
            prop_assert!(!id.as_str().starts_with('.') && id.as_str().len() <= 100);
        }
    }
}
