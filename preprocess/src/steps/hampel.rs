//! Outliers are replaced by the median of the rows around them.

use serde::{Deserialize, Serialize};

use crate::error::check_option;
use crate::order_filter::{OrderFilter, check_len};
use crate::spec::Plain;
use crate::{Error, Stage, Step};

/// Replaces a value by the median of the `len` rows around it where it lies more than
/// `n_sigmas·1.4826·MAD` from it; MAD is the median of how far these rows lie from their median (Hampel
/// 1974; Davies and Gather 1993).
///
/// Every other value passes unchanged. The first and the last row stand for those beyond the ends. A row
/// comes out `(len − 1)/2` rows late. Missing values do not count, and a missing value stays missing.
///
/// ```
/// use preprocess::{Hampel, Pipeline, Rows, Stage};
///
/// let hampel = Hampel { len: 5, n_sigmas: 3.0 };
/// let pipeline = Pipeline::fit(&[hampel.into()], &Stage::unnamed(1), vec![])?;
/// let series = Rows::of_series(1, None, vec![1.0, 1.1, 90.0, 1.2, 1.3]);
/// assert_eq!(pipeline.apply(series.view())?.values(), [1.0, 1.1, 1.2, 1.2, 1.3]);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hampel {
    /// Rows of the window: odd, 3 to 65535.
    pub len: usize,
    /// Standard deviations that a value may lie from the median: 0 or more.
    #[serde(default = "three")]
    pub n_sigmas: f64,
}

fn three() -> f64 {
    3.0
}

impl Plain for Hampel {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        check_len("hampel", self.len)?;
        let is_good = self.n_sigmas.is_finite() && self.n_sigmas >= 0.0;
        check_option("hampel", "n_sigmas", self.n_sigmas, is_good, "a finite number, 0 or more")?;
        Ok(input.clone())
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        OrderFilter::boxed(self.len, Some(self.n_sigmas), input)
    }
}
