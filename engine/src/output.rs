//! The one place that prints: results on stdout, progress, notes and errors on stderr.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::cli::Common;
use crate::data::Understood;
use crate::lines::Lines;
use crate::metrics::{ClassMetrics, Metrics};
use crate::training::{Epoch, Progress, RangeTest};

/// How a subcommand speaks.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    quiet: bool,
    /// Whether it is a part of what another command does.
    aside: bool,
}

impl Output {
    /// As the command line says.
    pub fn new(common: &Common) -> Self {
        Self { json: common.json, quiet: common.quiet, aside: false }
    }

    /// The same for a command that is a part of another one: with its bars and warnings, but without its notes and
    /// its result.
    #[must_use]
    pub fn aside(self) -> Self {
        Self { aside: true, ..self }
    }

    /// The result: one JSON object with `--json`, else the text, whose lines are kept. That nobody
    /// reads it to its end is no error: the work is done.
    ///
    /// # Errors
    /// If stdout cannot be written, or a number cannot be written as JSON.
    pub fn result(self, json: &impl Serialize, text: &str) -> anyhow::Result<()> {
        if self.aside {
            return Ok(());
        }
        match self.write_result(json, text) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written.context("stdout: cannot write the result"),
        }
    }

    fn write_result(self, json: &impl Serialize, text: &str) -> io::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        if self.json {
            writeln!(out, "{}", plain_json(&serde_json::to_string(json)?))?;
        } else {
            writeln!(out, "{}", shown_lines(text.trim_end()))?;
        }
        out.flush()
    }

    /// Where answers go that come while the command runs: lines of JSON on stdout, and nothing else there.
    pub fn answers() -> io::Stdout {
        io::stdout()
    }

    /// An event, as one line of JSON, to stderr.
    pub fn event(self, json: &str) {
        say(&plain_json(json));
    }

    /// What was done, where stdout is for answers: to stderr, as one line of JSON with `--json`, else as text.
    ///
    /// # Errors
    /// If a number cannot be written as JSON.
    pub fn summary(self, json: &impl Serialize, text: &str) -> anyhow::Result<()> {
        if self.json {
            say(&plain_json(&serde_json::to_string(json)?));
        } else if !self.quiet {
            say(&shown_lines(text.trim_end()));
        }
        Ok(())
    }

    /// A line about what is going on, to stderr.
    pub fn note(self, text: &str) {
        if !self.quiet && !self.aside {
            say(&shown(text));
        }
    }

    /// A line about what is likely not as it should be, to stderr, also where progress is not wanted.
    pub fn warn(self, text: &str) {
        say(&format!("warning: {}", shown(text)));
    }

    /// What was taken from the data, to stderr.
    pub fn understood(self, understood: &Understood) {
        understood.lines().iter().for_each(|line| self.note(line));
        understood.warnings.iter().for_each(|warning| self.warn(warning));
    }

    /// A text in place of the one before, on a terminal; elsewhere below it.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub fn screen(self, text: &str) -> anyhow::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        let clear = if io::stdout().is_terminal() { "\u{1b}[2J\u{1b}[H" } else { "" };
        let written =
            writeln!(out, "{clear}{}\n", shown_lines(text.trim_end())).and_then(|()| out.flush());
        written.context("stdout: cannot write the result")
    }

    /// A bar on a terminal, nothing elsewhere.
    pub fn bar(self, len: u64, what: &str) -> ProgressBar {
        let target = if self.quiet || !std::io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(8)
        };
        let bar = ProgressBar::with_draw_target(Some(len), target);
        let style = "{prefix} [{bar:30}] {pos}/{len} {msg} ({eta} left)";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(500));
        bar
    }

    /// A bar of training steps, with a line per epoch where stderr is no terminal.
    pub fn training(self, what: &str) -> TrainingBar {
        TrainingBar { output: self, bar: self.bar(0, what) }
    }
}

/// A line on stderr, if anybody reads it.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether a character steers a terminal, ends a line, or turns the direction of reading.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text of a file, a name or a peer on one line: what would steer a terminal, end the line or turn
/// the direction of reading is shown as its escape, as `\u{1b}` or `\n`.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    Cow::Owned(plain)
}

/// JSON whose strings hold what [`shown`] would not let through as escapes, which mean the same.
fn plain_json(json: &str) -> Cow<'_, str> {
    if !json.contains(steers) {
        return Cow::Borrowed(json);
    }
    let mut plain = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if steers(c) {
            // None of them is beyond the first 65,536.
            plain.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            plain.push(c);
        }
    }
    Cow::Owned(plain)
}

/// Prints what is wrong with a command line, to stderr.
pub fn usage_error(message: &str) {
    say(&shown_lines(message.trim_end()));
}

/// The same of a text that is laid out in lines.
fn shown_lines(text: &str) -> String {
    text.split('\n').map(shown).collect::<Vec<_>>().join("\n")
}

/// Prints an error and its causes, to stderr. A cause that the text before it already quotes is
/// not said twice.
pub fn error(error: &anyhow::Error) {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = message(cause);
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    say(&format!("error: {text}"));
}

/// The message of one cause, in its lines where it is laid out in several.
fn message(cause: &(dyn std::error::Error + 'static)) -> String {
    if let Some(lines) = cause.downcast_ref::<Lines>() {
        return lines.iter().map(shown).collect::<Vec<_>>().join("\n");
    }
    if let Some(error) = cause.downcast_ref::<aggregate::Error>() {
        let lines = error.message_lines();
        return lines.iter().map(|line| shown(line)).collect::<Vec<_>>().join("\n");
    }
    shown(&cause.to_string()).into_owned()
}

/// Shows training on a terminal; without one, prints about ten lines over the whole run.
#[derive(Debug)]
pub struct TrainingBar {
    output: Output,
    bar: ProgressBar,
}

impl Progress for TrainingBar {
    fn chosen(&mut self, found: &RangeTest) {
        let text = format!("learning rate {} of {} that were tried", found.lr, found.tried.len());
        self.bar.suspend(|| self.output.note(&text));
    }

    fn begin(&mut self, steps: u64, done: u64) {
        self.bar.set_length(steps);
        self.bar.set_position(done);
    }

    fn step(&mut self) {
        self.bar.inc(1);
    }

    fn epoch(&mut self, epoch: &Epoch) {
        let val = epoch
            .val
            .map(|(loss, accuracy)| format!(", held out: loss {loss:.4}, accuracy {accuracy:.4}"))
            .unwrap_or_default();
        let line = format!("loss {:.4}, accuracy {:.4}{val}", epoch.loss, epoch.accuracy);
        self.bar.set_message(line.clone());
        let every = (epoch.planned / 10).max(1);
        if self.bar.is_hidden()
            && (epoch.number.is_multiple_of(every) || epoch.number == epoch.planned)
        {
            self.output.note(&format!("epoch {}/{}: {line}", epoch.number, epoch.planned));
        }
    }
}

impl Drop for TrainingBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A table with a header; numbers are right-aligned, and every cell is one line.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    let header = header.iter().map(|cell| shown(cell));
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
    for row in rows {
        table.add_row(row.iter().map(|cell| shown(cell)));
    }
    for (i, column) in table.column_iter_mut().enumerate() {
        let numeric = |row: &Vec<String>| {
            row.get(i).is_some_and(|cell| {
                cell == "-" || cell.trim_end_matches('%').parse::<f64>().is_ok()
            })
        };
        if rows.iter().all(numeric) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// A share with three decimals, `-` for none.
fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"))
}

/// Most classes in the tables that people read; JSON has all.
const MOST_SHOWN: usize = 30;

/// Metrics as a person reads them: summary, a line per class, confusion matrix. Of many classes those
/// that have most windows, and no matrix.
pub fn metrics_text(metrics: &Metrics) -> String {
    let n_classes = metrics.per_class.len();
    let mut shown_classes: Vec<&ClassMetrics> = metrics.per_class.iter().collect();
    if n_classes > MOST_SHOWN {
        shown_classes.sort_by_key(|c| Reverse(c.n));
        shown_classes.truncate(MOST_SHOWN);
    }
    let per_class: Vec<Vec<String>> = shown_classes
        .iter()
        .map(|c| {
            vec![c.class.clone(), c.n.to_string(), share(c.recall), share(c.precision), share(c.f1)]
        })
        .collect();
    let uncalibrated = metrics.ece_uncalibrated;
    let uncalibrated =
        uncalibrated.map(|ece| format!(" ({ece:.4} without temperature)")).unwrap_or_default();
    let summary = format!(
        "{} windows: accuracy {:.4}, loss {:.4}, macro F1 {:.4}, ECE {:.4}{}\n\n{}\n",
        metrics.n,
        metrics.accuracy,
        metrics.loss,
        metrics.macro_f1,
        metrics.ece,
        uncalibrated,
        table(&["class", "windows", "recall", "precision", "F1"], &per_class),
    );
    if n_classes > MOST_SHOWN {
        let others = n_classes - MOST_SHOWN;
        return format!(
            "{summary}and {others} more classes with as many windows or fewer (--json has all)"
        );
    }
    let classes: Vec<&str> = shown_classes.iter().map(|c| c.class.as_str()).collect();
    let mut header = vec!["true \\ answer"];
    header.extend(&classes);
    let confusion: Vec<Vec<String>> = metrics
        .confusion
        .iter()
        .zip(&classes)
        .map(|(row, class)| {
            std::iter::once((*class).to_owned()).chain(row.iter().map(usize::to_string)).collect()
        })
        .collect();
    format!("{summary}\n{}", table(&header, &confusion))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_shown_as_its_escape() {
        for (text, expected) in [
            ("plain ü 漢 \\ '\"", "plain ü 漢 \\ '\""),
            ("a\nerror: b\r\tc", "a\\nerror: b\\r\\tc"),
            ("\u{1b}[2J\u{7}\u{9b}1m\u{0}", "\\u{1b}[2J\\u{7}\\u{9b}1m\\u{0}"),
            ("\u{202e}fdp\u{2028}\u{85}", "\\u{202e}fdp\\u{2028}\\u{85}"),
        ] {
            assert_eq!(shown(text), expected);
        }
        assert_eq!(shown_lines("a\u{1b}\nb"), "a\\u{1b}\nb");
    }

    #[test]
    fn a_cell_is_one_line() {
        let text = table(&["a\nb"], &[vec!["1\n2".to_owned()]]);
        assert!(text.contains("a\\nb") && text.contains("1\\n2"), "{text}");
    }
}
