//! From the flags of `edgectl aggregate` to the rules of a merge.

use aggregate::{
    AdaptiveClip, Correction, Options, Privacy, Rules, ServerStep, Tolerance, Weights,
};
use anyhow::{Context, ensure};
use std::collections::BTreeMap;

use crate::checkpoint::{METADATA_KEY, Meta, open_model};
use crate::cli::AggregateArgs;
use crate::federation::{Merge, Strategy};

/// What the command line asks for, and the name of the strategy: the rules of the strategy or of
/// the job, of which every flag that is given replaces one.
pub(super) fn plan(args: &AggregateArgs) -> anyhow::Result<(String, Merge<'_>)> {
    let mut rules = match args.strategy.as_deref() {
        Some("job") => rules_of_job(args)?,
        _ => rules_of_strategy(args)?,
    };
    rules.reduce = args.reduce.unwrap_or(rules.reduce);
    rules.server = args.server.unwrap_or(rules.server);
    rules.bucket = args.bucket.or(rules.bucket);
    if args.uniform {
        rules.weights = Weights::Uniform;
    } else if args.by_count {
        rules.weights = Weights::Count;
    }
    if let Some(patterns) = &args.keep_local {
        rules.keep_local.clone_from(patterns);
    }
    if let Some(carry) = &args.carry {
        rules.carry.clone_from(carry);
    }
    rules.population = args.population.or(rules.population);
    rules.max_deviation = args.max_deviation.unwrap_or(rules.max_deviation);
    rules.max_age = args.max_age.or(rules.max_age);
    rules.quorum = args.quorum.unwrap_or(rules.quorum);
    rules.max_weight = args.max_weight.unwrap_or(rules.max_weight);
    rules.tolerance = tolerance(args, &rules);
    rules.privacy = privacy(args).or(rules.privacy);
    ensure!(
        args.population.is_none() || rules.correction == Correction::Scaffold,
        "--population belongs to --strategy scaffold"
    );
    let name = match (&args.strategy, args.reduce, args.server, &args.weights) {
        (None, None, None, Some(_)) => "weighted".to_owned(),
        (Some(name), None, None, _) if name != "job" => {
            name.split(':').next().unwrap_or_default().to_owned()
        }
        _ => Strategy::name_of(&rules.reduce, &rules.server),
    };
    ensure!(
        args.base.is_some() || (rules.server == ServerStep::Replace && !rules.reduce.needs_base()),
        "{} moves the model that the updates started from; name it with --base",
        Strategy::name_of(&rules.reduce, &rules.server)
    );
    let options = Options {
        rules,
        older_bases: args.older_base.clone(),
        bucket_seed: args.bucket_seed.unwrap_or(0),
        shard_bytes: args.shard_size,
        dtype: args.dtype,
        adapters: args.adapters,
        ..Options::default()
    };
    let plan = Merge {
        base: args.base.as_deref(),
        out: &args.out,
        weights: args.weights.as_deref(),
        options,
        bucket_by_round: args.bucket_seed.is_none(),
        ages: BTreeMap::new(),
    };
    Ok((name, plan))
}

/// What a refused update does: by the flags, or else it fails a merge of files that are no updates
/// of nodes, each of which somebody chose, and is left out of a round.
fn tolerance(args: &AggregateArgs, rules: &Rules) -> Tolerance {
    let strategy = args.strategy.as_deref().map(|s| s.split(':').next().unwrap_or_default());
    let of_job = strategy == Some("job") && args.reduce.is_none();
    if args.strict {
        Tolerance::Strict
    } else if args.keep_going || args.quarantine.is_some() {
        Tolerance::KeepGoing
    } else if args.weights.is_some()
        || strategy == Some("linear")
        || (rules.reduce.is_offline() && !of_job)
    {
        Tolerance::Strict
    } else {
        rules.tolerance
    }
}

fn rules_of_strategy(args: &AggregateArgs) -> anyhow::Result<Rules> {
    let mut name = args.strategy.clone().unwrap_or_else(|| "fedavg".to_owned());
    for (option, value) in [("lr", args.lr), ("momentum", args.momentum)] {
        if let Some(value) = value {
            let separator = if name.contains(':') { ',' } else { ':' };
            name = format!("{name}{separator}{option}={value:?}");
        }
    }
    let strategy = Strategy::parse(&name)?;
    ensure!(
        strategy.name != "weighted" || args.weights.is_some(),
        "--strategy weighted needs --weights, one number per file"
    );
    Ok(strategy.rules)
}

/// As the job says that made the base.
fn rules_of_job(args: &AggregateArgs) -> anyhow::Result<Rules> {
    ensure!(
        args.lr.is_none() && args.momentum.is_none(),
        "--lr and --momentum do not go with --strategy job; use --server"
    );
    let base = args.base.as_deref().context("--strategy job needs --base, whose job it follows")?;
    let file = open_model(base)?;
    ensure!(
        file.metadata().contains_key(METADATA_KEY),
        "{}: not an edgectl checkpoint, so it has no job to follow",
        base.display()
    );
    Ok(Meta::read(&file)?.run.federation().rules.clone())
}

fn privacy(args: &AggregateArgs) -> Option<Privacy> {
    let adaptive =
        args.clip_quantile.map(|quantile| AdaptiveClip { quantile, ..AdaptiveClip::default() });
    Some(Privacy {
        clip_norm: args.clip_norm?,
        noise_multiplier: args.noise_multiplier?,
        sampling_rate: args.sampling_rate,
        delta: args.delta,
        adaptive,
        seed: args.insecure_seed,
    })
}
