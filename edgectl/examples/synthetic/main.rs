//! The synthetic federations of Li et al. (`FedProx`), measured against a reference.
//!
//! `cargo run --release -p edgectl --example synthetic` runs every method on synthetic(1,1) and
//! synthetic-iid and prints the pooled test accuracy of the last 50 of 200 rounds, as mean and
//! standard deviation over five data seeds, beside what an independent implementation measured. It
//! fails if an entry is further than two standard deviations from the reference, or if the first four
//! methods come in another order. `--seeds N` and `--rounds N` replace the five seeds and 200 rounds;
//! `--attack` makes a table of what two attackers among the ten devices of a round do to every rule.
//!
//! A method is one value in [`METHODS`]. <https://arxiv.org/abs/1812.06127>

mod attacked;
mod center;
mod data;
mod federation;
mod model;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use edgectl::output::table;
use rayon::prelude::*;

use aggregate::{Reducer, ServerStep};
use data::{Column, Device, devices};
use federation::{Center, Method, Stragglers, accuracy};

/// Tolerated distance from the reference, in its standard deviations.
const TOLERANCE_SD: f64 = 2.0;

/// The first methods, which are to come in the reference's order.
const N_ORDERED: usize = 4;

const COLUMNS: [Column; 2] = [Column::Heterogeneous, Column::Iid];

const ADAM: ServerStep =
    ServerStep::Adam { lr: 0.03, beta1: 0.9, beta2: 0.99, tau: 1e-3, bias_correction: false };
const YOGI: ServerStep = ServerStep::Yogi { lr: 0.03, beta1: 0.9, beta2: 0.99, tau: 1e-3 };

/// The mean, with a server step.
const fn stepped(server: ServerStep) -> Center {
    Center { reduce: Reducer::Mean, server, scaffold: false }
}

/// A method without attackers.
const fn method(name: &'static str, stragglers: Stragglers, mu: f32, center: Center) -> Method {
    Method { name, stragglers, mu, center, bucket: None, attack: None }
}

const fn stat(mean: f64, sd: f64) -> Stat {
    Stat { mean, sd }
}

/// A method and the reference's mean and standard deviation for each of [`COLUMNS`].
const METHODS: [(Method, [Stat; 2]); 10] = [
    (
        method("FedAvg, no stragglers", Stragglers::None, 0.0, Center::MEAN),
        [stat(0.838, 0.037), stat(0.92, 0.024)],
    ),
    (
        method("FedAvg, 90 % dropped", Stragglers::Dropped(9), 0.0, Center::MEAN),
        [stat(0.735, 0.111), stat(0.857, 0.03)],
    ),
    (
        method("keep partial work, mu = 0, 90 %", Stragglers::Partial(9), 0.0, Center::MEAN),
        [stat(0.847, 0.04), stat(0.899, 0.029)],
    ),
    (
        method("FedProx mu = 1, 90 %", Stragglers::Partial(9), 1.0, Center::MEAN),
        [stat(0.875, 0.039), stat(0.71, 0.034)],
    ),
    (
        method(
            "FedNova, 90 %",
            Stragglers::Partial(9),
            0.0,
            Center { reduce: Reducer::Nova, ..Center::MEAN },
        ),
        [stat(0.898, 0.032), stat(0.901, 0.033)],
    ),
    (
        method(
            "FedAvgM, lr 0.3, momentum 0.9",
            Stragglers::None,
            0.0,
            stepped(ServerStep::Sgd { lr: 0.3, momentum: 0.9, nesterov: false }),
        ),
        [stat(0.861, 0.039), stat(0.944, 0.016)],
    ),
    (
        method("FedAdam, lr 0.03, tau 1e-3", Stragglers::None, 0.0, stepped(ADAM)),
        [stat(0.867, 0.039), stat(0.925, 0.012)],
    ),
    (
        method("FedYogi, lr 0.03, tau 1e-3", Stragglers::None, 0.0, stepped(YOGI)),
        [stat(0.864, 0.04), stat(0.92, 0.016)],
    ),
    (
        method(
            "FedAdagrad, lr 0.1, tau 1e-3",
            Stragglers::None,
            0.0,
            stepped(ServerStep::Adagrad { lr: 0.1, tau: 1e-3 }),
        ),
        [stat(0.84, 0.051), stat(0.848, 0.023)],
    ),
    (
        method(
            "SCAFFOLD, option II",
            Stragglers::None,
            0.0,
            Center { scaffold: true, ..Center::MEAN },
        ),
        [stat(0.842, 0.089), stat(0.839, 0.035)],
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
    let Arguments { n_seeds, n_rounds, attack } = arguments(std::env::args().skip(1))?;
    if attack {
        return attacked::run(n_seeds, n_rounds);
    }
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

/// What the command line says.
struct Arguments {
    n_seeds: u64,
    n_rounds: u64,
    /// The table of attacks instead of that of methods.
    attack: bool,
}

fn arguments(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Arguments> {
    let (mut n_seeds, mut n_rounds, mut attack) = (5, 200, false);
    while let Some(name) = arguments.next() {
        let target = match name.as_str() {
            "--seeds" => &mut n_seeds,
            "--rounds" => &mut n_rounds,
            "--attack" => {
                attack = true;
                continue;
            }
            _ => bail!("unknown option {name}, expected --attack, --seeds N or --rounds N"),
        };
        let value = arguments.next().with_context(|| format!("{name} needs a number"))?;
        *target = value.parse().with_context(|| format!("{name} {value}"))?;
        if *target == 0 {
            bail!("{name} must be at least 1");
        }
    }
    Ok(Arguments { n_seeds, n_rounds, attack })
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
        // Those whose references lie apart.
        let (found, expected) = (&found[..N_ORDERED], &expected[..N_ORDERED]);
        let same = order(found) == order(expected);
        verdicts.push((format!("{name}: the first {N_ORDERED} in the reference's order"), same));
    }
    verdicts
}

/// Numbers of the methods from the highest mean to the lowest.
fn order(stats: &[Stat]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..stats.len()).collect();
    order.sort_by(|&a, &b| stats[b].mean.total_cmp(&stats[a].mean));
    order
}
