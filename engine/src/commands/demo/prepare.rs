//! What has to be there before anything is played: people, a folder, a model that is trained and calibrated, settings.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use tempfile::TempDir;

use crate::checkpoint::Checkpoint;
use crate::cli::{Cli, Command, DemoArgs, RunArgs};
use crate::data::{DataConfig, Dataset, data_files};
use crate::interrupt::{Reason, Stop};
use crate::job::Job;
use crate::outcome::Outcome;
use crate::output::Output;

use super::super::{calibrate, train};
use super::recording::{Recording, cut_in_two};

/// Windows of a model's trial: as many series of the data that is shown are played at the same time.
const TRIAL: usize = 14;

/// Windows from one false alarm to the next: more than are shown.
const ARL0: &str = "300";

/// Of ten other people, so many are not trained on: what is usual is found out by them.
const APART: usize = 3;

/// Windows of the person after which what is usual is taken from them: less than a lap.
const REFIT: usize = 40;

/// Labelled windows of now without which nothing is learned.
const WINDOWS: usize = 42;

/// Steps by which is learned.
const STEPS: usize = 300;

/// The files of the demo, in its folder.
const MODEL: &str = "model.safetensors";
const SETTINGS: &str = "live.toml";
const EARLIER: &str = "earlier.csv";
const LATER: &str = "later.csv";

/// The folder of all that is written; without `--out` it goes with this.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _temporary: Option<TempDir>,
}

impl Folder {
    /// The one that is asked for, which must be new or empty, or one for the time of the demo.
    pub(super) fn of(args: &DemoArgs) -> anyhow::Result<Self> {
        let Some(out) = &args.out else {
            let made = tempfile::Builder::new().prefix("edgectl-demo-").tempdir();
            let made = made.context("cannot make a temporary folder; give one as --out DIR")?;
            return Ok(Self { path: made.path().to_owned(), _temporary: Some(made) });
        };
        let place = || format!("{}", out.display());
        std::fs::create_dir_all(out).with_context(place)?;
        let mut there = std::fs::read_dir(out).with_context(place)?;
        ensure!(
            there.next().is_none(),
            "{}: there is something in it; give a folder that is new or empty as --out",
            out.display()
        );
        Ok(Self { path: out.clone(), _temporary: None })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The model; another that is put in its place is seen.
    pub(super) fn model(&self) -> PathBuf {
        self.at(MODEL)
    }

    /// A copy of the live model.
    pub(super) fn live(&self) -> PathBuf {
        self.at("state").join("current.safetensors")
    }
}

/// The data and the job, as far as they are known before anything is trained.
#[derive(Debug)]
pub(super) struct People {
    pub(super) person: PathBuf,
    /// Those that the model is trained on, and those that it is calibrated on.
    others: Vec<PathBuf>,
    apart: Vec<PathBuf>,
    data: DataConfig,
    /// Rows of a window.
    pub(super) len: usize,
}

impl People {
    /// Finds them.
    ///
    /// # Errors
    /// If there is no such folder, job or person, or nobody else; says what to give instead.
    pub(super) fn find(args: &DemoArgs) -> anyhow::Result<Self> {
        let DemoArgs { data, config, person, .. } = args;
        ensure!(
            data.is_dir() && config.is_file(),
            "the demo needs data and a job: there is no {}; run it where edgectl's source is, or give --data DIR with a \
             file of each person, --config JOB.toml and --person FILE",
            if data.is_dir() {
                format!("file {}", config.display())
            } else {
                format!("folder {}", data.display())
            }
        );
        let job = Job::read(config)?;
        let Some(len) = job.window.len else {
            bail!(
                "{}: [window] has no len: a whole series is one window, for which nothing can wait; give the \
                 rows of a window",
                config.display()
            );
        };
        let files = data_files(std::slice::from_ref(data), job.data.format)?;
        let path = data.join(person);
        let (own, mut others): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| *file == path);
        let names = || {
            let names: Vec<_> = others.iter().filter_map(|path| path.file_name()).collect();
            names.iter().map(|name| name.to_string_lossy()).collect::<Vec<_>>().join(", ")
        };
        ensure!(
            !own.is_empty(),
            "--person {}: {} has {}",
            person.display(),
            data.display(),
            names()
        );
        ensure!(
            others.len() >= 2,
            "{}: it takes two people beside the one who is shown, one to train on and one to calibrate on",
            data.display()
        );
        let apart = others.split_off(others.len() - (others.len() * APART).div_ceil(10));
        Ok(Self { person: path, others, apart, data: job.data, len })
    }
}

/// What is ready to be played, and the commands by which it was made.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) recording: Recording,
    pub(super) run: Box<RunArgs>,
    /// The command lines.
    pub(super) commands: Vec<String>,
}

/// Trains and calibrates, and writes what is played and how it is answered.
pub(super) fn prepare(
    args: &DemoArgs,
    people: &People,
    folder: &Folder,
    (threads, stop): (usize, Stop),
    output: Output,
) -> anyhow::Result<Ready> {
    let [earlier, later] = [EARLIER, LATER].map(|name| folder.at(name));
    let person = Dataset::read(std::slice::from_ref(&people.person), &people.data, None)?;
    cut_in_two((&person, &people.person), &people.data, people.len, [&earlier, &later])?;
    let recording = Recording::read(&later, &people.data)?;
    let settings = format!(
        "[run]\nmodel = \"{MODEL}\"\nstate = \"state\"\nwatch = \"100ms\"\nshadow = {TRIAL}\nrefit = {REFIT}\nsilence = \"off\"\n\n\
         [adapt]\nwhen = \"drift\"\nclean = [\"{EARLIER}\"]\nwindows = {WINDOWS}\nsteps = {STEPS}\n"
    );
    std::fs::write(folder.at(SETTINGS), settings).context(SETTINGS)?;

    let model = word(&folder.model());
    let mut words = line("train", &[("--config", &args.config)]);
    words.push("--data".to_owned());
    words.extend(people.others.iter().map(|path| word(path)));
    words.extend([
        "--epochs".to_owned(),
        args.epochs.to_string(),
        "--time-budget".to_owned(),
        format!("{}s", args.seconds.div_ceil(2)),
        "--out".to_owned(),
        model.clone(),
    ]);
    output.note(&format!(
        "training a model of {} other people, {} epochs",
        people.others.len(),
        args.epochs
    ));
    let mut commands = vec![words.join(" ")];
    let Command::Train(train_args) = parsed(words)? else { bail!("no training") };
    let trained = train::run(&train_args, threads, output.aside())?;
    if let Outcome::Stopped(reason @ Reason::Signal(_)) = trained {
        return Err(reason.into());
    }
    if trained != Outcome::Done {
        output.warn("there was no time for all of the training");
    }
    go_on(stop)?;

    let mut words = line("calibrate", &[("--model", &folder.model())]);
    words.push("--data".to_owned());
    words.extend(people.apart.iter().map(|path| word(path)));
    let refit = REFIT.to_string();
    words.extend(["--all", "--arl0", ARL0, "--refit", &refit, "--out"].map(str::to_owned));
    words.push(model);
    commands.push(words.join(" "));
    let Command::Calibrate(calibrate_args) = parsed(words)? else { bail!("no calibration") };
    calibrate::run(&calibrate_args, output.aside())?;
    go_on(stop)?;
    let known = Checkpoint::read(&folder.model())?.meta.monitor;
    if let Some(known) = known {
        output.note(&format!(
            "calibrated on {} windows of {} more people{}",
            known.windows,
            people.apart.len(),
            known
                .accuracy
                .map(|share| format!(", for {share:.3} of which it is right"))
                .unwrap_or_default()
        ));
    }

    let words = line("run", &[("--config", &folder.at(SETTINGS))]);
    #[cfg(feature = "http")]
    let words = [words, vec!["--http".to_owned(), args.http.to_string()]].concat();
    commands.push(words.join(" "));
    let Command::Run(run) = parsed(words)? else { bail!("no run") };
    commands.push(format!(
        "edgectl replay --data {} --hz {} --speed {} --together --loop --shift mirror@{} --to http://ADDRESS:PORT",
        word(&later), args.hz, args.speed, recording.longest
    ));
    Ok(Ready { recording, run, commands })
}

/// Ends what is done if somebody wants that.
fn go_on(stop: Stop) -> anyhow::Result<()> {
    stop.now().map_or(Ok(()), |reason| Err(reason.into()))
}

/// The words of a command.
fn line(command: &str, paths: &[(&str, &Path)]) -> Vec<String> {
    let mut words = vec!["edgectl".to_owned(), command.to_owned()];
    for (flag, path) in paths {
        words.extend([(*flag).to_owned(), word(path)]);
    }
    words
}

fn word(path: &Path) -> String {
    path.display().to_string()
}

/// What a command line asks for: what is done is what a user types.
fn parsed(words: Vec<String>) -> anyhow::Result<Command> {
    Ok(Cli::try_parse_from(words)?.command)
}

/// Puts a model in the place of the named one that gives to each class what the live one gives to the next; gives its
/// hash.
pub(super) fn put_bad_model(folder: &Folder) -> anyhow::Result<String> {
    let mut model = Checkpoint::read(&folder.live())?;
    for name in ["head.weight", "head.bias"] {
        let spec = model.encoder.layout().get(name).with_context(|| name.to_owned())?;
        let range = spec.range.clone();
        let of_class = range.len() / model.meta.classes.len().max(1);
        model.params[range].rotate_left(of_class);
    }
    model.write(&folder.model())?;
    Ok(aggregate::hash_file(folder.model())?)
}
