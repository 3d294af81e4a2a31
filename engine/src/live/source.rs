//! Where rows come from: any number of sources at a time, each on a thread of its own.

use std::io::{BufReader, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::intake::Intake;
use super::lines::{LONGEST, Line, next_line};
use super::tracks::Tracks;
use super::ways::Ways;
use crate::checkpoint::Meta;

/// Where rows come from.
pub trait Source: Send {
    /// A name that no other source has: series of different sources are never one.
    fn name(&self) -> &str;

    /// Whether it comes to an end by itself. Others go on until the run stops: with `--queue all` it does not wait
    /// for them.
    fn ends(&self) -> bool;

    /// Whether its thread is as urgent as those that answer. One that starts other programs is not, as they would
    /// be so, too.
    fn is_urgent(&self) -> bool {
        true
    }

    /// Hands its rows on until it ends, or the run [stops](Gate::is_stopping).
    ///
    /// # Errors
    /// What no later try could mend; it ends the run.
    fn run(&mut self, gate: &Gate<'_>) -> anyhow::Result<()>;
}

/// Where sources hand their lines in.
#[derive(Debug, Clone, Copy)]
pub struct Gate<'a> {
    /// The model whose rows are read.
    pub meta: &'a Meta,
    /// Where windows go.
    pub ways: Ways<'a>,
    /// All series.
    pub tracks: &'a Mutex<Tracks>,
    /// Set once the run stops.
    pub stopping: &'a AtomicBool,
}

impl<'a> Gate<'a> {
    /// Reads lines of a source: a header, if they have one, is their first. A source may have many, one for each
    /// file or message; a series of the same name goes on in the next.
    pub fn intake(&self, source: &str) -> Intake<'a> {
        Intake::new(self.meta, source, self.tracks, self.ways)
    }

    /// Whether the run stops.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Waits; says whether to go on then. A run that stops ends it early.
    pub fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.is_stopping() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(Duration::from_millis(10)));
        }
        false
    }
}

/// Lines of a stream that ends, such as stdin.
#[derive(Debug)]
pub struct Lines<R> {
    name: &'static str,
    input: R,
}

impl<R: Read + Send> Lines<R> {
    /// Of this input.
    pub fn new(name: &'static str, input: R) -> Self {
        Self { name, input }
    }
}

impl<R: Read + Send> Source for Lines<R> {
    fn name(&self) -> &str {
        self.name
    }

    fn ends(&self) -> bool {
        true
    }

    fn run(&mut self, gate: &Gate<'_>) -> anyhow::Result<()> {
        let mut intake = gate.intake(self.name);
        let mut input = BufReader::with_capacity(1 << 16, &mut self.input);
        let mut line = Vec::new();
        let mut wanted = true;
        while wanted && !gate.is_stopping() {
            let read = next_line(&mut input, &mut line);
            match read.with_context(|| format!("{}: cannot read", self.name))? {
                Line::End => break,
                Line::TooLong => intake.unreadable(&format!("longer than {LONGEST} bytes")),
                Line::Whole => wanted = intake.line(&line, Instant::now())?,
            }
        }
        intake.end();
        Ok(())
    }
}
