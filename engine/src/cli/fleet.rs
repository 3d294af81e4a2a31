//! Arguments of the commands for rounds between machines.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use aggregate::Limit;
use clap::{Args, Subcommand, ValueEnum};
use rounds::{Encoding, NodeId};

/// How to reach a store.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    /// Where center and nodes meet: a folder, or a bucket of S3 and what speaks like it; for a node also the file of URLs
    /// that the center's operator made for it (presign)
    #[arg(long, value_name = "URL")]
    pub store: String,
    /// Certificates (PEM) of a private authority that the store's server is trusted by, beside those of the system
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

/// A time to wait for something.
fn a_time(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(1)..=Duration::from_hours(24 * 366), "from 1s to 366days")
}

/// A time between two questions.
fn a_pause(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_millis(10)..=Duration::from_hours(24), "from 10ms to 24h")
}

/// How long a signature lasts.
fn a_lease(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(1)..=Duration::from_hours(24 * 7), "from 1s to 7days")
}

fn within(text: &str, range: RangeInclusive<Duration>, said: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if range.contains(&time) { Ok(time) } else { Err(format!("give a time {said}")) }
}

/// How updates are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EncodingArg {
    /// As they are, by zstd
    Whole,
    /// The change in 2 bytes a weight
    Bf16,
    /// The change in 1 byte a weight
    Int8,
}

impl From<EncodingArg> for Encoding {
    fn from(arg: EncodingArg) -> Self {
        match arg {
            EncodingArg::Whole => Self::Whole,
            EncodingArg::Bf16 => Self::Bf16,
            EncodingArg::Int8 => Self::Int8,
        }
    }
}

/// `edgectl center`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl center --store /srv/fed --config examples/watch.toml --data data/watch \\
      --key center.key --roster roster.toml --rounds 20 --quorum 8 --deadline 10m \\
      --eval-data data/watch --out global.safetensors
  edgectl center --store /srv/north --key north.key --roster north.toml \\
      --parent s3://bucket/fed --parent-center center.pub

The second is the center of a region: it merges what its nodes send, sends that to its parent as
one node of it, and gives its nodes the parent's model. Regions may have regions below them.

A store is a folder, file:///folder or s3://bucket/prefix. For a bucket the environment says
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, of other servers than those of AWS,
AWS_ENDPOINT. A center keeps all that it knows in the store: it may be killed at any moment and
started again, here or on another machine with the same key; two at a time do no harm.")]
pub struct CenterArgs {
    /// Where center and nodes meet
    #[command(flatten)]
    pub at: StoreArgs,
    /// The center's secret key, of edgectl keys new
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Who may take part, of edgectl keys roster; read anew for every round
    #[arg(long, value_name = "FILE.toml")]
    pub roster: PathBuf,
    /// Be a region: the store of the center above, whose job is followed and to which one update a round is sent
    #[arg(long, value_name = "URL", requires = "parent_center",
          conflicts_with_all = ["init", "config", "data", "rounds", "eval_data", "max_drop"])]
    pub parent: Option<String>,
    /// The public key of the center above, got from its operator
    #[arg(long, value_name = "FILE.pub", requires = "parent")]
    pub parent_center: Option<PathBuf>,
    /// Certificates (PEM) of a private authority for the store of the center above
    #[arg(long, value_name = "FILE", requires = "parent")]
    pub parent_ca: Option<PathBuf>,
    /// The region's name on the roster of the center above [default: that of the key's file]
    #[arg(long, value_name = "NAME", requires = "parent")]
    pub id: Option<NodeId>,
    /// Send nothing up where the center above asks fewer regions than that
    #[arg(long, value_name = "N", default_value_t = 2, requires = "parent")]
    pub parent_min_nodes: u32,
    /// The model to begin with; without it, a fresh one by --config. Not looked at where the job has begun
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "data"])]
    pub init: Option<PathBuf>,
    /// The job file to begin with. Not looked at where the job has begun
    #[arg(long, value_name = "JOB.toml")]
    pub config: Option<PathBuf>,
    /// Files or folders; preprocessing is fitted on their training rows [default: the job's path]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub data: Vec<PathBuf>,
    /// Rounds [default: the job's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=999_999))]
    pub rounds: Option<u32>,
    /// With how many updates a round closes at its deadline, sooner only when all have come; in asynchronous rounds (the
    /// job's strategy is fedbuff) as soon as they are there [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub quorum: Option<u32>,
    /// How long nodes have to train and send
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = a_time)]
    pub deadline: Duration,
    /// After how long a round is given up in which fewer than the quorum have sent; late updates count till then
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = a_time)]
    pub expire: Duration,
    /// Files or folders on whose test rows every merged model is measured
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub eval_data: Vec<PathBuf>,
    /// Refuse a merged model that is so many points of accuracy worse on --eval-data than the one before, or off
    #[arg(long, value_name = "POINTS|off", default_value = "2")]
    pub max_drop: Limit,
    /// How nodes send updates: whole, or what they changed as bf16 or int8, where what rounding loses is sent in later
    /// rounds
    #[arg(long, value_enum, default_value_t = EncodingArg::Whole)]
    pub compress: EncodingArg,
    /// How often the store is asked for updates
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = a_pause)]
    pub poll: Duration,
    /// Also write the last model to a file, when all rounds are closed; replaces a plain file that is none of the inputs
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `edgectl node`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl node --store /srv/fed --key subject_01.key --center center.pub \\
      --data data/watch/subject_01.csv --models models/01
  edgectl node --store /srv/fed --keys keys --center center.pub --data data/watch \\
      --models models")]
pub struct NodeArgs {
    /// Where center and nodes meet
    #[command(flatten)]
    pub at: StoreArgs,
    /// The node's secret key, of edgectl keys new
    #[arg(long, value_name = "FILE", required_unless_present = "keys", conflicts_with = "keys")]
    pub key: Option<PathBuf>,
    /// The node's name, as the roster has it [default: that of the key's file]
    #[arg(long, value_name = "NAME", conflicts_with = "keys")]
    pub id: Option<NodeId>,
    /// Many nodes in this process: a folder with a key NAME.key for each, where the data has a node NAME
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// The center's public key, got from its operator and not from the store
    #[arg(long, value_name = "FILE.pub")]
    pub center: PathBuf,
    /// Files or folders; rows marked as test are left out
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    pub data: Vec<PathBuf>,
    /// Folder for the node's models and what it remembers; of many nodes, one below it for each
    #[arg(long, value_name = "DIR")]
    pub models: PathBuf,
    /// Send nothing where fewer nodes than that are asked: among few, an update tells more of the rows
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub min_nodes: u32,
    /// Do not take a model that is so many points of accuracy worse than the live one on what this node holds out of
    /// its training rows ([train.validation] of the job), or off
    #[arg(long, value_name = "POINTS|off", default_value = "2")]
    pub max_drop: Limit,
    /// How often the store is asked
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = a_pause)]
    pub poll: Duration,
    /// Let every step take so many times as long, to try out unequal devices
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub slow: f64,
}

/// Rounds from one to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first one.
    pub first: u32,
    /// The last one, which belongs to them.
    pub last: u32,
}

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let span = first.parse().ok().zip(last.parse().ok());
        span.map(|(first, last)| Self { first, last })
            .filter(|span| 0 < span.first && span.first <= span.last)
            .ok_or("give one round, or the first and the last as 1..20")
    }
}

/// `edgectl presign`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  edgectl presign --store s3://bucket/fed --center center.pub --id subject_01 --rounds 1..20 \\
      --out subject_01.urls

The node is given the file, and takes it as its --store. The environment says which key of the store
signs, as for edgectl center. The store has to let everybody read job.json, blob/* and round-*, and
nobody else than the center in/*: docs/protocol.md says how. Whoever has the file can write in the
node's places until it expires, but says nothing in its name, which takes the node's own key.")]
pub struct PresignArgs {
    /// Where center and nodes meet: a bucket in which the job has begun
    #[command(flatten)]
    pub at: StoreArgs,
    /// The center's public key
    #[arg(long, value_name = "FILE.pub")]
    pub center: PathBuf,
    /// The node's name, as the roster has it
    #[arg(long, value_name = "NAME")]
    pub id: NodeId,
    /// The rounds in which it may write, as 1..20 [default: all of the job]
    #[arg(long, value_name = "FIRST..LAST")]
    pub rounds: Option<Span>,
    /// How long the URLs last, at most seven days
    #[arg(long, value_name = "TIME", default_value = "7days", value_parser = a_lease)]
    pub expires: Duration,
    /// Where to write them, for the owner only; replaces an earlier file of the same node
    #[arg(long, value_name = "FILE.urls")]
    pub out: PathBuf,
}

/// `edgectl keys`
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  edgectl keys new --out center.key
  edgectl keys new --out subject_01.key
  edgectl keys roster subject_*.pub --out roster.toml")]
pub enum KeysCommand {
    /// Make a key: a secret one that only its owner can read, and beside it its public half, FILE.pub
    New {
        /// Where to write the secret key; nothing is replaced
        #[arg(long, value_name = "FILE.key")]
        out: PathBuf,
    },
    /// Make a roster of public keys: a node's name is that of its file
    Roster {
        /// The nodes' public keys
        #[arg(value_name = "FILE.pub", required = true)]
        keys: Vec<PathBuf>,
        /// Where to write the roster; replaces a roster, and keeps who is revoked in it
        #[arg(long, value_name = "FILE.toml")]
        out: PathBuf,
    },
}

/// `edgectl store`
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  edgectl store check fed")]
pub enum StoreCommand {
    /// Try what rounds rely on, and refuse a store that would let two writers both win
    Check {
        /// The store
        #[arg(value_name = "URL")]
        store: String,
        /// Certificates (PEM) of a private authority, beside those of the system
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
    },
}
