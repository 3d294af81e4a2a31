//! What a command writes, held against what it reads before it begins.

use std::path::PathBuf;

use aggregate::Targets;

use crate::data::{Format, data_files};

/// Fails if an output is one of the data files behind some paths.
pub(super) fn protect_data(
    targets: &Targets,
    paths: &[PathBuf],
    format: Format,
) -> anyhow::Result<()> {
    for file in data_files(paths, format)? {
        targets.protect(&file)?;
    }
    Ok(())
}
