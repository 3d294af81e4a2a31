//! `adapter_config.json` beside stacked adapters, without which PEFT does not load them.

use std::path::PathBuf;

use aggregate::{AdaptersFound, StackedAdapters, Targets, WeightFile, atomic_write, hash_file};
use anyhow::ensure;

use crate::cli::AggregateArgs;
use crate::federation::merge_note;

const NAME: &str = "adapter_config.json";

/// Where the configuration goes, if one stands beside an update that has its scale from it: in the
/// folder of the output. One that is there is replaced only if it came with the output that is there.
pub(super) fn declare(
    targets: &mut Targets,
    args: &AggregateArgs,
) -> anyhow::Result<Option<PathBuf>> {
    // Files that hold their scales themselves may lie in a folder with one of something else.
    let needs_one = |update: &PathBuf| {
        let file = WeightFile::open(update).ok();
        file.and_then(|file| AdaptersFound::of(file.tensors())).is_some_and(|a| a.needs_config)
    };
    let beside: Vec<PathBuf> = args
        .updates
        .iter()
        .map(|update| (update, update.with_file_name(NAME)))
        .filter(|(update, config)| config.exists() && needs_one(update))
        .map(|(_, config)| config)
        .collect();
    if beside.is_empty() {
        return Ok(None);
    }
    let path = args.out.with_file_name(NAME);
    targets.add(&path)?;
    beside.iter().try_for_each(|input| targets.protect(input))?;
    if path.exists() {
        let own = merge_note(&args.out).and_then(|note| note.adapters?.config);
        ensure!(
            own.is_some_and(|own| hash_file(&path).is_ok_and(|hash| hash == own)),
            "{}: the result needs a file of this name, and this one was not written with {}; give \
             --out a folder of its own, or remove the file",
            path.display(),
            args.out.display()
        );
    }
    Ok(Some(path))
}

/// Writes it, if the merge has made one.
pub(super) fn write(
    path: Option<PathBuf>,
    stacked: Option<&StackedAdapters>,
) -> anyhow::Result<Option<PathBuf>> {
    let text = stacked.and_then(|stacked| stacked.config.as_ref());
    let (Some(path), Some(text)) = (path, text) else { return Ok(None) };
    atomic_write(&path, text.as_bytes())?;
    Ok(Some(path))
}
