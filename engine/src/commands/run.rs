//! `edgectl run`: answers while rows come.

#[cfg(feature = "http")]
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;

use crate::cli::RunArgs;
use crate::interrupt::Stop;
use crate::job::{Gap, Keep, Late, Priority, RunSettings, Settings, Time};
#[cfg(feature = "http")]
use crate::live::Token;
use crate::live::{EventFile, GAP, Lines, Options, Source, Summary, Web, run};
use crate::models::Models;
use crate::output::{Output, table};

/// The last line on stderr with `--json`.
#[derive(Serialize)]
struct Report<'a> {
    event: &'static str,
    #[serde(flatten)]
    summary: &'a Summary,
}

/// How long an answer may take where nothing is said.
const DEADLINE: Duration = Duration::from_millis(50);

pub(super) fn run_live(args: &RunArgs, output: Output) -> anyhow::Result<()> {
    let stop = Stop::new(None);
    ensure!(
        (1.0..=1e6).contains(&args.slow),
        "--slow {}: give a factor of at least 1 and at most a million",
        args.slow
    );
    let config = args.config.as_deref();
    let settings = config.map(Settings::read).transpose()?.unwrap_or_default().run;
    let model = args.model.as_ref().or(settings.model.as_ref());
    let model = model.context("name the model, as --model or in [run] of --config")?;
    let state = args.state.as_ref().or(settings.state.as_ref());
    let held = state.map(|folder| Models::hold_as(folder, "run.lock")).transpose()?;
    let mut file = state.map(|folder| EventFile::open(folder)).transpose()?;
    let mut told = false;
    let tell = move |line: &str| {
        let written = file.as_mut().map_or(Ok(()), |file| file.line(line));
        if file.is_none() || written.is_err() {
            // A disk that is full: better here than nowhere.
            if let (Err(error), false) = (&written, std::mem::replace(&mut told, true)) {
                output.warn(&format!("events cannot be written to their file: {error}"));
            }
            output.event(line);
        }
    };
    let options = options(args, &settings);
    let web = web(args, &settings, model, state.map(PathBuf::as_path))?;
    let sources: Vec<Box<dyn Source>> = vec![Box::new(Lines::new("stdin", io::stdin()))];
    let summary = run(model, options, web, (sources, Output::answers()), tell, stop)?;
    drop(held);
    let lines = summary.lines().into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    let text = table(&["what", "value"], &lines.collect::<Vec<_>>());
    output.summary(&Report { event: "summary", summary: &summary }, &text)
}

/// Where it is seen, if it is.
fn web(
    args: &RunArgs,
    settings: &RunSettings,
    model: &Path,
    state: Option<&Path>,
) -> anyhow::Result<Option<Web>> {
    #[cfg(feature = "http")]
    if let Some(at) = args.http.or(settings.http) {
        let token = args.token_file.as_ref().or(settings.token_file.as_ref());
        let token = token.map(|path| Token::read(path)).transpose()?;
        let name = model.file_stem().map_or_else(|| "model".into(), OsStr::to_string_lossy);
        let state = state.map(Path::to_owned);
        return Ok(Some(Web { at, token, name: name.into_owned(), state }));
    }
    #[cfg(not(feature = "http"))]
    {
        let _ = (args, model, state);
        ensure!(
            settings.http.is_none(),
            "[run] http: this edgectl was built without the feature http"
        );
    }
    Ok(None)
}

/// What flags say, else the file, else as it is by default.
fn options(args: &RunArgs, settings: &RunSettings) -> Options {
    let keep = args.queue.or(settings.queue).unwrap_or(Keep::Newest);
    let live = keep == Keep::Newest;
    let deadline = args.deadline.or(settings.deadline).map(|Time(time)| time);
    let priority = args.priority.or(settings.priority);
    let Gap(gap) = args.gap.or(settings.gap).unwrap_or(Gap(Some(GAP)));
    Options {
        keep,
        deadline: deadline.or(live.then_some(DEADLINE)),
        late: args.late.or(settings.late).unwrap_or(Late::Drop),
        priority: priority.unwrap_or(if live { Priority::Fifo(50) } else { Priority::Normal }),
        watch: args.watch.or(settings.watch).map_or(Duration::from_secs(1), |Time(time)| time),
        gap,
        probs: args.probs || settings.probs.unwrap_or(false),
        slow: args.slow,
    }
}
