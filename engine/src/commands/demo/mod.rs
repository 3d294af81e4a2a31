//! `edgectl demo`: a model that answers, drift that is found, a model that is adjusted, and a bad one that is refused.
//!
//! It is a run and a replay in one process, with pipes for stdin and stdout: what is shown is what the commands do.

mod page;
mod prepare;
mod recording;
mod report;
mod story;

use std::collections::VecDeque;
use std::io::{self, PipeWriter, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::{Value, json};

use super::replay::is_broken_pipe;
use super::run::{Ends, answer};
use crate::cli::DemoArgs;
use crate::interrupt::{Reason, Stop};
use crate::job::RunSettings;
use crate::live::{Change, Lines, Play, Shift, Source, Summary, To, play, target};
use crate::outcome::Outcome;
use crate::output::Output;
use prepare::{Folder, People, Ready, prepare, put_bad_model};
use recording::{Recording, Rows};
use report::Report;
use story::{Answer, Story};

/// Set once all was seen: the run and what is played end.
static OVER: AtomicBool = AtomicBool::new(false);

/// Seconds of the recording from an answer until its class is told.
const LATER_S: f64 = 2.0;

/// How often is looked for what is due.
const LOOK: Duration = Duration::from_millis(20);

/// How long what is due may take once all is over.
const PATIENCE: Duration = Duration::from_secs(5);

/// What comes of the run.
enum Heard {
    /// Lines of answers.
    Answers(Vec<u8>),
    Event(String),
}

pub(super) fn run(args: &DemoArgs, threads: usize, output: Output) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    ensure!(
        (0.1..=100.0).contains(&args.speed),
        "--speed {}: give a factor from 0.1 to 100",
        args.speed
    );
    ensure!((1e-3..=1e6).contains(&args.hz), "--hz {}: give rows a second, above 0", args.hz);
    let people = People::find(args)?;
    let stop = Stop::new(Some(Duration::from_secs(args.seconds))).once(&OVER);
    // From now on a signal is left to this, so that the folder goes.
    if let Some(reason) = stop.now() {
        return Ok(Outcome::Stopped(reason));
    }
    let folder = Folder::of(args)?;
    let ready = match prepare(args, &people, &folder, (threads, stop), output) {
        Err(error) if error.downcast_ref() == Some(&Reason::TimeBudget) => {
            bail!("{} s were over before anything was played; give more as --seconds", args.seconds)
        }
        Err(error) => return error.downcast().map(Outcome::Stopped),
        Ok(ready) => ready,
    };
    let (story, summary) = live(args, &ready, &folder, (people.len, stop, began), output)?;
    if let Some(reason @ Reason::Signal(_)) = stop.now() {
        return Ok(Outcome::Stopped(reason));
    }
    let out = args.out.as_ref().map(|out| out.display().to_string());
    let of = (people.person.display().to_string(), out);
    let wall_s = began.elapsed().as_secs_f64();
    let report = Report::of(&story, &summary, of, &ready.commands, wall_s);
    output.result(&report, &report.text())?;
    let missing = story.missing();
    ensure!(missing.is_empty(), "not seen within {} s: {}", args.seconds, missing.join("; "));
    Ok(Outcome::Done)
}

/// Plays, answers and watches both, until all was seen or the time is over.
fn live(
    args: &DemoArgs,
    ready: &Ready,
    folder: &Folder,
    (len, stop, began): (usize, Stop, Instant),
    output: Output,
) -> anyhow::Result<(Story, Summary)> {
    let Ready { recording, run, .. } = ready;
    let n_series = recording.n_series();
    output.note(&format!(
        "playing {n_series} series at the same time, at {} times their pace",
        args.speed
    ));
    let how = Play {
        speed: Some(args.speed),
        hz: Some(args.hz),
        together: true,
        again: true,
        shift: Some(Shift { change: Change::Mirror, at: recording.longest as u64 }),
        ..Play::default()
    };
    let (rows, to_rows) = io::pipe().context("cannot make a pipe")?;
    let (labels, to_labels) = io::pipe().context("cannot make a pipe")?;
    let (told, heard) = channel();
    thread::scope(|scope| {
        let answering = scope.spawn(move || {
            let tell = told.clone();
            let ends = |_: &RunSettings| -> anyhow::Result<Ends> {
                let sources: Vec<Box<dyn Source>> = vec![
                    Box::new(Lines::new("stdin", rows)),
                    Box::new(Lines::new("labels", labels)),
                ];
                Ok((sources, Box::new(Answers(told))))
            };
            // Who no more listens has ended it.
            let hear = move |line: &str| drop(tell.send(Heard::Event(line.to_owned())));
            answer(run, output.aside(), stop, ends, hear)
        });
        let playing = scope.spawn(move || {
            let played = target(&To::Stdout, io::BufWriter::new(to_rows))
                .and_then(|mut to| play(&recording.data, &how, &mut *to, &stop));
            OVER.store(true, Ordering::SeqCst);
            played
        });
        let delay = Duration::from_secs_f64(LATER_S / args.speed);
        let mut show = Show {
            began,
            stop,
            recording,
            len,
            delay,
            opens: !args.no_open,
            folder,
            output,
            labels: to_labels,
            story: Story::default(),
            due: VecDeque::new(),
        };
        let shown = show.until_over(&heard);
        OVER.store(true, Ordering::SeqCst);
        let story = show.story;
        let summary = answering.join().map_err(|_| anyhow!("the run failed"))?;
        let played = playing.join().map_err(|_| anyhow!("what plays failed"))?;
        let summary = summary?;
        // The run ends before what plays hears of it.
        if let Err(error) = played
            && !is_broken_pipe(&error)
        {
            return Err(error);
        }
        shown?;
        Ok((story, summary))
    })
}

/// Takes the lines of answers.
struct Answers(Sender<Heard>);

impl Write for Answers {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let sent = self.0.send(Heard::Answers(lines.to_vec()));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Shows what is heard, and does what somebody at the node would do.
struct Show<'a> {
    began: Instant,
    stop: Stop,
    recording: &'a Recording,
    len: usize,
    delay: Duration,
    opens: bool,
    folder: &'a Folder,
    output: Output,
    labels: PipeWriter,
    story: Story,
    /// Windows whose classes are to be told, and when.
    due: VecDeque<(Instant, u64, String)>,
}

impl Show<'_> {
    /// Until the run has ended.
    fn until_over(&mut self, heard: &Receiver<Heard>) -> anyhow::Result<()> {
        let mut until = None;
        loop {
            match heard.recv_timeout(LOOK) {
                Ok(Heard::Answers(lines)) => {
                    for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                        self.answer(&serde_json::from_slice(line).context("an answer")?);
                    }
                }
                Ok(Heard::Event(line)) => {
                    self.event(&serde_json::from_str(&line).context("an event")?);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if self.stop.now().is_some() {
                // What was due has its answers.
                if Instant::now() > *until.get_or_insert_with(|| Instant::now() + PATIENCE) {
                    return Ok(());
                }
                continue;
            }
            self.tell_due()?;
            if self.story.wants_bad() {
                let bad = put_bad_model(self.folder)?;
                let line = self.story.put(bad);
                self.say(Some(line));
            }
            if self.story.is_over() {
                OVER.store(true, Ordering::SeqCst);
            }
        }
    }

    fn answer(&mut self, answer: &Answer) {
        let rows = answer.series.as_deref().zip(answer.t);
        let rows = rows.and_then(|(series, t)| self.recording.rows(series, t, self.len));
        let class = answer.series.as_deref().zip(rows);
        let class = class.and_then(|(series, rows)| self.recording.class(series, rows));
        let line = self.story.answer(answer, rows.zip(class));
        self.say(line);
        if let (Some(class), true) = (class, rows.is_some_and(Rows::are_told)) {
            self.due.push_back((Instant::now() + self.delay, answer.id, class.to_owned()));
        }
    }

    fn event(&mut self, event: &Value) {
        let had_page = self.story.page.is_some();
        let line = self.story.event(event);
        self.say(line);
        if let (Some(page), false, true) = (&self.story.page, had_page, self.opens) {
            page::open(page);
        }
    }

    /// Tells somebody who sits before it.
    fn say(&self, line: Option<String>) {
        if let Some(line) = line {
            self.output.note(&format!("{:5.1} s  {line}", self.began.elapsed().as_secs_f64()));
        }
    }

    /// Tells the classes that are due.
    fn tell_due(&mut self) -> anyhow::Result<()> {
        let is_due = |(due, ..): &mut (Instant, u64, String)| *due <= Instant::now();
        while let Some((_, id, class)) = self.due.pop_front_if(is_due) {
            let line = json!({ "label": class, "id": id });
            match writeln!(self.labels, "{line}") {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                written => written.context("cannot tell a class")?,
            }
        }
        Ok(())
    }
}
