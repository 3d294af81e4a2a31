//! What a command writes, held against what it reads before it begins.

use std::path::PathBuf;

use aggregate::Targets;

use crate::data::{DataConfig, data_files};

/// Fails if an output is one of the data files behind some paths, or a table that tells of them.
pub(super) fn protect_data(
    targets: &Targets,
    paths: &[PathBuf],
    config: &DataConfig,
) -> anyhow::Result<()> {
    for file in data_files(paths, config.format)? {
        targets.protect(&file)?;
    }
    for table in config.tables() {
        targets.protect(table)?;
    }
    Ok(())
}
