//! The `.npz` files of NumPy: arrays by name in a zip archive.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{anyhow, bail};
use flate2::bufread::DeflateDecoder;
use rawzip::{
    CompressionMethod, FileReader, RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipArchiveEntryWayfinder,
};

use super::super::plain;
use super::super::reader::{Reader, Sink};
use super::super::source::Source;
use super::super::table::listed;
use super::header::Array;
use super::items::{Items, label};
use super::{check_length, read};

/// Most arrays that are looked at: a file of values and labels has two.
const MAX_ENTRIES: usize = 1000;

/// Labels that are read at once.
const PIECE: usize = 1 << 10;

/// The array `x` or `X`, and the label of each of its samples in `y`, `label` or `labels` if there is one.
///
/// Without labels `x` is read as a `.npy` file is; with labels its axes are `[samples, steps]` or
/// `[samples, steps, channels]`.
pub(in super::super) struct Npz;

impl Reader for Npz {
    fn name(&self) -> &'static str {
        "npz"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["npz"]
    }

    fn is_table(&self) -> bool {
        false
    }

    fn read(&self, source: Source<'_>, sink: &mut dyn Sink) -> anyhow::Result<()> {
        let archive = Archive::open(source.path)?;
        let (values, labels) = archive.parts()?;
        let (x, items) = archive.array(values)?;
        let labels = match labels {
            Some(entry) => {
                let n_samples = x.shape.first().copied().unwrap_or_default();
                Some(archive.labels(entry, n_samples)?)
            }
            None => None,
        };
        read(archive.path, &x, items, labels.as_deref(), sink)
    }
}

/// An open archive.
struct Archive<'p> {
    path: &'p Path,
    zip: ZipArchive<FileReader>,
    entries: Vec<Entry>,
}

/// One of its files.
struct Entry {
    /// Its name without `.npy`.
    name: String,
    method: CompressionMethod,
    n_bytes: u64,
    place: ZipArchiveEntryWayfinder,
}

impl<'p> Archive<'p> {
    fn open(path: &'p Path) -> anyhow::Result<Self> {
        let (file, _): (File, u64) = plain::open(path, "npz")?;
        let damaged = |error: rawzip::Error| {
            anyhow!("{}: not a zip archive that is whole ({error}); write it anew", path.display())
        };
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let zip = ZipArchive::from_file(file, &mut buffer).map_err(damaged)?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut found = zip.entries(&mut buffer);
        while let Some(entry) = found.next_entry().map_err(damaged)? {
            let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
            let name = name.strip_suffix(".npy").unwrap_or(&name).to_owned();
            if entries.len() == MAX_ENTRIES {
                bail!("{}: more than {MAX_ENTRIES} arrays; save x and y only", path.display());
            }
            if entries.iter().any(|other| other.name == name) {
                bail!("{}: two arrays {name:?}; write it anew", path.display());
            }
            let (method, n_bytes) = (entry.compression_method(), entry.uncompressed_size_hint());
            entries.push(Entry { name, method, n_bytes, place: entry.wayfinder() });
        }
        Ok(Self { path, zip, entries })
    }

    /// The arrays of values and of labels.
    fn parts(&self) -> anyhow::Result<(&Entry, Option<&Entry>)> {
        let (mut values, mut labels, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for entry in &self.entries {
            match entry.name.as_str() {
                "x" | "X" => values.push(entry),
                "y" | "label" | "labels" => labels.push(entry),
                _ => others.push(entry.name.clone()),
            }
        }
        let path = self.path.display();
        match (&values[..], &labels[..], &others[..]) {
            ([values], [], []) => Ok((values, None)),
            ([values], [labels], []) => Ok((values, Some(labels))),
            (.., [_, ..]) => bail!(
                "{path}: it has arrays that are not understood ({}); save the values as x and the \
                 label of each sample as y, and nothing else",
                listed(&others)
            ),
            ([], ..) => bail!("{path}: no array x; save the values under this name"),
            _ => bail!(
                "{path}: values are x or X, and labels are y, label or labels, but it has more than \
                 one of these; keep one"
            ),
        }
    }

    /// The header of an array, and what follows it.
    fn array(&self, entry: &Entry) -> anyhow::Result<(Array, Box<dyn Read + '_>)> {
        let fail =
            |reason: &str| anyhow!("{}: array {:?}: {reason}", self.path.display(), entry.name);
        let found = self.zip.get_entry(entry.place);
        let found = found.map_err(|error| fail(&format!("damaged ({error}); write it anew")))?;
        let mut input: Box<dyn Read> = match entry.method {
            CompressionMethod::STORE => {
                Box::new(found.verifying_reader(BufReader::new(found.reader())))
            }
            CompressionMethod::DEFLATE => {
                let packed = BufReader::new(found.reader());
                Box::new(BufReader::new(found.verifying_reader(DeflateDecoder::new(packed))))
            }
            other => {
                return Err(fail(&format!(
                    "packed with {}, which is not read; save it with numpy.savez_compressed",
                    other.name().unwrap_or("an unknown method")
                )));
            }
        };
        let array = Array::read(&mut input).map_err(|reason| fail(&reason))?;
        check_length(&array, Some(entry.n_bytes)).map_err(|reason| fail(&reason))?;
        Ok((array, input))
    }

    /// The label of each sample.
    fn labels(&self, entry: &Entry, n_samples: usize) -> anyhow::Result<Vec<Vec<u8>>> {
        let (array, input) = self.array(entry)?;
        let fail =
            |reason: &str| anyhow!("{}: array {:?}: {reason}", self.path.display(), entry.name);
        if !matches!(array.shape[..], [n] | [n, 1] if n == n_samples) {
            return Err(fail(&format!(
                "expected one label for each of {n_samples} samples, found {}; labels are names or \
                 numbers, one for each sample along the first axis of x",
                array.shown()
            )));
        }
        let mut items = Items::new(&array, input).map_err(|reason| fail(&reason))?;
        let mut labels = Vec::new();
        while labels.len() < n_samples {
            let n = PIECE.min(n_samples - labels.len());
            let place = |i: usize| format!("sample {}: ", i + 1);
            let bytes = items.bytes(n).map_err(|reason| fail(&(place(labels.len()) + &reason)))?;
            for i in 0..n {
                let size = array.dtype.size;
                let name = label(array.dtype, &bytes[i * size..][..size]);
                labels.push(name.map_err(|reason| fail(&(place(labels.len()) + &reason)))?);
            }
        }
        items.end().map_err(|reason| fail(&reason))?;
        Ok(labels)
    }
}
