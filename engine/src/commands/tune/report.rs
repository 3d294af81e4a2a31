//! What a search found, as a table, as JSON and as remarks in the job file.

use serde::Serialize;

use crate::cli::TuneArgs;
use crate::data::Understood;
use crate::interrupt::Reason;
use crate::output::{shown, table};
use crate::tuning::{Candidate, Ended, Finalist, Found, Gain, Kept, Remark, Scores, Space, Trials};

#[derive(Serialize)]
pub(super) struct Report<'a> {
    pub(super) out: String,
    /// Settings tried, the job's own among them.
    pub(super) trials: usize,
    pub(super) planned_trials: usize,
    /// Models trained in this run.
    pub(super) trainings: usize,
    /// What ended it before all was done.
    pub(super) stopped: Option<Reason>,
    pub(super) ended: Ended,
    pub(super) kept: Kept,
    /// Parts of the training rows that the job and the best were compared on.
    pub(super) parts: usize,
    pub(super) job: Scores,
    pub(super) best: Scores,
    pub(super) gain: Option<Gain>,
    /// What was changed.
    pub(super) choices: Vec<ChoiceReport>,
    pub(super) finalists: Vec<FinalistReport>,
    pub(super) failed: Vec<FailedReport>,
    pub(super) data: &'a Understood,
    pub(super) wall_s: f64,
}

/// One changed setting.
#[derive(Serialize)]
pub(super) struct ChoiceReport {
    pub(super) name: &'static str,
    pub(super) from: String,
    pub(super) to: String,
    /// Over the best without it; none if there was no time.
    pub(super) gain: Option<Gain>,
}

#[derive(Serialize)]
pub(super) struct FinalistReport {
    pub(super) settings: String,
    pub(super) parameters: usize,
    #[serde(flatten)]
    pub(super) scores: Scores,
    pub(super) gain: Gain,
}

#[derive(Serialize)]
pub(super) struct FailedReport {
    pub(super) settings: String,
    pub(super) reason: String,
}

pub(super) fn choices(found: &Found, space: &Space) -> Vec<ChoiceReport> {
    let gain = |number| found.gains.iter().find(|(d, _)| *d == number).map(|(_, gain)| *gain);
    let all = found.best.changes(space).into_iter();
    all.map(|(number, dimension, choice)| ChoiceReport {
        name: dimension.name,
        from: dimension.base.clone(),
        to: choice.shown.clone(),
        gain: gain(number),
    })
    .collect()
}

pub(super) fn finalists(found: &Found, trials: &Trials<'_>) -> anyhow::Result<Vec<FinalistReport>> {
    let report = |finalist: &Finalist| {
        Ok(FinalistReport {
            settings: finalist.candidate.shown(trials.space),
            parameters: trials.parameters(&finalist.candidate)?,
            scores: finalist.scores,
            gain: finalist.gain,
        })
    };
    found.finalists.iter().map(report).collect()
}

pub(super) fn failed(found: &Found, space: &Space) -> Vec<FailedReport> {
    let report = |(candidate, reason): &(Candidate, String)| FailedReport {
        settings: candidate.shown(space),
        reason: reason.clone(),
    };
    found.failed.iter().map(report).collect()
}

/// `+1.20 points (± 0.80)`.
fn points(gain: Gain) -> String {
    let interval =
        gain.interval.map(|half| format!(" (± {:.2})", 100.0 * half)).unwrap_or_default();
    format!("{:+.2} points{interval}", 100.0 * gain.accuracy)
}

/// The comments at the top of the job file.
pub(super) fn head(report: &Report<'_>, args: &TuneArgs) -> Vec<String> {
    let name = args.config.file_name().unwrap_or_default().to_string_lossy();
    let mut lines = vec![format!(
        "Made from {name} by edgectl tune: {} of {} trials, seed {}, on training rows alone.",
        report.trials, report.planned_trials, args.seed
    )];
    lines.push(outcome_text(report));
    if report.kept == Kept::Best {
        lines.push(
            "Remarks say what a setting gains over the same job without it, in accuracy and loss."
                .to_owned(),
        );
    }
    lines
}

fn outcome_text(report: &Report<'_>) -> String {
    let (parts, n) = (report.parts, report.finalists.len());
    match (report.kept, report.gain) {
        (Kept::Best, Some(gain)) => format!(
            "On {parts} parts of the rows that the search did not use, the best of {n}: accuracy {:.4} instead of {:.4}, {}, loss {:.4} instead of {:.4}.",
            report.best.accuracy,
            report.job.accuracy,
            points(gain),
            report.best.loss,
            report.job.loss
        ),
        _ if parts < 2 => format!(
            "The budget was over before the best were compared: this is the job as it was (accuracy {:.4}).",
            report.job.accuracy
        ),
        _ if n < 2 => format!(
            "Nothing else was measured on all parts: this is the job as it was (accuracy {:.4}).",
            report.job.accuracy
        ),
        _ => format!(
            "Nothing was better by more than chance on {parts} parts: this is the job as it was (accuracy {:.4}).",
            report.job.accuracy
        ),
    }
}

/// What each changed setting gained, in front of its first key.
pub(super) fn remarks(found: &Found, space: &Space) -> Vec<Remark> {
    let gain = |number| found.gains.iter().find(|(d, _)| *d == number).map(|(_, gain)| *gain);
    let all = found.best.changes(space).into_iter();
    all.filter_map(|(number, dimension, choice)| {
        let measured = gain(number).map_or_else(
            || "what it gains alone was not measured: the budget was over".to_owned(),
            |gain| format!("{}, loss {:+.4}", points(gain), gain.loss),
        );
        let (name, base) = (dimension.name, &dimension.base);
        let path = choice.changes.first()?.path.to_owned();
        Some(Remark {
            path,
            text: format!("{name} {} instead of {base}: {measured}", choice.shown),
        })
    })
    .collect()
}

pub(super) fn report_text(report: &Report<'_>) -> String {
    let rows: Vec<Vec<String>> = report
        .finalists
        .iter()
        .map(|f| {
            let Scores { accuracy, loss, .. } = f.scores;
            let numbers = [
                format!("{accuracy:.4}"),
                points(f.gain),
                format!("{loss:.4}"),
                f.parameters.to_string(),
            ];
            std::iter::once(f.settings.clone()).chain(numbers).collect()
        })
        .collect();
    let mut text = table(&["settings", "accuracy", "beside the job", "loss", "parameters"], &rows);
    let choices: Vec<Vec<String>> = report
        .choices
        .iter()
        .map(|choice| {
            let gain = choice.gain.map_or_else(|| "not measured".to_owned(), points);
            let loss =
                choice.gain.map_or_else(|| "-".to_owned(), |gain| format!("{:+.4}", gain.loss));
            vec![choice.name.to_owned(), choice.from.clone(), choice.to.clone(), gain, loss]
        })
        .collect();
    if !choices.is_empty() {
        text += &format!("\n\n{}", table(&["setting", "from", "to", "gains", "loss"], &choices));
    }
    text += &format!(
        "\n\n{}: {} of {} trials, {} models trained ({:.0} s)\n{}",
        shown(&report.out),
        report.trials,
        report.planned_trials,
        report.trainings,
        report.wall_s,
        outcome_text(report)
    );
    if !report.failed.is_empty() {
        text += &format!(
            "\n{} of the settings could not be trained (--json says why)",
            report.failed.len()
        );
    }
    match report.ended {
        Ended::Done => {}
        Ended::WhileSearching => {
            text += "\nthe budget was over before all trials were made; go on with --resume";
        }
        Ended::WhileComparing => {
            text += "\nthe budget was over before all was compared; go on with --resume";
        }
    }
    text
}
