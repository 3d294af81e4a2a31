//! The job file: TOML with `[data] [window] [[preprocess]] [model] [train] [federation]`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use preprocess::{StepConfig, ZScore};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::augment::AugmentConfig;
use super::federation::FederationConfig;
use super::model::ModelConfig;
use super::text::from_toml;
use super::train::TrainConfig;
use super::window::WindowConfig;
use crate::data::DataConfig;
use crate::lines::Lines;
use crate::nearest::nearest;
use crate::typed::typed;

/// Steps after which values are of about size 1.
const SCALING: [&str; 3] = ["z-score", "robust-scale", "window-normalize"];

/// A whole job as it was written: what to read, how to cut and scale it, what to train and how to
/// merge. Nothing of it is checked but names and types: [`Run::check`](crate::run::Run::check) does
/// that once all overrides are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Which files and columns.
    #[serde(default)]
    pub data: DataConfig,
    /// How series become windows.
    #[serde(default)]
    pub window: WindowConfig,
    /// What happens to the values first, in order; z-score if a job does not say, nothing for `[]`.
    #[serde(default = "scaled")]
    pub preprocess: Vec<StepConfig>,
    /// The attention model.
    #[serde(default)]
    pub model: ModelConfig,
    /// How a node trains.
    #[serde(default)]
    pub train: TrainConfig,
    /// How the center merges.
    #[serde(default)]
    pub federation: FederationConfig,
}

/// Attention learns from values around 0 and of about size 1: from others late, or not at all.
fn scaled() -> Vec<StepConfig> {
    vec![ZScore {}.into()]
}

impl Default for Job {
    fn default() -> Self {
        Self {
            data: DataConfig::default(),
            window: WindowConfig::default(),
            preprocess: scaled(),
            model: ModelConfig::default(),
            train: TrainConfig::default(),
            federation: FederationConfig::default(),
        }
    }
}

impl Job {
    /// Reads a job file. A relative `[data] path` is taken from the file's folder.
    ///
    /// # Errors
    /// If the file cannot be read, or a key is unknown (the nearest known one is suggested).
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        Self::read_over(path, None)
    }

    /// The same for a model that has its own steps, which are not those of the job.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_over(path: &Path, steps: Option<&[StepConfig]>) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{}: cannot read the job file", path.display()))?;
        let mut job: Self =
            from_toml(&text, |value| Self::of_value(value, steps)).map_err(|wrong| {
                let mut place = wrong.place.into_iter();
                let first = match place.next() {
                    Some(first) => format!("{}: {first}", path.display()),
                    None => format!("{}:", path.display()),
                };
                let key = FederationConfig::wrong_key(&text);
                let key = key.map(|key| format!("in [federation] {key}"));
                let hint = hint(&wrong.message);
                let lines = std::iter::once(first).chain(place).chain([wrong.message]);
                Lines::new(lines.chain(key).chain(hint))
            })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        job.data.paths_mut().for_each(|data| *data = folder.join(&*data));
        Ok(job)
    }

    /// A job as JSON, the tables of TOML as they are; values are scaled by `steps`, or else by the job's own.
    ///
    /// # Errors
    /// If a key is unknown, or a value none of its key.
    pub(crate) fn of_value(
        value: &Value,
        steps: Option<&[StepConfig]>,
    ) -> Result<Self, serde_path_to_error::Error<serde_json::Error>> {
        let mut job: Self = typed(value)?;
        // Noise of a tenth is slight only for values of about size 1.
        let scales = |step: &StepConfig| SCALING.contains(&step.name());
        let scaled = steps.unwrap_or(&job.preprocess).iter().any(scales);
        if value.pointer("/train/augment").is_none() && !scaled {
            job.train.augment = AugmentConfig::default();
        }
        if value.pointer("/federation/server").is_none() {
            job.federation.gather_momentum();
        }
        Ok(job)
    }

    /// Where the job's data is: what the command line says, else what the job says.
    ///
    /// # Errors
    /// If neither says.
    pub fn data_paths(&self, given: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
        match (&self.data.path, given) {
            (None, []) => bail!(
                "no data: give --data PATH, or set path in the [data] section of the job file"
            ),
            (Some(path), []) => Ok(vec![path.clone()]),
            _ => Ok(given.to_vec()),
        }
    }
}

/// `hint: …` for a message like ``unknown field `epoch`, expected one of `epochs`, `batch` ``.
fn hint(message: &str) -> Option<String> {
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = message.contains("unknown field") || message.contains("unknown variant");
    let found = names.next().filter(|_| unknown)?;
    let mut names: Vec<&str> = names.collect();
    // The table that is put together of two structs does not list its keys.
    if names.is_empty() {
        names = FederationConfig::keys().collect();
    }
    nearest(found, names).map(|name| format!("hint: did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use aggregate::ServerStep;

    use super::*;

    fn read(text: &str) -> anyhow::Result<Job> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("job.toml");
        std::fs::write(&path, text)?;
        Job::read(&path)
    }

    #[test]
    fn an_empty_file_is_a_job_with_defaults() {
        let mut job = Job::default();
        job.federation.gather_momentum();
        assert_eq!(read("").expect("valid"), job);
        assert_eq!(read("preprocess = []").expect("valid").preprocess, []);
    }

    #[test]
    fn windows_are_changed_slightly_where_values_are_scaled_and_the_job_does_not_say() {
        let augment = |text: &str| read(text).expect("valid").train.augment;
        let none = AugmentConfig::default();
        for text in ["", "[[preprocess]]\nstep = \"robust-scale\"", "[train]\nbatch = 8"] {
            assert_eq!(augment(text), AugmentConfig::slight(), "{text}");
        }
        for text in ["preprocess = []", "[[preprocess]]\nstep = \"min-max\"", "[train.augment]"] {
            assert_eq!(augment(text), none, "{text}");
        }
        let shift = AugmentConfig { shift: 3, ..none };
        assert_eq!(augment("[train.augment]\nshift = 3"), shift, "the rest of a section is none");
    }

    #[test]
    fn the_center_gathers_momentum_where_the_job_does_not_say_how_it_moves() {
        let server = |text: &str| read(text).expect("valid").federation.rules.server;
        let momentum = ServerStep::Sgd { lr: 1.0, momentum: 0.5, nesterov: false };
        for text in ["", "[federation]\nrounds = 3", "[federation]\nreduce = { name = \"median\" }"]
        {
            assert_eq!(server(text), momentum, "{text}");
        }
        for text in ["server = { name = \"replace\" }", "correction = \"scaffold\""] {
            assert_eq!(server(&format!("[federation]\n{text}")), ServerStep::Replace, "{text}");
        }
    }

    #[test]
    fn attention_has_masks_and_shared_heads() {
        let text = "[model]\npositions = \"rotary\"\npooling = \"last\"\nattention = { mask = { sliding-window = { left = 31, right = 0 } }, n_kv_heads = 2 }";
        let model = read(text).expect("valid").model;
        assert_eq!(model.attention.mask, attn_core::Mask::SlidingWindow { left: 31, right: 0 });
        assert_eq!(model.encoder(3, 64, 2).validate(), Ok(()));
        assert_eq!(model.attention.n_kv_heads, Some(2));
        let plain = serde_json::to_string(&ModelConfig::default()).expect("valid");
        assert!(!plain.contains("attention"), "{plain}");
    }

    #[test]
    fn unknown_keys_are_errors_with_the_nearest_one() {
        for (text, hint) in [
            ("[train]\nepoch = 3", "`epochs`"),
            ("[windows]\nlen = 3", "`window`"),
            ("[model]\nd_modle = 3", "`d_model`"),
            ("[train]\noptimizer = { name = \"adamw\", weight_decy = 0.9 }", "`weight_decay`"),
            ("[train]\noptimizer = { name = \"adamww\" }", "`adamw`"),
            ("[federation]\nround = 3", "`rounds`"),
            ("[federation]\nhold_out = [\"a\"]", "`holdout`"),
            ("[federation]\nbuckets = 2", "`bucket`"),
            ("[federation]\nreducer = { name = \"median\" }", "`reduce`"),
            ("[federation]\nreduce = { name = \"medain\" }", "`median`"),
            ("[federation]\nreduce = { name = \"krum\", byzantin = 1 }", "`byzantine`"),
            ("[federation]\nserver = { name = \"sgd\", momentun = 0.9 }", "`momentum`"),
            ("[federation]\nweights = \"exmples\"", "`examples`"),
            ("[federation]\nprivacy = { clip_norms = 1.0 }", "`clip_norm`"),
        ] {
            let message = read(text).expect_err(text).to_string();
            assert!(message.contains("job.toml"), "{message}");
            assert!(message.contains(&format!("did you mean {hint}?")), "{message}");
        }
    }

    #[test]
    fn values_of_the_flat_table_are_blamed_by_key() {
        for (text, key) in [
            ("[federation]\nmax_deviation = \"of\"", "in [federation] max_deviation"),
            ("[federation]\nrounds = 3\nquorum = -1", "in [federation] quorum"),
        ] {
            let message = read(text).expect_err(text).to_string();
            assert!(message.contains(key), "{message}");
        }
    }

    #[test]
    fn a_relative_data_path_starts_at_the_job_file() {
        let job = read("[data]\npath = \"x/y\"").expect("valid");
        assert!(job.data.path.expect("a path").is_absolute());
    }
}
