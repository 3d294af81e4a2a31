//! What a kind of step has to say: its options, what it is fitted on, and how it runs.

use crate::scale::Line;
use crate::stats::{Needs, Stats};
use crate::{Error, Stage, Step};

/// The options of a step, as a user writes them.
pub(crate) trait Spec: Clone {
    /// The step with its parameters.
    type Fitted: Fitted<Spec = Self>;

    /// Checks the options against what comes in; says what goes out.
    fn plan(&self, input: &Stage) -> Result<Stage, Error>;

    /// Whether one row comes out for each that goes in; if not, the step takes all channels.
    fn keeps_rows(&self) -> bool {
        true
    }

    /// What to do where the step [needs the whole series](crate::Latency::WholeSeries) and there is
    /// none, as on a stream.
    fn on_a_stream(&self) -> &'static str {
        "leave it out"
    }

    /// What must be known of the training rows.
    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    /// The parameters, from what is known of the training rows.
    fn fit(&self, input: &Stage, stats: &Stats) -> Result<Self::Fitted, Error>;
}

/// A step with its parameters, as it is stored.
pub(crate) trait Fitted: Clone {
    /// The options.
    type Spec: Spec<Fitted = Self>;

    /// The options alone.
    fn spec(&self) -> Self::Spec;

    /// Fails unless every parameter can be used on what comes in.
    fn check(&self, input: &Stage) -> Result<(), Error>;

    /// The step at the start of a series of rows like `input`, which passed [`check`](Self::check).
    fn start(&self, input: &Stage) -> Box<dyn Step>;

    /// The line of each channel, if the step is a scaling, which can be undone.
    fn lines(&self) -> Option<Vec<Line>> {
        None
    }
}

/// A step without parameters of its own: what a user writes is what is stored.
pub(crate) trait Plain: Clone {
    /// As [`Spec::plan`].
    fn plan(&self, input: &Stage) -> Result<Stage, Error>;

    /// As [`Fitted::start`].
    fn start(&self, input: &Stage) -> Box<dyn Step>;

    /// As [`Spec::keeps_rows`].
    fn keeps_rows(&self) -> bool {
        true
    }

    /// As [`Spec::on_a_stream`].
    fn on_a_stream(&self) -> &'static str {
        "leave it out"
    }
}

impl<T: Plain> Spec for T {
    type Fitted = Self;

    fn keeps_rows(&self) -> bool {
        Plain::keeps_rows(self)
    }

    fn on_a_stream(&self) -> &'static str {
        Plain::on_a_stream(self)
    }

    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        Plain::plan(self, input)
    }

    fn fit(&self, _input: &Stage, _stats: &Stats) -> Result<Self, Error> {
        Ok(self.clone())
    }
}

impl<T: Plain> Fitted for T {
    type Spec = Self;

    fn spec(&self) -> Self {
        self.clone()
    }

    fn check(&self, input: &Stage) -> Result<(), Error> {
        Plain::plan(self, input).map(drop)
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        Plain::start(self, input)
    }
}
