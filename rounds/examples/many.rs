//! How many updates a store takes: `many STORE [NODES] [BYTES] [WRITERS]`, beside nothing else on the machine.
//!
//! Makes keys for so many nodes, lets them send an update of so many random bytes each, some at a time, and then lets
//! the center fetch and check all of them. With a bucket, the environment says how to reach it (see `Store`).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rounds::{
    Board, Desk, Encoding, Error, Hash, Patience, Plan, Roster, Seat, SecretKey, Store, Work,
};

const NOW: u64 = 1_700_000_000_000;

/// Bytes that zstd cannot make smaller, another lot for each node.
fn noise(node: usize, bytes: usize) -> Vec<u8> {
    let mut state = (node as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..bytes.div_ceil(8)).flat_map(|_| next()).take(bytes).collect()
}

#[expect(clippy::print_stdout, reason = "a program that measures tells what it measured")]
fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "many".to_owned());
    let mut number =
        |default: usize| args.next().and_then(|arg| arg.parse().ok()).unwrap_or(default);
    let (nodes, bytes, writers) = (number(1000), number(200_000), number(32));
    Store::make_folder(&url)?;
    let store = Store::open(&url, None, Patience::default())?;
    let center = SecretKey::generate()?;
    let seats: Vec<Seat> = (0..nodes)
        .map(|i| Ok(Seat { node: format!("node-{i:05}").parse()?, key: SecretKey::generate()? }))
        .collect::<Result<_, Error>>()?;
    let keys = seats.iter().map(|seat| (seat.node.clone(), seat.key.public())).collect();
    let roster = Roster { nodes: keys, revoked: Vec::new() };
    let desk = Desk::begin(&store, &center, (b"a model", 1), NOW)?;
    let plan = desk.publish_plan(&Plan {
        job: desk.board().job().job.clone(),
        round: 1,
        previous: Hash::of(b"before"),
        base: desk.board().job().model,
        roster: desk.publish_roster(&roster)?,
        nodes: nodes as u32,
        quorum: 1,
        issued: NOW,
        deadline: NOW + 1,
        expires: u64::MAX,
        encoding: Encoding::Whole,
        max_age: None,
    })?;

    let board = Board::open(&store, center.public())?
        .ok_or_else(|| Error::Missing { path: "job.json".to_owned() })?;
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let write = || -> Result<(), Error> {
            while let Some(i) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&i| i < nodes) {
                let work =
                    Work { examples: 1, steps: 1, partial: false, seconds: 1.0, speed: None };
                seats[i].send(
                    &board,
                    &plan.body,
                    (&noise(i, bytes), Encoding::Whole, work),
                    NOW,
                )?;
            }
            Ok(())
        };
        let all: Vec<_> = (0..writers).map(|_| scope.spawn(write)).collect();
        all.into_iter().try_for_each(|writer| writer.join().unwrap_or(Err(Error::Stopped)))
    })?;
    let sent = began.elapsed().as_secs_f64();

    let (began, mut counted) = (Instant::now(), 0);
    let most = 4 * bytes as u64 + (1 << 20);
    let none = BTreeSet::new();
    desk.arrivals(&plan, &roster, (&BTreeSet::new(), &none), (most, NOW), &mut |arrival| {
        counted += usize::from(arrival.update.is_ok());
    })?;
    let fetched = began.elapsed().as_secs_f64();
    println!(
        "{nodes} updates of {bytes} bytes by {writers} writers: {:.0} a second; {counted} fetched and checked in {fetched:.2} s",
        nodes as f64 / sent
    );
    Ok(())
}
