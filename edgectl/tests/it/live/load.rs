//! Windows that come faster than they are answered: fewer are due, evenly, and all again once there is time.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::{Ended, Running, answered, rows, start, with_model};
use crate::support::{JOB, fails};

/// Rows of a window, at every row of a series.
const WINDOW: u64 = 20;

fn at_every_row() -> tempfile::TempDir {
    with_model(&JOB.replace("stride = 10", "stride = 1"))
}

/// The next rows of some series, in turn.
fn more(next: &mut u64, rows: u64, series: u64) -> String {
    let mut text = String::new();
    for t in *next..*next + rows {
        for series in 0..series {
            let x = (t * 7919 + series * 104_729) % 1000;
            let x = x as f64 / 500.0 - 1.0;
            writeln!(text, "s{series},{t},{x},{}", -x / 2.0).expect("written");
        }
    }
    *next += rows;
    text
}

/// Every window was answered or left out, and none twice.
#[track_caller]
fn accounted(ended: &Ended, rows: u64, series: u64) -> u64 {
    let due: u64 = ended.counts().values().sum();
    let left_out = ended.summary()["left_out"].as_u64().expect("a number");
    assert_eq!(due + left_out, series * (rows + 1 - WINDOW), "{}", ended.summary());
    for name in (0..series).map(|series| format!("s{series}")) {
        let own = ended.answers.iter().filter(|answer| answer["series"] == *name);
        let t: Vec<f64> = own.map(|answer| answer["t"].as_f64().expect("a time")).collect();
        assert!(!t.is_empty() && t.windows(2).all(|two| two[0] < two[1]), "{name}");
    }
    left_out
}

/// A run that is slower than its input, with the answers read.
fn overloaded(folder: &Path, most: &str) -> Running {
    let args = "--model m.safetensors --priority normal --state state --deadline 1h --slow 20";
    let mut args: Vec<&str> = args.split_whitespace().collect();
    args.extend(["--stride-most", most]);
    let mut running = start(folder, &args);
    running.read_on();
    running.feed("series,t,x,y\n");
    running
}

#[test]
fn fewer_windows_are_due_under_load_and_all_again_behind_it() {
    let folder = at_every_row();
    let mut running = overloaded(folder.path(), "4");
    assert_eq!(running.event("start")["stride_most"], 4);
    let mut next = 0;
    // Windows come far faster than they are answered.
    running.feed_until("load", |_| more(&mut next, 100, 2));
    let event = running.events.last().expect("told").clone();
    assert_eq!((&event["was"], &event["stride"]), (&1.into(), &2.into()));
    assert!(event["reason"].as_str().expect("text").contains("made room"), "{event}");
    running.feed_until("load", |_| more(&mut next, 100, 2));
    assert_eq!(running.events.last().expect("told")["stride"], 4);
    // Then hardly any come.
    while running.events.last().expect("told")["stride"] != 1 {
        running.feed_until("load", |_| {
            thread::sleep(Duration::from_millis(100));
            more(&mut next, 1, 2)
        });
    }
    running.feed(&more(&mut next, 5, 2));
    let ended = running.end();
    assert!(accounted(&ended, next, 2) > 0);
    for event in ended.events("load") {
        let [was, stride] = ["was", "stride"].map(|key| event[key].as_u64().expect("a number"));
        assert!(stride <= 4 && (stride == 2 * was || was == 2 * stride), "{event}");
    }
    let seconds = ended.summary()["strides"].as_object().expect("seconds");
    assert_eq!(seconds.keys().collect::<Vec<_>>(), ["1", "2", "4"]);
    assert!(seconds.values().all(|s| s.as_f64() > Some(0.5)), "{seconds:?}");
}

#[test]
fn windows_that_are_due_are_evenly_apart_and_series_take_turns() {
    let folder = at_every_row();
    let mut running = overloaded(folder.path(), "2");
    let mut next = 0;
    running.feed_until("load", |_| more(&mut next, 100, 2));
    // All these are taken behind the event.
    let from = next as f64;
    running.feed(&more(&mut next, 400, 2));
    let ended = running.end();
    accounted(&ended, next, 2);
    assert_eq!(ended.events("load").len(), 1);
    for series in 0..2 {
        let name = format!("s{series}");
        let own = ended.answers.iter().filter(|answer| answer["series"] == *name);
        let times = own.map(|answer| answer["t"].as_f64().expect("a time"));
        let due: Vec<f64> = times.filter(|&t| t >= from).collect();
        assert_eq!(due.len(), 200, "{due:?}");
        assert!(
            due.windows(2).all(|two| (two[1] - two[0]).to_bits() == 2_f64.to_bits()),
            "{due:?}"
        );
        // The window that ends with row 19 is the first of s0; s1 begins with the second one's turn.
        assert_eq!((due[0] as u64 + 1 - WINDOW + series) % 2, 0);
    }
}

#[test]
fn it_is_off_unless_it_is_asked_for_and_refused_where_nothing_is_dropped() {
    let folder = at_every_row();
    let at = folder.path();
    let mut next = 0;
    let text = "series,t,x,y\n".to_owned() + &more(&mut next, 3000, 1);
    let live =
        ["--model", "m.safetensors", "--priority", "normal", "--slow", "300", "--deadline", "1h"];
    let ended = answered(at, &live, &text);
    assert_eq!(accounted(&ended, next, 1), 0);
    assert_eq!(ended.events("start")[0]["stride_most"], 1);
    assert_eq!(ended.summary()["strides"], serde_json::json!({}));
    assert!(ended.events("load").is_empty());
    let all = ["run", "--model", "m.safetensors", "--queue", "all", "--stride-most", "4"];
    fails(at, &all, &["--stride-most 4", "--queue all"]);
    let settings = "[run]\nmodel = \"m.safetensors\"\nqueue = \"all\"\nstride_most = 4\n";
    fs::write(at.join("live.toml"), settings).expect("written");
    fails(at, &["run", "--config", "live.toml"], &["--stride-most 4", "--queue all"]);
    assert_eq!(rows(at, "live.toml"), settings);
    for most in ["0", "1025"] {
        fails(
            at,
            &["run", "--model", "m.safetensors", "--stride-most", most],
            &["--stride-most", most],
        );
    }
}
