//! How a command ended, and the exit code that says so.

use std::process::ExitCode;

use crate::interrupt::Reason;

/// How a command ended. The manual and README.md have the table of codes; 2, for a command line that
/// cannot be read, is given by its parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All was done.
    Done,
    /// It stopped early, with what it had saved and reported.
    Stopped(Reason),
    /// An error ended it.
    Failed,
}

impl Outcome {
    /// What an error means: a failure, or that a signal came before there was anything to save.
    pub fn of_error(error: &anyhow::Error) -> Self {
        let reason = error.chain().find_map(|cause| cause.downcast_ref::<Reason>());
        reason.map_or(Self::Failed, |reason| match reason {
            Reason::Signal(_) => Self::Stopped(*reason),
            Reason::TimeBudget | Reason::Steps => Self::Failed,
        })
    }

    /// The exit code. A budget that is spent is what was asked for: that is a success.
    pub fn code(self) -> u8 {
        match self {
            Self::Done | Self::Stopped(Reason::TimeBudget | Reason::Steps) => 0,
            Self::Failed => 1,
            Self::Stopped(Reason::Signal(signal)) => signal.exit_code(),
        }
    }
}

impl From<Option<Reason>> for Outcome {
    /// Of why it stopped early, if it did.
    fn from(stopped: Option<Reason>) -> Self {
        stopped.map_or(Self::Done, Self::Stopped)
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interrupt::Signal;

    #[test]
    fn codes_are_those_of_the_table() {
        let signal = |signal| Outcome::Stopped(Reason::Signal(signal));
        for (outcome, code) in [
            (Outcome::Done, 0),
            (Outcome::Stopped(Reason::TimeBudget), 0),
            (Outcome::Failed, 1),
            (signal(Signal::Hangup), 129),
            (signal(Signal::Interrupt), 130),
            (signal(Signal::Terminate), 143),
        ] {
            assert_eq!(outcome.code(), code, "{outcome:?}");
        }
    }

    #[test]
    fn an_error_by_a_signal_has_its_code() {
        let by = |reason: Reason| Outcome::of_error(&anyhow::Error::new(reason).context("tried"));
        assert_eq!(by(Reason::Signal(Signal::Terminate)).code(), 143);
        assert_eq!(by(Reason::TimeBudget), Outcome::Failed);
        assert_eq!(Outcome::of_error(&anyhow::anyhow!("interrupted")), Outcome::Failed);
    }
}
