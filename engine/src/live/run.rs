//! The threads of a run, from the first line to the summary.

use std::any::Any;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
#[cfg(feature = "http")]
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use serde_json::json;

use super::adapt::{Adapter, Told};
use super::answer::Label;
use super::begin::Begun;
use super::compared::Terms;
use super::counters::{Counters, add, get};
use super::drift::{Drift, Tells};
use super::events::{Events, write_all};
use super::hand_over::HandOver;
#[cfg(feature = "http")]
use super::http::{Desk, Listener, Site};
use super::intake::Ways;
use super::level::Level;
use super::observe::{Observer, Watching};
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
use super::tap::{Tap, Truths, Watched, tap};
use super::threads::{end_all, ends, lock, start};
use super::track::Plan;
use super::tracks::Tracks;
use super::watcher::{Means, Watcher};
use super::web::Web;
use crate::checkpoint::Meta;
use crate::interrupt::Stop;
use crate::job::{AdaptSettings, Keep, Late, Priority};
use crate::models::Models;
use crate::system::cpu_s;

/// How windows are answered.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What becomes of windows that come faster than the model answers.
    pub keep: Keep,
    /// From the arrival of a window's last row to its answer.
    pub deadline: Option<Duration>,
    /// What becomes of later answers.
    pub late: Late,
    /// How urgent the threads are that answer.
    pub priority: Priority,
    /// How often to look for another model.
    pub watch: Duration,
    /// What is asked of it before it is live.
    pub terms: Terms,
    /// A longer step, in usual ones, is a gap.
    pub gap: Option<f64>,
    /// Rows whose time is longer ago are old.
    pub stale: Option<Duration>,
    /// Nothing for so many usual steps is no signal.
    pub silence: Option<f64>,
    /// Whether answers tell every class's probability.
    pub probs: bool,
    /// An answer that is less probable is kept back.
    pub abstain: Option<f64>,
    /// Windows after which what is usual is taken from those of this place; 0 for never.
    pub refit: usize,
    /// How many times as long the model takes, to try out what happens then.
    pub slow: f64,
}

/// Bytes of lines that are written at once.
const AT_ONCE: usize = 1 << 16;

/// How often a signal is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// How long the last lines and events may take to be written after a signal.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the threads share.
#[derive(Debug)]
struct Shared {
    queue: Queue,
    outbox: Outbox,
    models: HandOver<Ready>,
    shadow: Arc<Shadow>,
    counters: Counters,
    events: Events,
    level: Level,
    options: Options,
    stopping: AtomicBool,
    /// Whether it was said that threads cannot be urgent.
    told: AtomicBool,
    meta: Meta,
    truths: Truths,
    tracks: Mutex<Tracks>,
    /// Sources that go on: those that end by themselves, and all.
    going: Mutex<(usize, usize)>,
    /// Series that there were when this was last looked at.
    #[cfg(feature = "http")]
    series: AtomicUsize,
    /// Whether rows may also come over HTTP.
    is_seen: bool,
}

/// Answers the rows of sources until they end, or a signal comes: by the live model of a folder of state, or else by
/// the named one. Other models come from the name, too. With `web` it is seen over HTTP; then an input without rows is
/// not its end.
///
/// # Errors
/// If the model cannot be read or cannot answer on a stream, its channels are not in the input, or a source or the
/// output fails, or nobody can listen at the address of `web`. That nobody reads the answers to the end is no error.
pub fn run(
    (model, mut state): (Option<&Path>, Option<Models>),
    options: Options,
    web: Option<Web>,
    adapting: Option<(AdaptSettings, PathBuf)>,
    (sources, output): (Vec<Box<dyn Source>>, impl Write + Send + 'static),
    told: impl FnMut(&str) + Send + 'static,
    stop: Stop,
) -> anyhow::Result<Summary> {
    let (began, cpu_before) = (Instant::now(), cpu_s());
    let Begun { file, from, ready, plan } = Begun::of(model, state.as_mut(), |file| {
        Plan::of(&file.checkpoint.meta, options.gap, options.keep == Keep::Newest)
    })?;
    let meta = &file.checkpoint.meta;
    let width = plan.width();
    let label = Arc::clone(&ready.label);
    let (events, receiver) = Events::new();
    let (tap, truths, watched) = tap(width, meta.classes.len(), options.keep == Keep::All);
    let ending = sources.iter().filter(|source| source.ends()).count();
    let shared = Arc::new(Shared {
        queue: Queue::new(options.keep),
        outbox: Outbox::new(meta.classes.len(), options.keep == Keep::All),
        models: HandOver::default(),
        shadow: Arc::new(Shadow::new(options.terms)),
        counters: Counters::of_classes(meta.classes.len()),
        events,
        level: Level::default(),
        options,
        stopping: AtomicBool::new(false),
        told: AtomicBool::new(false),
        meta: meta.clone(),
        truths,
        tracks: Mutex::new(Tracks::new(plan.clone()).with_most_age(options.stale)),
        going: Mutex::new((ending, sources.len() + usize::from(web.is_some()))),
        #[cfg(feature = "http")]
        series: AtomicUsize::new(0),
        is_seen: web.is_some(),
    });
    shared.begins(&label, from);
    let kept = state.as_ref().map(|state| state.path("monitor.json"));
    let adapter = adapting
        .map(|(settings, state)| Adapter::begin(settings, &file.checkpoint, &state, shared.told()));
    let adapter = adapter.transpose()?;
    let answers = (&file, Arc::clone(&label));
    let watcher = Watcher::new(model, state, answers, width, options.deadline);
    let main = thread::current();
    let teller = {
        let shared = Arc::clone(&shared);
        start("events", move || shared.tell(&receiver, told))?
    };
    let seen = web.map(|web| shared.be_seen(web, plan)).transpose()?;
    let sources = sources.into_iter().map(|source| shared.start(source, &main));
    let sources = sources.collect::<anyhow::Result<Vec<_>>>()?;
    let server = {
        let shared = Arc::clone(&shared);
        start("serve", move || shared.serve(ready, &tap))?
    };
    let observing = {
        let shared = Arc::clone(&shared);
        start("monitor", move || shared.observe(kept, adapter, &watched))?
    };
    let writer = {
        let (shared, main) = (Arc::clone(&shared), main.clone());
        start("writer", move || {
            let written = shared.write(output);
            main.unpark();
            written
        })?
    };
    let watching = {
        let shared = Arc::clone(&shared);
        start("watcher", move || shared.watch(watcher))?
    };
    while !writer.is_finished() && stop.now().is_none() {
        thread::park_timeout(LOOK);
        shared.look_for_silence();
    }
    // At the end of all sources all is over; else one may wait for a line that never comes.
    shared.stopping.store(true, Ordering::SeqCst);
    shared.queue.close();
    let until = Instant::now() + PATIENCE;
    let _server_ended = ends(&server, until);
    shared.outbox.close();
    // It has seen all windows once it ends, or it takes too long for them.
    ends(&observing, Instant::now() + PATIENCE);
    let is_written = ends(&writer, until);
    end_all(sources, Instant::now() + LOOK)?;
    drop(seen);
    watching.thread().unpark();
    let live = if ends(&watching, until) { watching.join().ok() } else { None };
    let mut summary = Summary::of(&shared.counters, cpu_s().zip(cpu_before).map(|(a, b)| a - b));
    summary.series = lock(&shared.tracks).len();
    summary.lost_events = shared.events.lost();
    (summary.model, summary.round) = live.unwrap_or_else(|| (label.hash.clone(), label.round));
    summary.wall_s = began.elapsed().as_secs_f64();
    shared.events.end();
    ends(&teller, Instant::now() + PATIENCE);
    if is_written {
        match writer.join().map_err(|_| anyhow!("the writer failed"))? {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written.context("stdout: cannot write the answers")?,
        }
    }
    Ok(summary)
}

impl Shared {
    /// Tells which model it begins with, and where that came from.
    fn begins(&self, label: &Label, from: &str) {
        let Label { hash, round, state, .. } = label;
        let is_watched = label.profile.is_some();
        let mut begun = json!({
            "event": "start", "model": hash, "round": round, "from": from, "state": state.name(),
            "watched": is_watched,
        });
        if !is_watched {
            begun["hint"] =
                "nothing is watched: `edgectl calibrate` finds out what is usual".into();
        }
        self.events.tell(begun);
        self.counters.board.model(hash, *round, state.name(), None);
    }

    /// What one tells who has a part of the run that is not only this one's.
    fn told(self: &Arc<Self>) -> Told {
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
    fn tell(&self, events: &Receiver<serde_json::Value>, mut told: impl FnMut(&str)) {
        write_all(events, |line| {
            self.counters.board.event(line);
            told(line);
        });
    }

    /// Starts the thread of a source.
    fn start(
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
    fn look_for_silence(&self) {
        // Where all windows are kept, a source may wait while it holds the series.
        if let (Some(steps), Keep::Newest) = (self.options.silence, self.options.keep) {
            let (now, ways) = (Instant::now(), self.gate().ways);
            lock(&self.tracks).silent(now, steps, &mut |silent| ways.silent(&silent, now));
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
    fn be_seen(self: &Arc<Self>, web: Web, plan: Plan) -> anyhow::Result<Box<dyn Any>> {
        let listener = Listener::bind(web.at)?;
        let at = listener.at();
        self.events.tell(json!({ "event": "http", "address": at.to_string() }));
        let desk: Arc<dyn Desk> = self.clone();
        let site = Site::new(desk, &self.meta, plan, self.options.deadline, (web, at));
        Ok(Box::new(listener.serve(site)?))
    }

    #[cfg(not(feature = "http"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    fn be_seen(&self, _: Web, _: Plan) -> anyhow::Result<Box<dyn Any>> {
        anyhow::bail!("this edgectl was built without the feature http")
    }

    /// Answers all windows.
    fn serve(&self, ready: Box<Ready>, tap: &Tap) {
        self.hurry();
        let Options { deadline, late, probs, slow, abstain, .. } = self.options;
        let Self { queue, outbox, models, counters, level, .. } = self;
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
    fn observe(&self, kept: Option<PathBuf>, adapter: Option<Adapter>, watched: &Watched) {
        let Self { events, counters, level, .. } = self;
        let tells = Tells { events, counters, level };
        let drift = Drift::new(tells, self.options.refit, kept, Instant::now());
        let mut observers: Vec<Box<dyn Observer + '_>> = vec![Box::new(drift)];
        if self.options.terms.windows > 0 {
            observers.push(Box::new(Trials(Arc::clone(&self.shadow))));
        }
        if let Some(adapter) = adapter {
            observers.push(Box::new(adapter));
        }
        Watching::new(observers, events, counters).run(watched);
    }

    /// Writes all answers.
    fn write(&self, mut output: impl Write) -> std::io::Result<()> {
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

    /// Looks for other models until the run ends; gives the one that was live then, and its round.
    fn watch(&self, mut watcher: Watcher) -> (String, u32) {
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
