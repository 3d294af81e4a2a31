//! The synthetic federations of Li et al. (`FedProx`), measured against a reference.
//!
//! `cargo run --release -p edgectl --example synthetic` runs every method on synthetic(1,1) and
//! synthetic-iid and prints the pooled test accuracy of the last 50 of 200 rounds, as mean and
//! standard deviation over five data seeds, beside what an independent implementation measured. It
//! fails if an entry is further than two standard deviations from the reference, or if the methods
//! come in another order. `--seeds N` and `--rounds N` replace the five seeds and 200 rounds.
//!
//! A method is one value in [`METHODS`]. <https://arxiv.org/abs/1812.06127>

mod data;
mod federation;
mod model;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use edgectl::output::table;
use rayon::prelude::*;

use data::{Column, Device, devices};
use federation::{Center, Method, Stragglers, accuracy};

/// Tolerated distance from the reference, in its standard deviations.
const TOLERANCE_SD: f64 = 2.0;

const COLUMNS: [Column; 2] = [Column::Heterogeneous, Column::Iid];

/// A method and the reference's mean and standard deviation for each of [`COLUMNS`].
const METHODS: [(Method, [Stat; 2]); 4] = [
    (
        Method {
            name: "FedAvg, no stragglers",
            stragglers: Stragglers::None,
            mu: 0.0,
            center: Center::Mean,
        },
        [Stat { mean: 0.838, sd: 0.037 }, Stat { mean: 0.920, sd: 0.024 }],
    ),
    (
        Method {
            name: "FedAvg, 90 % dropped",
            stragglers: Stragglers::Dropped(9),
            mu: 0.0,
            center: Center::Mean,
        },
        [Stat { mean: 0.735, sd: 0.111 }, Stat { mean: 0.857, sd: 0.030 }],
    ),
    (
        Method {
            name: "keep partial work, mu = 0, 90 %",
            stragglers: Stragglers::Partial(9),
            mu: 0.0,
            center: Center::Mean,
        },
        [Stat { mean: 0.847, sd: 0.040 }, Stat { mean: 0.899, sd: 0.029 }],
    ),
    (
        Method {
            name: "FedProx mu = 1, 90 %",
            stragglers: Stragglers::Partial(9),
            mu: 1.0,
            center: Center::Mean,
        },
        [Stat { mean: 0.875, sd: 0.039 }, Stat { mean: 0.710, sd: 0.034 }],
    ),
];

/// Mean and standard deviation over data seeds.
#[derive(Debug, Clone, Copy)]
struct Stat {
    mean: f64,
    sd: f64,
}

impl Stat {
    /// Of these values; the standard deviation is that of a sample, 0 for a single value.
    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        Self { mean, sd: (squares / (n - 1.0).max(1.0)).sqrt() }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let (n_seeds, n_rounds) = arguments(std::env::args().skip(1))?;
    let mut results = Vec::new();
    for column in COLUMNS {
        results.push(run(column, n_seeds, n_rounds)?);
    }
    let mut out = std::io::stdout();
    writeln!(out, "{n_seeds} data seeds, {n_rounds} rounds\n\n{}\n", report(&results))?;
    let mut passed = true;
    for (what, holds) in verdicts(&results) {
        writeln!(out, "{what}: {}", if holds { "yes" } else { "NO" })?;
        passed &= holds;
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The numbers of data seeds and rounds.
fn arguments(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<(u64, u64)> {
    let (mut n_seeds, mut n_rounds) = (5, 200);
    while let Some(name) = arguments.next() {
        let target = match name.as_str() {
            "--seeds" => &mut n_seeds,
            "--rounds" => &mut n_rounds,
            _ => bail!("unknown option {name}, expected --seeds N or --rounds N"),
        };
        let value = arguments.next().with_context(|| format!("{name} needs a number"))?;
        *target = value.parse().with_context(|| format!("{name} {value}"))?;
        if *target == 0 {
            bail!("{name} must be at least 1");
        }
    }
    Ok((n_seeds, n_rounds))
}

/// What each of [`METHODS`] reaches on a column.
fn run(column: Column, n_seeds: u64, n_rounds: u64) -> anyhow::Result<Vec<Stat>> {
    let federations: Vec<(u64, Vec<Device>)> = (1..=n_seeds)
        .map(|seed| Ok((seed, devices(column, seed)?)))
        .collect::<anyhow::Result<_>>()?;
    METHODS
        .par_iter()
        .map(|(method, _)| {
            let values: Vec<f64> = federations
                .par_iter()
                .map(|(seed, devices)| accuracy(method, devices, *seed, n_rounds))
                .collect::<anyhow::Result<_>>()?;
            Ok(Stat::of(&values))
        })
        .collect()
}

/// The reference of each method for the column of that number.
fn reference(column: usize) -> Vec<Stat> {
    METHODS.iter().map(|(_, reference)| reference[column]).collect()
}

/// How far a result is above the reference, in the reference's standard deviations.
fn deviation(found: Stat, expected: Stat) -> f64 {
    (found.mean - expected.mean) / expected.sd
}

/// The results beside the reference.
fn report(results: &[Vec<Stat>]) -> String {
    let mut header = vec!["method"];
    for column in COLUMNS {
        header.extend([column.name(), "reference", "deviation / sd"]);
    }
    let rows: Vec<Vec<String>> = METHODS
        .iter()
        .enumerate()
        .map(|(i, (method, references))| {
            let cells = results.iter().zip(references).flat_map(|(column, &expected)| {
                let found = column[i];
                let deviation = format!("{:+.2}", deviation(found, expected));
                [cell(found), cell(expected), deviation]
            });
            std::iter::once(method.name.to_owned()).chain(cells).collect()
        })
        .collect();
    table(&header, &rows)
}

/// As a person reads it: `0.838 ± 0.037`.
fn cell(stat: Stat) -> String {
    format!("{:.3} ± {:.3}", stat.mean, stat.sd)
}

/// What is checked, and whether it holds.
fn verdicts(results: &[Vec<Stat>]) -> Vec<(String, bool)> {
    let mut verdicts = Vec::new();
    for (i, (column, found)) in COLUMNS.iter().zip(results).enumerate() {
        let expected = reference(i);
        let near =
            found.iter().zip(&expected).all(|(&f, &e)| deviation(f, e).abs() <= TOLERANCE_SD);
        let name = column.name();
        verdicts.push((format!("{name}: within {TOLERANCE_SD} sd of the reference"), near));
        let same = order(found) == order(&expected);
        verdicts.push((format!("{name}: methods in the reference's order"), same));
    }
    verdicts
}

/// Numbers of the methods from the highest mean to the lowest.
fn order(stats: &[Stat]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..stats.len()).collect();
    order.sort_by(|&a, &b| stats[b].mean.total_cmp(&stats[a].mean));
    order
}
