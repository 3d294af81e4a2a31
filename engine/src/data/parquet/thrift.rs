//! The header of a page, in Thrift's compact protocol.
//!
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>

/// Structures within structures that are gone into.
const MAX_DEPTH: usize = 16;

/// Why a header is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    /// More bytes may make one of it.
    Short,
    /// It is none.
    Wrong,
}

/// What a page is, and its sizes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// 0 data, 1 index, 2 dictionary, 3 data of version 2.
    pub(super) kind: i64,
    /// Bytes of the page when it is unpacked.
    pub(super) n_unpacked: usize,
    /// Bytes of the page in the file.
    pub(super) n_packed: usize,
    /// Of the part that belongs to the kind: values, and for version 2 nulls and rows.
    pub(super) n_values: u32,
    pub(super) n_nulls: u32,
    pub(super) n_rows: u32,
    pub(super) encoding: i64,
    /// How the levels of version 1 are written.
    pub(super) level_encodings: [i64; 2],
    /// Bytes of the levels of version 2, of definition and of repetition.
    pub(super) level_bytes: [u32; 2],
    /// Whether the values of version 2 are packed.
    pub(super) is_packed: bool,
}

impl PageHeader {
    /// Reads a header from the first bytes; how many it has.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, usize), Problem> {
        let mut input = Input { bytes, at: 0 };
        let (top, inner) = input.page()?;
        let int = |fields: &Fields, id: usize| fields[id].ok_or(Problem::Wrong);
        let size = |fields: &Fields, id: usize| {
            u32::try_from(int(fields, id)?).map_err(|_| Problem::Wrong)
        };
        let mut header = Self {
            kind: int(&top, 1)?,
            n_unpacked: size(&top, 2)? as usize,
            n_packed: size(&top, 3)? as usize,
            is_packed: true,
            ..Self::default()
        };
        match header.kind {
            0 => {
                (header.n_values, header.encoding) = (size(&inner, 1)?, int(&inner, 2)?);
                header.level_encodings = [int(&inner, 3)?, int(&inner, 4)?];
            }
            2 => (header.n_values, header.encoding) = (size(&inner, 1)?, int(&inner, 2)?),
            3 => {
                header.n_values = size(&inner, 1)?;
                (header.n_nulls, header.n_rows) = (size(&inner, 2)?, size(&inner, 3)?);
                header.encoding = int(&inner, 4)?;
                header.level_bytes = [size(&inner, 5)?, size(&inner, 6)?];
                header.is_packed = inner[7] != Some(0);
            }
            _ => {}
        }
        Ok((header, input.at))
    }
}

/// The whole numbers and truths among the fields 1 to 8.
type Fields = [Option<i64>; 9];

struct Input<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Input<'_> {
    /// The fields of a page's header, and those of the structure in it that its kind has.
    fn page(&mut self) -> Result<(Fields, Fields), Problem> {
        let (mut top, mut inner) = (Fields::default(), Fields::default());
        let mut id = 0;
        while let Some(kind) = self.field(&mut id)? {
            match (kind, id) {
                // Of the kinds data, dictionary and data of version 2.
                (12, 5 | 7 | 8) => inner = self.structure(MAX_DEPTH)?,
                _ => self.value(kind, id, &mut top, MAX_DEPTH)?,
            }
        }
        Ok((top, inner))
    }

    fn structure(&mut self, depth: usize) -> Result<Fields, Problem> {
        let depth = depth.checked_sub(1).ok_or(Problem::Wrong)?;
        let (mut fields, mut id) = (Fields::default(), 0);
        while let Some(kind) = self.field(&mut id)? {
            self.value(kind, id, &mut fields, depth)?;
        }
        Ok(fields)
    }

    /// The type of the next field, whose number is the last one's and a step; nothing at the end.
    fn field(&mut self, id: &mut i64) -> Result<Option<u8>, Problem> {
        let byte = self.byte()?;
        if byte == 0 {
            return Ok(None);
        }
        *id = match byte >> 4 {
            0 => self.int()?,
            step => id.wrapping_add(step.into()),
        };
        Ok(Some(byte & 15))
    }

    fn value(
        &mut self,
        kind: u8,
        id: i64,
        fields: &mut Fields,
        depth: usize,
    ) -> Result<(), Problem> {
        let value = match kind {
            1 => Some(1),
            2 => Some(0),
            3 => Some(i64::from(self.byte()?.cast_signed())),
            4..=6 => Some(self.int()?),
            _ => {
                self.skip(kind, depth)?;
                None
            }
        };
        if let Some(field) = usize::try_from(id).ok().and_then(|id| fields.get_mut(id)) {
            *field = value;
        }
        Ok(())
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Result<(), Problem> {
        let depth = depth.checked_sub(1).ok_or(Problem::Wrong)?;
        match kind {
            // Truths in a list have a byte of their own.
            1..=3 => self.pass(1),
            4..=6 => self.int().map(drop),
            7 => self.pass(8),
            8 => {
                let n = self.unsigned()?;
                self.pass(n)
            }
            9 | 10 => {
                let byte = self.byte()?;
                let n = if byte >> 4 == 15 { self.unsigned()? } else { u64::from(byte >> 4) };
                (0..n).try_for_each(|_| self.skip(byte & 15, depth))
            }
            11 => {
                let n = self.unsigned()?;
                let kinds = if n == 0 { 0 } else { self.byte()? };
                (0..n).try_for_each(|_| {
                    self.skip(kinds >> 4, depth)?;
                    self.skip(kinds & 15, depth)
                })
            }
            12 => self.structure(depth).map(drop),
            _ => Err(Problem::Wrong),
        }
    }

    fn pass(&mut self, n: u64) -> Result<(), Problem> {
        let left = (self.bytes.len() - self.at) as u64;
        if n > left {
            return Err(Problem::Short);
        }
        self.at += n as usize;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        let byte = *self.bytes.get(self.at).ok_or(Problem::Short)?;
        self.at += 1;
        Ok(byte)
    }

    fn unsigned(&mut self) -> Result<u64, Problem> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(value);
            }
        }
        Err(Problem::Wrong)
    }

    /// A signed number, whose sign is its last bit.
    fn int(&mut self) -> Result<i64, Problem> {
        let value = self.unsigned()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A page of dictionary-coded data as pyarrow writes it: 100 packed of 200 bytes, 1,000 values, and
    /// statistics, which are passed over.
    const DATA: [u8; 27] = [
        0x15, 0x00, 0x15, 0x90, 0x03, 0x15, 0xc8, 0x01, 0x2c, 0x15, 0xd0, 0x0f, 0x15, 0x10, 0x15,
        0x06, 0x15, 0x06, 0x1c, 0x18, 0x02, b'a', b'b', 0x00, 0x00, 0x00, 0x77,
    ];

    #[test]
    fn a_header_says_what_the_page_is() {
        let (header, n) = PageHeader::read(&DATA).unwrap();
        assert_eq!((header.kind, header.n_unpacked, header.n_packed), (0, 200, 100));
        assert_eq!((header.n_values, header.encoding), (1000, 8));
        assert_eq!((header.level_encodings, n), ([3, 3], 26));
    }

    #[test]
    fn what_is_cut_off_is_short_and_what_is_no_header_is_wrong() {
        for n in 0..26 {
            assert_eq!(PageHeader::read(&DATA[..n]), Err(Problem::Short), "{n}");
        }
        assert_eq!(PageHeader::read(&[0x00]), Err(Problem::Wrong));
        assert_eq!(PageHeader::read(&[0x1f]), Err(Problem::Wrong));
        assert_eq!(PageHeader::read(&[0x1c; 100]), Err(Problem::Wrong), "too deep");
        assert_eq!(PageHeader::read(&[0xff; 20]), Err(Problem::Wrong));
        let mut negative = DATA;
        negative[3] = 0x91;
        assert_eq!(PageHeader::read(&negative), Err(Problem::Wrong));
    }

    proptest! {
        #[test]
        fn any_bytes_return(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = PageHeader::read(&bytes);
        }
    }
}
