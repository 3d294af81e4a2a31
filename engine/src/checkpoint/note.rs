//! What a merge found out, as it is kept inside the merged file and printed as JSON.

use aggregate::{
    Admitted, Change, PrivacyReport, Reducer, Rejected, ServerStep, StackedAdapters, Summary,
};
use serde::{Deserialize, Serialize};

/// What a merge did with its updates. No paths and no times, so that equal merges give equal bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MergeNote {
    /// How updates became one.
    pub reduce: Reducer,
    /// How the center moved.
    pub server: ServerStep,
    /// Sum of the weights that were merged.
    pub weight: f64,
    /// How many nodes' updates there are in it, those within merged updates included.
    pub n_updates: u64,
    /// The updates that count, and then those that were refused.
    pub updates: Vec<UpdateNote>,
    /// Those of them that claimed more weight than is believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capped: Vec<CappedNote>,
    /// How far each float tensor moved.
    pub changes: Vec<ChangeNote>,
    /// What private merging guarantees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<PrivacyNote>,
    /// What came of adapters that were stacked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapters: Option<AdaptersNote>,
}

/// One update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateNote {
    /// The node, or a name for the content of a file of unknown origin.
    pub node: String,
    /// `merged`, or the kind of reason for which it was refused.
    pub verdict: String,
    /// What it weighs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// What it has in the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// How far it moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm: Option<f64>,
    /// How far from the result it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance: Option<f64>,
    /// Whether it moved as the result did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosine: Option<f64>,
}

/// An update whose claimed weight was capped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CappedNote {
    /// The node, or a name for the content of a file of unknown origin.
    pub node: String,
    /// The weight that it claims.
    pub claimed: f64,
    /// What of it counts.
    pub counted: f64,
}

/// How far a tensor moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeNote {
    /// Its name.
    pub tensor: String,
    /// Norm of the change.
    pub norm: Option<f64>,
    /// The same over the norm of the base's values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative: Option<f64>,
}

/// What private merging guarantees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PrivacyNote {
    /// Every node is `(epsilon, delta)`-private; none if there is next to no noise.
    pub epsilon: Option<f64>,
    /// As asked for.
    pub delta: f64,
    /// Rounds that were counted.
    pub rounds: u64,
    /// The norm that changes were clipped to.
    pub clip_norm: f64,
    /// Deviation of the noise on each value of the mean.
    pub noise_std: f64,
}

/// Adapters that were stacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdaptersNote {
    /// By whose names the factors are called: `peft`, `kohya`, `loralib`, `mlx` or `mixed`.
    pub kind: String,
    /// How many pairs of factors there are.
    pub pairs: u64,
    /// The largest rank of a pair.
    pub rank: u64,
    /// By which alpha a pair of that rank has the scale 1; none if the updates did not say theirs.
    pub alpha: Option<u64>,
    /// Hash of the `adapter_config.json` that was written beside it, by which it is known again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

impl AdaptersNote {
    fn of(stacked: &StackedAdapters) -> Self {
        Self {
            kind: stacked.kind.to_string(),
            pairs: stacked.pairs,
            rank: stacked.rank,
            alpha: stacked.alpha,
            config: stacked
                .config
                .as_ref()
                .map(|text| blake3::hash(text.as_bytes()).to_hex().to_string()),
        }
    }
}

impl MergeNote {
    /// The note of a merge of `n_updates` nodes' updates.
    pub(crate) fn of(summary: &Summary, n_updates: u64) -> Self {
        let name = |a: &Admitted| a.node.clone().unwrap_or_else(|| short(&a.fingerprint));
        let admitted = summary.admitted.iter().map(|a| UpdateNote {
            node: name(a),
            verdict: "merged".to_owned(),
            weight: Some(a.counted),
            share: rounded(Some(a.share)),
            norm: rounded(a.norm),
            distance: rounded(a.distance),
            cosine: rounded(a.cosine),
        });
        let capped = summary.admitted.iter().filter(|a| a.counted < a.weight);
        let capped =
            capped.map(|a| CappedNote { node: name(a), claimed: a.weight, counted: a.counted });
        // Of a refused file of unknown origin nothing is known but its path.
        let refused = summary.rejected.iter().map(refused);
        let changes = summary.changes.iter().map(|Change { tensor, norm, relative }| ChangeNote {
            tensor: tensor.clone(),
            norm: rounded(Some(*norm)),
            relative: rounded(*relative),
        });
        Self {
            reduce: summary.reducer,
            server: summary.server_step,
            weight: summary.total_weight.min(f64::MAX),
            n_updates,
            // Who took part is what private merging hides.
            updates: match summary.privacy {
                Some(_) => Vec::new(),
                None => admitted.chain(refused).collect(),
            },
            // Private merging caps nothing.
            capped: capped.collect(),
            changes: changes.collect(),
            privacy: summary.privacy.map(PrivacyNote::of),
            adapters: summary.adapters.as_ref().map(AdaptersNote::of),
        }
    }
}

impl PrivacyNote {
    fn of(report: PrivacyReport) -> Self {
        let PrivacyReport { epsilon, delta, rounds, clip_norm, noise_std, .. } = report;
        let epsilon = Some(epsilon).filter(|e| e.is_finite());
        Self { epsilon, delta, rounds, clip_norm, noise_std }
    }
}

fn refused(rejected: &Rejected) -> UpdateNote {
    UpdateNote {
        node: rejected.node.clone().unwrap_or_else(|| "unknown".to_owned()),
        verdict: rejected.reason.kind().to_owned(),
        weight: None,
        share: None,
        norm: None,
        distance: None,
        cosine: None,
    }
}

/// Enough of a hash to tell files apart.
pub(super) fn short(hash: &str) -> String {
    hash.chars().take(16).collect()
}

/// Six digits: what a report needs, in a third of the room. None of what JSON cannot write.
fn rounded(value: Option<f64>) -> Option<f64> {
    format!("{:.5e}", value.filter(|v| v.is_finite())?).parse().ok()
}
