//! Arguments of `edgectl aggregate`.

use std::path::PathBuf;
use std::str::FromStr;

use aggregate::{Adapters, FloatDtype, Limit, Quorum, Reducer, ServerStep};
use clap::Args;

/// `edgectl aggregate`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl aggregate node-*.safetensors --base global.safetensors --out global.safetensors
  edgectl aggregate a.safetensors b.safetensors --weights 0.7,0.3 --out merged.safetensors
  edgectl aggregate node-*.safetensors --base global.safetensors --out global.safetensors \\
      --strategy fedadam:lr=0.03 --quorum 5
  edgectl aggregate node-*.safetensors --base global.safetensors --out global.safetensors \\
      --reduce centred-clipping --bucket 2 --server sgd:momentum=0.9 --quarantine refused
  edgectl aggregate tuned-*.safetensors --base model.safetensors --strategy ties:density=0.2 \\
      --out merged.safetensors
  edgectl aggregate half.safetensors single.safetensors --uniform --dtype f32 --out c.safetensors
  edgectl aggregate lora-*/adapter_model.safetensors --adapters stack --uniform \\
      --out merged/adapter_model.safetensors
  edgectl aggregate a/model.safetensors.index.json b/model.safetensors.index.json \\
      --out c/model.safetensors.index.json --shard-size 2GB")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct AggregateArgs {
    /// The weight files to merge; of models in several files, their index
    #[arg(value_name = "UPDATE", required = true)]
    pub updates: Vec<PathBuf>,
    /// Where to write the merged weights; replaces a plain file that is none of the inputs but the
    /// base. A name that ends in
    /// .safetensors.index.json gives several files
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// The model that the updates started from; others are refused
    #[arg(long, value_name = "FILE")]
    pub base: Option<PathBuf>,
    /// A published pair of reducer and server step, with options as fedadam:lr=0.1 [default: fedavg]
    ///
    /// fedavg, fedavgm, fedsgd, fedadagrad, fedadam, fedyogi, fedadamw, fedlion, fednova, q-fedavg,
    /// fedbuff, fedasync, scaffold, feddyn, median, trimmed-mean, krum, multi-krum, bulyan,
    /// geometric-median, centred-clipping, norm-clipped-mean, ties, dare, slerp; weighted, linear, sgd,
    /// fedmedian and rfa are other names for some; or job for what the federation section of the job
    /// says that made the base
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]")]
    pub strategy: Option<String>,
    /// How updates become one, whatever the strategy says
    ///
    /// `mean, norm-clipped-mean[:max_norm=X], median, trimmed-mean[:trim=0.2], krum[:byzantine=F],
    /// multi-krum[:byzantine=F,keep=N], bulyan[:byzantine=F], geometric-median[:steps=N,smoothing=X],
    /// centred-clipping[:radius=X,steps=5], nova, q-fedavg[:q=1,lr=0.1], buffered[:exponent=0.5],
    /// async[:alpha=0.6,exponent=0.5], ties[:density=0.2,scale=1], dare[:density=0.5,scale=1,seed=0],
    /// slerp[:t=0.5]`
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]", value_parser = Reducer::from_str)]
    pub reduce: Option<Reducer>,
    /// How the center moves, whatever the strategy says
    ///
    /// `replace, sgd[:lr=1,momentum=0,nesterov=false], adagrad[:lr=0.1,tau=1e-3],
    /// adam[:lr=0.03,beta1=0.9,beta2=0.99,tau=1e-3,bias_correction=false], yogi, adamw, lion,
    /// dyn:alpha=X,population=N`
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]", value_parser = ServerStep::from_str)]
    pub server: Option<ServerStep>,
    /// Average so many updates at random before the reducer sees them
    #[arg(long, value_name = "SIZE")]
    pub bucket: Option<usize>,
    /// Seed of the buckets, another one in every round [default: the round of the base, 0 where it
    /// has none]
    #[arg(long, requires = "bucket", value_name = "N")]
    pub bucket_seed: Option<u64>,
    /// One weight per file, in their order [default: the number of examples in each checkpoint]
    #[arg(long, value_name = "W,W,…", value_delimiter = ',', allow_hyphen_values = true)]
    pub weights: Option<Vec<f64>>,
    /// All updates weigh the same
    #[arg(long, conflicts_with = "weights")]
    pub uniform: bool,
    /// Merged updates weigh as many as the updates in them, which they state themselves
    #[arg(long, conflicts_with_all = ["weights", "uniform"])]
    pub by_count: bool,
    /// Learning rate of the strategy's server step
    #[arg(long)]
    pub lr: Option<f32>,
    /// Momentum of the strategy's server step [sgd and fedavgm; default: 0.9]
    #[arg(long)]
    pub momentum: Option<f32>,
    /// Float tensors that keep the base's values, as in `FedBN`; for example 'blocks.*.norm*'
    #[arg(long, value_name = "PATTERN,…", value_delimiter = ',')]
    pub keep_local: Option<Vec<String>>,
    /// How tensors that are not averaged become one: the largest of each element, what the first
    /// node's update holds, or what the base holds [default: max for integers without dimensions,
    /// as the counters of `BatchNorm`; others must be the same in all updates]
    #[arg(long, value_name = "PATTERN=max|first|base,…", value_delimiter = ',')]
    pub carry: Option<Vec<String>>,
    /// Write all floats in this dtype, whatever updates and base hold: what is merged in f64 is rounded
    /// once to it [default: as they are, which must be the same in all updates]
    #[arg(long, value_name = "f32|f16|bf16|f64", value_parser = FloatDtype::from_str)]
    pub dtype: Option<FloatDtype>,
    /// How low-rank adapters (`LoRA` files of PEFT, kohya, diffusers, loralib, MLX or torchtune) are
    /// merged, which takes a word
    ///
    /// stack puts their factors beside each other, so that the product of the result's is exactly the
    /// mean of their products, each with its own scale; ranks add up, and may differ. It goes with means
    /// that replace (fedavg, weighted, linear) and no base: updates that moved far more than the others
    /// (--max-deviation) are not found then. factors averages them factor by factor, as `FedIT` does,
    /// which is not the mean of the products, also those that cannot be stacked (convolutions other
    /// than of images, `LoHa`, `LoKr`, `VeRA`, `DoRA`)
    #[arg(long, value_name = "stack|factors", value_parser = Adapters::from_str)]
    pub adapters: Option<Adapters>,
    /// Earlier models that late updates may have started from (fedbuff)
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub older_base: Vec<PathBuf>,
    /// The most that an update weighs by its own word, in medians of what the others claim for each
    /// of their nodes, and never more than all others together; off believes every claim
    /// [default: 10]
    #[arg(long, value_name = "N|off")]
    pub max_weight: Option<Limit>,
    /// Refuse updates whose base is older by more versions
    #[arg(long, value_name = "N")]
    pub max_age: Option<u64>,
    /// Refuse updates whose change is longer than the median by more deviations than that; off for
    /// any length [default: 10]
    #[arg(long, value_name = "N|off")]
    pub max_deviation: Option<Limit>,
    /// How many updates must be left, at least; half is more than half of the nodes, a file that
    /// names none being one [default: half]
    #[arg(long, value_name = "N|half")]
    pub quorum: Option<Quorum>,
    /// Move refused updates to this folder, but for models in several files
    #[arg(long, value_name = "DIR", conflicts_with = "strict")]
    pub quarantine: Option<PathBuf>,
    /// Clip every change to this norm and blur the mean, so that it does not tell who took part
    #[arg(long, value_name = "NORM", requires = "noise_multiplier", conflicts_with = "weights")]
    pub clip_norm: Option<f64>,
    /// Deviation of the noise on the sum of changes, in units of the norm
    #[arg(long, value_name = "Z", requires = "clip_norm")]
    pub noise_multiplier: Option<f64>,
    /// Let the norm follow this quantile of the changes' norms
    #[arg(long, value_name = "SHARE", requires = "clip_norm")]
    pub clip_quantile: Option<f64>,
    /// Probability of each node to be in a round, for the stated privacy
    #[arg(long, value_name = "Q", requires = "clip_norm", default_value_t = 1.0)]
    pub sampling_rate: f64,
    /// The delta for which epsilon is stated
    #[arg(long, value_name = "D", requires = "clip_norm", default_value_t = 1e-5)]
    pub delta: f64,
    /// Noise from a seed instead of secret numbers, for experiments: who knows it can undo it
    #[arg(long, value_name = "N", requires = "clip_norm")]
    pub insecure_seed: Option<u64>,
    /// Nodes there are in all, for scaffold
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub population: Option<u32>,
    /// Largest file of a model in several files, for example 2GB
    #[arg(long, value_name = "SIZE", value_parser = byte_size)]
    pub shard_size: Option<u64>,
    /// Refuse to merge at all if an update is refused; the default with --weights, and for linear,
    /// ties, dare and slerp
    #[arg(long)]
    pub strict: bool,
    /// Leave out updates that are refused, for whatever reason, and merge the others; the default
    /// for updates of nodes
    #[arg(long, conflicts_with = "strict")]
    pub keep_going: bool,
}

/// `2GB`, `500MB`, `1GiB` or a number of bytes.
fn byte_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(format!("unknown unit {unit:?}; use KB, MB, GB, KiB, MiB or GiB")),
    };
    let number: u64 = number.parse().map_err(|_| "expected a size such as 2GB".to_owned())?;
    match number.checked_mul(factor) {
        Some(size) if size > 0 => Ok(size),
        _ => Err("expected a size above 0 such as 2GB".to_owned()),
    }
}
