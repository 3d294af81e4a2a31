//! A model that is ready to answer: read whole, checked, prepared and tried.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aggregate::WeightFile;
use anyhow::{Context, anyhow, bail, ensure};
use attn_core::{Precision, Predictor};

use super::answer::{Label, State};
use crate::checkpoint::{Checkpoint, Meta, no_such_model};
use crate::models::{CURRENT, Models};
use monitor::temperature::divide;
use monitor::{argmax, softmax_in_place};

/// Windows that a model answers before it is live.
const WARM_UP: u32 = 10;

/// A model that is ready to answer.
#[derive(Debug)]
pub struct Ready {
    predictor: Predictor,
    temperature: Option<f64>,
    /// What its answers say of it.
    pub label: Arc<Label>,
    /// Of the last window, as they left the model.
    logits: Vec<f32>,
    probs: Vec<f32>,
}

/// A model's file as it was read.
#[derive(Debug)]
pub struct ModelFile {
    /// BLAKE3 of its bytes.
    pub hash: String,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
    /// What it holds.
    pub checkpoint: Checkpoint,
}

impl ModelFile {
    /// Reads a model: a file, or the live one of a folder of models.
    ///
    /// # Errors
    /// If it is damaged, is no model, or was refused before; or is longer than `most` bytes.
    pub fn read(path: &Path, most: u64) -> anyhow::Result<Self> {
        let file = Self::place(path);
        let place = || format!("{}", file.display());
        let status = std::fs::metadata(&file);
        let status = status.map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory if path.is_dir() => anyhow!(
                "{}: there is no {CURRENT} in it; name a file, or a folder of models that `edgectl node` \
                 or `edgectl run --state` keeps",
                path.display()
            ),
            ErrorKind::NotFound | ErrorKind::NotADirectory => no_such_model(path),
            _ => anyhow::Error::new(error).context(place()),
        })?;
        ensure!(status.is_file(), "{}: no plain file", file.display());
        ensure!(
            status.len() <= most,
            "{}: {} bytes, at most {most} are expected",
            file.display(),
            status.len()
        );
        // One reading, so that what is hashed is what answers; it may be written to meanwhile.
        let mut bytes = Vec::new();
        let input = std::fs::File::open(&file).with_context(place)?;
        input.take(most).read_to_end(&mut bytes).with_context(place)?;
        let hash = blake3::hash(&bytes).to_hex().to_string();
        if path.is_dir() {
            let models = Models::open(path)?;
            let mut refused = models.deployment().refused.iter();
            if let Some(denied) = refused.find(|denied| denied.hash == hash) {
                bail!("{}: it was refused before: {}", file.display(), denied.reason);
            }
        }
        let bytes: Arc<[u8]> = bytes.into();
        let checkpoint = Checkpoint::of(&WeightFile::of_bytes(file, Arc::clone(&bytes))?)?;
        Ok(Self { hash, bytes, checkpoint })
    }

    /// The file of a model: in a folder of models the one that other programs read.
    pub fn place(path: &Path) -> PathBuf {
        if path.is_dir() { path.join(CURRENT) } else { path.to_owned() }
    }
}

impl Ready {
    /// Prepares a model for answers.
    pub fn new(model: &ModelFile) -> Self {
        let ModelFile { hash, checkpoint, .. } = model;
        let meta = &checkpoint.meta;
        let label = Label {
            hash: hash.clone(),
            round: meta.provenance.round,
            state: State::default(),
            classes: meta.classes.clone(),
            profile: meta.monitor.as_deref().cloned().map(Arc::new),
        };
        Self {
            predictor: Predictor::new(&checkpoint.encoder, &checkpoint.params, Precision::F32, 1),
            temperature: meta.temperature,
            label: Arc::new(label),
            logits: vec![0.0; meta.classes.len()],
            probs: vec![0.0; meta.classes.len()],
        }
    }

    /// The class of a window, its probability and those of all classes, in the bits that `predict` prints; nothing
    /// where they are not finite. Nothing is allocated.
    pub fn answer(&mut self, values: &[f32]) -> Option<(u32, f32, &[f32])> {
        let logits = self.predictor.predict(values).ok()?;
        self.logits.copy_from_slice(logits);
        self.probs.copy_from_slice(logits);
        divide(&mut self.probs, self.temperature);
        let class = argmax(&self.probs);
        if !self.probs.iter().all(|logit| logit.is_finite()) {
            return None;
        }
        softmax_in_place(&mut self.probs);
        Some((class as u32, self.probs[class], &self.probs))
    }

    /// `1 − p` of the least probable class in the sets that are told with answers, at a level or the calibrated one;
    /// nothing for a model that is not calibrated.
    pub fn set(&self, level: Option<f64>) -> Option<f64> {
        let profile = self.label.profile.as_ref()?;
        let sets = profile.conformal.as_ref()?;
        Some(sets.quantile(level.unwrap_or(1.0 - profile.coverage)))
    }

    /// The logits of the last window, as they left the model, and its probabilities.
    pub fn last(&self) -> (&[f32], &[f32]) {
        (&self.logits, &self.probs)
    }

    /// Answers some windows that nobody asked for: weights that are finite may still overflow, and the first answers
    /// are the slowest.
    ///
    /// # Errors
    /// If an answer is not finite, or the fastest takes more than half the deadline.
    pub fn warm_up(&mut self, width: usize, deadline: Option<Duration>) -> anyhow::Result<()> {
        let mut window = vec![0.0; width];
        let mut fastest = Duration::MAX;
        for round in 0..WARM_UP {
            for (i, value) in window.iter_mut().enumerate() {
                *value = ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(round) >> 16) as f32
                    / 16_384.0
                    - 2.0;
            }
            let began = Instant::now();
            let logits = self.predictor.predict(&window).context("a window to try it")?;
            fastest = fastest.min(began.elapsed());
            ensure!(
                logits.iter().all(|logit| logit.is_finite()),
                "its answers are not finite: its training diverged"
            );
        }
        if let Some(deadline) = deadline {
            ensure!(
                fastest <= deadline / 2,
                "an answer takes {} µs, more than half of the deadline",
                fastest.as_micros()
            );
        }
        Ok(())
    }
}

/// Whether a model can take the place of another while series run.
///
/// # Errors
/// If it answers something else, cuts or scales series in another way, or is of an older round.
pub fn check_fits(new: &Meta, live: &Meta, newest_round: u32) -> anyhow::Result<()> {
    ensure!(
        new.classes == live.classes,
        "it has the classes {}, the live model {}",
        new.classes.join(", "),
        live.classes.join(", ")
    );
    ensure!(
        new.channels == live.channels,
        "it reads the channels {}, the live model {}",
        new.channels.join(", "),
        live.channels.join(", ")
    );
    ensure!(
        new.run.window().len == live.run.window().len
            && new.run.window().stride == live.run.window().stride,
        "it takes other windows than the live model; start `edgectl run` again for it, with another --state"
    );
    ensure!(
        new.preprocess == live.preprocess,
        "it scales its rows in another way than the live model; start `edgectl run` again for it, with another --state"
    );
    ensure!(
        new.run.data() == live.run.data(),
        "it reads other columns than the live model; start `edgectl run` again for it, with another --state"
    );
    let round = new.provenance.round;
    ensure!(
        round >= newest_round,
        "it is of round {round}, and one of round {newest_round} was live"
    );
    Ok(())
}
