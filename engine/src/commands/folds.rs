//! `edgectl simulate --cv K`: the federation K times, each without another part of every node's training
//! rows, on which it is measured.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::Context;

use super::round_bar::run_arm;
use crate::checkpoint::Checkpoint;
use crate::data::Node;
use crate::federation::{Arm, arm_files};
use crate::job::{Kept, ValidationConfig};
use crate::output::Output;
use crate::training::{CrossValidation, Fold, HeldOut};

/// Where the folds' files are while they are needed, in the folder of the run.
const FOLDER: &str = "cv";

/// The runs to make.
pub(super) struct Folds<'a> {
    arm: Arm<'a>,
    folder: PathBuf,
    /// Fresh models whose jobs hold out one part each, and what that is.
    starts: Vec<(Checkpoint, HeldOut)>,
}

impl<'a> Folds<'a> {
    /// Prepares the runs.
    ///
    /// # Errors
    /// If a node has too few training rows for them; it is named.
    pub(super) fn new(start: &Checkpoint, arm: Arm<'a>, folds: usize) -> anyhow::Result<Self> {
        let of = |fold| -> anyhow::Result<(Checkpoint, HeldOut)> {
            // To measure, and for nothing else.
            let with = ValidationConfig { keep: Kept::Last, ..ValidationConfig::part(fold, folds) };
            let run = start.meta.run.with(|job| job.train.validation = Some(with))?;
            let start = start.clone().with_run(run)?;
            let place = || format!("--cv {folds}, fold {} of {folds}", fold + 1);
            let held_out = arm.held_out(&start).with_context(place)?;
            Ok((start, held_out.with_context(place)?))
        };
        let starts = (0..folds).map(of).collect::<anyhow::Result<_>>()?;
        Ok(Self { arm, folder: arm.folder.join(FOLDER), starts })
    }

    /// All that a fold may write, relative to the folder of the run.
    pub(super) fn files(nodes: &[Node], rounds: u32) -> Vec<String> {
        let files = arm_files(nodes, rounds, false).into_iter();
        files.map(|file| format!("{FOLDER}/{file}")).collect()
    }

    /// Makes the runs, and leaves no file of them; nothing is known if they are told to stop.
    ///
    /// # Errors
    /// As [`run_arm`], or if a file cannot be removed.
    pub(super) fn run(self, output: Output) -> anyhow::Result<Option<CrossValidation>> {
        let planned = self.starts.len();
        let mut folds = Vec::new();
        for (start, held_out) in &self.starts {
            output.note(&format!("fold {} of {planned}", held_out.fold + 1));
            let arm = Arm { folder: &self.folder, keep_updates: false, ..self.arm };
            let report = run_arm(start, arm, "fold", output);
            self.clear(start)?;
            let mut rounds = report?.rounds;
            if rounds.len() < start.meta.run.federation().rounds as usize {
                return Ok(None);
            }
            let last = rounds.pop().and_then(|round| round.val);
            folds.extend(last.map(|metrics| {
                // Nobody asks which temperature would be best.
                Fold { held_out: held_out.clone(), least_loss: metrics.loss, metrics }
            }));
        }
        Ok(Some(CrossValidation::new(folds)))
    }

    /// Removes the files of a fold, and their folders unless somebody else's are there.
    fn clear(&self, start: &Checkpoint) -> anyhow::Result<()> {
        let rounds = start.meta.run.federation().rounds;
        for file in Self::files(self.arm.nodes, rounds) {
            let path = self.arm.folder.join(file);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error)
                        .with_context(|| format!("{}: cannot remove", path.display()));
                }
                _ => {}
            }
        }
        for folder in [self.folder.join("rounds"), self.folder.clone()] {
            // A folder with something else in it stays.
            fs::remove_dir(folder).ok();
        }
        Ok(())
    }
}
