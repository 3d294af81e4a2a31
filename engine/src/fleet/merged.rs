//! The merged model of a round, of all updates that count.

use std::fs;
use std::path::{Path, PathBuf};

use aggregate::{Rejected, Rules, SERVER_STATE};
use anyhow::Context;
use rounds::Metrics;

use super::bases::Bases;
use super::collect::Collected;
use super::sound::check_answers;
use crate::checkpoint::Checkpoint;
use crate::federation::{Merge, merge};

/// How good a model is.
pub type Measure<'a> = &'a dyn Fn(&Checkpoint) -> anyhow::Result<Metrics>;

/// A merged model with what the center remembers.
pub(super) struct Made {
    pub(super) model: Vec<u8>,
    pub(super) memory: Option<Vec<u8>>,
    pub(super) metrics: Option<Metrics>,
}

/// The merged model, or why there is none.
pub(super) fn merged(
    (folder, measure): (&Path, Option<Measure<'_>>),
    quorum: u32,
    (global, bases, rules): (&Path, &Bases<'_>, Rules),
    collected: &mut Collected,
) -> anyhow::Result<Result<Made, String>> {
    let out = folder.join("merged.safetensors");
    let quorum = quorum as usize;
    let merged = loop {
        let there = collected.files.len();
        if there < quorum {
            return Ok(Err(format!("{there} updates count, and the quorum is {quorum}")));
        }
        let paths: Vec<PathBuf> = collected.files.values().cloned().collect();
        let mut how = Merge::new(rules.clone(), Some(global), &out);
        let older = collected.older.iter().map(|hash| bases.file(*hash));
        how.options.older_bases = older.collect::<anyhow::Result<_>>()?;
        how.ages = collected.ages();
        match merge(&paths, &how) {
            Ok(merged) => break merged,
            // What this machine cannot do is its operator's to mend; the round stays open.
            Err(error) if is_of_this_machine(&error) => return Err(error),
            Err(error) => {
                for rejected in rejected(&error) {
                    collected.refuse(&rejected.path, &rejected.reason.to_string());
                }
                // Without those that it is about, it is tried again.
                if collected.files.len() == there {
                    return Ok(Err(format!("{error:#}")));
                }
            }
        }
    };
    for refused in &merged.refused {
        collected.refuse(&refused.file, &refused.reason);
    }
    collected.capped = merged.note.capped;
    let counted = collected.files.len();
    if counted < quorum {
        return Ok(Err(format!("{counted} updates count, and the quorum is {quorum}")));
    }
    let model = Checkpoint::read(&out)?;
    let measured =
        check_answers(&model).and_then(|()| measure.map(|measure| measure(&model)).transpose());
    let metrics = match measured {
        Ok(metrics) => metrics,
        Err(error) if is_of_this_machine(&error) => return Err(error),
        Err(error) => return Ok(Err(format!("{error:#}"))),
    };
    let read = |path: &Path| fs::read(path).with_context(|| format!("{}", path.display()));
    let state = SERVER_STATE.path(&out);
    let memory = state.exists().then(|| read(&state)).transpose()?;
    Ok(Ok(Made { model: read(&out)?, memory, metrics }))
}

/// The updates for which a merge failed, as far as it says.
fn rejected(error: &anyhow::Error) -> &[Rejected] {
    use aggregate::Error::{NothingAdmitted, Quorum, Rejected};
    match error.chain().find_map(|cause| cause.downcast_ref()) {
        Some(
            Quorum { rejected, .. } | NothingAdmitted { rejected } | Rejected { rejected, .. },
        ) => rejected,
        _ => &[],
    }
}

fn is_of_this_machine(error: &anyhow::Error) -> bool {
    error.chain().any(<dyn std::error::Error>::is::<std::io::Error>)
}
