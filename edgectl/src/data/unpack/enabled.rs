//! With the feature `compression`.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::FrameDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, errors};

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
                let next: Result<bool, errors::FrameDecoderError> =
                    self.frame.decode_blocks(&mut self.input, BlockDecodingStrategy::UptoBlocks(1));
                next.map_err(io::Error::other)?;
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
