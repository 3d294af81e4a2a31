//! The row steps over a stream.

use crate::chain::Chain;
use crate::error::check_rows;
use crate::{Error, Latency, Pipeline, Rows, RowsRef, Stage};

/// The row steps of a pipeline over rows that arrive one at a time: the same numbers as
/// [`Pipeline::apply`] gives for the whole series, bit for bit, and no allocation once it runs.
///
/// Window steps are not part of it: call [`Pipeline::apply_window`] on each window.
///
/// ```
/// use preprocess::{Impute, ImputeMethod, Pipeline, Rows, Stage, Streamer, ZScore};
///
/// let configs = [Impute::by(ImputeMethod::Previous).into(), ZScore {}.into()];
/// let training = Rows::of_series(1, None, vec![0.0, 2.0]);
/// let pipeline = Pipeline::fit(&configs, &Stage::unnamed(1), vec![training])?;
/// let mut streamer = Streamer::new(&pipeline)?;
///
/// assert_eq!(streamer.push(0.0, &[5.0])?.values(), [4.0]);
/// // The sensor missed a beat.
/// assert_eq!(streamer.push(1.0, &[f64::NAN])?.values(), [4.0]);
/// # Ok::<(), preprocess::Error>(())
/// ```
pub struct Streamer {
    input: Stage,
    chain: Chain,
    out: Rows,
}

impl std::fmt::Debug for Streamer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streamer").field("input", &self.input).finish_non_exhaustive()
    }
}

impl Streamer {
    /// A stream at its first row.
    ///
    /// # Errors
    /// If a step looks at later rows without end, as linear interpolation and zero-phase filters do;
    /// the message names what to take instead; or if a step is not [fitted](Pipeline::is_fitted).
    pub fn new(pipeline: &Pipeline) -> Result<Self, Error> {
        pipeline.check_fitted()?;
        let chain = pipeline.chain();
        let steps = chain.steps().zip(pipeline.row_steps()).enumerate();
        for (position, (running, step)) in steps {
            if running.latency() == Latency::WholeSeries {
                let kind = step.kind.kind();
                let error = Error::NotCausal { step: kind.name(), instead: kind.on_a_stream() };
                return Err(error.at(position));
            }
        }
        Ok(Self::over_series(pipeline))
    }

    /// Steps over rows of which the last will come: also those that wait for the end of the series,
    /// which is for a file that is read in pieces, not for a sensor.
    ///
    /// # Panics
    /// If a step is not [fitted](Pipeline::is_fitted).
    pub fn over_series(pipeline: &Pipeline) -> Self {
        let out = Rows::new(pipeline.output().channels());
        Self { input: pipeline.input().clone(), chain: pipeline.chain(), out }
    }

    /// How far what comes out lies behind what went in, in rows that go in.
    pub fn latency(&self) -> Latency {
        self.chain.latency(self.input.rate_hz)
    }

    /// Runs the row steps on the next row, and returns the rows that are ready: one for most
    /// pipelines, none while a step waits for more, several where the rate rises.
    ///
    /// # Errors
    /// If the row has another number of values than the pipeline has channels, or one is infinite;
    /// the row then does not count.
    pub fn push(&mut self, time: f64, row: &[f64]) -> Result<RowsRef<'_>, Error> {
        if row.len() != self.input.channels() {
            return Err(Error::RowLength { expected: self.input.channels(), found: row.len() });
        }
        let times = [time];
        self.push_rows(RowsRef::new(row.len(), &times, row))
    }

    /// Runs the row steps on the next rows; see [`push`](Self::push).
    ///
    /// # Errors
    /// As [`push`](Self::push); no row counts then.
    pub fn push_rows(&mut self, rows: RowsRef<'_>) -> Result<RowsRef<'_>, Error> {
        check_rows(rows, &self.input)?;
        self.out.clear();
        self.chain.push(rows, &mut self.out);
        Ok(self.out.view())
    }

    /// Ends the series: returns the rows that were held back.
    pub fn finish(&mut self) -> RowsRef<'_> {
        self.out.clear();
        self.chain.finish(&mut self.out);
        self.out.view()
    }

    /// Forgets all rows: the next one begins another series.
    pub fn reset(&mut self) {
        self.chain.reset();
    }
}
