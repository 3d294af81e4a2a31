//! How samples are stored in a signal file of a WFDB record.
//!
//! Formats as in the WFDB Applications Guide, `signal(5)`.

use std::io::{self, BufRead};

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// 8: differences of one byte.
    Differences,
    /// 16: two bytes, the low one first.
    Low16,
    /// 61: two bytes, the high one first.
    High16,
    /// 80: one byte, from which 128 is taken.
    Offset8,
    /// 212: two samples of twelve bits in three bytes.
    Packed12,
}

impl Encoding {
    /// The format of a number in a header.
    ///
    /// # Errors
    /// A format that is not read.
    pub(super) fn of(format: u32) -> Result<Self, String> {
        Ok(match format {
            8 => Self::Differences,
            16 => Self::Low16,
            61 => Self::High16,
            80 => Self::Offset8,
            212 => Self::Packed12,
            _ => {
                return Err(format!(
                    "signal format {format} is not supported, only 8, 16, 61, 80 and 212; convert the \
                     record with xform"
                ));
            }
        })
    }

    /// What stands for a sample that is missing.
    pub(super) fn missing(self) -> Option<i32> {
        match self {
            Self::Differences => None,
            Self::Low16 | Self::High16 => Some(-32768),
            Self::Offset8 => Some(-128),
            Self::Packed12 => Some(-2048),
        }
    }

    /// Bytes of so many samples; none if there is no such number.
    pub(super) fn n_bytes(self, n_samples: u64) -> Option<u64> {
        match self {
            Self::Differences | Self::Offset8 => Some(n_samples),
            Self::Low16 | Self::High16 => n_samples.checked_mul(2),
            Self::Packed12 => n_samples.checked_mul(3).map(|halves| halves.div_ceil(2)),
        }
    }

    /// How many samples are in so many bytes, a part of one not counted.
    pub(super) fn n_samples(self, n_bytes: u64) -> u64 {
        match self {
            Self::Differences | Self::Offset8 => n_bytes,
            Self::Low16 | Self::High16 => n_bytes / 2,
            Self::Packed12 => n_bytes / 3 * 2 + u64::from(n_bytes % 3 == 2),
        }
    }
}

/// Takes samples one by one from bytes. Differences are handed out as such.
#[derive(Debug)]
pub(super) struct Decoder<R> {
    input: R,
    encoding: Encoding,
    /// The high bits of the second sample of a pair.
    high: Option<u8>,
}

impl<R: BufRead> Decoder<R> {
    pub(super) fn new(input: R, encoding: Encoding) -> Self {
        Self { input, encoding, high: None }
    }

    /// The next sample.
    ///
    /// # Errors
    /// If the input ends or cannot be read.
    pub(super) fn next(&mut self) -> io::Result<i32> {
        Ok(match self.encoding {
            Encoding::Differences => i32::from(i8::from_le_bytes(self.bytes()?)),
            Encoding::Low16 => i32::from(i16::from_le_bytes(self.bytes()?)),
            Encoding::High16 => i32::from(i16::from_be_bytes(self.bytes()?)),
            Encoding::Offset8 => i32::from(self.bytes::<1>()?[0]) - 128,
            Encoding::Packed12 => {
                if let Some(high) = self.high.take() {
                    let [low] = self.bytes()?;
                    signed12(low, high)
                } else {
                    let [low, shared] = self.bytes()?;
                    self.high = Some(shared >> 4);
                    signed12(low, shared & 0x0f)
                }
            }
        })
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Twelve bits as a number with a sign.
fn signed12(low: u8, high: u8) -> i32 {
    let bits = i32::from(high) << 8 | i32::from(low);
    if bits >= 2048 { bits - 4096 } else { bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(format: u32, bytes: &[u8]) -> Vec<i32> {
        let encoding = Encoding::of(format).unwrap();
        let mut decoder = Decoder::new(bytes, encoding);
        (0..encoding.n_samples(bytes.len() as u64)).map(|_| decoder.next().unwrap()).collect()
    }

    #[test]
    fn samples_come_back() {
        assert_eq!(decoded(8, &[1, 0xff, 0x80]), [1, -1, -128]);
        assert_eq!(decoded(16, &[1, 0, 0xff, 0xff, 0, 0x80, 7]), [1, -1, -32768]);
        assert_eq!(decoded(61, &[0, 1, 0xff, 0xfe]), [1, -2]);
        assert_eq!(decoded(80, &[0, 128, 255]), [-128, 0, 127]);
        assert_eq!(decoded(212, &[0x01, 0x80, 0x02, 0xff, 0x0f]), [1, -2046, -1]);
        assert_eq!(decoded(212, &[0xff, 0x7f, 0xff]), [-1, 2047]);
    }

    #[test]
    fn sizes_are_those_of_whole_samples() {
        for format in [8, 16, 61, 80, 212] {
            let encoding = Encoding::of(format).unwrap();
            for n in 0..20 {
                assert_eq!(encoding.n_samples(encoding.n_bytes(n).unwrap()), n, "{format}: {n}");
            }
            assert!(Decoder::new(&b""[..], encoding).next().is_err());
        }
        assert_eq!(Encoding::Packed12.n_bytes(u64::MAX), None);
        assert!(Encoding::of(310).unwrap_err().contains("signal format 310"));
    }
}
