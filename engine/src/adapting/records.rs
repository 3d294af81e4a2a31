//! Windows in a file, each in a place of its own with a checksum: what is damaged is passed over, and no more than it.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::example::Example;

/// How the file begins.
const MAGIC: &[u8; 8] = b"EDGEREP1";

/// Bytes of a checksum: the first ones of a BLAKE3.
const CHECK: usize = 8;

/// Bytes of the head: magic, 16 of the job's fingerprint, windows' values, places, checksum.
const HEAD: usize = 8 + 16 + 4 + 4 + CHECK;

/// Bytes of a record beside the values: class, group, number, checksum.
const BESIDE: usize = 4 + 8 + 8 + CHECK;

/// Where the head says of which job windows are: fingerprint and values.
const OF_JOB: std::ops::Range<usize> = 8..28;

/// What is not there any more of what was kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lost {
    /// Windows that are damaged, or of which it is not known what they are; about as many where they are of another
    /// length.
    pub windows: usize,
    /// Where files were put that do not seem to be of this job.
    pub aside: Vec<PathBuf>,
    /// Windows for which there is no room any more.
    pub beyond: usize,
}

/// Where a window is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(pub usize);

/// A file of windows of one length.
#[derive(Debug)]
pub struct Records {
    file: File,
    width: usize,
    places: usize,
}

impl Records {
    /// Bytes that a window takes.
    pub fn bytes_of(width: usize) -> usize {
        BESIDE + 4 * width
    }

    /// Opens a file for so many windows of so many values, of a job with this fingerprint, and hands over what is in
    /// it. If that was for another number of windows, or the rest of the head is damaged, the file is empty then, to be
    /// filled again with what was handed over. One that does not seem to be of this job is put aside, and one begun.
    ///
    /// # Errors
    /// If it cannot be opened, read or written.
    pub fn open(
        path: &Path,
        fingerprint: [u8; 16],
        (width, places): (usize, usize),
        mut found: impl FnMut(Place, Example),
    ) -> anyhow::Result<(Self, Lost)> {
        let said = || format!("{}", path.display());
        let mut file = open_private(path).with_context(said)?;
        let head = head(fingerprint, width, places);
        let mut there = [0; HEAD];
        let n_there = file.metadata().with_context(said)?.len();
        let is_long = match file.read_exact(&mut there) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => false,
            Err(error) => return Err(error).with_context(said),
        };
        let mut lost = Lost::default();
        // Each record has a checksum of its own: the rest of the head is not needed.
        let is_ours = is_long && there[OF_JOB] == head[OF_JOB];
        let mut bytes = vec![0; Self::bytes_of(width)];
        for place in 0.. {
            match file.read_exact(&mut bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error).with_context(said),
            }
            match parse(&bytes, place) {
                _ if bytes.iter().all(|byte| *byte == 0) => {}
                Some(example) if is_ours => found(Place(place), example),
                _ => lost.windows += 1,
            }
        }
        if !is_ours && n_there > 0 {
            drop(file);
            let aside = path.with_extension("damaged");
            fs::rename(path, &aside).with_context(said)?;
            lost.aside.push(aside);
            file = open_private(path).with_context(said)?;
        }
        if there != head {
            file.set_len(0).with_context(said)?;
            file.rewind().with_context(said)?;
            file.write_all(&head).with_context(said)?;
        }
        Ok((Self { file, width, places }, lost))
    }

    /// Keeps a window in a place, or nothing there.
    ///
    /// # Errors
    /// If it cannot be written.
    ///
    /// # Panics
    /// If there is no such place, or the window has another length.
    pub fn put(&mut self, Place(place): Place, example: Option<&Example>) -> std::io::Result<()> {
        assert!(place < self.places, "records: place {place} of {}", self.places);
        let size = Self::bytes_of(self.width);
        let mut bytes = Vec::with_capacity(size);
        if let Some(example) = example {
            assert_eq!(example.values.len(), self.width, "records: values of a window");
            bytes.extend(example.class.to_le_bytes());
            bytes.extend(example.group.to_le_bytes());
            bytes.extend(example.id.to_le_bytes());
            bytes.extend(example.values.iter().flat_map(|value| value.to_le_bytes()));
            bytes.extend(check(&bytes, place));
        } else {
            bytes.resize(size, 0);
        }
        self.file.seek(SeekFrom::Start((HEAD + place * size) as u64))?;
        self.file.write_all(&bytes)
    }

    /// Forgets all windows.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn clear(&mut self) -> std::io::Result<()> {
        self.file.set_len(HEAD as u64)
    }
}

/// Opens a file that only its owner can read, and makes it if it is not there.
fn open_private(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.create(true).read(true).write(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn head(fingerprint: [u8; 16], width: usize, places: usize) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(MAGIC);
    head[8..24].copy_from_slice(&fingerprint);
    head[24..28].copy_from_slice(&(width as u32).to_le_bytes());
    head[28..32].copy_from_slice(&(places as u32).to_le_bytes());
    let check = check(&head[..HEAD - CHECK], 0);
    head[HEAD - CHECK..].copy_from_slice(&check);
    head
}

/// The checksum of a record in its place.
fn check(bytes: &[u8], place: usize) -> [u8; CHECK] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(bytes).update(&(place as u64).to_le_bytes());
    let mut check = [0; CHECK];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK]);
    check
}

/// A record, if it is whole.
fn parse(bytes: &[u8], place: usize) -> Option<Example> {
    let (content, found) = bytes.split_at(bytes.len() - CHECK);
    if found != check(content, place) {
        return None;
    }
    let (class, rest) = content.split_first_chunk()?;
    let (group, rest) = rest.split_first_chunk()?;
    let (id, values) = rest.split_first_chunk()?;
    let values = values.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    Some(Example {
        values: values.collect(),
        class: u32::from_le_bytes(*class),
        group: u64::from_le_bytes(*group),
        id: u64::from_le_bytes(*id),
    })
}

/// Makes a folder that only its owner can read.
///
/// # Errors
/// If it cannot be made.
pub(super) fn private_folder(folder: &Path) -> anyhow::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let made = builder.recursive(true).create(folder);
    made.with_context(|| format!("{}: cannot make the folder", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(id: u64) -> Example {
        Example { values: vec![id as f32, -1.5, 3.0], class: id as u32 % 2, group: id / 2, id }
    }

    fn open(path: &Path, fingerprint: u8, places: usize) -> (Records, usize, Vec<(usize, u64)>) {
        let mut found = Vec::new();
        let (records, lost) = Records::open(path, [fingerprint; 16], (3, places), |place, e| {
            assert_eq!(e, example(e.id));
            found.push((place.0, e.id));
        })
        .expect("opened");
        assert_eq!(lost.aside.len(), usize::from(lost.aside.iter().any(|aside| aside.exists())));
        (records, lost.windows, found)
    }

    #[test]
    fn windows_come_back_but_for_those_that_are_damaged() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kept");
        let (mut records, damaged, found) = open(&path, 1, 8);
        assert_eq!((damaged, found), (0, vec![]));
        for id in [0, 3, 5, 6] {
            records.put(Place(id as usize), Some(&example(id))).expect("written");
        }
        records.put(Place(3), Some(&example(7))).expect("written");
        records.put(Place(0), None).expect("written");
        drop(records);
        let (_, damaged, found) = open(&path, 1, 8);
        assert_eq!((damaged, found), (0, vec![(3, 7), (5, 5), (6, 6)]));
        // A bit of one, and the end of the last.
        let mut bytes = fs::read(&path).expect("there");
        bytes[HEAD + 3 * Records::bytes_of(3) + 9] ^= 1;
        bytes.truncate(bytes.len() - 1);
        fs::write(&path, &bytes).expect("written");
        let (_, damaged, found) = open(&path, 1, 8);
        assert_eq!((damaged, found), (1, vec![(5, 5)]));
    }

    #[test]
    fn a_record_in_the_place_of_another_is_damaged() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kept");
        let (mut records, ..) = open(&path, 1, 2);
        records.put(Place(0), Some(&example(4))).expect("written");
        let mut bytes = fs::read(&path).expect("there");
        let copy = bytes[HEAD..].to_vec();
        bytes.extend(copy);
        fs::write(&path, &bytes).expect("written");
        let (_, damaged, found) = open(&path, 1, 2);
        assert_eq!((damaged, found), (1, vec![(0, 4)]));
    }

    #[test]
    fn windows_of_another_job_are_put_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, aside) = (folder.path().join("kept.bin"), folder.path().join("kept.damaged"));
        let (mut records, ..) = open(&path, 1, 8);
        records.put(Place(1), Some(&example(1))).expect("written");
        let bytes = fs::read(&path).expect("there");
        let (_, lost, found) = open(&path, 2, 8);
        assert_eq!((lost, found), (1, vec![]));
        assert!(fs::read(&aside).expect("there") == bytes);
        // Nothing is there to lose.
        fs::remove_file(&aside).expect("there");
        assert_eq!(open(&path, 2, 8).1, 0);
        assert!(!aside.exists());
        fs::write(&path, b"short").expect("written");
        assert_eq!((open(&path, 2, 8).1, fs::read(&aside).expect("there")), (0, b"short".to_vec()));
    }

    #[test]
    fn a_damaged_head_or_another_number_of_places_takes_no_window_along() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kept.bin");
        for at in 0..HEAD {
            let (mut records, ..) = open(&path, 1, 8);
            records.clear().expect("written");
            records.put(Place(2), Some(&example(4))).expect("written");
            let mut bytes = fs::read(&path).expect("there");
            bytes[at] ^= 1;
            fs::write(&path, &bytes).expect("written");
            let (mut records, lost, found) = open(&path, 1, 8);
            let aside = path.with_extension("damaged");
            if OF_JOB.contains(&at) {
                assert_eq!((lost, found), (1, vec![]), "{at}");
                assert!(fs::read(&aside).expect("there") == bytes, "{at}");
                fs::remove_file(&aside).expect("there");
            } else {
                assert_eq!((lost, found), (0, vec![(2, 4)]), "{at}");
                assert!(!aside.exists(), "{at}");
            }
            // It has a head again.
            records.put(Place(7), Some(&example(7))).expect("written");
            assert_eq!(open(&path, 1, 8).2, [(7, 7)], "{at}");
        }
        assert_eq!(open(&path, 1, 2).2, [(7, 7)]);
        assert!(open(&path, 1, 2).2.is_empty(), "it is for whoever opened it to keep");
    }

    #[test]
    fn nothing_is_left_of_windows_that_are_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kept");
        let (mut records, ..) = open(&path, 1, 8);
        records.put(Place(7), Some(&example(7))).expect("written");
        records.clear().expect("written");
        records.put(Place(0), Some(&example(1))).expect("written");
        assert_eq!(open(&path, 1, 8).2, [(0, 1)]);
    }
}
