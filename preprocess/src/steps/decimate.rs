//! Every n-th row is kept, after a filter.

use serde::{Deserialize, Serialize};

use crate::error::check_option;
use crate::sos::{Sos, SosFilter};
use crate::spec::Plain;
use crate::{Error, Latency, Rows, RowsRef, Stage, Step};

/// Keeps the first of every `factor` rows, after a low-pass that takes away what would return as a false
/// tone: a Chebyshev filter of type I, order 8, 0.05 dB of ripple, with its edge at 0.8 of half the new
/// rate, as `scipy.signal.decimate(x, factor, zero_phase=False)`.
///
/// The filter starts in its steady state at the first present value of each channel, as
/// `sosfilt(sos, x, zi=sosfilt_zi(sos)*x[0])`, where scipy's starts from 0 and so with a jump. It is causal:
/// rows keep their times, and what they say comes about `factor` rows late; a constant comes out 0.05 dB
/// lower (a factor of 0.9943), as with scipy. A missing value stays missing, and the filter goes on after it
/// as if it had not been there.
///
/// The rate may be unknown. For more than a factor of 12 put two of these steps one after the other.
///
/// ```
/// use preprocess::{Decimate, Pipeline, Rows, Stage};
///
/// let rows = Rows::of_series(1, Some(100.0), vec![1.0; 10]);
/// let configs = [Decimate { factor: 4 }.into()];
/// let pipeline = Pipeline::fit(&configs, &Stage::unnamed(1).at(100.0), vec![rows.clone()])?;
/// let out = pipeline.apply(rows.view())?;
/// assert_eq!(out.times(), [0.0, 0.04, 0.08]);
/// assert_eq!(pipeline.output().rate_hz, Some(25.0));
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decimate {
    /// How many rows become one, from 2 to 12.
    pub factor: usize,
}

const NAME: &str = "decimate";

impl Decimate {
    fn sos(self) -> Result<Sos, Error> {
        // Half the rate is 1.
        Sos::chebyshev_low_pass(8, 0.05, 0.8 / self.factor as f64, 2.0)
    }

    fn out_rate_hz(self, input: &Stage) -> Option<f64> {
        input.rate_hz.map(|rate_hz| rate_hz / self.factor as f64)
    }
}

impl Plain for Decimate {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        let is_good = (2..=12).contains(&self.factor);
        let accepted = "a whole number from 2 to 12; for more, put two decimate steps in a row";
        check_option(NAME, "factor", self.factor as f64, is_good, accepted)?;
        self.sos()?;
        Ok(Stage { names: input.names.clone(), rate_hz: self.out_rate_hz(input) })
    }

    fn keeps_rows(&self) -> bool {
        false
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        let sos = self.sos().expect("plan made the same filter");
        Box::new(Decimating {
            factor: self.factor,
            filter: SosFilter::new(&sos, input.channels()),
            since_kept: 0,
            filtered: Vec::new(),
            channels: input.channels(),
            rate_hz: self.out_rate_hz(input),
        })
    }
}

/// Decimation at work.
struct Decimating {
    factor: usize,
    filter: SosFilter,
    /// Rows since the last that was kept, that one counted; 0 where the next one is kept.
    since_kept: usize,
    filtered: Vec<f64>,
    channels: usize,
    rate_hz: Option<f64>,
}

impl Step for Decimating {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        self.filtered.clear();
        self.filtered.extend_from_slice(rows.values());
        self.filter.run(&mut self.filtered);
        let first = (self.factor - self.since_kept) % self.factor;
        let filtered = rows.times().iter().zip(self.filtered.chunks_exact(self.channels));
        for (&time, row) in filtered.skip(first).step_by(self.factor) {
            out.push(time, row);
        }
        self.since_kept = (self.since_kept + rows.len()) % self.factor;
    }

    fn finish(&mut self, _out: &mut Rows) {
        self.reset();
    }

    fn reset(&mut self) {
        self.filter.reset();
        self.since_kept = 0;
    }

    fn latency(&self) -> Latency {
        Latency::Rows(0)
    }

    fn out_channels(&self) -> usize {
        self.channels
    }

    fn out_rate_hz(&self) -> Option<f64> {
        self.rate_hz
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_checked() {
        let plan = |factor| Plain::plan(&Decimate { factor }, &Stage::unnamed(1));
        for factor in 2..=12 {
            assert_eq!(plan(factor).map(|stage| stage.rate_hz), Ok(None));
        }
        assert!(plan(0).is_err() && plan(1).is_err());
        let message = plan(13).expect_err("too many").to_string();
        assert!(message.contains("two decimate steps in a row"), "{message}");
    }

    #[test]
    fn tones_above_the_new_half_rate_are_gone() {
        let rate = 100.0;
        let tone = |hz: f64| {
            let wave = (0..2000).map(|i| (std::f64::consts::TAU * hz * f64::from(i) / rate).sin());
            let mut out = Rows::new(1);
            let mut step = Plain::start(&Decimate { factor: 5 }, &Stage::unnamed(1).at(rate));
            step.push(Rows::of_series(1, Some(rate), wave.collect()).view(), &mut out);
            assert_eq!(out.len(), 400);
            out.values()[200..].iter().fold(0.0_f64, |most, v| most.max(v.abs()))
        };
        assert!(tone(3.0) > 0.98 && tone(3.0) < 1.001);
        assert!(tone(17.0) < 1e-3, "{}", tone(17.0));
    }
}
