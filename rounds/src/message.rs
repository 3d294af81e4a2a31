//! What center and nodes tell each other.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hash::Hash;
use crate::key::PublicKey;
use crate::name::NodeId;
use crate::signed::Document;

/// A moment, in milliseconds since 1970 (UTC).
pub type UnixMs = u64;

/// The version of the protocol that this crate speaks.
pub const PROTOCOL: u32 = 1;

/// A blob of the store by its hash, with how many bytes it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    /// Of the bytes in the store.
    pub hash: Hash,
    /// How many they are.
    pub bytes: u64,
}

/// The first document of a store: what is trained here, and who the center is. Written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// 32 hexadecimal digits, at random, so that nothing of another job passes for one of this.
    pub job: String,
    /// Whose signature plans and results carry.
    pub center: PublicKey,
    /// How many rounds there will be.
    pub rounds: u32,
    /// The model that the first round starts from.
    pub model: BlobRef,
    /// When it was written.
    pub created: UnixMs,
}

/// What the center asks of the nodes in a round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`Job::job`].
    pub job: String,
    /// From 1; also its number in sequence: nodes go by the highest they have seen.
    pub round: u32,
    /// The document before: the last round's result, before the first round the job.
    pub previous: Hash,
    /// The model to start from.
    pub base: BlobRef,
    /// Who counts.
    pub roster: BlobRef,
    /// How many nodes that is.
    pub nodes: u32,
    /// With how many updates the round closes at its deadline.
    pub quorum: u32,
    /// When it was written.
    pub issued: UnixMs,
    /// When nodes should have sent.
    pub deadline: UnixMs,
    /// From when on it stands for nothing.
    pub expires: UnixMs,
    /// How updates are to be sent.
    pub encoding: Encoding,
    /// In asynchronous rounds: updates of nodes that started up to so many rounds before count too, and the round
    /// closes as soon as the quorum is there. Without it, all start from this round's model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u32>,
}

/// How an update is packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// The weight file, by zstd.
    #[default]
    Whole,
    /// The difference to the base as bf16, by zstd.
    Bf16,
    /// The difference to the base as int8 with a scale for every block, by zstd.
    Int8,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "whole",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

/// A node's word for its update, which exists from when this is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    /// [`Job::job`].
    pub job: String,
    /// Of which round.
    pub round: u32,
    /// Whose.
    pub node: NodeId,
    /// The model that it started from.
    pub base: Hash,
    /// The blob, as it is in the store.
    pub blob: BlobRef,
    /// What the blob holds when it is unpacked.
    pub unpacked: BlobRef,
    /// How it is packed.
    pub encoding: Encoding,
    /// What the node did.
    pub work: Work,
    /// When it was written.
    pub sent: UnixMs,
    /// From when on it stands for nothing: that of the plan.
    pub expires: UnixMs,
}

/// What became of a node's update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whose.
    pub node: NodeId,
    /// Hash of the commit's file, if there is one.
    pub commit: Option<Hash>,
    /// Why it does not count; none if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What the node says of its work, where its commit is sound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
    /// How many bytes it sent, and how they are packed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<(u64, Encoding)>,
    /// How many rounds before this one it started; 0 but in asynchronous rounds.
    #[serde(default, skip_serializing_if = "is_0")]
    pub age: u32,
}

// Documents stay as they were before there was an age.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_0(age: &u32) -> bool {
    *age == 0
}

/// What a node says of its training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// On how many windows it trained.
    pub examples: u64,
    /// How many steps it made.
    pub steps: u64,
    /// Whether its time was over before its work was done.
    pub partial: bool,
    /// Seconds that it took.
    pub seconds: f64,
    /// Windows a second that it trains on, as it measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
}

/// What closes a round; written once, so that of two centers one wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// [`Job::job`].
    pub job: String,
    /// Of which round.
    pub round: u32,
    /// The plan that it closes.
    pub previous: Hash,
    /// The model from now on: the merged one, or the plan's base where that was refused.
    pub model: BlobRef,
    /// What the center remembers from round to round, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<BlobRef>,
    /// Why the merged model was not taken; none if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Every update that was there, sorted by node.
    pub updates: Vec<Verdict>,
    /// What the center measured of the merged model, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// The same of the model that counts from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Metrics>,
    /// When it was written.
    pub closed: UnixMs,
}

/// How good a merged model is on the center's rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// On how many windows.
    pub n: u64,
    /// The share of right answers.
    pub accuracy: f64,
    /// Cross-entropy.
    pub loss: f64,
}

impl Outcome {
    /// How many updates were merged.
    pub fn merged(&self) -> usize {
        self.updates.iter().filter(|update| update.refused.is_none()).count()
    }
}

impl Document for Job {
    const KIND: &'static str = "job";
}

impl Document for Plan {
    const KIND: &'static str = "plan";
}

impl Document for Commit {
    const KIND: &'static str = "commit";
}

impl Document for Outcome {
    const KIND: &'static str = "result";
}
