//! The rounds of a store as one page, for people: curves per round and node, and what did not count.

use std::collections::BTreeMap;

use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend};

use super::rounds_of::{Report, RoundReport};
use crate::plot::{Curve, Draw, Panel, bytes};

/// Nodes that get a curve of their own.
const MOST_NODES: usize = 40;

/// Panels in rows of two.
struct Panels(Vec<Panel>);

const PANEL: (u32, u32) = (440, 220);

impl Draw for Panels {
    fn size(&self) -> (u32, u32) {
        (2 * PANEL.0, PANEL.1 * self.0.len().div_ceil(2) as u32)
    }

    fn draw<B: DrawingBackend>(&self, root: &DrawingArea<B, Shift>) -> anyhow::Result<()> {
        let areas = root.split_evenly((self.0.len().div_ceil(2), 2));
        self.0.iter().zip(&areas).try_for_each(|(panel, area)| panel.draw(area))
    }
}

/// The page, which needs nothing from elsewhere.
///
/// # Errors
/// If a picture cannot be drawn.
pub(super) fn page(report: &Report) -> anyhow::Result<String> {
    let rounds: Vec<&RoundReport> = report.results.iter().rev().collect();
    let mut body = format!(
        "<h1>Rounds of {}</h1>\n<p>Job {}: {} of {} rounds are closed.</p>\n",
        text(&report.store),
        text(&report.job),
        report.closed,
        report.rounds
    );
    if !rounds.is_empty() {
        body += "<h2>Rounds</h2>\n";
        body += &figure("Accuracy, loss, seconds and bytes of every round", &of_rounds(&rounds))?;
        body += &table(&rounds);
        body += "<h2>Nodes</h2>\n<p>Seconds that each node trained, and of how many windows.</p>\n";
        body += &figure("Seconds that each node trained, by round", &of_nodes(&rounds))?;
    }
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Rounds of {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        text(&report.store)
    ))
}

const STYLE: &str = "body{font:16px/1.5 sans-serif;margin:2em;color:#111;background:#fff}main{max-width:60em}\
table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ccc}\
td:last-child,th:last-child{text-align:left}figure{margin:1em 0}svg{max-width:100%;height:auto}";

/// What a store says, as text and nothing else.
fn text(raw: &str) -> String {
    let mut safe = String::with_capacity(raw.len());
    for c in crate::output::shown(raw).chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            c => safe.push(c),
        }
    }
    safe
}

fn figure(caption: &str, panels: &Panels) -> anyhow::Result<String> {
    let svg = String::from_utf8_lossy(&bytes(panels, false)?).into_owned();
    let svg =
        svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{}\" ", text(caption)), 1);
    Ok(format!("<figure>\n{svg}\n<figcaption>{}</figcaption>\n</figure>\n", text(caption)))
}

fn curve(rounds: &[&RoundReport], of: impl Fn(&RoundReport) -> Option<f64>) -> Curve {
    rounds.iter().map(|round| (f64::from(round.round), of(round).unwrap_or(f64::NAN))).collect()
}

fn panel(title: &str, curves: Vec<(&str, Curve)>) -> Panel {
    let curves = curves.into_iter().map(|(name, curve)| (name.to_owned(), curve)).collect();
    Panel { title: title.to_owned(), x: "round".to_owned(), curves }
}

fn of_rounds(rounds: &[&RoundReport]) -> Panels {
    let longest = |round: &RoundReport| {
        let seconds = round.updates.iter().filter_map(|update| Some(update.work?.seconds));
        seconds.reduce(f64::max)
    };
    let sent = |round: &RoundReport| {
        let bytes = round.updates.iter().filter_map(|update| Some(update.sent?.0));
        Some(bytes.sum::<u64>() as f64 / 1e3)
    };
    let seconds =
        vec![("round", curve(rounds, |r| r.seconds)), ("longest node", curve(rounds, longest))];
    Panels(vec![
        panel("accuracy", vec![("accuracy", curve(rounds, |r| Some(r.metrics?.accuracy)))]),
        panel("loss", vec![("loss", curve(rounds, |r| Some(r.metrics?.loss)))]),
        panel("seconds", seconds),
        panel("kB sent", vec![("kB", curve(rounds, sent))]),
    ])
}

fn of_nodes(rounds: &[&RoundReport]) -> Panels {
    let mut nodes: BTreeMap<&str, Curve> = BTreeMap::new();
    for round in rounds {
        for update in &round.updates {
            if let Some(work) = update.work {
                nodes
                    .entry(update.node.as_str())
                    .or_default()
                    .push((f64::from(round.round), work.seconds));
            }
        }
    }
    Panels(
        nodes
            .into_iter()
            .take(MOST_NODES)
            .map(|(node, curve)| panel(node, vec![("s", curve)]))
            .collect(),
    )
}

fn table(rounds: &[&RoundReport]) -> String {
    let mut rows = String::new();
    for round in rounds.iter().rev() {
        let number =
            |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.4}"));
        let mut notes: Vec<String> =
            round.refused.iter().map(|why| format!("model not taken: {}", text(why))).collect();
        notes.extend(round.updates.iter().filter_map(|update| {
            let why = update.refused.as_ref()?;
            Some(format!("{}: not counted: {}", text(update.node.as_str()), text(why)))
        }));
        rows += &format!(
            "<tr><td>{}</td><td>{} of {}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            round.round,
            round.merged,
            round.updates.len(),
            number(round.metrics.map(|metrics| metrics.accuracy)),
            number(round.metrics.map(|metrics| metrics.loss)),
            notes.join("<br>")
        );
    }
    format!(
        "<table>\n<tr><th scope=\"col\">round</th><th scope=\"col\">updates</th><th scope=\"col\">accuracy</th><th scope=\"col\">loss</th><th scope=\"col\">notes</th></tr>\n{rows}</table>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_says_is_no_markup() {
        assert_eq!(
            text("<script>\"a\" & 'b'\u{1b}"),
            "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;\\u{1b}"
        );
    }

    #[test]
    fn a_job_without_rounds_has_a_page() {
        let report = Report {
            store: "<b>".to_owned(),
            job: "j".to_owned(),
            rounds: 3,
            closed: 0,
            results: Vec::new(),
            unreadable: Vec::new(),
            open: None,
        };
        let page = page(&report).expect("a page");
        assert!(page.contains("&lt;b&gt;") && !page.contains("<b>"), "{page}");
    }
}
