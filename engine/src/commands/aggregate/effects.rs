//! Flags of `edgectl aggregate` that would have no effect are errors.

use aggregate::{Limit, Rules, Weights};
use anyhow::{bail, ensure};

use crate::cli::AggregateArgs;

/// Fails if a flag that is given changes nothing with these rules.
pub(super) fn check(args: &AggregateArgs, rules: &Rules) -> anyhow::Result<()> {
    let is_index = args.out.as_os_str().as_encoded_bytes().ends_with(b".safetensors.index.json");
    ensure!(
        args.shard_size.is_none() || is_index,
        "--shard-size has no effect on one file: name an index, --out X.safetensors.index.json"
    );
    ensure!(
        args.older_base.is_empty() || rules.reduce.reads_older_bases(),
        "--older-base has no effect on {}: it is for --strategy fedbuff",
        rules.reduce.name()
    );
    let is_given = |limit: Option<Limit>| limit.is_some_and(|limit| limit != Limit::OFF);
    ensure!(
        !is_given(args.max_deviation) || args.base.is_some(),
        "--max-deviation has no effect without --base: how far an update moved is measured from there"
    );
    let is_weighted = rules.reduce.is_weighted();
    if is_given(args.max_weight) {
        let why = match (&args.weights, rules.weights) {
            (Some(_), _) => "beside --weights, which count as they are",
            (None, Weights::Uniform) => "where all weigh the same",
            _ if !is_weighted => "on a rule that does not weigh",
            _ => return Ok(()),
        };
        bail!("--max-weight has no effect {why}; leave it out");
    }
    let all_count = args.weights.iter().flatten().all(|&weight| weight > 0.0);
    ensure!(
        is_weighted || !(args.by_count || args.weights.is_some() && all_count),
        "{} has no effect on {}, by which all updates count the same; leave it out",
        if args.by_count { "--by-count" } else { "--weights" },
        rules.reduce.name()
    );
    Ok(())
}
