//! Bytes to numbers and back, for every dtype that can be read.

use half::{bf16, f16};

use crate::Dtype;
use crate::dispatch::vectorized;

/// How the elements of a dtype are averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Through f64.
    Float,
    /// Not at all, see [`Carry`](crate::carry::Carry). Booleans are the integers 0 and 1.
    Integer,
    /// Not at all, and not read: narrow floats and complex numbers are carried as bytes.
    Opaque,
}

/// The kind of a dtype.
pub(crate) fn kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64 => Kind::Float,
        Dtype::BOOL
        | Dtype::U8
        | Dtype::I8
        | Dtype::U16
        | Dtype::I16
        | Dtype::U32
        | Dtype::I32
        | Dtype::U64
        | Dtype::I64 => Kind::Integer,
        _ => Kind::Opaque,
    }
}

/// Bytes of one float or integer; 0 of a dtype that packs several elements into a byte.
pub(crate) fn element_width(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}

/// Bytes of so many elements, which together fill whole bytes.
pub(crate) fn byte_len(dtype: Dtype, n_elements: usize) -> usize {
    match dtype.bitsize() {
        bits if bits % 8 == 0 => n_elements * (bits / 8),
        // Eight elements at a time, so that nothing overflows that fits in bytes.
        bits => n_elements / 8 * bits + n_elements % 8 * bits / 8,
    }
}

/// The first element at which two tensors of integers or of bytes differ, and what they hold there,
/// in words.
///
/// # Panics
/// If `dtype` is a float.
pub(crate) fn first_difference(
    dtype: Dtype,
    a: &[u8],
    b: &[u8],
) -> Option<(usize, String, String)> {
    let width = element_width(dtype).max(1);
    let at = a.chunks(width).zip(b.chunks(width)).position(|(a, b)| a != b)?;
    let text = |bytes: &[u8]| {
        let element = &bytes[at * width..(at + 1) * width];
        if kind(dtype) == Kind::Opaque {
            let digits = element.iter().rev().map(|byte| format!("{byte:02x}"));
            return format!("the bits 0x{}", digits.collect::<String>());
        }
        let mut value = Vec::new();
        decode_integers(dtype, element, &mut value);
        value[0].to_string()
    };
    // Of packed elements the first in the byte.
    let index = if element_width(dtype) == 0 { at * 8 / dtype.bitsize() } else { at };
    Some((index, text(a), text(b)))
}

/// Fills `out` with the floats in `bytes`, exactly.
///
/// # Panics
/// If `dtype` is not a float.
pub(crate) fn decode_floats(dtype: Dtype, bytes: &[u8], out: &mut Vec<f64>) {
    match dtype {
        Dtype::F16 => decode(bytes, out, |b| f16::from_le_bytes(b).to_f64()),
        Dtype::BF16 => decode(bytes, out, |b| bf16::from_le_bytes(b).to_f64()),
        Dtype::F32 => decode(bytes, out, |b| f64::from(f32::from_le_bytes(b))),
        Dtype::F64 => decode(bytes, out, f64::from_le_bytes),
        other => panic!("{other} is not a float"),
    }
}

/// Appends `values` to `out`, each rounded once to the nearest, ties to even; returns whether all
/// are finite then.
///
/// # Panics
/// If `dtype` is not a float.
pub(crate) fn encode_floats(dtype: Dtype, values: &[f64], out: &mut Vec<u8>) -> bool {
    let before = out.len();
    out.resize(before + values.len() * element_width(dtype), 0);
    let out = &mut out[before..];
    match dtype {
        Dtype::F16 => {
            encode(values, out, |v| f16::from_f32(round_to_odd(v)).to_le_bytes());
            first_invalid(dtype, out).is_none()
        }
        Dtype::BF16 => {
            encode(values, out, |v| bf16::from_f32(round_to_odd(v)).to_le_bytes());
            first_invalid(dtype, out).is_none()
        }
        Dtype::F32 => encode_f32(values, out),
        Dtype::F64 => {
            encode(values, out, f64::to_le_bytes);
            values.iter().all(|v| v.is_finite())
        }
        other => panic!("{other} is not a float"),
    }
}

fn encode_f32(values: &[f64], out: &mut [u8]) -> bool {
    vectorized(
        #[inline(always)]
        || {
            // Without a way out, which would keep the loop from being vectorised.
            let mut finite = true;
            for (bytes, &value) in out.as_chunks_mut::<4>().0.iter_mut().zip(values) {
                let narrow = value as f32;
                finite &= narrow.is_finite();
                *bytes = narrow.to_le_bytes();
            }
            finite
        },
    )
}

/// Fills `out` with the integers in `bytes`.
///
/// # Panics
/// If `dtype` is not an integer or boolean.
pub(crate) fn decode_integers(dtype: Dtype, bytes: &[u8], out: &mut Vec<i128>) {
    match dtype {
        Dtype::BOOL | Dtype::U8 => decode(bytes, out, |b| u8::from_le_bytes(b).into()),
        Dtype::I8 => decode(bytes, out, |b| i8::from_le_bytes(b).into()),
        Dtype::U16 => decode(bytes, out, |b| u16::from_le_bytes(b).into()),
        Dtype::I16 => decode(bytes, out, |b| i16::from_le_bytes(b).into()),
        Dtype::U32 => decode(bytes, out, |b| u32::from_le_bytes(b).into()),
        Dtype::I32 => decode(bytes, out, |b| i32::from_le_bytes(b).into()),
        Dtype::U64 => decode(bytes, out, |b| u64::from_le_bytes(b).into()),
        Dtype::I64 => decode(bytes, out, |b| i64::from_le_bytes(b).into()),
        other => panic!("{other} is not an integer"),
    }
}

/// The first element that no update may hold: a float that is not finite, or a boolean that is
/// neither 0 nor 1; with the value in words.
pub(crate) fn first_invalid(dtype: Dtype, bytes: &[u8]) -> Option<(usize, String)> {
    /// A float is NaN or infinite exactly if all bits of its exponent are set.
    fn find<const N: usize>(bytes: &[u8], bad: impl Fn([u8; N]) -> bool) -> Option<usize> {
        bytes.as_chunks::<N>().0.iter().position(|&b| bad(b))
    }
    let index = match dtype {
        Dtype::F16 => find(bytes, |b| u16::from_le_bytes(b) & 0x7C00 == 0x7C00),
        Dtype::BF16 => find(bytes, |b| u16::from_le_bytes(b) & 0x7F80 == 0x7F80),
        Dtype::F32 => find(bytes, |b| !f32::from_le_bytes(b).is_finite()),
        Dtype::F64 => find(bytes, |b| !f64::from_le_bytes(b).is_finite()),
        Dtype::BOOL => find(bytes, |[b]| b > 1),
        _ => None,
    }?;
    let width = element_width(dtype);
    let element = &bytes[index * width..(index + 1) * width];
    let found = if dtype == Dtype::BOOL {
        format!("the byte {}, not a boolean,", element[0])
    } else {
        let mut values = Vec::new();
        decode_floats(dtype, element, &mut values);
        values[0].to_string()
    };
    Some((index, found))
}

fn decode<const N: usize, T>(bytes: &[u8], out: &mut Vec<T>, one: impl Fn([u8; N]) -> T) {
    out.clear();
    out.extend(bytes.as_chunks::<N>().0.iter().map(|&b| one(b)));
}

fn encode<const N: usize>(values: &[f64], out: &mut [u8], one: impl Fn(f64) -> [u8; N]) {
    for (bytes, &value) in out.as_chunks_mut::<N>().0.iter_mut().zip(values) {
        *bytes = one(value);
    }
}

/// Rounds to f32 so that rounding once more, to 16 bits, gives what one rounding would: an inexact
/// result takes the neighbour with an odd last bit, which is never a tie.
///
/// `f16::from_f64` looks at the upper 32 bits only, and rounds a value just above a tie down.
fn round_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let back = f64::from(nearest);
    if back.to_bits() == value.to_bits() || value.is_nan() {
        return nearest;
    }
    let toward_zero = nearest.to_bits() - u32::from(back.abs() > value.abs());
    f32::from_bits(toward_zero | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(dtype: Dtype, value: f64) -> u16 {
        let mut bytes = Vec::new();
        encode_floats(dtype, &[value], &mut bytes);
        u16::from_le_bytes([bytes[0], bytes[1]])
    }

    /// Every pair of neighbours: the middle goes to the even one, a hair off it to the nearer.
    #[test]
    fn sixteen_bits_are_rounded_once() {
        for (dtype, infinity) in [(Dtype::F16, 0x7C00u16), (Dtype::BF16, 0x7F80)] {
            for bits in 0..infinity - 1 {
                let mut pair = Vec::new();
                let bytes = [bits.to_le_bytes(), (bits + 1).to_le_bytes()].concat();
                decode_floats(dtype, &bytes, &mut pair);
                let middle = f64::midpoint(pair[0], pair[1]);
                assert_eq!(rounded(dtype, pair[0]), bits);
                assert_eq!(rounded(dtype, middle), bits + bits % 2);
                assert_eq!(rounded(dtype, middle.next_up()), bits + 1);
                assert_eq!(rounded(dtype, middle.next_down()), bits);
                assert_eq!(rounded(dtype, -middle.next_up()), (bits + 1) | 0x8000);
            }
        }
        assert_eq!(rounded(Dtype::F16, -0.0), 0x8000);
        assert_eq!(rounded(Dtype::F16, 1e300), 0x7C00);
        assert_eq!(rounded(Dtype::BF16, f64::NEG_INFINITY), 0xFF80);
        assert_eq!(rounded(Dtype::F16, f64::MIN_POSITIVE), 0);
    }

    #[test]
    fn invalid_values_are_found() {
        let mut bytes = Vec::new();
        encode_floats(Dtype::F16, &[65_504.0, 1.0, f64::NAN], &mut bytes);
        assert_eq!(first_invalid(Dtype::F16, &bytes), Some((2, "NaN".into())));
        bytes.clear();
        encode_floats(Dtype::BF16, &[f64::NEG_INFINITY], &mut bytes);
        assert_eq!(first_invalid(Dtype::BF16, &bytes), Some((0, "-inf".into())));
        assert_eq!(first_invalid(Dtype::BOOL, &[0, 1, 2]).unwrap().0, 2);
        assert_eq!(first_invalid(Dtype::U8, &[0, 1, 2]), None);
    }

    #[test]
    fn differences_are_told_in_values_or_in_bits() {
        let values = |all: [i16; 3]| all.map(i16::to_le_bytes).concat();
        let (a, b) = (values([1, -2, 3]), values([1, 5, 3]));
        let found = first_difference(Dtype::I16, &a, &b);
        assert_eq!(found, Some((1, "-2".into(), "5".into())));
        assert_eq!(first_difference(Dtype::I16, &a, &a), None);
        let found = first_difference(Dtype::F4, &[0, 0x21], &[0, 0x31]);
        assert_eq!(found, Some((2, "the bits 0x21".into(), "the bits 0x31".into())));
        let found = first_difference(Dtype::C64, &[0; 8], &[0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(found.unwrap().2, "the bits 0x0100000000000000");
        assert_eq!([0, 4, 8, 12].map(|n| byte_len(Dtype::F6_E2M3, n)), [0, 3, 6, 9]);
        assert_eq!(byte_len(Dtype::F4, 6), 3);
    }
}
