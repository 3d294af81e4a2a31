//! Settings by search: candidates, trained on parts of the training rows and measured on the others.

mod candidate;
mod gain;
mod job_text;
mod ledger;
mod plan;
mod propose;
mod search;
mod space;
mod state;
mod trials;

pub use candidate::Candidate;
pub use gain::Gain;
pub use job_text::{Remark, job_text};
pub use ledger::{Ledger, Scores};
pub use plan::{Search, SearchProgress};
pub use search::{Ended, Finalist, Found, Kept, search};
pub use space::{Change, Choice, Dimension, Facts, Space};
pub use trials::{Limits, Part, Trials};
