//! Projections: rows onto fewer channels, each a weighted sum of those that come in.

use crate::dispatch::vectorized;
use crate::error::check_option;
use crate::{Error, Latency, Rows, RowsRef, Stage, Step};

/// Channels that are made side by side, one register wide where registers are wide.
const LANES: usize = 8;
/// Rows that go through the weights together, so that additions need not wait for each other.
const ROWS: usize = 4;
/// Most channels that a projection makes.
const MOST_COMPONENTS: usize = 1 << 12;
/// Most weights that a projection has.
const MOST_WEIGHTS: usize = 1 << 24;

/// `y_k = Σ_c (x_c − center_c)·weight_kc`, at work. Where a value is missing, all that is made of its
/// row is.
pub(crate) struct Projection {
    center: Vec<f64>,
    /// `[groups, channels]` of lanes: the weights of the channels that are made together.
    weights: Vec<[f64; LANES]>,
    components: usize,
    rate_hz: Option<f64>,
}

impl Projection {
    /// A projection with a row of weights for each channel that it makes.
    pub(crate) fn boxed(center: Vec<f64>, rows: &[Vec<f64>], input: &Stage) -> Box<dyn Step> {
        let channels = center.len();
        let mut weights = vec![[0.0; LANES]; rows.len().div_ceil(LANES) * channels];
        for (component, row) in rows.iter().enumerate() {
            let group = &mut weights[component / LANES * channels..][..channels];
            group.iter_mut().zip(row).for_each(|(to, &v)| to[component % LANES] = v);
        }
        Box::new(Self { center, weights, components: rows.len(), rate_hz: input.rate_hz })
    }

    /// `N` rows; every row has its own sums, so that its neighbours change no bit of it.
    #[expect(clippy::inline_always, reason = "it is compiled for the processor of its caller")]
    #[inline(always)]
    fn project<const N: usize>(&self, rows: &[f64], out: &mut [f64]) {
        let channels = self.center.len();
        let rows: [&[f64]; N] =
            std::array::from_fn(|row| &rows[row * channels..(row + 1) * channels]);
        for (at, group) in self.weights.chunks_exact(channels).enumerate() {
            let mut sums = [[0.0; LANES]; N];
            for (channel, (weights, center)) in group.iter().zip(&self.center).enumerate() {
                for (sums, row) in sums.iter_mut().zip(rows) {
                    let x = row[channel] - center;
                    sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += x * weight);
                }
            }
            let made = at * LANES..self.components.min((at + 1) * LANES);
            for (out, sums) in out.chunks_exact_mut(self.components).zip(&sums) {
                let n = made.len();
                out[made.clone()].copy_from_slice(&sums[..n]);
            }
        }
    }
}

impl Step for Projection {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        let made = out.extend_zeroed(rows.times());
        let (channels, components) = (self.center.len(), self.components);
        vectorized(
            #[inline(always)]
            || {
                let mut from = rows.values().chunks_exact(ROWS * channels);
                let mut to = made.chunks_exact_mut(ROWS * components);
                for (from, to) in (&mut from).zip(&mut to) {
                    self.project::<ROWS>(from, to);
                }
                let rest = from.remainder().chunks_exact(channels);
                let to = to.into_remainder().chunks_exact_mut(components);
                for (from, to) in rest.zip(to) {
                    self.project::<1>(from, to);
                }
            },
        );
    }

    fn finish(&mut self, _out: &mut Rows) {}

    fn reset(&mut self) {}

    fn latency(&self) -> Latency {
        Latency::Rows(0)
    }

    fn out_channels(&self) -> usize {
        self.components
    }

    fn out_rate_hz(&self) -> Option<f64> {
        self.rate_hz
    }
}

/// Checks how many channels a projection makes; says what goes out: `PREFIX_0`, `PREFIX_1`, …
pub(crate) fn plan(
    step: &'static str,
    prefix: &str,
    components: usize,
    input: &Stage,
) -> Result<Stage, Error> {
    let channels = input.channels();
    let most = channels.min(MOST_COMPONENTS).min(MOST_WEIGHTS / channels.max(1));
    let accepted = (1..=most).contains(&components);
    let expected = format!("1 to {most} for {channels} channels");
    check_option(step, "components", components as f64, accepted, expected)?;
    let names = (0..components).map(|component| format!("{prefix}_{component}")).collect();
    Ok(Stage { names, rate_hz: input.rate_hz })
}
