//! With the feature `compression`.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Packing {
    Gzip,
    Zstd,
}

/// How a file is packed that begins so.
pub(in super::super) fn packing(head: &[u8]) -> Option<Packing> {
    match head {
        [0x1f, 0x8b, ..] => Some(Packing::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Packing::Zstd),
        _ => None,
    }
}

/// What is inside, piece by piece; what cannot be unpacked is an error with one message.
pub(in super::super) fn reader<'s>(
    packing: Packing,
    input: Box<dyn BufRead + 's>,
) -> Box<dyn Read + 's> {
    match packing {
        Packing::Gzip => Box::new(Named { what: "gzip", input: MultiGzDecoder::new(input) }),
        Packing::Zstd => Box::new(Named {
            what: "zstd",
            input: Frames { input, frame: FrameDecoder::new(), open: false },
        }),
    }
}

/// Says of a failure that it is the packing's.
struct Named<R> {
    what: &'static str,
    input: R,
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.input.read(out).map_err(|error| {
            let what = self.what;
            io::Error::new(
                error.kind(),
                format!(
                    "the {what} data in it is damaged or cut off ({error}); copy or pack the file anew"
                ),
            )
        })
    }
}

/// The frames of a zstd file, one after the other, each held to its checksum.
struct Frames<R> {
    input: R,
    frame: FrameDecoder,
    open: bool,
}

impl<R: BufRead> Frames<R> {
    /// Opens the next frame; false at the end of the file.
    fn open_next(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            match self.frame.reset(&mut self.input) {
                Ok(()) => {
                    self.open = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    if io::copy(&mut self.input.by_ref().take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }

    /// Fails if the frame was written with a checksum and what it held has another.
    fn check(&self) -> io::Result<()> {
        let told = self.frame.get_checksum_from_data();
        if told.is_some() && told != self.frame.get_calculated_checksum() {
            return Err(io::Error::other("a checksum does not hold"));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.open && !self.open_next()? {
                return Ok(0);
            }
            while self.frame.can_collect() == 0 && !self.frame.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.frame.decode_blocks(&mut self.input, one).map_err(io::Error::other)?;
            }
            let n = self.frame.read(out)?;
            if n > 0 {
                return Ok(n);
            }
            self.check()?;
            self.open = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::super::super::{DataConfig, read_inline};
    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(content).unwrap();
        packed.finish().unwrap()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        compress_to_vec(content, CompressionLevel::Fastest)
    }

    fn table() -> String {
        let rows = (0..30_000).map(|i| format!("{i},{}\n", i % 7919));
        format!("t,x\n{}", rows.collect::<String>())
    }

    /// What is inside, or the first error.
    fn unpacked(packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        reader(packing(packed).expect("it is packed"), Box::new(packed))
            .read_to_end(&mut content)?;
        Ok(content)
    }

    /// A frame that readers pass over.
    const SKIPPED: &[u8] = b"\x50\x2a\x4d\x18\x03\0\0\0abc";

    #[test]
    fn members_and_frames_follow_each_other() {
        let table = table();
        let (start, end) = table.as_bytes().split_at(12_345);
        assert!(unpacked(&[gzip(start), gzip(end)].concat()).unwrap() == table.as_bytes());
        let packed = [zstd(start), SKIPPED.to_vec(), zstd(end), SKIPPED.to_vec()].concat();
        assert!(unpacked(&packed).unwrap() == table.as_bytes());
    }

    #[test]
    fn packed_tables_read_as_plain_ones_whatever_their_name() {
        let table = table();
        let read = |name: &str, bytes: &[u8]| {
            let mut data = read_inline(&[(name, bytes)], &DataConfig::default(), None).unwrap();
            data.segments.iter_mut().for_each(|segment| segment.source.clear());
            (data.segments, data.classes, data.channels)
        };
        let plain = read("a_test.csv", table.as_bytes());
        for packed in [gzip(table.as_bytes()), zstd(table.as_bytes())] {
            assert_eq!(
                read("a_test.csv.gz", &packed),
                plain,
                "the name says the split and the series"
            );
            assert_eq!(read("a_test.csv", &packed), plain);
        }
        let ts = b"@data\n1,2:3,4\n";
        assert_eq!(read("a.ts.gz", &gzip(ts)), read("a.ts", ts));
    }

    #[test]
    fn damage_is_one_clear_message() {
        let table = table();
        for (what, packed) in [("gzip", gzip(table.as_bytes())), ("zstd", zstd(table.as_bytes()))] {
            let mut flipped = packed.clone();
            let middle = flipped.len() / 2;
            flipped[middle] ^= 0x55;
            let cut = packed[..packed.len() / 2].to_vec();
            for bad in [cut, packed[..5].to_vec(), [&packed[..], b"trailing"].concat()] {
                let error =
                    read_inline(&[("a.csv.gz", &bad)], &DataConfig::default(), None).unwrap_err();
                assert!(error.starts_with("a.csv.gz: "), "{error}");
                assert!(
                    error.contains(&format!("the {what} data in it is damaged or cut off (")),
                    "{error}"
                );
                assert_eq!(error.matches("damaged").count(), 1, "{error}");
            }
            // A flipped bit may first show as a number that is none.
            assert!(read_inline(&[("a.csv", &flipped)], &DataConfig::default(), None).is_err());
        }
    }

    #[test]
    fn a_bomb_does_not_fill_the_memory() {
        let bomb = gzip(&vec![b'1'; 100 << 20]);
        assert!(bomb.len() < 1 << 20);
        let error = read_inline(&[("a.csv", &bomb)], &DataConfig::default(), None).unwrap_err();
        assert!(error.contains("a row is longer than 64 MiB"), "{error}");
        let error = read_inline(&[("a.ts.gz", &bomb)], &DataConfig::default(), None).unwrap_err();
        assert!(error.contains("line 1: a row is longer than 64 MiB"), "{error}");
    }

    proptest! {
        #[test]
        fn any_damage_returns(
            edits in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
            keep in any::<usize>(),
            is_zstd in any::<bool>(),
        ) {
            let content = b"t,x\n0,1\n1,2\n2,3\n".repeat(3);
            let mut packed = if is_zstd { zstd(&content) } else { gzip(&content) };
            for (at, byte) in edits {
                let n = packed.len();
                packed[at % n] = byte;
            }
            packed.truncate(1 + keep % packed.len());
            let _ = read_inline(&[("x.csv", &packed)], &DataConfig::default(), None);
        }
    }
}
