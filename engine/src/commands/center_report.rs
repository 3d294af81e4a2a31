//! What a center, or that of a region, reports when it ends.

use std::path::Path;
use std::time::Instant;

use aggregate::atomic_write;
use rounds::{Desk, Hash, Metrics, Outcome};
use serde::Serialize;

use crate::output::{Output, shown};
use crate::system::peak_rss_bytes;

/// Most bytes of a model.
const MOST_MODEL: u64 = 4 << 30;

/// How it ended.
pub(super) struct Ended<'a> {
    pub(super) store: &'a str,
    pub(super) desk: &'a Desk<'a>,
    /// What closed the last round that is closed.
    pub(super) last: Option<Outcome>,
    /// Whether all rounds are.
    pub(super) all: bool,
    /// Rounds that this process saw closed without what was merged here.
    pub(super) not_taken: u32,
    pub(super) began: Instant,
    /// Of a region.
    pub(super) above: Option<Above<'a>>,
}

/// What only a region does.
#[derive(Serialize)]
pub(super) struct Above<'a> {
    /// The store of the center above.
    pub(super) parent: &'a str,
    /// How many updates this process has sent there.
    pub(super) sent: u32,
}

#[derive(Serialize)]
struct Report<'a> {
    store: &'a str,
    #[serde(flatten)]
    above: Option<Above<'a>>,
    job: &'a str,
    rounds: u32,
    /// How many are closed.
    closed: u32,
    not_taken: u32,
    /// What ended it before all were.
    stopped: Option<&'static str>,
    /// The model that stands.
    model: Hash,
    out: Option<String>,
    /// Of the model that stands, on the rows of `--eval-data`, those of the root.
    metrics: Option<Metrics>,
    wall_s: f64,
    peak_rss_bytes: Option<u64>,
}

impl Ended<'_> {
    /// Writes the last model to a file, if all rounds are closed, and says what was done.
    ///
    /// # Errors
    /// If the model cannot be fetched or written.
    pub(super) fn report(self, out: Option<&Path>, output: Output) -> anyhow::Result<()> {
        let board = self.desk.board();
        let job = board.job();
        let model = self.last.as_ref().map_or(job.model, |last| last.model);
        // Who was told to stop does not wait for the store once more.
        let out = out.filter(|_| self.all);
        if let Some(out) = out {
            atomic_write(out, &board.blob(&model, MOST_MODEL)?)?;
        }
        let report = Report {
            store: self.store,
            above: self.above,
            job: &job.job,
            rounds: job.rounds,
            closed: self.last.as_ref().map_or(0, |last| last.round),
            not_taken: self.not_taken,
            stopped: (!self.all).then_some("interrupted"),
            model: model.hash,
            out: out.map(|out| out.display().to_string()),
            metrics: self.last.and_then(|last| last.standing),
            wall_s: self.began.elapsed().as_secs_f64(),
            peak_rss_bytes: peak_rss_bytes(),
        };
        output.result(&report, &text(&report))
    }
}

fn text(report: &Report<'_>) -> String {
    let mut text = format!(
        "{}: {} of {} rounds are closed; the model is {}",
        shown(report.store),
        report.closed,
        report.rounds,
        report.model
    );
    if let Some(out) = &report.out {
        text += &format!(", now in {}", shown(out));
    }
    if let Some(Above { parent, sent }) = &report.above {
        text += &format!("\n{sent} updates were sent to {}", shown(parent));
    }
    if let Some(metrics) = &report.metrics {
        text += &format!(
            "\n{} windows: accuracy {:.4}, loss {:.4}",
            metrics.n, metrics.accuracy, metrics.loss
        );
    }
    if report.not_taken > 0 {
        text += &format!(
            "\nthe merged models of {} rounds were not taken; edgectl status says why",
            report.not_taken
        );
    }
    if report.stopped.is_some() {
        text += "\ninterrupted; start it again to go on";
    }
    text
}
