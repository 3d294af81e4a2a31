//! One cell of text becomes one number, or says why it cannot.

/// Reads a cell as a value; a missing one (empty, `?`, `nan`, `na`, `null`, in any case) is NaN.
///
/// # Errors
/// Text that is not a number, an infinity, and a number beyond the range of `f32`, in which models
/// compute; the message says what was expected and found, and leaves the place to the caller.
pub(super) fn parse(cell: &[u8]) -> Result<f64, String> {
    let cell = cell.trim_ascii();
    if let Some(value) = plain(cell) {
        return Ok(value);
    }
    match std::str::from_utf8(cell).map(str::parse::<f64>) {
        Ok(Ok(value)) if (value as f32).is_infinite() => {
            Err(format!("expected a finite number within ±3.4e38, found {}", quoted(cell)))
        }
        Ok(Ok(value)) => Ok(value),
        _ if is_missing(cell) => Ok(f64::NAN),
        _ if is_grouped(cell) => {
            Err(format!("expected a number without thousands separators, found {}", quoted(cell)))
        }
        _ if cell.contains(&b',') => {
            Err(format!("expected a number with a decimal point, found {}", quoted(cell)))
        }
        _ => Err(format!("expected a number, found {}", quoted(cell))),
    }
}

/// Powers of ten, each of which f64 holds exactly.
const TENS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Reads a number of at most 15 digits with or without a point, as most are written; nothing for others.
///
/// The digits as a whole number and the power of ten are exact, so that their quotient is the nearest
/// f64 to what is written (Clinger, "How to read floating point numbers accurately", 1990).
fn plain(cell: &[u8]) -> Option<f64> {
    let (digits, is_negative) = match cell {
        [b'-', digits @ ..] => (digits, true),
        digits => (digits, false),
    };
    // A point and 15 digits.
    if digits.len() > 16 {
        return None;
    }
    let (mut whole, mut n_digits, mut point) = (0_u64, 0, None);
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                whole = 10 * whole + u64::from(byte - b'0');
                n_digits += 1;
            }
            b'.' if point.is_none() => point = Some(n_digits),
            _ => return None,
        }
    }
    of_digits(is_negative, whole, n_digits, n_digits - point.unwrap_or(n_digits))
}

/// The number of so many digits, the last of them decimals, which together are a whole number; nothing
/// if those are none or more than 15, whatever the whole number is then.
#[inline]
pub(super) fn of_digits(
    is_negative: bool,
    whole: u64,
    n_digits: usize,
    n_decimals: usize,
) -> Option<f64> {
    if n_digits == 0 || n_digits >= TENS.len() {
        return None;
    }
    let size = whole.cast_signed() as f64 / TENS[n_decimals];
    Some(if is_negative { -size } else { size })
}

/// Holds a number that is none of text to the range of cells of text; NaN is a missing one.
///
/// # Errors
/// As [`parse`].
#[cfg(any(feature = "jsonl", feature = "npy", feature = "parquet"))]
pub(super) fn in_range(value: f64) -> Result<f64, String> {
    if (value as f32).is_infinite() {
        return Err(format!("expected a finite number within ±3.4e38, found {value:e}"));
    }
    Ok(value)
}

/// Whether a number's digits are grouped, as in 1,234.5: with a decimal point, or more than one comma.
fn is_grouped(cell: &[u8]) -> bool {
    let text = cell.strip_prefix(b"-").unwrap_or(cell);
    let mut halves = text.splitn(2, |&byte| byte == b'.');
    let (whole, part) = (halves.next().unwrap_or_default(), halves.next());
    let mut groups = whole.split(|&byte| byte == b',');
    let first = groups.next().unwrap_or_default();
    let mut n_groups = 0;
    let digits = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_digit);
    let threes = groups.all(|group| {
        n_groups += 1;
        group.len() == 3 && digits(group)
    });
    let sure = n_groups > 1 || n_groups == 1 && part.is_some_and(digits);
    threes && sure && (1..=3).contains(&first.len()) && digits(first)
}

/// Whether a cell says that there is no value, or no label.
pub(super) fn is_missing(cell: &[u8]) -> bool {
    cell.is_empty()
        || cell == b"?"
        || [&b"nan"[..], b"na", b"null"].iter().any(|word| cell.eq_ignore_ascii_case(word))
}

/// The cell for a message: in quotes, control characters escaped, long text cut.
pub(super) fn quoted(cell: &[u8]) -> String {
    const SHOWN: usize = 40;
    let text = String::from_utf8_lossy(cell);
    if text.chars().count() <= SHOWN {
        format!("{text:?}")
    } else {
        format!("{:?}…", text.chars().take(SHOWN).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn thousands_separators_are_named() {
        for cell in ["1,234.5", "1,234,567", "-12,345.", "1,234.50"] {
            let error = parse(cell.as_bytes()).unwrap_err();
            assert!(error.contains("without thousands separators"), "{error}");
        }
        for cell in ["1,234", "1,5", "1,23,456", "1234,567.8", "a,bcd.5"] {
            let error = parse(cell.as_bytes()).unwrap_err();
            assert!(!error.contains("thousands"), "{error}");
        }
    }

    #[test]
    fn numbers_are_trimmed_and_read() {
        for (cell, value) in [
            ("1", 1.0),
            (" -2.5\t", -2.5),
            ("+3", 3.0),
            ("1e-3", 1e-3),
            (".5", 0.5),
            ("7.", 7.0),
            ("-5.8E-5", -5.8e-5),
        ] {
            assert_eq!(parse(cell.as_bytes()), Ok(value), "{cell}");
        }
    }

    #[test]
    fn missing_values_are_nan() {
        for cell in ["", "  ", "?", "nan", "NaN", "NA", "na", "null", "NULL", " n/a "] {
            let value = parse(cell.as_bytes());
            if cell == " n/a " {
                assert!(value.is_err());
            } else {
                assert!(value.unwrap().is_nan(), "{cell}");
            }
        }
    }

    #[test]
    fn infinities_and_overflow_are_errors() {
        for cell in ["inf", "-Inf", "infinity", "1e300", "-3.5e38"] {
            let error = parse(cell.as_bytes()).unwrap_err();
            assert!(error.contains("finite") && error.contains(cell), "{error}");
        }
        assert_eq!(parse(b"1e-300"), Ok(1e-300));
        assert_eq!(parse(b"3.4e38"), Ok(3.4e38));
    }

    #[test]
    fn text_is_an_error_that_shows_it() {
        assert_eq!(parse(b"abc").unwrap_err(), "expected a number, found \"abc\"");
        assert!(parse(b"1,5").unwrap_err().contains("decimal point"));
        assert!(parse(b"\xff\xfe").is_err());
        assert!(parse("x".repeat(500).as_bytes()).unwrap_err().len() < 100);
    }

    fn any_finite() -> impl Strategy<Value = f64> {
        any::<f64>().prop_filter("in range", |value| (*value as f32).is_finite())
    }

    proptest! {
        #[test]
        fn plain_numbers_are_the_nearest(cell in "-?[0-9]{0,15}[.]?[0-9]{0,15}") {
            match (plain(cell.as_bytes()), cell.parse::<f64>()) {
                (Some(value), read) => prop_assert_eq!(value.to_bits(), read.unwrap().to_bits()),
                (None, read) => prop_assert!(read.is_err() || cell.len() > 15),
            }
        }

        #[test]
        fn any_bytes_return(cell in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = (parse(&cell), quoted(&cell));
        }

        #[test]
        fn a_printed_value_reads_back_the_same(value in any_finite()) {
            for text in [value.to_string(), format!("{value:e}")] {
                prop_assert_eq!(parse(text.as_bytes()).unwrap().to_bits(), value.to_bits());
            }
        }
    }
}
