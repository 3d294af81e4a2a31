//! Power within bands of frequency, frame by frame.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::check_option;
use crate::spec::Plain;
use crate::stft::{FLOOR_DB, Frames, Render, Spectra, SpectrumWindow, check_floor, in_db, in_hz};
use crate::{Error, Stage, Step};

/// Most bands.
const MOST_BANDS: usize = 1 << 10;

/// The power of each channel within bands of frequency, over frames of `len` rows, one every `hop` rows:
/// the sum of the power densities at `low ≤ f < high`, times `rate/len`. A band that ends at half the rate
/// takes in that frequency too, so that bands without gaps add up to the power of the windowed frame.
///
/// With `S` the [`Spectrogram`](crate::Spectrogram) of scale `power` this is
/// `S[(f >= low) & (f < high)].sum(axis=0) * (f[1] - f[0])`, in squared units, and `10·log₁₀` of it where
/// `log`. Frames, their times and missing values are those of the spectrogram. Channels `NAME@0.5-4Hz`,
/// one for each band; the rate is divided by `hop`.
///
/// ```
/// use preprocess::{BandPower, Pipeline, Stage};
///
/// let alpha_and_beta =
///     BandPower { bands_hz: vec![[8.0, 13.0], [13.0, 30.0]], ..BandPower::of_frames(128, 64) };
/// let pipeline = Pipeline::fit(&[alpha_and_beta.into()], &Stage::unnamed(1).at(128.0), vec![])?;
/// assert_eq!(pipeline.output().names, ["dim_0@8-13Hz", "dim_0@13-30Hz"]);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BandPower {
    /// `[low, high]` of each band in Hz, from 0 to half the rate; each holds a frequency of the
    /// transform, which are `rate/len` apart.
    pub bands_hz: Vec<[f64; 2]>,
    /// Rows of a frame, from 2.
    pub len: usize,
    /// Rows from the start of a frame to that of the next, from 1.
    pub hop: usize,
    /// What a frame is multiplied by.
    #[serde(default)]
    pub window: SpectrumWindow,
    /// Whether powers are in dB.
    #[serde(default = "yes")]
    pub log: bool,
    /// The least that `log` says, in dB.
    #[serde(default = "floor")]
    pub floor_db: f64,
}

fn yes() -> bool {
    true
}

fn floor() -> f64 {
    FLOOR_DB
}

const NAME: &str = "band-power";

impl BandPower {
    /// No bands yet, over frames of so many rows, in dB.
    pub fn of_frames(len: usize, hop: usize) -> Self {
        let window = SpectrumWindow::Hann;
        Self { bands_hz: Vec::new(), len, hop, window, log: true, floor_db: FLOOR_DB }
    }

    fn frames(&self) -> Frames {
        Frames { len: self.len, hop: self.hop, window: self.window }
    }

    /// The frequencies of the transform within a band.
    fn bins(&self, [low, high]: [f64; 2], rate_hz: f64) -> Range<usize> {
        let frequency = |bin: usize| bin as f64 * rate_hz / self.len as f64;
        let n_bins = self.frames().n_bins();
        // Rounding must not put a bin on the wrong side of an edge: they are counted, not computed.
        let below = |edge: f64| {
            let near = (edge * self.len as f64 / rate_hz) as usize;
            let mut bin = near.saturating_sub(1);
            while bin < n_bins && frequency(bin) < edge {
                bin += 1;
            }
            bin
        };
        let end = if high >= rate_hz / 2.0 { n_bins } else { below(high) };
        below(low)..end
    }
}

impl Plain for BandPower {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        let frames = self.frames();
        let rate_hz = frames.check(NAME, input)?;
        check_floor(NAME, self.floor_db)?;
        let n_bands = self.bands_hz.len();
        let accepted = (1..=MOST_BANDS).contains(&n_bands);
        let expected = format!("1 to {MOST_BANDS} bands");
        check_option(NAME, "number of bands_hz", n_bands as f64, accepted, expected)?;
        for &[low, high] in &self.bands_hz {
            let half = rate_hz / 2.0;
            let expected = format!("low < high, both from 0 to half the rate, {half} Hz");
            check_option(NAME, "low of bands_hz", low, low >= 0.0 && low < high, &*expected)?;
            check_option(NAME, "high of bands_hz", high, high <= half, expected)?;
            let expected = format!(
                "a length with a frequency from {low} to {high} Hz; they are {} Hz apart",
                in_hz(rate_hz / self.len as f64)
            );
            let has_one = !self.bins([low, high], rate_hz).is_empty();
            check_option(NAME, "len", self.len as f64, has_one, expected)?;
        }
        let suffix = |&[low, high]: &[f64; 2]| format!("{}-{}Hz", in_hz(low), in_hz(high));
        let suffixes: Vec<String> = self.bands_hz.iter().map(suffix).collect();
        frames.output(NAME, input, rate_hz, &suffixes)
    }

    fn keeps_rows(&self) -> bool {
        false
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        // A checked input has a rate.
        let rate_hz = input.rate_hz.unwrap_or(1.0);
        let render = Bands {
            bins: self.bands_hz.iter().map(|&band| self.bins(band, rate_hz)).collect(),
            apart_hz: rate_hz / self.len as f64,
            floor_db: self.log.then_some(self.floor_db),
        };
        Spectra::boxed(self.frames(), render, self.bands_hz.len(), input)
    }
}

struct Bands {
    bins: Vec<Range<usize>>,
    apart_hz: f64,
    /// The least that a logarithm says, where powers are in dB.
    floor_db: Option<f64>,
}

impl Render for Bands {
    fn render(&self, density: &[f64], out: &mut [f64]) {
        for (to, bins) in out.iter_mut().zip(&self.bins) {
            let power = density[bins.clone()].iter().sum::<f64>() * self.apart_hz;
            *to = self.floor_db.map_or(power, |floor| in_db(power, floor));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_without_gaps_share_all_frequencies() {
        for (rate_hz, len) in [(100.0, 256), (0.3, 37), (44_100.0, 1000), (1e-5, 10)] {
            let spec = BandPower::of_frames(len, 1);
            let edges: Vec<f64> = (0..=5).map(|i| f64::from(i) * rate_hz / 10.0).collect();
            let mut next = 0;
            for pair in edges.windows(2) {
                let bins = spec.bins([pair[0], pair[1]], rate_hz);
                assert_eq!(bins.start, next);
                next = bins.end;
            }
            assert_eq!(next, len / 2 + 1);
        }
    }

    #[test]
    fn bands_that_cannot_be_are_refused() {
        let with = |bands_hz: Vec<[f64; 2]>| {
            BandPower { bands_hz, ..BandPower::of_frames(50, 25) }
                .plan(&Stage::unnamed(1).at(100.0))
                .map_err(|error| error.to_string())
        };
        with(vec![[0.0, 50.0], [4.0, 8.0]]).unwrap();
        assert!(with(vec![[3.0, 3.5]]).unwrap_err().contains("2 Hz apart"));
        for bad in [
            vec![],
            vec![[4.0, 4.0]],
            vec![[8.0, 4.0]],
            vec![[-1.0, 4.0]],
            vec![[4.0, 51.0]],
            vec![[f64::NAN, 4.0]],
            vec![[4.0, f64::NAN]],
            vec![[1.0, f64::INFINITY]],
        ] {
            assert!(with(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
