//! The threads of a run, from the first line to the summary.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
#[cfg(feature = "http")]
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};

use super::adapt::Adapter;
use super::begin::Begun;
use super::counters::Counters;
use super::events::Events;
use super::hand_over::HandOver;
use super::level::Level;
use super::numbers::Numbers;
use super::options::Options;
use super::outbox::Outbox;
use super::queue::Queue;
use super::relief::Relief;
use super::shadow::Shadow;
use super::shared::Shared;
use super::source::Source;
use super::summary::Summary;
use super::tap::tap;
use super::threads::{end_all, ends, start};
use super::track::Plan;
use super::tracks::Tracks;
use super::watcher::Watcher;
use super::web::Web;
use crate::interrupt::Stop;
use crate::job::{AdaptSettings, Keep};
use crate::models::Models;
use crate::system::cpu_s;

/// How often a signal is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// How long the last lines and events may take to be written after a signal.
const PATIENCE: Duration = Duration::from_secs(1);

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
    let mut numbers = Numbers::begin(state.as_ref().map(|state| state.path("next-window")))?;
    let (width, window, label) = (plan.width(), plan.rows(), Arc::clone(&ready.label));
    let (events, receiver) = Events::new();
    let (tap, truths, watched) = tap(width, meta.classes.len(), options.keep == Keep::All);
    let tracks = Tracks::new(plan.clone()).with_most_age(options.stale);
    let mut relief = Relief::new(options.stride_most, tracks.thin(), began);
    let ending = sources.iter().filter(|source| source.ends()).count();
    let shared = Arc::new(Shared {
        queue: Queue::new(options.keep),
        outbox: Outbox::new(meta.classes.len(), options.keep == Keep::All, numbers.first),
        models: HandOver::default(),
        shadow: Arc::new(Shadow::new(options.terms)),
        counters: Counters::of_classes(meta.classes.len()),
        events,
        level: Level::default(),
        abstain: Level::default(),
        options,
        stopping: AtomicBool::new(false),
        told: AtomicBool::new(false),
        meta: meta.clone(),
        truths,
        tracks: Mutex::new(tracks),
        going: Mutex::new((ending, sources.len() + usize::from(web.is_some()))),
        #[cfg(feature = "http")]
        series: AtomicUsize::new(0),
        is_seen: web.is_some(),
    });
    // From here on a signal is left to this run, which says what it did.
    let _ = stop.now();
    shared.begins(&label, from, state.as_ref().map_or(&[], Models::lost));
    let kept = state.as_ref().map(|state| state.path("monitor.json"));
    let adapter = adapting
        .map(|(settings, state)| Adapter::begin(settings, &file.checkpoint, &state, shared.told()));
    let adapter = adapter.transpose()?;
    let watcher = Watcher::new(model, state, (&file, Arc::clone(&label)), width, options.deadline);
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
        shared.noted(numbers.ahead(shared.outbox.next()));
        relief.look(&shared.counters, &shared.events, Instant::now());
    }
    let is_stopped = stop.now().is_some();
    // At the end of all sources all is over; else one may wait for a line that never comes.
    shared.stopping.store(true, Ordering::SeqCst);
    shared.queue.close();
    let until = Instant::now() + PATIENCE;
    let mut has_failed = ends(&server, until) && server.join().is_err();
    shared.noted(numbers.end(&shared.outbox));
    // It has seen all windows once it ends, or it takes too long for them.
    has_failed |= ends(&observing, Instant::now() + PATIENCE) && observing.join().is_err();
    let is_written = ends(&writer, until);
    end_all(sources, Instant::now() + LOOK)?;
    drop(seen);
    watching.thread().unpark();
    let live = if ends(&watching, until) { watching.join().ok() } else { None };
    let mut summary = shared.summary(cpu_s().zip(cpu_before).map(|(a, b)| a - b));
    (summary.window, summary.is_stopped) = (window, is_stopped);
    (summary.left_out, summary.strides) = relief.end(Instant::now());
    (summary.model, summary.round) = live.unwrap_or_else(|| (label.hash.clone(), label.round));
    summary.wall_s = began.elapsed().as_secs_f64();
    shared.events.end();
    ends(&teller, Instant::now() + PATIENCE);
    ensure!(!has_failed, "a thread of the run failed: this is a fault of edgectl");
    if is_written {
        match writer.join().map_err(|_| anyhow!("the writer failed"))? {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written.context("stdout: cannot write the answers")?,
        }
    }
    Ok(summary)
}
