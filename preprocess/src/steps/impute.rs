//! Missing values are filled.

use serde::{Deserialize, Serialize};

use crate::error::check_finite;
use crate::spec::{Fitted, Spec};
use crate::stats::{Needs, Stats};
use crate::{Error, Latency, Rows, RowsRef, Stage, Step};

/// How missing values are filled, per channel.
///
/// `mean`, `median` and `zero` put one number everywhere. `linear` and `previous` look at the
/// neighbours within one series, and fall back to the training mean where there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImputeMethod {
    /// The mean of the training rows.
    Mean,
    /// The median of the training rows.
    Median,
    /// Zero.
    Zero,
    /// On the line between the present values before and after. A gap at either end of the series
    /// holds the nearest present value; a channel missing throughout takes the training mean. It
    /// needs later rows, so that it cannot run on a stream.
    Linear,
    /// The last present value, also called `hold`. A gap at the start of the series takes the training
    /// mean, as a stream could not know better.
    #[serde(alias = "hold")]
    Previous,
}

/// Fills missing values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Impute {
    /// With what.
    pub method: ImputeMethod,
    /// Whether a channel is added for each, 1 where the value was missing and 0 where not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mask: bool,
}

impl Impute {
    /// Fills by a method, without masks.
    pub fn by(method: ImputeMethod) -> Self {
        Self { method, mask: false }
    }
}

/// A fitted [`Impute`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedImpute {
    /// How gaps are filled.
    pub method: ImputeMethod,
    /// Whether there are masks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mask: bool,
    /// The number per channel, or the fallback where neighbours decide.
    pub fill: Vec<f64>,
}

const NAME: &str = "impute";

impl Spec for Impute {
    type Fitted = FittedImpute;

    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        let mut output = input.clone();
        if self.mask {
            output.names.extend(input.names.iter().map(|name| format!("{name}_missing")));
        }
        Ok(output)
    }

    fn on_a_stream(&self) -> &'static str {
        "use method \"previous\""
    }

    fn needs(&self) -> Needs {
        match self.method {
            ImputeMethod::Zero => Needs::Nothing,
            ImputeMethod::Median => Needs::Quantiles,
            _ => Needs::Moments,
        }
    }

    fn fit(&self, input: &Stage, stats: &Stats) -> Result<FittedImpute, Error> {
        let Self { method, mask } = *self;
        let fill = match method {
            ImputeMethod::Zero => vec![0.0; input.channels()],
            ImputeMethod::Median => stats.per_channel(input, NAME, |s| s.quantile(0.5))?,
            _ => stats.per_channel(input, NAME, |s| s.mean)?,
        };
        Ok(FittedImpute { method, mask, fill })
    }
}

impl Fitted for FittedImpute {
    type Spec = Impute;

    fn spec(&self) -> Impute {
        Impute { method: self.method, mask: self.mask }
    }

    fn check(&self, input: &Stage) -> Result<(), Error> {
        check_finite(NAME, "fill", &self.fill, input)
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        let Self { method, mask, ref fill } = *self;
        Box::new(Filling {
            method,
            mask,
            fill: fill.clone(),
            last: fill.clone(),
            held: Rows::new(input.channels()),
            row: Vec::new(),
            rate_hz: input.rate_hz,
        })
    }
}

/// Imputation at work.
struct Filling {
    method: ImputeMethod,
    mask: bool,
    fill: Vec<f64>,
    /// The last present value of each channel, where that is the method.
    last: Vec<f64>,
    /// The whole series, where lines are drawn between present values.
    held: Rows,
    row: Vec<f64>,
    rate_hz: Option<f64>,
}

impl Filling {
    /// Adds a filled row, with the masks of the row that it was.
    fn emit(&mut self, time: f64, raw: &[f64], filled: impl Fn(usize) -> f64, out: &mut Rows) {
        self.row.clear();
        self.row.extend((0..raw.len()).map(filled));
        if self.mask {
            self.row.extend(raw.iter().map(|v| f64::from(u8::from(v.is_nan()))));
        }
        out.push(time, &self.row);
    }
}

impl Step for Filling {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        if self.method == ImputeMethod::Linear {
            return self.held.extend(rows);
        }
        for (time, row) in rows.iter() {
            if self.method == ImputeMethod::Previous {
                let present = self.last.iter_mut().zip(row).filter(|(_, v)| !v.is_nan());
                present.for_each(|(last, &v)| *last = v);
            }
            let numbers = std::mem::take(&mut self.last);
            self.emit(time, row, |c| if row[c].is_nan() { numbers[c] } else { row[c] }, out);
            self.last = numbers;
        }
    }

    fn finish(&mut self, out: &mut Rows) {
        if self.method != ImputeMethod::Linear {
            return;
        }
        let raw = std::mem::replace(&mut self.held, Rows::new(self.fill.len()));
        let mut filled = raw.values().to_vec();
        interpolate(&mut filled, raw.times(), &self.fill);
        let filled = filled.chunks_exact(self.fill.len().max(1));
        for ((time, row), filled) in raw.view().iter().zip(filled) {
            self.emit(time, row, |c| filled[c], out);
        }
    }

    fn reset(&mut self) {
        self.last.copy_from_slice(&self.fill);
        self.held.clear();
    }

    fn latency(&self) -> Latency {
        if self.method == ImputeMethod::Linear { Latency::WholeSeries } else { Latency::Rows(0) }
    }

    fn out_channels(&self) -> usize {
        if self.mask { 2 * self.fill.len() } else { self.fill.len() }
    }

    fn out_rate_hz(&self) -> Option<f64> {
        self.rate_hz
    }
}

/// Fills each channel's missing values on the line between their present neighbours, in time.
///
/// A gap at an end holds the nearest present value; a channel without any takes `fallback`. Rows of
/// one time count as one step apart.
fn interpolate(values: &mut [f64], times: &[f64], fallback: &[f64]) {
    let channels = fallback.len();
    for (channel, &fallback) in fallback.iter().enumerate() {
        let at = |row: usize| row * channels + channel;
        let mut before: Option<usize> = None;
        for row in 0..times.len() {
            if values[at(row)].is_nan() {
                continue;
            }
            let end = values[at(row)];
            // Before the first present value the line is flat.
            let start = before.map_or(end, |b| values[at(b)]);
            let origin = before.unwrap_or(0);
            let span = times[row] - times[origin];
            for missing in before.map_or(0, |b| b + 1)..row {
                let share = if span > 0.0 {
                    (times[missing] - times[origin]) / span
                } else {
                    (missing - origin) as f64 / (row - origin) as f64
                };
                values[at(missing)] = start + (end - start) * share;
            }
            before = Some(row);
        }
        let last = before.map_or(fallback, |b| values[at(b)]);
        for row in before.map_or(0, |b| b + 1)..times.len() {
            values[at(row)] = last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: f64 = f64::NAN;

    fn run(method: ImputeMethod, mask: bool, series: &[f64]) -> Vec<f64> {
        let step = FittedImpute { method, mask, fill: vec![9.0] };
        let mut step = step.start(&Stage::unnamed(1));
        let (rows, mut out) =
            (Rows::of_series(1, None, series.to_vec()), Rows::new(step.out_channels()));
        step.push(rows.view(), &mut out);
        step.finish(&mut out);
        out.values().to_vec()
    }

    #[test]
    fn lines_are_drawn_between_present_values() {
        let filled = run(ImputeMethod::Linear, false, &[GAP, 2.0, GAP, GAP, 5.0, GAP]);
        testkit::assert_same_bits("linear", &filled, &[2.0, 2.0, 3.0, 4.0, 5.0, 5.0]);
        testkit::assert_same_bits("none", &run(ImputeMethod::Linear, false, &[GAP; 2]), &[9.0; 2]);
    }

    #[test]
    fn lines_go_by_time() {
        let mut values = [0.0, GAP, 4.0];
        interpolate(&mut values, &[0.0, 3.0, 4.0], &[9.0]);
        testkit::assert_same_bits("in time", &values, &[0.0, 3.0, 4.0]);
        let mut values = [0.0, GAP, 4.0];
        interpolate(&mut values, &[1.0; 3], &[9.0]);
        testkit::assert_same_bits("one time", &values, &[0.0, 2.0, 4.0]);
    }

    #[test]
    fn masks_say_what_was_missing() {
        let filled = run(ImputeMethod::Previous, true, &[GAP, 2.0, GAP]);
        testkit::assert_same_bits("hold", &filled, &[9.0, 1.0, 2.0, 0.0, 2.0, 1.0]);
        let filled = run(ImputeMethod::Linear, true, &[1.0, GAP, 2.0]);
        testkit::assert_same_bits("linear", &filled, &[1.0, 0.0, 1.5, 1.0, 2.0, 0.0]);
        testkit::assert_same_bits(
            "mean",
            &run(ImputeMethod::Mean, false, &[GAP, 1.0]),
            &[9.0, 1.0],
        );
    }
}
