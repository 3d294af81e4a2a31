//! The median of each coordinate.

use super::rule::{Needs, Rule};
use crate::Error;
use crate::basis::Basis;
use crate::columns;
use crate::plan::{Columns, Plan};

/// The middle value of each coordinate; of an even number the mean of the middle two.
///
/// Yin et al., <https://arxiv.org/abs/1803.01498>.
#[derive(Debug)]
pub(crate) struct Median;

impl Rule for Median {
    fn name(&self) -> &'static str {
        "median"
    }

    fn needs(&self) -> Needs {
        Needs { buckets: true, ..Needs::default() }
    }

    fn plan(&self, basis: &Basis<'_>) -> Result<Plan, Error> {
        let groups = basis.groups.clone();
        Ok(Plan::Columns(Columns::new(groups, |_| columns::Rule::Median, basis.cohort)))
    }
}
