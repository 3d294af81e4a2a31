//! `[train]`: how a node trains.

use optim::{AdamWConfig, GroupConfig, OptimizerConfig, Schedule};
use serde::{Deserialize, Serialize};

use super::augment::AugmentConfig;
use super::epochs::Epochs;
use super::private::PrivateTraining;
use super::rate::LearningRate;
use super::validation::{Kept, ValidationConfig};

/// `[train]`: how a node trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Passes over the training windows: a number, or `"auto"` for as many as suit how many there are; in a
    /// federation, per round.
    pub epochs: Epochs,
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
    /// Random changes to training windows; slight ones where a job does not say and scales its values.
    pub augment: AugmentConfig,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for TrainConfig {
    /// What learned most from the training rows of twelve small data sets (`bench/ablations.py`).
    fn default() -> Self {
        Self {
            epochs: Epochs::Auto,
            batch: 32,
            accumulate: 1,
            lr: LearningRate::Fixed(2e-3),
            optimizer: OptimizerConfig::AdamW(AdamWConfig::default()),
            schedule: Schedule::Cosine { warmup: 0.05, min_ratio: 0.0 },
            clip_norm: Some(1.0),
            clip_value: None,
            proximal: 0.0,
            trainable: Vec::new(),
            groups: Vec::new(),
            private: None,
            label_smoothing: 0.1,
            class_weights: ClassWeights::Uniform,
            validation: None,
            patience: None,
            augment: AugmentConfig::slight(),
            seed: 0,
        }
    }
}

impl TrainConfig {
    /// Whether held-out rows choose an epoch and a temperature; else they measure at most.
    pub fn held_out_choose(&self) -> bool {
        self.validation.is_some_and(|validation| validation.keep == Kept::Best)
    }

    /// Windows of a step.
    pub fn windows_per_step(&self) -> usize {
        self.batch.saturating_mul(self.accumulate as usize)
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
