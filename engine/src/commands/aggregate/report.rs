//! What a merge tells: as JSON, and as text.

use std::path::PathBuf;

use aggregate::{Reducer, ServerStep, Spent};
use serde::Serialize;

use crate::checkpoint::{AdaptersNote, CappedNote, ChangeNote, PrivacyNote, UpdateNote};
use crate::federation::Refused;
use crate::output::{shown, table};

/// Most rows of a table that people read; JSON has all.
const MAX_ROWS: usize = 20;

/// The JSON.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) out: String,
    pub(super) inputs: usize,
    pub(super) rejected: Vec<Refused>,
    pub(super) strategy: String,
    pub(super) tensors: u64,
    pub(super) parameters: u64,
    pub(super) bytes_read: u64,
    pub(super) reduce: Reducer,
    pub(super) server: ServerStep,
    /// Sum of the weights, and how many nodes' updates they are.
    pub(super) weight: f64,
    pub(super) n_updates: u64,
    /// The updates that count, and then those that were refused for what is in them.
    pub(super) updates: Vec<UpdateReport>,
    /// Those that claimed more weight than is believed.
    pub(super) capped: Vec<CappedReport>,
    pub(super) changes: Vec<ChangeNote>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) privacy: Option<PrivacyNote>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) adapters: Option<AdaptersReport>,
    /// Files that were moved away.
    pub(super) quarantined: Vec<String>,
    /// Bytes of all buffers for values.
    pub(super) buffer_bytes: u64,
    /// Where the time of all threads went.
    #[serde(flatten)]
    pub(super) spent: Spent,
    pub(super) wall_s: f64,
    pub(super) peak_rss_bytes: Option<u64>,
}

/// Adapters that were stacked.
#[derive(Serialize)]
pub(super) struct AdaptersReport {
    kind: String,
    pairs: u64,
    rank: u64,
    alpha: Option<u64>,
    /// The `adapter_config.json` that was written.
    config: Option<String>,
}

impl AdaptersReport {
    pub(super) fn new(note: AdaptersNote, config: Option<PathBuf>) -> Self {
        let AdaptersNote { kind, pairs, rank, alpha, .. } = note;
        Self { kind, pairs, rank, alpha, config: config.map(|path| path.display().to_string()) }
    }
}

/// An update, by its file.
#[derive(Serialize)]
pub(super) struct UpdateReport {
    pub(super) path: String,
    #[serde(flatten)]
    pub(super) note: UpdateNote,
}

/// An update whose claimed weight was capped, by its file.
#[derive(Serialize)]
pub(super) struct CappedReport {
    pub(super) path: String,
    #[serde(flatten)]
    pub(super) note: CappedNote,
}

/// The text for people.
pub(super) fn text(report: &Report) -> String {
    let mut text = format!(
        "{}: {} of {} updates merged ({}), {} parameters in {} tensors",
        shown(&report.out),
        report.inputs - report.rejected.len(),
        report.inputs,
        shown(&report.strategy),
        report.parameters,
        report.tensors
    );
    for rejected in &report.rejected {
        text += &format!("\nrefused: {}: {}", shown(&rejected.path), shown(&rejected.reason));
    }
    for CappedReport { path, note } in &report.capped {
        text += &format!(
            "\ncapped: {}: claims weight {}, {} counts (--max-weight)",
            shown(path),
            note.claimed,
            note.counted
        );
    }
    if let Some(AdaptersReport { kind, pairs, rank, alpha, config }) = &report.adapters {
        text += &format!("\nadapters: {pairs} pairs ({kind}), stacked to rank {rank}; ");
        text += &match (alpha, config) {
            (Some(_), Some(path)) => format!("load with {}", shown(path)),
            (Some(alpha), None) => format!("alpha {alpha}, so that the scale is 1"),
            (None, _) => "no adapter_config.json stood beside the updates: load with lora_alpha = \
                          rank times the scale that all of them have"
                .to_owned(),
        };
    }
    for path in &report.quarantined {
        text += &format!("\nmoved to {}", shown(path));
    }
    if let Some(privacy) = &report.privacy {
        let epsilon = privacy.epsilon.map_or("no".to_owned(), |e| format!("{e:.3}"));
        text += &format!(
            "\nprivate: epsilon {epsilon} at delta {:e} after {} rounds; clipped to {:.4}",
            privacy.delta, privacy.rounds, privacy.clip_norm
        );
    }
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.4}"));
    let merged: Vec<_> = report.updates.iter().filter(|u| u.note.verdict == "merged").collect();
    let rows: Vec<Vec<String>> = merged
        .iter()
        .take(MAX_ROWS)
        .map(|UpdateReport { path, note: u }| {
            let weight = u.weight.map_or("-".to_owned(), |w| format!("{w}"));
            let measured = [u.share, u.norm, u.distance, u.cosine].map(number);
            [path.clone(), weight].into_iter().chain(measured).collect()
        })
        .collect();
    let header = ["update", "weight", "share", "moved", "from result", "cosine"];
    text += &format!("\n\n{}", table(&header, &rows));
    if merged.len() > MAX_ROWS {
        text += &format!("\nand {} more (--json has all)", merged.len() - MAX_ROWS);
    }
    let mut changes: Vec<_> = report.changes.iter().collect();
    let size = |c: &ChangeNote| c.relative.or(c.norm).unwrap_or(0.0);
    changes.sort_by(|a, b| size(b).total_cmp(&size(a)));
    let largest = changes
        .iter()
        .take(3)
        .filter(|c| c.relative.is_some())
        .map(|c| format!("{} {:.2} %", shown(&c.tensor), 100.0 * c.relative.unwrap_or(0.0)));
    let largest: Vec<String> = largest.collect();
    if !largest.is_empty() {
        text += &format!("\n\nmoved most: {}", largest.join(", "));
    }
    text
}
