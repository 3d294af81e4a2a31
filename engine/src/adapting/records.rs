//! Windows in a file, each in a place of its own with a checksum: what is damaged is passed over, and no more than it.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

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
    /// it. Says how many windows are damaged. A file of another job, of other places, or one whose head is damaged
    /// begins anew.
    ///
    /// # Errors
    /// If it cannot be opened, read or written.
    pub fn open(
        path: &Path,
        fingerprint: [u8; 16],
        (width, places): (usize, usize),
        mut found: impl FnMut(Place, Example),
    ) -> anyhow::Result<(Self, usize)> {
        let said = || format!("{}", path.display());
        let mut options = File::options();
        options.create(true).read(true).write(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).with_context(said)?;
        let head = head(fingerprint, width, places);
        let mut there = [0; HEAD];
        let is_ours = match file.read_exact(&mut there) {
            Ok(()) => there == head,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => false,
            Err(error) => return Err(error).with_context(said),
        };
        let mut damaged = 0;
        if is_ours {
            let mut bytes = vec![0; Self::bytes_of(width)];
            for place in 0..places {
                match file.read_exact(&mut bytes) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                    Err(error) => return Err(error).with_context(said),
                }
                match parse(&bytes, place) {
                    _ if bytes.iter().all(|byte| *byte == 0) => {}
                    Some(example) => found(Place(place), example),
                    None => damaged += 1,
                }
            }
        } else {
            file.set_len(0).with_context(said)?;
            file.rewind().with_context(said)?;
            file.write_all(&head).with_context(said)?;
        }
        Ok((Self { file, width, places }, damaged))
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
        let (records, damaged) = Records::open(path, [fingerprint; 16], (3, places), |place, e| {
            assert_eq!(e, example(e.id));
            found.push((place.0, e.id));
        })
        .expect("opened");
        (records, damaged, found)
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
    fn windows_of_another_job_are_not_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kept");
        for (fingerprint, places) in [(1, 8), (2, 8), (2, 9)] {
            let (mut records, damaged, found) = open(&path, fingerprint, places);
            assert_eq!((damaged, found), (0, vec![]), "{fingerprint} {places}");
            records.put(Place(1), Some(&example(1))).expect("written");
        }
        fs::write(&path, b"short").expect("written");
        assert!(open(&path, 2, 9).2.is_empty());
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
