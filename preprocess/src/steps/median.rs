//! The median of the rows around each.

use serde::{Deserialize, Serialize};

use crate::order_filter::{OrderFilter, check_len};
use crate::spec::Plain;
use crate::{Error, Stage, Step};

/// The median of the `len` rows around each row, channel by channel, as
/// `scipy.ndimage.median_filter(x, size=(len, 1), mode="nearest")`: the first and the last row stand for
/// those beyond the ends.
///
/// It takes out peaks of less than half its length and keeps edges. A row comes out `(len − 1)/2` rows
/// late. Missing values do not count (of an even number of values the median is the mean of
/// the two in the middle), and a missing value stays missing.
///
/// ```
/// use preprocess::{Median, Pipeline, Rows, Stage};
///
/// let pipeline = Pipeline::fit(&[Median { len: 3 }.into()], &Stage::unnamed(1), vec![])?;
/// let series = Rows::of_series(1, None, vec![1.0, 1.1, 90.0, 1.2, 1.3]);
/// assert_eq!(pipeline.apply(series.view())?.values(), [1.0, 1.1, 1.2, 1.3, 1.3]);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Median {
    /// Rows of the window: odd, 3 to 65535.
    pub len: usize,
}

impl Plain for Median {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        check_len("median", self.len)?;
        Ok(input.clone())
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        OrderFilter::boxed(self.len, None, input)
    }
}
