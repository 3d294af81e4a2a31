//! The rounds of a store as one page, for people: curves per round and node, and what did not count.

use std::collections::BTreeMap;

use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend};

use super::rounds_of::{OpenReport, Report, RoundReport};
use crate::plot::{Curve, Draw, Panel, bytes};

/// Nodes that get a curve and a line.
const MOST_NODES: usize = 40;

/// Names in a sentence.
const MOST_NAMES: usize = 20;

/// As wide as a telephone, so that letters are not made smaller there.
const SIZE: (u32, u32) = (340, 200);

/// A panel as a picture of its own.
struct Picture<'a>(&'a Panel);

impl Draw for Picture<'_> {
    fn size(&self) -> (u32, u32) {
        SIZE
    }

    fn draw<B: DrawingBackend>(&self, root: &DrawingArea<B, Shift>) -> anyhow::Result<()> {
        self.0.draw(root)
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
    body += &report.open.as_ref().map(open).unwrap_or_default();
    for problem in &report.unreadable {
        body += &format!("<p>Not believed: {}</p>\n", text(problem));
    }
    if !rounds.is_empty() {
        body += "<h2>Rounds</h2>\n";
        body += &figure("Accuracy, loss, seconds and bytes of every round", &of_rounds(&rounds))?;
        body += &table(&rounds);
        body += &nodes(&rounds)?;
    }
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
<title>Rounds of {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        text(&report.store)
    ))
}

/// The colours of pictures are those of the page, by day and in the dark.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#111;--paper:#fff;--rule:#ccc;--first:#048;--second:#a35200}\
@media(prefers-color-scheme:dark){:root{--ink:#e8e8e8;--paper:#15171a;--rule:#444;--first:#8bf;--second:#fb6}}\
body{font:16px/1.5 sans-serif;margin:1.5em 1em;color:var(--ink);background:var(--paper);overflow-wrap:anywhere}\
main{max-width:60em;margin:auto}h1{font-size:1.6em}h2{font-size:1.3em;margin-top:1.5em}\
figure{margin:1em 0;display:flex;flex-wrap:wrap;gap:.5em 1em}figcaption{flex:1 1 100%}\
svg{flex:1 1 340px;max-width:460px;height:auto;min-width:0}\
svg [fill=\"#000000\"]{fill:var(--ink)}svg [stroke=\"#000000\"]{stroke:var(--ink)}\
svg [fill=\"#004488\"]{fill:var(--first)}svg [stroke=\"#004488\"]{stroke:var(--first)}\
svg [fill=\"#DD7700\"]{fill:var(--second)}svg [stroke=\"#DD7700\"]{stroke:var(--second)}\
.wide{overflow-x:auto}table{border-collapse:collapse;overflow-wrap:normal}\
td,th{padding:.2em .6em;text-align:right;border-bottom:1px solid var(--rule);vertical-align:bottom}\
td{white-space:nowrap}td[colspan]{text-align:left;white-space:normal;overflow-wrap:anywhere;padding-left:2em}\
tr:has(+tr>[colspan])>*{border-bottom:none}.nodes :is(td,th):first-child{text-align:left}\
:is(td,th):first-child:not([colspan]){padding-left:0}@media(max-width:30em){table{font-size:.875em}td,th{padding:.2em .3em}}";

/// What the round that is open waits for.
fn open(open: &OpenReport) -> String {
    let mut said = format!(
        "<p>Round {} is open: {} of {} have sent, quorum {}",
        open.round,
        open.sent.len(),
        open.nodes,
        open.quorum
    );
    if !open.missing.is_empty() {
        let named: Vec<String> = open.missing.iter().take(MOST_NAMES).map(|n| text(n)).collect();
        said += &format!("; not yet: {}", named.join(", "));
        if let more @ 1.. = open.missing.len() - named.len() {
            said += &format!(" and {more} more");
        }
    }
    said + ".</p>\n"
}

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

fn figure(caption: &str, panels: &[Panel]) -> anyhow::Result<String> {
    let mut pictures = String::new();
    for panel in panels {
        let svg = String::from_utf8_lossy(&bytes(&Picture(panel), false)?).into_owned();
        let label = format!("<svg role=\"img\" aria-label=\"{}\" ", text(&panel.title));
        pictures += &svg.replacen("<svg ", &label, 1);
    }
    Ok(format!("<figure>\n{pictures}\n<figcaption>{}</figcaption>\n</figure>\n", text(caption)))
}

fn curve(rounds: &[&RoundReport], of: impl Fn(&RoundReport) -> Option<f64>) -> Curve {
    rounds.iter().map(|round| (f64::from(round.round), of(round).unwrap_or(f64::NAN))).collect()
}

fn panel(title: &str, curves: Vec<(&str, Curve)>) -> Panel {
    let curves = curves.into_iter().map(|(name, curve)| (name.to_owned(), curve)).collect();
    Panel { title: title.to_owned(), x: "round".to_owned(), curves }
}

fn of_rounds(rounds: &[&RoundReport]) -> Vec<Panel> {
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
    let mut panels = vec![
        panel("accuracy", vec![("accuracy", curve(rounds, |r| Some(r.metrics?.accuracy)))]),
        panel("loss", vec![("loss", curve(rounds, |r| Some(r.metrics?.loss)))]),
        panel("seconds", seconds),
        panel("kB sent", vec![("kB", curve(rounds, sent))]),
    ];
    // A center without --eval-data measures nothing.
    panels.retain(|panel| {
        panel.curves.iter().flat_map(|(_, curve)| curve).any(|point| point.1.is_finite())
    });
    panels
}

/// What a node did in the rounds that are shown.
#[derive(Default)]
struct Node {
    seconds: Curve,
    windows: u64,
    partial: usize,
    counted: usize,
    sent: usize,
}

/// Curves and lines of the nodes.
fn nodes(rounds: &[&RoundReport]) -> anyhow::Result<String> {
    let mut nodes: BTreeMap<&str, Node> = BTreeMap::new();
    for round in rounds {
        for update in &round.updates {
            let node = nodes.entry(update.node.as_str()).or_default();
            node.sent += 1;
            node.counted += usize::from(update.refused.is_none());
            if let Some(work) = update.work {
                node.seconds.push((f64::from(round.round), work.seconds));
                node.windows = work.examples;
                node.partial += usize::from(work.partial);
            }
        }
    }
    let mut shown = "<h2>Nodes</h2>\n".to_owned();
    if nodes.len() > MOST_NODES {
        shown += &format!("<p>The first {MOST_NODES} of {} by name.</p>\n", nodes.len());
    }
    let (mut panels, mut rows) = (Vec::new(), String::new());
    for (name, node) in nodes.into_iter().take(MOST_NODES) {
        let last = node.seconds.last().map_or("–".to_owned(), |(_, s)| format!("{s:.2}"));
        rows += &format!(
            "<tr><td>{}</td><td>{} of {}</td><td>{}</td><td>{}</td><td>{last}</td></tr>\n",
            text(name),
            node.counted,
            node.sent,
            node.partial,
            node.windows,
        );
        if !node.seconds.is_empty() {
            panels.push(panel(name, vec![("s", node.seconds)]));
        }
    }
    shown += &figure("Seconds that each node trained, by round", &panels)?;
    shown += &in_table(
        "nodes",
        &["node", "updates counted", "stopped early", "windows", "last, s"],
        &rows,
    );
    Ok(shown)
}

fn in_table(class: &str, head: &[&str], rows: &str) -> String {
    let head: Vec<String> =
        head.iter().map(|name| format!("<th scope=\"col\">{name}</th>")).collect();
    let head = head.concat();
    format!(
        "<div class=\"wide\"><table class=\"{class}\">\n<tr>{head}</tr>\n{rows}</table></div>\n"
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
            if round.refused.is_some() { "no" } else { "yes" }
        );
        for note in notes {
            rows += &format!("<tr><td colspan=\"5\">{note}</td></tr>\n");
        }
    }
    in_table("rounds", &["round", "updates", "accuracy", "loss", "taken"], &rows)
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
