//! The header of a safetensors file: parsed with distrust, written with the same bytes every time.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::dtype::byte_len;
use crate::problem::MAX_HEADER_LEN;
use crate::source::Source;
use crate::{Dtype, Error, FormatProblem, TensorInfo};

/// Bytes of the number in front of the header that holds its length.
pub(crate) const PREFIX_LEN: u64 = 8;
/// The key of the metadata, which no tensor can have as its name.
pub(crate) const METADATA_KEY: &str = "__metadata__";

/// What a header says, checked: tensors lie side by side and fill the file to its end.
#[derive(Debug)]
pub(crate) struct Header {
    /// Sorted by name.
    pub(crate) tensors: Vec<TensorInfo>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Reads and checks the header of a file, trusting nothing it says.
pub(crate) fn read_header(source: &Source) -> Result<Header, Error> {
    let format_error = |problem| Error::Format { path: source.path().to_owned(), problem };
    let file_len = source.len();
    if file_len == 0 {
        return Err(format_error(FormatProblem::Empty));
    }
    if file_len < PREFIX_LEN {
        return Err(format_error(FormatProblem::TooShort { file_len }));
    }
    let mut prefix = [0; PREFIX_LEN as usize];
    source.read_exact_at(&mut prefix, 0)?;
    let header_len = u64::from_le_bytes(prefix);
    if header_len > MAX_HEADER_LEN {
        return Err(format_error(FormatProblem::HeaderTooLarge { header_len }));
    }
    if header_len > file_len - PREFIX_LEN {
        return Err(format_error(FormatProblem::HeaderTruncated { header_len, file_len }));
    }
    let mut json = vec![0; header_len as usize];
    source.read_exact_at(&mut json, PREFIX_LEN)?;
    parse(&json, file_len).map_err(format_error)
}

/// Checks a header of `json` in a file of `file_len` bytes.
fn parse(json: &[u8], file_len: u64) -> Result<Header, FormatProblem> {
    if json.first() != Some(&b'{') {
        return Err(FormatProblem::NotSafetensors);
    }
    let raw: RawHeader = serde_json::from_slice(json)
        .map_err(|e| FormatProblem::Header { message: e.to_string() })?;
    let data_start = PREFIX_LEN + json.len() as u64;
    let data_len = file_len - data_start;

    let mut spans = Vec::with_capacity(raw.tensors.len());
    for (name, tensor) in raw.tensors {
        let (start, end) = tensor.data_offsets;
        let (dtype, shape) = check_size(&name, tensor)?;
        // `check_size` has shown that end is not before start.
        spans.push((end, TensorInfo { name, dtype, shape, start, shard: 0 }));
    }

    spans.sort_by(|(end, t), (other_end, other)| (t.start, end).cmp(&(other.start, other_end)));
    let mut cursor = 0;
    for (end, TensorInfo { name, start, .. }) in &spans {
        let (tensor, start, end) = (name.clone(), *start, *end);
        if start < cursor {
            return Err(FormatProblem::Overlap { tensor, start });
        } else if start > cursor {
            return Err(FormatProblem::Hole { start: cursor, end: start });
        } else if end > data_len {
            return Err(FormatProblem::Truncated { tensor, end, data_len });
        }
        cursor = end;
    }
    if cursor != data_len {
        return Err(FormatProblem::Hole { start: cursor, end: data_len });
    }

    let mut tensors: Vec<_> = spans
        .into_iter()
        .map(|(_, tensor)| TensorInfo { start: tensor.start + data_start, ..tensor })
        .collect();
    tensors.sort();
    if let Some(pair) = tensors.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(FormatProblem::DuplicateTensor { tensor: pair[0].name.clone() });
    }
    Ok(Header { tensors, metadata: raw.metadata })
}

/// Checks one tensor's offsets against its dtype and shape.
fn check_size(name: &str, raw: RawTensor) -> Result<(Dtype, Vec<usize>), FormatProblem> {
    let tensor = || name.to_owned();
    let dtype: Result<_, de::value::Error> =
        Dtype::deserialize(raw.dtype.as_str().into_deserializer());
    let Ok(dtype) = dtype else {
        return Err(FormatProblem::UnknownDtype { tensor: tensor(), dtype: raw.dtype });
    };
    let overflow = || FormatProblem::SizeOverflow { tensor: tensor() };
    let shape: Vec<usize> = raw
        .shape
        .iter()
        .map(|&size| usize::try_from(size).map_err(|_| overflow()))
        .collect::<Result<_, _>>()?;
    let n_elements = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
    let n_bits = n_elements.and_then(|n| n.checked_mul(dtype.bitsize())).ok_or_else(overflow)?;
    if n_bits % 8 != 0 {
        return Err(FormatProblem::PartialByte { tensor: tensor() });
    }
    let (start, end) = raw.data_offsets;
    let Some(found) = end.checked_sub(start) else {
        return Err(FormatProblem::OffsetsReversed { tensor: tensor(), start, end });
    };
    let expected = (n_bits / 8) as u64;
    if found != expected {
        return Err(FormatProblem::Length { tensor: tensor(), expected, found });
    }
    Ok((dtype, shape))
}

/// The JSON of a header, nothing checked. A map type would drop the first of two equal names.
#[derive(Default)]
struct RawHeader {
    tensors: Vec<(String, RawTensor)>,
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawHeaderVisitor)
    }
}

struct RawHeaderVisitor;

impl<'de> Visitor<'de> for RawHeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut header = RawHeader::default();
        let mut has_metadata = false;
        while let Some(key) = map.next_key::<String>()? {
            if key != METADATA_KEY {
                header.tensors.push((key, map.next_value()?));
            } else if has_metadata {
                return Err(de::Error::custom("two sets of metadata"));
            } else {
                header.metadata = map.next_value::<Option<_>>()?.unwrap_or_default();
                has_metadata = true;
            }
        }
        Ok(header)
    }
}

/// The bytes in front of the data, for tensors in the order of the data: the header's length and
/// the header, metadata keys sorted, filled with spaces to a multiple of eight and to `least` bytes.
pub(crate) fn header_bytes(
    tensors: &[(String, Dtype, Vec<usize>)],
    metadata: &BTreeMap<String, String>,
    least: usize,
) -> Vec<u8> {
    /// A string as JSON; writing one cannot fail.
    fn quoted(text: &str) -> String {
        serde_json::Value::from(text).to_string()
    }
    let mut entries = Vec::with_capacity(tensors.len() + 1);
    if !metadata.is_empty() {
        let pairs: Vec<_> =
            metadata.iter().map(|(k, v)| format!("{}:{}", quoted(k), quoted(v))).collect();
        entries.push(format!("\"{METADATA_KEY}\":{{{}}}", pairs.join(",")));
    }
    let mut start = 0;
    for (name, dtype, shape) in tensors {
        let sizes: Vec<_> = shape.iter().map(usize::to_string).collect();
        let end = start + byte_len(*dtype, shape.iter().product());
        entries.push(format!(
            "{}:{{\"dtype\":\"{dtype}\",\"shape\":[{}],\"data_offsets\":[{start},{end}]}}",
            quoted(name),
            sizes.join(","),
        ));
        start = end;
    }
    let mut json = format!("{{{}}}", entries.join(",")).into_bytes();
    let least = least.saturating_sub(PREFIX_LEN as usize);
    json.resize(json.len().max(least).next_multiple_of(PREFIX_LEN as usize), b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str, data_len: u64) -> FormatProblem {
        parse(json.as_bytes(), PREFIX_LEN + json.len() as u64 + data_len).unwrap_err()
    }

    fn tensor(name: &str, shape: &str, start: u64, end: u64) -> String {
        format!(
            "\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{start},{end}]}}"
        )
    }

    #[test]
    fn the_layout_must_be_gapless() {
        let two = |a: (u64, u64), b: (u64, u64)| {
            format!("{{{},{}}}", tensor("a", "[2]", a.0, a.1), tensor("b", "[2]", b.0, b.1))
        };
        assert!(
            parse(two((8, 16), (0, 8)).as_bytes(), 8 + two((8, 16), (0, 8)).len() as u64 + 16)
                .is_ok()
        );
        let found = problem(&two((0, 8), (4, 12)), 12);
        assert_eq!(found, FormatProblem::Overlap { tensor: "b".into(), start: 4 });
        let found = problem(&two((0, 8), (0, 8)), 8);
        assert_eq!(found, FormatProblem::Overlap { tensor: "b".into(), start: 0 });
        let found = problem(&two((0, 8), (12, 20)), 20);
        assert_eq!(found, FormatProblem::Hole { start: 8, end: 12 });
        let found = problem(&two((0, 8), (8, 16)), 17);
        assert_eq!(found, FormatProblem::Hole { start: 16, end: 17 });
        let found = problem(&two((0, 8), (8, 16)), 15);
        assert_eq!(found, FormatProblem::Truncated { tensor: "b".into(), end: 16, data_len: 15 });
        let found = problem(&two((8, 0), (8, 16)), 16);
        assert_eq!(found, FormatProblem::OffsetsReversed { tensor: "a".into(), start: 8, end: 0 });
    }

    #[test]
    fn sizes_are_checked_arithmetic() {
        let one =
            |shape: &str, end: u64| problem(&format!("{{{}}}", tensor("a", shape, 0, end)), 8);
        let overflow = FormatProblem::SizeOverflow { tensor: "a".into() };
        assert_eq!(one("[4294967296,4294967296]", 8), overflow);
        assert_eq!(one("[9223372036854775807]", 8), overflow);
        assert_eq!(
            one("[3]", 8),
            FormatProblem::Length { tensor: "a".into(), expected: 12, found: 8 }
        );
        let end = u64::MAX - 3;
        let json = format!("{{{}}}", tensor("a", "[1]", end - 4, end));
        assert_eq!(problem(&json, 4), FormatProblem::Hole { start: 0, end: end - 4 });
        assert!(matches!(one("[-1]", 8), FormatProblem::Header { .. }));
        assert!(matches!(one("[18446744073709551616]", 8), FormatProblem::Header { .. }));
    }

    #[test]
    fn the_json_is_checked() {
        let twice = format!("{{{},{}}}", tensor("a", "[0]", 0, 0), tensor("a", "[2]", 0, 8));
        assert_eq!(problem(&twice, 8), FormatProblem::DuplicateTensor { tensor: "a".into() });
        assert_eq!(problem("[]", 0), FormatProblem::NotSafetensors);
        assert_eq!(problem(" {}", 0), FormatProblem::NotSafetensors);
        assert_eq!(problem("", 0), FormatProblem::NotSafetensors);
        for bad in ["{", "{}x", "{\"a\":1}", "{\"__metadata__\":{\"k\":1}}", "{\"\u{1}\":0}"] {
            assert!(matches!(problem(bad, 0), FormatProblem::Header { .. }), "{bad}");
        }
        let unknown = tensor("a", "[2]", 0, 8).replace("F32", "F33");
        let expected = FormatProblem::UnknownDtype { tensor: "a".into(), dtype: "F33".into() };
        assert_eq!(problem(&format!("{{{unknown}}}"), 8), expected);
        let nested = format!("{{\"a\":{}", "[".repeat(100_000));
        assert!(matches!(problem(&nested, 0), FormatProblem::Header { .. }));
        let odd = tensor("a", "[3]", 0, 1).replace("F32", "F4");
        let expected = FormatProblem::PartialByte { tensor: "a".into() };
        assert_eq!(problem(&format!("{{{odd}}}"), 1), expected);
    }

    #[test]
    fn what_is_written_parses_back() {
        let tensors = vec![
            ("w \"é\"".to_owned(), Dtype::F64, vec![2, 3]),
            ("a".to_owned(), Dtype::BOOL, vec![]),
        ];
        let metadata = BTreeMap::from([("k".to_owned(), "line\nbreak".to_owned())]);
        let bytes = header_bytes(&tensors, &metadata, 0);
        assert_eq!(bytes.len() % 8, 0);
        let header = parse(&bytes[8..], bytes.len() as u64 + 49).unwrap();
        assert_eq!(header.metadata, metadata);
        let names: Vec<_> = header.tensors.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["a", "w \"é\""]);
        assert_eq!(header.tensors[0].start, bytes.len() as u64 + 48);
    }
}
