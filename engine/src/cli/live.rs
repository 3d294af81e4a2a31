//! Arguments of the commands that answer while rows come.

#[cfg(feature = "http")]
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::job::{Abstain, Gap, Keep, Late, Priority, Time};

/// `edgectl calibrate`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  edgectl calibrate --model global.safetensors --data mine.csv --out watched.safetensors

It writes the same weights with what `edgectl run` needs to watch them:
  - a temperature, so that probabilities are as large as answers are right;
  - references and thresholds of detectors on three signals: how unusual the input is, the
    confidence of the answer, and, with labels, its error. Together they give one false alarm in
    --arl0 windows;
  - sets of classes that hold the true one for --coverage of the windows;
  - the range of each channel.
All is for these weights alone: training or merging forgets it. Take series, better people, that the
model was not trained on; of several files, each is taken to be another person.")]
pub struct CalibrateArgs {
    /// The model
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Files or folders that the model was not trained on; rows marked for training are left out
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    pub data: Vec<PathBuf>,
    /// All rows count, whatever their mark: of people that the model was not trained on
    #[arg(long)]
    pub all: bool,
    /// Statistics of the node's training rows, which `preprocess fit --model` wrote, for steps with
    /// fit = "node" that have no values in the model
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,
    /// Where to write the model; may be the same file
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Windows from one false alarm to the next, of all detectors together
    #[arg(long, value_name = "N", default_value_t = 1000.0)]
    pub arl0: f64,
    /// Windows that are compared with the reference at a time, from 5 to 1000
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub window: usize,
    /// Windows of a new place from which a run is to take what is usual there: thresholds are for these
    /// [default: 200]
    #[arg(long, value_name = "N")]
    pub refit: Option<usize>,
    /// The share of windows whose set of classes is to hold the true one
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, value_parser = share)]
    pub coverage: f64,
    /// Seed of the series that are drawn
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// A number between 0 and 1.
fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("give a number above 0 and below 1".to_owned()),
    }
}

/// `edgectl run`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl run --model global.safetensors < sensor.jsonl
  edgectl run --model global.safetensors --queue all < recording.csv
  edgectl run --model global.safetensors --state state --deadline 20ms --probs < sensor.jsonl
  edgectl run --config live.toml < sensor.jsonl
  edgectl run --model global.safetensors --http 127.0.0.1:8080 --token-file token
  edgectl run --model global.safetensors --folder incoming --camera rtsp://camera/1

Rows come on stdin, a line each: a table with the header of the files the model was trained on, or
objects that name their cells, {\"t\":12.34,\"series\":\"s1\",\"ax\":0.1,…} or {\"x\":[0.1,…]}. Rows of
several series may lie between each other. Every window that is due has one line on stdout:

  {\"id\":17,\"series\":\"s1\",\"t\":12.34,\"answer\":\"ABD\",\"p\":0.970000,\"status\":\"ok\",\"quality\":[],
   \"age_us\":640,\"infer_us\":102,\"model\":\"9f3a1c…\",\"round\":20,\"state\":\"live\"}

status is ok, late (after the deadline), dropped (a newer window of its series took its place, or
nobody reads the answers), bad-input (a value is missing that no step fills in), stale (its rows were
old when they came), no-signal (nothing comes of the series any more; told once, until it comes back)
or abstain (less probable than --abstain). quality names what is wrong with the rows: missing, stuck,
gap, backwards, rate, range. age_us counts from the arrival of the window's last row. What else happens
is told as lines of JSON on stderr, or in events.jsonl of --state.

A model that `edgectl calibrate` wrote is watched: events \"drift\" name the signal, as a notice for
the input and an alarm for confidence and error; answers have a set of classes. Labels come back
between rows: {\"label\":\"ABD\",\"id\":17} or {\"label\":\"ABD\",\"series\":\"s1\",\"from\":10.0,\"to\":14.0}.

--http serves a page, /metrics (Prometheus), /events, POST /rows (lines as on stdin, answers back) and
/v2/models/NAME/infer (Open Inference Protocol). On another address than this machine's own, rows and
events need the token; promote, rollback and labels always do.

With --stride-most windows may be left out under load: those are not due. Events \"load\" and
edgectl_stride_factor tell every how many-th is; answers of all statuses are the due windows.

With --state a model that is put in the place of --model first answers unheard beside the live one
(shadow), then with the live one beside it (state canary), then is live. One that is worse, by labels
or by how often the two agree, is refused for good.

Rows may come from several sources at once; series of two that are called the same are told apart.
Where a folder or a camera is named, stdin is read only with --stdin. The end of all sources, SIGINT
and SIGTERM end it with a summary on stderr and exit code 0; sources that end before a window was due,
with 1 and the reason.

A causal model answers windows like any other: fed row by row it would see all of the series' past,
which predict does not, and its digits would differ by rounding.")]
pub struct RunArgs {
    /// The model: a file, or a node's folder of models; another that is put in its place is a candidate
    /// [default: that of --config; the run begins with the live model of --state if it has one]
    #[arg(long, value_name = "FILE|DIR", required_unless_present_any = ["config", "state"])]
    pub model: Option<PathBuf>,
    /// A file with a table `[run]` of what is not said by flags
    #[arg(long, value_name = "LIVE.toml")]
    pub config: Option<PathBuf>,
    /// Folder of the run's models and events, for its owner alone; edgectl status, promote and rollback
    /// work on it [default: events go to stderr, and a candidate that is sound is live at once]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// 1: a newer window takes the place of one of its series that waits, and a series begins again behind
    /// a gap. all: as files are read, every window is answered, and the input waits [default: 1]
    #[arg(long, value_name = "1|all")]
    pub queue: Option<Keep>,
    /// How long an answer may take from the arrival of the window's last row [default: 50ms; none with
    /// --queue all]
    #[arg(long, value_name = "TIME")]
    pub deadline: Option<Time>,
    /// What becomes of an answer after the deadline: drop leaves it out, answer gives it [default: drop]
    #[arg(long, value_name = "drop|answer")]
    pub late: Option<Late>,
    /// How urgent answers are to the system: fifo:LEVEL, where that is allowed, or normal [default:
    /// fifo:50; normal with --queue all]
    #[arg(long, value_name = "fifo:LEVEL|normal")]
    pub priority: Option<Priority>,
    /// How often to look for another model [default: 1s]
    #[arg(long, value_name = "TIME")]
    pub watch: Option<Time>,
    /// Windows that a candidate answers unheard beside the live model, and as many as the canary with the
    /// live one beside it; 0: it is live at once [default: 100 with --state]
    #[arg(long, value_name = "WINDOWS")]
    pub shadow: Option<u32>,
    /// The share of these windows for which both have to give the same class, where their classes are not
    /// told [default: 0.9]
    #[arg(long, value_name = "SHARE")]
    pub agreement: Option<f64>,
    /// A step of the times that is longer than so many usual ones is a gap, or off [default: 5]
    #[arg(long, value_name = "STEPS|off")]
    pub gap: Option<Gap>,
    /// A series of which nothing came for so many usual steps has one answer that says no-signal, or off;
    /// off with --queue all [default: 10, and no sooner than after half a second]
    #[arg(long, value_name = "STEPS|off")]
    pub silence: Option<Gap>,
    /// Also read stdin, where other sources are named
    #[arg(long)]
    pub stdin: bool,
    /// Read the files that are renamed into this folder, in their order, each as lines of stdin would be;
    /// then they go to its folder done, or failed. Repeat it for more
    #[arg(long, value_name = "DIR")]
    pub folder: Vec<PathBuf>,
    /// Frames of a camera or video through ffmpeg: rtsp://…, http(s)://…, udp://…, /dev/video0, lavfi:…,
    /// or a file, which plays at its own pace. Repeat it for more
    #[arg(long, value_name = "URL|FILE")]
    pub camera: Vec<String>,
    /// Messages of a broker, `mqtt://[USER:PASSWORD@]HOST[:PORT]/TOPIC` or mqtts:…; + and # stand for any
    /// topic, each a series. A message has rows as lines of stdin, or numbers, one a channel
    #[arg(long, value_name = "URL")]
    pub mqtt: Vec<String>,
    /// Also send every answer to a topic, `mqtt://HOST/TOPIC`; TOPIC/status says online or offline
    #[arg(long, value_name = "URL")]
    pub mqtt_answers: Option<String>,
    /// Also tell Home Assistant how to read these answers, as homeassistant/sensor/ID/config of the broker
    #[arg(long)]
    pub mqtt_discovery: bool,
    /// For mqtts: a file with the authority of the broker's certificate [default: the system's]
    #[arg(long, value_name = "FILE.pem")]
    pub ca: Option<PathBuf>,
    /// Windows whose last row's time, in seconds since 1970 or as a date, is longer ago are answered stale
    #[arg(long, value_name = "TIME")]
    pub stale: Option<Time>,
    /// An answer that is less probable is kept back, with the status abstain. Between two bounds, 0.5..0.9,
    /// it is the least with which enough given answers were right, of the last 200 whose labels came back;
    /// before 20 came, and under load, it stays, at first at the lower [default: none is]
    #[arg(long, value_name = "P|P..P")]
    pub abstain: Option<Abstain>,
    /// The share of given answers that have to be right, for --abstain with bounds [default: 0.95]
    #[arg(long, value_name = "SHARE")]
    pub abstain_right: Option<f64>,
    /// Where windows come faster than they are answered, let every 2nd, 4th … at most every K-th be due
    /// instead of dropping any that waits, evenly in each series, until there is time again [default: 1: off]
    #[arg(long, value_name = "K")]
    pub stride_most: Option<u64>,
    /// Windows of this place after which what is usual is taken from them, of a calibrated model; with
    /// fewer than it was calibrated for there are more false alarms, and an event says so; 0 to keep to
    /// what it was calibrated on [default: as calibrated, 200]
    #[arg(long, value_name = "N")]
    pub refit: Option<usize>,
    /// Answers also tell the probability of every class, as probs
    #[arg(long)]
    pub probs: bool,
    /// Serve a page, /metrics, /rows and the Open Inference Protocol at this address; without rows on stdin the
    /// run then goes on until a signal
    #[cfg(feature = "http")]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http: Option<SocketAddr>,
    /// Who says the token in this file, as Authorization: Bearer, may promote, roll back and send labels over
    /// HTTP, and from other machines rows [default: nobody may]
    #[cfg(feature = "http")]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Let every answer take so many times as long, to try out slow devices
    #[arg(long, hide = true, value_name = "FACTOR", default_value_t = 1.0)]
    pub slow: f64,
}

/// `edgectl replay`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl replay --data data/watch/subject_03.csv --hz 10 | edgectl run --model global.safetensors
  edgectl replay --data data/watch --hz 10 --shift mirror@2000 --labels 5s --to http://127.0.0.1:8080
  edgectl replay --data recordings --speed max --loop --to stdout

Each row is a line of JSON, {\"series\":\"s1\",\"t\":0.1,\"ax\":0.1,…}, with all digits of its values; a row is
due at its time, however slow whoever reads is. All formats of recordings are read.")]
pub struct ReplayArgs {
    /// Files or folders
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    pub data: Vec<PathBuf>,
    /// The job file whose `[data]` says how to read them
    #[arg(long, value_name = "JOB.toml")]
    pub config: Option<PathBuf>,
    /// How many times as fast as they were recorded, or max
    #[arg(long, value_name = "FACTOR|max", default_value = "1")]
    pub speed: Speed,
    /// Rows a second, where the times have no unit or are not to be believed
    #[arg(long, value_name = "HZ")]
    pub hz: Option<f64>,
    /// Only the series of this name
    #[arg(long, value_name = "NAME")]
    pub series: Option<String>,
    /// All series begin at once, instead of each behind the one before
    #[arg(long)]
    pub together: bool,
    /// Begin again at the end, until a signal comes
    #[arg(long = "loop")]
    pub again: bool,
    /// Change the values from a row on: mirror, tilt:DEGREES, gain:FACTOR, noise:DEVIATIONS, half-rate,
    /// stuck:CHANNEL or offset:CHANNEL:VALUE, each with @ROW
    #[arg(long, value_name = "CHANGE@ROW")]
    pub shift: Option<String>,
    /// Also tell the rows' classes, each so long after its last row
    #[arg(long, value_name = "TIME")]
    pub labels: Option<Time>,
    /// Where the lines go: stdout, http://HOST:PORT (they are posted to /rows) or `mqtt://HOST/TOPIC`
    #[arg(long, value_name = "TARGET", default_value = "stdout")]
    pub to: String,
}

/// How fast recordings are played; nothing is as fast as they are taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed(pub Option<f64>);

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<f64>() {
            _ if text == "max" => Ok(Self(None)),
            Ok(speed) if (1e-3..=1e6).contains(&speed) => Ok(Self(Some(speed))),
            _ => Err("give a factor from 0.001 to a million, or max".to_owned()),
        }
    }
}
