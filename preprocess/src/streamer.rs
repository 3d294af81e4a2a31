//! A fitted pipeline over rows that arrive one at a time.

use crate::row::RowStep;
use crate::{Error, FittedStep, ImputeMethod, Pipeline};

/// Runs a pipeline's row steps as rows come in, with the numbers of
/// [`Pipeline::apply_series`] bit for bit.
///
/// Window steps are not its business: keep the last rows it gave, and call
/// [`Pipeline::apply_window`] on a copy of each window.
///
/// ```
/// use preprocess::{ImputeMethod, Pipeline, StepConfig, Streamer};
///
/// let configs = [StepConfig::Impute { method: ImputeMethod::Previous }, StepConfig::ZScore];
/// let pipeline = Pipeline::fit(&configs, 1, &[&[0.0, 2.0]])?;
/// let mut streamer = Streamer::new(&pipeline)?;
///
/// let mut row = [5.0];
/// streamer.push(&mut row)?;
/// assert_eq!(row, [4.0]);
///
/// let mut row = [f32::NAN]; // the sensor missed a beat
/// streamer.push(&mut row)?;
/// assert_eq!(row, [4.0]);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Streamer {
    channels: usize,
    steps: Vec<RowStep>,
}

impl Streamer {
    /// A stream at its first row.
    ///
    /// # Errors
    /// If the pipeline interpolates linearly, which needs later rows.
    pub fn new(pipeline: &Pipeline) -> Result<Self, Error> {
        let is_linear = |step: &FittedStep| {
            matches!(step, FittedStep::Impute { method: ImputeMethod::Linear, .. })
        };
        if let Some(position) = pipeline.steps().iter().position(is_linear) {
            return Err(Error::NotCausal { position });
        }
        let steps = pipeline.row_steps().filter_map(RowStep::new).collect();
        Ok(Self { channels: pipeline.channels(), steps })
    }

    /// Runs the row steps on the next row in place.
    ///
    /// # Errors
    /// If the row has another number of values than the pipeline has channels, or one is infinite;
    /// the row then does not count.
    pub fn push(&mut self, row: &mut [f32]) -> Result<(), Error> {
        if row.len() != self.channels {
            return Err(Error::RowLength { expected: self.channels, found: row.len() });
        }
        crate::error::check_values(row, self.channels)?;
        for step in &mut self.steps {
            step.apply(row);
        }
        Ok(())
    }

    /// Forgets all rows: the next one begins another series.
    pub fn reset(&mut self) {
        for step in &mut self.steps {
            step.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StepConfig;

    #[test]
    fn linear_interpolation_is_refused() {
        let configs = [StepConfig::ZScore, StepConfig::Impute { method: ImputeMethod::Linear }];
        let pipeline = Pipeline::fit(&configs, 1, &[&[0.0, 2.0]]).unwrap();
        let error = Streamer::new(&pipeline).unwrap_err();
        assert_eq!(error, Error::NotCausal { position: 1 });
        assert!(error.to_string().ends_with("use \"previous\""));
    }

    #[test]
    fn a_bad_row_does_not_count() {
        let configs = [StepConfig::Impute { method: ImputeMethod::Previous }];
        let pipeline = Pipeline::fit(&configs, 2, &[&[0.0, 0.0]]).unwrap();
        let mut streamer = Streamer::new(&pipeline).unwrap();
        streamer.push(&mut [1.0, 2.0]).unwrap();
        assert!(streamer.push(&mut [5.0, f32::INFINITY]).is_err());
        assert_eq!(
            streamer.push(&mut [5.0]).unwrap_err(),
            Error::RowLength { expected: 2, found: 1 }
        );
        let mut row = [f32::NAN; 2];
        streamer.push(&mut row).unwrap();
        testkit::assert_same_bits("row", &row, &[1.0, 2.0]);
        streamer.reset();
        let mut row = [f32::NAN; 2];
        streamer.push(&mut row).unwrap();
        testkit::assert_same_bits("row", &row, &[0.0, 0.0]);
    }
}
