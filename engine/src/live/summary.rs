//! What a run has done, at its end.

use std::collections::BTreeMap;

use serde::Serialize;

use super::answer::Status;
use super::counters::{Counters, Histogram, get};

/// What a run has done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Rows that were taken.
    pub rows: u64,
    /// Lines that were no row.
    pub bad_lines: u64,
    /// Rows that the model's job does not read.
    pub not_wanted: u64,
    /// Series at the end.
    pub series: usize,
    /// Windows that were due.
    pub due: u64,
    /// Answers by their status; together as many as windows were due.
    pub answers: BTreeMap<&'static str, u64>,
    /// Windows that were dropped as nobody took answers away; they are among the dropped ones.
    pub lost_output: u64,
    /// Answers whose lines were not written, as nobody took them away at the end.
    pub unwritten: u64,
    /// From the arrival of a window's last row to its answer, of those that a model answered.
    pub latency_us: Quantiles,
    /// How long the model took.
    pub inference_us: Quantiles,
    /// Seconds of processors for a thousand answers of a model, with all that is around them.
    pub cpu_s_per_1000: Option<f64>,
    /// Windows whose class was told afterwards.
    pub labels: u64,
    /// Labels of no window that was known.
    pub labels_lost: u64,
    /// Models that became live after the first.
    pub reloads: u64,
    /// Models that were refused.
    pub refused: u64,
    /// Models that were live, and taken back.
    pub rollbacks: u64,
    /// Events that were lost, as too many came at once.
    pub lost_events: u64,
    /// The model that was live at the end, and its round.
    pub model: String,
    /// See [`model`](Self::model).
    pub round: u32,
    /// Seconds from the first to the last.
    pub wall_s: f64,
}

/// Durations in microseconds, to 3 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// Half are no longer.
    pub p50: Option<u64>,
    /// Of a hundred, 99 are no longer.
    pub p99: Option<u64>,
    /// The longest, exactly.
    pub max: Option<u64>,
}

impl Quantiles {
    /// Of what was counted.
    pub fn of(histogram: &Histogram) -> Self {
        let [p50, p99] = [0.5, 0.99].map(|share| histogram.quantile(share));
        Self { p50, p99, max: histogram.longest() }
    }

    fn words(self) -> String {
        let of = |us: Option<u64>| us.map_or_else(|| "-".to_owned(), |us| us.to_string());
        format!("{} / {} / {}", of(self.p50), of(self.p99), of(self.max))
    }
}

/// Every status that came, with its number.
pub(super) fn answers(counters: &Counters) -> BTreeMap<&'static str, u64> {
    let all = Status::ALL.into_iter().map(|status| (status.name(), counters.answers(status)));
    all.filter(|&(_, n)| n > 0).collect()
}

impl Summary {
    /// Of what was counted; what the counters do not know is left open.
    pub(super) fn of(counters: &Counters, cpu_s: Option<f64>) -> Self {
        let inferred = counters.inference.total();
        Self {
            rows: get(&counters.rows),
            bad_lines: get(&counters.bad_lines),
            not_wanted: get(&counters.not_wanted),
            series: 0,
            due: get(&counters.due),
            answers: answers(counters),
            lost_output: get(&counters.lost_output),
            unwritten: get(&counters.due).saturating_sub(get(&counters.written)),
            latency_us: Quantiles::of(&counters.latency),
            inference_us: Quantiles::of(&counters.inference),
            cpu_s_per_1000: cpu_s.filter(|_| inferred > 0).map(|s| 1000.0 * s / inferred as f64),
            labels: get(&counters.labels),
            labels_lost: get(&counters.labels_lost),
            reloads: get(&counters.reloads),
            refused: get(&counters.refused),
            rollbacks: get(&counters.rollbacks),
            lost_events: 0,
            model: String::new(),
            round: 0,
            wall_s: 0.0,
        }
    }

    /// Names and values, for a table.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let answers: Vec<String> =
            self.answers.iter().map(|(status, n)| format!("{n} {status}")).collect();
        let mut lines = vec![
            ("rows", format!("{} of {} series", self.rows, self.series)),
            ("bad lines", self.bad_lines.to_string()),
            ("due windows", self.due.to_string()),
            ("answers", if answers.is_empty() { "none".to_owned() } else { answers.join(", ") }),
            ("latency p50 / p99 / max", format!("{} µs", self.latency_us.words())),
            ("inference p50 / p99 / max", format!("{} µs", self.inference_us.words())),
        ];
        if let Some(cpu_s) = self.cpu_s_per_1000 {
            lines.push(("CPU per 1,000 answers", format!("{cpu_s:.3} s")));
        }
        let some = [
            ("rows not read by the job", self.not_wanted),
            ("dropped as nobody read answers", self.lost_output),
            ("lines not written", self.unwritten),
            ("windows with a label", self.labels),
            ("labels of no known window", self.labels_lost),
            ("models that became live", self.reloads),
            ("models refused", self.refused),
            ("models taken back", self.rollbacks),
            ("events lost", self.lost_events),
        ];
        lines.extend(
            some.into_iter().filter(|&(_, n)| n > 0).map(|(name, n)| (name, n.to_string())),
        );
        lines
    }
}
