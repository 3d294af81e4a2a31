//! `[train]`: how a node trains.

use std::str::FromStr;

use anyhow::{Context, ensure};
use optim::{AdamWConfig, GroupConfig, OptimizerConfig, PrivateConfig, Schedule};
use serde::{Deserialize, Serialize};

use super::WindowConfig;

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

impl TrainConfig {
    /// Windows of a step.
    pub fn windows_per_step(&self) -> usize {
        self.batch.saturating_mul(self.accumulate as usize)
    }

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

impl ValidationConfig {
    /// Parts of a cross-validation with this fraction.
    pub fn folds(&self) -> usize {
        (1.0 / self.fraction).round().max(1.0) as usize
    }
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
