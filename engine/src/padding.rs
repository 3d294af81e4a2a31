//! Windows that do not divide into tokens.

use crate::checkpoint::{Checkpoint, stand_in};
use crate::data::Dataset;
use crate::windows::row_counts;

/// What is to be said of windows whose last token is filled up with zeros, as `patch_len` does not divide
/// their length; nothing if there are none.
///
/// # Errors
/// If a value is infinite.
pub fn padding(
    checkpoint: &Checkpoint,
    dataset: &Dataset,
    segments: &[usize],
) -> anyhow::Result<Option<String>> {
    let meta = &checkpoint.meta;
    let patch_len = meta.model.patch_len;
    if patch_len < 2 {
        return Ok(None);
    }
    let lens = if let Some(len) = meta.run.window().len {
        vec![len]
    } else {
        let pipeline = stand_in(&meta.preprocess, dataset, segments)?;
        row_counts(dataset, &pipeline, segments)?
    };
    Ok(said(&lens, patch_len))
}

fn said(lens: &[usize], patch_len: usize) -> Option<String> {
    let padded: Vec<usize> =
        lens.iter().copied().filter(|len| !len.is_multiple_of(patch_len)).collect();
    let &len = padded.first()?;
    if padded.len() == lens.len() && padded.iter().all(|&other| other == len) {
        let rest = patch_len - len % patch_len;
        return Some(format!(
            "windows of {len} steps are padded with {rest} of zeros to {}, as [model] patch_len = {patch_len} \
             does not divide {len}",
            len + rest
        ));
    }
    Some(format!(
        "{} of {} series, each a window, are padded with steps of zeros (the first, of {len} steps, with {}), \
         as [model] patch_len = {patch_len} does not divide their lengths",
        padded.len(),
        lens.len(),
        patch_len - len % patch_len
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_numbers_and_the_padded_steps_are_said() {
        assert_eq!(said(&[48, 16], 8), None);
        assert_eq!(said(&[], 8), None);
        assert_eq!(
            said(&[50, 50], 8).as_deref(),
            Some(
                "windows of 50 steps are padded with 6 of zeros to 56, as [model] patch_len = 8 does not \
                 divide 50"
            )
        );
        let several = said(&[16, 7, 9], 8).expect("two are padded");
        assert!(
            several.contains("2 of 3 series") && several.contains("of 7 steps, with 1)"),
            "{several}"
        );
    }
}
