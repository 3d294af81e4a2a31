//! What the demo has shown, at its end.

use serde::Serialize;

use super::story::{Found, Refused, Share, Story};
use crate::live::{Quantiles, Summary};
use crate::output::table;

/// What was seen, and what was not.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    person: String,
    page: Option<&'a str>,
    /// Where all of it is kept.
    out: Option<String>,
    /// Windows that were due, and those that were answered.
    due: u64,
    answered: usize,
    /// Right answers to what is as it was.
    as_before: Share,
    /// The same model's, after the change.
    changed: Share,
    /// The adapted model's, to windows that it has not learned from.
    adapted: Share,
    drift: Option<&'a Found>,
    refused: Option<&'a Refused>,
    latency_us: Quantiles,
    wall_s: f64,
    /// What was not seen.
    missing: Vec<&'static str>,
    commands: &'a [String],
}

impl<'a> Report<'a> {
    pub(super) fn of(
        story: &'a Story,
        summary: &Summary,
        (person, out): (String, Option<String>),
        commands: &'a [String],
        wall_s: f64,
    ) -> Self {
        let [as_before, changed, adapted] = story.accuracies();
        Self {
            person,
            page: story.page.as_deref(),
            out,
            due: summary.due,
            answered: story.answered,
            as_before,
            changed,
            adapted,
            drift: story.found.as_ref(),
            refused: story.refused.as_ref(),
            latency_us: summary.latency_us,
            wall_s,
            missing: story.missing(),
            commands,
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let share = |share: Share| if share.of == 0 { "-".to_owned() } else { share.words() };
        let us = |us: Option<u64>| us.map_or_else(|| "-".to_owned(), |us| format!("{us} µs"));
        let found = self.drift.map_or_else(
            || "no".to_owned(),
            |Found { signal, windows, .. }| format!("after {windows} windows, by the {signal}"),
        );
        let refused = self.refused.map_or_else(|| "no".to_owned(), |found| found.reason.clone());
        let rows = [
            ("windows answered", format!("{} of {}", self.answered, self.due)),
            ("accuracy as it was", share(self.as_before)),
            ("accuracy after the change", share(self.changed)),
            ("drift found", found),
            ("accuracy of the adapted model", share(self.adapted)),
            ("bad model refused", refused),
            (
                "latency, half and 99 %",
                [self.latency_us.p50, self.latency_us.p99].map(us).join(", "),
            ),
            ("seconds", format!("{:.0}", self.wall_s)),
        ];
        let rows = rows.into_iter().map(|(what, value)| vec![what.to_owned(), value]);
        let mut text = table(&["what", "value"], &rows.collect::<Vec<_>>());
        text += "\n\nThe same by hand, with a folder in the place of one that is gone:\n";
        self.commands.iter().for_each(|command| text += &format!("  {command}\n"));
        if let Some(out) = &self.out {
            text +=
                &format!("Models, settings and events are in {out}; edgectl status {out}/state");
        }
        text
    }
}
