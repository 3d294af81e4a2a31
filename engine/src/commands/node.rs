//! `edgectl node`: nodes of rounds between machines.

use std::fs;
use std::time::Instant;

use anyhow::{Context, ensure};
use rounds::{Board, NodeId, Outcome, Plan, PublicKey, Seat, Store, Work};
use serde::Serialize;

use super::stores::open_for_service;
use crate::checkpoint::Checkpoint;
use crate::cli::NodeArgs;
use crate::data::{Dataset, Understood};
use crate::fleet::{Member, NodeOptions, NodeProgress, NodeReport, pause, run_nodes};
use crate::interrupt::Stop;
use crate::models::Models;
use crate::output::{Output, shown};
use crate::system::peak_rss_bytes;

#[derive(Serialize)]
struct Report<'a> {
    store: &'a str,
    nodes: Vec<&'a str>,
    #[serde(flatten)]
    done: &'a NodeReport,
    rounds: u32,
    models: String,
    wall_s: f64,
    peak_rss_bytes: Option<u64>,
}

pub(super) fn run(args: &NodeArgs, threads: usize, output: Output) -> anyhow::Result<()> {
    let began = Instant::now();
    let stop = Stop::new(None);
    ensure!(
        (1.0..=1e6).contains(&args.slow),
        "--slow {}: give a factor of at least 1 and at most a million",
        args.slow
    );
    let center = PublicKey::read(&args.center)?;
    let seats = seats(args)?;
    for path in &args.data {
        ensure!(path.exists(), "{}: there is no such file or folder", path.display());
    }
    let store = open_for_service(&args.at, stop, output)?;
    check_urls(&store, &seats, center)?;
    let mut told = false;
    let board = loop {
        if let Some(board) = Board::open(&store, center)? {
            check_job(&store, &board)?;
            break board;
        }
        if !told {
            output.note(&format!("{}: no job has begun here, waiting for the center", store.url()));
            told = true;
        }
        if pause(args.poll, stop).is_some() {
            let done = NodeReport { stopped: stop.now(), ..NodeReport::default() };
            let report = Report {
                store: store.url(),
                nodes: Vec::new(),
                done: &done,
                rounds: 0,
                models: args.models.display().to_string(),
                wall_s: began.elapsed().as_secs_f64(),
                peak_rss_bytes: peak_rss_bytes(),
            };
            return output.result(&report, "interrupted before a job began");
        }
    };
    let _held = Models::hold(&args.models)?;
    let many = args.keys.is_some();
    let member = |seat: Seat| {
        let folder = if many { args.models.join(seat.node.as_str()) } else { args.models.clone() };
        Ok(Member {
            seat,
            models: Models::open_or_make(&folder)?,
            segments: Vec::new(),
            speed: None,
        })
    };
    let mut members = seats.into_iter().map(member).collect::<anyhow::Result<Vec<_>>>()?;
    let read = |model: &Checkpoint, members: &mut [Member]| read_data(model, members, args, output);
    let options = NodeOptions {
        data: &args.data,
        fewest: args.min_nodes,
        max_drop: args.max_drop.get().map(|points| points / 100.0),
        poll: args.poll,
        threads,
        slow: args.slow,
        stop,
    };
    let rounds = board.job().rounds;
    let shown_rounds = Shown { output, rounds };
    let done = run_nodes(&board, &mut members, &read, options, &shown_rounds)?;
    let report = Report {
        store: store.url(),
        nodes: members.iter().map(|member| member.seat.node.as_str()).collect(),
        done: &done,
        rounds,
        models: args.models.display().to_string(),
        wall_s: began.elapsed().as_secs_f64(),
        peak_rss_bytes: peak_rss_bytes(),
    };
    output.result(&report, &text(&report))
}

/// Fails if the store is a file of URLs for another node, or of another center.
fn check_urls(store: &Store, seats: &[Seat], center: PublicKey) -> anyhow::Result<()> {
    let Some(urls) = store.urls() else { return Ok(()) };
    let (file, node) = (store.url(), &urls.node);
    ensure!(seats.len() == 1, "{file}: has URLs for {node} alone; give --key instead of --keys");
    let seat = &seats[0].node;
    ensure!(seat == node, "{file}: has URLs for {node}, this node is {seat} (--key or --id)");
    ensure!(
        urls.center == center,
        "{file}: is of the center with the key {}, --center gives {center}",
        urls.center
    );
    Ok(())
}

/// Fails if a file of URLs is for another job than the one that is there.
fn check_job(store: &Store, board: &Board<'_>) -> anyhow::Result<()> {
    let (Some(urls), job) = (store.urls(), &board.job().job) else { return Ok(()) };
    ensure!(
        urls.job == *job,
        "{}: is for job {}, the store holds job {job}; ask the center's operator for new URLs (edgectl presign)",
        store.url(),
        urls.job
    );
    Ok(())
}

/// The nodes of this process.
fn seats(args: &NodeArgs) -> anyhow::Result<Vec<Seat>> {
    let Some(folder) = &args.keys else {
        let key = args.key.as_deref().context("give --key FILE or --keys DIR")?;
        return Ok(vec![Seat::read(key, args.id.clone())?]);
    };
    let mut seats = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("{}", folder.display()))?.path();
        if path.extension().is_some_and(|end| end == "key") {
            seats.push(Seat::read(&path, None)?);
        }
    }
    seats.sort_by(|a, b| a.node.cmp(&b.node));
    ensure!(!seats.is_empty(), "{}: no key in it (NAME.key)", folder.display());
    Ok(seats)
}

/// Reads the data as the model says, and gives each node its rows.
fn read_data(
    model: &Checkpoint,
    members: &mut [Member],
    args: &NodeArgs,
    output: Output,
) -> anyhow::Result<Dataset> {
    let dataset = model.meta.read_data(&args.data, false)?;
    output.understood(&Understood::of(&dataset).at_rate(model.meta.run.job().data.sample_rate_hz));
    if args.keys.is_none() {
        members[0].segments = (0..dataset.segments.len()).collect();
        return Ok(dataset);
    }
    let nodes = dataset.nodes();
    for member in members {
        let node = nodes.iter().find(|node| node.name == member.seat.node.as_str());
        let node = node.with_context(|| {
            let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).take(20).collect();
            format!(
                "there is a key of node {}, and the data has no node of that name; it has {}",
                member.seat.node,
                names.join(", ")
            )
        })?;
        member.segments.clone_from(&node.segments);
    }
    Ok(dataset)
}

/// A line for what happens.
struct Shown {
    output: Output,
    rounds: u32,
}

impl NodeProgress for Shown {
    fn asked(&self, plan: &Plan) {
        let left = plan.deadline.saturating_sub(crate::fleet::now_ms()) / 1000;
        self.output.note(&format!(
            "round {}/{}: asked, {left} s until the deadline",
            plan.round, self.rounds
        ));
    }

    fn distrusts(&self, problem: &str) {
        self.output.warn(&format!("not believed: {problem}"));
    }

    fn stays_away(&self, node: &NodeId, round: u32, problem: &str) {
        self.output.warn(&format!("{node} does not take part in round {round}: {problem}"));
    }

    fn sent(&self, node: &NodeId, round: u32, work: Work) {
        let partial = if work.partial { ", not all that was asked" } else { "" };
        self.output.note(&format!(
            "{node}: sent its update of round {round}: {} windows, {} steps{partial} ({:.1} s)",
            work.examples, work.steps, work.seconds
        ));
    }

    fn closed(&self, outcome: &Outcome) {
        let refused =
            outcome.refused.as_ref().map(|why| format!("; its model was not taken: {why}"));
        self.output.note(&format!(
            "round {}/{} is closed with {} updates{}",
            outcome.round,
            self.rounds,
            outcome.merged(),
            refused.unwrap_or_default()
        ));
    }

    fn deployed(&self, node: &NodeId, round: u32, refused: Option<&str>) {
        match refused {
            None => self.output.note(&format!("{node}: the model of round {round} is live")),
            Some(why) => {
                self.output
                    .warn(&format!("{node}: the model of round {round} is not taken: {why}"));
            }
        }
    }
}

fn text(report: &Report<'_>) -> String {
    let done = report.done;
    let mut text = format!(
        "{}: {} of {} rounds are closed, {} updates sent by {} nodes; models are in {}",
        shown(report.store),
        done.round,
        report.rounds,
        done.sent,
        report.nodes.len(),
        shown(&report.models)
    );
    if done.not_taken > 0 {
        text += &format!("\nthe center did not take the models of {} rounds", done.not_taken);
    }
    if done.stayed_away > 0 {
        text +=
            &format!("\n{} times a node did not take part; see the lines above", done.stayed_away);
    }
    if done.stopped.is_some() {
        text += "\ninterrupted; start it again to go on";
    }
    text
}
