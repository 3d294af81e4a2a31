//! How a file writes its numbers: the sign before the decimals, and what stands between thousands.

use std::borrow::Cow;

use super::config::Thousands;
use super::number::{self, quoted};

/// The style of one file, found as its numbers are read.
#[derive(Debug)]
pub(super) struct Style {
    thousands: Option<Thousands>,
    /// Whether a comma in a cell can be a sign before decimals.
    may_be_comma: bool,
    /// Where a decimal point was first seen, and the cell.
    point: Option<String>,
    /// Where a decimal comma was first seen, and the cell.
    comma: Option<String>,
}

impl Style {
    /// Of a file whose cells are separated so. A comma is a sign before decimals only where it does not
    /// separate cells, or where points group thousands.
    pub(super) fn new(delimiter: u8, thousands: Option<Thousands>) -> Self {
        let may_be_comma = match thousands {
            Some(Thousands::Comma) => false,
            Some(Thousands::Point) => true,
            Some(Thousands::Blank | Thousands::Apostrophe) | None => delimiter != b',',
        };
        Self { thousands, may_be_comma, point: None, comma: None }
    }

    /// The sign before the decimals, if it is not a point.
    pub(super) fn decimal(&self) -> Option<char> {
        self.comma.as_ref().map(|_| ',')
    }

    /// Whether every number that [`number::parse`] reads is read alike, whatever was or comes before it.
    pub(super) fn is_plain(&self) -> bool {
        let is_settled = self.point.is_some() && self.comma.is_none();
        self.thousands.is_none() && (!self.may_be_comma || is_settled)
    }

    /// Reads a cell as [`number::parse`] does, with a comma before decimals and thousands in groups where
    /// the file may have them.
    ///
    /// # Errors
    /// As there; and a number with a point in a file that has others with a comma, or the other way
    /// round. `place` says where the cell is.
    pub(super) fn parse(&mut self, cell: &[u8], place: impl Fn() -> String) -> Result<f64, String> {
        let cell = cell.trim_ascii();
        let text = match self.thousands {
            Some(thousands) => ungrouped(cell, thousands.sign())?,
            None => Cow::Borrowed(cell),
        };
        let reason = match number::parse(&text) {
            Ok(value) => {
                if self.may_be_comma && text.contains(&b'.') {
                    let seen = || format!("{} at {}", quoted(cell), place());
                    self.point.get_or_insert_with(seen);
                    self.alike(cell, "point")?;
                }
                return Ok(value);
            }
            Err(reason) => reason,
        };
        let value = if self.may_be_comma { with_point(&text) } else { None };
        let Some(value) = value.and_then(|text| number::parse(&text).ok()) else {
            return Err(reason);
        };
        self.comma.get_or_insert_with(|| format!("{} at {}", quoted(cell), place()));
        self.alike(cell, "comma")?;
        Ok(value)
    }

    fn alike(&self, cell: &[u8], sign: &str) -> Result<(), String> {
        let (Some(point), Some(comma)) = (&self.point, &self.comma) else { return Ok(()) };
        let other = if sign == "point" { comma } else { point };
        Err(format!(
            "{} has a decimal {sign}, but the same file holds {other}; write all numbers alike, or name \
             what groups thousands as data.thousands",
            quoted(cell)
        ))
    }
}

/// A number with a comma before its decimals, spelled with a point.
fn with_point(text: &[u8]) -> Option<Vec<u8>> {
    let is_sign = |byte: &&u8| b",.".contains(byte);
    let at = text.iter().position(|byte| *byte == b',')?;
    let mut text = text.to_vec();
    text[at] = b'.';
    (text.iter().filter(is_sign).count() == 1).then_some(text)
}

/// A number without what stands between its thousands.
fn ungrouped(cell: &[u8], sign: u8) -> Result<Cow<'_, [u8]>, String> {
    if !cell.contains(&sign) {
        return Ok(Cow::Borrowed(cell));
    }
    let start = usize::from(matches!(cell.first(), Some(b'-' | b'+')));
    let is_whole = |byte: &u8| byte.is_ascii_digit() || *byte == sign;
    let n = cell[start..].iter().take_while(|byte| is_whole(byte)).count();
    let (whole, rest) = cell[start..].split_at(n);
    let groups: Vec<&[u8]> = whole.split(|&byte| byte == sign).collect();
    let holds = (1..=3).contains(&groups[0].len()) && groups[1..].iter().all(|g| g.len() == 3);
    if !holds || rest.contains(&sign) {
        return Err(format!(
            "expected a number whose thousands are separated by {:?}, as data.thousands says, found {}",
            char::from(sign),
            quoted(cell)
        ));
    }
    Ok(Cow::Owned([&cell[..start], &groups.concat(), rest].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads cells one after the other; the last value or the first error.
    fn last(
        delimiter: u8,
        thousands: Option<Thousands>,
        cells: &[&str],
    ) -> Result<(f64, Option<char>), String> {
        let mut style = Style::new(delimiter, thousands);
        let mut value = f64::NAN;
        for (line, cell) in cells.iter().enumerate() {
            value = style.parse(cell.as_bytes(), || format!("line {line}"))?;
        }
        Ok((value, style.decimal()))
    }

    #[test]
    fn a_comma_stands_before_decimals_where_it_separates_no_cells() {
        assert_eq!(last(b';', None, &["1", "1,5"]), Ok((1.5, Some(','))));
        assert_eq!(last(b'\t', None, &["-2,5e3"]), Ok((-2500.0, Some(','))));
        assert_eq!(last(b';', None, &["1.5"]), Ok((1.5, None)));
        assert!(last(b',', None, &["1,5"]).unwrap_err().contains("decimal point"));
        assert!(last(b';', None, &["1,234,567"]).unwrap_err().contains("thousands separators"));
        assert!(last(b';', None, &["1,x"]).is_err());
    }

    #[test]
    fn a_file_with_both_is_refused_with_both_places() {
        for (cells, sign) in [(["1,5", "1.5"], "point"), (["1.5", "1,5"], "comma")] {
            let error = last(b';', None, &cells).unwrap_err();
            let [first, second] = cells;
            assert!(error.starts_with(&format!("{second:?} has a decimal {sign}")), "{error}");
            assert!(error.contains(&format!("{first:?} at line 0")), "{error}");
        }
    }

    #[test]
    fn thousands_are_read_where_they_are_asked_for() {
        for (sign, cell, value) in [
            (Thousands::Comma, "1,234.5", 1234.5),
            (Thousands::Comma, "-12,345,678", -12_345_678.0),
            (Thousands::Point, "1.234,5", 1234.5),
            (Thousands::Point, "1.234", 1234.0),
            (Thousands::Blank, "+1 234", 1234.0),
            (Thousands::Apostrophe, "1'234.5", 1234.5),
            (Thousands::Comma, "12", 12.0),
        ] {
            assert_eq!(
                last(b',', Some(sign), &[cell]).unwrap().0.to_bits(),
                f64::to_bits(value),
                "{cell}"
            );
        }
        for cell in ["1,23", "1234,567", ",123", "1,234.5,678", "1,,234"] {
            let error = last(b';', Some(Thousands::Comma), &[cell]).unwrap_err();
            assert!(error.contains("thousands are separated by ','"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_return(cell in prop::collection::vec(any::<u8>(), 0..30), sign in 0..5_usize) {
            let signs = [
                None, Some(Thousands::Comma), Some(Thousands::Point), Some(Thousands::Blank),
                Some(Thousands::Apostrophe),
            ];
            let _ = Style::new(b';', signs[sign]).parse(&cell, String::new);
        }

        #[test]
        fn a_comma_is_as_good_as_a_point(value in -1e9..1e9_f64) {
            let text = format!("{value}").replace('.', ",");
            let (read, _) = last(b';', None, &[&text]).unwrap();
            prop_assert_eq!(read.to_bits(), value.to_bits());
        }
    }
}
