//! Every due window has exactly one line, whatever reader, model and input do.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{answered, rows, start, with_model};
use crate::support::JOB;

const LIVE: [&str; 4] = ["--model", "m.safetensors", "--priority", "normal"];

/// A model with a window at every row behind the first nineteen.
fn at_every_row() -> tempfile::TempDir {
    with_model(&JOB.replace("stride = 10", "stride = 1"))
}

/// So many rows of some series, in turn.
fn many_rows(n: u32, series: u32) -> String {
    let mut text = "series,t,x,y\n".to_owned();
    for i in 0..n {
        let (t, series) = (i / series, i % series);
        let x = f64::from((t * 7919 + series * 104_729) % 1000) / 500.0 - 1.0;
        writeln!(text, "s{series},{t},{x},{}", -x / 2.0).expect("written");
    }
    text
}

#[test]
fn a_reader_that_stands_still_stops_nothing_and_gets_every_line_in_the_end() {
    let folder = at_every_row();
    let n = 60_000;
    let mut running = start(folder.path(), &LIVE);
    let (mut input, text) = (running.input.take().expect("open"), many_rows(n, 4));
    // Nobody reads an answer before all rows are taken: were serving to wait for that, this would not end.
    input.write_all(text.as_bytes()).expect("all rows are taken");
    drop(input);
    let ended = running.read();
    assert!(ended.status.success());
    let counts = ended.counts();
    assert_eq!(ended.answers.len() as u32, n - 4 * 19);
    let lost = ended.summary()["lost_output"].as_u64().expect("a number");
    assert!(lost > 10_000 && counts["dropped"] >= lost, "{counts:?}");
    let nameless = ended.answers.iter().filter(|answer| answer["series"].is_null());
    assert_eq!(nameless.count() as u64, lost);
    assert!(!ended.events("output-blocked").is_empty());
    let told: u64 = ended
        .events("output-unblocked")
        .iter()
        .map(|event| event["dropped"].as_u64().expect("a number"))
        .sum();
    assert_eq!(told, lost);
}

#[test]
fn a_slow_model_answers_the_newest_windows() {
    let folder = at_every_row();
    let args = [&LIVE[..], &["--slow", "100", "--deadline", "1h"]].concat();
    let ended = answered(folder.path(), &args, &many_rows(4000, 3));
    let counts = ended.counts();
    assert_eq!(ended.answers.len(), 4000 - 3 * 19);
    assert!(counts["dropped"] > 0 && counts["ok"] >= 3, "{counts:?}");
    // The last window of each series is answered: none newer takes its place.
    for series in ["s0", "s1", "s2"] {
        let last = ended.answers.iter().rfind(|answer| answer["series"] == series);
        assert_eq!(last.expect("some")["status"], "ok");
    }
}

#[test]
fn late_answers_are_left_out_or_given_as_was_asked() {
    let folder = at_every_row();
    for (late, has_answer) in [("drop", false), ("answer", true)] {
        let late = ["--queue", "all", "--deadline", "1us", "--slow", "3", "--late", late];
        let args = [&LIVE[..], &late].concat();
        let ended = answered(folder.path(), &args, &many_rows(500, 1));
        assert_eq!(ended.counts(), [("late".to_owned(), 481)].into());
        for answer in &ended.answers {
            assert_eq!(answer["answer"].is_string(), has_answer, "{answer}");
            assert!(answer["age_us"].as_u64() >= Some(1));
        }
    }
    // Within the deadline: what is called ok is no older.
    let ended = answered(folder.path(), &LIVE, &many_rows(5000, 1));
    let _ = ended.counts();
    for answer in ended.answers.iter().filter(|answer| answer["status"] == "ok") {
        assert!(answer["age_us"].as_u64() <= Some(50_000), "{answer}");
    }
}

#[test]
fn signals_end_it_with_a_summary_and_success() {
    let folder = at_every_row();
    for signal in ["-TERM", "-INT"] {
        let mut running = start(folder.path(), &[&LIVE[..], &["--queue", "all"]].concat());
        running.feed(&many_rows(200, 1));
        // A gap is told, so that all rows before it were read.
        running.feed("s0,5000,1,1\n");
        assert_eq!(running.event("time")["what"], "gap");
        let kill = Command::new("kill").args([signal, &running.child.id().to_string()]).status();
        assert!(kill.expect("kill runs").success());
        let input = running.input.take();
        let ended = running.read();
        drop(input);
        assert_eq!(ended.status.code(), Some(0));
        let counts = ended.counts();
        assert!(counts.values().sum::<u64>() >= 181 && counts["ok"] > 0, "{counts:?}");
    }
}

#[test]
fn a_signal_ends_it_though_nobody_reads_and_says_how_many_lines_are_left() {
    let folder = at_every_row();
    let mut running = start(folder.path(), &LIVE);
    running.feed(&many_rows(4000, 1));
    running.feed("s0,9000,1,1\n");
    assert_eq!(running.event("time")["what"], "gap");
    let kill = Command::new("kill").args(["-TERM", &running.child.id().to_string()]).status();
    assert!(kill.expect("kill runs").success());
    let summary = running.event("summary");
    assert_eq!(running.child.wait().expect("it ends").code(), Some(0));
    // The lines in the pipe are there, and those that did not fit are counted; the last one may be cut.
    let mut text = String::new();
    running.child.stdout.take().expect("piped").read_to_string(&mut text).expect("text");
    let read = text.matches('\n').count() as u64;
    let (due, unwritten) = (&summary["due"], &summary["unwritten"]);
    assert_eq!(due, 4000 - 19);
    let unwritten = unwritten.as_u64().expect("a number");
    assert!(unwritten > 0, "{summary}");
    assert!(read > 0 && read + unwritten >= 4000 - 19, "{summary}");
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let folder = at_every_row();
    let mut running = start(folder.path(), &[&LIVE[..], &["--queue", "all"]].concat());
    drop(running.child.stdout.take());
    let mut input = running.input.take().expect("open");
    let text = many_rows(100_000, 1);
    // It stops reading at some point.
    let _ = input.write_all(text.as_bytes());
    let mut last = String::new();
    while std::io::BufRead::read_line(&mut running.stderr, &mut last).expect("text") > 0 {}
    assert!(last.contains("\"event\":\"summary\""), "{last}");
    assert_eq!(running.child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn settings_come_from_a_file_and_flags_win() {
    let folder = at_every_row();
    let at = folder.path();
    let settings = "[run]\nmodel = \"m.safetensors\"\nstate = \"state\"\nqueue = \"all\"\nprobs = true\nlate = \"answer\"\ndeadline = \"1us\"\n";
    fs::write(at.join("live.toml"), settings).expect("written");
    let text = many_rows(100, 1);
    let ended = answered(at, &["--config", "live.toml"], &text);
    assert_eq!(ended.counts(), [("late".to_owned(), 81)].into());
    assert!(ended.answers[0]["probs"]["fast"].is_number());
    assert_eq!(ended.events.len(), 1, "the others are in the file");
    let flags = ["--config", "live.toml", "--deadline", "1h"];
    assert_eq!(answered(at, &flags, &text).counts(), [("ok".to_owned(), 81)].into());
    let events = rows(at, "state/events.jsonl");
    assert_eq!(events.matches("\"event\":\"start\"").count(), 2, "{events}");
    let mode = fs::metadata(at.join("state")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    fs::write(at.join("live.toml"), "[run]\nqeue = 1\n").expect("written");
    let said = ["live.toml", "line 2", "qeue", "queue"];
    crate::support::fails(at, &["run", "--config", "live.toml"], &said);
    let slow = ["run", "--model", "m.safetensors", "--slow", "0.5"];
    crate::support::fails(at, &slow, &["--slow 0.5"]);
}
