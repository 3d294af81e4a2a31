//! What was fitted for the weights before an adaptation, for those after it: by windows that were not trained on.
//!
//! Thresholds stay those of the calibration, which took many people's series; an adaptation has too few for that. What
//! is usual is of now: references of the input from all windows of now, as what they are like does not depend on the
//! weights, and those of confidence, the temperature and the sets from windows that were not trained on. What is too
//! little to go by leaves things as they were. A run finds out by itself what is usual of the model's first windows.

use monitor::temperature::{BOUNDS, FEWEST_WINDOWS, Fitted, divide, fit};
use monitor::{Conformal, Scores, argmax, softmax_in_place};

use super::example::Example;
use crate::checkpoint::Meta;
use crate::signals::{CONFIDENCE, INPUT, Profile, Statistics};

/// Answers of the new weights for windows that they were not trained on.
#[derive(Debug, Default)]
pub(super) struct HeldOut {
    /// `[windows, classes]`.
    pub(super) logits: Vec<f32>,
    /// Of each its class.
    pub(super) targets: Vec<u32>,
}

/// Fits the temperature and the profile of a model, if it has one, for its new weights; `now` are windows of now.
pub(super) fn refit<'a>(
    meta: &mut Meta,
    held_out: &HeldOut,
    now: impl Iterator<Item = &'a Example>,
) {
    let n_classes = meta.classes.len();
    let HeldOut { logits, targets } = held_out;
    let Fitted { temperature, kept } = fit(n_classes, logits, targets);
    if kept.is_none() {
        meta.temperature = Some(temperature);
    } else if targets.len() >= FEWEST {
        // Of few windows all are often right, and the one before may be of a model that was hardly ever.
        meta.temperature = Some(as_sure_as_right(n_classes, logits, targets));
    }
    let Some(profile) = meta.monitor.as_deref_mut() else { return };
    let mut probs = logits.clone();
    divide(&mut probs, meta.temperature);
    probs.chunks_exact_mut(n_classes).for_each(softmax_in_place);
    let rows = || probs.chunks_exact(n_classes).zip(targets);
    let mut statistics = Statistics::default();
    let (inputs, classes): (Vec<f64>, Vec<u32>) = now
        .map(|example| {
            statistics.take(&example.values, profile.input.channels());
            // The class of its answer, if that is right.
            (profile.input.signal(&statistics), example.class)
        })
        .unzip();
    refer(profile, INPUT, &inputs, &classes);
    let (confidences, answers): (Vec<f64>, Vec<u32>) =
        rows().map(|(p, _)| (f64::from(p[argmax(p)]), argmax(p) as u32)).unzip();
    refer(profile, CONFIDENCE, &confidences, &answers);
    if targets.len() < FEWEST_WINDOWS {
        return;
    }
    let right = rows().filter(|(p, target)| argmax(p) as u32 == **target).count();
    profile.accuracy = Some(right as f64 / targets.len() as f64);
    let scores: Vec<f64> =
        rows().map(|(p, &t)| (1.0 - f64::from(p[t as usize])).clamp(0.0, 1.0)).collect();
    if let (Some(sets), Ok(new)) = (&mut profile.conformal, Conformal::new(&scores)) {
        *sets = new;
    }
}

/// The temperature by which answers are, in the mean, as sure as they are right, if of two more windows one were: what
/// can be said where all are right, and no temperature has the least loss.
fn as_sure_as_right(n_classes: usize, logits: &[f32], targets: &[u32]) -> f64 {
    let rows = logits.chunks_exact(n_classes).zip(targets);
    let right = rows.filter(|(logits, target)| argmax(logits) as u32 == **target).count();
    let share = (right as f64 + 1.0) / (targets.len() as f64 + 2.0);
    let sureness = |temperature: f64| {
        let mut probs = logits.to_vec();
        divide(&mut probs, Some(temperature));
        probs.chunks_exact_mut(n_classes).for_each(softmax_in_place);
        let of = probs.chunks_exact(n_classes).map(|p| f64::from(p[argmax(p)]));
        of.sum::<f64>() / targets.len() as f64
    };
    let (mut low, mut high) = (BOUNDS.0.ln(), BOUNDS.1.ln());
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if sureness(middle.exp()) > share { low = middle } else { high = middle }
    }
    f64::midpoint(low, high).exp().clamp(BOUNDS.0, BOUNDS.1)
}

/// Makes these values, with the class of each, what is usual of a signal; thresholds are of scores, and stay.
fn refer(profile: &mut Profile, signal: usize, values: &[f64], classes: &[u32]) {
    if values.len() < FEWEST {
        return;
    }
    // Where nothing varies all stays as it was.
    if let (Some(Some(scores)), Ok(new)) =
        (profile.scores.get_mut(signal), Scores::fit(values, classes))
    {
        *scores = new;
    }
}

/// Fewer values say nothing of what is usual.
const FEWEST: usize = 20;

/// Halvings of the range of the temperature's logarithm, whose length is 6.
const HALVINGS: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_are_all_right_are_hardly_surer_than_that() {
        // The second class by 1 or 2.
        let logits = [0.0, 1.0, 0.0, 2.0].repeat(10);
        let temperature = as_sure_as_right(2, &logits, &[1; 20]);
        let p = |logit: f64| 1.0 / (1.0 + (-logit / temperature).exp());
        let sure = f64::midpoint(p(1.0), p(2.0));
        assert!((sure - 21.0 / 22.0).abs() < 1e-5, "{temperature} {sure}");
        // The surer the model was by itself, the warmer.
        let logits: Vec<f32> = logits.iter().map(|logit| 10.0 * logit).collect();
        let warmer = as_sure_as_right(2, &logits, &[1; 20]);
        assert!((warmer / temperature - 10.0).abs() < 1e-3, "{warmer}");
    }
}
