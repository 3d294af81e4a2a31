//! One node's weight file, and what it says of itself.

use std::path::PathBuf;

use crate::WeightFile;
use crate::reject::{Reason, Rejected};

/// Up to this many updates stay open from the checks to the sum; of more, each read opens its file.
pub const MAX_OPEN_FILES: usize = 128;

/// One node's weight file and what is known about it.
///
/// The caller reads node, base and weight from wherever it keeps them; a file of unknown origin has
/// neither node nor base.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The safetensors file, or the name of one in memory.
    pub path: PathBuf,
    /// The file if it is open already, or in memory; else it is opened by its path.
    pub file: Option<WeightFile>,
    /// Who made it, by its own word. Of two updates of one node none counts; files without a node
    /// are never taken for duplicates.
    pub node: Option<String>,
    /// The nodes whose updates were merged into it, if it is a merge: it does not count beside an
    /// update of one of them.
    pub merged: Vec<String>,
    /// Content hash of the model file it was trained from.
    pub base: Option<String>,
    /// Whether it may lack tensors of the base, which it then does not move. Without a base all
    /// updates must have the same tensors.
    pub partial: bool,
    /// Its weight in the mean, usually the number of examples: finite and at least 0. An update of
    /// weight 0 is checked and listed, and does not influence the result.
    pub weight: f64,
    /// How many nodes' updates are in it, if its weight is what it says of itself: such a claim is
    /// believed up to [`Rules::max_weight`](crate::Rules::max_weight). None if the weight is the
    /// caller's own word, which counts as it is.
    pub n_nodes: Option<u64>,
    /// How many versions its base is older than the base of the merge.
    pub age: u64,
    /// The length of its local training, for [`Reducer::Nova`](crate::Reducer::Nova): the number of
    /// steps, or what [`nova_steps`](crate::nova_steps) makes of it.
    pub steps: f64,
    /// Its loss at the model it started from, `F_k`, for [`Reducer::QFedAvg`](crate::Reducer::QFedAvg):
    /// finite and at least 0.
    pub loss: Option<f64>,
    /// The text of the `adapter_config.json` that belongs to it, for [`Adapters::Stack`](crate::Adapters::Stack);
    /// without it, that of the file of this name beside it, if there is one.
    pub adapter_config: Option<String>,
    /// Why the caller leaves it out, usually [`Reason::Refused`]; it is reported, and missing from
    /// the quorum.
    pub refused: Option<Reason>,
}

impl Update {
    /// An update of unknown origin that is open already, or in memory.
    ///
    /// What was looked at is then what is merged, whatever has its name meanwhile.
    pub fn of_file(file: WeightFile, weight: f64) -> Self {
        let path = file.path().to_owned();
        Self { file: Some(file), ..Self::new(path, weight) }
    }

    /// An update of unknown origin.
    pub fn new(path: impl Into<PathBuf>, weight: f64) -> Self {
        Self {
            path: path.into(),
            file: None,
            node: None,
            merged: Vec::new(),
            base: None,
            partial: false,
            weight,
            n_nodes: None,
            age: 0,
            steps: 1.0,
            loss: None,
            adapter_config: None,
            refused: None,
        }
    }

    /// Whether its path is only a name.
    pub(crate) fn is_nameless(&self) -> bool {
        self.file.as_ref().is_some_and(WeightFile::is_nameless)
    }

    /// The same, left out for a reason.
    pub(crate) fn reject(&self, reason: Reason) -> Rejected {
        Rejected { path: self.path.clone(), node: self.node.clone(), reason }
    }
}
