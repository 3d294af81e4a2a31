//! The job file: TOML with `[data] [window] [[preprocess]] [model] [train] [federation]`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use aggregate::ServerStep;
use anyhow::{Context, bail, ensure};
use attn_core::{AttentionConfig, EncoderConfig, Pooling, Positions, Task};
use optim::{AdamWConfig, GroupConfig, OptimizerConfig, PrivateConfig, Schedule};
use preprocess::StepConfig;
use serde::{Deserialize, Serialize};

use crate::data::DataConfig;

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

/// `[train]`: how a node trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Passes over the training windows; in a federation, per round.
    pub epochs: u32,
    /// Windows whose gradient is computed at once.
    pub batch: usize,
    /// Batches whose mean gradient makes a step.
    #[serde(skip_serializing_if = "is_one")]
    pub accumulate: u32,
    /// Learning rate: a number, or `"auto"` for a range test on the node's own training rows.
    pub lr: LearningRate,
    /// Which optimizer, with its options.
    pub optimizer: OptimizerConfig,
    /// How the learning rate moves over the run; in a federation, over all its rounds.
    pub schedule: Schedule,
    /// Longest gradient; longer ones are scaled down to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f32>,
    /// Largest component of the gradient; larger ones are cut to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_value: Option<f32>,
    /// Strength of the pull to the model that training starts from (`FedProx`).
    #[serde(skip_serializing_if = "is_zero")]
    pub proximal: f32,
    /// Patterns of the parameters that are trained and shipped; all if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trainable: Vec<String>,
    /// Other options for some parameters; one belongs to the first group that matches its name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupConfig>,
    /// Private training (DP-SGD).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private: Option<PrivateTraining>,
    /// Share of the target spread over all classes.
    pub label_smoothing: f32,
    /// Weights of the classes in the loss.
    pub class_weights: ClassWeights,
    /// Held-out part of the training rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationConfig>,
    /// Stop after so many epochs without a better validation loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u32>,
    /// Random changes to training windows.
    pub augment: AugmentConfig,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 50,
            batch: 32,
            accumulate: 1,
            lr: LearningRate::Fixed(1e-3),
            optimizer: OptimizerConfig::AdamW(AdamWConfig::default()),
            schedule: Schedule::Constant,
            clip_norm: Some(1.0),
            clip_value: None,
            proximal: 0.0,
            trainable: Vec::new(),
            groups: Vec::new(),
            private: None,
            label_smoothing: 0.0,
            class_weights: ClassWeights::Uniform,
            validation: None,
            patience: None,
            augment: AugmentConfig::default(),
            seed: 0,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_one(n: &u32) -> bool {
    *n == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(x: &f32) -> bool {
    *x == 0.0
}

/// A learning rate in a job file: a number, or `"auto"`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RateSpelling", into = "RateSpelling")]
pub enum LearningRate {
    /// This one.
    Fixed(f32),
    /// What a range test on the training rows finds.
    Auto,
}

impl FromStr for LearningRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let number = text.parse().map_err(|_| format!("{text:?} is neither a number nor auto"))?;
        Ok(Self::Fixed(number))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "lr is a number or \"auto\"")]
enum RateSpelling {
    Number(f32),
    Word(String),
}

impl TryFrom<RateSpelling> for LearningRate {
    type Error = String;

    fn try_from(spelling: RateSpelling) -> Result<Self, String> {
        match spelling {
            RateSpelling::Number(lr) => Ok(Self::Fixed(lr)),
            RateSpelling::Word(word) if word == "auto" => Ok(Self::Auto),
            RateSpelling::Word(word) => Err(format!("lr is a number or \"auto\", not {word:?}")),
        }
    }
}

impl From<LearningRate> for RateSpelling {
    fn from(lr: LearningRate) -> Self {
        match lr {
            LearningRate::Fixed(lr) => Self::Number(lr),
            LearningRate::Auto => Self::Word("auto".to_owned()),
        }
    }
}

/// `[train.private]`: every window's gradient is clipped and their sum blurred.
///
/// What is protected is one training window: the weights say little of whether it was there. Windows
/// that share rows are refused, as then a row would count several times; windows of one series or
/// person still count each for itself. Each step takes each window with the same probability,
/// independently, which is what accountants of privacy assume. The number of windows, their shapes
/// and fitted preprocessing are not protected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivateTraining {
    /// Longest gradient of one window.
    pub clip_norm: f32,
    /// Deviation of the noise on the sum, in units of `clip_norm`.
    pub noise_multiplier: f32,
    /// Makes the noise repeatable, for experiments: who knows the seed can take the noise off. Left
    /// out, the noise is drawn from the system's secret numbers, whose key is kept until the run is
    /// over, in a file beside the state that only its owner can read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_seed: Option<u64>,
}

impl PrivateTraining {
    /// What the gradient's sum needs.
    pub fn options(&self) -> PrivateConfig {
        PrivateConfig { clip_norm: self.clip_norm, noise_multiplier: self.noise_multiplier }
    }

    /// Fails if a row may stand in more than one window.
    ///
    /// # Errors
    /// If training windows overlap, or move.
    pub fn check_windows(
        &self,
        window: &WindowConfig,
        augment: &AugmentConfig,
    ) -> anyhow::Result<()> {
        let stride = window.train_stride.or(window.stride).or(window.len);
        ensure!(
            stride >= window.len,
            "[train.private] protects one window, and with a stride of {} a row stands in several windows of {}: set [window] train_stride to at least len",
            stride.unwrap_or(0),
            window.len.unwrap_or(0)
        );
        ensure!(
            augment.shift == 0,
            "[train.private] protects one window, and [train.augment] shift moves windows over each other's rows: set it to 0"
        );
        Ok(())
    }
}

/// Weights of the classes in the loss.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassWeights {
    /// Every window counts alike.
    #[default]
    Uniform,
    /// Every class counts alike: weights inverse to the classes' numbers of windows.
    Balanced,
}

/// `[train.validation]`: which training rows are held out to watch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationConfig {
    /// How much is held out, above 0 and at most 0.5.
    pub fraction: f64,
    /// What is held out.
    #[serde(default)]
    pub by: ValidationBy,
    /// Which part of a cross-validation: 0 to `1/fraction − 1`, only with `by = "series"`.
    #[serde(default)]
    pub fold: usize,
}

/// What a validation split holds out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValidationBy {
    /// Whole series, evenly from every class.
    #[default]
    Series,
    /// The end of every series.
    Time,
}

/// `[train.augment]`: random changes to training windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Deviation of normal noise added to every value, after preprocessing.
    pub jitter: f32,
    /// Deviation of a normal factor around 1, one per window and channel.
    pub scale: f32,
    /// Most steps by which a window's start moves, inside its series.
    pub shift: usize,
}

/// `[federation]`: how the center merges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FederationConfig {
    /// Rounds of train and merge.
    pub rounds: u32,
    /// How the global model moves towards the mean of the updates.
    pub server: ServerStep,
    /// What an update weighs.
    pub weights: UpdateWeights,
    /// Nodes that never train; the final model is tested on all their rows.
    pub holdout: Vec<String>,
}

impl Default for FederationConfig {
    fn default() -> Self {
        Self {
            rounds: 20,
            server: ServerStep::Replace,
            weights: UpdateWeights::Examples,
            holdout: Vec::new(),
        }
    }
}

/// What an update weighs in the mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateWeights {
    /// As many as its training windows.
    #[default]
    Examples,
    /// All the same.
    Uniform,
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
            let hint = nearest_key(error.message());
            anyhow::anyhow!("{}: {}{hint}", path.display(), error.to_string().trim_end())
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
        self.federation.server.validate().context("[federation] server")?;
        Ok(())
    }
}

impl TrainConfig {
    /// Checks every option.
    ///
    /// # Errors
    /// If one is out of range; the message names it.
    pub fn validate(&self) -> anyhow::Result<()> {
        ensure!(self.batch >= 1, "[train] batch must be at least 1");
        ensure!(self.accumulate >= 1, "[train] accumulate must be at least 1");
        if let LearningRate::Fixed(lr) = self.lr {
            ensure!(
                lr.is_finite() && lr > 0.0,
                "[train] lr must be a positive number or \"auto\", found {lr}"
            );
        }
        ensure!(
            (0.0..=1.0).contains(&self.label_smoothing),
            "[train] label_smoothing must be 0 to 1, found {}",
            self.label_smoothing
        );
        if let Some(norm) = self.clip_norm {
            ensure!(norm > 0.0, "[train] clip_norm must be positive, found {norm}");
        }
        if let Some(limit) = self.clip_value {
            ensure!(limit > 0.0, "[train] clip_value must be positive, found {limit}");
        }
        ensure!(
            self.proximal.is_finite() && self.proximal >= 0.0,
            "[train] proximal must not be negative, found {}",
            self.proximal
        );
        for (number, group) in self.groups.iter().enumerate() {
            let place = || format!("[[train.groups]] number {}", number + 1);
            group.validate().with_context(place)?;
        }
        if let Some(private) = self.private {
            private.options().validate().context("[train.private]")?;
            ensure!(
                self.class_weights == ClassWeights::Uniform,
                "[train.private] and class_weights = \"balanced\" do not go together: the weights would tell how many windows each class has"
            );
            ensure!(
                self.lr != LearningRate::Auto,
                "[train.private] needs a number for lr: a range test looks at the rows without privacy"
            );
            ensure!(
                self.schedule.plateau().is_none() && self.validation.is_none(),
                "[train.private] goes neither with [train.validation] nor with reduce-on-plateau: both choose by a loss that is not private; hold rows out in a split column and use eval"
            );
        }
        for (name, value) in [("jitter", self.augment.jitter), ("scale", self.augment.scale)] {
            ensure!(
                value.is_finite() && value >= 0.0,
                "[train.augment] {name} must not be negative, found {value}"
            );
        }
        if let Some(validation) = self.validation {
            ensure!(
                validation.fraction > 0.0 && validation.fraction <= 0.5,
                "[train.validation] fraction must be above 0 and at most 0.5, found {}",
                validation.fraction
            );
            let folds = validation.folds();
            ensure!(
                validation.fold < folds,
                "[train.validation] fold must be below 1/fraction = {folds}, found {}",
                validation.fold
            );
            ensure!(
                validation.by == ValidationBy::Series || validation.fold == 0,
                "[train.validation] fold needs by = \"series\""
            );
        }
        ensure!(
            self.patience.is_none() || self.validation.is_some(),
            "[train] patience needs a [train.validation] section to watch"
        );
        self.optimizer.validate().context("[train] optimizer")?;
        self.schedule.validate().context("[train] schedule")?;
        Ok(())
    }
}

impl ValidationConfig {
    /// Parts of a cross-validation with this fraction.
    pub fn folds(&self) -> usize {
        (1.0 / self.fraction).round().max(1.0) as usize
    }
}

/// `hint: …` for a message like ``unknown field `epoch`, expected one of `epochs`, `batch` ``.
fn nearest_key(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = message.contains("unknown field") || message.contains("unknown variant");
    let Some(found) = names.next().filter(|_| unknown) else { return String::new() };
    let nearest = names
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
