//! The formats that are read.

use std::path::Path;

use super::config::Format;
use super::delimited::Delimited;
#[cfg(feature = "images")]
use super::images::Pictures;
use super::reader::Reader;
use super::ts::Ts;
#[cfg(feature = "video")]
use super::video::Video;
#[cfg(feature = "wav")]
use super::wav::Wav;
#[cfg(feature = "wfdb")]
use super::wfdb::Wfdb;

/// All readers. They drive which file is read how, which files of a folder are data, and messages.
pub(super) const READERS: &[&dyn Reader] = &[
    &Delimited,
    &Ts,
    #[cfg(feature = "wfdb")]
    &Wfdb,
    #[cfg(feature = "video")]
    &Video,
    #[cfg(feature = "images")]
    &Pictures,
    #[cfg(feature = "wav")]
    &Wav,
    #[cfg(feature = "arff")]
    &super::arff::Arff,
    #[cfg(feature = "jsonl")]
    &super::jsonl::JsonLines,
    #[cfg(feature = "npy")]
    &super::npy::Npy,
    #[cfg(feature = "npy")]
    &super::npy::Npz,
    #[cfg(feature = "parquet")]
    &super::parquet::Parquet,
];

/// The readers that a configuration admits.
pub(super) fn admitted(format: Format) -> impl Iterator<Item = &'static dyn Reader> {
    READERS.iter().copied().filter(move |reader| match format {
        Format::Auto => true,
        Format::Long | Format::Wide => reader.is_table(),
        Format::Ts => reader.name() == "ts",
    })
}

/// The reader of a file: the first that claims it; else a format that was named, or a table of text.
pub(super) fn reader_of(format: Format, name: &Path, head: &[u8]) -> &'static dyn Reader {
    let claims = |reader: &&dyn Reader| reader.claims(name, head);
    let fallback = || admitted(format).next().unwrap_or(&Delimited);
    admitted(format).find(claims).unwrap_or_else(fallback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_reader() {
        for (format, name, reader) in [
            (Format::Auto, "a.csv", "csv"),
            (Format::Auto, "a.TSV", "csv"),
            (Format::Auto, "a.ts", "ts"),
            (Format::Auto, "a", "csv"),
            #[cfg(feature = "wfdb")]
            (Format::Auto, "100.hea", "wfdb"),
            #[cfg(feature = "video")]
            (Format::Auto, "a.MP4", "video"),
            #[cfg(feature = "images")]
            (Format::Auto, "a.jpg", "pictures"),
            #[cfg(feature = "wav")]
            (Format::Auto, "a.wav", "wav"),
            (Format::Wide, "a.ts", "csv"),
            (Format::Ts, "a.txt", "ts"),
        ] {
            assert_eq!(reader_of(format, Path::new(name), b"").name(), reader, "{name}");
        }
    }

    #[test]
    fn readers_have_distinct_names_and_extensions() {
        let mut all: Vec<&str> = READERS.iter().flat_map(|r| r.extensions()).copied().collect();
        let n = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), n);
        assert!(READERS.iter().all(|reader| !reader.extensions().is_empty()));
    }
}
