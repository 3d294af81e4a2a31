//! `edgectl simulate --attack`: what becomes of the accuracy when some nodes do harm.

use std::time::Instant;

use aggregate::{Limit, Reducer, Rules};
use anyhow::{bail, ensure};
use serde::Serialize;

use crate::checkpoint::Checkpoint;
use crate::cli::SimulateArgs;
use crate::diverged::Diverged;
use crate::federation::{Arm, Attack, Attackers, Round, RoundProgress, RunFolder, simulate_arm};
use crate::job::Job;
use crate::outcome::Outcome;
use crate::output::{Output, shown, table};

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
    /// Why the model is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Updates that were refused, over all rounds.
    refused: usize,
    /// Updates that claimed more weight than is believed, over all rounds.
    capped: usize,
}

/// A rule that so few nodes are not enough for.
#[derive(Debug, Serialize)]
struct LeftOut {
    rule: String,
    reason: String,
}

#[derive(Serialize)]
struct Report {
    out: String,
    nodes: usize,
    attackers: usize,
    rounds: u32,
    epochs: u32,
    /// What ended it before all runs were done, and where.
    stopped: Option<String>,
    attacks: Vec<Cell>,
    /// Rules that need more nodes, or another number of them.
    left_out: Vec<LeftOut>,
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
    files: &RunFolder,
    output: Output,
) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let attacks = chosen(&args.attack)?;
    let n = arm.nodes.len();
    let attackers = args.attackers.unwrap_or((n / 5).max(1));
    ensure!(
        attackers >= 1 && attackers < n,
        "{attackers} of {n} nodes attack: at least one must, and one must not; see --attackers"
    );
    ensure!(
        start.meta.run.train().trainable.is_empty(),
        "--attack does not go with [train] trainable: attackers forge whole models"
    );
    let rules = match args.reduce {
        Some(_) => vec![of_job(start)],
        None => all_rules(n, attackers)?,
    };
    files.begin()?;
    let names = || std::iter::once("none").chain(attacks.iter().map(|attack| attack.name()));
    let n_runs = rules.len() * (attacks.len() + 1);
    let bar = output.bar(n_runs as u64, "runs");
    let (mut cells, mut left_out, mut stopped) = (Vec::new(), Vec::new(), None);
    'rules: for rule in &rules {
        // What the job's other options exclude.
        let with = |job: &mut Job| job.federation.rules = rule.within(&job.federation.rules);
        if let Err(error) = start.meta.run.with(with) {
            bar.inc(attacks.len() as u64 + 1);
            left_out.push(LeftOut { rule: rule.name.clone(), reason: format!("{error:#}") });
            continue;
        }
        for attack in std::iter::once(None).chain(attacks.iter().copied().map(Some)) {
            let run = run_one(rule, attack, attackers, start, arm)?;
            stopped = arm.stop.now();
            if stopped.is_some() {
                // The last run may lack rounds.
                break 'rules;
            }
            let cell = match run {
                Ok(cell) => cell,
                Err(reason) => {
                    let rule = rule.name.clone();
                    bar.inc(attacks.len() as u64 + 1);
                    bar.suspend(|| output.note(&format!("left out: {rule}: {reason}")));
                    left_out.push(LeftOut { rule, reason });
                    continue 'rules;
                }
            };
            bar.inc(1);
            bar.suspend(|| {
                let reason = cell.reason.as_deref().unwrap_or_default();
                let accuracy =
                    cell.accuracy.map_or(format!("lost: {reason}"), |a| format!("{a:.4}"));
                output.note(&format!("{}, {}: {accuracy}", cell.rule, cell.attack));
            });
            cells.push(cell);
        }
    }
    bar.finish_and_clear();
    if let Some(LeftOut { rule, reason }) = left_out.first().filter(|_| cells.is_empty()) {
        bail!("no rule could be tried: {rule}: {reason}");
    }
    let report = Report {
        out: arm.folder.display().to_string(),
        nodes: n,
        attackers,
        rounds: start.meta.run.federation().rounds,
        epochs: start.meta.run.train().epochs.in_a_round(),
        stopped: stopped.map(|why| format!("{why} after run {} of {n_runs}", cells.len())),
        attacks: cells,
        left_out,
        wall_s: began.elapsed().as_secs_f64(),
    };
    files.finish(&report)?;
    output.result(&report, &text(&report, &names().collect::<Vec<_>>()))?;
    Ok(stopped.into())
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

/// Every rule there is; those that are told how many attack are told the truth, as far as they can
/// bear it.
fn all_rules(n: usize, attackers: usize) -> anyhow::Result<Vec<Rule>> {
    let trim = attackers as f64 / n as f64;
    let krum = attackers.min(n.saturating_sub(3) / 2);
    let bulyan = attackers.min(n.saturating_sub(3) / 4);
    let mut rules = Vec::new();
    for name in Reducer::NAMES {
        let text = match name {
            "trimmed-mean" => format!("{name}:trim={trim}"),
            "krum" | "multi-krum" => format!("{name}:byzantine={krum}"),
            "bulyan" => format!("{name}:byzantine={bulyan}"),
            _ => name.to_owned(),
        };
        let variants: &[(Option<usize>, bool)] = match name {
            "mean" => &[(None, false), (None, true)],
            "centred-clipping" => &[(None, false), (Some(2), false), (Some(2), true)],
            _ => &[(None, false)],
        };
        let reduce: Reducer = text.parse().map_err(anyhow::Error::msg)?;
        for &(bucket, screens) in variants {
            let mut name = text.clone();
            if let Some(size) = bucket {
                name += &format!(", buckets of {size}");
            }
            if screens {
                name += ", far updates refused";
            }
            rules.push(Rule { name, reduce, bucket, screens });
        }
    }
    Ok(rules)
}

impl Rule {
    /// The rules of a job with this one in their midst.
    fn within(&self, job: &Rules) -> Rules {
        let max_deviation = match (self.screens, job.max_deviation) {
            (false, _) => Limit::OFF,
            (true, Limit::OFF) => Rules::default().max_deviation,
            (true, limit) => limit,
        };
        Rules { reduce: self.reduce, bucket: self.bucket, max_deviation, ..job.clone() }
    }
}

/// One federation; or why the rule cannot be used for so many nodes.
fn run_one(
    rule: &Rule,
    attack: Option<Attack>,
    n: usize,
    start: &Checkpoint,
    arm: Arm<'_>,
) -> anyhow::Result<Result<Cell, String>> {
    let run =
        start.meta.run.with(|job| job.federation.rules = rule.within(&job.federation.rules))?;
    let start = start.clone().with_run(run)?;
    let harmed =
        attack.and_then(|attack| attack.dataset(arm.dataset, &arm.nodes[arm.nodes.len() - n..]));
    let attackers = attack.map(|attack| Attackers { attack, n, dataset: harmed.as_ref() });
    let folder = arm.folder.join("attacked");
    let run = simulate_arm(&start, Arm { folder: &folder, attackers, ..arm }, &Quiet);
    let lost = Cell {
        rule: rule.name.clone(),
        attack: attack.map_or("none", Attack::name),
        accuracy: None,
        loss: None,
        reason: None,
        refused: 0,
        capped: 0,
    };
    let run = match run {
        Ok(run) => run,
        // A model that was led astray ends the run: that is a result.
        Err(error) if Diverged::is_cause_of(&error) => {
            return Ok(Ok(Cell { reason: Some(format!("{error:#}")), ..lost }));
        }
        Err(error) if attack.is_none() && needs_others(&error) => {
            return Ok(Err(format!("{error:#}")));
        }
        Err(error) => {
            return Err(error.context(format!("{}, {}", rule.name, lost.attack)));
        }
    };
    let metrics = arm.evaluate(&run.model, arm.test)?;
    Ok(Ok(Cell {
        accuracy: Some(metrics.accuracy),
        loss: Some(metrics.loss).filter(|loss| loss.is_finite()),
        refused: run.rounds.iter().map(|round| round.rejected.len()).sum(),
        capped: run.rounds.iter().map(|round| round.capped.len()).sum(),
        ..lost
    }))
}

/// Whether a rule needs more updates, or another number of them.
fn needs_others(error: &anyhow::Error) -> bool {
    let cause = error.chain().find_map(|cause| cause.downcast_ref());
    matches!(cause, Some(aggregate::Error::TooFew { .. }))
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
    let left_out = report.left_out.iter().flat_map(|l| {
        ["left out: ".into(), l.rule.as_str().into(), ": ".into(), shown(&l.reason), "\n".into()]
    });
    let left_out: String = left_out.collect();
    let stopped = report.stopped.as_ref().map(|why| format!("{why}\n\n")).unwrap_or_default();
    format!(
        "{stopped}accuracy on test rows after {} rounds of {} epochs; {} of {} nodes attack\n\n{}\n\n{left_out}{}/attacks.json has more ({:.0} s)",
        report.rounds,
        report.epochs,
        report.attackers,
        report.nodes,
        table(&header, &rows),
        shown(&report.out),
        report.wall_s
    )
}
