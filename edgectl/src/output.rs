//! The one place that prints: results on stdout, progress, notes and errors on stderr.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::cli::Common;
use crate::metrics::Metrics;
use crate::training::{Epoch, Progress, RangeTest};

/// How a subcommand speaks.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    /// As the command line says.
    pub fn new(common: &Common) -> Self {
        Self { json: common.json, quiet: common.quiet }
    }

    /// The result: one JSON object with `--json`, else the text.
    ///
    /// # Errors
    /// If stdout is closed, or a number cannot be written as JSON.
    pub fn result(self, json: &impl Serialize, text: &str) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, json)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", text.trim_end())?;
        }
        Ok(())
    }

    /// A line about what is going on, to stderr.
    pub fn note(self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
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
    pub fn training(self, what: &str, epochs: u32) -> TrainingBar {
        TrainingBar { output: self, bar: self.bar(0, what), epochs }
    }
}

/// Prints an error and its causes, to stderr. A cause that the text before it already quotes is
/// not said twice.
pub fn error(error: &anyhow::Error) {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    let _ = writeln!(std::io::stderr(), "error: {text}");
}

/// Shows training on a terminal; without one, prints about ten lines over the whole run.
#[derive(Debug)]
pub struct TrainingBar {
    output: Output,
    bar: ProgressBar,
    epochs: u32,
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
        let every = (self.epochs / 10).max(1);
        if self.bar.is_hidden()
            && (epoch.number.is_multiple_of(every) || epoch.number == self.epochs)
        {
            self.output.note(&format!("epoch {}/{}: {line}", epoch.number, self.epochs));
        }
    }
}

impl Drop for TrainingBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A table with a header; numbers are right-aligned.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
    for row in rows {
        table.add_row(row);
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

/// Metrics as a person reads them: summary, a line per class, confusion matrix.
pub fn metrics_text(metrics: &Metrics) -> String {
    let classes: Vec<&str> = metrics.per_class.iter().map(|c| c.class.as_str()).collect();
    let per_class: Vec<Vec<String>> = metrics
        .per_class
        .iter()
        .map(|c| {
            vec![c.class.clone(), c.n.to_string(), share(c.recall), share(c.precision), share(c.f1)]
        })
        .collect();
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
    format!(
        "{} windows: accuracy {:.4}, loss {:.4}, macro F1 {:.4}\n\n{}\n\n{}",
        metrics.n,
        metrics.accuracy,
        metrics.loss,
        metrics.macro_f1,
        table(&["class", "windows", "recall", "precision", "F1"], &per_class),
        table(&header, &confusion)
    )
}
