//! The fitted pipeline: fit, apply to series and windows, undo.

use serde::{Deserialize, Serialize};

use crate::error::check_values;
use crate::interpolate::interpolate;
use crate::normalize::normalize;
use crate::row::{Line, RowStep, lines};
use crate::{Error, FittedStep, ImputeMethod, StepConfig};

/// Fitted steps in order, as plain data that can be stored with a model.
///
/// Row steps run over whole series ([`apply_series`](Self::apply_series)) or row by row
/// ([`Streamer`](crate::Streamer)); window steps run over each window cut from them
/// ([`apply_window`](Self::apply_window)). Deserializing checks everything that
/// [`validate`](Self::validate) does, so that a pipeline in hand is a usable one; its numbers come
/// back from JSON exactly.
///
/// ```
/// use preprocess::{ImputeMethod, Pipeline, StepConfig};
///
/// let configs = [StepConfig::Impute { method: ImputeMethod::Mean }, StepConfig::ZScore];
/// // One series of four rows with two channels, one value missing.
/// let training = [1.0, 10.0, 2.0, f32::NAN, 3.0, 30.0, 2.0, 20.0];
/// let pipeline = Pipeline::fit(&configs, 2, &[&training])?;
///
/// let mut values = [2.0, f32::NAN];
/// pipeline.apply_series(&mut values)?;
/// assert_eq!(values, [0.0, 0.0]);
///
/// pipeline.invert_series(&mut values)?;
/// assert_eq!(values, [2.0, 20.0]);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Pipeline {
    channels: usize,
    steps: Vec<FittedStep>,
}

/// A pipeline as it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    channels: usize,
    steps: Vec<FittedStep>,
}

impl TryFrom<Unchecked> for Pipeline {
    type Error = Error;

    fn try_from(Unchecked { channels, steps }: Unchecked) -> Result<Self, Error> {
        Self::from_steps(channels, steps)
    }
}

impl Pipeline {
    /// Fits the steps on the training rows, each on what the steps before it leave.
    ///
    /// Every series is a `[n_rows, channels]` slice; missing values are NaN, and count nowhere.
    /// Pass training rows only, or the test result is flattered.
    ///
    /// # Errors
    /// If an option is out of range, a row step follows a window step, `channels` is 0, a series
    /// holds no whole number of rows or an infinity, or a channel has no value to fit on.
    pub fn fit(configs: &[StepConfig], channels: usize, series: &[&[f32]]) -> Result<Self, Error> {
        check_layout(channels, configs.iter().copied())?;
        for (i, values) in series.iter().enumerate() {
            check_values(values, channels)
                .map_err(|e| Error::Series { series: i, source: Box::new(e) })?;
        }
        let mut rows: Vec<Vec<f32>> = series.iter().map(|values| values.to_vec()).collect();
        let mut steps = Vec::with_capacity(configs.len());
        for config in configs {
            let step = FittedStep::fit(config, channels, &rows)?;
            for values in &mut rows {
                run(&step, values, channels);
            }
            steps.push(step);
        }
        Self::from_steps(channels, steps)
    }

    /// A pipeline of steps that were fitted before.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn from_steps(channels: usize, steps: Vec<FittedStep>) -> Result<Self, Error> {
        let pipeline = Self { channels, steps };
        pipeline.validate()?;
        Ok(pipeline)
    }

    /// Checks that every step has one usable parameter per channel and that row steps come first.
    ///
    /// # Errors
    /// Names the first step and parameter that is wrong.
    pub fn validate(&self) -> Result<(), Error> {
        check_layout(self.channels, self.steps.iter().map(FittedStep::config))?;
        let mut steps = self.steps.iter().enumerate();
        steps.try_for_each(|(position, step)| step.validate(position, self.channels))
    }

    /// Values in a row.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The fitted steps in order.
    pub fn steps(&self) -> &[FittedStep] {
        &self.steps
    }

    /// Runs the row steps over one whole series `[n_rows, channels]` in place.
    ///
    /// A series is what belongs together in time: imputation never looks past its ends.
    ///
    /// # Errors
    /// If the length is no whole number of rows, or a value is infinite; nothing has changed then.
    pub fn apply_series(&self, values: &mut [f32]) -> Result<(), Error> {
        check_values(values, self.channels)?;
        for step in self.row_steps() {
            run(step, values, self.channels);
        }
        Ok(())
    }

    /// Runs the window steps over one window `[n_rows, channels]` in place; it was cut from a
    /// series after [`apply_series`](Self::apply_series).
    ///
    /// # Errors
    /// As [`apply_series`](Self::apply_series).
    pub fn apply_window(&self, window: &mut [f32]) -> Result<(), Error> {
        check_values(window, self.channels)?;
        for step in &self.steps {
            if let FittedStep::WindowNormalize { method } = step {
                normalize(window, self.channels, *method);
            }
        }
        Ok(())
    }

    /// Takes a series back to its original units: undoes the scalings of
    /// [`apply_series`](Self::apply_series), last step first.
    ///
    /// Imputed values stay, and window steps cannot be undone, as the window's own mean is gone.
    ///
    /// # Errors
    /// As [`apply_series`](Self::apply_series).
    pub fn invert_series(&self, values: &mut [f32]) -> Result<(), Error> {
        check_values(values, self.channels)?;
        for lines in self.steps.iter().rev().filter_map(lines) {
            for row in values.chunks_exact_mut(self.channels) {
                for (v, line) in row.iter_mut().zip(&lines) {
                    *v = line.inverse(*v);
                }
            }
        }
        Ok(())
    }

    /// Takes values of one channel back to their original units, such as a forecast of it.
    ///
    /// # Errors
    /// If there is no such channel.
    pub fn invert_channel(&self, channel: usize, values: &mut [f32]) -> Result<(), Error> {
        let channels = self.channels;
        if channel >= channels {
            return Err(Error::Channel { channel, channels });
        }
        let path: Vec<Line> =
            self.steps.iter().rev().filter_map(lines).map(|lines| lines[channel]).collect();
        for v in values {
            *v = path.iter().fold(*v, |v, line| line.inverse(v));
        }
        Ok(())
    }

    /// The steps before the first window step.
    pub(crate) fn row_steps(&self) -> impl Iterator<Item = &FittedStep> {
        self.steps.iter().filter(|step| !step.config().is_per_window())
    }
}

/// Fails unless there are channels, options are in range, and row steps come first.
fn check_layout(channels: usize, steps: impl Iterator<Item = StepConfig>) -> Result<(), Error> {
    if channels == 0 {
        return Err(Error::NoChannels);
    }
    let mut windows = false;
    for (position, config) in steps.enumerate() {
        config.validate()?;
        if windows && !config.is_per_window() {
            return Err(Error::Order { position, step: config.name() });
        }
        windows = config.is_per_window();
    }
    Ok(())
}

/// One row step over one series; a window step does nothing here.
fn run(step: &FittedStep, values: &mut [f32], channels: usize) {
    if let FittedStep::Impute { method: ImputeMethod::Linear, fill } = step {
        interpolate(values, fill);
    } else if let Some(mut step) = RowStep::new(step) {
        for row in values.chunks_exact_mut(channels) {
            step.apply(row);
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact in binary")]
mod tests {
    use super::*;
    use crate::WindowMethod;

    const CENTER: StepConfig = StepConfig::WindowNormalize { method: WindowMethod::Center };

    #[test]
    fn each_step_is_fitted_on_the_output_of_those_before() {
        let min_max = StepConfig::MinMax { low: 0.0, high: 1.0 };
        let zero = StepConfig::Impute { method: ImputeMethod::Zero };
        let pipeline = Pipeline::fit(&[zero, min_max], 1, &[&[2.0, f32::NAN, 4.0]]).unwrap();
        // The imputed 0 is the minimum.
        let expected = FittedStep::MinMax { low: 0.0, high: 1.0, min: vec![0.0], max: vec![4.0] };
        assert_eq!(pipeline.steps()[1], expected);
    }

    #[test]
    fn row_steps_come_before_window_steps() {
        let error = Pipeline::fit(&[CENTER, StepConfig::ZScore], 1, &[&[1.0]]).unwrap_err();
        assert_eq!(error, Error::Order { position: 1, step: "z-score" });
        assert!(Pipeline::fit(&[StepConfig::ZScore, CENTER, CENTER], 1, &[&[1.0]]).is_ok());
    }

    #[test]
    fn series_and_windows_run_their_own_steps() {
        let pipeline = Pipeline::fit(&[StepConfig::ZScore, CENTER], 1, &[&[0.0, 2.0]]).unwrap();
        let mut values = [5.0, 7.0];
        pipeline.apply_series(&mut values).unwrap();
        assert_eq!(values, [4.0, 6.0]);
        pipeline.apply_window(&mut values).unwrap();
        assert_eq!(values, [-1.0, 1.0]);
    }

    #[test]
    fn training_data_is_checked_and_the_series_named() {
        let fit = |second: &[f32]| {
            let error = Pipeline::fit(&[StepConfig::ZScore], 2, &[&[1.0, 2.0], second]);
            error.unwrap_err().to_string()
        };
        assert_eq!(
            fit(&[1.0, 2.0, f32::INFINITY, 0.0]),
            "training series 1: row 1, channel 0 is inf; mark missing values as NaN"
        );
        assert!(fit(&[1.0]).starts_with("training series 1: 1 values are no whole number"));
        assert_eq!(Pipeline::fit(&[], 0, &[]).unwrap_err(), Error::NoChannels);
        let none = Pipeline::fit(&[StepConfig::ZScore], 1, &[]).unwrap_err();
        assert_eq!(none, Error::AllMissing { channel: 0, step: "z-score" });
    }

    #[test]
    fn a_dead_channel_can_be_imputed_with_zero() {
        let configs = [StepConfig::Impute { method: ImputeMethod::Zero }, StepConfig::ZScore];
        let pipeline = Pipeline::fit(&configs, 1, &[&[f32::NAN; 3]]).unwrap();
        let mut values = [f32::NAN];
        pipeline.apply_series(&mut values).unwrap();
        assert_eq!(values, [0.0]);
    }

    #[test]
    fn bad_data_is_refused_and_left_as_it_was() {
        let pipeline = Pipeline::fit(&[StepConfig::ZScore], 1, &[&[0.0, 2.0]]).unwrap();
        let mut values = [3.0, f32::INFINITY];
        assert!(pipeline.apply_series(&mut values).is_err());
        assert!(pipeline.apply_window(&mut values).is_err());
        assert!(pipeline.invert_series(&mut values).is_err());
        assert_eq!(values, [3.0, f32::INFINITY]);
        let error = pipeline.invert_channel(1, &mut []).unwrap_err();
        assert_eq!(error, Error::Channel { channel: 1, channels: 1 });
    }

    #[test]
    fn a_stored_pipeline_is_checked_when_read() {
        let read = |json: &str| serde_json::from_str::<Pipeline>(json).map_err(|e| e.to_string());
        let step = r#"{"step":"z-score","mean":[0.0,1.0],"std":[1.0,2.0]}"#;
        assert!(read(&format!(r#"{{"channels":2,"steps":[{step}]}}"#)).is_ok());
        let short = read(&format!(r#"{{"channels":3,"steps":[{step}]}}"#)).unwrap_err();
        assert!(short.contains("mean has 2 values, expected 3"), "{short}");
        let huge = step.replace("1.0,2.0", "1.0,1e99");
        let huge = read(&format!(r#"{{"channels":2,"steps":[{huge}]}}"#)).unwrap_err();
        assert!(huge.contains("std is inf at channel 1"), "{huge}");
        assert!(read(r#"{"channels":1,"steps":[],"more":1}"#).is_err());
        let order = r#"{"step":"window-normalize","method":"center"}"#;
        assert!(read(&format!(r#"{{"channels":2,"steps":[{order},{step}]}}"#)).is_err());
    }
}
