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
    /// Windows that were not due under load.
    pub left_out: u64,
    /// Seconds for which every n-th window was due, by n; nothing where all always were.
    pub strides: BTreeMap<u64, f64>,
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
    /// What was wrong with the first line that was no row.
    #[serde(skip)]
    pub first_bad: Option<String>,
    /// Rows of each source.
    #[serde(skip)]
    pub sources: Vec<(String, u64)>,
    /// Rows that a window takes.
    #[serde(skip)]
    pub window: usize,
    /// Times at which a series began again, as its time jumped or ran backwards.
    #[serde(skip)]
    pub time_faults: u64,
    /// Series that ended to make room for others.
    #[serde(skip)]
    pub ended: u64,
    /// Whether a signal ended the run.
    #[serde(skip)]
    pub is_stopped: bool,
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
            left_out: 0,
            strides: BTreeMap::new(),
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
            first_bad: counters.first_bad.get().cloned(),
            sources: counters.sources(),
            window: 0,
            time_faults: get(&counters.time_faults),
            ended: 0,
            is_stopped: false,
        }
    }

    /// Why the run came to its end without one answer, and what to do; nothing if it gave some, or was stopped before it
    /// could.
    pub fn nothing(&self) -> Option<String> {
        let given = [Status::Ok, Status::Late, Status::Abstain].map(Status::name);
        let is_given = |status: &str| self.answers.get(status).is_some_and(|n| *n > 0);
        if self.is_stopped || given.into_iter().any(is_given) {
            return None;
        }
        let from: Vec<&str> = self.sources.iter().map(|(source, _)| source.as_str()).collect();
        let from = if from.is_empty() { "the sources".to_owned() } else { from.join(", ") };
        if self.due > 0 {
            let statuses: Vec<String> =
                self.answers.iter().map(|(status, n)| format!("{n} {status}")).collect();
            return Some(format!(
                "{from}: {} windows were due and none was answered: {}; the answers' lines say why",
                self.due,
                statuses.join(", ")
            ));
        }
        let Self { rows, series, window, bad_lines, not_wanted, time_faults, ended, .. } = self;
        if *rows > 0 {
            let mut why = format!(
                "{from}: {rows} rows of {series} series came, and no window was due: a window takes {window} rows of one \
                 series"
            );
            if *time_faults > 0 {
                why += &format!(
                    "; {time_faults} times a series began again, as its time jumped or ran backwards (see --gap)"
                );
            }
            if *ended > 0 {
                why += &format!("; {ended} series ended to make room, as too many ran at once");
            }
            return Some(why);
        }
        Some(if let Some(reason) = &self.first_bad {
            format!("{from}: no row came: none of {bad_lines} lines is one; the first: {reason}")
        } else if *not_wanted > 0 {
            format!(
                "{from}: no row came that the model's job reads: its [data] leaves out all {not_wanted}"
            )
        } else {
            format!(
                "{from}: no row came: give lines as in the files that the model was trained on, a table with its header, \
                 or objects that name their cells"
            )
        })
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
        if !self.strides.is_empty() {
            let seconds = self.strides.iter().map(|(every, s)| format!("{every} for {s:.1} s"));
            lines.push(("stride factor", seconds.collect::<Vec<_>>().join(", ")));
        }
        let some = [
            ("windows left out under load", self.left_out),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::counters::add;

    #[test]
    fn a_run_without_answers_says_why() {
        let counters = Counters::default();
        let _ = counters.rows_of("stdin");
        let said = |change: &dyn Fn(&mut Summary)| {
            let mut summary = Summary::of(&counters, None);
            summary.window = 20;
            change(&mut summary);
            summary.nothing()
        };
        let has = |said: Option<String>, parts: &[&str]| {
            let said = said.expect("it is said");
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        };
        has(said(&|_| {}), &["stdin: no row came", "header"]);
        has(said(&|summary| summary.not_wanted = 7), &["leaves out all 7"]);
        assert_eq!(said(&|summary| summary.is_stopped = true), None);
        let due = |status: &'static str| {
            move |summary: &mut Summary| {
                summary.due = 1;
                summary.answers.insert(status, 1);
            }
        };
        assert_eq!(said(&due("ok")), None);
        assert_eq!(said(&due("abstain")), None);
        has(said(&due("bad-input")), &["1 windows were due", "1 bad-input"]);
        let _ = counters.first_bad.set("EOF".to_owned());
        add(&counters.bad_lines, 3);
        has(said(&|_| {}), &["none of 3 lines", "EOF"]);
        add(&counters.rows, 19);
        has(said(&|summary| summary.series = 2), &["19 rows of 2 series", "takes 20 rows"]);
        has(said(&|summary| summary.ended = 5), &["5 series ended"]);
        has(said(&|summary| summary.time_faults = 4), &["4 times", "--gap"]);
    }
}
