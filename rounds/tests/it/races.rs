//! Two centers at a time, nodes that begin again, and many rounds.

use std::thread;

use rounds::{Closed, Desk, Encoding, Outcome, Plan};

use crate::bench::{Bench, NOW, WORK, counted, outcome};

#[test]
fn of_two_centers_one_closes_a_round_and_the_other_takes_its_word() {
    let bench = Bench::new(1);
    let (_, plan) = bench.begun();
    for number in 1..=5 {
        let results: Vec<Closed> = thread::scope(|scope| {
            let close = |who: u64| {
                let (bench, plan) = (&bench, &plan.body);
                move || {
                    let desk =
                        Desk::open(&bench.store, &bench.center).expect("sound").expect("a job");
                    let plan = Plan { round: number, ..plan.clone() };
                    desk.close(&outcome(&plan, NOW + who)).expect("closed")
                }
            };
            let centers: Vec<_> = (0..4).map(|who| scope.spawn(close(who))).collect();
            centers.into_iter().map(|center| center.join().expect("done")).collect()
        });
        let ours = results.iter().filter(|closed| matches!(closed, Closed::Ours(_))).count();
        assert_eq!(ours, 1, "round {number}");
        let there: Vec<&Outcome> = results
            .iter()
            .map(|closed| match closed {
                Closed::Ours(outcome) | Closed::Before(outcome) => &outcome.body,
            })
            .collect();
        assert!(there.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn a_job_begins_once() {
    let bench = Bench::new(1);
    let first = Desk::begin(&bench.store, &bench.center, (b"a model", 5), NOW).expect("begun");
    let again = Desk::begin(&bench.store, &bench.center, (b"another", 9), NOW + 1).expect("begun");
    assert_eq!(first.board().job(), again.board().job());
    let plan = first.publish_plan(&bench.plan(&first, 1)).expect("published");
    let later = Plan { quorum: 9, ..bench.plan(&first, 1) };
    assert_eq!(again.publish_plan(&later).expect("there"), plan);
}

#[test]
fn a_node_that_was_killed_sends_once() {
    let bench = Bench::new(1);
    let (desk, plan) = bench.begun();
    let seat = &bench.seats[0];
    assert!(seat.committed(&bench.board(), &plan.body).expect("sound").is_none());
    bench.send(0, &plan.body, b"mine");
    // Again, later: what was sent first counts.
    let sent = (&b"mine"[..], Encoding::Whole, WORK);
    let commit = seat.send(&bench.board(), &plan.body, sent, NOW + 500).expect("sent");
    assert_eq!(commit.sent, NOW);
    assert_eq!(seat.committed(&bench.board(), &plan.body).expect("sound"), Some(commit));
    assert_eq!(counted(&bench.arrivals(&desk, &plan), "node-1"), b"mine");
}

#[test]
fn the_last_round_is_found_whatever_is_known() {
    let bench = Bench::new(1);
    let desk = Desk::begin(&bench.store, &bench.center, (b"a model", 40), NOW).expect("begun");
    let board = desk.board();
    for closed in 0..=40_u32 {
        if closed > 0 {
            let plan = bench.plan(&desk, closed);
            desk.close(&outcome(&plan, NOW)).expect("closed");
        }
        for known in [0, closed / 2, closed.saturating_sub(1), closed] {
            assert_eq!(board.last_closed(known).expect("found"), closed, "from {known}");
        }
    }
}
