//! How a model answers while rows come: the `[run]` section of a file of settings, and what flags say.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde::{Deserialize, Deserializer, de};

use super::adapt::AdaptSettings;

/// A file of settings.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How windows are answered.
    pub run: RunSettings,
    /// How the model is adjusted.
    pub adapt: AdaptSettings,
}

/// How windows are answered. What is left out is as the command line says, else as it is by default.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunSettings {
    /// The model, or a folder of models; relative to the file's folder.
    pub model: Option<PathBuf>,
    /// The folder for events and models; relative to the file's folder.
    pub state: Option<PathBuf>,
    /// From the arrival of a window's last row to its answer.
    #[serde(deserialize_with = "parsed")]
    pub deadline: Option<Time>,
    /// What becomes of later answers: `drop` or `answer`.
    #[serde(deserialize_with = "parsed")]
    pub late: Option<Late>,
    /// `1`: of each series the newest window; `"all"`: every window, without a deadline.
    #[serde(deserialize_with = "parsed")]
    pub queue: Option<Keep>,
    /// `normal` or `fifo:LEVEL`.
    #[serde(deserialize_with = "parsed")]
    pub priority: Option<Priority>,
    /// How often to look for another model.
    #[serde(deserialize_with = "parsed")]
    pub watch: Option<Time>,
    /// Windows that a new model answers beside the live one; with 0 it is live at once.
    pub shadow: Option<u32>,
    /// The share of them for which both have to give the same class, where no classes are told.
    pub agreement: Option<f64>,
    /// A longer step, in usual ones, is a gap; or `"off"`.
    #[serde(deserialize_with = "parsed")]
    pub gap: Option<Gap>,
    /// Nothing for so many usual steps is no signal; or `"off"`.
    #[serde(deserialize_with = "parsed")]
    pub silence: Option<Gap>,
    /// Whether stdin is read where other sources are named.
    pub stdin: Option<bool>,
    /// Folders whose files are read; relative to the file's folder.
    pub folder: Vec<PathBuf>,
    /// Cameras and videos, through ffmpeg.
    pub camera: Vec<String>,
    /// Messages of brokers.
    pub mqtt: Vec<String>,
    /// A broker and a topic to which answers also go.
    pub mqtt_answers: Option<String>,
    /// Whether Home Assistant is told of them.
    pub mqtt_discovery: Option<bool>,
    /// A file with the authority of brokers' certificates; relative to the file's folder.
    pub ca: Option<PathBuf>,
    /// Rows whose time is longer ago are old.
    #[serde(deserialize_with = "parsed")]
    pub stale: Option<Time>,
    /// Whether answers tell every class's probability.
    pub probs: Option<bool>,
    /// An answer that is less probable is kept back: a probability, or bounds, `"0.5..0.9"`.
    #[serde(deserialize_with = "parsed")]
    pub abstain: Option<Abstain>,
    /// The share of given answers that have to be right, by which the bounds are used.
    pub abstain_right: Option<f64>,
    /// Under load every how many-th window stays due at least; 1 for each.
    pub stride_most: Option<u64>,
    /// Windows after which what is usual is taken from those of this place; 0 for never.
    pub refit: Option<usize>,
    /// Where the run is seen over HTTP.
    pub http: Option<SocketAddr>,
    /// Who says the token in this file may change what runs; relative to the file's folder.
    pub token_file: Option<PathBuf>,
}

/// What becomes of windows that come faster than the model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// A newer window takes the place of one of its series that still waits.
    Newest,
    /// The source waits.
    All,
}

/// What becomes of an answer that comes after the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// It is left out: whoever waited for it has gone on.
    Drop,
    /// It is given all the same.
    Answer,
}

/// How urgent a thread is to the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// As any other.
    Normal,
    /// Before all that are not as urgent (`SCHED_FIFO`), from 1 to 99.
    Fifo(u8),
}

impl FromStr for Priority {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let level = text.strip_prefix("fifo:").and_then(|level| level.parse().ok());
        match (text, level) {
            ("normal", _) => Ok(Self::Normal),
            (_, Some(level)) if (1..=99).contains(&level) => Ok(Self::Fifo(level)),
            _ => Err("give normal, or fifo:LEVEL with a level from 1 to 99".to_owned()),
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Fifo(level) => write!(f, "fifo:{level}"),
        }
    }
}

/// A duration as people write it: `50ms`, `2s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Duration);

/// How long a step of the times may be, in usual ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gap(pub Option<f64>);

/// How probable an answer has to be to be given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Abstain {
    /// At least so much.
    pub least: f64,
    /// Between these bounds as labels ask for it; the same as [`least`](Self::least) where it does not move.
    pub most: f64,
}

impl FromStr for Abstain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        match (least.trim().parse(), most.trim().parse()) {
            (Ok(least), Ok(most)) if 0.0 < least && least <= most && most < 1.0 => {
                Ok(Self { least, most })
            }
            _ => {
                Err("give a probability above 0 and below 1, or bounds of it, 0.5..0.9".to_owned())
            }
        }
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
        if time < Duration::from_micros(1) || time > Duration::from_hours(24) {
            return Err("give a time from 1us to 1day".to_owned());
        }
        Ok(Self(time))
    }
}

impl FromStr for Gap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<f64>() {
            _ if text == "off" => Ok(Self(None)),
            Ok(steps) if steps.is_finite() && steps > 1.0 => Ok(Self(Some(steps))),
            _ => Err("give a number of usual steps above 1, or off".to_owned()),
        }
    }
}

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "1" => Ok(Self::Newest),
            "all" => Ok(Self::All),
            _ => Err("give 1 for the newest window of each series, or all".to_owned()),
        }
    }
}

impl FromStr for Late {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "drop" => Ok(Self::Drop),
            "answer" => Ok(Self::Answer),
            _ => Err("give drop or answer".to_owned()),
        }
    }
}

/// A text or a number, as a flag would have it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a text or a number")]
enum Written {
    Whole(i64),
    Number(f64),
    Text(String),
}

fn parsed<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err = String>,
    D: Deserializer<'de>,
{
    let text = match Written::deserialize(deserializer)? {
        Written::Whole(number) => number.to_string(),
        Written::Number(number) => number.to_string(),
        Written::Text(text) => text,
    };
    text.parse().map(Some).map_err(|reason| de::Error::custom(format!("{text:?}: {reason}")))
}

impl Settings {
    /// Reads a file; paths in it are relative to its folder.
    ///
    /// # Errors
    /// If it cannot be read, is no TOML, or has an unknown key or a value that does not go.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        let mut settings: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
            let at = line.map(|line| format!(": line {line}")).unwrap_or_default();
            anyhow!("{}{at}: {}", path.display(), error.message().trim_end())
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let RunSettings { model, state, token_file, ca, folder: folders, .. } = &mut settings.run;
        for path in [model, state, token_file, ca].into_iter().flatten().chain(folders) {
            *path = folder.join(&path);
        }
        let AdaptSettings { clean, update, .. } = &mut settings.adapt;
        for path in clean.iter_mut().chain(update) {
            *path = folder.join(&path);
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("live.toml");
        std::fs::write(&path, text).expect("written");
        let read = Settings::read(&path);
        read.map_err(|error| error.to_string().replace(folder.path().to_str().expect("text"), ""))
    }

    #[test]
    fn priorities_are_read_as_they_are_shown() {
        for priority in [Priority::Normal, Priority::Fifo(1), Priority::Fifo(99)] {
            assert_eq!(priority.to_string().parse(), Ok(priority));
        }
        for text in ["", "fifo", "fifo:0", "fifo:100", "fifo:-1", "high", "FIFO:5"] {
            assert!(text.parse::<Priority>().is_err(), "{text}");
        }
    }

    #[test]
    fn probabilities_of_answers_are_one_or_two() {
        let one = Abstain { least: 0.5, most: 0.5 };
        for (text, expected) in [("0.5", one), ("0.5..0.9", Abstain { most: 0.9, ..one })] {
            assert_eq!(text.parse(), Ok(expected));
            let settings = read(&format!("[run]\nabstain = \"{text}\"")).expect("settings");
            assert_eq!(settings.run.abstain, Some(expected));
        }
        assert_eq!(read("[run]\nabstain = 0.5").expect("settings").run.abstain, Some(one));
        for text in
            ["", "0", "1", "nan", "0.9..0.5", "0.5..1", "0.5..", "..0.5", "0.5..nan", "0.5...0.9"]
        {
            assert!(text.parse::<Abstain>().is_err(), "{text}");
        }
    }

    #[test]
    fn settings_are_those_of_the_flags() {
        let text = "[run]\ndeadline = \"50ms\"\nlate = \"drop\"\nqueue = 1\npriority = \"fifo:50\"\nwatch = \"1s\"\ngap = 2.5\nprobs = true\n";
        let run = read(text).expect("settings").run;
        assert_eq!(run.deadline, Some(Time(Duration::from_millis(50))));
        assert_eq!((run.late, run.queue), (Some(Late::Drop), Some(Keep::Newest)));
        assert_eq!((run.priority, run.gap), (Some(Priority::Fifo(50)), Some(Gap(Some(2.5)))));
        assert_eq!(
            read("[run]\nqueue = \"all\"\ngap = \"off\"").expect("settings").run.queue,
            Some(Keep::All)
        );
        assert_eq!(read("").expect("settings"), Settings::default());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, part) in [
            ("[run]\n\ndeadlin = \"1s\"", "line 3"),
            ("[run]\ndeadline = \"soon\"", "line 2"),
            ("[run]\nqueue = 2", "newest"),
            ("[run]\ngap = 0.5", "above 1"),
            ("[run]\nprobs = 1", "bool"),
            ("run", "line 1"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(part) && error.starts_with("/live.toml"), "{error}");
        }
    }
}
