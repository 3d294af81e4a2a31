//! Streams that `tests/golden/make_detectors.py` makes with the same bits.

use std::path::Path;

use serde_json::Value;

/// The generator `SplitMix64`.
pub(crate) struct Words(pub(crate) u64);

impl Words {
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The upper ten bits.
    pub(crate) fn ten(&mut self) -> i64 {
        (self.word() >> 54).cast_signed()
    }

    /// Uniform in (0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.word() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// Where a stream is, in 1024ths.
fn level(number: i64, i: i64) -> i64 {
    let every = 1500 + 500 * (number % 10);
    let (part, within) = (i / every, i % every);
    let at = |part: i64| (part * 421 + number * 97) % 700 + 40;
    if number % 3 == 2 && part > 0 && within < 1000 {
        let rise = (at(part) - at(part - 1)) * within;
        return at(part - 1) + rise.div_euclid(1000);
    }
    at(part)
}

/// One of 20 streams of 20,000 values: bits, and from number 10 on sums around a mean.
pub(crate) fn stream(number: i64) -> Vec<f64> {
    let mut words = Words(number as u64);
    let mut value = |i: i64| {
        let level = level(number, i);
        if number < 10 {
            return f64::from(u8::from(words.ten() < level));
        }
        let total: i64 = (0..4).map(|_| words.ten()).sum();
        (total - 2046 + (4 + number % 4) * level) as f64 / 1024.0
    };
    (0..20_000).map(&mut value).collect()
}

/// A golden file.
pub(crate) fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

pub(crate) fn whole(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}
