//! What is counted, as Prometheus reads it: its text format 0.0.4.

use std::fmt::{Display, Write};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::live::answer::Status;
use crate::live::board::Figure;
use crate::live::counters::{CONFIDENCES, Counters, Histogram, get};
use crate::system::cpu_s;

/// Bounds of histograms of durations, in microseconds: 50 µs to 1 s.
const BOUNDS_US: [u64; 14] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000,
];

/// What stands beside the counters.
#[derive(Debug)]
pub(super) struct Beside<'a> {
    /// The classes' names.
    pub(super) classes: &'a [String],
    /// How long an answer may take.
    pub(super) deadline: Option<Duration>,
    /// Rows of each source.
    pub(super) sources: &'a [(String, u64)],
    /// Series that run.
    pub(super) series: usize,
    /// Events that were lost.
    pub(super) lost_events: u64,
}

/// All that is counted.
pub(super) fn text(counters: &Counters, beside: &Beside<'_>) -> String {
    let mut page = Page(String::with_capacity(1 << 13));
    let count = |counter: &AtomicU64| get(counter) as f64;
    page.family("rows_total", "counter", "Rows that were taken, by their source.");
    for (source, n) in beside.sources {
        page.value("rows_total", &[("source", source)], *n as f64);
    }
    page.family("rows_bad_total", "counter", "Lines that were not taken, by the reason.");
    page.value("rows_bad_total", &[("reason", "no-row")], count(&counters.bad_lines));
    page.value("rows_bad_total", &[("reason", "not-of-the-job")], count(&counters.not_wanted));
    page.one("series", "gauge", "Series that run.", beside.series as f64);
    page.one("windows_due_total", "counter", "Windows that were due.", count(&counters.due));
    page.family("answers_total", "counter", "Answers by their status; together the due windows.");
    for status in Status::ALL {
        page.value("answers_total", &[("status", status.name())], counters.answers(status) as f64);
    }
    page.durations(
        "answer_latency_seconds",
        "From the arrival of a window's last row to its answer.",
        &counters.latency,
    );
    page.durations("inference_seconds", "How long the model took.", &counters.inference);
    if let Some(deadline) = beside.deadline {
        page.one(
            "deadline_seconds",
            "gauge",
            "How long an answer may take.",
            deadline.as_secs_f64(),
        );
    }
    page.family("predictions_total", "counter", "Answers of each class.");
    for (class, n) in beside.classes.iter().zip(counters.predictions()) {
        page.value("predictions_total", &[("class", class)], n as f64);
    }
    page.confidence(counters);
    page.signals(counters);
    page.family("model_info", "gauge", "Models that are known, and what became of them.");
    for model in counters.board.models() {
        let round = model.round.to_string();
        let labels = [("hash", &*model.hash), ("round", &round), ("state", model.state)];
        page.value("model_info", &labels, 1.0);
    }
    page.family(
        "reloads_total",
        "counter",
        "Models that were put in place, by what became of them.",
    );
    page.value("reloads_total", &[("result", "live")], count(&counters.reloads));
    page.value("reloads_total", &[("result", "refused")], count(&counters.refused));
    page.figures(counters);
    let lost = count(&counters.lost_output);
    page.one("output_lost_total", "counter", "Windows dropped as nobody read answers.", lost);
    let lost = beside.lost_events as f64;
    page.one("events_lost_total", "counter", "Events lost as too many came at once.", lost);
    if let Some(seconds) = cpu_s() {
        page.one("cpu_seconds_total", "counter", "Seconds of processors of the process.", seconds);
    }
    page.0
}

/// The name of a figure, its kind, the name of what it is of, and what it is.
fn of_figure(figure: Figure) -> (&'static str, &'static str, &'static str, &'static str) {
    match figure {
        Figure::Labels => (
            "labels_total",
            "counter",
            "result",
            "Labels that came back, by whether a window was found.",
        ),
        Figure::Accuracy => {
            ("accuracy", "gauge", "of", "The share of right answers where labels came back.")
        }
        Figure::AccuracyEstimate => (
            "accuracy_estimate",
            "gauge",
            "of",
            "The share of right answers as guessed without labels, if nothing but inputs shift.",
        ),
        Figure::Rollbacks => {
            ("rollbacks_total", "counter", "reason", "Models that were rolled back, by the reason.")
        }
        Figure::AdaptSteps => {
            ("adapt_steps_total", "counter", "of", "Steps of training in the slack.")
        }
        Figure::AdaptCpuSeconds => (
            "adapt_cpu_seconds_total",
            "counter",
            "of",
            "Seconds of processors that training in the slack took.",
        ),
        Figure::ReplayWindows => ("replay_windows", "gauge", "of", "Windows in the replay."),
        Figure::ThrottledSeconds => (
            "throttled_seconds_total",
            "counter",
            "of",
            "Seconds in which the system held the process back.",
        ),
        Figure::ThrottledPeriods => (
            "throttled_periods_total",
            "counter",
            "of",
            "Periods in which the system held the process back.",
        ),
        Figure::AbstainThreshold => {
            ("abstain_threshold", "gauge", "of", "A less probable answer is kept back.")
        }
        Figure::StrideFactor => {
            ("stride_factor", "gauge", "of", "Every how many-th window is due under this load.")
        }
        Figure::LeftOut => (
            "windows_left_out_total",
            "counter",
            "of",
            "Windows that were not due, by the stride factor.",
        ),
        Figure::Unwatched => (
            "unwatched_total",
            "counter",
            "of",
            "Windows that the monitor passed over, as it had no time for them.",
        ),
    }
}

/// The text so far.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let Self(text) = self;
        // Writing to memory cannot fail.
        let _ = writeln!(text, "# HELP edgectl_{name} {help}\n# TYPE edgectl_{name} {kind}");
    }

    /// A family of one value without labels.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.value(name, &[], value);
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let text = &mut self.0;
        let _ = write!(text, "edgectl_{name}");
        for (i, (label, of)) in labels.iter().enumerate() {
            let _ = write!(text, "{}{label}=\"{}\"", if i == 0 { "{" } else { "," }, escaped(of));
        }
        text.push_str(if labels.is_empty() { " " } else { "} " });
        let _ = match value {
            f64::INFINITY => writeln!(text, "+Inf"),
            f64::NEG_INFINITY => writeln!(text, "-Inf"),
            value => writeln!(text, "{value}"),
        };
    }

    /// A histogram: how many values are at most each bound, and all together.
    fn histogram(&mut self, name: &str, bounds: &[(impl Display, u64)], total: u64, sum: f64) {
        let bucket = format!("{name}_bucket");
        for (bound, n) in bounds {
            self.value(&bucket, &[("le", &bound.to_string())], *n as f64);
        }
        self.value(&bucket, &[("le", "+Inf")], total as f64);
        self.value(&format!("{name}_sum"), &[], sum);
        self.value(&format!("{name}_count"), &[], total as f64);
    }

    fn durations(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let counts = histogram.counts();
        let at_most = Histogram::no_longer(&counts, &BOUNDS_US);
        let seconds = BOUNDS_US.iter().map(|&us| us as f64 / 1e6);
        let bounds: Vec<(f64, u64)> = seconds.zip(at_most).collect();
        self.histogram(name, &bounds, counts.iter().sum(), histogram.sum() as f64 / 1e6);
    }

    fn confidence(&mut self, counters: &Counters) {
        self.family("confidence", "histogram", "The probability of the class that was answered.");
        let (counts, sum) = counters.confidences();
        let mut total = 0;
        let bounds: Vec<(f32, u64)> = CONFIDENCES
            .into_iter()
            .zip(counts)
            .map(|(bound, n)| {
                total += n;
                (bound, total)
            })
            .collect();
        self.histogram("confidence", &bounds, total, sum);
    }

    fn signals(&mut self, counters: &Counters) {
        let signals = counters.board.signals();
        if signals.is_empty() {
            return;
        }
        self.family("drift_statistic", "gauge", "Where each detector is.");
        for signal in &signals {
            self.value("drift_statistic", &[("signal", signal.signal)], signal.statistic);
        }
        self.family("drift_threshold", "gauge", "Above it the detector gives an alarm.");
        for signal in &signals {
            self.value("drift_threshold", &[("signal", signal.signal)], signal.threshold);
        }
        self.family("drift_alarms_total", "counter", "How often there was an alarm.");
        for signal in &signals {
            self.value("drift_alarms_total", &[("signal", signal.signal)], signal.alarms as f64);
        }
    }

    fn figures(&mut self, counters: &Counters) {
        let mut last = None;
        for ((figure, of), value) in counters.board.figures() {
            let (name, kind, label, help) = of_figure(figure);
            if last != Some(figure) {
                self.family(name, kind, help);
                last = Some(figure);
            }
            let labels = [(label, &*of)];
            self.value(name, if of.is_empty() { &[] } else { &labels }, value);
        }
    }
}

/// A label's text: what would end it is escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::live::answer::Answer;
    use crate::live::board::Signal;

    fn page(counters: &Counters) -> String {
        let classes = ["a\"\\\nb".to_owned(), "c".to_owned()];
        let deadline = Some(Duration::from_millis(50));
        let sources = [("stdin".to_owned(), 7), ("http".to_owned(), 2)];
        let beside =
            Beside { classes: &classes, deadline, sources: &sources, series: 3, lost_events: 0 };
        text(counters, &beside)
    }

    #[test]
    fn all_that_is_counted_is_told() {
        let counters = Counters::of_classes(2);
        for (us, p) in [(40, 0.3), (60, 0.95), (1_000_000, 0.999), (3_000_000, 1.0)] {
            let mut answer = Answer::without_model(0, &Arc::from("s"), Status::Ok);
            (answer.age_us, answer.infer_us) = (us, Some(us / 2));
            answer.class = Some((0, p));
            counters.answered(&answer);
        }
        counters.board.model("9f", 20, "live", None);
        let signal = "confidence";
        let (statistic, threshold) = (13.9, f64::INFINITY);
        counters.board.set_signals(&[Signal {
            signal,
            statistic,
            threshold,
            alarms: 1,
            notice: false,
        }]);
        counters.board.add(Figure::Labels, "matched", 5.0);
        counters.board.set(Figure::Accuracy, "", 0.5);
        counters.board.set(Figure::ThrottledSeconds, "", 1.5);
        counters.board.set(Figure::ThrottledPeriods, "", 3.0);
        counters.board.set(Figure::AbstainThreshold, "", 0.625);
        counters.board.set(Figure::StrideFactor, "", 2.0);
        counters.board.set(Figure::LeftOut, "", 40.0);
        let page = page(&counters);
        for line in [
            "edgectl_rows_total{source=\"stdin\"} 7",
            "edgectl_answers_total{status=\"ok\"} 4",
            "edgectl_answers_total{status=\"bad-input\"} 0",
            "edgectl_answer_latency_seconds_bucket{le=\"0.00005\"} 1",
            "edgectl_answer_latency_seconds_bucket{le=\"0.0001\"} 2",
            "edgectl_answer_latency_seconds_bucket{le=\"1\"} 3",
            "edgectl_answer_latency_seconds_bucket{le=\"+Inf\"} 4",
            "edgectl_answer_latency_seconds_sum 4.0001",
            "edgectl_answer_latency_seconds_count 4",
            "edgectl_deadline_seconds 0.05",
            "edgectl_predictions_total{class=\"a\\\"\\\\\\nb\"} 4",
            "edgectl_predictions_total{class=\"c\"} 0",
            "edgectl_confidence_bucket{le=\"0.3\"} 1",
            "edgectl_confidence_bucket{le=\"0.99\"} 2",
            "edgectl_confidence_bucket{le=\"1\"} 4",
            "edgectl_drift_statistic{signal=\"confidence\"} 13.9",
            "edgectl_drift_threshold{signal=\"confidence\"} +Inf",
            "edgectl_drift_alarms_total{signal=\"confidence\"} 1",
            "edgectl_model_info{hash=\"9f\",round=\"20\",state=\"live\"} 1",
            "edgectl_reloads_total{result=\"live\"} 0",
            "edgectl_labels_total{result=\"matched\"} 5",
            "edgectl_accuracy 0.5",
            "# TYPE edgectl_throttled_seconds_total counter",
            "edgectl_throttled_seconds_total 1.5",
            "# TYPE edgectl_throttled_periods_total counter",
            "edgectl_throttled_periods_total 3",
            "# TYPE edgectl_abstain_threshold gauge",
            "edgectl_abstain_threshold 0.625",
            "# TYPE edgectl_stride_factor gauge",
            "edgectl_stride_factor 2",
            "edgectl_windows_left_out_total 40",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(page.ends_with('\n'));
    }

    #[test]
    fn every_value_follows_the_head_of_its_family() {
        let counters = Counters::of_classes(2);
        for figure in [Figure::Labels, Figure::Rollbacks, Figure::Unwatched] {
            counters.board.add(figure, "x", 1.0);
        }
        let page = page(&counters);
        let mut family = "";
        let mut heads = Vec::new();
        for line in page.lines() {
            if let Some(head) = line.strip_prefix("# TYPE ") {
                family = head.split(' ').next().expect("a name");
                heads.push(family);
            } else if !line.starts_with('#') {
                assert!(line.starts_with(family) && !family.is_empty(), "{line} below {family}");
            }
        }
        let n = heads.len();
        heads.sort_unstable();
        heads.dedup();
        assert_eq!(heads.len(), n, "each family once");
    }
}
