//! The header of a `.npy` file: what its bytes are.

use std::io::{self, Read};

use super::super::number::quoted;

/// Most bytes of a header; those of arrays of numbers have about a hundred.
const MAX_HEADER: usize = 1 << 16;

/// What the items of an array are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Signed,
    Unsigned,
    Float,
    /// Characters of four bytes.
    Text,
    /// Characters of one byte.
    Bytes,
}

/// The type of an array's items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dtype {
    pub(super) kind: Kind,
    /// Bytes of an item.
    pub(super) size: usize,
    pub(super) big_endian: bool,
}

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Array {
    pub(super) dtype: Dtype,
    /// Whether the first index runs fastest.
    pub(super) fortran: bool,
    pub(super) shape: Vec<usize>,
    /// Bytes of all items.
    pub(super) n_bytes: u64,
    /// Bytes of the header itself.
    pub(super) n_header: u64,
}

impl Array {
    /// Reads a header.
    ///
    /// # Errors
    /// If it is none, or says what is not read.
    pub(super) fn read(input: &mut dyn Read) -> Result<Self, String> {
        let mut start = [0; 8];
        exact(input, &mut start)?;
        let Some(&[major, _]) = start.strip_prefix(b"\x93NUMPY") else {
            return Err("it does not begin as a .npy file does; check what it is".to_owned());
        };
        let mut bytes = [0; 4];
        let n_length = match major {
            1 => 2,
            2 | 3 => 4,
            _ => return Err(format!("version {major} of the .npy format is not known")),
        };
        exact(input, &mut bytes[..n_length])?;
        let n = u32::from_le_bytes(bytes) as usize;
        if n > MAX_HEADER {
            return Err(format!("the header claims {n} bytes; it is damaged"));
        }
        let mut text = vec![0; n];
        exact(input, &mut text)?;
        let mut array = parse(&text)?;
        array.n_header = (8 + n_length + n) as u64;
        Ok(array)
    }

    /// The shape for people: `3 × 4`.
    pub(super) fn shown(&self) -> String {
        let sizes: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        sizes.join(" × ")
    }
}

fn exact(input: &mut dyn Read, out: &mut [u8]) -> Result<(), String> {
    input.read_exact(out).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => "the header is cut off; write the file anew".to_owned(),
        _ => format!("cannot read the header: {error}"),
    })
}

/// Reads the dictionary `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`.
fn parse(text: &[u8]) -> Result<Array, String> {
    let damaged = || {
        format!(
            "the header {} is not one that NumPy writes for an array of numbers; it is damaged",
            quoted(text.trim_ascii())
        )
    };
    let mut rest = Rest(std::str::from_utf8(text).map_err(|_| damaged())?);
    let (mut dtype, mut fortran, mut shape) = (None, None, None);
    rest.sign('{').ok_or_else(damaged)?;
    while rest.sign('}').is_none() {
        let key = rest.string().ok_or_else(damaged)?;
        rest.sign(':').ok_or_else(damaged)?;
        match key {
            "descr" if dtype.is_none() => {
                if rest.0.starts_with('[') {
                    return Err("structured arrays are not read; save one plain array of numbers"
                        .to_owned());
                }
                dtype = Some(dtype_of(rest.string().ok_or_else(damaged)?)?);
            }
            "fortran_order" if fortran.is_none() => {
                fortran = Some(rest.truth().ok_or_else(damaged)?);
            }
            "shape" if shape.is_none() => shape = Some(rest.shape().ok_or_else(damaged)?),
            _ => return Err(damaged()),
        }
        if rest.sign(',').is_none() && !rest.0.starts_with('}') {
            return Err(damaged());
        }
    }
    let (Some(dtype), Some(fortran), Some(shape), "") = (dtype, fortran, shape, rest.0) else {
        return Err(damaged());
    };
    let n_bytes = shape.iter().try_fold(dtype.size, |n, &size| n.checked_mul(size));
    let n_bytes = n_bytes.ok_or("the header claims more items than there can be; it is damaged")?;
    Ok(Array { dtype, fortran, shape, n_bytes: n_bytes as u64, n_header: 0 })
}

fn dtype_of(text: &str) -> Result<Dtype, String> {
    let refused =
        |what: &str, hint: &str| Err(format!("arrays of {what} ({text:?}) are not read; {hint}"));
    let as_numbers = "save it as numbers, as with array.astype(float)";
    let mut signs = text.chars();
    let order = signs.next().unwrap_or_default();
    let kind = signs.next().unwrap_or_default();
    let size: Option<usize> = signs.as_str().parse().ok();
    let kind = match (kind, size) {
        ('b', Some(1)) => Kind::Bool,
        ('i', Some(1 | 2 | 4 | 8)) => Kind::Signed,
        ('u', Some(1 | 2 | 4 | 8)) => Kind::Unsigned,
        ('f', Some(4 | 8)) => Kind::Float,
        ('U', Some(1..=1024)) => Kind::Text,
        ('S' | 'a', Some(1..=4096)) => Kind::Bytes,
        ('O', _) => return refused("Python objects", "save numbers, or text with a dtype of str"),
        ('c', _) => return refused("complex numbers", "save the parts as channels"),
        ('M' | 'm', _) => return refused("dates", as_numbers),
        _ => return refused("this type", as_numbers),
    };
    let size = size.unwrap_or_default() * if kind == Kind::Text { 4 } else { 1 };
    let big_endian = match order {
        '<' => false,
        '>' => true,
        '|' if size == 1 || kind == Kind::Bytes => false,
        _ => return refused("this type", as_numbers),
    };
    Ok(Dtype { kind, size, big_endian })
}

/// What of a header is not read yet.
struct Rest<'t>(&'t str);

impl<'t> Rest<'t> {
    fn sign(&mut self, sign: char) -> Option<()> {
        let rest = self.0.trim_ascii_start().strip_prefix(sign)?;
        self.0 = rest.trim_ascii_start();
        Some(())
    }

    fn string(&mut self) -> Option<&'t str> {
        let quote = self.0.chars().next().filter(|sign| matches!(sign, '\'' | '"'))?;
        let (text, rest) = self.0[1..].split_once(quote)?;
        self.0 = rest.trim_ascii_start();
        Some(text)
    }

    fn truth(&mut self) -> Option<bool> {
        for (word, truth) in [("True", true), ("False", false)] {
            if let Some(rest) = self.0.strip_prefix(word) {
                self.0 = rest.trim_ascii_start();
                return Some(truth);
            }
        }
        None
    }

    /// `(3, 4)`, `(3,)` or `()`.
    fn shape(&mut self) -> Option<Vec<usize>> {
        self.sign('(')?;
        let (text, rest) = self.0.split_once(')')?;
        self.0 = rest.trim_ascii_start();
        let text = text.trim_ascii();
        if text.is_empty() {
            return Some(Vec::new());
        }
        let is_one = !text.contains(',');
        let sizes = text.strip_suffix(',').unwrap_or(text).split(',');
        let size = |text: &str| {
            let digits = text.trim_ascii();
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten()
        };
        sizes.map(size).collect::<Option<Vec<usize>>>().filter(|_| !is_one)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file of version 1 with a header and bytes behind it.
    pub(in super::super) fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{header}\n");
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
    }

    fn read(header: &str) -> Result<Array, String> {
        Array::read(&mut &file(header, b"")[..])
    }

    #[test]
    fn headers_say_type_order_and_shape() {
        let array = read("{'descr': '>f4', 'fortran_order': True, 'shape': (3, 4), }  ").unwrap();
        assert_eq!(array.dtype, Dtype { kind: Kind::Float, size: 4, big_endian: true });
        assert_eq!((array.fortran, &array.shape[..], array.n_bytes), (true, &[3, 4][..], 48));
        let array = read("{'shape': (7,), 'fortran_order': False, 'descr': '|b1'}").unwrap();
        assert_eq!((&array.shape[..], array.n_bytes), (&[7][..], 7));
        let array = read("{'descr': '<U3', 'fortran_order': False, 'shape': ()}").unwrap();
        assert_eq!((array.shape.len(), array.n_bytes), (0, 12));
        let header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (2,)}\n";
        let length = u32::try_from(header.len()).unwrap().to_le_bytes();
        let bytes = [b"\x93NUMPY\x03\x00", &length[..], header].concat();
        assert_eq!(Array::read(&mut &bytes[..]).unwrap().n_header, 12 + header.len() as u64);
    }

    #[test]
    fn what_is_not_read_says_so() {
        for (descr, reason) in [
            ("'|O'", "arrays of Python objects (\"|O\") are not read"),
            ("'<c16'", "complex numbers"),
            ("'<M8[ns]'", "dates"),
            ("'<f2'", "this type"),
            ("'f8'", "this type"),
            ("'|f8'", "this type"),
            ("'<i3'", "this type"),
            ("[('a', '<f4')]", "structured arrays"),
            ("4", "is not one that NumPy writes"),
        ] {
            let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (1,)}}");
            let error = read(&header).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn damage_says_so() {
        for (shape, more) in [
            ("(3)", ""),
            ("(3, x)", ""),
            ("(-3,)", ""),
            ("(3,,)", ""),
            ("(3,", ""),
            ("(99999999999999999999,)", ""),
            ("(3,)", ", 'more': 1"),
            ("(3,)", ", 'shape': (3,)"),
            ("(3,)", "} x"),
        ] {
            let header =
                format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}{more}}}");
            let error = read(&header).unwrap_err();
            assert!(error.contains("is not one that NumPy writes"), "{header}: {error}");
        }
        assert!(read("{'descr': '<f8', 'shape': (3,)}").is_err());
        let error =
            read("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296)}");
        assert!(error.unwrap_err().contains("more items than there can be"));
        for (bytes, reason) in [
            (&b"PK\x03\x04....."[..], "does not begin as a .npy file"),
            (b"\x93NUMPY\x01", "cut off"),
            (b"\x93NUMPY\x01\x00\xff\x00{", "cut off"),
            (b"\x93NUMPY\x09\x00\x00\x00", "version 9"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f", "claims 2147483647 bytes"),
        ] {
            let error = Array::read(&mut &bytes[..]).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_header_returns(text in "[{}()',: 0-9<>|fUOTruealse descrshap]{0,60}") {
            let _ = parse(text.as_bytes());
        }
    }
}
