//! Nodes without a key of the store: files of URLs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rounds::{Board, Created, Encoding, Error, Patience, Presign, Store, Urls};
use serde_json::json;

use crate::bench::{Bench, MOST, NOW, WORK, counted, refused};
use crate::server::{Mood, Server};

/// Writes a file for its owner only, as URLs have to be.
fn secret(path: &Path, text: &str) {
    let mut options = fs::OpenOptions::new();
    options.create(true).write(true).truncate(true).mode(0o600);
    options.open(path).and_then(|mut file| file.write_all(text.as_bytes())).expect("written");
}

/// Long after these tests.
const LATER: u64 = 100_000_000_000_000;

/// A center and two nodes in a folder that a server shows, with the URLs of the first node for two rounds.
struct Trial {
    bench: Bench,
    server: Server,
    file: PathBuf,
}

impl Trial {
    fn new() -> Self {
        let bench = Bench::new(2);
        let server = Server::of(bench.folder.path());
        let file = bench.path("node-1.urls");
        let trial = Self { bench, server, file };
        trial.write(&trial.server.url, LATER);
        trial
    }

    /// The file as `edgectl presign` writes it.
    fn write(&self, server: &str, expires: u64) {
        let names = ["update", "commit.json"];
        let paths = |round: u32| names.map(|name| format!("in/round-{round:06}/node-1/{name}"));
        let urls: serde_json::Map<_, _> = [1, 2]
            .into_iter()
            .flat_map(paths)
            .map(|path| (path.clone(), json!(format!("{server}{path}?signed"))))
            .collect();
        let file = json!({
            "version": 1,
            "use": "secret",
            "job": "a job",
            "center": self.bench.center.public(),
            "node": "node-1",
            "rounds": [1, 2],
            "expires": expires,
            "read": server,
            "get": urls,
            "put": urls,
        });
        secret(&self.file, &file.to_string());
    }

    fn open(&self) -> Result<Store, Error> {
        let patience = Patience { most: Duration::from_secs(5), ..Patience::default() };
        Store::open(&self.file.display().to_string(), None, patience)
    }

    fn store(&self) -> Store {
        self.open().expect("a store")
    }

    fn board<'a>(&self, store: &'a Store) -> Board<'a> {
        Board::open(store, self.bench.center.public()).expect("sound").expect("a job")
    }
}

#[track_caller]
fn says<T: std::fmt::Debug>(found: Result<T, Error>, parts: &[&str]) {
    let error = found.expect_err("an error").to_string();
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    assert!(!error.contains("?signed"), "URLs are secret: {error}");
}

#[test]
fn a_node_takes_part_by_urls() {
    let trial = Trial::new();
    let (desk, plan) = trial.bench.begun();
    let store = trial.store();
    let board = trial.board(&store);
    let seat = &trial.bench.seats[0];
    assert_eq!(board.last_closed(0).expect("found"), 0);
    let asked = board.plan(1).expect("sound").expect("a plan");
    assert_eq!(board.plan(2).expect("none yet"), None);
    let roster = board.roster(&asked.body).expect("a roster");
    seat.check_plan(&asked.body, &roster, (1, NOW)).expect("asked");
    assert_eq!(board.blob(&asked.body.base, MOST).expect("a model"), &b"a model"[..]);
    assert!(seat.committed(&board, &asked.body).expect("sound").is_none());

    // A process before this one was killed before it committed.
    trial.bench.put("in/round-000001/node-1/update", b"half");
    let send = |update: &[u8]| {
        seat.send(&board, &asked.body, (update, Encoding::Whole, WORK), NOW).expect("sent")
    };
    let commit = send(b"by URLs");
    // One that did not see that the round is done replaces nothing.
    assert_eq!(send(b"another"), commit);
    assert_eq!(seat.update(&board, &plan.body, &commit, MOST).expect("its own"), b"by URLs");
    assert_eq!(seat.committed(&board, &asked.body).expect("sound"), Some(commit));
    trial.bench.send(1, &plan.body, b"by the store");
    let arrivals = trial.bench.arrivals(&desk, &plan);
    assert_eq!(counted(&arrivals, "node-1"), b"by URLs");
    assert_eq!(counted(&arrivals, "node-2"), b"by the store");
}

#[test]
fn whoever_has_the_urls_says_nothing_in_the_name_of_the_node() {
    let trial = Trial::new();
    let (desk, plan) = trial.bench.begun();
    let store = trial.store();
    let board = trial.board(&store);
    let sent = (&b"mine"[..], Encoding::Whole, WORK);
    trial.bench.seats[0].send(&board, &plan.body, sent, NOW).expect("sent");
    let commit = "in/round-000001/node-1/commit.json";
    assert!(matches!(store.create(commit, b"forged"), Ok(Created::Other(_))));
    // The update can be replaced; the commit tells.
    trial.bench.put("in/round-000001/node-1/update", b"forged");
    let arrivals = trial.bench.arrivals(&desk, &plan);
    assert!(refused(&arrivals, "node-1").contains("its document says"));
}

#[test]
fn what_is_not_the_nodes_is_refused() {
    let trial = Trial::new();
    let (desk, plan) = trial.bench.begun();
    let store = trial.store();
    let board = trial.board(&store);
    let later = rounds::Plan { round: 3, ..plan.body.clone() };
    let purpose = ["rounds 1 to 2", "node-1", "edgectl presign"];
    says(trial.bench.seats[0].committed(&board, &later), &purpose);
    says(trial.bench.seats[1].committed(&board, &plan.body), &purpose);
    says(store.create("blob/abc", b"x"), &purpose);
    says(store.list("in"), &["list nothing"]);
    says(store.check("now"), &["check the store itself"]);
    // Refused, as something that is wrong with one round.
    let refusal = trial.bench.seats[0].committed(&board, &later);
    assert!(matches!(refusal, Err(Error::Refused { .. })));
    let node = trial.bench.seats[0].node.clone();
    let wanted = Presign { node, rounds: 1..=2, lasts: Duration::from_mins(1), now: NOW };
    says(desk.board().presign(&wanted, None), &["only a server can check a signature"]);
    let wanted = Presign { rounds: 1..=6, ..wanted };
    says(desk.board().presign(&wanted, None), &["the job has rounds 1 to 5"]);
}

#[test]
fn a_server_that_refuses_is_one_clear_error() {
    let trial = Trial::new();
    let (_, plan) = trial.bench.begun();
    let store = trial.store();
    let board = trial.board(&store);
    let committed = || trial.bench.seats[0].committed(&board, &plan.body);
    trial.server.is(Mood::Expired);
    says(committed(), &["expired", "Request has expired", "edgectl presign"]);
    trial.server.is(Mood::Closed);
    assert!(committed().expect("signed").is_none());
    says(Board::open(&store, trial.bench.center.public()), &["job.json", "everybody", "403"]);
    assert!(board.plan(2).expect("as if there were none").is_none());
    trial.write(&trial.server.url, NOW);
    says(trial.open(), &["expired", "by the clock of this machine", "edgectl presign"]);
}

#[test]
fn faults_are_waited_for_and_answers_without_end_are_not_read() {
    let trial = Trial::new();
    let (desk, plan) = trial.bench.begun();
    let store = trial.store();
    trial.server.is(Mood::Faulty(0));
    let board = trial.board(&store);
    let sent = (&b"in spite of it"[..], Encoding::Whole, WORK);
    trial.bench.seats[0].send(&board, &plan.body, sent, NOW).expect("sent");
    assert_eq!(counted(&trial.bench.arrivals(&desk, &plan), "node-1"), b"in spite of it");
    trial.server.is(Mood::Endless);
    says(store.get("job.json", 100), &["at most 100 are taken"]);
}

#[test]
fn a_file_of_urls_is_checked() {
    let trial = Trial::new();
    trial.write("http://store.example/bucket/", LATER);
    says(trial.open(), &["plain http", "AWS_ALLOW_HTTP=true"]);
    trial.write("file:///bucket/", LATER);
    says(trial.open(), &["has URLs of file"]);
    trial.write("http://127.0.0.1/bucket", LATER);
    says(trial.open(), &["no slash at its end"]);
    secret(&trial.file, "{}");
    says(trial.open(), &["no file of URLs", "edgectl presign"]);
}

#[test]
fn a_file_of_urls_is_secret_and_replaces_its_like_alone() {
    let trial = Trial::new();
    let urls = Urls::read(&trial.file).expect("URLs");
    urls.write(&trial.file).expect("the same node's");
    assert_eq!(Urls::read(&trial.file).expect("URLs"), urls);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&trial.file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let mut other = urls;
    other.node = "node-2".parse().expect("a name");
    says(other.write(&trial.file), &["the URLs of node-1"]);
    let key = trial.bench.path("node.key");
    secret(&key, "a key");
    says(other.write(&key), &["is there already and is not replaced"]);
}
