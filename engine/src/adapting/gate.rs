//! Whether a model that was adapted may take the place of the one it comes from: by windows that neither was trained
//! on.

use std::sync::Arc;

use attn_core::{Batch, Encoder, Workspace};
use monitor::{argmax, log_softmax};
use serde::Serialize;

use super::example::Example;

/// Windows that are answered at once.
const AT_ONCE: usize = 8;

/// How many windows a model answers rightly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Score {
    /// So many.
    pub right: usize,
    /// Of so many.
    pub of: usize,
    /// Their mean cross-entropy; 0 of none.
    pub loss: f64,
}

/// What two models say of the same windows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gate {
    /// The model before, on windows of what was before.
    pub clean_before: Score,
    /// The new one on the same.
    pub clean: Score,
    /// The model before, on windows of what is now.
    pub fresh_before: Score,
    /// The new one on the same.
    pub fresh: Score,
    /// The model before, on windows of what is now that the new one was trained on.
    pub learned_before: Score,
    /// The new one on the same.
    pub learned: Score,
    /// Whether the windows of what is now are those that were trained on, as there were too few to set some apart.
    pub fresh_was_trained_on: bool,
}

/// The share of windows of what was before that may be lost.
const MAY_LOSE: f64 = 0.01;

/// A loss must be smaller by this factor where it alone speaks for the new model, so that what hardly changed is none
/// to try. Of the three to five windows that there often are it shows nothing yet: the trial beside the live model does.
const LESS: f64 = 0.9;

impl Score {
    /// Of these answers.
    fn of(logits: &[f32], n_outputs: usize, examples: &[Arc<Example>]) -> (Self, Vec<bool>) {
        let mut score = Self { right: 0, of: examples.len(), loss: 0.0 };
        let mut rights = Vec::with_capacity(examples.len());
        for (example, logits) in examples.iter().zip(logits.chunks_exact(n_outputs)) {
            let class = example.class as usize;
            rights.push(argmax(logits) == class);
            score.loss -= f64::from(log_softmax(logits)[class]) / examples.len() as f64;
        }
        score.right = rights.iter().filter(|right| **right).count();
        (score, rights)
    }

    /// The share, where there are windows.
    pub fn share(&self) -> Option<f64> {
        (self.of > 0).then(|| self.right as f64 / self.of as f64)
    }
}

/// What weights say of windows whose classes are known.
#[derive(Debug)]
pub(super) struct Answers {
    /// How many they answer rightly.
    pub(super) score: Score,
    /// For which they are right.
    pub(super) rights: Vec<bool>,
    /// `[windows, outputs]`.
    pub(super) logits: Vec<f32>,
}

impl Answers {
    /// Of these weights, on these windows; nothing if `pause` says that it is to end.
    ///
    /// # Errors
    /// If a window does not fit the model.
    pub(super) fn of(
        encoder: &Encoder,
        params: &[f32],
        examples: &[Arc<Example>],
        pause: &mut dyn FnMut() -> bool,
    ) -> anyhow::Result<Option<Self>> {
        let n_outputs = encoder.config().task.n_outputs();
        let mut workspace = Workspace::new(1);
        let mut logits = vec![0.0; examples.len() * n_outputs];
        for (some, logits) in examples.chunks(AT_ONCE).zip(logits.chunks_mut(AT_ONCE * n_outputs)) {
            if !pause() {
                return Ok(None);
            }
            let values: Vec<f32> = some.iter().flat_map(|e| &e.values).copied().collect();
            let lengths: Vec<usize> =
                some.iter().map(|e| e.values.len() / encoder.config().channels).collect();
            let batch = Batch::new(encoder.config(), &values, &lengths)?;
            encoder.forward(params, &batch, &mut workspace, logits);
        }
        let (score, rights) = Score::of(&logits, n_outputs, examples);
        Ok(Some(Self { score, rights, logits }))
    }
}

impl Gate {
    /// Why the new model is not taken, if it is not: it must be better on what is now, by right answers, or with as many
    /// by a tenth of the loss, or by any part of it if it is right for more of what it was trained on, as of few windows
    /// all may be right; and lose at most one in a hundred windows of what was before, or a single one.
    pub fn refusal(&self) -> Option<String> {
        let Self { clean_before, clean, fresh_before, fresh, learned_before, learned, .. } = self;
        let lost = clean_before.right.saturating_sub(clean.right);
        if lost as f64 > (MAY_LOSE * clean.of as f64).max(1.0) {
            return Some(format!(
                "of {} windows from before {} are answered rightly instead of {}",
                clean.of, clean.right, clean_before.right
            ));
        }
        let less = if learned.right > learned_before.right { 1.0 } else { LESS };
        let is_surer = fresh.right == fresh_before.right && fresh.loss < less * fresh_before.loss;
        if fresh.right > fresh_before.right || is_surer {
            return None;
        }
        Some(match fresh.of {
            0 => "there is no labelled window of now to test it on".to_owned(),
            of => format!(
                "of {of} windows of now {} are answered rightly, and {} before, with the loss {:.4} and {:.4}",
                fresh.right, fresh_before.right, fresh.loss, fresh_before.loss
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(clean: (usize, usize, usize), fresh: (usize, usize, usize)) -> Option<String> {
        let score = |right, of| Score { right, of, loss: 1.0 };
        Gate {
            clean_before: score(clean.0, clean.2),
            clean: score(clean.1, clean.2),
            fresh_before: score(fresh.0, fresh.2),
            fresh: score(fresh.1, fresh.2),
            learned_before: score(0, 0),
            learned: score(0, 0),
            fresh_was_trained_on: false,
        }
        .refusal()
    }

    #[test]
    fn of_models_that_are_right_alike_the_surer_is_better() {
        let gate = |loss, learned| {
            let [before, fresh] = [0.5, loss].map(|loss| Score { right: 9, of: 9, loss });
            Gate {
                clean_before: before,
                clean: before,
                fresh_before: before,
                fresh,
                learned_before: before,
                learned: Score { right: learned, ..before },
                fresh_was_trained_on: false,
            }
        };
        assert_eq!(gate(0.44, 9).refusal(), None);
        for loss in [0.46, 0.5, 3.0, f64::NAN] {
            assert!(gate(loss, 9).refusal().is_some(), "{loss}");
        }
        // It was wrong for others of now.
        assert_eq!(gate(0.49, 10).refusal(), None);
        for loss in [0.5, 3.0, f64::NAN] {
            assert!(gate(loss, 10).refusal().is_some(), "{loss}");
        }
    }

    #[test]
    fn a_model_must_gain_and_may_hardly_lose() {
        assert_eq!(refusal((90, 90, 100), (3, 9, 10)), None);
        assert_eq!(refusal((90, 89, 100), (3, 4, 10)), None, "one window");
        assert_eq!(refusal((900, 890, 1000), (3, 4, 10)), None, "a point");
        for (clean, fresh, part) in [
            ((90, 88, 100), (3, 9, 10), "before"),
            ((900, 889, 1000), (3, 9, 10), "before"),
            ((90, 95, 100), (3, 3, 10), "of now"),
            ((90, 95, 100), (3, 2, 10), "of now"),
            ((90, 95, 100), (0, 0, 0), "no labelled window"),
        ] {
            let reason = refusal(clean, fresh).expect("refused");
            assert!(reason.contains(part), "{reason}");
        }
    }
}
