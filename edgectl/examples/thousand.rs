//! The nodes' side of `bench/thousand.py`: a thousand nodes with real updates, without their training.
//!
//! - `thousand roster FILE.toml NODES` writes who counts. Keys follow from names: they are for measuring only.
//! - `thousand send STORE CENTER.pub NODES WRITERS [CA.pem] [KEEP]` sends the updates of every round that is open: the
//!   round's model with other noise for each node. All but the last by so many writers at a time, then the last
//!   alone; and waits for what closes the round. A line of JSON for every round: when it was seen, when all was sent, when it
//!   was closed. Updates also go to the folder `KEEP`, if one is given.
//! - `thousand rounds STORE CENTER.key ROUNDS NODES WRITERS [CA.pem]` writes a job whose rounds are closed, all but the
//!   last, and tells what it then takes to look what has come.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, ensure};
use edgectl::checkpoint::{Checkpoint, Provenance};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use rounds::{
    BlobRef, Board, Desk, Encoding, Hash, NodeId, Outcome, Patience, Plan, PublicKey, Roster, Seat,
    SecretKey, Store, Verdict, Work,
};
use serde_json::json;

/// How often the store is asked.
const POLL: Duration = Duration::from_millis(10);

/// Most bytes of a model.
const MOST_MODEL: u64 = 1 << 30;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["roster", path, nodes] => write_roster(Path::new(path), nodes.parse()?),
        ["send", store, center, nodes, writers, rest @ ..] => {
            let [ca, keep] = [rest.first(), rest.get(1)].map(|path| path.map(Path::new));
            let store = open(store, ca)?;
            let nodes = seats(nodes.parse()?)?;
            send(&store, PublicKey::read(Path::new(center))?, &nodes, (writers.parse()?, keep))
        }
        ["rounds", store, key, rounds, nodes, writers, rest @ ..] => {
            Store::make_folder(store)?;
            let store = open(store, rest.first().map(Path::new))?;
            let key = SecretKey::read(Path::new(key))?;
            closed_rounds(
                &store,
                &key,
                rounds.parse()?,
                (&seats(nodes.parse()?)?, writers.parse()?),
            )
        }
        _ => Err(anyhow!("roster, send or rounds; see the head of {}", file!())),
    }
}

/// An empty path of certificates is none.
fn open(url: &str, ca: Option<&Path>) -> anyhow::Result<Store> {
    let ca = ca.filter(|path| !path.as_os_str().is_empty());
    Ok(Store::open(url, ca, Patience::default())?)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::print_stdout, reason = "a program that measures tells what it measured")]
fn tell(line: &serde_json::Value) {
    println!("{line}");
}

/// Nodes whose keys follow from their numbers.
fn seats(n: usize) -> anyhow::Result<Vec<Seat>> {
    (0..n)
        .map(|i| {
            let node: NodeId = format!("node-{i:05}").parse()?;
            let key = SecretKey::of_seed(blake3::hash(node.as_str().as_bytes()).as_bytes());
            Ok(Seat { node, key })
        })
        .collect()
}

fn roster(seats: &[Seat]) -> Roster {
    let nodes = seats.iter().map(|seat| (seat.node.clone(), seat.key.public())).collect();
    Roster { nodes, revoked: Vec::new() }
}

fn write_roster(path: &Path, nodes: usize) -> anyhow::Result<()> {
    std::fs::write(path, roster(&seats(nodes)?).to_toml())?;
    Ok(())
}

/// An update as a node that has trained would make it.
struct Sent {
    bytes: Vec<u8>,
    work: Work,
}

fn update(base: &Checkpoint, plan: &Plan, seat: &Seat, number: usize) -> anyhow::Result<Sent> {
    let mut model = base.clone();
    let mut noise = ChaCha8Rng::seed_from_u64((u64::from(plan.round) << 32) + number as u64);
    for weight in &mut model.params {
        *weight += noise.random_range(-0.01..0.01);
    }
    let work = Work {
        examples: 50 + number as u64 % 100,
        steps: 20,
        partial: false,
        seconds: 1.0,
        speed: None,
    };
    model.meta.set_provenance(Provenance {
        node: Some(seat.node.as_str().to_owned()),
        round: plan.round - 1,
        base: Some(plan.base.hash.to_string()),
        examples: work.examples,
        local_steps: work.steps,
        metrics: BTreeMap::from([("loss".to_owned(), 1.0)]),
        ..Provenance::default()
    });
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("update");
    model.write(&path)?;
    Ok(Sent { bytes: std::fs::read(&path)?, work })
}

fn board(store: &Store, center: PublicKey) -> anyhow::Result<Board<'_>> {
    loop {
        if let Some(board) = Board::open(store, center)? {
            return Ok(board);
        }
        thread::sleep(POLL);
    }
}

fn send(
    store: &Store,
    center: PublicKey,
    seats: &[Seat],
    (writers, keep): (usize, Option<&Path>),
) -> anyhow::Result<()> {
    let board = board(store, center)?;
    for round in board.last_closed(0)? + 1..=board.job().rounds {
        let plan = loop {
            if let Some(plan) = board.plan(round)? {
                break plan.body;
            }
            thread::sleep(POLL);
        };
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("base");
        std::fs::write(&path, board.blob(&plan.base, MOST_MODEL)?)?;
        let base = Checkpoint::read(&path)?;
        let updates: Vec<Sent> = seats
            .par_iter()
            .enumerate()
            .map(|(i, seat)| update(&base, &plan, seat, i))
            .collect::<anyhow::Result<_>>()?;
        if let Some(keep) = keep {
            std::fs::write(keep.join("base.safetensors"), std::fs::read(&path)?)?;
            for (seat, update) in seats.iter().zip(&updates) {
                let to: PathBuf = keep.join(format!("{}.safetensors", seat.node));
                std::fs::write(to, &update.bytes)?;
            }
        }
        tell(&json!({ "round": round, "seen": updates.len(), "bytes": updates[0].bytes.len() }));
        let one = |i: usize| -> anyhow::Result<()> {
            let Sent { bytes, work } = &updates[i];
            seats[i].send(&board, &plan, (bytes, Encoding::Whole, *work), now_ms())?;
            Ok(())
        };
        let last = seats.len().checked_sub(1).context("no nodes")?;
        let began = Instant::now();
        in_parallel(writers, last, &one)?;
        let seconds = began.elapsed().as_secs_f64();
        one(last)?;
        let sent = Instant::now();
        tell(&json!({ "round": round, "sent": seats.len(), "a_second": last as f64 / seconds }));
        let outcome = loop {
            if let Some(outcome) = board.outcome(round)? {
                break outcome.body;
            }
            thread::sleep(POLL);
        };
        let seconds = sent.elapsed().as_secs_f64();
        ensure!(outcome.refused.is_none(), "{}", outcome.refused.unwrap_or_default());
        tell(&json!({ "round": round, "merged": outcome.merged(), "after_last_s": seconds }));
    }
    Ok(())
}

/// Does the first so many, some at a time.
fn in_parallel(
    writers: usize,
    how_many: usize,
    one: &(dyn Fn(usize) -> anyhow::Result<()> + Sync),
) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let write = || -> anyhow::Result<()> {
        while let Some(i) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&i| i < how_many) {
            one(i)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..writers).map(|_| scope.spawn(write)).collect();
        all.into_iter()
            .try_for_each(|writer| writer.join().map_err(|_| anyhow!("a writer panicked"))?)
    })
}

/// Writes rounds that are over, and measures a poll of the one that is open.
fn closed_rounds(
    store: &Store,
    key: &SecretKey,
    rounds: u32,
    (seats, writers): (&[Seat], usize),
) -> anyhow::Result<()> {
    let desk = Desk::begin(store, key, (b"a model", rounds + 1), now_ms())?;
    let (job, base) = (desk.board().job().job.clone(), desk.board().job().model);
    let roster = roster(seats);
    let listed = desk.publish_roster(&roster)?;
    let plan = |round: u32| Plan {
        job: job.clone(),
        round,
        previous: Hash::of(b"before"),
        base,
        roster: listed,
        nodes: seats.len() as u32,
        quorum: 1,
        issued: now_ms(),
        deadline: u64::MAX,
        expires: u64::MAX,
        encoding: Encoding::Whole,
        max_age: None,
    };
    let done = AtomicU32::new(0);
    in_parallel(writers, rounds as usize, &|i| {
        let plan = desk.publish_plan(&plan(i as u32 + 1))?;
        desk.close(&outcome(&plan.body, plan.hash, base, seats))?;
        done.fetch_add(1, Ordering::Relaxed);
        Ok(())
    })?;
    let open = desk.publish_plan(&plan(rounds + 1))?;
    let polls = 200;
    let began = Instant::now();
    for _ in 0..polls {
        // As `edgectl center` does.
        desk.arrivals(
            &open,
            &roster,
            (&BTreeSet::new(), &BTreeSet::new()),
            (MOST_MODEL, now_ms()),
            &mut |_| {},
        )?;
        ensure!(desk.board().outcome(rounds + 1)?.is_none(), "the last round is open");
    }
    let center = began.elapsed().as_secs_f64() / f64::from(polls);
    let began = Instant::now();
    for _ in 0..polls {
        // As `edgectl node` does, which knows the last round that it has seen closed.
        ensure!(desk.board().last_outcome(rounds)?.is_none(), "the last round is open");
    }
    let node = began.elapsed().as_secs_f64() / f64::from(polls);
    let closed = done.into_inner();
    tell(&json!({ "closed": closed, "center_poll_s": center, "node_poll_s": node }));
    Ok(())
}

fn outcome(plan: &Plan, hash: Hash, model: BlobRef, seats: &[Seat]) -> Outcome {
    let work = Work { examples: 100, steps: 20, partial: false, seconds: 1.0, speed: None };
    let verdict = |seat: &Seat| Verdict {
        node: seat.node.clone(),
        commit: Some(hash),
        refused: None,
        age: 0,
        work: Some(work),
        sent: Some((200_000, Encoding::Whole)),
    };
    Outcome {
        job: plan.job.clone(),
        round: plan.round,
        previous: hash,
        model,
        memory: None,
        refused: None,
        updates: seats.iter().map(verdict).collect(),
        metrics: None,
        standing: None,
        closed: now_ms(),
    }
}
