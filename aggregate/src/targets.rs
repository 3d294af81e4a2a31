//! All outputs of a command, proven to be no inputs and not each other before it begins.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::header::read_header;
use crate::shards::{is_index, named_by, own_shards};
use crate::source::Source;
use crate::target::{Place, Target};
use crate::{Error, TargetError};

/// The outputs of a command: made from their paths before anything is read.
///
/// Files are compared by device and number, not by name, so that another spelling, a link or a hard
/// link is the same file.
///
/// ```
/// use aggregate::Targets;
///
/// let folder = tempfile::tempdir()?;
/// let (data, out) = (folder.path().join("data.csv"), folder.path().join("out.csv"));
/// std::fs::write(&data, "x\n1\n")?;
/// let mut targets = Targets::default();
/// targets.add(&out)?;
/// targets.protect(&data)?;
/// let mut targets = Targets::default();
/// targets.add(&data)?;
/// assert!(targets.protect(&data).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Targets {
    /// The outputs, and whether each is what it is meant to replace.
    by_place: HashMap<Place, (Target, bool)>,
    /// Those among them that are removed with the index of a model.
    shards: HashSet<Place>,
    /// Folders that can be written into.
    open_folders: HashSet<PathBuf>,
}

impl Targets {
    /// Takes an output in, which is one file.
    ///
    /// # Errors
    /// Those of [`Target::new`], [`TargetError::IndexName`] if it has the name of an index, [`TargetError::SameTarget`] if it is another output, and
    /// [`TargetError::LockedFolder`] if nothing can be written into its folder.
    pub fn add(&mut self, path: &Path) -> Result<&Target, Error> {
        check_is_one_file(path)?;
        self.insert(path, None)
    }

    /// Takes an output in that may be the file `old`, which it is then meant to replace.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub fn add_over(&mut self, path: &Path, old: &Path) -> Result<&Target, Error> {
        check_is_one_file(path)?;
        self.insert(path, Some(old))
    }

    /// Takes in an output that lies beside another one under a name that nobody gave: what is there
    /// and is no weight file, as all such are, is somebody else's.
    ///
    /// # Errors
    /// As for [`add`](Self::add), and [`TargetError::NotOurs`].
    pub fn add_beside(&mut self, path: &Path) -> Result<&Target, Error> {
        check_is_ours(path)?;
        self.add(path)
    }

    /// Takes in such an output that may be the file `old`, which it is then meant to replace.
    ///
    /// # Errors
    /// As for [`add_beside`](Self::add_beside).
    pub fn add_beside_over(&mut self, path: &Path, old: &Path) -> Result<&Target, Error> {
        check_is_ours(path)?;
        self.add_over(path, old)
    }

    /// Takes in a model that may be in several files, by its index, and may be the model `old`, which
    /// it is then meant to replace. The shards of a model that is there are removed with it.
    ///
    /// # Errors
    /// As for [`add`](Self::add), but that the name may be that of an index.
    pub fn add_model(&mut self, path: &Path, old: &Path) -> Result<(), Error> {
        let real = self.insert(path, Some(old))?.real_path().to_owned();
        for shard in own_shards(&real) {
            let target = Target::new(&shard)?;
            let in_place = Place::find(old).is_some_and(|old| Some(old) == Place::find(&real));
            self.shards.insert(target.place());
            self.by_place.insert(target.place(), (target, in_place));
        }
        Ok(())
    }

    fn insert(&mut self, path: &Path, old: Option<&Path>) -> Result<&Target, Error> {
        let target = Target::new(path)?;
        let place = target.place();
        if let Some((first, _)) = self.by_place.get(&place) {
            let (first, second) = (first.path().to_owned(), path.to_owned());
            return Err(Error::Target(TargetError::SameTarget { first, second }));
        }
        let folder = target.folder();
        if !self.open_folders.contains(folder) {
            tempfile::tempfile_in(folder).map_err(|source| {
                Error::Target(TargetError::LockedFolder {
                    path: path.to_owned(),
                    folder: folder.to_owned(),
                    source,
                })
            })?;
            self.open_folders.insert(folder.to_owned());
        }
        let in_place = old.and_then(Place::find).is_some_and(|old| old == place);
        Ok(&self.by_place.entry(place).or_insert((target, in_place)).0)
    }

    /// Fails if an output is this input and not meant to replace it; of a model in several files,
    /// if it is one of these. An input that is not there is no output.
    ///
    /// # Errors
    /// [`TargetError::TargetIsInput`].
    pub fn protect(&self, input: &Path) -> Result<(), Error> {
        self.protect_one(input, input)?;
        if let Some(place) = Place::find(input).filter(|place| self.shards.contains(place)) {
            // On its own it is no part of the model that is replaced.
            let path = self.by_place[&place].0.path().to_owned();
            return Err(Error::Target(TargetError::TargetIsInput {
                path,
                input: input.to_owned(),
            }));
        }
        if is_index(input)
            && let Ok(names) = named_by(input)
        {
            let folder = input.parent().unwrap_or(Path::new(""));
            return names.iter().try_for_each(|name| self.protect_one(&folder.join(name), input));
        }
        Ok(())
    }

    fn protect_one(&self, file: &Path, input: &Path) -> Result<(), Error> {
        match Place::find(file).and_then(|place| self.by_place.get(&place)) {
            Some((target, false)) => Err(Error::Target(TargetError::TargetIsInput {
                path: target.path().to_owned(),
                input: input.to_owned(),
            })),
            _ => Ok(()),
        }
    }
}

/// Fails if a file is there that is no weight file.
fn check_is_ours(path: &Path) -> Result<(), Error> {
    if path.is_file() && Source::open(path).and_then(|source| read_header(&source)).is_err() {
        return Err(Error::Target(TargetError::NotOurs { path: path.to_owned() }));
    }
    Ok(())
}

/// Fails if a path is the name of an index.
pub(crate) fn check_is_one_file(path: &Path) -> Result<(), Error> {
    if is_index(path) {
        return Err(Error::Target(TargetError::IndexName { path: path.to_owned() }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn outputs_are_compared_by_file_and_not_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        fs::write(at("a"), "").unwrap();
        fs::hard_link(at("a"), at("b")).unwrap();
        let mut targets = Targets::default();
        targets.add(&at("a")).unwrap();
        for same in ["a", "sub/../a", "b"] {
            assert!(matches!(
                targets.protect(&at(same)),
                Err(Error::Target(TargetError::TargetIsInput { .. }))
            ));
            assert!(matches!(
                targets.add(&at(same)),
                Err(Error::Target(TargetError::SameTarget { .. }))
            ));
        }
        targets.protect(&at("none")).unwrap();
        targets.add(&at("new")).unwrap();
        assert!(matches!(
            targets.add(&at("sub/../new")),
            Err(Error::Target(TargetError::SameTarget { .. }))
        ));
    }

    #[test]
    fn what_is_meant_to_be_replaced_is_no_input() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a"), "").unwrap();
        fs::write(at("b"), "").unwrap();
        let mut targets = Targets::default();
        targets.add_over(&at("a"), &at("a")).unwrap();
        targets.protect(&at("a")).unwrap();
        let mut targets = Targets::default();
        targets.add_over(&at("a"), &at("b")).unwrap();
        assert!(matches!(
            targets.protect(&at("a")),
            Err(Error::Target(TargetError::TargetIsInput { .. }))
        ));
    }

    #[test]
    fn files_of_a_model_in_several_are_inputs() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("x.safetensors.index.json"), r#"{"weight_map":{"w":"part"}}"#).unwrap();
        fs::write(at("part"), "").unwrap();
        let mut targets = Targets::default();
        targets.add(&at("part")).unwrap();
        let index = at("x.safetensors.index.json");
        assert!(matches!(
            targets.protect(&index),
            Err(Error::Target(TargetError::TargetIsInput { .. }))
        ));
    }

    #[test]
    fn the_name_of_an_index_is_no_single_file_and_its_shards_are_replaced_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let index = at("x.safetensors.index.json");
        let mut targets = Targets::default();
        for error in [targets.add(&index).err(), targets.add_over(&index, &index).err()] {
            assert!(matches!(error, Some(Error::Target(TargetError::IndexName { .. }))));
        }
        let shard = "x-00001-of-00001.0123abcd.safetensors";
        fs::write(&index, format!(r#"{{"weight_map":{{"w":"{shard}","v":"mine"}}}}"#)).unwrap();
        fs::write(at(shard), "").unwrap();
        fs::write(at("mine"), "").unwrap();
        let mut targets = Targets::default();
        targets.add_model(&index, Path::new("")).unwrap();
        assert!(targets.protect(&at(shard)).is_err(), "it would be removed");
        targets.protect(&at("mine")).unwrap();
        let mut targets = Targets::default();
        targets.add_model(&index, &index).unwrap();
        targets.protect(&index).unwrap();
        assert!(targets.protect(&at(shard)).is_err(), "it is an input of its own");
    }
}
