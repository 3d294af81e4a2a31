//! A center, some nodes and a store in a folder.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rounds::{
    Arrival, Board, Checked, Desk, Encoding, Hash, NodeId, Outcome, Patience, Plan, Roster, Seat,
    SecretKey, Store, Work,
};
use tempfile::TempDir;

/// When everything here happens.
pub(crate) const NOW: u64 = 1_700_000_000_000;
/// How large an update may be.
pub(crate) const MOST: u64 = 1 << 20;
/// What nodes say of their work.
pub(crate) const WORK: Work =
    Work { examples: 10, steps: 3, partial: false, seconds: 1.0, speed: None };

pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) store: Store,
    pub(crate) center: SecretKey,
    pub(crate) seats: Vec<Seat>,
    pub(crate) roster: Roster,
}

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::of_seed(&[seed; 32])
}

impl Bench {
    pub(crate) fn new(nodes: u8) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = folder.path().display().to_string();
        let store = Store::open(&url, None, Patience::default()).expect("a store");
        let seat = |i| Seat { node: format!("node-{i}").parse().expect("a name"), key: key(i) };
        let seats: Vec<Seat> = (1..=nodes).map(seat).collect();
        let nodes = seats.iter().map(|seat| (seat.node.clone(), seat.key.public())).collect();
        let roster = Roster { nodes, revoked: Vec::new() };
        Self { folder, store, center: key(100), seats, roster }
    }

    /// A job with the plan of its first round.
    pub(crate) fn begun(&self) -> (Desk<'_>, Checked<Plan>) {
        let desk = Desk::begin(&self.store, &self.center, (b"a model", 5), NOW).expect("begun");
        let plan = desk.publish_plan(&self.plan(&desk, 1)).expect("published");
        (desk, plan)
    }

    pub(crate) fn plan(&self, desk: &Desk<'_>, round: u32) -> Plan {
        let job = desk.board().job();
        Plan {
            job: job.job.clone(),
            round,
            previous: Hash::of(b"before"),
            base: job.model,
            roster: desk.publish_roster(&self.roster).expect("published"),
            nodes: self.roster.counting().nodes.len() as u32,
            quorum: 1,
            issued: NOW,
            deadline: NOW + 1000,
            expires: NOW + 10_000,
            encoding: Encoding::Whole,
            max_age: None,
        }
    }

    pub(crate) fn board(&self) -> Board<'_> {
        Board::open(&self.store, self.center.public()).expect("sound").expect("a job")
    }

    /// Sends an update as a node does.
    pub(crate) fn send(&self, node: usize, plan: &Plan, update: &[u8]) {
        let sent = (update, Encoding::Whole, WORK);
        self.seats[node].send(&self.board(), plan, sent, NOW).expect("sent");
    }

    /// What the center finds in a round, sorted by node.
    pub(crate) fn arrivals(&self, desk: &Desk<'_>, plan: &Checked<Plan>) -> Vec<Arrival> {
        let mut all = Vec::new();
        let seen: BTreeSet<NodeId> = BTreeSet::new();
        let none = BTreeSet::new();
        let roster = self.roster.counting();
        desk.arrivals(plan, &roster, (&seen, &none), (MOST, NOW), &mut |a| all.push(a))
            .expect("the store answers");
        all
    }

    /// Where an object lies.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Puts bytes in the place of an object, as whoever runs the store can.
    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }

    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.path(path)).expect("there")
    }
}

/// A result of a plan, in which nothing was merged.
pub(crate) fn outcome(plan: &Plan, closed: u64) -> Outcome {
    Outcome {
        job: plan.job.clone(),
        round: plan.round,
        previous: Hash::of(b"plan"),
        model: plan.base,
        memory: None,
        refused: None,
        updates: Vec::new(),
        metrics: None,
        standing: None,
        closed,
    }
}

/// Why an update does not count.
#[track_caller]
pub(crate) fn refused(arrivals: &[Arrival], node: &str) -> String {
    let arrival = arrivals.iter().find(|a| a.node.as_str() == node).expect("an arrival");
    arrival.update.as_ref().expect_err("it counts").clone()
}

/// The update of a node that counts.
#[track_caller]
pub(crate) fn counted<'a>(arrivals: &'a [Arrival], node: &str) -> &'a [u8] {
    let arrival = arrivals.iter().find(|a| a.node.as_str() == node).expect("an arrival");
    &arrival.update.as_ref().expect("it counts").1
}
