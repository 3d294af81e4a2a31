//! Files made to break a reader: every problem by name, mutated files and random bytes.

use std::path::Path;

use aggregate::{Error, FormatProblem, WeightFile};
use proptest::prelude::*;
use safetensors::SafeTensors;

use crate::support::{Folder, f32_tensor, raw_tensor};

/// A file with this header and so many bytes of data.
fn with_header(json: &str, n_data: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.resize(bytes.len() + n_data, 0);
    bytes
}

fn tensor(name: &str, shape: &str, start: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{start},{end}]}}"#)
}

#[test]
fn every_problem_is_named_with_the_file() {
    let folder = Folder::new();
    let check = |bytes: &[u8], expected: &str| {
        let path = folder.save_bytes("bad.safetensors", bytes);
        let error = WeightFile::open(path).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.contains("bad.safetensors is not a valid safetensors file"), "{message}");
        assert!(message.contains(expected), "{message}");
    };
    check(b"", "the file is empty");
    check(b"short", "it has 5 bytes");
    check(b"PK\x03\x04 a zip archive", "it may be another kind of file");
    check(&u64::MAX.to_le_bytes(), "it claims a header of 18446744073709551615 bytes");
    check(&100_000_001u64.to_le_bytes(), "the format allows 100000000");
    check(&99_999_999u64.to_le_bytes(), "it claims a header of 99999999 bytes and has 8 bytes in");
    check(&with_header("", 0), "does not begin with '{'");
    check(&with_header("{\"w\":", 0), "its header cannot be parsed");
    check(&with_header("{\"w\":[]}", 0), "its header cannot be parsed");
    check(&[&[2, 0, 0, 0, 0, 0, 0, 0, b'{', 0xFF][..], &[0; 4]].concat(), "cannot be parsed");

    let whole = with_header(&format!("{{{}}}", tensor("w", "[4]", 0, 16)), 16);
    assert!(WeightFile::open(folder.save_bytes("good", &whole)).is_ok());
    check(&whole[..whole.len() - 1], "\"w\" ends at data byte 16 and the file holds 15");
    check(&whole[..20], "it was cut short");
    check(&[&whole[..], b"x"].concat(), "the data bytes 16 to 17 belong to no tensor");

    let two = |a: String, b: String| with_header(&format!("{{{a},{b}}}"), 16);
    let a = || tensor("a", "[2]", 0, 8);
    check(&two(a(), tensor("b", "[3]", 4, 16)), "\"b\" starts at byte 4, inside the tensor before");
    check(&two(a(), tensor("b", "[1]", 12, 16)), "the data bytes 8 to 12 belong to no tensor");
    check(&two(a(), tensor("a", "[2]", 8, 16)), "two tensors are called \"a\"");
    check(&two(a(), tensor("b", "[2]", 16, 8)), "\"b\" starts at byte 16 and ends at byte 8");
    check(&two(a(), tensor("b", "[3]", 8, 16)), "\"b\" has 8 bytes, its dtype and shape need 12");
    let end = u64::MAX;
    check(&two(a(), tensor("b", "[1]", end - 4, end)), "belong to no tensor");
    check(
        &two(a(), tensor("b", "[4294967296,4294967296]", 8, 16)),
        "shape of tensor \"b\" overflow",
    );
    check(&two(a(), tensor("b", "[4611686018427387904]", 8, 8)), "shape of tensor \"b\" overflows");
    check(&two(a(), tensor("b", "[2]", 8, 16).replace("F32", "Q4")), "unknown dtype \"Q4\"");
}

#[test]
fn what_is_not_a_file_is_refused_without_waiting() {
    let folder = Folder::new();
    let open = |path: &Path| WeightFile::open(path).unwrap_err();
    let problem = open(folder.path("").as_path());
    assert!(matches!(problem, Error::Format { problem: FormatProblem::NotAFile, .. }));
    let missing = open(&folder.path("missing"));
    assert!(matches!(missing, Error::Read { .. }) && missing.to_string().contains("missing"));
    #[cfg(unix)]
    assert!(matches!(open(Path::new("/dev/zero")), Error::Format { .. }));
}

/// Every tensor of a file that opens can be read.
fn read_all(file: &WeightFile) {
    for tensor in file.tensors() {
        let mut n = 0;
        if file.visit_f64(&tensor.name, |piece| n += piece.len()).is_ok() {
            assert_eq!(n, tensor.n_elements());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        small_header in any::<bool>(),
    ) {
        let folder = Folder::new();
        let mut bytes = bytes;
        if small_header && bytes.len() > 8 {
            let n = u64::from(bytes[0]) % (bytes.len() as u64 - 7);
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            bytes[8] = b'{';
        }
        if let Ok(file) = WeightFile::open(folder.save_bytes("bytes", &bytes)) {
            read_all(&file);
        }
    }

    /// A valid file with a few bytes changed, cut or added: what opens can be read, and nothing
    /// opens that the safetensors crate refuses.
    #[test]
    fn mutated_files_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        digits in prop::collection::vec((any::<prop::sample::Index>(), b'0'..=b'9'), 0..3),
        cut in prop::option::of(any::<prop::sample::Index>()),
        added in 0..3usize,
    ) {
        let folder = Folder::new();
        let path = folder.save("valid", &[
            f32_tensor("a", &[2, 3], &[1.0; 6]),
            f32_tensor("b", &[0], &[]),
            raw_tensor("c", &[], aggregate::Dtype::I64, &[7; 8]),
        ]);
        let mut bytes = std::fs::read(path).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let of_digits: Vec<_> =
            (8..bytes.len()).filter(|&i| bytes[i].is_ascii_digit()).collect();
        for (at, digit) in digits {
            if !of_digits.is_empty() {
                bytes[*at.get(&of_digits)] = digit;
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        bytes.resize(bytes.len() + added, 0);

        let ours = WeightFile::open(folder.save_bytes("mutated", &bytes));
        let theirs = SafeTensors::deserialize(&bytes);
        match ours {
            Ok(file) => {
                read_all(&file);
                prop_assert!(theirs.is_ok(), "{:?}", theirs.err());
            }
            // That crate keeps one of two equal names and takes a header that begins with a space.
            Err(Error::Format {
                problem: FormatProblem::DuplicateTensor { .. } | FormatProblem::NotSafetensors, ..
            }) => {}
            Err(error) => prop_assert!(theirs.is_err(), "{error}"),
        }
    }
}
