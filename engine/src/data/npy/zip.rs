//! The `.npz` files of NumPy: arrays by name in a zip archive.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{anyhow, bail};
use flate2::bufread::DeflateDecoder;
use rawzip::{
    CompressionMethod, FileReader, RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipArchiveEntryWayfinder,
};

use super::super::config::DataConfig;
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

    fn read(
        &self,
        source: Source<'_>,
        _config: &DataConfig,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()> {
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::super::super::{DataConfig, Dataset, Labels};
    use proptest::prelude::*;

    fn golden(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../edgectl/tests/golden/formats").join(name)
    }

    fn read(path: PathBuf) -> Result<Dataset, String> {
        let read = Dataset::read(&[path], &DataConfig::default(), None);
        read.map_err(|error| format!("{error:#}"))
    }

    fn read_bytes(bytes: &[u8]) -> Result<Dataset, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.npz");
        fs::write(&path, bytes).unwrap();
        read(path)
    }

    #[test]
    fn every_type_and_order_of_numpy_is_read() {
        let quarters: Vec<f64> = (0..12).map(|i| f64::from(i) / 4.0).collect();
        let wholes: Vec<f64> = (0..12).map(f64::from).collect();
        for name in ["f4", "be_f8", "fortran", "v2"] {
            let data = read(golden(&format!("npy/{name}.npy"))).unwrap();
            assert_eq!((data.channels.len(), &data.segments[0].values), (3, &quarters), "{name}");
        }
        for name in ["i1", "i2", "be_i4", "i8", "u1", "be_u2", "u4", "be_u8"] {
            let data = read(golden(&format!("npy/{name}.npy"))).unwrap();
            assert_eq!((data.channels.len(), &data.segments[0].values), (3, &wholes), "{name}");
        }
        for name in ["samples", "fortran_samples"] {
            let data = read(golden(&format!("npy/{name}.npy"))).unwrap();
            assert_eq!((data.channels.len(), data.segments.len()), (2, 2), "{name}");
            assert_eq!(data.segments[1].values, quarters[6..], "{name}");
        }
        let data = read(golden("npy/one.npy")).unwrap();
        assert_eq!((data.channels.len(), &data.segments[0].values), (1, &quarters));
        let data = read(golden("npy/b1.npy")).unwrap();
        assert_eq!(data.segments[0].values[..3], [0.0, 1.0, 0.0]);
        let error = read(golden("npy/objects.npy")).unwrap_err();
        assert!(error.contains("objects.npy: arrays of Python objects"), "{error}");
    }

    #[test]
    fn labels_stand_beside_the_values() {
        let quarters: Vec<f64> = (0..12).map(|i| f64::from(i) / 4.0).collect();
        for (name, n_channels, classes) in [
            ("x", 2, &[][..]),
            ("numbers", 2, &["-1", "7"][..]),
            ("names", 1, &["run", "walk"]),
            ("truths", 2, &["false", "true"]),
            ("bytes", 2, &["ab", "b"]),
        ] {
            let data = read(golden(&format!("npz/{name}.npz"))).unwrap();
            assert_eq!((data.channels.len(), data.segments.len()), (n_channels, 2), "{name}");
            assert_eq!(data.classes, classes, "{name}");
            assert_eq!(data.segments[1].values, quarters[6..], "{name}");
            let labels = if name == "x" { Labels::None } else { Labels::One(1) };
            assert_eq!(data.segments[0].labels, labels, "{name}");
        }
    }

    #[test]
    fn what_is_not_read_is_named() {
        for (name, reason) in [
            ("others", "it has arrays that are not understood (weights, bias)"),
            ("short", "array \"y\": expected one label for each of 2 samples, found 3"),
            ("objects", "array \"y\": arrays of Python objects"),
        ] {
            let error = read(golden(&format!("npz/{name}.npz"))).unwrap_err();
            assert!(error.contains(&format!("{name}.npz: ")) && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn damage_is_told() {
        let sound = fs::read(golden("npz/x.npz")).unwrap();
        let packed = fs::read(golden("npz/numbers.npz")).unwrap();
        let error = read_bytes(&sound[..sound.len() - 30]).unwrap_err();
        assert!(error.contains("d.npz: not a zip archive that is whole"), "{error}");
        let mut changed = sound.clone();
        let at = changed.windows(6).position(|window| window == b"\x93NUMPY").unwrap();
        changed[at + 128 + 5] ^= 1;
        let error = read_bytes(&changed).unwrap_err();
        assert!(
            error.contains("d.npz: sample 2: cannot read")
                || error.contains("d.npz: cannot read the array"),
            "{error}"
        );
        let mut changed = packed;
        changed[70..90].fill(0xff);
        let error = read_bytes(&changed).unwrap_err();
        assert!(error.contains("d.npz: array"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_edit_returns(at: prop::sample::Index, byte: u8, packed: bool) {
            let name = if packed { "npz/numbers.npz" } else { "npz/x.npz" };
            let mut bytes = fs::read(golden(name)).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = read_bytes(&bytes);
        }
    }
}
