//! What held-out rows say of the weights that are shipped: metrics, and a temperature.

use attn_core::Precision;
use serde::Serialize;

use crate::checkpoint::Checkpoint;
use crate::evaluate::{logits, targets};
use crate::metrics::Metrics;
use crate::windows::WindowSet;
use monitor::ece;
use monitor::temperature::{Fitted, divide, fit};

/// A temperature for the weights that are shipped, and what it does on the rows that it was fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Calibration {
    /// What logits are divided by before they become probabilities.
    pub temperature: f64,
    /// Why that is 1, where nothing could be fitted.
    #[serde(rename = "temperature_kept", skip_serializing_if = "Option::is_none")]
    pub kept: Option<&'static str>,
    /// Expected calibration error with it; the metrics have that without.
    #[serde(skip)]
    pub ece: f64,
}

impl Calibration {
    /// Metrics of weights on held-out windows without a temperature, and the one that suits them.
    pub(super) fn on(
        set: &WindowSet<'_>,
        start: &Checkpoint,
        params: &[f32],
        threads: usize,
    ) -> (Metrics, Self) {
        let mut checkpoint = start.clone();
        checkpoint.params.copy_from_slice(params);
        let (targets, classes) = (targets(set), &checkpoint.meta.classes);
        let mut logits = logits(&checkpoint, set, Precision::F32, threads);
        let metrics = Metrics::new(classes, &logits, &targets);
        let Fitted { temperature, kept } = fit(classes.len(), &logits, &targets);
        divide(&mut logits, kept.is_none().then_some(temperature));
        let ece = ece(classes.len(), &logits, &targets);
        (metrics, Self { temperature, kept, ece })
    }
}
