//! What somebody who writes into the store can do, and what becomes of it: each line of the threat model that
//! the protocol claims to stop. In every test an honest update beside the attack still counts.

use std::collections::BTreeSet;

use rounds::{
    BlobRef, Board, Checked, Commit, Encoding, Hash, Job, Memory, Outcome, Plan, Roster, Seat,
    Work, sign, unverified,
};

use crate::bench::{Bench, MOST, NOW, WORK, counted, key, outcome, refused};

/// Where the commit of a node in the first round is.
fn commit_path(node: &str) -> String {
    format!("in/round-000001/{node}/commit.json")
}

/// An honest round of two nodes, with something done to the second one's commit and signed anew by a key.
#[track_caller]
fn forged(signer: u8, change: impl Fn(&mut Commit), why: &str) {
    let bench = Bench::new(2);
    let (desk, plan) = bench.begun();
    bench.send(0, &plan.body, b"honest");
    bench.send(1, &plan.body, b"other");
    let path = commit_path("node-2");
    let mut commit: Commit = unverified(&bench.read(&path)).expect("a commit");
    change(&mut commit);
    bench.put(&path, &sign(&commit, &key(signer)).expect("signed"));
    let arrivals = bench.arrivals(&desk, &plan);
    assert_eq!(counted(&arrivals, "node-1"), b"honest");
    let reason = refused(&arrivals, "node-2");
    assert!(reason.contains(why), "{reason:?} does not say {why:?}");
}

#[test]
fn commits_that_say_something_else_than_they_should_do_not_count() {
    forged(2, |commit| commit.job = "0".repeat(32), "of another job");
    forged(2, |commit| commit.round = 2, "of round 2");
    forged(2, |commit| commit.node = "node-1".parse().expect("a name"), "in the place of node-2");
    forged(2, |commit| commit.base = Hash::of(b"another model"), "trained from");
    forged(2, |commit| commit.expires = NOW - 1, "its time is over");
    forged(2, |commit| commit.encoding = Encoding::Int8, "sent as int8, this round asks for whole");
    for wrong in [-1.0, f64::MAX] {
        forged(2, move |commit| commit.work.seconds = wrong, "says that it took");
        forged(2, move |commit| commit.work.speed = Some(wrong), "says that it took");
    }
    // Signed by the other node, and by nobody on the roster.
    forged(1, |_| {}, "not signed by");
    forged(77, |commit| commit.work.examples = 1_000_000, "not signed by");
}

#[test]
fn blobs_that_are_not_what_was_signed_do_not_count() {
    let of = |bytes: &[u8]| BlobRef { hash: Hash::of(bytes), bytes: bytes.len() as u64 };
    forged(2, |commit| commit.blob = of(b"not there"), "its commit is there, the update is not");
    forged(2, |commit| commit.unpacked = of(b"otter"), "was changed");
    forged(2, |commit| commit.unpacked.bytes = 4, "says it has 4 bytes unpacked, and has more");
    forged(2, |commit| commit.unpacked.bytes = 6, "says it has 6 bytes unpacked, and has 5");
    forged(2, |commit| commit.unpacked.bytes = MOST + 1, "at most");
    forged(2, |commit| commit.blob.bytes += 1, "its document says");

    // Swapped by whoever runs the store.
    let bench = Bench::new(2);
    let (desk, plan) = bench.begun();
    bench.send(0, &plan.body, b"honest");
    bench.send(1, &plan.body, b"other");
    let commit: Commit = unverified(&bench.read(&commit_path("node-2"))).expect("a commit");
    let path = format!("in/round-000001/node-2/{}", commit.blob.hash);
    let mut bytes = bench.read(&path);
    *bytes.last_mut().expect("a byte") ^= 1;
    bench.put(&path, &bytes);
    let arrivals = bench.arrivals(&desk, &plan);
    assert_eq!(counted(&arrivals, "node-1"), b"honest");
    assert!(refused(&arrivals, "node-2").contains("was changed"));
    bench.put(&path, &vec![0; 2 << 20]);
    assert!(refused(&bench.arrivals(&desk, &plan), "node-2").contains("bytes, at most"));
}

#[test]
fn what_a_node_has_sent_it_can_read_again_and_nothing_else() {
    let bench = Bench::new(1);
    let (_, plan) = bench.begun();
    bench.send(0, &plan.body, b"mine");
    let (board, seat) = (bench.board(), &bench.seats[0]);
    let commit = seat.committed(&board, &plan.body).expect("sound").expect("committed");
    let read = |most| seat.update(&board, &plan.body, &commit, most).map_err(|e| e.to_string());
    assert_eq!(read(MOST).expect("sound"), b"mine");
    assert!(read(3).expect_err("larger").contains("at most 3"));
    let path = format!("in/round-000001/node-1/{}", commit.blob.hash);
    bench.put(&path, b"other bytes");
    assert!(read(MOST).expect_err("changed").contains("its document says"));
    std::fs::remove_file(bench.path(&path)).expect("removed");
    assert!(read(MOST).expect_err("gone").contains("not in the store"));
}

#[test]
fn a_bomb_is_not_unpacked() {
    let bench = Bench::new(2);
    let (desk, plan) = bench.begun();
    bench.send(0, &plan.body, b"honest");
    // A gigabyte of zeros in some tens of kilobytes, said to be small.
    bench.send(1, &plan.body, &vec![0; 64 << 20]);
    let path = commit_path("node-2");
    let mut commit: Commit = unverified(&bench.read(&path)).expect("a commit");
    assert!(commit.blob.bytes < 1 << 14, "{}", commit.blob.bytes);
    assert!(refused(&bench.arrivals(&desk, &plan), "node-2").contains("at most"));
    commit.unpacked.bytes = 100;
    bench.put(&path, &sign(&commit, &key(2)).expect("signed"));
    let arrivals = bench.arrivals(&desk, &plan);
    assert!(refused(&arrivals, "node-2").contains("has more"));
    assert_eq!(counted(&arrivals, "node-1"), b"honest");
}

#[test]
fn who_is_not_on_the_roster_or_revoked_does_not_count() {
    let mut bench = Bench::new(2);
    bench.roster.revoked.push("node-2".parse().expect("a name"));
    let (desk, plan) = bench.begun();
    assert_eq!(plan.body.nodes, 1);
    bench.send(0, &plan.body, b"honest");
    bench.send(1, &plan.body, b"revoked");
    let stranger = Seat { node: "stranger".parse().expect("a name"), key: key(50) };
    stranger
        .send(&bench.board(), &plan.body, (b"hello", Encoding::Whole, WORK), NOW)
        .expect("sent");
    let arrivals = bench.arrivals(&desk, &plan);
    assert_eq!(counted(&arrivals, "node-1"), b"honest");
    assert!(refused(&arrivals, "node-2").contains("not on the roster"));
    assert!(refused(&arrivals, "stranger").contains("not on the roster"));
    // Any number of others changes nothing: what they wrote is not even read.
    for i in 0..300 {
        bench.put(&commit_path(&format!("s{i}")), b"");
    }
    assert_eq!(bench.arrivals(&desk, &plan).len(), 101);
}

#[test]
fn rubbish_in_the_place_of_commits_does_not_count_and_names_lead_nowhere() {
    let bench = Bench::new(1);
    let (desk, plan) = bench.begun();
    bench.send(0, &plan.body, b"honest");
    for (i, rubbish) in [&b""[..], b"\n", b"{}\ned25519 00\n", &[0xff; 100], &vec![b'x'; 1 << 20]]
        .iter()
        .enumerate()
    {
        bench.put(&commit_path(&format!("x{i}")), rubbish);
    }
    bench.put("in/round-000001/.hidden/commit.json", b"x");
    bench.put("in/round-000001/node-1/deeper/commit.json", b"x");
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        for name in [&b"n\nl"[..], b"\xff", b"a b"] {
            let folder = bench.path("in/round-000001").join(std::ffi::OsStr::from_bytes(name));
            std::fs::create_dir(&folder).expect("a folder");
            std::fs::write(folder.join("commit.json"), b"x").expect("written");
        }
        std::os::unix::fs::symlink(".", bench.path("in/round-000001/loop")).expect("a link");
    }
    let arrivals = bench.arrivals(&desk, &plan);
    assert_eq!(arrivals.len(), 6);
    assert_eq!(counted(&arrivals, "node-1"), b"honest");
    // Also where the rubbish has the place of a node.
    let bench = Bench::new(2);
    let (desk, plan) = bench.begun();
    bench.put(&commit_path("node-2"), b"rubbish");
    bench.send(0, &plan.body, b"honest");
    let error =
        bench.seats[1].send(&bench.board(), &plan.body, (b"mine", Encoding::Whole, WORK), NOW);
    assert!(error.expect_err("taken").to_string().contains("somebody else has written"));
    let arrivals = bench.arrivals(&desk, &plan);
    assert!(refused(&arrivals, "node-2").contains("no signed document"));
    assert_eq!(counted(&arrivals, "node-1"), b"honest");
}

#[test]
fn an_update_of_a_round_before_does_not_pass_for_one_of_this() {
    let bench = Bench::new(1);
    let (desk, first) = bench.begun();
    bench.send(0, &first.body, b"old");
    let second = desk.publish_plan(&bench.plan(&desk, 2)).expect("published");
    let old = bench.read(&commit_path("node-1"));
    bench.put("in/round-000002/node-1/commit.json", &old);
    let arrivals = bench.arrivals(&desk, &second);
    assert!(refused(&arrivals, "node-1").contains("of round 1, this is 2"));
}

/// What a node says of a plan that was put in place of the center's.
#[track_caller]
fn plan_refused(bytes: &dyn Fn(&Bench, Plan) -> Vec<u8>, why: &str) {
    let bench = Bench::new(2);
    let (_, plan) = bench.begun();
    bench.put("round-000001/plan.json", &bytes(&bench, plan.body));
    let error = bench.board().plan(1).expect_err("refused").to_string();
    assert!(error.contains(why), "{error:?} does not say {why:?}");
}

#[test]
fn plans_that_are_not_the_centers_are_not_believed() {
    let signed = |plan: &Plan, by: u8| sign(plan, &key(by)).expect("signed");
    plan_refused(&|_, plan| signed(&plan, 1), "not signed by");
    plan_refused(&|_, plan| signed(&Plan { round: 2, ..plan }, 100), "of round 2");
    plan_refused(&|_, plan| signed(&Plan { job: "1".repeat(32), ..plan }, 100), "of another job");
    plan_refused(&|_, _| b"{}".to_vec(), "no signed document");
    // One byte of what was signed is another.
    plan_refused(
        &|_, plan| {
            let mut bytes = signed(&plan, 100);
            let at = bytes.windows(8).position(|w| w == b"\"quorum\"").expect("there") + 9;
            bytes[at] = b'9';
            bytes
        },
        "not signed by",
    );
    // A document of another kind.
    plan_refused(
        &|bench, _| {
            let job: Job = unverified(&bench.read("job.json")).expect("a job");
            sign(&job, &bench.center).expect("signed")
        },
        "no plan",
    );
}

#[test]
fn a_node_goes_by_what_it_has_seen() {
    let bench = Bench::new(2);
    let (desk, first) = bench.begun();
    let second = desk.publish_plan(&bench.plan(&desk, 2)).expect("published");
    let file = bench.path("memory.json");
    let board = bench.board();
    let accept = |before: Option<&Memory>, plan| Memory::accept(before, &board, plan, &file);
    let memory = accept(None, &first).expect("the first");
    assert_eq!(accept(Some(&memory), &first).expect("again"), memory);
    let memory = accept(Some(&memory), &second).expect("the next");
    let why = |result: Result<Memory, rounds::Error>| result.expect_err("refused").to_string();
    assert!(why(accept(Some(&memory), &first)).contains("was taken back"));
    // The center, or who has its key, signs another plan for the round that was seen.
    let other = Plan { quorum: 2, ..second.body.clone() };
    let bytes = sign(&other, &bench.center).expect("signed");
    let other = rounds::verify("plan", &bytes, &bench.center.public()).expect("sound");
    assert!(why(accept(Some(&memory), &other)).contains("two plans"));
    // Another job in the same store.
    let elsewhere = Bench::new(2);
    let (_, plan) = elsewhere.begun();
    let there = Memory::accept(Some(&memory), &elsewhere.board(), &plan, &file);
    assert!(why(there).contains("takes part in job"));
    // Results likewise.
    let check = |board: &Board<'_>, round| memory.check_outcome(board, round, &file);
    check(&board, 1).expect("the round before");
    check(&board, 2).expect("the round that it has seen");
    assert!(check(&elsewhere.board(), 2).is_err());
    let third = desk.publish_plan(&bench.plan(&desk, 3)).expect("published");
    let memory = accept(Some(&memory), &third).expect("the next");
    let error = memory.check_outcome(&board, 1, &file).expect_err("old").to_string();
    assert!(error.contains("was taken back"), "{error}");
}

#[test]
fn a_node_sends_only_where_it_is_asked_among_enough_and_in_time() {
    let bench = Bench::new(2);
    let (desk, plan) = bench.begun();
    let (board, seat) = (bench.board(), &bench.seats[0]);
    let roster = board.roster(&plan.body).expect("a roster");
    seat.check_plan(&plan.body, &roster, (2, NOW)).expect("asked");
    let why = |seat: &Seat, roster: &Roster, fewest, now| {
        seat.check_plan(&plan.body, roster, (fewest, now)).expect_err("refused").to_string()
    };
    assert!(why(seat, &roster, 3, NOW).contains("only among 3 or more"));
    assert!(why(seat, &roster, 2, NOW + 20_000).contains("expired"));
    let stranger = Seat { node: "node-9".parse().expect("a name"), key: key(9) };
    assert!(why(&stranger, &roster, 2, NOW).contains("not on its roster"));
    let robbed = Seat { node: seat.node.clone(), key: key(9) };
    assert!(why(&robbed, &roster, 2, NOW).contains("another key"));
    // A list that was swapped, or is said to be longer than it is.
    let path = format!("blob/{}", plan.body.roster.hash);
    bench.put(&path, b"{}");
    assert!(
        board.roster(&plan.body).expect_err("changed").to_string().contains("its document says")
    );
    std::fs::remove_file(bench.path(&path)).expect("removed");
    assert!(board.roster(&plan.body).expect_err("missing").to_string().contains("removed"));
    let _ = desk.publish_roster(&bench.roster).expect("published");
    let more = Plan { nodes: 3, ..plan.body.clone() };
    assert!(board.roster(&more).expect_err("too few").to_string().contains("the plan says 3"));
}

#[test]
fn models_and_results_that_were_changed_are_not_taken() {
    let bench = Bench::new(1);
    let (_, plan) = bench.begun();
    let path = format!("blob/{}", plan.body.base.hash);
    bench.put(&path, b"a modem");
    let board = bench.board();
    assert!(
        board.blob(&plan.body.base, MOST).expect_err("changed").to_string().contains("was changed")
    );
    assert!(board.blob(&plan.body.base, 3).expect_err("large").to_string().contains("at most 3"));
    bench.put(&path, b"a model and more");
    assert!(board.blob(&plan.body.base, MOST).is_err());
    let outcome = outcome(&plan.body, NOW);
    bench.put("round-000001/result.json", &sign(&outcome, &key(1)).expect("signed"));
    assert!(board.outcome(1).expect_err("forged").to_string().contains("not signed by"));
    bench.put(
        "round-000001/result.json",
        &sign(&Outcome { round: 3, ..outcome }, &bench.center).expect("signed"),
    );
    assert!(board.outcome(1).expect_err("moved").to_string().contains("of round 3"));
}

#[test]
fn another_center_is_not_believed() {
    let bench = Bench::new(1);
    let _ = bench.begun();
    let other = key(101).public();
    assert!(
        Board::open(&bench.store, other).expect_err("forged").to_string().contains("not signed by")
    );
    // One that signs a job in the name of the first.
    let mut job: Job = unverified(&bench.read("job.json")).expect("a job");
    bench.put("job.json", &sign(&job, &key(101)).expect("signed"));
    assert!(
        Board::open(&bench.store, other).expect_err("named").to_string().contains("as its center")
    );
    job.protocol = 2;
    bench.put("job.json", &sign(&job, &bench.center).expect("signed"));
    let center = bench.center.public();
    assert!(
        Board::open(&bench.store, center).expect_err("newer").to_string().contains("protocol 2")
    );
}

#[test]
fn what_is_in_another_place_than_its_own_is_not_a_nodes_word() {
    let bench = Bench::new(2);
    let (desk, first) = bench.begun();
    bench.send(0, &first.body, b"old");
    let second = desk.publish_plan(&bench.plan(&desk, 2)).expect("published");
    // The node's own commit of the round before.
    bench.put("in/round-000002/node-1/commit.json", &bench.read(&commit_path("node-1")));
    let error =
        bench.seats[0].committed(&bench.board(), &second.body).expect_err("old").to_string();
    assert!(error.contains("somebody else has written"), "{error}");
}

#[test]
fn rubbish_further_on_hides_no_round() {
    let bench = Bench::new(1);
    let (desk, plan) = bench.begun();
    let close = |round: u32| {
        let outcome = Outcome { round, ..outcome(&plan.body, NOW) };
        desk.close(&outcome).expect("closed");
    };
    let board = bench.board();
    bench.put("round-000003/result.json", b"x");
    assert!(board.last_outcome(0).expect("none").is_none());
    for round in 1..=2 {
        close(round);
        for known in 0..round {
            let found = board.last_outcome(known).expect("found").expect("an outcome");
            assert_eq!(found.body.round, round, "from {known}");
        }
    }
    assert!(board.last_outcome(2).is_err());
}

#[test]
fn something_huge_in_the_place_of_an_object_is_not_fetched() {
    let bench = Bench::new(1);
    let (desk, _) = bench.begun();
    let path = bench.path("round-000002/plan.json");
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    // A file with a hole, larger than there is memory.
    std::fs::File::create(&path).expect("a file").set_len(1 << 42).expect("a hole");
    assert!(desk.publish_plan(&bench.plan(&desk, 2)).is_err());
    // A folder or a pipe is no document either, and nobody waits for it.
    std::fs::create_dir_all(bench.path("round-000003/plan.json")).expect("made");
    assert!(desk.publish_plan(&bench.plan(&desk, 3)).is_err());
    let pipe = bench.path("round-000004/plan.json");
    std::fs::create_dir_all(pipe.parent().expect("a folder")).expect("made");
    if std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|made| made.success()) {
        let error = bench.board().plan(4).expect_err("a pipe").to_string();
        assert!(error.contains("no plain file"), "{error}");
    }
}

#[test]
fn only_asynchronous_rounds_take_what_started_from_older_models() {
    let bench = Bench::new(2);
    let (desk, first) = bench.begun();
    let older = desk.publish(b"an older model").expect("published");
    let plan = Plan { max_age: Some(1), ..bench.plan(&desk, 2) };
    let plan = desk.publish_plan(&plan).expect("published");
    let update: (&[u8], Encoding, Work) = (b"late", Encoding::Whole, WORK);
    let send = |plan: &Plan| {
        bench.seats[0].send_from(&bench.board(), plan, older.hash, update, NOW).expect("sent");
    };
    send(&plan.body);
    send(&first.body);
    let take = |plan: &Checked<Plan>, older: &BTreeSet<Hash>| {
        let (mut all, roster) = (Vec::new(), bench.roster.counting());
        let seen = BTreeSet::new();
        desk.arrivals(plan, &roster, (&seen, older), (MOST, NOW), &mut |a| all.push(a))
            .expect("the store answers");
        all
    };
    assert_eq!(counted(&take(&plan, &BTreeSet::from([older.hash])), "node-1"), b"late");
    for plan in [&plan, &first] {
        assert!(
            refused(&take(plan, &BTreeSet::new()), "node-1").contains("this round starts from")
        );
    }
    // A node stays with what it has sent; in rounds that are not asynchronous that has their base.
    assert!(bench.seats[0].committed(&bench.board(), &plan.body).expect("its own").is_some());
    assert!(bench.seats[0].committed(&bench.board(), &first.body).is_err());
}
