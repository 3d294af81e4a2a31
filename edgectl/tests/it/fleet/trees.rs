//! Regions: centers that are nodes of a center above them.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use aggregate::WeightFile;
use edgectl::checkpoint::Checkpoint;
use rand::{RngExt, SeedableRng};
use rounds::{Board, Outcome, Patience, PublicKey, Seat, Store};
use serde_json::Value;

use super::processes::{Fleet, Process, center_args, node_args};
use crate::support::{JOB, fails, json, ok, table};

/// A job whose center takes the mean as it is.
fn plain() -> String {
    JOB.replace(", lr = 1.0, momentum = 0.5", "").replace("\"sgd\"", "\"replace\"")
}

/// Centers by name, with who is below each. The root's store and key are those of every fleet.
struct Tree {
    fleet: Fleet,
    centers: Vec<(&'static str, Vec<&'static str>)>,
}

const ROOT: &str = "center";

/// Two regions of two nodes.
const PAIRS: [(&str, &[&str]); 3] =
    [(ROOT, &["east", "west"]), ("east", &["node_1", "node_2"]), ("west", &["node_3", "node_4"])];

impl Tree {
    fn new(job: &str, centers: &[(&'static str, &[&'static str])]) -> Self {
        let fleet = Fleet::new("");
        let at = fleet.path();
        fs::write(at.join("job.toml"), job).expect("written");
        fs::write(at.join("data/node_4.csv"), table(4)).expect("written");
        ok(at, &["keys", "new", "--out", "keys/node_4.key"]);
        for (name, _) in centers.iter().filter(|(name, _)| *name != ROOT) {
            ok(at, &["keys", "new", "--out", &format!("keys/{name}.key")]);
        }
        for (name, below) in centers {
            let keys: Vec<String> = below.iter().map(|name| format!("keys/{name}.pub")).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let out = format!("{name}.toml");
            ok(at, &[&["keys", "roster"], &keys[..], &["--out", &out]].concat());
        }
        let centers = centers.iter().map(|(name, below)| (*name, below.to_vec())).collect();
        Self { fleet, centers }
    }

    fn path(&self) -> &Path {
        self.fleet.path()
    }

    fn parent(&self, name: &str) -> &'static str {
        let has = |(_, below): &&(&str, Vec<&'static str>)| below.contains(&name);
        self.centers.iter().find(has).expect("a parent").0
    }

    fn below(&self, name: &str) -> Option<&[&'static str]> {
        let found = self.centers.iter().find(|(center, _)| *center == name);
        found.map(|(_, below)| below.as_slice())
    }

    fn root(&self, more: &[&str]) -> Process {
        let mut args = center_args(more);
        let roster = args.iter().position(|arg| arg == "roster.toml").expect("a roster");
        args[roster] = format!("{ROOT}.toml");
        self.fleet.start(&args)
    }

    /// A region or a node by its name.
    fn start(&self, name: &str, more: &[&str]) -> Process {
        let parent = self.parent(name);
        let (store, center) = (store(parent), public(parent));
        if let Some(number) = name.strip_prefix("node_") {
            // The folder is made by the center, which may come later.
            fs::create_dir_all(self.path().join(store)).expect("a folder");
            let mut args = node_args(number.parse().expect("a number"), more);
            for (key, value) in [("--store", store.to_owned()), ("--center", center)] {
                let place = args.iter().position(|arg| arg == key).expect("a flag");
                args[place + 1] = value;
            }
            return self.fleet.start(&args);
        }
        fs::create_dir_all(self.path().join(store)).expect("a folder");
        let args = self.region_args(name, store, &center);
        let args: Vec<&str> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
        self.fleet.start(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    fn region_args(&self, name: &str, parent: &str, center: &str) -> Vec<String> {
        assert!(self.below(name).is_some());
        let [key, roster] = [format!("keys/{name}.key"), format!("{name}.toml")];
        let args = ["center", "--store", name, "--key", &key, "--roster", &roster];
        let above = ["--parent", parent, "--parent-center", center, "--poll", "20ms"];
        [&args[..], &above].concat().iter().map(|arg| (*arg).to_owned()).collect()
    }

    /// Everybody below the root, regions first.
    fn everybody(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> =
            self.centers.iter().flat_map(|(_, below)| below.clone()).collect();
        names.sort_by_key(|name| self.below(name).is_none());
        names
    }

    /// Runs to the end, each with flags of its own.
    fn run(&self, root: &[&str], more: &dyn Fn(&str) -> Vec<&'static str>) -> Process {
        let root = self.root(root);
        let all: Vec<Process> =
            self.everybody().iter().map(|name| self.start(name, &more(name))).collect();
        for process in all {
            process.ends_well();
        }
        root
    }

    fn status(&self, name: &str) -> Value {
        json(self.path(), &["status", "--store", store(name), "--center", &public(name)])
    }

    /// What closed a round at a center, and the model from then on.
    fn outcome(&self, name: &str, round: u32) -> (Outcome, Vec<f32>) {
        self.board(name, |board| {
            let outcome = board.outcome(round).expect("sound").expect("closed").body;
            let bytes = board.blob(&outcome.model, 1 << 30).expect("a model").to_vec();
            (outcome, params(bytes))
        })
    }

    fn board<T>(&self, name: &str, then: impl FnOnce(&Board<'_>) -> T) -> T {
        let at = self.path().join(store(name)).display().to_string();
        let opened = Store::open(&at, None, Patience::default()).expect("a store");
        let key = PublicKey::read(&self.path().join(public(name))).expect("a key");
        then(&Board::open(&opened, key).expect("sound").expect("a job"))
    }

    /// What a node has sent in a round, and on how many windows it was trained.
    fn update(&self, node: &str, round: u32) -> (f64, Vec<f32>) {
        self.board(self.parent(node), |board| {
            let key = self.path().join(format!("keys/{node}.key"));
            let seat = Seat::read(&key, None).expect("a key");
            let plan = board.plan(round).expect("sound").expect("a plan").body;
            let commit = seat.committed(board, &plan).expect("sound").expect("it has sent");
            let bytes = seat.update(board, &plan, &commit, 1 << 30).expect("an update");
            (commit.work.examples as f64, params(bytes))
        })
    }

    /// Fails if the model of a round is not the mean of what these nodes sent, weighed by `weight`.
    ///
    /// Each center on the way rounds a mean of values of at most `max |x_i|` to f32 once, by at most `2⁻²⁴` of it: the
    /// bound is `levels · 2⁻²⁴ · max |x_i|` for each weight of the model, and that of one center where there is one.
    #[track_caller]
    fn is_mean(&self, nodes: &[&str], round: u32, levels: u32, weight: &dyn Fn(&str, f64) -> f64) {
        let all: Vec<(f64, Vec<f32>)> = nodes
            .iter()
            .map(|node| {
                let (examples, params) = self.update(node, round);
                (weight(node, examples), params)
            })
            .collect();
        let total: f64 = all.iter().map(|(weight, _)| weight).sum();
        let (_, model) = self.outcome(ROOT, round);
        let mut moved = 0;
        for (i, found) in model.iter().enumerate() {
            let at = |params: &Vec<f32>| f64::from(params[i]);
            let exact = all.iter().map(|(weight, params)| weight * at(params)).sum::<f64>() / total;
            let most = all.iter().map(|(_, params)| at(params).abs()).fold(0.0, f64::max);
            let bound = f64::from(levels) * most * 2f64.powi(-24) * (1.0 + 1e-6);
            let off = (f64::from(*found) - exact).abs();
            assert!(
                off <= bound,
                "round {round}, weight {i}: {found}, exactly {exact}: off by {off}"
            );
            moved += usize::from(
                all.iter().any(|(_, params)| (at(params) - exact).abs() > 10.0 * bound),
            );
        }
        // The nodes have learned different things.
        assert!(2 * moved > model.len(), "{moved} of {}", model.len());
    }
}

fn store(name: &str) -> &str {
    if name == ROOT { "store" } else { name }
}

fn public(name: &str) -> String {
    if name == ROOT { "center.pub".to_owned() } else { format!("keys/{name}.pub") }
}

fn params(bytes: Vec<u8>) -> Vec<f32> {
    let file = WeightFile::of_bytes("a model", bytes).expect("weights");
    Checkpoint::of(&file).expect("a checkpoint").params
}

const NODES: [&str; 4] = ["node_1", "node_2", "node_3", "node_4"];

fn nothing(_: &str) -> Vec<&'static str> {
    Vec::new()
}

/// A node alone in its region sends all the same.
fn alone(name: &str) -> Vec<&'static str> {
    if name.starts_with("node_") {
        vec!["--min-nodes", "1"]
    } else {
        vec!["--parent-min-nodes", "1"]
    }
}

#[test]
fn regions_give_the_mean_of_all_nodes_in_every_round() {
    let tree = Tree::new(&plain(), &PAIRS);
    let at = tree.path();
    let root = tree.run(&["--eval-data", "data"], &nothing);
    root.ends_well();
    for round in 1..=3 {
        tree.is_mean(&NODES, round, 2, &|_, examples| examples);
    }
    // Everybody has the same model, by rounds of the same number.
    let global = fs::read(at.join("global.safetensors")).expect("a model");
    for node in 1..=4 {
        let own = fs::read(at.join(format!("models/{node}/current.safetensors")));
        assert!(own.expect("a model") == global);
    }
    let (above, east) = (tree.status(ROOT), tree.status("east"));
    for round in 0..3 {
        let sent = |status: &Value| -> Vec<String> {
            let updates = status["results"][round]["updates"].as_array().expect("updates");
            updates
                .iter()
                .map(|update| update["node"].as_str().expect("a name").to_owned())
                .collect()
        };
        assert_eq!(sent(&above), ["east", "west"]);
        assert_eq!(sent(&east), ["node_1", "node_2"]);
        assert!(east["results"][round]["refused"].is_null(), "{east}");
        // What is measured above is known below.
        assert_eq!(above["results"][round]["metrics"], east["results"][round]["metrics"]);
        assert!(east["results"][round]["metrics"]["accuracy"].is_number());
    }
    // The root knows how many windows and which nodes there are below.
    let examples: u64 = NODES.iter().map(|node| tree.update(node, 1).0 as u64).sum();
    let meta = json(at, &["inspect", "global.safetensors"]);
    assert_eq!(meta["edgectl"]["provenance"]["examples"], examples, "{meta}");
    let merged = meta["edgectl"]["provenance"]["merged"].as_array().expect("names");
    let merged: Vec<&str> = merged.iter().map(|name| name.as_str().expect("a name")).collect();
    assert_eq!(merged, ["east/node_1", "east/node_2", "west/node_3", "west/node_4"]);
}

#[test]
fn the_first_round_is_that_of_a_flat_run_but_for_rounding() {
    // The momentum is the root's alone; some tensors are not sent at all, or stay on the nodes.
    let jobs = [
        JOB.to_owned(),
        plain().replace("[train]", "[train]\ntrainable = [\"head.*\"]"),
        plain() + "keep_local = [\"*norm*\"]\n",
    ];
    for job in jobs {
        let tree = Tree::new(&job.replace("rounds = 3", "rounds = 1"), &PAIRS);
        let at = tree.path();
        tree.run(&[], &nothing).ends_well();
        ok(at, &["simulate", "--config", "job.toml", "--out", "sim", "--quiet"]);
        let [flat, tree] = ["sim/global.safetensors", "global.safetensors"]
            .map(|name| params(fs::read(at.join(name)).expect("a model")));
        assert_eq!(flat.len(), tree.len());
        for (i, (flat, tree)) in flat.iter().zip(&tree).enumerate() {
            let off = (f64::from(*flat) - f64::from(*tree)).abs();
            // Two means, two regions and two steps are rounded.
            let bound = 6.0 * 2f64.powi(-24) * f64::from(flat.abs().max(0.1));
            assert!(off <= bound, "{i}: {flat} {tree}, {job}");
        }
    }
}

#[test]
fn three_levels_and_regions_of_unequal_size_give_the_mean_of_all() {
    for (weights, by_examples) in [("examples", true), ("count", false)] {
        let job = plain().replace("rounds = 3", "rounds = 2");
        let tree = Tree::new(
            &format!("{job}max_weight = \"off\"\nweights = \"{weights}\"\n"),
            &[
                (ROOT, &["world", "node_4"]),
                ("world", &["north", "node_3"]),
                ("north", &["node_1", "node_2"]),
            ],
        );
        // One has fewer rows than the others.
        let short: Vec<String> = table(4).lines().take(200).map(str::to_owned).collect();
        fs::write(tree.path().join("data/node_4.csv"), short.join("\n") + "\n").expect("written");
        tree.run(&[], &alone).ends_well();
        let (all, fewer) = (tree.update("node_1", 1).0, tree.update("node_4", 1).0);
        assert!(fewer > 0.0 && fewer < all, "{fewer} of {all}");
        for round in 1..=2 {
            let weight = |_: &str, examples: f64| if by_examples { examples } else { 1.0 };
            tree.is_mean(&NODES, round, 3, &weight);
        }
    }
}

#[test]
fn a_region_that_counts_less_than_it_says_is_told_of() {
    let tree = Tree::new(
        &plain().replace("rounds = 3", "rounds = 1"),
        &[
            (ROOT, &["east", "west"]),
            ("east", &["node_1", "node_2", "node_3"]),
            ("west", &["node_4"]),
        ],
    );
    let mut root = tree.run(&[], &alone);
    assert_eq!(root.wait(), Some(0), "{}", root.said());
    // Of two none has more than half, whatever it says: that is the rule of the job.
    assert!(root.said().contains("east says ") && root.said().contains("max_weight"));
    tree.is_mean(&NODES, 1, 2, &|node, _| if node == "node_4" { 3.0 } else { 1.0 });
}

#[test]
fn a_region_that_is_killed_goes_on_from_what_is_in_the_stores() {
    let run = |kills: u32| {
        let tree = Tree::new(JOB, &PAIRS);
        let root = tree.root(&[]);
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let names = tree.everybody();
        let mut running: Vec<Process> = names.iter().map(|name| tree.start(name, &[])).collect();
        for _ in 0..kills {
            sleep(Duration::from_millis(random.random_range(0..200)));
            // The first two are the regions.
            let who = random.random_range(0..2);
            running[who].kill();
            running[who] = tree.start(names[who], &[]);
        }
        for process in running {
            process.ends_well();
        }
        root.ends_well();
        fs::read(tree.path().join("global.safetensors")).expect("a model")
    };
    assert!(run(0) == run(10));
}

#[test]
fn two_centers_of_a_region_do_no_harm() {
    let tree = Tree::new(&plain(), &PAIRS);
    let twin = tree.start("east", &[]);
    let root = tree.run(&[], &nothing);
    root.ends_well();
    twin.ends_well();
    for round in 1..=3 {
        tree.is_mean(&NODES, round, 2, &|_, examples| examples);
        let (outcome, _) = tree.outcome("east", round);
        assert!(outcome.refused.is_none() && outcome.merged() == 2, "{outcome:?}");
    }
}

#[test]
fn a_parent_that_was_taken_back_is_not_believed() {
    let tree = Tree::new(&plain(), &PAIRS);
    let root = tree.root(&[]);
    let all: Vec<Process> = tree.everybody().iter().map(|name| tree.start(name, &[])).collect();
    all[0].says("round   1/3");
    for mut process in all.into_iter().chain([root]) {
        process.kill();
    }
    for round in 1..=3 {
        let _ = fs::remove_dir_all(tree.path().join(format!("store/round-00000{round}")));
    }
    let mut east = tree.start("east", &[]);
    east.says("not believed: round 1 of the parent: the parent's store was taken back");
    assert!(!east.is_over());
    // Another job of the same center begins there.
    fs::remove_dir_all(tree.path().join("store")).expect("removed");
    fs::create_dir(tree.path().join("store")).expect("a folder");
    let root = tree.root(&[]);
    root.says("job ");
    east.kill();
    let mut east = tree.start("east", &[]);
    east.says("this node takes part in job");
    assert!(!east.is_over());
}

#[test]
fn who_sent_is_known_after_a_restart_elsewhere() {
    let tree = Tree::new(&plain().replace("rounds = 3", "rounds = 1"), &PAIRS);
    let root = tree.root(&[]);
    let nodes = ["node_1", "node_2"].map(|name| tree.start(name, &[]));
    let mut east = tree.start("east", &[]);
    east.says("sent the update of 2 nodes to the parent");
    east.kill();
    let east = tree.start("east", &[]);
    let west = ["west", "node_3", "node_4"].map(|name| tree.start(name, &[]));
    assert_eq!(east.ends_well()["sent"], 0);
    west.into_iter().chain(nodes).for_each(|process| {
        process.ends_well();
    });
    root.ends_well();
    tree.is_mean(&NODES, 1, 2, &|_, examples| examples);
    let (outcome, _) = tree.outcome("east", 1);
    assert!(outcome.refused.is_none() && outcome.merged() == 2, "{outcome:?}");
}

#[test]
fn a_region_that_is_late_takes_part_from_the_next_round_on() {
    let tree = Tree::new(&plain().replace("rounds = 3", "rounds = 2"), &PAIRS);
    let root = tree.root(&["--quorum", "1", "--deadline", "5s"]);
    let mut east = ["east", "node_1", "node_2"].map(|name| tree.start(name, &[]));
    east[0].says("round 1: sent the update");
    for process in &mut east {
        process.kill();
    }
    root.says("round   1/2");
    let west = ["west", "node_3", "node_4"].map(|name| tree.start(name, &[]));
    for process in west {
        process.ends_well();
    }
    root.ends_well();
    tree.is_mean(&["node_1", "node_2"], 1, 2, &|_, examples| examples);
    tree.is_mean(&["node_3", "node_4"], 2, 2, &|_, examples| examples);
    // The first ones come back, and find that it is over; all models are the same.
    for name in ["east", "node_1", "node_2"].map(|name| tree.start(name, &[])) {
        name.ends_well();
    }
    let refused = |name: &str, round: u32| tree.outcome(name, round).0.refused.unwrap_or_default();
    assert!(refused("west", 1).contains("had closed it before this region came"));
    assert_eq!(refused("west", 2), "");
    assert_eq!(refused("east", 1), "");
    assert!(
        refused("east", 2).contains("nothing was sent to the parent"),
        "{}",
        refused("east", 2)
    );
    for round in 1..=2 {
        let model = |name: &str| tree.outcome(name, round).0.model;
        assert_eq!(model("east"), model(ROOT));
        assert_eq!(model("west"), model(ROOT));
    }
    let at = tree.path();
    let own = fs::read(at.join("models/1/current.safetensors")).expect("a model");
    assert!(own == fs::read(at.join("global.safetensors")).expect("a model"));
}

#[test]
fn a_region_that_is_not_listed_sends_nothing_and_gets_the_model() {
    let tree = Tree::new(&plain().replace("rounds = 3", "rounds = 1"), &PAIRS);
    let at = tree.path();
    ok(at, &["keys", "roster", "keys/east.pub", "--out", "other.toml"]);
    fs::rename(at.join("other.toml"), at.join("center.toml")).expect("renamed");
    let few = |name: &str| if name.starts_with("node") { Vec::new() } else { alone(name) };
    tree.run(&[], &few).ends_well();
    tree.is_mean(&["node_1", "node_2"], 1, 2, &|_, examples| examples);
    let (outcome, _) = tree.outcome("west", 1);
    let why = outcome.refused.expect("refused");
    assert!(why.contains("west is not on its roster"), "{why}");
    let own = fs::read(at.join("models/4/current.safetensors")).expect("a model");
    assert!(own == fs::read(at.join("global.safetensors")).expect("a model"));
}

#[test]
fn what_is_set_up_wrongly_in_a_region_is_said() {
    let job = plain().replace("[train]", "[train]\noptimizer = { name = \"sgd\" }");
    let tree = Tree::new(&(job + "correction = \"scaffold\"\n"), &PAIRS);
    let at = tree.path();
    let mut root = tree.root(&[]);
    root.says("job ");
    root.kill();
    let says = |name: &str, (parent, center): (&str, &str), more: &[&str], why: &str| {
        let args = tree.region_args(name, parent, center);
        let args: Vec<&str> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
        fs::create_dir_all(at.join(name)).expect("a folder");
        fails(at, &args, &[why]);
    };
    let right = ("store", "center.pub");
    says("east", right, &[], "scaffold\" does not go with regions");
    says("east", ("store", "keys/west.pub"), &[], "not signed by");
    says("east", ("store", "keys/east.pub"), &[], "a region has a key of its own");
    says("east", ("nowhere", "center.pub"), &[], "is no folder");
    says("east", right, &["--config", "job.toml"], "cannot be used with");
    says("east", right, &["--rounds", "3"], "cannot be used with");
    says("east", right, &["--max-drop", "3"], "cannot be used with");
    says("east", right, &["--out", "center.pub"], "center.pub");
    assert!(!at.join("east/job.json").exists());
    let args = ["center", "--store", "east", "--key", "keys/east.key", "--roster", "east.toml"];
    fails(at, &[&args[..], &["--parent", "store"]].concat(), &["--parent-center"]);
}
