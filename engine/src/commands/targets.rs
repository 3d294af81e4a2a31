//! What a command writes, held against what it reads before it begins.

use std::path::PathBuf;

use aggregate::Targets;

use crate::data::{DataConfig, data_files, files_behind};

/// Fails if an output is one of the data files behind some paths, what else is read for one of them, or a table
/// that tells of them.
pub(super) fn protect_data(
    targets: &Targets,
    paths: &[PathBuf],
    config: &DataConfig,
) -> anyhow::Result<()> {
    for file in data_files(paths, config.format)? {
        for input in files_behind(&file, config) {
            targets.protect(&input)?;
        }
    }
    for table in config.tables() {
        targets.protect(table)?;
    }
    Ok(())
}
