//! Noise is taken out of a series' wavelet coefficients.

use serde::{Deserialize, Serialize};

use crate::error::check_option;
use crate::order::median_of_sorted;
use crate::spec::Plain;
use crate::{Error, Latency, Rows, RowsRef, Stage, Step};

/// Which orthogonal wavelet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaveletKind {
    /// Of two values: for steps.
    Haar,
    /// Daubechies' of eight values (1988): for smooth series.
    Db4,
}

/// What becomes of the details above the threshold; those below become 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Threshold {
    /// They come nearer to 0 by the threshold.
    #[default]
    Soft,
    /// They stay.
    Hard,
}

/// Wavelet shrinkage (Donoho and Johnstone 1994): details of a series below a threshold are noise.
///
/// Each channel is `pywt.wavedec(x, wavelet, mode="symmetric", level)`, its details through
/// `pywt.threshold(d, sigma·sqrt(2·ln n), threshold)` with `sigma = median(|finest details|)/0.6745`,
/// and `pywt.waverec`. A series too short for `level` has the most levels it can have
/// (`pywt.dwt_max_level`), and at none stays as it is.
///
/// It needs the whole series. A missing value makes missing what the wavelets over it reach, some `2^level`
/// rows for Haar and seven times as many for `db4`: impute first.
///
/// ```
/// use preprocess::{Pipeline, Rows, Stage, Threshold, Wavelet, WaveletKind};
///
/// let wavelet = Wavelet { wavelet: WaveletKind::Haar, level: 3, threshold: Threshold::Hard };
/// let pipeline = Pipeline::fit(&[wavelet.into()], &Stage::unnamed(1), vec![])?;
/// let noise = |t: i32| 0.1 * f64::from(t * 7 % 5 - 2);
/// let noisy: Vec<f64> = (0..64).map(|t| if t < 32 { 0.0 } else { 9.0 } + noise(t)).collect();
/// let clean = pipeline.apply(Rows::of_series(1, None, noisy).view())?;
/// assert!(clean.values()[..32].iter().all(|v| v.abs() < 0.1));
/// assert!(clean.values()[32..].iter().all(|v| (v - 9.0).abs() < 0.1));
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wavelet {
    /// Which wavelet.
    pub wavelet: WaveletKind,
    /// How often the series is halved, 1 to 30.
    pub level: usize,
    /// What becomes of the details.
    #[serde(default)]
    pub threshold: Threshold,
}

impl Plain for Wavelet {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        let is_good = (1..=30).contains(&self.level);
        check_option("wavelet", "level", self.level as f64, is_good, "1 to 30")?;
        Ok(input.clone())
    }

    fn on_a_stream(&self) -> &'static str {
        "use median or butterworth"
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        let held = Rows::new(input.channels());
        Box::new(Shrinking { options: *self, held, rate_hz: input.rate_hz })
    }
}

struct Shrinking {
    options: Wavelet,
    /// The whole series.
    held: Rows,
    rate_hz: Option<f64>,
}

impl Step for Shrinking {
    fn push(&mut self, rows: RowsRef<'_>, _out: &mut Rows) {
        self.held.extend(rows);
    }

    fn finish(&mut self, out: &mut Rows) {
        let channels = self.held.channels();
        for channel in 0..channels {
            let column = || self.held.values().iter().skip(channel).step_by(channels);
            let clean = self.options.shrink(column().copied().collect());
            let to = self.held.values_mut().iter_mut().skip(channel).step_by(channels);
            to.zip(clean).for_each(|(to, v)| *to = v);
        }
        out.extend(self.held.view());
        self.held.clear();
    }

    fn reset(&mut self) {
        self.held.clear();
    }

    fn latency(&self) -> Latency {
        Latency::WholeSeries
    }

    fn out_channels(&self) -> usize {
        self.held.channels()
    }

    fn out_rate_hz(&self) -> Option<f64> {
        self.rate_hz
    }
}

impl Wavelet {
    fn shrink(&self, series: Vec<f64>) -> Vec<f64> {
        let filter = self.wavelet.scaling();
        let n = series.len();
        let most_levels = (n / (filter.len() - 1)).checked_ilog2().unwrap_or(0) as usize;
        let mut smooth = series;
        // Each level's details, and the length of what it halves.
        let mut levels = Vec::new();
        for _ in 0..self.level.min(most_levels) {
            let (half, details) = halve(&smooth, filter);
            levels.push((smooth.len(), details));
            smooth = half;
        }
        let Some((_, finest)) = levels.first() else { return smooth };
        let threshold = sigma(finest) * (2.0 * (n as f64).ln()).sqrt();
        for (len, details) in levels.iter_mut().rev() {
            for d in &mut *details {
                *d = self.threshold.apply(*d, threshold);
            }
            smooth = double(&smooth, details, *len, filter);
        }
        smooth
    }
}

/// The standard deviation of the noise: of the present details, as if half of them were nothing else.
fn sigma(finest: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = finest.iter().map(|d| d.abs()).filter(|d| !d.is_nan()).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    // Without any present detail all is missing anyway.
    if sizes.is_empty() { 0.0 } else { median_of_sorted(&sizes) / 0.6745 }
}

impl Threshold {
    fn apply(self, detail: f64, threshold: f64) -> f64 {
        match self {
            _ if detail.abs() < threshold => 0.0,
            Self::Hard => detail,
            Self::Soft => detail - detail.signum() * threshold,
        }
    }
}

impl WaveletKind {
    /// The scaling filter: what a smooth value puts into the rows below it.
    fn scaling(self) -> &'static [f64] {
        const HAAR: [f64; 2] = [std::f64::consts::FRAC_1_SQRT_2; 2];
        // Daubechies, Ten Lectures on Wavelets (1992), table 6.1, N = 4.
        const DB4: [f64; 8] = [
            0.230_377_813_308_896_5,
            0.714_846_570_552_915_7,
            0.630_880_767_929_858_9,
            -0.027_983_769_416_859_854,
            -0.187_034_811_719_093_09,
            0.030_841_381_835_560_764,
            0.032_883_011_666_885_2,
            -0.010_597_401_785_069_032,
        ];
        match self {
            Self::Haar => &HAAR,
            Self::Db4 => &DB4,
        }
    }
}

/// The filter of the details: backwards, every other sign turned.
fn of_details(scaling: &[f64], m: usize) -> f64 {
    let h = scaling[scaling.len() - 1 - m];
    if m.is_multiple_of(2) { h } else { -h }
}

/// Smooth values and details, half as many of each and some at the ends, where the series is continued by
/// its mirror image.
fn halve(series: &[f64], scaling: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let n = series.len();
    let len = scaling.len();
    // Behind the end the mirror image runs backwards, then the series again, and so on.
    let mirrored = |at: isize| {
        let at = at.rem_euclid(2 * n.cast_signed()).cast_unsigned();
        series[at.min(2 * n - 1 - at)]
    };
    let pair = |k: usize| {
        let first = (2 * k + 2).cast_signed() - len.cast_signed();
        (0..len).fold((0.0, 0.0), |(smooth, detail), m| {
            let x = mirrored(first + m.cast_signed());
            (smooth + scaling[m] * x, detail + of_details(scaling, m) * x)
        })
    };
    (0..(n + len - 1) / 2).map(pair).unzip()
}

/// Undoes [`halve`]: the series of this length.
fn double(smooth: &[f64], details: &[f64], n: usize, scaling: &[f64]) -> Vec<f64> {
    let len = scaling.len();
    let mut series = vec![0.0; n];
    for (k, (smooth, detail)) in smooth.iter().zip(details).enumerate() {
        for m in 0..len {
            if let Some(at) = (2 * k + 2 + m).checked_sub(len).filter(|&at| at < n) {
                series[at] += scaling[m] * smooth + of_details(scaling, m) * detail;
            }
        }
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_is_undone() {
        for wavelet in [WaveletKind::Haar, WaveletKind::Db4] {
            for n in [1, 2, 3, 7, 8, 33] {
                let series: Vec<f64> =
                    testkit::sequence(7, n).iter().map(|&v| f64::from(v)).collect();
                let (smooth, details) = halve(&series, wavelet.scaling());
                let again = double(&smooth, &details, n, wavelet.scaling());
                testkit::assert_close("series", &again, &series, 1e-12, 1e-12);
            }
        }
    }
}
