//! Numbers and names for people.

/// How many names a line shows; `--json` has all.
const SHOWN: usize = 12;

/// A value for people: as it is, but without the noise of sums.
pub(super) fn short(value: f64) -> String {
    let whole = value.to_string();
    let digits = whole.bytes().filter(u8::is_ascii_digit).count();
    if digits <= 9 || value.fract().abs() < f64::MIN_POSITIVE {
        return whole;
    }
    format!("{value:.6e}").parse::<f64>().map_or(whole, |short| short.to_string())
}

/// A number for people.
pub(super) fn six_digits(number: f64) -> f64 {
    format!("{number:.5e}").parse().unwrap_or(number)
}

/// The first few of a list.
pub(super) fn some(items: impl ExactSizeIterator<Item = String>) -> String {
    let n = items.len();
    let shown = items.take(SHOWN).collect::<Vec<_>>().join(", ");
    if n > SHOWN { format!("{shown}, … ({n} in all)") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_for_people_are_without_the_noise_of_sums() {
        let shown =
            [254.089_999_999_999_97, -15.184_244_000_000_04, 1006.8, 1e-7, 17_420.0, 0.1 + 0.2];
        assert_eq!(
            shown.map(short),
            ["254.09", "-15.18424", "1006.8", "0.0000001", "17420", "0.3"]
        );
    }
}
