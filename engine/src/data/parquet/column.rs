//! One column of a Parquet file: what its type means, and its values as numbers or text.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ::parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use ::parquet::column::reader::{ColumnReader, get_column_reader};
use ::parquet::data_type::ByteArray;
use ::parquet::errors::{ParquetError, Result};
use ::parquet::schema::types::ColumnDescPtr;

use super::super::block::Need;
use super::super::typed::Cell;
use super::pages::Pages;

/// What the values of a type are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meaning {
    /// Numbers, `1 / per_unit` of what they stand for: 1, or 100 for a decimal with two places.
    Number { per_unit: f64 },
    /// Whole numbers without a sign.
    Unsigned,
    /// Truths.
    Flag,
    /// Numbers of 16 bits.
    Half,
    /// Decimals of many digits, as bytes.
    Decimal { per_unit: f64 },
    /// Times, so many of them in a second.
    Date { per_second: f64 },
    /// Days since 1970.
    Day,
    /// Text.
    Text,
}

impl Meaning {
    /// What a type means.
    ///
    /// # Errors
    /// What it is, if it is not read.
    pub(super) fn of(column: &ColumnDescPtr) -> std::result::Result<Self, String> {
        let (kind, logical) = (column.physical_type(), column.logical_type_ref());
        let converted = column.converted_type();
        let whole = matches!(kind, Type::INT32 | Type::INT64);
        let bytes = matches!(kind, Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY);
        let per_unit = 10_f64.powi(column.type_scale().clamp(0, 300));
        let per_second = |unit: TimeUnit| match unit {
            TimeUnit::MILLIS => 1e3,
            TimeUnit::MICROS => 1e6,
            TimeUnit::NANOS => 1e9,
        };
        Ok(match (kind, logical, converted) {
            (_, Some(LogicalType::Decimal(_)), _) | (_, None, ConvertedType::DECIMAL) if whole => {
                Self::Number { per_unit }
            }
            (_, Some(LogicalType::Decimal(_)), _) | (_, None, ConvertedType::DECIMAL) if bytes => {
                Self::Decimal { per_unit }
            }
            (Type::INT64, Some(LogicalType::Timestamp(stamp)), _) => {
                Self::Date { per_second: per_second(stamp.unit) }
            }
            (_, Some(LogicalType::Time(time)), _) if whole => {
                Self::Number { per_unit: per_second(time.unit) }
            }
            (Type::INT64, None, ConvertedType::TIMESTAMP_MILLIS) => Self::Date { per_second: 1e3 },
            (Type::INT64, None, ConvertedType::TIMESTAMP_MICROS) => Self::Date { per_second: 1e6 },
            (Type::INT32, None, ConvertedType::TIME_MILLIS) => Self::Number { per_unit: 1e3 },
            (Type::INT64, None, ConvertedType::TIME_MICROS) => Self::Number { per_unit: 1e6 },
            (Type::INT96, ..) => Self::Date { per_second: 1.0 },
            (Type::INT32, Some(LogicalType::Date), _)
            | (Type::INT32, None, ConvertedType::DATE) => Self::Day,
            (_, Some(LogicalType::Integer(int)), _) if whole && !int.is_signed => Self::Unsigned,
            (
                _,
                None,
                ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64,
            ) if whole => Self::Unsigned,
            (Type::INT32 | Type::INT64 | Type::FLOAT | Type::DOUBLE, ..) => {
                Self::Number { per_unit: 1.0 }
            }
            (Type::BOOLEAN, ..) => Self::Flag,
            (Type::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Float16), _)
                if column.type_length() == 2 =>
            {
                Self::Half
            }
            (
                Type::BYTE_ARRAY,
                None | Some(LogicalType::String | LogicalType::Enum | LogicalType::Json),
                _,
            ) => Self::Text,
            (_, Some(other), _) => return Err(format!("of type {other:?}")),
            (other, ..) => return Err(format!("of type {other:?}")),
        })
    }
}

/// The values of some rows.
#[derive(Debug)]
enum Values {
    /// NaN where there is none.
    Numbers(Vec<f64>),
    /// Whole numbers that are needed digit by digit.
    Wholes(Vec<Option<i128>>),
    Texts(Vec<Option<ByteArray>>),
}

/// A column of a group of rows that is being read.
pub(super) struct Column {
    meaning: Meaning,
    is_optional: bool,
    reader: ColumnReader,
    levels: Vec<i16>,
    values: Values,
}

impl Column {
    /// Of the pages of a group of rows, whose values are needed so.
    pub(super) fn new(descr: ColumnDescPtr, meaning: Meaning, need: Need, pages: Pages) -> Self {
        let exact = need == Need::Text
            && matches!(meaning, Meaning::Unsigned | Meaning::Number { per_unit: 1.0 })
            && matches!(descr.physical_type(), Type::INT32 | Type::INT64);
        let values = match meaning {
            Meaning::Text => Values::Texts(Vec::new()),
            _ if exact => Values::Wholes(Vec::new()),
            _ => Values::Numbers(Vec::new()),
        };
        let is_optional = descr.max_def_level() > 0;
        let reader = get_column_reader(descr, Box::new(pages));
        Self { meaning, is_optional, reader, levels: Vec::new(), values }
    }

    /// Reads the next rows.
    ///
    /// # Errors
    /// If the file is damaged, or has fewer of them.
    pub(super) fn read(&mut self, n_rows: usize) -> Result<()> {
        // Pages are checked before the crate decodes them; what is not found there ends here, and not the
        // program. The column is not read on after an error.
        let read = catch_unwind(AssertUnwindSafe(|| self.decode(n_rows)));
        read.unwrap_or_else(|_| {
            Err(ParquetError::General("a page does not hold what it says".to_owned()))
        })
    }

    fn decode(&mut self, n_rows: usize) -> Result<()> {
        let Self { meaning, is_optional, reader, levels, values } = self;
        levels.clear();
        /// Reads values of one type and spreads them over the rows.
        macro_rules! read {
            ($reader:expr, $number:expr, $whole:expr, $text:expr) => {{
                let mut found = Vec::new();
                let (n, ..) = $reader.read_records(n_rows, Some(&mut *levels), None, &mut found)?;
                check_count(n, n_rows)?;
                let levels = is_optional.then_some(&levels[..]);
                match values {
                    Values::Numbers(out) => spread(levels, found, out, f64::NAN, $number),
                    Values::Wholes(out) => spread(levels, found, out, None, $whole),
                    Values::Texts(out) => spread(levels, found, out, None, $text),
                }
            }};
        }
        let (times, over) = scale(*meaning);
        match (reader, *meaning) {
            (ColumnReader::DoubleColumnReader(reader), _) => {
                // As they are needed: where none is missing they stay where they are read to.
                let mut found = match values {
                    Values::Numbers(out) => std::mem::take(out),
                    Values::Wholes(_) | Values::Texts(_) => Vec::new(),
                };
                found.clear();
                let (n, ..) = reader.read_records(n_rows, Some(&mut *levels), None, &mut found)?;
                check_count(n, n_rows)?;
                if let Values::Numbers(out) = values {
                    if found.len() == n_rows {
                        *out = found;
                    } else {
                        spread(Some(&levels[..]), found, out, f64::NAN, |x| x);
                    }
                }
            }
            (ColumnReader::FloatColumnReader(reader), _) => {
                read!(reader, f64::from, |_| None, |_| None);
            }
            (ColumnReader::Int32ColumnReader(reader), Meaning::Unsigned) => {
                let whole = |x: i32| Some(x.cast_unsigned().into());
                read!(reader, |x| f64::from(x.cast_unsigned()), whole, |_| None);
            }
            (ColumnReader::Int64ColumnReader(reader), Meaning::Unsigned) => {
                let whole = |x: i64| Some(x.cast_unsigned().into());
                read!(reader, |x| x.cast_unsigned() as f64, whole, |_| None);
            }
            (ColumnReader::Int32ColumnReader(reader), _) => {
                read!(reader, |x| f64::from(x) * times / over, |x| Some(x.into()), |_| None);
            }
            (ColumnReader::Int64ColumnReader(reader), _) => {
                read!(reader, |x| x as f64 * times / over, |x| Some(x.into()), |_| None);
            }
            (ColumnReader::BoolColumnReader(reader), _) => {
                read!(reader, |x| f64::from(u8::from(x)), |_| None, |_| None);
            }
            (ColumnReader::Int96ColumnReader(reader), _) => {
                read!(reader, |x| day_and_nanos(x.data()), |_| None, |_| None);
            }
            (ColumnReader::ByteArrayColumnReader(reader), _) => {
                read!(reader, |x| big(x.data()) / over, |_| None, Some);
            }
            (ColumnReader::FixedLenByteArrayColumnReader(reader), Meaning::Half) => {
                read!(reader, |x| half(x.data()), |_| None, |_| None);
            }
            (ColumnReader::FixedLenByteArrayColumnReader(reader), _) => {
                read!(reader, |x| big(x.data()) / over, |_| None, |_| None);
            }
        }
        Ok(())
    }

    /// The numbers of the rows at hand, if that is what they are.
    pub(super) fn numbers(&self) -> Option<&[f64]> {
        match &self.values {
            Values::Numbers(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// The same where they can be times: each is then written as the others are.
    pub(super) fn times(&self) -> Option<&[f64]> {
        self.numbers().filter(|_| self.meaning != Meaning::Flag)
    }

    /// The cell of one of the rows at hand.
    pub(super) fn cell(&self, row: usize) -> Cell<'_> {
        match &self.values {
            Values::Numbers(numbers) if numbers[row].is_nan() => Cell::Missing,
            Values::Numbers(numbers) => match self.meaning {
                Meaning::Date { .. } | Meaning::Day => Cell::Date(numbers[row]),
                Meaning::Flag => Cell::Flag(numbers[row] > 0.5),
                _ => Cell::Number(numbers[row]),
            },
            Values::Wholes(wholes) => wholes[row].map_or(Cell::Missing, Cell::Whole),
            Values::Texts(texts) => {
                texts[row].as_ref().map_or(Cell::Missing, |text| Cell::Text(text.data()))
            }
        }
    }

    /// Bytes of the text of one of the rows at hand.
    pub(super) fn n_bytes(&self, row: usize) -> usize {
        match &self.values {
            Values::Texts(texts) => texts[row].as_ref().map_or(0, ByteArray::len),
            _ => 0,
        }
    }
}

/// By what a whole number is multiplied and divided.
fn scale(meaning: Meaning) -> (f64, f64) {
    match meaning {
        Meaning::Number { per_unit } | Meaning::Decimal { per_unit } => (1.0, per_unit),
        Meaning::Date { per_second } => (1.0, per_second),
        Meaning::Day => (86_400.0, 1.0),
        _ => (1.0, 1.0),
    }
}

/// Puts values where the levels say that there is one.
fn spread<T, U: Clone>(
    levels: Option<&[i16]>,
    values: Vec<T>,
    out: &mut Vec<U>,
    missing: U,
    to: impl Fn(T) -> U,
) {
    out.clear();
    match levels {
        Some(levels) if levels.len() > values.len() => {
            let mut values = values.into_iter();
            out.extend(levels.iter().map(|&level| {
                let value = if level > 0 { values.next() } else { None };
                value.map_or_else(|| missing.clone(), &to)
            }));
        }
        _ => out.extend(values.into_iter().map(to)),
    }
}

fn check_count(found: usize, n_rows: usize) -> Result<()> {
    if found == n_rows {
        return Ok(());
    }
    Err(ParquetError::General(format!("its pages have {found} of {n_rows} values")))
}

/// Seconds since 1970 of a time of 96 bits: nanoseconds of the day, and the day since -4712.
fn day_and_nanos(words: &[u32]) -> f64 {
    let &[low, high, day] = words else { return f64::NAN };
    let nanos = u64::from(high) << 32 | u64::from(low);
    (f64::from(day) - 2_440_588.0) * 86_400.0 + nanos as f64 / 1e9
}

/// A whole number of any length, the highest byte and the sign first.
fn big(bytes: &[u8]) -> f64 {
    let negative = bytes.first().is_some_and(|&byte| byte > 127);
    let flip = if negative { 255 } else { 0 };
    let size = bytes.iter().fold(0.0, |size, &byte| size * 256.0 + f64::from(byte ^ flip));
    if negative { -size - 1.0 } else { size }
}

/// A number of 16 bits.
fn half(bytes: &[u8]) -> f64 {
    let bits = bytes.first_chunk::<2>().map_or(0, |bytes| u16::from_le_bytes(*bytes));
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction > 0.0 => f64::NAN,
        31 => f64::INFINITY,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_decimals_and_halves() {
        for (bytes, number) in [
            (&b""[..], 0.0),
            (&[0x7f], 127.0),
            (&[0xff], -1.0),
            (&[0xff, 0x00], -256.0),
            (&[0x01, 0x00, 0x00], 65536.0),
        ] {
            assert_eq!(big(bytes).to_bits(), f64::to_bits(number));
        }
        for (bits, number) in [
            (0x3c00_u16, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2_f64.powi(-24)),
            (0x7c00, f64::INFINITY),
            (0x8000, -0.0),
        ] {
            assert_eq!(half(&bits.to_le_bytes()).to_bits(), f64::to_bits(number));
        }
        assert!(half(&0x7e00_u16.to_le_bytes()).is_nan());
    }

    #[test]
    fn values_stand_where_the_levels_say() {
        let mut out = Vec::new();
        spread(Some(&[1, 0, 1]), vec![1, 2], &mut out, 0, |x| x * 10);
        assert_eq!(out, [10, 0, 20]);
        spread(None, vec![3], &mut out, 0, |x| x * 10);
        assert_eq!(out, [30]);
    }
}
