//! `edgectl run`: answers while rows come.

#[cfg(feature = "http")]
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aggregate::Targets;
use anyhow::{Context, anyhow, ensure};
use serde::Serialize;

use crate::cli::RunArgs;
use crate::interrupt::Stop;
use crate::job::{
    Abstain, AdaptSettings, Gap, Keep, Late, Priority, RunSettings, Settings, Time, When,
};
#[cfg(feature = "video")]
use crate::live::Camera;
#[cfg(feature = "http")]
use crate::live::Token;
#[cfg(feature = "mqtt")]
use crate::live::{AnswersTo, Mqtt};
use crate::live::{
    EventFile, Folder, GAP, Lines, Options, SILENCE, Source, Summary, Terms, Web, run,
};
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

/// Fewer say nothing of a place, and more are not kept.
const FEWEST_REFIT: usize = 10;
const MOST_REFIT: usize = 100_000;
/// The share of given answers that have to be right where nothing is said.
const RIGHT: f64 = 0.95;
/// Fewer windows than one in so many are no stream.
const MOST_STRIDE: u64 = 1024;
/// Windows that a new model answers beside the live one, and how often the two have to agree, where nothing is said.
const SHADOW: u32 = 100;
const AGREEMENT: f64 = 0.9;

/// Sources, and where answers go.
pub(super) type Ends = (Vec<Box<dyn Source>>, Box<dyn Write + Send>);

pub(super) fn run_live(args: &RunArgs, output: Output) -> anyhow::Result<()> {
    let ends = |settings: &RunSettings| Ok((sources(args, settings)?, answers(args, settings)?));
    let summary = answer(args, output, Stop::new(None), ends, |_| ())?;
    let lines = summary.lines().into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    let text = table(&["what", "value"], &lines.collect::<Vec<_>>());
    output.summary(&Report { event: "summary", summary: &summary }, &text)?;
    // What did nothing of use is no success.
    summary.nothing().map_or(Ok(()), |why| Err(anyhow!(why)))
}

/// Answers as the arguments say, from and to these ends; events are heard, too, before they are written.
pub(super) fn answer(
    args: &RunArgs,
    output: Output,
    stop: Stop,
    ends: impl FnOnce(&RunSettings) -> anyhow::Result<Ends>,
    mut heard: impl FnMut(&str) + Send + 'static,
) -> anyhow::Result<Summary> {
    ensure!(
        (1.0..=1e6).contains(&args.slow),
        "--slow {}: give a factor of at least 1 and at most a million",
        args.slow
    );
    let config = args.config.as_deref();
    let Settings { run: settings, adapt } =
        config.map(Settings::read).transpose()?.unwrap_or_default();
    let model = args.model.as_ref().or(settings.model.as_ref());
    let state = args.state.as_ref().or(settings.state.as_ref());
    let terms = terms(args, &settings, state.is_some())?;
    let _model = model.or(state).context("name the model, as --model or in [run] of --config")?;
    let options = options(args, &settings, terms)?;
    let adapting = adapting(adapt, state)?;
    let held = state.map(|folder| Models::hold_as(folder, "run.lock")).transpose()?;
    let models = state.map(|folder| Models::open_or_make(folder)).transpose()?;
    let mut file = state.map(|folder| EventFile::open(folder)).transpose()?;
    let mut told = false;
    let tell = move |line: &str| {
        heard(line);
        let written = file.as_mut().map_or(Ok(()), |file| file.line(line));
        if file.is_none() || written.is_err() {
            // A disk that is full: better here than nowhere.
            if let (Err(error), false) = (&written, std::mem::replace(&mut told, true)) {
                output.warn(&format!("events cannot be written to their file: {error}"));
            }
            output.event(line);
        }
    };
    let model = model.map(PathBuf::as_path);
    let web = web(args, &settings, model, state.map(PathBuf::as_path))?;
    let summary = run((model, models), options, web, adapting, ends(&settings)?, tell, stop)?;
    drop(held);
    Ok(summary)
}

/// Where it is seen, if it is.
fn web(
    args: &RunArgs,
    settings: &RunSettings,
    model: Option<&Path>,
    state: Option<&Path>,
) -> anyhow::Result<Option<Web>> {
    #[cfg(feature = "http")]
    if let Some(at) = args.http.or(settings.http) {
        let token = args.token_file.as_ref().or(settings.token_file.as_ref());
        let token = token.map(|path| Token::read(path)).transpose()?;
        let name =
            model.and_then(Path::file_stem).map_or_else(|| "model".into(), OsStr::to_string_lossy);
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

/// How the model is adjusted, if it is, and where that is kept.
fn adapting(
    settings: AdaptSettings,
    state: Option<&PathBuf>,
) -> anyhow::Result<Option<(AdaptSettings, PathBuf)>> {
    settings.check()?;
    if settings.when == When::Never {
        return Ok(None);
    }
    let state = state.context("[adapt] keeps windows and models in a folder: give --state DIR")?;
    if let Some(update) = &settings.update {
        Targets::default().add(update).context("[adapt] update")?;
    }
    Ok(Some((settings, state.clone())))
}

/// What is asked of another model before it is live: where no state is kept, only that it is sound.
fn terms(args: &RunArgs, settings: &RunSettings, has_state: bool) -> anyhow::Result<Terms> {
    let windows = args.shadow.or(settings.shadow);
    ensure!(
        has_state || windows.unwrap_or(0) == 0,
        "--shadow: models that are on trial are kept in a folder: give --state DIR"
    );
    let agreement = args.agreement.or(settings.agreement).unwrap_or(AGREEMENT);
    ensure!(
        (0.0..=1.0).contains(&agreement),
        "--agreement {agreement}: give a share from 0 to 1, such as {AGREEMENT}"
    );
    Ok(Terms { windows: windows.unwrap_or(if has_state { SHADOW } else { 0 }), agreement })
}

/// Where answers go: stdout, and perhaps also a broker.
fn answers(args: &RunArgs, settings: &RunSettings) -> anyhow::Result<Box<dyn Write + Send>> {
    let is_discovered = args.mqtt_discovery || settings.mqtt_discovery.unwrap_or(false);
    ensure!(
        !is_discovered || args.mqtt_answers.is_some() || settings.mqtt_answers.is_some(),
        "--mqtt-discovery tells of answers that go to a broker: give --mqtt-answers URL"
    );
    #[cfg(feature = "mqtt")]
    if let Some(url) = args.mqtt_answers.as_ref().or(settings.mqtt_answers.as_ref()) {
        let ca = args.ca.as_deref().or(settings.ca.as_deref());
        let answers = AnswersTo::new(Output::answers(), url, ca, is_discovered)?;
        return Ok(Box::new(answers));
    }
    #[cfg(not(feature = "mqtt"))]
    ensure!(
        args.mqtt_answers.is_none() && settings.mqtt_answers.is_none(),
        "--mqtt-answers: this edgectl was built without the feature mqtt"
    );
    Ok(Box::new(Output::answers()))
}

/// Where rows come from: stdin, if nothing else is named.
fn sources(args: &RunArgs, settings: &RunSettings) -> anyhow::Result<Vec<Box<dyn Source>>> {
    let folders = if args.folder.is_empty() { &settings.folder } else { &args.folder };
    let cameras = if args.camera.is_empty() { &settings.camera } else { &args.camera };
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    for folder in folders {
        sources.push(Box::new(Folder::new(folder)?));
    }
    let ca = args.ca.as_deref().or(settings.ca.as_deref());
    let topics = if args.mqtt.is_empty() { &settings.mqtt } else { &args.mqtt };
    #[cfg(feature = "mqtt")]
    for url in topics {
        sources.push(Box::new(Mqtt::new(url, ca)?));
    }
    #[cfg(not(feature = "mqtt"))]
    {
        let _ = ca;
        ensure!(topics.is_empty(), "--mqtt: this edgectl was built without the feature mqtt");
    }
    #[cfg(feature = "video")]
    for (i, url) in cameras.iter().enumerate() {
        let name = if i == 0 { "camera".to_owned() } else { format!("camera-{}", i + 1) };
        sources.push(Box::new(Camera::new(name, url, keep(args, settings))?));
    }
    #[cfg(not(feature = "video"))]
    ensure!(cameras.is_empty(), "--camera: this edgectl was built without the feature video");
    if sources.is_empty() || args.stdin || settings.stdin == Some(true) {
        sources.push(Box::new(Lines::new("stdin", io::stdin())));
    }
    Ok(sources)
}

/// What becomes of windows that come faster than the model answers.
fn keep(args: &RunArgs, settings: &RunSettings) -> Keep {
    args.queue.or(settings.queue).unwrap_or(Keep::Newest)
}

/// What flags say, else the file, else as it is by default.
fn options(args: &RunArgs, settings: &RunSettings, terms: Terms) -> anyhow::Result<Options> {
    let abstain = args.abstain.or(settings.abstain);
    let abstain_right = args.abstain_right.or(settings.abstain_right);
    ensure!(
        abstain_right.is_none_or(|right| right > 0.0 && right <= 1.0),
        "--abstain-right {}: give a share above 0 and at most 1",
        abstain_right.unwrap_or(f64::NAN)
    );
    ensure!(
        abstain_right.is_none() || abstain.is_some_and(|Abstain { least, most }| most > least),
        "--abstain-right: one threshold does not follow labels: give bounds, as --abstain 0.5..0.9"
    );
    let refit = args.refit.or(settings.refit);
    ensure!(
        refit.is_none_or(|n| n == 0 || (FEWEST_REFIT..=MOST_REFIT).contains(&n)),
        "--refit {}: give 0, or windows from {FEWEST_REFIT} to {MOST_REFIT}",
        refit.unwrap_or_default()
    );
    let keep = keep(args, settings);
    let live = keep == Keep::Newest;
    let stride_most = args.stride_most.or(settings.stride_most).unwrap_or(1);
    ensure!(
        (1..=MOST_STRIDE).contains(&stride_most),
        "--stride-most {stride_most}: give 1 for every window, or a number up to {MOST_STRIDE}"
    );
    ensure!(
        live || stride_most == 1,
        "--stride-most {stride_most}: with --queue all the input waits and no window is left out: give one of the two"
    );
    let deadline = args.deadline.or(settings.deadline).map(|Time(time)| time);
    let priority = args.priority.or(settings.priority);
    let Gap(gap) = args.gap.or(settings.gap).unwrap_or(Gap(Some(GAP)));
    Ok(Options {
        keep,
        deadline: deadline.or(live.then_some(DEADLINE)),
        late: args.late.or(settings.late).unwrap_or(Late::Drop),
        priority: priority.unwrap_or(if live { Priority::Fifo(50) } else { Priority::Normal }),
        watch: args.watch.or(settings.watch).map_or(Duration::from_secs(1), |Time(time)| time),
        terms,
        gap,
        stale: args.stale.or(settings.stale).map(|Time(time)| time),
        silence: args.silence.or(settings.silence).unwrap_or(Gap(Some(SILENCE))).0,
        probs: args.probs || settings.probs.unwrap_or(false),
        abstain,
        abstain_right: abstain_right.unwrap_or(RIGHT),
        stride_most,
        refit,
        slow: args.slow,
    })
}
