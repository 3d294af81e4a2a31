//! Damage: sound files with a few edits, some blind, some that know what the bytes stand for.

use std::ops::Range;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::reshape::reshaped;

/// Numbers at which sizes, indices and conversions go wrong.
const NUMBERS: [&str; 24] = [
    "0",
    "1",
    "-1",
    "2",
    "7",
    "255",
    "65536",
    "1000000",
    "100000000",
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "1e308",
    "1e309",
    "-1e309",
    "1e-400",
    "0.5",
    "-0.0",
    "0000000000000000000000000000000000000001",
];

/// Words that stand for a type, a value or the lack of one in some of the formats.
const WORDS: [&str; 32] = [
    "F16",
    "BF16",
    "F32",
    "F64",
    "F4",
    "F8_E4M3",
    "I8",
    "I64",
    "U64",
    "BOOL",
    "null",
    "true",
    "false",
    "nan",
    "inf",
    "-inf",
    "?",
    "",
    "[]",
    "{}",
    "\"\"",
    "\u{0}",
    "\u{feff}",
    "\\u0000",
    "\\ud800",
    "..",
    "/",
    "train",
    "test",
    "__metadata__",
    "label",
    "dim_0",
];

/// Lengths that a file may claim of its header.
const LENGTHS: [u64; 9] =
    [0, 1, 7, 8, 100_000_000, 100_000_001, u32::MAX as u64, i64::MAX as u64, u64::MAX];

/// One of the seeds with one to five edits.
pub(crate) fn damaged(seeds: &[Vec<u8>], random: &mut ChaCha8Rng) -> Vec<u8> {
    let seed = |random: &mut ChaCha8Rng| seeds.choose(random).cloned().unwrap_or_default();
    let mut bytes = seed(random);
    loop {
        let other = seed(random);
        match split(&bytes) {
            Some((header, data)) if random.random_ratio(4, 5) => {
                let (mut header, mut data) = (header.to_vec(), data.to_vec());
                match random.random_range(0..5) {
                    0 | 1 => {
                        let n = data.len();
                        edit(&mut data, &other, random);
                        if random.random_ratio(3, 4) {
                            data.resize(n, 0);
                        }
                    }
                    2 => {
                        if let Some(changed) = reshaped(&header, &data, random) {
                            (header, data) = changed;
                        }
                    }
                    _ => edit(
                        &mut header,
                        split(&other).map_or(&other, |(header, _)| header),
                        random,
                    ),
                }
                bytes = joined(&header, &data);
            }
            _ => edit(&mut bytes, &other, random),
        }
        if random.random_ratio(3, 5) {
            return bytes;
        }
    }
}

/// Header and data, if the bytes are laid out like a safetensors file.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (prefix, rest) = bytes.split_first_chunk::<8>()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*prefix)).ok()?)
}

/// A safetensors file whose length of the header is right.
fn joined(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header, data].concat()
}

/// Makes one edit; it may come to nothing.
fn edit(bytes: &mut Vec<u8>, other: &[u8], random: &mut ChaCha8Rng) {
    let n = bytes.len();
    if n == 0 {
        bytes.extend(other);
        return;
    }
    let at = random.random_range(0..n);
    match random.random_range(0..14) {
        0 => bytes[at] ^= 1 << random.random_range(0..8),
        1 => bytes[at] = random.random(),
        2 => bytes.truncate(at),
        3 => {
            let more: Vec<u8> = (0..random.random_range(1..16)).map(|_| random.random()).collect();
            bytes.splice(at..at, more);
        }
        4 => {
            bytes.drain(span(n, at, 40, random));
        }
        5 => {
            let copy = bytes[span(n, at, 200, random)].to_vec();
            let to = random.random_range(0..=n);
            bytes.splice(to..to, copy);
        }
        // Brackets of this kind nest deeply.
        6 => {
            let byte = b"[{(\"\\,:\n0 "[random.random_range(0..10)];
            let more = vec![byte; random.random_range(1..3000)];
            bytes.splice(at..at, more);
        }
        7 => {
            let from = random.random_range(0..=other.len());
            bytes.truncate(at);
            bytes.extend(&other[from..]);
        }
        8 | 9 => replace_run(bytes, at, |byte| byte.is_ascii_digit(), &NUMBERS, random),
        10 => replace_run(bytes, at, |byte| byte.is_ascii_alphanumeric(), &WORDS, random),
        11 => repeat_entry(bytes, at),
        12 => {
            let length = LENGTHS.choose(random).copied().unwrap_or_default().to_le_bytes();
            let to = if random.random() { 0 } else { at };
            bytes.iter_mut().skip(to).zip(length).for_each(|(byte, new)| *byte = new);
        }
        _ => {
            let values = [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE / 2.0, -0.0];
            let value = values.choose(random).copied().unwrap_or_default().to_le_bytes();
            bytes.iter_mut().skip(at / 4 * 4).zip(value).for_each(|(byte, new)| *byte = new);
        }
    }
}

fn span(n: usize, at: usize, most: usize, random: &mut ChaCha8Rng) -> Range<usize> {
    at..n.min(at + random.random_range(1..most))
}

/// Replaces the next run of such bytes, so that texts stay texts.
fn replace_run(
    bytes: &mut Vec<u8>,
    at: usize,
    is_part: impl Fn(u8) -> bool,
    by: &[&str],
    random: &mut ChaCha8Rng,
) {
    let Some(start) = (at..bytes.len()).find(|&i| is_part(bytes[i])) else { return };
    let start = (0..start).rev().find(|&i| !is_part(bytes[i])).map_or(0, |i| i + 1);
    let end = (start..bytes.len()).find(|&i| !is_part(bytes[i])).unwrap_or(bytes.len());
    let new = by.choose(random).copied().unwrap_or_default();
    bytes.splice(start..end, new.bytes());
}

/// Writes a JSON entry or a line twice: keys that stand twice, rows and columns too many.
fn repeat_entry(bytes: &mut Vec<u8>, at: usize) {
    let is_end = |&i: &usize| matches!(bytes[i], b',' | b'\n' | b'{');
    let start = (0..at).rev().find(is_end).map_or(0, |i| i + 1);
    let Some(end) = (at..bytes.len()).find(is_end) else { return };
    let mut copy = bytes[start..end].to_vec();
    copy.push(if bytes[end] == b'\n' { b'\n' } else { b',' });
    bytes.splice(start..start, copy);
}
