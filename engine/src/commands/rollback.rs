//! `edgectl rollback`: a node goes back to the model before.

use std::path::Path;

use crate::models::{BY_HAND, Models};
use crate::output::{Output, shown};

/// `edgectl rollback`: goes back to the model before.
pub(super) fn run(folder: &Path, output: Output) -> anyhow::Result<()> {
    let mut models = Models::open(folder)?;
    models.roll_back(None, BY_HAND)?;
    let deployment = models.deployment();
    let live = deployment.live.as_ref().map(|live| live.hash.as_str()).unwrap_or_default();
    let text = format!("{}: the live model is {live} again", shown(&folder.display().to_string()));
    output.result(deployment, &text)
}
