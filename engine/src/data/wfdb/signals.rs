//! The signal files of a WFDB record, read side by side.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};

use super::encoding::{Decoder, Encoding};
use super::header::{Header, Signal};

/// The signals of a record, from the first sample on.
pub(super) struct Signals<'h> {
    /// The header, for messages.
    path: &'h Path,
    described: &'h [Signal],
    files: Vec<SignalFile>,
    sums: Vec<u16>,
    /// The samples that were read last.
    samples: Vec<i32>,
    n_samples: u64,
    n_read: u64,
}

/// A file, and which of the signals it holds, by turns.
struct SignalFile {
    path: PathBuf,
    signals: Range<usize>,
    encoding: Encoding,
    decoder: Decoder<BufReader<File>>,
}

impl<'h> Signals<'h> {
    /// Opens the files beside a header, and holds their sizes to what it says.
    pub(super) fn open(path: &'h Path, header: &'h Header) -> anyhow::Result<Self> {
        let signals = &header.signals[..];
        let (mut files, mut n_samples): (Vec<SignalFile>, _) = (Vec::new(), header.n_samples);
        let mut start = 0;
        for group in signals.chunk_by(|a, b| a.file == b.file) {
            let range = start..start + group.len();
            start = range.end;
            let file = path.with_file_name(&group[0].file);
            if files.iter().any(|other| other.path == file) {
                bail!(
                    "{}: line {}: the signals of {} do not stand together; correct their order",
                    path.display(),
                    group[0].line,
                    group[0].file
                );
            }
            let (decoder, found) = open_file(path, &file, group, n_samples)?;
            n_samples = Some(found);
            files.push(SignalFile {
                path: file,
                signals: range,
                encoding: group[0].encoding,
                decoder,
            });
        }
        Ok(Self {
            path,
            described: signals,
            files,
            sums: vec![0; signals.len()],
            samples: signals.iter().map(|signal| signal.initial.unwrap_or(0)).collect(),
            n_samples: n_samples.unwrap_or(0),
            n_read: 0,
        })
    }

    /// How many samples each signal has.
    pub(super) fn n_samples(&self) -> u64 {
        self.n_samples
    }

    /// The next sample of every signal; none at the end, where the checksums hold.
    ///
    /// # Errors
    /// If a file cannot be read, or does not hold what the header says of it.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<&[i32]>> {
        if self.n_read == self.n_samples {
            self.check_sums()?;
            return Ok(None);
        }
        for file in &mut self.files {
            for index in file.signals.clone() {
                let read = file.decoder.next();
                let step = read.with_context(|| {
                    format!("{}: cannot read sample {}", file.path.display(), self.n_read)
                })?;
                let is_difference = file.encoding == Encoding::Differences;
                let sample = &mut self.samples[index];
                *sample = if is_difference { sample.wrapping_add(step) } else { step };
                let initial = self.described[index].initial.unwrap_or(*sample);
                ensure!(
                    self.n_read > 0 || is_difference || *sample == initial,
                    "{}: line {}: {:?} begins with the sample {sample}, but the header says {initial}; \
                     one of the files is another record's",
                    self.path.display(),
                    self.described[index].line,
                    self.described[index].name
                );
                self.sums[index] = self.sums[index].wrapping_add(*sample as u16);
            }
        }
        self.n_read += 1;
        Ok(Some(&self.samples))
    }

    fn check_sums(&self) -> anyhow::Result<()> {
        for (signal, sum) in self.described.iter().zip(&self.sums) {
            if let Some(told) = signal.checksum.filter(|told| told != sum) {
                bail!(
                    "{}: line {}: the checksum of {:?} is {}, but the header says {}; the record is \
                     damaged, copy it anew",
                    self.path.display(),
                    signal.line,
                    signal.name,
                    sum.cast_signed(),
                    told.cast_signed()
                );
            }
        }
        Ok(())
    }
}

/// Opens a file of some signals; how many samples it has of each.
fn open_file(
    header: &Path,
    path: &Path,
    group: &[Signal],
    declared: Option<u64>,
) -> anyhow::Result<(Decoder<BufReader<File>>, u64)> {
    let at_line = |signal: &Signal, why: &str| {
        anyhow!("{}: line {}: {}: {why}", header.display(), signal.line, signal.file)
    };
    let Signal { encoding, offset, .. } = group[0];
    if let Some(other) = group.iter().find(|s| (s.encoding, s.offset) != (encoding, offset)) {
        return Err(at_line(other, "signals of one file must be stored alike; correct the format"));
    }
    // A pipe would wait for its writer.
    let meta = path.metadata().with_context(|| {
        let named = format!("which line {} of {} names", group[0].line, header.display());
        format!("{}: cannot open the file, {named}; put it beside its header", path.display())
    })?;
    if !meta.is_file() {
        return Err(at_line(&group[0], "it is no plain file"));
    }
    let unreadable = || format!("{}: cannot open the file", path.display());
    let mut file = File::open(path).with_context(unreadable)?;
    let size = meta.len().checked_sub(offset);
    let size = size.ok_or_else(|| at_line(&group[0], "the byte offset is beyond its end"))?;
    file.seek(SeekFrom::Start(offset)).with_context(unreadable)?;

    let n_signals = group.len() as u64;
    // A last sample of twelve bits may be filled up to a whole pair.
    let filled = |n: u64| n % 2 == 1 && encoding == Encoding::Packed12;
    let n_samples = if let Some(n) = declared {
        let all = n.checked_mul(n_signals);
        let needed = all.and_then(|all| encoding.n_bytes(all));
        let fits = needed == Some(size)
            || all.is_some_and(filled) && needed.and_then(|n| n.checked_add(1)) == Some(size);
        if !fits {
            bail!(
                "{}: its samples have {size} bytes, but {n} samples of {n_signals} signals, as {} says, \
                 have {}; it is cut off, or one of the files is another record's",
                path.display(),
                header.display(),
                needed.map_or("more than can be".to_owned(), |needed| needed.to_string())
            );
        }
        n
    } else {
        let all = encoding.n_samples(size);
        let rest = all % n_signals;
        let whole = encoding.n_bytes(all) == Some(size);
        let is_whole = whole && rest == 0 || rest == 1 && filled(all - 1);
        if !is_whole {
            bail!("{}: it ends inside a sample; it is cut off, copy it anew", path.display());
        }
        all / n_signals
    };
    Ok((Decoder::new(BufReader::new(file), encoding), n_samples))
}
