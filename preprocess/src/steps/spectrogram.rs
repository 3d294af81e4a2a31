//! The spectrum of one short frame after the other.

use serde::{Deserialize, Serialize};

use crate::spec::Plain;
use crate::stft::{FLOOR_DB, Frames, Render, Spectra, SpectrumWindow, check_floor, in_db, in_hz};
use crate::{Error, Stage, Step};

/// What a [`Spectrogram`] says of each frequency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpectrumScale {
    /// `10·log₁₀(power)`, in dB, at least `floor_db`.
    #[default]
    Log,
    /// Power density, in squared units per Hz; both sides of the spectrum in one.
    Power,
    /// Magnitude, in units per √Hz, of one side of the spectrum.
    Magnitude,
}

/// The spectrum of frames of `len` rows, one every `hop` rows: with rate `f` Hz
///
/// ```text
/// scipy.signal.spectrogram(x, f, window, nperseg=len, noverlap=len-hop, detrend=False,
///                          scaling="density", mode="psd" or "magnitude", axis=0)
/// ```
///
/// that is `|FFT(window·x)|²/(f·Σ window²)`, doubled between 0 and f/2, and its root without the
/// doubling. Channels `NAME@0Hz`, `NAME@3.125Hz`, … to half the rate, `len/2 + 1` for each that comes in;
/// the rate is divided by `hop`.
///
/// The first frame begins with the series; what is left at its end and fills no frame is dropped. A frame
/// has the time of its middle row, number `len/2` from 0 (scipy's time, for an odd `len` half a row
/// earlier), and comes out when its last row is in. A frame that holds a missing value is missing, per
/// channel. The transform is the same on all processors as far as their sine and cosine are.
///
/// ```
/// use preprocess::{Pipeline, Rows, Spectrogram, Stage};
///
/// let configs = [Spectrogram { len: 8, hop: 4, ..Spectrogram::default() }.into()];
/// let pipeline = Pipeline::fit(&configs, &Stage::unnamed(1).at(100.0), vec![])?;
/// assert_eq!(pipeline.output().names[..2], ["dim_0@0Hz", "dim_0@12.5Hz"]);
/// assert_eq!(pipeline.output().rate_hz, Some(25.0));
///
/// let rows = Rows::of_series(1, Some(100.0), vec![1.0; 15]);
/// assert_eq!(pipeline.apply(rows.view())?.times(), [0.04, 0.08]);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spectrogram {
    /// Rows of a frame, from 2; a power of two is fastest.
    pub len: usize,
    /// Rows from the start of a frame to that of the next, from 1.
    pub hop: usize,
    /// What a frame is multiplied by.
    #[serde(default)]
    pub window: SpectrumWindow,
    /// What is said of each frequency.
    #[serde(default)]
    pub scale: SpectrumScale,
    /// The least that `log` says, in dB.
    #[serde(default = "floor")]
    pub floor_db: f64,
}

impl Default for Spectrogram {
    /// Frames of 256 rows that overlap by half, in dB.
    fn default() -> Self {
        Self {
            len: 256,
            hop: 128,
            window: SpectrumWindow::Hann,
            scale: SpectrumScale::Log,
            floor_db: FLOOR_DB,
        }
    }
}

fn floor() -> f64 {
    FLOOR_DB
}

const NAME: &str = "spectrogram";

impl Plain for Spectrogram {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        let frames = self.frames();
        let rate_hz = frames.check(NAME, input)?;
        check_floor(NAME, self.floor_db)?;
        let hz = |bin: usize| format!("{}Hz", in_hz(bin as f64 * rate_hz / self.len as f64));
        let suffixes: Vec<String> = (0..frames.n_bins()).map(hz).collect();
        frames.output(NAME, input, rate_hz, &suffixes)
    }

    fn keeps_rows(&self) -> bool {
        false
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        let render = Scaled { scale: self.scale, floor_db: self.floor_db, len: self.len };
        Spectra::boxed(self.frames(), render, self.frames().n_bins(), input)
    }
}

impl Spectrogram {
    fn frames(&self) -> Frames {
        Frames { len: self.len, hop: self.hop, window: self.window }
    }
}

struct Scaled {
    scale: SpectrumScale,
    floor_db: f64,
    len: usize,
}

impl Render for Scaled {
    fn render(&self, density: &[f64], out: &mut [f64]) {
        let pairs = out.iter_mut().zip(density);
        match self.scale {
            SpectrumScale::Log => pairs.for_each(|(to, &v)| *to = in_db(v, self.floor_db)),
            SpectrumScale::Power => pairs.for_each(|(to, &v)| *to = v),
            SpectrumScale::Magnitude => {
                for (bin, (to, &v)) in pairs.enumerate() {
                    let is_single = bin == 0 || 2 * bin == self.len;
                    *to = if is_single { v } else { 0.5 * v }.sqrt();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rows;

    #[test]
    fn a_sine_stands_in_its_bin_with_its_power() {
        let spec =
            Spectrogram { len: 64, hop: 64, scale: SpectrumScale::Power, ..Spectrogram::default() };
        let wave = |row: i32| 3.0 * (std::f64::consts::TAU * f64::from(row) / 8.0).sin();
        let rows = Rows::of_series(1, Some(64.0), (0..64).map(wave).collect());
        let mut step = spec.start(&Stage::unnamed(1).at(64.0));
        let mut out = Rows::new(33);
        step.push(rows.view(), &mut out);
        // Amplitude 3 has the power 4.5, over one bin and its two neighbours, 1 Hz apart.
        testkit::assert_close("power", &[out.values().iter().sum::<f64>()], &[4.5], 1e-12, 0.0);
        assert!(out.values()[8] > 2.9);
    }

    #[test]
    fn silence_has_a_floor_and_a_gap_is_missing_in_its_frames_only() {
        let spec = Spectrogram { len: 4, hop: 6, ..Spectrogram::default() };
        let mut values = vec![0.0; 28];
        values[13] = f64::NAN;
        let rows = Rows::of_series(2, Some(1.0), values);
        let mut step = spec.start(&Stage::unnamed(2).at(1.0));
        let mut out = Rows::new(6);
        step.push(rows.view(), &mut out);
        assert_eq!(out.times(), [2.0, 8.0]);
        assert!(out.values()[..9].iter().all(|&v| v.to_bits() == FLOOR_DB.to_bits()));
        assert!(out.values()[9..].iter().all(|v| v.is_nan()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let good = Spectrogram::default();
        let stage = Stage::unnamed(2).at(50.0);
        good.plan(&stage).unwrap();
        assert!(matches!(good.plan(&Stage::unnamed(2)), Err(Error::NoRate { .. })));
        for bad in [
            Spectrogram { len: 1, ..good },
            Spectrogram { len: 1 << 30, ..good },
            Spectrogram { len: 1 << 20, ..good },
            Spectrogram { hop: 0, ..good },
            Spectrogram { floor_db: f64::NAN, ..good },
            Spectrogram { floor_db: f64::NEG_INFINITY, ..good },
        ] {
            assert!(bad.plan(&stage).is_err(), "{bad:?}");
        }
    }
}
