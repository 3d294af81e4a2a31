//! What statistics are of: which steps, and what the rows had passed.

use serde::{Deserialize, Serialize};

use crate::known::Wanted;
use crate::stats::Needs;
use crate::{Error, Pipeline, StepConfig};

/// What statistics are of: the steps to fit, and those that the rows had passed.
///
/// It stands beside the numbers in a file, as JSON; nodes' statistics are merged only if it is the
/// same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// All steps of the pipeline.
    pub configs: Vec<StepConfig>,
    /// The steps that the rows had passed, with the channels and the rate that came in.
    pub fitted: Pipeline,
}

impl Scope {
    /// Fails, and says what differs, unless the other is the same.
    pub(crate) fn check_same(&self, other: &Self) -> Result<(), Error> {
        let (ours, theirs) = (self.fitted.input(), other.fitted.input());
        let what = if ours.names != theirs.names {
            format!("the channels are {:?} here and {:?} there", ours.names, theirs.names)
        } else if ours.rate_hz != theirs.rate_hz {
            let rate =
                |rate: Option<f64>| rate.map_or("unknown".to_owned(), |hz| format!("{hz} Hz"));
            format!(
                "the sample rate is {} here and {} there; give [data] sample_rate_hz",
                rate(ours.rate_hz),
                rate(theirs.rate_hz)
            )
        } else if self.configs != other.configs {
            "the steps of preprocessing differ".to_owned()
        } else if self.fitted.steps().len() != other.fitted.steps().len() {
            let (ours, theirs) = (self.fitted.steps().len(), other.fitted.steps().len());
            format!("they are for step {theirs}, and those for step {ours} are due")
        } else if self != other {
            "the steps before were fitted otherwise".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::Statistics { what })
    }

    /// Which statistics there are.
    pub(crate) fn wanted(&self) -> Wanted {
        let next = &self.configs[self.fitted.steps().len()..];
        Wanted::by(next, self.fitted.output().channels())
    }

    /// The channels of which it is known how they vary together, if not all: those of a step that is
    /// the first to be fitted, as it leaves out rows that miss something of them, and no others.
    pub(crate) fn together(&self) -> Result<Option<Vec<usize>>, Error> {
        match self.configs.get(self.fitted.steps().len()) {
            Some(next) if next.kind.needs() == Needs::Covariance => {
                Ok(self.fitted.next_input(next)?.0)
            }
            _ => Ok(None),
        }
    }
}
