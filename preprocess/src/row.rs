//! Fitted row steps at work: one row at a time, which batch and stream share.

use crate::{FittedStep, ImputeMethod};

/// A row step ready to run, with what it remembers of earlier rows.
#[derive(Debug, Clone)]
pub(crate) enum RowStep {
    /// A missing value becomes its channel's number.
    Fill(Vec<f32>),
    /// A missing value becomes the last present one.
    Previous { fallback: Vec<f32>, last: Vec<f32> },
    /// Every value is mapped by its channel's line.
    Scale(Vec<Line>),
}

impl RowStep {
    /// The step at the start of a series; none if it needs later rows or whole windows.
    pub(crate) fn new(step: &FittedStep) -> Option<Self> {
        match step {
            FittedStep::Impute { method, fill } => match method {
                ImputeMethod::Mean | ImputeMethod::Median | ImputeMethod::Zero => {
                    Some(Self::Fill(fill.clone()))
                }
                ImputeMethod::Previous => {
                    Some(Self::Previous { fallback: fill.clone(), last: fill.clone() })
                }
                ImputeMethod::Linear => None,
            },
            FittedStep::WindowNormalize { .. } => None,
            _ => lines(step).map(Self::Scale),
        }
    }

    /// Runs on one row in place.
    pub(crate) fn apply(&mut self, row: &mut [f32]) {
        match self {
            Self::Fill(fill) => {
                for (v, &fill) in row.iter_mut().zip(&*fill) {
                    if v.is_nan() {
                        *v = fill;
                    }
                }
            }
            Self::Previous { last, .. } => {
                for (v, last) in row.iter_mut().zip(last) {
                    if v.is_nan() {
                        *v = *last;
                    }
                    *last = *v;
                }
            }
            Self::Scale(lines) => {
                for (v, line) in row.iter_mut().zip(&*lines) {
                    *v = line.forward(*v);
                }
            }
        }
    }

    /// Forgets all rows, for the start of another series.
    pub(crate) fn reset(&mut self) {
        if let Self::Previous { fallback, last } = self {
            last.copy_from_slice(fallback);
        }
    }
}

/// The line of each channel, if the step is a scaling.
pub(crate) fn lines(step: &FittedStep) -> Option<Vec<Line>> {
    let plain = |centers: &[f32], scales: &[f32]| {
        let pairs = centers.iter().zip(scales);
        let line = |(&center, &scale): (&f32, &f32)| Line {
            center: center.into(),
            scale: scale.into(),
            span: 1.0,
            low: 0.0,
        };
        Some(pairs.map(line).collect())
    };
    match step {
        FittedStep::ZScore { mean, std } => plain(mean, std),
        FittedStep::RobustScale { median, iqr } => plain(median, iqr),
        FittedStep::MinMax { low, high, min, max } => {
            let (low, span) = (f64::from(*low), f64::from(*high) - f64::from(*low));
            let line = |(&min, &max): (&f32, &f32)| {
                let range = f64::from(max) - f64::from(min);
                // A channel that never varied: everything moves by the same amount, to `low`.
                let scale = if range > 0.0 { range } else { 1.0 };
                Line { center: min.into(), scale, span, low }
            };
            Some(min.iter().zip(max).map(line).collect())
        }
        FittedStep::Impute { .. } | FittedStep::WindowNormalize { .. } => None,
    }
}

/// The map `low + span·(x − center)/scale`, computed in f64.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    center: f64,
    scale: f64,
    span: f64,
    low: f64,
}

impl Line {
    /// A NaN stays NaN; what f32 cannot hold saturates at its largest value.
    pub(crate) fn forward(self, x: f32) -> f32 {
        saturate((f64::from(x) - self.center) / self.scale * self.span + self.low)
    }

    /// Undoes [`forward`](Self::forward), up to rounding.
    pub(crate) fn inverse(self, y: f32) -> f32 {
        saturate((f64::from(y) - self.low) / self.span * self.scale + self.center)
    }
}

fn saturate(v: f64) -> f32 {
    v.clamp(f32::MIN.into(), f32::MAX.into()) as f32
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact in binary")]
mod tests {
    use super::*;

    #[test]
    fn previous_holds_and_resets() {
        let fitted = FittedStep::Impute { method: ImputeMethod::Previous, fill: vec![9.0] };
        let mut step = RowStep::new(&fitted).unwrap();
        let mut push = |v: f32| {
            let mut row = [v];
            step.apply(&mut row);
            row[0]
        };
        assert_eq!(
            [push(f32::NAN), push(1.0), push(f32::NAN), push(f32::NAN)],
            [9.0, 1.0, 1.0, 1.0]
        );
        step.reset();
        let mut row = [f32::NAN];
        step.apply(&mut row);
        assert_eq!(row, [9.0]);
    }

    #[test]
    fn min_max_reaches_both_bounds() {
        let fitted = FittedStep::MinMax { low: -1.0, high: 1.0, min: vec![2.0], max: vec![6.0] };
        let line = lines(&fitted).unwrap()[0];
        assert_eq!([2.0, 4.0, 6.0, 8.0].map(|x| line.forward(x)), [-1.0, 0.0, 1.0, 2.0]);
        assert_eq!([-1.0, 0.0, 1.0].map(|y| line.inverse(y)), [2.0, 4.0, 6.0]);
    }

    #[test]
    fn a_constant_channel_moves_to_low() {
        let fitted = FittedStep::MinMax { low: 0.5, high: 1.0, min: vec![7.0], max: vec![7.0] };
        let line = lines(&fitted).unwrap()[0];
        assert_eq!(line.forward(7.0), 0.5);
        assert_eq!(line.inverse(0.5), 7.0);
    }

    #[test]
    fn extremes_saturate_and_missing_stays_missing() {
        let fitted = FittedStep::ZScore { mean: vec![0.0], std: vec![1e-30] };
        let line = lines(&fitted).unwrap()[0];
        assert_eq!(line.forward(-1e30), f32::MIN);
        assert!(line.forward(f32::NAN).is_nan());
    }
}
