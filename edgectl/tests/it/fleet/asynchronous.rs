//! Rounds that close as soon as enough updates are there, and count those that started some rounds before.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use edgectl::checkpoint::{Checkpoint, Meta, Provenance};
use rounds::{Board, Encoding, Patience, Plan, PublicKey, Seat, Store, Work};

use super::processes::{Fleet, center_args, node_args};
use crate::support::{json, ok};

const JOB: &str = "reduce = { name = \"buffered\" }\nmax_age = 1\n";

/// The third node of a fleet, by hand.
struct Third<'a> {
    fleet: &'a Fleet,
    store: Store,
    seat: Seat,
}

impl<'a> Third<'a> {
    fn of(fleet: &'a Fleet) -> Self {
        let at = fleet.path();
        let url = at.join("store").display().to_string();
        let store = Store::open(&url, None, Patience::default()).expect("a store");
        let seat = Seat::read(&at.join("keys/node_3.key"), None).expect("a key");
        Self { fleet, store, seat }
    }

    fn board(&self) -> Board<'_> {
        let center = PublicKey::read(&self.fleet.path().join("center.pub")).expect("a key");
        Board::open(&self.store, center).expect("sound").expect("a job")
    }

    /// The plan of a round, once it is there.
    fn plan(&self, round: u32) -> Plan {
        let board = self.board();
        for _ in 0..6000 {
            if let Some(plan) = board.plan(round).expect("sound") {
                return plan.body;
            }
            sleep(Duration::from_millis(10));
        }
        panic!("there is no plan of round {round}");
    }

    /// Trains from the model of a round; by its own word, it began in `started`.
    fn trains(&self, plan: &Plan, started: u32, out: &str) {
        let at = self.fleet.path();
        let base = at.join(format!("base-{}.safetensors", plan.round));
        fs::write(&base, self.board().blob(&plan.base, 1 << 30).expect("a model"))
            .expect("written");
        let train = [
            "train",
            "--init",
            &format!("base-{}.safetensors", plan.round),
            "--data",
            "data/node_3.csv",
        ];
        ok(at, &[&train[..], &["--quiet", "--out", out]].concat());
        let mut own = Checkpoint::read(&at.join(out)).expect("an update");
        let provenance = Provenance { round: started - 1, ..own.meta.provenance.clone() };
        own.meta.set_provenance(provenance);
        own.write(&at.join(out)).expect("written");
    }

    /// Sends a file in a round, that started from the model of another.
    fn sends(&self, update: &str, from: &Plan, to: &Plan) {
        let path = self.fleet.path().join(update);
        let file = aggregate::WeightFile::open(&path).expect("an update");
        let examples = Meta::read(&file).expect("of edgectl").provenance.examples;
        let work = Work { examples, steps: 1, partial: false, seconds: 1.0, speed: None };
        let bytes = fs::read(&path).expect("an update");
        let sent = (bytes.as_slice(), Encoding::Whole, work);
        self.seat.send_from(&self.board(), to, from.base.hash, sent, 0).expect("sent");
    }
}

#[test]
fn late_updates_count_less_and_as_much_as_the_rule_says() {
    let fleet = Fleet::new(JOB);
    let at = fleet.path();
    let center = fleet.start(&center_args(&["--rounds", "4", "--quorum", "3"]));
    center.says("asynchronous rounds: each closes with 3 updates");
    let nodes = [1, 2].map(|node| fleet.start(&node_args(node, &[])));
    let third = Third::of(&fleet);
    let first = third.plan(1);
    third.trains(&first, 1, "first.safetensors");
    third.sends("first.safetensors", &first, &first);
    // What it has learned of the first model comes a round late.
    let second = third.plan(2);
    let global = |round: u32| at.join(format!("base-{round}.safetensors"));
    third.trains(&second, 2, "second.safetensors");
    third.sends("first.safetensors", &first, &second);
    let wait = third.plan(3);
    fs::write(global(3), third.board().blob(&wait.base, 1 << 30).expect("a model"))
        .expect("written");
    // It says that it is fresh, and is not.
    let mut lie = Checkpoint::read(&at.join("second.safetensors")).expect("an update");
    let provenance = Provenance { round: 2, ..lie.meta.provenance.clone() };
    lie.meta.set_provenance(provenance);
    lie.write(&at.join("lie.safetensors")).expect("written");
    third.sends("lie.safetensors", &second, &wait);
    // And then it is too late.
    let fourth = third.plan(4);
    third.sends("second.safetensors", &second, &fourth);
    center.ends_well();
    for node in nodes {
        node.ends_well();
    }
    let status = json(at, &["status", "--store", "store", "--center", "center.pub"]);
    let of = |round: usize| &status["results"][4 - round]["updates"][2];
    assert_eq!((of(1)["age"].as_u64(), of(1)["refused"].as_str()), (None, None), "{status}");
    assert_eq!((of(2)["age"].as_u64(), of(2)["refused"].as_str()), (Some(1), None), "{status}");
    let why = |round: usize| of(round)["refused"].as_str().unwrap_or_default().to_owned();
    assert!(why(3).contains("says that it started in round 3"), "{status}");
    assert!(why(4).contains("this round starts from"), "{status}");
    assert_eq!(status["results"][2]["merged"], 3);

    // The model of round 2, by hand: of the updates that the nodes sent, and the late one.
    for node in [1, 2] {
        let folder = at.join(format!("store/in/round-000002/node_{node}"));
        let mut files =
            fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path());
        let packed = files.find(|path| path.extension().is_none()).expect("an update");
        let packed = fs::read(packed).expect("an update");
        let whole = zstd::decode_all(packed.as_slice()).expect("zstd");
        fs::write(at.join(format!("update-{node}.safetensors")), whole).expect("written");
    }
    fs::copy(at.join("first.safetensors"), at.join("update-3.safetensors")).expect("copied");
    let files = ["update-1.safetensors", "update-2.safetensors", "update-3.safetensors"];
    // What the center remembers of the first round is the momentum.
    let by_hand = ["--base", "base-2.safetensors", "--older-base", "base-1.safetensors"];
    let memory = third.board().outcome(1).expect("sound").expect("closed").body.memory;
    if let Some(memory) = memory {
        let bytes = third.board().blob(&memory, 1 << 30).expect("there");
        fs::write(at.join("base-2.safetensors.server"), bytes).expect("written");
    }
    let merge = [
        &["aggregate"][..],
        &files,
        &by_hand,
        &["--strategy", "job", "--out", "merged.safetensors"],
    ]
    .concat();
    ok(at, &merge);
    let weights = |path: &std::path::Path| Checkpoint::read(path).expect("a model").params;
    assert_eq!(weights(&at.join("merged.safetensors")), weights(&global(3)));
}

#[test]
fn what_comes_after_a_round_was_closed_counts_in_the_next() {
    let fleet = Fleet::new("reduce = { name = \"buffered\" }\n");
    let center = fleet.start(&center_args(&["--rounds", "6", "--quorum", "1"]));
    let nodes = [(1, "1"), (2, "20"), (3, "60")]
        .map(|(node, slow)| fleet.start(&node_args(node, &["--slow", slow])));
    let report = center.ends_well();
    assert_eq!((&report["closed"], &report["not_taken"]), (&6.into(), &0.into()));
    for node in nodes {
        node.ends_well();
    }
    let status = json(fleet.path(), &["status", "--store", "store", "--center", "center.pub"]);
    for round in status["results"].as_array().expect("rounds") {
        assert!(round["merged"].as_u64() >= Some(1), "{status}");
        for update in round["updates"].as_array().expect("updates") {
            assert!(update["refused"].is_null(), "{status}");
        }
    }
}

#[test]
fn nodes_of_a_process_do_not_wait_for_the_one_whose_update_came_late() {
    let fleet = Fleet::new("reduce = { name = \"buffered\" }\n");
    let center = fleet.start(&center_args(&["--rounds", "5", "--quorum", "2"]));
    center.says("job ");
    let mut args = node_args(1, &[]);
    args.splice(3..5, ["--keys".to_owned(), "keys".to_owned()]);
    let data = args.iter().position(|arg| arg == "--data").expect("data");
    args[data + 1] = "data".to_owned();
    let nodes = fleet.start(&args);
    assert_eq!(center.ends_well()["closed"], 5);
    // Of three updates in a round at least two count, and those two train again.
    let sent = nodes.ends_well()["sent"].as_u64();
    assert!(sent >= Some(8), "{sent:?}");
}

#[test]
fn updates_that_do_not_count_close_no_round() {
    for job in ["reduce = { name = \"buffered\" }\n", ""] {
        let fleet = Fleet::new(job);
        let at = fleet.path();
        let center =
            fleet.start(&center_args(&["--rounds", "2", "--quorum", "2", "--deadline", "1s"]));
        center.says("job ");
        let third = Third::of(&fleet);
        let first = third.plan(1);
        third.trains(&first, 1, "own.safetensors");
        let mut own = Checkpoint::read(&at.join("own.safetensors")).expect("an update");
        own.params[0] = f32::NAN;
        own.write(&at.join("own.safetensors")).expect("written");
        third.sends("own.safetensors", &first, &first);
        // With one that is no update at all two are there, and one counts: it goes on waiting.
        let one = fleet.start(&node_args(1, &[]));
        center.says("node_3: not counted");
        let two = fleet.start(&node_args(2, &[]));
        let report = center.ends_well();
        for node in [one, two] {
            node.ends_well();
        }
        assert_eq!((&report["closed"], &report["not_taken"]), (&2.into(), &0.into()), "{job}");
        let status = json(at, &["status", "--store", "store", "--center", "center.pub"]);
        let of_first = &status["results"][1];
        assert_eq!(of_first["merged"], 2, "{status}");
        let why = of_first["updates"][2]["refused"].as_str().expect("refused");
        assert!(why.contains("NaN"), "{why}");
    }
}
