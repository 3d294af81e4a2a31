//! One frequency is taken out.

use serde::{Deserialize, Serialize};

use crate::sos::{Filtering, Sos};
use crate::spec::Plain;
use crate::{Error, Stage, Step};

/// Takes out one frequency, such as the hum of the mains, as `scipy.signal.iirnotch(freq_hz, q, fs=rate)`
/// in one second-order section.
///
/// It starts, goes over missing values and runs with `zero_phase` as [`Butterworth`](crate::Butterworth)
/// does. The sample rate must be known.
///
/// ```
/// use preprocess::{Notch, Pipeline, Rows, Stage};
///
/// let stage = Stage::unnamed(1).at(500.0);
/// let pipeline = Pipeline::fit(&[Notch::at(50.0).into()], &stage, vec![])?;
/// let hum = |i: i32| 3.0 + (f64::from(i) / 500.0 * 50.0 * std::f64::consts::TAU).sin();
/// let series = Rows::of_series(1, Some(500.0), (0..2000).map(hum).collect());
/// let clean = pipeline.apply(series.view())?;
/// assert!((clean.values()[1999] - 3.0).abs() < 1e-3);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notch {
    /// The frequency in Hz, more than 0 and less than half the rate.
    pub freq_hz: f64,
    /// The frequency over the width of what is damped by 3 dB and more: above 0.
    #[serde(default = "thirty")]
    pub q: f64,
    /// Whether it runs forwards and backwards over the whole series.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub zero_phase: bool,
}

fn thirty() -> f64 {
    30.0
}

impl Notch {
    /// Takes out a frequency with `q` = 30, as rows come.
    pub fn at(freq_hz: f64) -> Self {
        Self { freq_hz, q: thirty(), zero_phase: false }
    }

    fn design(&self, input: &Stage) -> Result<Sos, Error> {
        let no_rate = Error::NoRate { step: "notch", option: "freq_hz" };
        Sos::notch(self.freq_hz, self.q, input.rate_hz.ok_or(no_rate)?)
    }
}

impl Plain for Notch {
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
