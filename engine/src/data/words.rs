//! What was understood, in a few lines for people.

use super::digits::{short, six_digits, some};
use super::reading::{Layout, Roles, Selection, TimeUnit};
use super::tally::Counted;
use super::times::shown_date;
use super::understood::{FilesRead, SplitFound, Understood};

impl Understood {
    /// A few lines for people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.read.iter().map(FilesRead::line).collect();
        let channels = self.channels.iter().map(|channel| {
            let range = match (channel.min, channel.max) {
                (Some(min), Some(max)) => format!(" {} to {}", short(min), short(max)),
                _ => " without a value".to_owned(),
            };
            let missing = match channel.missing {
                0 => String::new(),
                n => format!(" ({n} missing)"),
            };
            format!("{}{range}{missing}", channel.name)
        });
        let of = match self.distinct_series {
            n if n > 0 && n != self.series => format!("{n} series in "),
            _ => String::new(),
        };
        let nodes =
            if self.nodes > 1 { format!(" of {} nodes", self.nodes) } else { String::new() };
        lines.push(format!(
            "{} steps in {of}{} runs of rows{nodes}; channels: {}",
            self.steps,
            self.series,
            some(channels)
        ));
        if !self.texts.is_empty() {
            let texts = self.texts.iter().map(|text| {
                let more = if text.and_more { "more than " } else { "" };
                let dots = if text.values > text.some.len() { ", …" } else { "" };
                format!(
                    "{} ({more}{} values: {}{dots})",
                    text.name,
                    text.values,
                    text.some.join(", ")
                )
            });
            lines.push(format!("text, passed over: {}", some(texts)));
        }
        if !self.classes.is_empty() {
            let classes = self.classes.iter().map(|class| format!("{} {}", class.name, class.rows));
            lines.push(format!("classes, with their rows: {}", some(classes)));
        }
        lines.extend(self.times_line());
        lines.extend(self.split.line());
        if self.left_out > 0 {
            lines.push(format!(
                "{} rows are left out, as data.split or a table says",
                self.left_out
            ));
        }
        if self.not_wanted > 0 {
            lines.push(format!("{} rows are left out by data.where", self.not_wanted));
        }
        lines
    }

    /// The times, where something can be said of them beside their order.
    fn times_line(&self) -> Option<String> {
        let rate = self.rate_hz.map(|rate| format!("{} rows a second", six_digits(rate)));
        let times = self.times.as_ref().filter(|times| times.seconds).map(|times| {
            let shown = |time: f64| {
                if times.dates {
                    shown_date(time)
                } else {
                    format!("{} s", (time * 1e6).round() / 1e6)
                }
            };
            let step = times.step.map(|step| format!(", a step of {} s", short(step)));
            format!("{} to {}{}", shown(times.first), shown(times.last), step.unwrap_or_default())
        });
        let gaps = (self.gaps > 0).then(|| format!("{} gaps", self.gaps));
        let parts: Vec<String> = [times, rate, gaps].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| format!("times: {}", parts.join("; ")))
    }
}

impl SplitFound {
    /// How many rows are for what.
    fn line(&self) -> Option<String> {
        let parts =
            [("to train on", self.train), ("for the test", self.test), ("unmarked", self.unmarked)];
        let parts = parts.iter().filter(|(_, counted)| counted.series > 0);
        let parts: Vec<String> = parts
            .map(|(what, Counted { series, steps })| {
                format!("{steps} steps in {series} runs {what}")
            })
            .collect();
        if self.by.is_empty() {
            return (self.unmarked.steps > 0).then(|| {
                "split: nothing marks rows for the test, so all are trained on; data.split says some".to_owned()
            });
        }
        Some(format!("split by {}: {}", self.by.join(", and by "), parts.join(", ")))
    }
}

impl FilesRead {
    fn line(&self) -> String {
        let Self { files, first, reading } = self;
        let layout = match reading.layout {
            Layout::Long => "a long table: each row is a time step",
            Layout::Wide => "a wide table: each row is a sample",
            Layout::Ts => "in .ts format: each line is a sample",
            Layout::Samples => "as samples or recordings, each a series",
            Layout::Recording => "a recording: each row, sample or frame is a time step",
            Layout::Beside => {
                return format!(
                    "{first}: not read, as a table beside recordings is no data; data.labels or \
                     data.split_file make use of one"
                );
            }
        };
        let more = if *files > 1 { format!(" and {} more", files - 1) } else { String::new() };
        let Roles { series, time, label, split, node } = &reading.roles;
        let parts = [
            ("series", series),
            ("time", time),
            ("label", label),
            ("split", split),
            ("node", node),
        ];
        let unit = reading.time_unit.map_or("", TimeUnit::words);
        let parts: String = parts
            .iter()
            .filter_map(|(part, column)| {
                let unit = if *part == "time" { unit } else { "" };
                Some(format!("; {part} from {:?}{unit}", column.as_ref()?))
            })
            .collect();
        let decimal =
            reading.decimal.map(|sign| format!("; {sign:?} before decimals")).unwrap_or_default();
        let Selection { counters, ignored, only, order, joined, .. } = &reading.selection;
        let several = |what: &str, names: &[String]| match names {
            [] => String::new(),
            names => format!("; {what} {}", some(names.iter().cloned())),
        };
        let selection = [
            order.as_ref().map(|order| format!("; {order}")).unwrap_or_default(),
            several("only rows where", only),
            several("ignored:", ignored),
            several(
                "ignored, as it counts the rows:",
                &counters.iter().map(|n| format!("{n:?}")).collect::<Vec<_>>(),
            ),
            several("joined by time:", joined),
        ]
        .concat();
        format!("{first}{more}: read as {layout}{parts}{decimal}{selection}")
    }
}
