//! `edgectl simulate --attack`: what becomes of the accuracy when some nodes do harm.

use std::time::Instant;

use aggregate::{Limit, Reducer, Rules, atomic_write};
use anyhow::{Context, ensure};
use attn_core::Precision;
use serde::Serialize;

use crate::checkpoint::Checkpoint;
use crate::cli::SimulateArgs;
use crate::evaluate::evaluate;
use crate::federation::{Arm, Attack, Attackers, Round, RoundProgress, simulate_arm};
use crate::output::{Output, table};

/// A rule of the table.
#[derive(Debug, Clone)]
struct Rule {
    name: String,
    reduce: Reducer,
    bucket: Option<usize>,
    /// Whether updates that moved too far are refused first.
    screens: bool,
}

/// One cell of the table.
#[derive(Debug, Serialize)]
struct Cell {
    rule: String,
    attack: &'static str,
    /// On the test rows, after the last round; none if the model is lost.
    accuracy: Option<f64>,
    loss: Option<f64>,
    /// Updates that were refused, over all rounds.
    refused: usize,
}

#[derive(Serialize)]
struct Report {
    out: String,
    nodes: usize,
    attackers: usize,
    rounds: u32,
    epochs: u32,
    attacks: Vec<Cell>,
    wall_s: f64,
}

/// Tells each step and nothing else: the table has many runs.
struct Quiet;

impl RoundProgress for Quiet {
    fn step(&self) {}
    fn round(&self, _: &Round) {}
}

pub(super) fn run(
    args: &SimulateArgs,
    start: &Checkpoint,
    arm: Arm<'_>,
    output: Output,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let attacks = chosen(&args.attack)?;
    let n = arm.nodes.len();
    let attackers = args.attackers.unwrap_or(n / 5);
    ensure!(
        attackers >= 1 && attackers < n,
        "--attackers {attackers}: of {n} nodes at least one must attack, and one must not"
    );
    let rules = match args.reduce {
        Some(_) => vec![of_job(start)],
        None => all_rules(n, attackers)?,
    };
    let names = || std::iter::once("none").chain(attacks.iter().map(|attack| attack.name()));
    let n_runs = rules.len() * (attacks.len() + 1);
    let bar = output.bar(n_runs as u64, "runs");
    let mut cells = Vec::new();
    for rule in &rules {
        for attack in std::iter::once(None).chain(attacks.iter().copied().map(Some)) {
            if arm.stop.now().is_some() {
                break;
            }
            let cell = run_one(rule, attack, attackers, start, arm, output)?;
            bar.inc(1);
            bar.suspend(|| {
                let accuracy = cell.accuracy.map_or("lost".to_owned(), |a| format!("{a:.4}"));
                output.note(&format!("{}, {}: {accuracy}", cell.rule, cell.attack));
            });
            cells.push(cell);
        }
    }
    bar.finish_and_clear();
    let report = Report {
        out: arm.folder.display().to_string(),
        nodes: n,
        attackers,
        rounds: start.meta.run.federation().rounds,
        epochs: start.meta.run.train().epochs,
        attacks: cells,
        wall_s: began.elapsed().as_secs_f64(),
    };
    let json = serde_json::to_vec_pretty(&report).context("the report")?;
    atomic_write(arm.folder.join("attacks.json"), &json)?;
    output.result(&report, &text(&report, &names().collect::<Vec<_>>()))
}

/// The attacks of the command line.
fn chosen(names: &[String]) -> anyhow::Result<Vec<Attack>> {
    if names.iter().any(|name| name == "all") {
        return Ok(Attack::ALL.to_vec());
    }
    names.iter().map(|name| name.parse()).collect()
}

/// What the job and the command line say.
fn of_job(start: &Checkpoint) -> Rule {
    let rules = &start.meta.run.federation().rules;
    let bucket = rules.bucket.map_or(String::new(), |size| format!(", buckets of {size}"));
    Rule {
        name: format!("{}{bucket}", rules.reduce.name()),
        reduce: rules.reduce,
        bucket: rules.bucket,
        screens: rules.max_deviation != Limit::OFF,
    }
}

/// Every rule that stands so many nodes; those that are told how many attack are told the truth, as
/// far as they can bear it.
fn all_rules(n: usize, attackers: usize) -> anyhow::Result<Vec<Rule>> {
    let trim = attackers as f64 / n as f64;
    let krum = attackers.min(n.saturating_sub(3) / 2);
    let bulyan = attackers.min(n.saturating_sub(3) / 4);
    let mut rules = Vec::new();
    for (text, bucket, screens) in [
        ("mean".to_owned(), None, false),
        ("mean".to_owned(), None, true),
        ("norm-clipped-mean".to_owned(), None, false),
        ("median".to_owned(), None, false),
        (format!("trimmed-mean:trim={trim}"), None, false),
        (format!("krum:byzantine={krum}"), None, false),
        (format!("multi-krum:byzantine={krum}"), None, false),
        (format!("bulyan:byzantine={bulyan}"), None, false),
        ("geometric-median".to_owned(), None, false),
        ("centred-clipping".to_owned(), None, false),
        ("centred-clipping".to_owned(), Some(2), false),
        ("centred-clipping".to_owned(), Some(2), true),
    ] {
        let reduce: Reducer = text.parse().map_err(anyhow::Error::msg)?;
        let mut name = text;
        if let Some(size) = bucket {
            name += &format!(", buckets of {size}");
        }
        if screens {
            name += ", far updates refused";
        }
        rules.push(Rule { name, reduce, bucket, screens });
    }
    Ok(rules)
}

/// One federation.
fn run_one(
    rule: &Rule,
    attack: Option<Attack>,
    n: usize,
    start: &Checkpoint,
    arm: Arm<'_>,
    output: Output,
) -> anyhow::Result<Cell> {
    let run = start.meta.run.with(|job| {
        let rules = &mut job.federation.rules;
        rules.reduce = rule.reduce;
        rules.bucket = rule.bucket;
        if !rule.screens {
            rules.max_deviation = Limit::OFF;
        } else if rules.max_deviation == Limit::OFF {
            rules.max_deviation = Rules::default().max_deviation;
        }
    })?;
    let start = start.clone().with_run(run)?;
    let harmed =
        attack.and_then(|attack| attack.dataset(arm.dataset, &arm.nodes[arm.nodes.len() - n..]));
    let attackers = attack.map(|attack| Attackers { attack, n, dataset: harmed.as_ref() });
    let folder = arm.folder.join("attacked");
    let run = simulate_arm(&start, Arm { folder: &folder, attackers, ..arm }, &Quiet);
    let name = attack.map_or("none", Attack::name);
    let lost =
        Cell { rule: rule.name.clone(), attack: name, accuracy: None, loss: None, refused: 0 };
    let run = match run {
        Ok(run) => run,
        // A model that was led astray ends the run: that is a result.
        Err(error) => {
            output.note(&format!("{}, {name}: {error:#}", rule.name));
            return Ok(lost);
        }
    };
    let metrics = evaluate(&run.model, arm.dataset, arm.test, Precision::F32, arm.threads)?;
    let refused = run.rounds.iter().map(|round| round.rejected.len()).sum();
    Ok(Cell {
        accuracy: Some(metrics.accuracy),
        loss: Some(metrics.loss).filter(|loss| loss.is_finite()),
        refused,
        ..lost
    })
}

fn text(report: &Report, attacks: &[&str]) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for cell in &report.attacks {
        if rows.last().is_none_or(|row| row[0] != cell.rule) {
            rows.push(vec![cell.rule.clone()]);
        }
        if let Some(row) = rows.last_mut() {
            row.push(cell.accuracy.map_or("lost".to_owned(), |a| format!("{a:.4}")));
        }
    }
    let mut header = vec!["rule"];
    header.extend(attacks);
    format!(
        "accuracy on test rows after {} rounds of {} epochs; {} of {} nodes attack\n\n{}\n\n{}/attacks.json has more ({:.0} s)",
        report.rounds,
        report.epochs,
        report.attackers,
        report.nodes,
        table(&header, &rows),
        report.out,
        report.wall_s
    )
}
