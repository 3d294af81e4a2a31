//! The items of an array, read in pieces in C order.

use std::io::{self, Read};

use super::header::{Array, Dtype, Kind};

/// Most bytes of an array in Fortran order, which is turned in memory.
const MAX_TURNED: u64 = 1 << 30;

/// The items of an array, the last index running fastest.
pub(super) struct Items<'r> {
    input: Box<dyn Read + 'r>,
    dtype: Dtype,
    buffer: Vec<u8>,
}

impl<'r> Items<'r> {
    /// Of an array whose header has been read.
    ///
    /// # Errors
    /// If an array in Fortran order is cut off, or too large to turn.
    pub(super) fn new(array: &Array, input: Box<dyn Read + 'r>) -> Result<Self, String> {
        let sides = array.shape.iter().filter(|&&size| size > 1).count();
        let input = if array.fortran && sides > 1 { turned(array, input)? } else { input };
        Ok(Self { input, dtype: array.dtype, buffer: Vec::new() })
    }

    /// Reads the next items as they stand.
    pub(super) fn bytes(&mut self, n_items: usize) -> Result<&[u8], String> {
        self.buffer.resize(n_items * self.dtype.size, 0);
        self.input.read_exact(&mut self.buffer).map_err(|error| cut_off(&error))?;
        Ok(&self.buffer)
    }

    /// Reads the next items of an array of numbers.
    pub(super) fn numbers(&mut self, n_items: usize, out: &mut Vec<f64>) -> Result<(), String> {
        let dtype = self.dtype;
        let bytes = self.bytes(n_items)?;
        out.clear();
        decode(dtype, bytes, out);
        Ok(())
    }

    /// Fails if more follows.
    pub(super) fn end(mut self) -> Result<(), String> {
        let mut byte = [0];
        match self.input.read(&mut byte) {
            Ok(0) => Ok(()),
            Ok(_) => {
                Err("more bytes follow than the header says; write one array to a file".to_owned())
            }
            Err(error) => Err(cut_off(&error)),
        }
    }
}

fn cut_off(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            "fewer bytes follow than the header says; the file is cut off or damaged, write it anew"
                .to_owned()
        }
        _ => format!("cannot read the array: {error}"),
    }
}

/// The same array in C order, in memory.
fn turned<'r>(array: &Array, input: Box<dyn Read + 'r>) -> Result<Box<dyn Read + 'r>, String> {
    if array.n_bytes > MAX_TURNED {
        return Err(format!(
            "an array in Fortran order of {} bytes is too large to turn in memory; save it in C \
             order, as with numpy.ascontiguousarray",
            array.n_bytes
        ));
    }
    // Grows as bytes come, whatever the header claims.
    let mut bytes = Vec::new();
    let mut input = input;
    input.by_ref().take(array.n_bytes).read_to_end(&mut bytes).map_err(|error| cut_off(&error))?;
    if (bytes.len() as u64) < array.n_bytes {
        return Err(cut_off(&io::ErrorKind::UnexpectedEof.into()));
    }
    let size = array.dtype.size;
    let mut strides = vec![size; array.shape.len()];
    for axis in 1..strides.len() {
        strides[axis] = strides[axis - 1] * array.shape[axis - 1];
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = vec![0; array.shape.len()];
    while out.len() < bytes.len() {
        let at: usize = index.iter().zip(&strides).map(|(i, stride)| i * stride).sum();
        out.extend_from_slice(&bytes[at..at + size]);
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            if index[axis] < array.shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    // What follows stays to be seen.
    Ok(Box::new(io::Cursor::new(out).chain(input)))
}

fn decode(dtype: Dtype, bytes: &[u8], out: &mut Vec<f64>) {
    /// Items of one type.
    macro_rules! items {
        ($type:ty, $n:literal, $to:expr) => {
            if dtype.big_endian {
                out.extend(
                    bytes.as_chunks::<$n>().0.iter().map(|b| $to(<$type>::from_be_bytes(*b))),
                )
            } else {
                out.extend(
                    bytes.as_chunks::<$n>().0.iter().map(|b| $to(<$type>::from_le_bytes(*b))),
                )
            }
        };
    }
    match (dtype.kind, dtype.size) {
        (Kind::Bool, _) => out.extend(bytes.iter().map(|&byte| f64::from(u8::from(byte != 0)))),
        (Kind::Float, 4) => items!(f32, 4, f64::from),
        (Kind::Float, _) => items!(f64, 8, f64::from),
        (Kind::Signed, 1) => items!(i8, 1, f64::from),
        (Kind::Signed, 2) => items!(i16, 2, f64::from),
        (Kind::Signed, 4) => items!(i32, 4, f64::from),
        (Kind::Signed, _) => items!(i64, 8, |x| x as f64),
        (Kind::Unsigned, 1) => items!(u8, 1, f64::from),
        (Kind::Unsigned, 2) => items!(u16, 2, f64::from),
        (Kind::Unsigned, 4) => items!(u32, 4, f64::from),
        (Kind::Unsigned, _) => items!(u64, 8, |x| x as f64),
        (Kind::Text | Kind::Bytes, _) => {}
    }
}

/// One item as the name of a class; empty where it is missing.
pub(super) fn label(dtype: Dtype, item: &[u8]) -> Result<Vec<u8>, String> {
    let whole = || {
        let mut bytes = [0; 8];
        let order = |i: usize| if dtype.big_endian { item.len() - 1 - i } else { i };
        (0..item.len()).for_each(|i| bytes[i] = item[order(i)]);
        u64::from_le_bytes(bytes)
    };
    Ok(match dtype.kind {
        Kind::Bool => if item == [0] { "false" } else { "true" }.into(),
        Kind::Unsigned => whole().to_string().into_bytes(),
        Kind::Signed => {
            let unused = 64 - 8 * item.len() as u32;
            ((whole() << unused).cast_signed() >> unused).to_string().into_bytes()
        }
        Kind::Float => {
            let mut number = Vec::new();
            decode(dtype, item, &mut number);
            number
                .iter()
                .filter(|number| !number.is_nan())
                .map(f64::to_string)
                .collect::<String>()
                .into_bytes()
        }
        Kind::Bytes => item.split(|&byte| byte == 0).next().unwrap_or_default().to_vec(),
        Kind::Text => {
            let sign = |b: &[u8; 4]| {
                let code =
                    if dtype.big_endian { u32::from_be_bytes(*b) } else { u32::from_le_bytes(*b) };
                char::from_u32(code)
                    .ok_or_else(|| format!("{code:#x} is no character; the file is damaged"))
            };
            let text: String =
                item.as_chunks::<4>().0.iter().map(sign).collect::<Result<_, _>>()?;
            text.trim_end_matches('\0').as_bytes().to_vec()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_every_type_become_numbers() {
        let numbers = |kind, size, big_endian, bytes: &[u8]| {
            let mut out = Vec::new();
            decode(Dtype { kind, size, big_endian }, bytes, &mut out);
            out
        };
        assert_eq!(numbers(Kind::Bool, 1, false, &[0, 1, 2]), [0.0, 1.0, 1.0]);
        assert_eq!(numbers(Kind::Signed, 1, false, &[255]), [-1.0]);
        assert_eq!(numbers(Kind::Unsigned, 1, false, &[255]), [255.0]);
        for big in [false, true] {
            let order = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                if big {
                    bytes.reverse();
                }
                bytes
            };
            assert_eq!(numbers(Kind::Signed, 2, big, &order(&(-300_i16).to_le_bytes())), [-300.0]);
            assert_eq!(
                numbers(Kind::Signed, 4, big, &order(&(-70_000_i32).to_le_bytes())),
                [-70_000.0]
            );
            assert_eq!(numbers(Kind::Signed, 8, big, &order(&(-5_i64).to_le_bytes())), [-5.0]);
            assert_eq!(
                numbers(Kind::Unsigned, 2, big, &order(&65_000_u16.to_le_bytes())),
                [65_000.0]
            );
            assert_eq!(
                numbers(Kind::Unsigned, 4, big, &order(&4_000_000_000_u32.to_le_bytes())),
                [4e9]
            );
            assert_eq!(numbers(Kind::Unsigned, 8, big, &order(&7_u64.to_le_bytes())), [7.0]);
            assert_eq!(numbers(Kind::Float, 4, big, &order(&0.5_f32.to_le_bytes())), [0.5]);
            assert_eq!(numbers(Kind::Float, 8, big, &order(&0.1_f64.to_le_bytes())), [0.1]);
            let label = |kind, bytes: &[u8]| {
                let dtype = Dtype { kind, size: bytes.len(), big_endian: big };
                String::from_utf8(label(dtype, &order(bytes)).unwrap()).unwrap()
            };
            assert_eq!(label(Kind::Signed, &(-3_i16).to_le_bytes()), "-3");
            assert_eq!(label(Kind::Unsigned, &u64::MAX.to_le_bytes()), u64::MAX.to_string());
            assert_eq!(label(Kind::Float, &2.0_f64.to_le_bytes()), "2");
            assert_eq!(label(Kind::Float, &f64::NAN.to_le_bytes()), "");
        }
        let text = Dtype { kind: Kind::Text, size: 12, big_endian: false };
        assert_eq!(label(text, b"\xe9\0\0\0b\0\0\0\0\0\0\0").unwrap(), "éb".as_bytes());
        assert!(label(text, &[255; 12]).unwrap_err().contains("no character"));
        let bytes = Dtype { kind: Kind::Bytes, size: 3, big_endian: false };
        assert_eq!(label(bytes, b"ab\0").unwrap(), b"ab");
    }
}
