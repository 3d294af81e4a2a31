//! The job file: TOML with `[data] [window] [[preprocess]] [model] [train] [federation]`.

mod federation;
mod train;

use std::path::{Path, PathBuf};

use aggregate::ServerStep;
use anyhow::{Context, bail, ensure};
use attn_core::{AttentionConfig, EncoderConfig, Pooling, Positions, Task};
use optim::{OptimizerConfig, SgdConfig};
use preprocess::StepConfig;
use serde::{Deserialize, Serialize};

use crate::data::DataConfig;

pub use aggregate::Correction;
pub use federation::FederationConfig;
pub use train::{
    AugmentConfig, ClassWeights, LearningRate, PrivateTraining, TrainConfig, ValidationBy,
    ValidationConfig,
};

/// A whole job: what to read, how to cut and scale it, what to train and how to merge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Which files and columns.
    #[serde(default)]
    pub data: DataConfig,
    /// How series become windows.
    #[serde(default)]
    pub window: WindowConfig,
    /// What happens to the values first, in order.
    #[serde(default)]
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

/// `[window]`: how series become windows, in time steps. Without `len` a whole series is one window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WindowConfig {
    /// Steps of a window; left out: a whole series is one window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub len: Option<usize>,
    /// Steps between the starts of two windows; `len` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    /// The same for training rows; `stride` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_stride: Option<usize>,
    /// Most steps of a whole-series window; the longest training series if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_len: Option<usize>,
    /// Which row's label a window takes.
    pub label: WindowLabel,
}

/// Which row's label a window takes where labels stand on rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowLabel {
    /// The most frequent one; of equals the first class.
    #[default]
    Majority,
    /// That of the last row.
    Last,
    /// That of the row in the middle.
    Middle,
}

/// `[model]`: sizes and choices that do not follow from the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Time steps that form one token.
    pub patch_len: usize,
    /// Width of a token.
    pub d_model: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Blocks.
    pub n_layers: usize,
    /// Width of each block's MLP.
    pub d_ff: usize,
    /// Share of values dropped in training.
    pub dropout: f32,
    /// `learned`, `sinusoidal`, `rotary` or `alibi`.
    pub positions: Positions,
    /// `mean`, `class-token` or `last`.
    pub pooling: Pooling,
    /// Which tokens see which: `{ mask = "causal" }`, `{ mask = { sliding-window = { left = 31,
    /// right = 0 } } }`; `n_kv_heads` for heads that share keys; `dropout` of probabilities.
    #[serde(skip_serializing_if = "is_plain")]
    pub attention: AttentionConfig,
}

/// Plain attention is not written, so that files stay as they were before there was a choice.
fn is_plain(attention: &AttentionConfig) -> bool {
    *attention == AttentionConfig::default()
}

impl Default for ModelConfig {
    /// A model of about 70,000 parameters that a small board trains.
    fn default() -> Self {
        Self {
            patch_len: 1,
            d_model: 64,
            n_heads: 4,
            n_layers: 2,
            d_ff: 128,
            dropout: 0.1,
            positions: Positions::Learned,
            pooling: Pooling::Mean,
            attention: AttentionConfig::default(),
        }
    }
}

impl ModelConfig {
    /// The model for data of this schema.
    pub fn encoder(&self, channels: usize, seq_len: usize, n_classes: usize) -> EncoderConfig {
        EncoderConfig {
            channels,
            seq_len,
            patch_len: self.patch_len,
            d_model: self.d_model,
            n_heads: self.n_heads,
            n_layers: self.n_layers,
            d_ff: self.d_ff,
            dropout: self.dropout,
            positions: self.positions,
            pooling: self.pooling,
            attention: self.attention,
            task: Task::Classification { n_classes },
        }
    }
}

impl Job {
    /// Reads a job file. A relative `[data] path` is taken from the file's folder.
    ///
    /// # Errors
    /// If the file cannot be read, a key is unknown (the nearest known one is suggested), or an
    /// option is out of range.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{}: cannot read the job file", path.display()))?;
        let mut job: Self = toml::from_str(&text).map_err(|error| {
            let place = FederationConfig::wrong_key(&text)
                .map_or_else(String::new, |key| format!("\nin [federation] {key}"));
            let hint = nearest_key(error.message());
            anyhow::anyhow!("{}: {}{place}{hint}", path.display(), error.to_string().trim_end())
        })?;
        job.validate().with_context(|| format!("{}: the job file", path.display()))?;
        if let Some(data) = job.data.path.take() {
            job.data.path = Some(path.parent().unwrap_or(Path::new("")).join(data));
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

    fn validate(&self) -> anyhow::Result<()> {
        let window = &self.window;
        for (name, steps) in [
            ("len", window.len),
            ("stride", window.stride),
            ("train_stride", window.train_stride),
            ("max_len", window.max_len),
        ] {
            ensure!(steps != Some(0), "[window] {name} must be at least 1");
        }
        ensure!(
            window.len.is_some() || (window.stride.is_none() && window.train_stride.is_none()),
            "[window] stride needs len: without it a whole series is one window"
        );
        ensure!(
            window.len.is_none() || window.max_len.is_none(),
            "[window] has both len and max_len: max_len is for windows that are whole series"
        );
        self.model.encoder(1, self.model.patch_len, 1).validate().context("[model]")?;
        self.train.validate()?;
        ensure!(self.federation.rounds >= 1, "[federation] rounds must be at least 1");
        self.federation.rules.validate().context("[federation]")?;
        self.validate_correction()
    }

    /// What the center's rules ask of the nodes' training.
    fn validate_correction(&self) -> anyhow::Result<()> {
        let (train, rules) = (&self.train, &self.federation.rules);
        let is_dyn = matches!(rules.server, ServerStep::Dyn { .. });
        if rules.correction == Correction::None && !is_dyn {
            return Ok(());
        }
        ensure!(
            train.trainable.is_empty() && train.private.is_none(),
            "[federation] correction and the server step dyn go neither with [train] trainable nor with [train.private]"
        );
        if rules.correction == Correction::Scaffold {
            let plain = OptimizerConfig::Sgd(SgdConfig::default());
            ensure!(
                train.optimizer == plain
                    && train.lr != LearningRate::Auto
                    && train.schedule.plateau().is_none(),
                "[federation] correction = \"scaffold\" needs [train] optimizer = {{ name = \"sgd\" }} without momentum, a number for lr and no reduce-on-plateau: the variate is made of the way the model went"
            );
        }
        Ok(())
    }
}

/// `hint: …` for a message like ``unknown field `epoch`, expected one of `epochs`, `batch` ``.
fn nearest_key(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = message.contains("unknown field") || message.contains("unknown variant");
    let Some(found) = names.next().filter(|_| unknown) else { return String::new() };
    let mut names: Vec<&str> = names.collect();
    // The table that is put together of two structs does not list its keys.
    if names.is_empty() {
        names = FederationConfig::keys().collect();
    }
    let nearest = names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(found, name), name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    nearest.map_or_else(String::new, |(_, name)| format!("\nhint: did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Job> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("job.toml");
        std::fs::write(&path, text)?;
        Job::read(&path)
    }

    #[test]
    fn an_empty_file_is_a_job_with_defaults() {
        assert_eq!(read("").expect("valid").train, TrainConfig::default());
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
    fn options_out_of_range_are_errors_that_name_them() {
        for (text, name) in [
            ("[window]\nlen = 0", "len"),
            ("[window]\nstride = 3", "stride needs len"),
            ("[train]\nlr = -1.0", "lr"),
            ("[train]\nlr = nan", "lr"),
            ("[train]\nbatch = 0", "batch"),
            ("[train]\npatience = 3", "patience"),
            ("[train]\nvalidation = { fraction = 0.9 }", "fraction"),
            ("[train]\nvalidation = { fraction = 0.2, fold = 5 }", "fold"),
            ("[model]\nn_heads = 5", "n_heads"),
            ("[model]\ndropout = 1.5", "dropout"),
            ("[model]\nattention = { n_kv_heads = 3 }", "n_kv_heads"),
            ("[model]\nattention = { mask = \"casual\" }", "casual"),
            ("[federation]\nrounds = 0", "rounds"),
            ("[federation]\nbucket = 0", "bucket is 0"),
            ("[federation]\nmax_deviation = -1", "max_deviation is -1"),
            ("[federation]\nmax_deviation = \"of\"", "a number above 0, or off"),
            ("[federation]\nmax_deviation = \"of\"", "in [federation] max_deviation"),
            ("[federation]\nrounds = 3\nquorum = -1", "in [federation] quorum"),
            ("[federation]\npopulation = 0", "population is 0"),
            ("[federation]\nbucket = 2", "bucket does not go with the reducer mean"),
            (
                "[federation]\ncorrection = \"scaffold\"\nreduce = { name = \"median\" }",
                "correction scaffold does not go with the reducer median",
            ),
            ("[federation]\ncorrection = \"scaffold\"", "[train] optimizer"),
        ] {
            let message = format!("{:#}", read(text).expect_err(text));
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn a_relative_data_path_starts_at_the_job_file() {
        let job = read("[data]\npath = \"x/y\"").expect("valid");
        assert!(job.data.path.expect("a path").is_absolute());
    }
}
