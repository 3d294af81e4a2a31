//! `edgectl promote`: a candidate becomes live, whatever it has shown so far.

use std::path::Path;

use crate::models::Models;
use crate::output::{Output, shown};

/// `edgectl promote`: makes the candidate live.
pub(super) fn run(folder: &Path, output: Output) -> anyhow::Result<()> {
    let mut models = Models::open(folder)?;
    let live = models.promote(None, true)?;
    let text = format!(
        "{}: the live model is now {} of round {}",
        shown(&folder.display().to_string()),
        live.hash,
        live.round
    );
    output.result(models.deployment(), &text)
}
