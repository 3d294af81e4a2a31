//! A polynomial through the rows around each.

use serde::{Deserialize, Serialize};

use crate::around::Around;
use crate::dispatch::vectorized;
use crate::error::check_option;
use crate::polynomial::{MOST_DERIV, Polynomials};
use crate::spec::Plain;
use crate::{Error, Latency, Rows, RowsRef, Stage, Step};

/// The least-squares polynomial through the `len` rows around each row, there or its derivative, as
/// `scipy.signal.savgol_filter(x, len, order, deriv, mode="interp")` (Savitzky and Golay 1964).
///
/// The first and the last `(len − 1)/2` rows lie on the polynomial through the first and the last `len`
/// rows. A series shorter than `len`, which scipy refuses, lies on one polynomial through all its
/// rows, of an order of at most their number less one. Derivatives are per row: times
/// `rate_hz^deriv` they are per second.
///
/// A missing value makes all rows missing whose window has it: impute first. The first rows come out
/// when `len` rows have come in, later ones `(len − 1)/2` rows late.
///
/// ```
/// use preprocess::{Pipeline, Rows, SavitzkyGolay, Stage};
///
/// let slope = SavitzkyGolay { len: 5, order: 2, deriv: 1 };
/// let pipeline = Pipeline::fit(&[slope.into()], &Stage::unnamed(1), vec![])?;
/// let squares = Rows::of_series(1, None, (0..9).map(|t| f64::from(t * t)).collect());
/// for (t, slope) in pipeline.apply(squares.view())?.view().iter() {
///     assert!((slope[0] - 2.0 * t).abs() < 1e-12);
/// }
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavitzkyGolay {
    /// Rows of the window: odd, 3 to 65535.
    pub len: usize,
    /// Order of the polynomial: at most 12, less than `len`.
    pub order: usize,
    /// Which derivative: 0 for the value itself; at most 8.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deriv: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(deriv: &usize) -> bool {
    *deriv == 0
}

const NAME: &str = "savitzky-golay";
const MOST_ORDER: usize = 12;

impl Plain for SavitzkyGolay {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        let Self { len, order, deriv } = *self;
        crate::order_filter::check_len(NAME, len)?;
        let is_good = order <= MOST_ORDER && order < len;
        let accepted = format!("at most {MOST_ORDER} and less than len");
        check_option(NAME, "order", order as f64, is_good, accepted)?;
        let accepted = format!("at most {MOST_DERIV}");
        check_option(NAME, "deriv", deriv as f64, deriv <= MOST_DERIV, accepted)?;
        Ok(input.clone())
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        let Self { len, order, deriv } = *self;
        let polynomials = Polynomials::new(len, order);
        Box::new(Fitting {
            options: *self,
            weights: polynomials.weights(deriv),
            polynomials,
            around: Around::new(input.channels(), len / 2, false),
            rate_hz: input.rate_hz,
        })
    }
}

struct Fitting {
    options: SavitzkyGolay,
    polynomials: Polynomials,
    /// Of the rows of a window, for the one in the middle.
    weights: Vec<f64>,
    around: Around,
    rate_hz: Option<f64>,
}

impl Fitting {
    /// Rows at an edge, on the polynomial through all `rows`: from `first`, as many as there is room for.
    fn edge(&self, polynomials: &Polynomials, rows: &[f64], first: usize, to: &mut [f64]) {
        let channels = self.around.channels();
        for channel in 0..channels {
            let shares = polynomials.fit(rows.iter().skip(channel).step_by(channels).copied());
            for (at, to) in to.iter_mut().skip(channel).step_by(channels).enumerate() {
                *to = polynomials.value(&shares, first + at, self.options.deriv);
            }
        }
    }
}

impl Step for Fitting {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        self.around.extend(rows);
        let n_ready = self.around.n_ready();
        if n_ready == 0 {
            return;
        }
        let (len, channels) = (self.options.len, self.around.channels());
        if self.around.is_at_start() {
            let to = out.extend_zeroed(&self.around.times()[..len / 2]);
            self.edge(&self.polynomials, &self.around.windows()[..len * channels], 0, to);
            self.around.hand_on(len / 2, true);
        }
        let to = out.extend_zeroed(&self.around.times()[..n_ready]);
        weigh(self.around.windows(), channels, &self.weights, to);
        self.around.hand_on(n_ready, false);
    }

    fn finish(&mut self, out: &mut Rows) {
        let SavitzkyGolay { len, order, .. } = self.options;
        let rows = self.around.windows_and_one();
        let to = out.extend_zeroed(self.around.times());
        if self.around.is_at_start() {
            let all = Polynomials::new(self.around.times().len(), order);
            self.edge(&all, rows, 0, to);
        } else {
            self.edge(&self.polynomials, rows, len / 2 + 1, to);
        }
        self.reset();
    }

    fn reset(&mut self) {
        self.around.clear();
    }

    fn latency(&self) -> Latency {
        Latency::Rows(self.options.len - 1)
    }

    fn out_channels(&self) -> usize {
        self.around.channels()
    }

    fn out_rate_hz(&self) -> Option<f64> {
        self.rate_hz
    }
}

/// Sums of `weights` times the rows from each on. Values lie row by row: neighbours in memory are
/// summed side by side, whatever channels they are.
fn weigh(rows: &[f64], channels: usize, weights: &[f64], to: &mut [f64]) {
    const SIDE: usize = 16;
    vectorized(
        #[inline(always)]
        || {
            let (blocks, rest) = to.as_chunks_mut::<SIDE>();
            let done = blocks.len() * SIDE;
            for (block, to) in blocks.iter_mut().enumerate() {
                let mut sums = [0.0; SIDE];
                for (j, weight) in weights.iter().enumerate() {
                    let values = &rows[block * SIDE + j * channels..][..SIDE];
                    for (sum, value) in sums.iter_mut().zip(values) {
                        *sum += weight * value;
                    }
                }
                *to = sums;
            }
            for (j, weight) in weights.iter().enumerate() {
                for (to, value) in rest.iter_mut().zip(&rows[done + j * channels..]) {
                    *to += weight * value;
                }
            }
        },
    );
}
