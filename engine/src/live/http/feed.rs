//! What stands now, sent to all who look: server-sent events, thinned to what people can see.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{MissedTickBehavior, interval};

use super::site::Site;
use crate::live::answer::Status;
use crate::live::board::{SeenAnswer, SeenEvent, SeenRow};
use crate::live::counters::{Counters, Histogram, get};

/// How often rows, answers and events are sent.
const TICK: Duration = Duration::from_millis(100);

/// Ticks from one message of statistics to the next.
const TICKS_A_SECOND: u32 = 10;

/// Most who look at a time.
const MOST_VIEWERS: usize = 16;

/// Messages that wait for one who takes them slowly; more are left out.
const MOST_WAITING: usize = 64;

/// Rows of all series that are sent at a time.
const ROWS_A_TICK: usize = 40;

/// Series of which answers are sent at a time.
const SERIES_A_TICK: usize = 32;

/// Those who look.
#[derive(Debug, Default)]
pub(super) struct Feed {
    viewers: Mutex<Vec<Sender<Bytes>>>,
}

impl Feed {
    /// One more who looks; nothing where there are too many. The first message says what stands now.
    pub(super) fn join(&self, site: &Site) -> Option<Receiver<Bytes>> {
        let (sender, receiver) = channel(MOST_WAITING);
        let mut viewers = self.viewers.lock().unwrap_or_else(PoisonError::into_inner);
        viewers.retain(|viewer| !viewer.is_closed());
        if viewers.len() >= MOST_VIEWERS {
            return None;
        }
        // There is room: nothing waits yet.
        let _ = sender.try_send(Bytes::from(hello(site)));
        viewers.push(sender);
        Some(receiver)
    }

    /// Sends a message to all; says whether anybody looks.
    fn send(&self, message: String) -> bool {
        let mut viewers = self.viewers.lock().unwrap_or_else(PoisonError::into_inner);
        viewers.retain(|viewer| !viewer.is_closed());
        if !message.is_empty() {
            let message = Bytes::from(message);
            for viewer in viewers.iter() {
                // Who takes them slowly misses some.
                let _ = viewer.try_send(message.clone());
            }
        }
        !viewers.is_empty()
    }

    /// Sends for ever.
    pub(super) async fn run(self: Arc<Self>, site: Arc<Site>) {
        let mut clock = interval(TICK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut events = 0;
        let mut before = None;
        for tick in 0_u32.. {
            clock.tick().await;
            let counters = site.desk.ways().counters;
            let is_watched = self.send(String::new());
            counters.board.watch(is_watched);
            if !is_watched {
                before = None;
                continue;
            }
            let mut message = String::new();
            let (rows, answers) = counters.board.take();
            if !rows.is_empty() {
                add(&mut message, "rows", &of_rows(rows));
            }
            if !answers.is_empty() {
                add(&mut message, "answers", &of_answers(&answers, &site.classes));
            }
            for event in counters.board.events_since(events) {
                events = event.number;
                let _ = writeln!(message, "id: {events}");
                add(&mut message, "event", &of_event(&event));
            }
            if tick % TICKS_A_SECOND == 0 {
                let now = Counted::of(counters);
                add(&mut message, "stats", &stats(&site, before.as_ref().unwrap_or(&now), &now));
                before = Some(now);
            }
            self.send(message);
        }
    }
}

/// Adds a message of a kind.
fn add(text: &mut String, kind: &str, value: &Value) {
    // JSON is one line. Writing to memory cannot fail.
    let _ = write!(text, "event: {kind}\ndata: {value}\n\n");
}

/// What the first message says.
fn hello(site: &Site) -> String {
    let counters = site.desk.ways().counters;
    let events: Vec<Value> = counters.board.events_since(0).iter().map(of_event).collect();
    let mut text = String::new();
    let value = json!({
        "name": site.name,
        "version": env!("CARGO_PKG_VERSION"),
        "classes": site.classes,
        "channels": site.channels,
        "deadline_us": site.deadline.map(|deadline| deadline.as_micros() as u64),
        "has_token": site.guard.token.is_some(),
        "has_state": site.state.is_some(),
        "events": events,
    });
    add(&mut text, "hello", &value);
    let now = Counted::of(counters);
    add(&mut text, "stats", &stats(site, &now, &now));
    text
}

/// Rows, of each series every so many.
fn of_rows(rows: Vec<SeenRow>) -> Value {
    let every = rows.len().div_ceil(ROWS_A_TICK);
    let mut seen: HashMap<Arc<str>, usize> = HashMap::new();
    let mut kept = Vec::with_capacity(ROWS_A_TICK);
    for SeenRow { series, t, values, n } in rows {
        let at = seen.entry(Arc::clone(&series)).or_default();
        if at.is_multiple_of(every) {
            kept.push(json!([
                &*series,
                t,
                values[..n].iter().copied().map(shown).collect::<Vec<_>>()
            ]));
        }
        *at += 1;
    }
    kept.into()
}

/// A value in the digits that it has.
fn shown(value: f32) -> Option<f64> {
    value.to_string().parse().ok().filter(|value: &f64| value.is_finite())
}

/// The newest answer of each series.
fn of_answers(answers: &[SeenAnswer], classes: &[String]) -> Value {
    let mut newest: BTreeMap<&str, &SeenAnswer> = BTreeMap::new();
    for answer in answers {
        newest.insert(&answer.series, answer);
    }
    let mut newest: Vec<&SeenAnswer> = newest.into_values().collect();
    newest.sort_by_key(|answer| answer.id);
    let first = newest.len().saturating_sub(SERIES_A_TICK);
    let of = |answer: &&SeenAnswer| {
        let class = answer.class.and_then(|(class, _)| classes.get(class as usize));
        json!({
            "id": answer.id,
            "series": &*answer.series,
            "t": answer.t,
            "answer": class,
            "p": answer.class.map(|(_, p)| p),
            "status": answer.status.name(),
            "age_us": answer.age_us,
        })
    };
    newest[first..].iter().map(of).collect::<Vec<_>>().into()
}

/// An event, with how long ago it was.
fn of_event(event: &SeenEvent) -> Value {
    let told: Value = serde_json::from_str(&event.line).unwrap_or_default();
    json!({ "number": event.number, "age_s": event.at.elapsed().as_secs_f64(), "event": told })
}

/// What was counted by a moment.
struct Counted {
    latency: Vec<u64>,
    inference: Vec<u64>,
    answers: u64,
    rows: u64,
}

impl Counted {
    fn of(counters: &Counters) -> Self {
        Self {
            latency: counters.latency.counts(),
            inference: counters.inference.counts(),
            answers: Status::ALL.into_iter().map(|status| counters.answers(status)).sum(),
            rows: get(&counters.rows),
        }
    }
}

/// What was counted since a moment.
fn stats(site: &Site, before: &Counted, now: &Counted) -> Value {
    let counters = site.desk.ways().counters;
    let quantiles = |before: &[u64], now: &[u64]| {
        let counts: Vec<u64> = before.iter().zip(now).map(|(b, n)| n.saturating_sub(*b)).collect();
        let of = |share| Histogram::quantile_of(&counts, share);
        json!({ "p50": of(0.5), "p99": of(0.99), "max": of(1.0) })
    };
    let answers: BTreeMap<&str, u64> =
        Status::ALL.into_iter().map(|status| (status.name(), counters.answers(status))).collect();
    let figures = counters.board.figures();
    let figures =
        figures.iter().map(|((figure, of), value)| json!([format!("{figure:?}"), of, value]));
    json!({
        "rows": now.rows,
        "series": site.desk.series(),
        "due": get(&counters.due),
        "answers": answers,
        "rows_s": now.rows.saturating_sub(before.rows),
        "answers_s": now.answers.saturating_sub(before.answers),
        "latency_us": quantiles(&before.latency, &now.latency),
        "inference_us": quantiles(&before.inference, &now.inference),
        "signals": counters.board.signals(),
        "models": counters.board.models(),
        "figures": figures.collect::<Vec<_>>(),
    })
}
