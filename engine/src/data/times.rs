//! Times as they stand in cells: numbers, or dates with or without a time of day.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::number::is_missing;

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeKind {
    /// As a number, whose unit the column's name may say.
    Number,
    /// As a date, with or without a time of day.
    Date,
    /// As a date whose time of day says how far it is from that of Greenwich.
    OffsetDate,
    /// In a spelling that is not understood.
    Text,
}

impl TimeKind {
    /// What it is in a message.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Date => "a date",
            Self::OffsetDate => "a date with an offset",
            Self::Text => "text that is no time",
        }
    }

    fn is_date(self) -> bool {
        matches!(self, Self::Date | Self::OffsetDate)
    }

    /// A time for a message, spelled much as in the file.
    pub(super) fn shown(self, time: f64) -> String {
        if self.is_date() { shown_date(time) } else { time.to_string() }
    }
}

/// How the first time of a file is written, and where: as all others are.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct FirstTime(Option<(TimeKind, usize)>);

impl FirstTime {
    /// How it is written, once there is one.
    pub(super) fn kind(self) -> Option<TimeKind> {
        self.0.map(|(kind, _)| kind)
    }

    /// Takes a time that is written as the first one is.
    ///
    /// # Errors
    /// If there is none, and if it is written otherwise.
    pub(super) fn take(
        &mut self,
        time: Option<(TimeKind, f64)>,
        unit: &str,
        place: usize,
    ) -> Result<(TimeKind, f64), String> {
        let Some((kind, time)) = time else {
            return Err(
                "the cell is empty; every row needs a time here, fill it in or leave the row out"
                    .to_owned(),
            );
        };
        let (first, first_place) = *self.0.get_or_insert((kind, place));
        if first != kind {
            return Err(format!(
                "the time is {}, but that of {unit} {first_place} is {}; write all times alike",
                kind.noun(),
                first.noun()
            ));
        }
        Ok((kind, time))
    }
}

/// Reads a time: how it is written, and its value, for dates in seconds since 1970 (in Greenwich, where
/// no offset is written); NaN for text. `None` for an empty cell and for words for nothing.
pub(super) fn parse(cell: &[u8]) -> Option<(TimeKind, f64)> {
    let cell = cell.trim_ascii();
    if is_missing(cell) {
        return None;
    }
    let text = std::str::from_utf8(cell).unwrap_or_default();
    if let Some(time) = text.parse::<f64>().ok().filter(|time| time.is_finite()) {
        return Some((TimeKind::Number, time));
    }
    Some(date(text).unwrap_or((TimeKind::Text, f64::NAN)))
}

/// A date and what follows it: `2016-07-01`, `2016/7/1 5:30`, `2016-07-01T05:30:15.5+02:00`.
fn date(text: &str) -> Option<(TimeKind, f64)> {
    let mut rest = Rest(text.as_bytes());
    let year = rest.number(4, 4)?;
    let between = rest.sign(b"-/")?;
    let month = rest.number(1, 2)?;
    rest.sign(&[between])?;
    let day = rest.number(1, 2)?;
    let (mut hour, mut minute, mut second, mut fraction) = (0, 0, 0, 0.0);
    let mut offset = None;
    if !rest.0.is_empty() {
        rest.sign(b"Tt ")?;
        rest.0 = rest.0.trim_ascii_start();
        hour = rest.number(1, 2)?;
        rest.sign(b":")?;
        minute = rest.number(2, 2)?;
        if rest.sign(b":").is_some() {
            second = rest.number(2, 2)?;
            if rest.sign(b".,").is_some() {
                fraction = rest.fraction()?;
            }
        }
        rest.0 = rest.0.trim_ascii_start();
        offset = if rest.0.is_empty() { None } else { Some(rest.offset()?) };
    }
    let part = |value: i32| i8::try_from(value).ok();
    let year = i16::try_from(year).ok()?;
    let civil =
        DateTime::new(year, part(month)?, part(day)?, part(hour)?, part(minute)?, part(second)?, 0);
    let seconds = Offset::UTC.to_timestamp(civil.ok()?).ok()?.as_second() as f64 + fraction;
    Some(match offset {
        Some(offset) => (TimeKind::OffsetDate, seconds - f64::from(offset)),
        None => (TimeKind::Date, seconds),
    })
}

/// A date for people: `2016-07-01T05:30:00`.
pub(super) fn shown_date(seconds: f64) -> String {
    let time = SignedDuration::try_from_secs_f64(seconds).ok();
    let time = time.and_then(|time| Timestamp::from_duration(time).ok());
    time.map_or_else(|| seconds.to_string(), |time| Offset::UTC.to_datetime(time).to_string())
}

/// What of a text is not read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    /// A whole number of so many digits.
    fn number(&mut self, fewest: usize, most: usize) -> Option<i32> {
        let n = self.0.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(n);
        self.0 = rest;
        (n >= fewest)
            .then(|| digits.iter().fold(0, |number, &digit| 10 * number + i32::from(digit - b'0')))
    }

    /// One of some signs.
    fn sign(&mut self, signs: &[u8]) -> Option<u8> {
        let (&first, rest) = self.0.split_first().filter(|(first, _)| signs.contains(first))?;
        self.0 = rest;
        Some(first)
    }

    /// The digits behind a point.
    fn fraction(&mut self) -> Option<f64> {
        let n = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(n);
        self.0 = rest;
        format!("0.{}", std::str::from_utf8(digits).ok().filter(|d| !d.is_empty())?).parse().ok()
    }

    /// An offset in seconds, which ends the text: `Z`, `+02:00`, `+0200`, `+02`.
    fn offset(&mut self) -> Option<i32> {
        let seconds = match self.sign(b"Zz+-")? {
            b'Z' | b'z' => 0,
            sign => {
                let hours = self.number(2, 2)?;
                let colon = self.sign(b":").is_some();
                let minutes = if self.0.is_empty() && !colon { 0 } else { self.number(2, 2)? };
                let seconds = 3600 * hours + 60 * minutes;
                if sign == b'-' { -seconds } else { seconds }
            }
        };
        (self.0.is_empty() && seconds.abs() < 86_400).then_some(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_and_dates_are_times() {
        for (cell, kind, time) in [
            (" 4.5 ", TimeKind::Number, 4.5),
            ("-3", TimeKind::Number, -3.0),
            ("1970-01-02", TimeKind::Date, 86_400.0),
            ("2016-07-01 00:00:00", TimeKind::Date, 1_467_331_200.0),
            ("2016-07-01T00:00", TimeKind::Date, 1_467_331_200.0),
            ("2016/7/1 5:30", TimeKind::Date, 1_467_351_000.0),
            ("2016-07-01 00:00:01.25", TimeKind::Date, 1_467_331_201.25),
            ("2016-07-01T02:00:00+02:00", TimeKind::OffsetDate, 1_467_331_200.0),
            ("2016-06-30 19:30:00-0430", TimeKind::OffsetDate, 1_467_331_200.0),
            ("2016-07-01T01:00:00 +01", TimeKind::OffsetDate, 1_467_331_200.0),
            ("2016-07-01T00:00:00Z", TimeKind::OffsetDate, 1_467_331_200.0),
            ("2016-02-29", TimeKind::Date, 1_456_704_000.0),
        ] {
            assert_eq!(parse(cell.as_bytes()), Some((kind, time)), "{cell}");
        }
    }

    #[test]
    fn other_text_is_no_time_and_nothing_is_none() {
        for cell in [
            "2015-02-29",
            "2016-13-01",
            "01/07/2016",
            "2016-07/01",
            "16-07-01",
            "2016-07-01 25:00",
            "2016-07-01 00:00:00x",
            "2016-07-01T",
            "2016-07-01 00:00+",
            "2016-07-01 00:00+02:",
            "12:30",
            "inf",
            "noon",
            "2016-07-01 00:00:00.",
            "2016-07-01 00:00:61",
        ] {
            let (kind, time) = parse(cell.as_bytes()).unwrap();
            assert!(kind == TimeKind::Text && time.is_nan(), "{cell}");
        }
        for cell in ["", "  ", "NaN", "?", "null"] {
            assert_eq!(parse(cell.as_bytes()), None, "{cell}");
        }
    }

    #[test]
    fn dates_are_shown_as_dates() {
        assert_eq!(shown_date(1_467_331_200.0), "2016-07-01T00:00:00");
        assert_eq!(TimeKind::Date.shown(86_400.5), "1970-01-02T00:00:00.5");
        assert_eq!(TimeKind::Number.shown(0.5), "0.5");
        assert_eq!(shown_date(1e300), 1e300.to_string());
    }

    proptest! {
        #[test]
        fn any_bytes_return(cell in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&cell);
        }

        #[test]
        fn almost_dates_return(cell in "[0-9]{1,5}[-/][0-9]{1,3}[-/][0-9]{1,2}[T ]?[0-9:.Z+-]{0,16}") {
            let _ = parse(cell.as_bytes());
        }

        #[test]
        fn a_shown_date_is_read_back(seconds in -2_000_000_000_i64..4_000_000_000) {
            let shown = shown_date(seconds as f64);
            prop_assert_eq!(parse(shown.as_bytes()), Some((TimeKind::Date, seconds as f64)));
        }
    }
}
