//! `edgectl simulate`: nodes, center and rounds in one process.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use serde::Serialize;

use super::attacks;
use super::chosen::{Chosen, NodeFitReport, choose_nodes, names_of};
use super::compared::{Compared, compared};
use super::folds::Folds;
use super::fresh::fresh;
use super::overrides::checked;
use super::round_bar::run_arm;
use super::targets::protect_data;
use super::train::cv_text;
use crate::cli::SimulateArgs;
use crate::data::{DataConfig, Dataset, Node, Understood, is_marked, test_segments};
use crate::federation::{Arm, ArmReport, NodeFit, Round, RunFolder, arm_files};
use crate::interrupt::{Reason, Stop};
use crate::job::Job;
use crate::metrics::Metrics;
use crate::outcome::Outcome;
use crate::output::{Output, metrics_text, shown, table};
use crate::padding::padding;
use crate::run::Schema;
use crate::system::peak_rss_bytes;
use crate::training::{CrossValidation, HeldOut, loss_rose};

#[derive(Serialize)]
struct Report<'a> {
    out: String,
    nodes: Vec<&'a str>,
    /// What ended it before all was done, and where.
    stopped: Option<String>,
    planned_rounds: u32,
    rounds: &'a [Round],
    /// What was taken from the data.
    data: &'a Understood,
    warnings: Vec<String>,
    r#final: &'a Metrics,
    /// What the nodes hold out of their training rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<HeldOut>,
    /// On what the nodes hold out of their training rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    final_val: Option<&'a Metrics>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fedavg: Option<&'a Metrics>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fedavg_val: Option<&'a Metrics>,
    #[serde(skip_serializing_if = "Option::is_none")]
    centralised: Option<&'a Metrics>,
    #[serde(skip_serializing_if = "Option::is_none")]
    centralised_val: Option<&'a Metrics>,
    /// How good rounds are on parts of the nodes' training rows that they did not see.
    #[serde(skip_serializing_if = "Option::is_none")]
    cv: Option<CrossValidation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holdout: Option<Metrics>,
    /// Which steps each node fits for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    node_fit: Option<NodeFitReport>,
    wall_s: f64,
    peak_rss_bytes: Option<u64>,
}

pub(super) fn run(args: &SimulateArgs, threads: usize, output: Output) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let stop = Stop::new(None);
    let job = Job::read(&args.config)?;
    let folder = out_folder(args)?;
    let data = job.data_paths(&args.data)?;
    let read = (data.as_slice(), &job.data.clone());
    // As far as it is known whatever the nodes are.
    files_of(args, &folder, (&[], 0), read)?;
    let dataset = Dataset::read(&data, &job.data, None)?;
    let run = checked(job, &args.config, args, Schema::of(&dataset))?;
    let federation = run.federation();
    let Chosen { nodes, only_test, held_out } = choose_nodes(&dataset, &federation.holdout)?;
    let all = nodes.iter().chain(&only_test);
    let segments: Vec<usize> = all.flat_map(|n| n.segments.iter().copied()).collect();
    let test = test_rows(&dataset, &segments)?;
    let start = fresh(&run, &dataset, &nodes, &segments, output)?;
    let mut understood = Understood::of(&dataset).at_rate(run.job().data.sample_rate_hz);
    understood.warnings.extend(padding(&start, &dataset, &segments)?);
    output.understood(&understood);
    output.note(&format!(
        "{} nodes, {} parameters, {} rounds of {} epochs",
        nodes.len(),
        start.params.len(),
        federation.rounds,
        run.train().epochs.in_a_round()
    ));
    let test_names: Vec<String> = only_test.iter().map(|node| node.name.clone()).collect();
    if let Some(names) = names_of(&test_names) {
        output.note(&format!("all rows of {names} are marked for the test: they do not train"));
    }

    let others = !(only_test.is_empty() && held_out.is_empty());
    let node_fit = NodeFit::of(&start.meta, &dataset, &nodes, others)?;
    let by_node = node_fit.as_ref().map(|_| {
        NodeFitReport::of(&start, test_names.iter().chain(&federation.holdout).cloned().collect())
    });
    if let Some(report) = &by_node {
        output.note(&report.to_string());
    }

    let files = files_of(args, &folder, (&nodes, federation.rounds), read)?;
    let attackers = None;
    let (dataset_of, folder_of) = (&dataset, folder.as_path());
    let arm = Arm {
        dataset: dataset_of,
        nodes: &nodes,
        test: &test,
        folder: folder_of,
        keep_updates: args.keep_updates,
        threads,
        stop,
        attackers,
        node_fit: node_fit.as_ref(),
    };
    if !args.attack.is_empty() {
        arm.held_out(&start)?;
        return attacks::run(args, &start, arm, &files, output);
    }
    let validation = arm.held_out(&start)?;
    if let Some(report) = &validation {
        output.note(&report.to_string());
    }
    let folds = args.cv.map(|k| Folds::new(&start, arm, k.into())).transpose()?;
    files.begin()?;
    let cv = folds.map(|folds| folds.run(output)).transpose()?.flatten();
    let ArmReport { rounds, model } = run_arm(&start, arm, "federated", output)?;
    let last = Compared::last(&rounds, &model, arm)?;
    let others = args.centralised && stop.now().is_none();
    let (fedavg, together) =
        if others { compared(&start, &last, arm, output)? } else { (None, None) };
    let missing = (rounds.len() < federation.rounds as usize)
        || (args.centralised && (fedavg.is_none() || together.is_none()));
    let stopped = stop.now().filter(|_| missing);
    let holdout = (!held_out.is_empty()).then(|| arm.evaluate(&model, &held_out)).transpose()?;
    let report = Report {
        out: folder.display().to_string(),
        nodes: nodes.iter().map(|n| n.name.as_str()).collect(),
        stopped: stopped.map(|why| place(why, rounds.len(), federation.rounds)),
        planned_rounds: federation.rounds,
        rounds: &rounds,
        data: &understood,
        warnings: warnings(&rounds).chain(understood.warnings.iter().cloned()).collect(),
        r#final: &last.test,
        validation,
        final_val: last.val.as_ref(),
        fedavg: fedavg.as_ref().map(|other| &other.test),
        fedavg_val: fedavg.as_ref().and_then(|other| other.val.as_ref()),
        centralised: together.as_ref().map(|other| &other.test),
        centralised_val: together.as_ref().and_then(|other| other.val.as_ref()),
        cv,
        holdout,
        node_fit: by_node,
        wall_s: began.elapsed().as_secs_f64(),
        peak_rss_bytes: peak_rss_bytes(),
    };
    files.finish(&report)?;
    warnings(&rounds).for_each(|warning| output.warn(&warning));
    output.result(&report, &text(&report, &federation.holdout))?;
    Ok(stopped.into())
}

/// The rows that are for the test.
fn test_rows(dataset: &Dataset, segments: &[usize]) -> anyhow::Result<Vec<usize>> {
    // Without a mark `test_segments` takes every row, which here would test on training rows.
    ensure!(
        is_marked(dataset, segments),
        "no row is marked train or test, so accuracy would be that of the training rows; add a split column, \
         or say split = in [data] of the job"
    );
    let test = test_segments(dataset, segments);
    ensure!(
        !test.is_empty(),
        "no row is marked for the test: mark rows in a split column, or say split = in [data] of the job"
    );
    Ok(test)
}

/// Where a run was stopped.
fn place(why: Reason, done: usize, planned: u32) -> String {
    let comparing = if done < planned as usize { "" } else { ", before all comparisons were made" };
    format!("{why} after round {done} of {planned}{comparing}")
}

fn warnings(rounds: &[Round]) -> impl Iterator<Item = String> {
    let first = rounds.first();
    let way = (
        first.map(|round| round.start_loss),
        first.map(|round| round.train_loss),
        rounds.last().map(|round| round.train_loss),
    );
    loss_rose("round", way).into_iter()
}

/// The folder of the run: the given one, whose parent must exist, or `runs/JOB`.
fn out_folder(args: &SimulateArgs) -> anyhow::Result<PathBuf> {
    let folder = if let Some(folder) = &args.out {
        // A wrong path shall not grow a tree of folders; the last one is made.
        let parent = folder.parent().filter(|p| !p.as_os_str().is_empty());
        ensure!(
            parent.is_none_or(Path::is_dir),
            "--out {}: the folder above it does not exist; create it first",
            folder.display()
        );
        folder.clone()
    } else {
        Path::new("runs").join(args.config.file_stem().unwrap_or_default())
    };
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("{}: cannot make the folder", folder.display()))?;
    Ok(folder)
}

/// The folder with all that the run may write for these nodes, held against what it reads.
fn files_of(
    args: &SimulateArgs,
    folder: &Path,
    (nodes, rounds): (&[Node], u32),
    (data, config): (&[PathBuf], &DataConfig),
) -> anyhow::Result<RunFolder> {
    let report = if args.attack.is_empty() { "report.json" } else { "attacks.json" };
    let mut files = RunFolder::open(folder, report)?;
    let arm = arm_files(nodes, rounds, args.keep_updates);
    let below = |folder: &str| arm.iter().map(|file| format!("{folder}/{file}")).collect();
    if args.attack.is_empty() {
        if args.centralised {
            files.take(below("fedavg"))?;
            files.take(vec!["centralised.safetensors".to_owned()])?;
        }
        if args.cv.is_some() {
            files.take(Folds::files(nodes, rounds))?;
        }
        files.take(arm)?;
    } else {
        files.take(below("attacked"))?;
    }
    files.targets().protect(&args.config)?;
    protect_data(files.targets(), data, config)?;
    Ok(files)
}

fn text(report: &Report<'_>, holdout: &[String]) -> String {
    let mut rows = Vec::new();
    let mut row = |what: String, metrics: Option<&Metrics>| {
        rows.extend(metrics.map(|m| {
            vec![
                what,
                m.n.to_string(),
                format!("{:.4}", m.accuracy),
                format!("{:.4}", m.macro_f1),
                format!("{:.4}", m.loss),
            ]
        }));
    };
    row(format!("federated, round {}", report.rounds.len()), Some(report.r#final));
    row("plain federated averaging".to_owned(), report.fedavg);
    row("one model on all nodes' rows".to_owned(), report.centralised);
    row(format!("never seen in training: {}", holdout.join(", ")), report.holdout.as_ref());
    row("held-out training rows".to_owned(), report.final_val);
    row("held-out training rows, plain federated averaging".to_owned(), report.fedavg_val);
    row("held-out training rows, one model on all nodes' rows".to_owned(), report.centralised_val);
    let stopped = report.stopped.as_ref().map(|why| format!("{why}\n\n")).unwrap_or_default();
    let cv = report.cv.as_ref().map(|cv| format!("{}\n\n", cv_text(cv))).unwrap_or_default();
    format!(
        "{stopped}{}\n\n{}\n\n{cv}weight files and report.json are in {} ({:.0} s)",
        metrics_text(report.r#final),
        table(&["model", "windows", "accuracy", "macro F1", "loss"], &rows),
        shown(&report.out),
        report.wall_s
    )
}
