//! What the threads of a run share, and what each of them does.

use std::any::Any;
use std::io::Write;
use std::path::PathBuf;
#[cfg(feature = "http")]
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, Thread};
use std::time::Instant;

use serde_json::json;

use super::adapt::Adapter;
use super::answer::Label;
use super::board::Figure;
use super::counters::{Counters, add, get};
use super::drift::{Drift, Tells};
use super::events::{Events, write_all};
use super::hand_over::HandOver;
#[cfg(feature = "http")]
use super::http::{Desk, Listener, Site};
use super::learner::Told;
use super::level::Level;
use super::observe::{Observer, Watching};
use super::options::Options;
use super::outbox::Outbox;
use super::priority::apply;
use super::queue::Queue;
use super::ready::Ready;
#[cfg(feature = "http")]
use super::reply::Reply;
use super::serve::Server;
use super::shadow::{Shadow, Trials};
use super::source::{Gate, Source};
use super::summary::Summary;
use super::sure::{Abstaining, Sure};
use super::tap::{Tap, Truths, Watched};
use super::threads::{lock, start};
use super::throttled::Throttled;
use super::track::Plan;
use super::tracks::Tracks;
use super::watcher::{Means, Watcher};
use super::ways::Ways;
use super::web::Web;
use crate::checkpoint::Meta;
use crate::job::{Abstain, Keep};
use crate::models::Lost;

/// Bytes of lines that are written at once.
const AT_ONCE: usize = 1 << 16;

/// What the threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) outbox: Outbox,
    pub(super) models: HandOver<Ready>,
    pub(super) shadow: Arc<Shadow>,
    pub(super) counters: Counters,
    pub(super) events: Events,
    pub(super) level: Level,
    /// A less probable answer is kept back.
    pub(super) abstain: Level,
    pub(super) options: Options,
    pub(super) stopping: AtomicBool,
    /// Whether it was said that threads cannot be urgent.
    pub(super) told: AtomicBool,
    pub(super) meta: Meta,
    pub(super) truths: Truths,
    pub(super) tracks: Mutex<Tracks>,
    /// Sources that go on: those that end by themselves, and all.
    pub(super) going: Mutex<(usize, usize)>,
    /// Series that there were when this was last looked at.
    #[cfg(feature = "http")]
    pub(super) series: AtomicUsize,
    /// Whether rows may also come over HTTP.
    pub(super) is_seen: bool,
}

impl Shared {
    /// Tells which model it begins with, where that came from, and which ones were lost.
    pub(super) fn begins(&self, label: &Label, from: &str, lost: &[Lost]) {
        let Label { hash, round, state, .. } = label;
        let is_watched = label.profile.is_some();
        let mut begun = json!({
            "event": "start", "model": hash, "round": round, "from": from, "state": state.name(),
            "watched": is_watched, "stride_most": self.options.stride_most,
        });
        if !is_watched {
            begun["hint"] =
                "nothing is watched: `edgectl calibrate` finds out what is usual".into();
        }
        self.events.tell(begun);
        for Lost { hash, was, reason } in lost {
            self.events.tell(json!({
                "event": "model-lost", "model": hash, "was": was, "reason": reason,
            }));
        }
        let board = &self.counters.board;
        board.model(hash, *round, state.name(), None);
        if let Some(Abstain { least, .. }) = self.options.abstain {
            self.abstain.set(Some(least));
            board.set(Figure::AbstainThreshold, "", least);
        }
    }

    /// What one tells who has a part of the run that is not only this one's.
    pub(super) fn told(self: &Arc<Self>) -> Told {
        let shared = [(); 3].map(|()| Arc::clone(self));
        let [events, figures, alarms] = shared;
        Told {
            event: Arc::new(move |event| events.events.tell(event)),
            figure: Arc::new(move |figure, of, value| {
                figures.counters.board.set(figure, of, value);
            }),
            alarms: Arc::new(move || alarms.events.alarms()),
        }
    }

    /// Makes the calling thread urgent; says once if that is not allowed.
    fn hurry(&self) {
        let priority = self.options.priority;
        if let Err(reason) = apply(priority)
            && !self.told.swap(true, Ordering::SeqCst)
        {
            self.events.tell(json!({
                "event": "priority", "asked": priority.to_string(), "result": "normal", "reason": reason,
            }));
        }
    }

    /// Tells all events.
    pub(super) fn tell(&self, events: &Receiver<serde_json::Value>, mut told: impl FnMut(&str)) {
        write_all(events, |line| {
            self.counters.board.event(line);
            told(line);
        });
    }

    /// Starts the thread of a source.
    pub(super) fn start(
        self: &Arc<Self>,
        mut source: Box<dyn Source>,
        main: &Thread,
    ) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
        let (shared, main) = (Arc::clone(self), main.clone());
        start("source", move || {
            let read = shared.read(&mut *source);
            main.unpark();
            read
        })
    }

    /// Answers for series of which nothing comes any more.
    pub(super) fn look_for_silence(&self) {
        // Where all windows are kept, a source may wait while it holds the series.
        if let (Some(steps), Keep::Newest) = (self.options.silence, self.options.keep) {
            let (now, ways) = (Instant::now(), self.gate().ways);
            lock(&self.tracks).silent(now, steps, &mut |silent| ways.silent(&silent, now));
        }
    }

    /// Tells it if something could not be written to the folder of state.
    pub(super) fn noted(&self, written: anyhow::Result<()>) {
        if let Err(error) = written {
            self.events.tell(json!({ "event": "state", "reason": format!("{error:#}") }));
        }
    }

    /// Where sources hand their lines in.
    fn gate(&self) -> Gate<'_> {
        let Self { queue, outbox, counters, events, meta, tracks, stopping, truths, .. } = self;
        Gate { meta, ways: Ways { queue, outbox, counters, events, truths }, tracks, stopping }
    }

    /// Reads all of a source. No more windows come once none is left that is waited for, or one has failed.
    fn read(&self, source: &mut dyn Source) -> anyhow::Result<()> {
        if source.is_urgent() {
            self.hurry();
        }
        let read = source.run(&self.gate());
        // Where rows may come in another way, an input without any is not the end.
        if self.is_seen && read.is_ok() && get(&self.counters.rows_of(source.name())) == 0 {
            return read;
        }
        let mut going = lock(&self.going);
        going.0 -= usize::from(source.ends());
        going.1 -= 1;
        let is_last =
            going.1 == 0 || source.ends() && going.0 == 0 && self.options.keep == Keep::All;
        if is_last || read.is_err() {
            self.queue.close();
        }
        read
    }

    /// Is seen over HTTP, until what this gives is dropped.
    #[cfg(feature = "http")]
    pub(super) fn be_seen(self: &Arc<Self>, web: Web, plan: Plan) -> anyhow::Result<Box<dyn Any>> {
        let listener = Listener::bind(web.at)?;
        let at = listener.at();
        self.events.tell(json!({ "event": "http", "address": at.to_string() }));
        let desk: Arc<dyn Desk> = self.clone();
        let site = Site::new(desk, &self.meta, plan, self.options.deadline, (web, at));
        Ok(Box::new(listener.serve(site)?))
    }

    #[cfg(not(feature = "http"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(super) fn be_seen(&self, _: Web, _: Plan) -> anyhow::Result<Box<dyn Any>> {
        anyhow::bail!("this edgectl was built without the feature http")
    }

    /// Answers all windows.
    pub(super) fn serve(&self, ready: Box<Ready>, tap: &Tap) {
        self.hurry();
        let Options { deadline, late, probs, slow, .. } = self.options;
        let Self { queue, outbox, models, counters, level, abstain, .. } = self;
        let tap = Some(tap);
        Server {
            queue,
            outbox,
            models,
            counters,
            deadline,
            late,
            probs,
            slow,
            abstain,
            level,
            tap,
        }
        .run(ready);
        outbox.close();
    }

    /// Shows them all windows.
    pub(super) fn observe(
        &self,
        kept: Option<PathBuf>,
        adapter: Option<Adapter>,
        watched: &Watched,
    ) {
        let Self { events, counters, level, .. } = self;
        let tells = Tells { events, counters, level };
        let drift = Drift::new(tells, self.options.refit, kept, Instant::now());
        let mut observers: Vec<Box<dyn Observer + '_>> =
            vec![Box::new(drift), Box::new(Throttled::of(&counters.board))];
        if let Some(bounds) = self.options.abstain.filter(|bounds| bounds.most > bounds.least) {
            let rule = Sure::new(bounds, self.options.abstain_right);
            let abstaining = Abstaining::new(rule, &self.abstain, events, &counters.board);
            observers.push(Box::new(abstaining));
        }
        if self.options.terms.windows > 0 {
            observers.push(Box::new(Trials(Arc::clone(&self.shadow))));
        }
        if let Some(adapter) = adapter {
            observers.push(Box::new(adapter));
        }
        Watching::new(observers, events, counters).run(watched);
    }

    /// Writes all answers.
    pub(super) fn write(&self, mut output: impl Write) -> std::io::Result<()> {
        self.hurry();
        let mut lines = Vec::with_capacity(AT_ONCE + 4096);
        loop {
            lines.clear();
            let taken = self.outbox.take(&mut lines, AT_ONCE);
            if taken.lines == 0 {
                return Ok(());
            }
            output.write_all(&lines)?;
            output.flush()?;
            add(&self.counters.written, taken.lines);
            if taken.lost > 0 {
                self.events.tell(json!({ "event": "output-unblocked", "dropped": taken.lost }));
            }
        }
    }

    /// What was done until now; what only the run itself knows is left open.
    pub(super) fn summary(&self, cpu_s: Option<f64>) -> Summary {
        let mut summary = Summary::of(&self.counters, cpu_s);
        let tracks = lock(&self.tracks);
        (summary.series, summary.ended) = (tracks.len(), tracks.ended());
        summary.lost_events = self.events.lost();
        summary
    }

    /// Looks for other models until the run ends; gives the one that was live then, and its round.
    pub(super) fn watch(&self, mut watcher: Watcher) -> (String, u32) {
        let Self { models: place, shadow, events, counters, .. } = self;
        let with = Means { place, shadow, events, counters };
        shadow.wake_me();
        loop {
            watcher.look(&with);
            if self.stopping.load(Ordering::SeqCst) {
                return watcher.live();
            }
            thread::park_timeout(watcher.pause(self.options.watch));
        }
    }
}

#[cfg(feature = "http")]
impl Desk for Shared {
    fn ways(&self) -> Ways<'_> {
        self.gate().ways
    }

    fn lines(&self, lines: &[u8], ends: bool, reply: &Arc<Reply>) -> anyhow::Result<()> {
        let mut intake = self.gate().intake("http").reply_to(Arc::clone(reply));
        for line in lines.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !intake.line(line, Instant::now())? {
                break;
            }
        }
        if ends {
            intake.end();
        }
        Ok(())
    }

    fn series(&self) -> usize {
        // While a source waits for the model, it has the lock.
        if let Ok(tracks) = self.tracks.try_lock() {
            self.series.store(tracks.len(), Ordering::Relaxed);
        }
        self.series.load(Ordering::Relaxed)
    }
}
