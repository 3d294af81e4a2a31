//! Frequencies pass or not: a Butterworth filter.

use serde::{Deserialize, Serialize};

use crate::sos::{Band, Filtering, Sos};
use crate::spec::Plain;
use crate::{Error, Stage, Step};

/// A Butterworth filter: the flattest response in what passes (Butterworth 1930), designed as
/// `scipy.signal.butter(order, cutoff_hz, band, fs=rate, output="sos")`.
///
/// As rows come it is `sosfilt(sos, x, zi=sosfilt_zi(sos)*x[0])`: it starts as if the first value had been
/// there forever, so that nothing jumps at the start, and delays what passes. With `zero_phase` it is
/// `sosfiltfilt(sos, x)`: nothing is delayed and what does not pass is damped twice, but it needs the
/// whole series.
///
/// A missing value stays missing, and the filter goes on after it as if it had not been there. The sample
/// rate must be known.
///
/// ```
/// use preprocess::{Band, Butterworth, Pipeline, Rows, Stage};
///
/// let low_pass = Butterworth { zero_phase: true, ..Butterworth::low_pass(4, 5.0) };
/// let stage = Stage::unnamed(1).at(100.0);
/// let pipeline = Pipeline::fit(&[low_pass.into()], &stage, vec![])?;
/// // A slow wave, and a fast one that goes.
/// let wave = |t: f64| (t * 6.0).sin();
/// let values = (0..300).map(|i| f64::from(i) / 100.0).map(|t| wave(t) + 0.5 * (t * 200.0).sin());
/// let series = Rows::of_series(1, Some(100.0), values.collect());
/// let smooth = pipeline.apply(series.view())?;
/// for (t, row) in smooth.view().iter().skip(50).take(200) {
///     assert!((row[0] - wave(t)).abs() < 1e-3);
/// }
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Butterworth {
    /// Which frequencies pass.
    pub band: Band,
    /// 1 to 12: the damping grows by 6 dB an octave for each. A band-pass has as much on each side.
    pub order: usize,
    /// Where the damping is 3 dB (6 dB if `zero_phase`), in Hz, more than 0 and less than half the
    /// rate: one, or two for a band-pass.
    pub cutoff_hz: Vec<f64>,
    /// Whether it runs forwards and backwards over the whole series.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub zero_phase: bool,
}

impl Butterworth {
    /// What is below a cut-off passes, as rows come.
    pub fn low_pass(order: usize, cutoff_hz: f64) -> Self {
        Self { band: Band::LowPass, order, cutoff_hz: vec![cutoff_hz], zero_phase: false }
    }

    /// What is above a cut-off passes, as rows come.
    pub fn high_pass(order: usize, cutoff_hz: f64) -> Self {
        Self { band: Band::HighPass, order, cutoff_hz: vec![cutoff_hz], zero_phase: false }
    }

    /// What is between two cut-offs passes, as rows come.
    pub fn band_pass(order: usize, low_hz: f64, high_hz: f64) -> Self {
        Self { band: Band::BandPass, order, cutoff_hz: vec![low_hz, high_hz], zero_phase: false }
    }

    fn design(&self, input: &Stage) -> Result<Sos, Error> {
        let no_rate = Error::NoRate { step: "butterworth", option: "cutoff_hz" };
        Sos::butterworth(self.band, self.order, &self.cutoff_hz, input.rate_hz.ok_or(no_rate)?)
    }
}

impl Plain for Butterworth {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        self.design(input)?;
        Ok(input.clone())
    }

    fn on_a_stream(&self) -> &'static str {
        "set zero_phase = false"
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        let sos = self.design(input).expect("plan has checked the options");
        Filtering::boxed(sos, self.zero_phase, input)
    }
}
