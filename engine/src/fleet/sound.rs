//! Whether a model answers at all.

use attn_core::{Batch, Workspace};

use crate::checkpoint::Checkpoint;

/// Fails if a model's answers to some plain windows are not finite: its weights are, but far too large.
///
/// # Errors
/// With what it answers to.
pub(super) fn check_answers(model: &Checkpoint) -> anyhow::Result<()> {
    let config = model.encoder.config();
    let n = config.seq_len * config.channels;
    let mut answers = vec![0.0; config.task.n_outputs()];
    for value in [0.0, 1.0, -1.0] {
        let values: Vec<f32> =
            (0..n).map(|i| if i % 2 == 0 { value } else { 0.5 * value }).collect();
        let lengths = [config.seq_len];
        let window = Batch::new(config, &values, &lengths)?;
        model.encoder.forward(&model.params, &window, &mut Workspace::new(1), &mut answers);
        anyhow::ensure!(
            answers.iter().all(|answer| answer.is_finite()),
            "the model's answers are not finite, though its weights are"
        );
    }
    Ok(())
}

/// The beginning of what a node gave cause to say: it is kept for ever.
pub(super) fn short(reason: &str) -> String {
    const LONGEST: usize = 300;
    match reason.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
}

/// Whether somebody was told to stop while the store did not answer.
pub(super) fn is_stopped(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(rounds::Error::Stopped)))
}
