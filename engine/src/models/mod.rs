//! The models of a node or a run in a folder: which one is live, which one was before, which one may become live,
//! which ones are not taken again.
//!
//! ```text
//! deploy.json             which model is live: the only truth, switched by renaming
//! <blake3>.safetensors    the live model, the one before and the candidate
//! current.safetensors     a copy of the live one, for programs that read one file
//! ```

mod deployment;
mod folder;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use aggregate::{atomic_write, hash_file};
use anyhow::{Context, bail, ensure};

use deployment::is_hash;
pub use deployment::{Candidate, DEPLOY, Denied, Deployed, Deployment, Step};
pub use folder::MEMORY;
use folder::{check_whole, lock_file, make_folder, refuse_others, take_lock};

/// A copy of the live model, for programs that read one file.
pub const CURRENT: &str = "current.safetensors";
/// Why a model is refused that somebody went back from.
pub const BY_HAND: &str = "rolled back by hand";

/// A model whose file was found to be damaged or gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// BLAKE3 of what its file was.
    pub hash: String,
    /// What it was: `live`, `previous` or `candidate`.
    pub was: &'static str,
    /// What is wrong with the file.
    pub reason: String,
}

/// A folder of models.
#[derive(Debug)]
pub struct Models {
    folder: PathBuf,
    deployment: Deployment,
    lost: Vec<Lost>,
}

impl Models {
    /// Opens a folder, which is made if it is not there, for its owner alone. A copy that a killed process left
    /// behind the truth is mended; models that are damaged are left out, as [`lost`](Self::lost) says.
    ///
    /// # Errors
    /// If it cannot be made or read, or its `deploy.json` is damaged.
    pub fn open_or_make(folder: &Path) -> anyhow::Result<Self> {
        make_folder(folder)?;
        refuse_others(folder)?;
        let mut models = Self {
            folder: folder.to_owned(),
            deployment: Deployment::read(folder)?.unwrap_or_default(),
            lost: Vec::new(),
        };
        models.lost = models.mend()?;
        Ok(models)
    }

    /// Takes the folder for this process until the lock is dropped: two that work in one would lose each other's files.
    ///
    /// # Errors
    /// If another process has it.
    pub fn hold(folder: &Path) -> anyhow::Result<File> {
        Self::hold_as(folder, "lock")
    }

    /// The same by a lock of another name, for work that does not disturb that of [`hold`](Self::hold).
    ///
    /// # Errors
    /// As there.
    pub fn hold_as(folder: &Path, name: &str) -> anyhow::Result<File> {
        take_lock(folder, name)
    }

    /// Goes back to the model before if the live one is damaged, and to none if both are; gives what it found.
    fn mend(&mut self) -> anyhow::Result<Vec<Lost>> {
        let lost = |hash: &str, was| {
            let error = check_whole(&self.folder, hash).err()?;
            Some(Lost { hash: hash.to_owned(), was, reason: format!("{error:#}") })
        };
        let Deployment { live, previous, candidate, .. } = &self.deployment;
        let live = live.as_ref().and_then(|live| lost(&live.hash, "live"));
        // Only one that is gone back to has to be whole.
        let previous = previous.as_ref().filter(|_| live.is_some());
        let previous = previous.and_then(|previous| lost(&previous.hash, "previous"));
        let candidate = candidate.as_ref().and_then(|found| lost(&found.hash, "candidate"));
        let lost: Vec<Lost> = [live, previous, candidate].into_iter().flatten().collect();
        if lost.is_empty() {
            self.put_current()?;
            return Ok(lost);
        }
        let is_lost = |hash: &str| lost.iter().any(|lost| lost.hash == hash);
        self.change(|next| {
            next.candidate.take_if(|candidate| is_lost(&candidate.hash));
            // Where it came from it may still be whole.
            next.came.take_if(|hash| is_lost(hash));
            if next.live.take_if(|live| is_lost(&live.hash)).is_some() {
                next.live = next.previous.take().filter(|previous| !is_lost(&previous.hash));
                next.canary = false;
            }
            Ok(())
        })?;
        Ok(lost)
    }

    /// What was found to be lost when the folder was opened.
    pub fn lost(&self) -> &[Lost] {
        &self.lost
    }

    /// Opens a folder that is there.
    ///
    /// # Errors
    /// If there is no `deploy.json` in it, or it is damaged.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let deployment = Deployment::read(folder)?.with_context(|| {
            let what =
                if folder.exists() { "no folder of models" } else { "there is no such folder" };
            format!(
                "{}: {what}: name one that `edgectl run --state` or `edgectl node` keeps, with a {DEPLOY} in it",
                folder.display()
            )
        })?;
        Ok(Self { folder: folder.to_owned(), deployment, lost: Vec::new() })
    }

    /// What is live, and what was.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The file that says what is live, for those who watch it.
    pub fn truth(&self) -> PathBuf {
        self.path(DEPLOY)
    }

    /// The file of a model.
    pub fn file(&self, model: &Deployed) -> PathBuf {
        self.file_of(&model.hash)
    }

    /// The file of a model by its hash.
    pub fn file_of(&self, hash: &str) -> PathBuf {
        self.path(&format!("{hash}.safetensors"))
    }

    /// Reads what another process may have changed.
    ///
    /// # Errors
    /// If it cannot be read or is damaged; what was known before stays.
    pub fn reload(&mut self) -> anyhow::Result<()> {
        self.deployment = Deployment::read(&self.folder)?.unwrap_or_default();
        Ok(())
    }

    /// Whether a model may become live: it is not, and was not refused.
    pub fn takes(&self, hash: &str) -> bool {
        !self.deployment.is_live(hash) && self.deployment.refusal(hash).is_none()
    }

    /// Makes a model live. The one that was is kept to go back to; older ones are removed.
    ///
    /// # Errors
    /// If a file cannot be written; what was live still is.
    pub fn install(&mut self, bytes: &[u8], model: Deployed) -> anyhow::Result<()> {
        let file = self.file(&model);
        self.change(|next| {
            // Not before, or another process would remove what nothing refers to.
            atomic_write(file, bytes)?;
            next.switch(model, false);
            Ok(())
        })
    }

    /// Keeps a model that may become live, in the place of another candidate.
    ///
    /// # Errors
    /// If a file cannot be written; the candidate before is still there.
    pub fn keep(&mut self, bytes: &[u8], candidate: Candidate) -> anyhow::Result<()> {
        let file = self.file_of(&candidate.hash);
        self.change(|next| {
            atomic_write(file, bytes)?;
            next.candidate = Some(candidate);
            Ok(())
        })
    }

    /// The same where no other candidate is there: its trial is not to be in vain. Says whether that was so; `told` is
    /// called before anybody can see the new one.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn keep_alone(
        &mut self,
        bytes: &[u8],
        candidate: Candidate,
        told: impl FnOnce(),
    ) -> anyhow::Result<bool> {
        let file = self.file_of(&candidate.hash);
        let mut is_alone = false;
        self.change(|next| {
            is_alone = next.candidate.is_none();
            if is_alone {
                atomic_write(file, bytes)?;
                next.candidate = Some(candidate);
                told();
            }
            Ok(())
        })?;
        Ok(is_alone)
    }

    /// Notes which file came last from where models come from: it is no news after a restart.
    ///
    /// # Errors
    /// If the note cannot be written.
    pub fn came(&mut self, hash: &str) -> anyhow::Result<()> {
        if self.deployment.came.as_deref() == Some(hash) {
            return Ok(());
        }
        self.change(|next| {
            next.came = Some(hash.to_owned());
            Ok(())
        })
    }

    /// Notes how far a candidate has come, if it still is the candidate.
    ///
    /// # Errors
    /// If the note cannot be written.
    pub fn step(&mut self, hash: &str, step: Step) -> anyhow::Result<()> {
        self.change(|next| {
            if let Some(candidate) = next.candidate.as_mut().filter(|found| found.hash == hash) {
                candidate.state = step;
            }
            Ok(())
        })
    }

    /// Makes the candidate live, if wished on trial where there is a model to go back to; gives it.
    ///
    /// # Errors
    /// If there is none, or it is not the one of this hash, its file is damaged, or a file cannot be written; what
    /// was live still is.
    pub fn promote(&mut self, hash: Option<&str>, canary: bool) -> anyhow::Result<Deployed> {
        let folder = self.folder.clone();
        let mut promoted = None;
        self.change(|next| {
            let place = folder.display();
            let candidate = next.candidate.take();
            let candidate = candidate.filter(|found| hash.is_none_or(|hash| hash == found.hash));
            let Some(Candidate { hash, round, .. }) = candidate else {
                bail!("{place}: there is no candidate that could become live");
            };
            check_whole(&folder, &hash)?;
            let model = Deployed { hash, round, accuracy: None };
            promoted = Some(model.clone());
            next.switch(model, canary);
            Ok(())
        })?;
        promoted.context(DEPLOY)
    }

    /// Puts the live model on trial, or ends its trial, if it is this one.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn try_out(&mut self, hash: &str, canary: bool) -> anyhow::Result<()> {
        self.change(|next| {
            if next.is_live(hash) {
                next.canary = canary && next.previous.is_some();
            }
            Ok(())
        })
    }

    /// Notes that a model is not taken.
    ///
    /// # Errors
    /// If the note cannot be written.
    pub fn refuse(&mut self, denied: Denied) -> anyhow::Result<()> {
        self.change(|next| {
            next.deny(denied);
            Ok(())
        })
    }

    /// Makes the model before live again, and refuses the one that is, for this reason; gives the one that was. With
    /// a hash, only if that is the live one: another process may have gone back meanwhile.
    ///
    /// # Errors
    /// If there is none before, its file is damaged, or a file cannot be written; what was live still is.
    pub fn roll_back(&mut self, hash: Option<&str>, reason: &str) -> anyhow::Result<Deployed> {
        let folder = self.folder.clone();
        let mut left = None;
        self.change(|next| {
            let place = folder.display();
            if let Some(hash) = hash {
                ensure!(next.is_live(hash), "{place}: {hash} is not live any more");
            }
            let Some(live) = next.go_back() else {
                bail!("{place}: there is no model before the live one to go back to");
            };
            check_whole(&folder, next.live.as_ref().map_or("", |live| &live.hash))?;
            let reason = reason.to_owned();
            next.deny(Denied { hash: live.hash.clone(), round: live.round, reason });
            left = Some(live);
            Ok(())
        })?;
        left.context(DEPLOY)
    }

    /// Changes what is live: from what is written now, which another process may have changed, in the one moment of
    /// a renaming.
    fn change(
        &mut self,
        change: impl FnOnce(&mut Deployment) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let path = self.path("deploy.lock");
        let lock = lock_file(&path)?;
        lock.lock().with_context(|| format!("{}", path.display()))?;
        let mut next = Deployment::read(&self.folder)?.unwrap_or_default();
        change(&mut next)?;
        let text = serde_json::to_string_pretty(&next).context(DEPLOY)?;
        atomic_write(self.path(DEPLOY), format!("{text}\n").as_bytes())?;
        self.deployment = next;
        self.put_current()?;
        self.remove_others()
    }

    /// Makes the copy that of the live model, if it is another.
    fn put_current(&self) -> anyhow::Result<()> {
        let Some(live) = &self.deployment.live else { return Ok(()) };
        let current = self.path(CURRENT);
        if current.exists() && hash_file(&current)? == live.hash {
            return Ok(());
        }
        let file = self.file(live);
        let bytes =
            fs::read(&file).with_context(|| format!("{}: the live model", file.display()))?;
        atomic_write(&current, &bytes)?;
        Ok(())
    }

    /// Removes models that nothing refers to. Only files named by a hash are ours.
    fn remove_others(&self) -> anyhow::Result<()> {
        for entry in
            fs::read_dir(&self.folder).with_context(|| format!("{}", self.folder.display()))?
        {
            let name = entry.with_context(|| format!("{}", self.folder.display()))?.file_name();
            let Some(hash) = name.to_str().and_then(|name| name.strip_suffix(".safetensors"))
            else {
                continue;
            };
            if is_hash(hash) && !self.deployment.kept().any(|kept| kept == hash) {
                let path = self.folder.join(&name);
                fs::remove_file(&path).with_context(|| format!("{}", path.display()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(bytes: &[u8], round: u32) -> Deployed {
        Deployed { hash: blake3::hash(bytes).to_hex().to_string(), round, accuracy: None }
    }

    fn current(models: &Models) -> Vec<u8> {
        fs::read(models.path(CURRENT)).expect("a current model")
    }

    #[test]
    fn the_last_two_are_kept_and_one_can_go_back_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("models/01");
        let mut models = Models::open_or_make(&path).expect("made");
        assert!(models.roll_back(None, "by hand").is_err());
        for (round, bytes) in [b"one", b"two", b"six"].iter().enumerate() {
            models.install(*bytes, model(*bytes, round as u32)).expect("installed");
            assert_eq!(current(&models), *bytes);
        }
        assert!(
            !models.file(&model(b"one", 0)).exists() && models.file(&model(b"two", 1)).exists()
        );
        models.roll_back(None, "by hand").expect("back");
        assert_eq!(current(&models), b"two");
        assert!(!models.takes(&model(b"six", 2).hash) && models.takes(&model(b"one", 0).hash));
        assert!(models.roll_back(None, "by hand").is_err());
        assert_eq!(Models::open(&path).expect("there").deployment(), models.deployment());
    }

    #[test]
    fn one_that_is_on_trial_keeps_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut models = Models::open_or_make(folder.path()).expect("made");
        let candidate = |bytes: &[u8]| {
            let Deployed { hash, round, .. } = model(bytes, 1);
            Candidate { hash, round, state: Step::Checked, tried: None }
        };
        let mut told = 0;
        let mut keep =
            |bytes: &[u8]| models.keep_alone(bytes, candidate(bytes), || told += 1).expect("kept");
        assert!(keep(b"one") && !keep(b"two"));
        assert_eq!(told, 1);
        assert_eq!(models.deployment().candidate, Some(candidate(b"one")));
        assert!(models.file_of(&candidate(b"one").hash).exists());
        assert!(!models.file_of(&candidate(b"two").hash).exists());
    }

    #[test]
    fn files_of_somebody_else_are_not_replaced() {
        let hash = format!("{}.safetensors", "ab".repeat(32));
        for name in [CURRENT, "update.safetensors", &hash] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join(name);
            fs::write(&path, b"mine").expect("written");
            let error = Models::open_or_make(folder.path()).expect_err(name).to_string();
            assert!(error.contains(name) && error.contains("name another folder"), "{error}");
            assert_eq!(fs::read(&path).expect("there"), b"mine");
        }
        // A lock is a file like any other.
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("lock"), b"mine").expect("written");
        drop(Models::hold(folder.path()).expect("free"));
        assert_eq!(fs::read(folder.path().join("lock")).expect("there"), b"mine");
    }

    #[test]
    fn a_copy_that_is_behind_is_mended_and_damage_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut models = Models::open_or_make(folder.path()).expect("made");
        models.install(b"one", model(b"one", 1)).expect("installed");
        models.install(b"two", model(b"two", 2)).expect("installed");
        fs::write(models.path(CURRENT), b"one").expect("written");
        assert_eq!(current(&Models::open_or_make(folder.path()).expect("opened")), b"two");
        let held = Models::hold(folder.path()).expect("free");
        assert!(
            Models::hold(folder.path()).expect_err("held").to_string().contains("another process")
        );
        drop(held);
        // Another process goes back meanwhile, and this one goes on from there.
        let mut other = Models::open(folder.path()).expect("opened");
        other.roll_back(None, "by hand").expect("back");
        models.install(b"six", model(b"six", 3)).expect("installed");
        let Deployment { live, previous, refused, .. } = models.deployment().clone();
        assert_eq!((live, previous), (Some(model(b"six", 3)), Some(model(b"one", 1))));
        assert_eq!(refused[0].hash, model(b"two", 2).hash);
        models.came(&model(b"six", 3).hash).expect("noted");
        // A live model that is damaged is not handed on.
        fs::write(models.file(&model(b"six", 3)), b"xxx").expect("written");
        fs::remove_file(models.path(CURRENT)).expect("removed");
        let mut models = Models::open_or_make(folder.path()).expect("opened");
        assert_eq!(current(&models), b"one");
        let [lost] = models.lost() else { panic!("{:?}", models.lost()) };
        assert_eq!((&lost.hash, lost.was), (&model(b"six", 3).hash, "live"));
        assert!(lost.reason.contains("damaged"), "{lost:?}");
        assert_eq!(models.deployment().came, None, "it may come again");
        models.install(b"two", model(b"two", 4)).expect("installed");
        fs::write(models.file(&model(b"one", 1)), b"xxx").expect("written");
        let error = models.roll_back(None, "by hand").expect_err("damaged").to_string();
        assert!(error.contains("damaged"), "{error}");
        assert_eq!(current(&models), b"two");
        fs::write(
            models.path(DEPLOY),
            b"{\"live\":{\"hash\":\"../x\",\"round\":1},\"previous\":null}",
        )
        .expect("written");
        assert!(Models::open(folder.path()).expect_err("no hash").to_string().contains("no hash"));
    }
}
