//! The table of attacks: what two attackers among the ten devices of a round do to every rule.

use std::io::Write;
use std::process::ExitCode;

use aggregate::Reducer;
use edgectl::diverged::Diverged;
use edgectl::federation::Attack;
use edgectl::output::table;
use rayon::prelude::*;

use crate::COLUMNS;
use crate::data::{Column, devices};
use crate::federation::{Center, Method, Stragglers, accuracy};

/// Rules with their options, and how many updates are averaged before.
const RULES: [(&str, Option<usize>); 10] = [
    ("mean", None),
    ("norm-clipped-mean", None),
    ("median", None),
    ("trimmed-mean:trim=0.2", None),
    ("krum:byzantine=2", None),
    ("multi-krum:byzantine=2", None),
    ("bulyan:byzantine=1", None),
    ("geometric-median", None),
    ("centred-clipping", None),
    ("centred-clipping", Some(2)),
];

/// Runs every rule against every attack and prints the accuracy, the mean over data seeds.
pub(crate) fn run(n_seeds: u64, n_rounds: u64) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    for column in COLUMNS {
        let rows = rows(column, n_seeds, n_rounds)?;
        let header: Vec<&str> =
            ["rule", "none"].into_iter().chain(attacks().map(Attack::name)).collect();
        writeln!(
            out,
            "{}: {n_seeds} data seeds, {n_rounds} rounds, 2 of 10 attack\n\n{}\n",
            column.name(),
            table(&header, &rows)
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Those in the weights: the updates here claim nothing.
fn attacks() -> impl Iterator<Item = Attack> {
    Attack::ALL.into_iter().filter(|attack| attack.is_in_weights())
}

fn rows(column: Column, n_seeds: u64, n_rounds: u64) -> anyhow::Result<Vec<Vec<String>>> {
    let federations: Vec<_> = (1..=n_seeds)
        .map(|seed| Ok((seed, devices(column, seed)?)))
        .collect::<anyhow::Result<_>>()?;
    RULES
        .par_iter()
        .map(|&(text, bucket)| {
            let reduce: Reducer = text.parse().map_err(anyhow::Error::msg)?;
            let center = Center { reduce, ..Center::MEAN };
            let mut row = vec![match bucket {
                None => text.to_owned(),
                Some(size) => format!("{text}, buckets of {size}"),
            }];
            for attack in std::iter::once(None).chain(attacks().map(Some)) {
                let stragglers = Stragglers::None;
                let method = Method { name: "", stragglers, mu: 0.0, center, bucket, attack };
                // A model that was led out of the numbers cannot be merged any more.
                let all: Result<Vec<f64>, _> = federations
                    .par_iter()
                    .map(|(seed, devices)| accuracy(&method, devices, *seed, n_rounds))
                    .collect();
                row.push(match all {
                    Ok(all) => format!("{:.3}", all.iter().sum::<f64>() / all.len() as f64),
                    Err(error) if Diverged::is_cause_of(&error) => "lost".to_owned(),
                    Err(error) => return Err(error),
                });
            }
            Ok(row)
        })
        .collect()
}
