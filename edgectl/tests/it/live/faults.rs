//! Lines, values and times that are not as they should be.

use serde_json::Value;

use super::{answered, with_model};
use crate::support::JOB;

const ALL: [&str; 4] = ["--model", "m.safetensors", "--queue", "all"];
const LIVE: [&str; 6] = ["--model", "m.safetensors", "--priority", "normal", "--deadline", "1h"];

/// A row of a series that is as it should be.
fn row(t: u32) -> String {
    let x = f64::from(t * 7919 % 101) / 50.0 - 1.0;
    format!("{{\"t\":{t},\"x\":{x},\"y\":{}}}\n", 0.5 - x)
}

fn good(from: u32, to: u32) -> String {
    (from..to).map(row).collect()
}

fn names(answer: &Value) -> Vec<&str> {
    answer["quality"].as_array().expect("a list").iter().filter_map(Value::as_str).collect()
}

#[test]
fn lines_that_are_no_row_are_told_and_change_nothing() {
    let folder = with_model(JOB);
    let at = folder.path();
    let expected = answered(at, &ALL, &good(0, 100)).answers;
    assert_eq!(expected.len(), 9);
    let bad = [
        "nonsense\n",
        "{\"t\":1\n",
        "{\"x\":\"no number\",\"y\":1}\n",
        "{}\n",
        "[1,2]\n",
        "{\"x\":1e99}\n",
    ];
    let mut text = String::new();
    for (at, line) in good(0, 100).split_inclusive('\n').enumerate() {
        text += line;
        text += bad[at % bad.len()];
        text += "\n";
    }
    let long = format!("{{\"x\":1,\"y\":2,\"note\":\"{}\"}}\n", "x".repeat(1 << 20));
    let ended = answered(at, &ALL, &(text + &long));
    for (answer, expected) in ended.answers.iter().zip(&expected) {
        for key in ["id", "t", "answer", "p", "status", "quality"] {
            assert_eq!(answer[key], expected[key]);
        }
    }
    assert_eq!(ended.answers.len(), expected.len());
    assert_eq!(ended.summary()["bad_lines"], 101);
    let told = ended.events("bad-line");
    assert_eq!(told.len(), 10 + 3, "the first, then at 16, 32 and 64");
    assert_eq!((&told[0]["line"], &told[0]["count"]), (&2.into(), &1.into()));
    assert!(told.iter().all(|event| event["reason"].is_string()));
    let table = "t,x,y\n0,1\n1,2,3,4\n2,\"open,1\n3,1,2\n";
    let ended = answered(at, &ALL, table);
    assert_eq!((&ended.summary()["bad_lines"], &ended.summary()["rows"]), (&3.into(), &1.into()));
}

#[test]
fn a_missing_value_is_bad_input_until_it_has_left_the_window() {
    let folder = with_model(JOB);
    let text = good(0, 25) + "{\"t\":25,\"x\":null,\"y\":1}\n" + &good(26, 100);
    let ended = answered(folder.path(), &ALL, &text);
    let found: Vec<(&str, Vec<&str>)> = ended
        .answers
        .iter()
        .map(|answer| (answer["status"].as_str().expect("a status"), names(answer)))
        .collect();
    let mut expected = vec![("ok", vec![]); 9];
    // Windows of rows 10 to 29 and 20 to 39.
    expected[1] = ("bad-input", vec!["missing"]);
    expected[2] = ("bad-input", vec!["missing"]);
    assert_eq!(found, expected);
    assert!(ended.answers[1]["answer"].is_null() && ended.answers[1]["p"].is_null());
    // A step that fills it in makes an answer of it.
    let steps = "step = \"impute\"\nmethod = \"previous\"\n[[preprocess]]\nstep = \"z-score\"";
    let folder = with_model(&JOB.replace("step = \"z-score\"", steps));
    let ended = answered(folder.path(), &ALL, &text);
    assert_eq!(ended.counts(), [("ok".to_owned(), 9)].into());
    assert_eq!(names(&ended.answers[1]), ["missing"]);
}

#[test]
fn a_channel_that_stands_still_is_named() {
    let folder = with_model(JOB);
    let row = |t: u32| format!("{{\"t\":{t},\"x\":0.25,\"y\":{t}}}\n");
    let stuck = (30..60).map(row).collect::<Vec<_>>().concat();
    let ended = answered(folder.path(), &ALL, &(good(0, 30) + &stuck + &good(60, 100)));
    let stuck: Vec<bool> = ended.answers.iter().map(|a| names(a) == ["stuck"]).collect();
    assert_eq!(stuck, [false, false, false, true, true, false, false, false, false]);
}

#[test]
fn behind_a_gap_or_a_step_backwards_a_series_begins_again() {
    let folder = with_model(JOB);
    let at = folder.path();
    for (from, name) in [(100, "gap"), (3, "backwards")] {
        let text = good(0, 35) + &good(from, from + 35);
        let ended = answered(at, &LIVE, &text);
        let of: Vec<(u64, Vec<&str>)> =
            ended.answers.iter().map(|a| (a["t"].as_u64().expect("a time"), names(a))).collect();
        let from = u64::from(from);
        let expected = [(19, vec![]), (29, vec![]), (from + 19, vec![name]), (from + 29, vec![])];
        assert_eq!(of, expected);
        let told = ended.events("time");
        assert_eq!((told.len(), &told[0]["what"]), (1, &name.into()));
        assert_eq!(told[0]["line"], 36);
    }
    // As a file is read, time that jumps ahead is no reason to begin again.
    let ended = answered(at, &ALL, &(good(0, 35) + &good(100, 135)));
    let named: Vec<_> = ended.answers.iter().map(names).collect();
    assert_eq!(named, [vec![], vec![], vec!["gap"], vec!["gap"], vec![], vec![]]);
    let off = [&LIVE[..], &["--gap", "off"]].concat();
    assert_eq!(answered(at, &off, &(good(0, 35) + &good(100, 135))).answers.len(), 6);
    // Rows that come too slowly, but not so slowly that it is a gap.
    let slow: String = (0..60).map(|i| row(40 + 2 * i)).collect();
    let ended = answered(at, &LIVE, &(good(0, 40) + &slow));
    assert_eq!(ended.answers.iter().filter(|a| names(a) == ["rate"]).count(), 6);
}

#[test]
fn more_series_than_are_kept_end_the_one_that_was_silent_longest() {
    let folder = with_model(JOB);
    let mut text = String::new();
    for series in 0..1100 {
        for t in 0..20 {
            let row = row(t + series);
            text += &row.replacen('{', &format!("{{\"series\":{series},"), 1);
        }
    }
    let ended = answered(folder.path(), &ALL, &text);
    assert_eq!(ended.counts(), [("ok".to_owned(), 1100)].into());
    assert_eq!(ended.summary()["series"], 1024);
    assert_eq!(ended.answers[1099]["series"], "1099");
}

#[test]
fn names_and_reasons_are_no_longer_than_people_read() {
    let folder = with_model(JOB);
    let long = "é".repeat(400_000);
    let mut text = good(0, 20);
    text += &format!("{{\"series\":\"{long}\",\"t\":0,\"x\":1,\"y\":1}}\n");
    text += &format!("{{\"x\":\"{long}\"}}\n");
    text += &format!("{{\"label\":\"{long}\",\"id\":0}}\n");
    text += &format!("{{\"label\":\"a\",\"series\":\"{long}\",\"from\":0,\"to\":1}}\n");
    // A row that also has the keys of a label is a row.
    text += "{\"label\":\"slow\",\"id\":3,\"t\":20,\"x\":1,\"y\":1}\n";
    let ended = answered(folder.path(), &ALL, &text);
    let told = ended.events("bad-line");
    assert_eq!((told.len(), &ended.summary()["rows"]), (4, &21.into()));
    for event in told {
        assert!(event.to_string().len() < 2000, "{event}");
    }
    assert_eq!(ended.summary()["labels_lost"], 0);
}

/// Signs that mean something to files, metrics, terminals or JSON are only a name.
#[test]
fn series_may_be_called_as_they_like() {
    let folder = with_model(JOB);
    let names =
        ["a\"b", "../x/y", "new\nline", "{b=\"1\"}", "\u{1b}[31m", "+/#", "null", " ", "\u{202e}x"];
    let mut text = String::new();
    for name in names {
        let name = serde_json::to_string(name).expect("JSON");
        text += &good(0, 20).replace('{', &format!("{{\"series\":{name},"));
    }
    let ended = answered(folder.path(), &ALL, &text);
    let found: Vec<&str> =
        ended.answers.iter().map(|answer| answer["series"].as_str().expect("a name")).collect();
    assert_eq!(found, names);
    assert_eq!(ended.counts(), [("ok".to_owned(), names.len() as u64)].into());
}

#[test]
fn times_that_are_none_or_jump_end_nothing() {
    let folder = with_model(JOB);
    let at = folder.path();
    let of = |t: &str| format!("{{\"t\":{t},\"x\":0.5,\"y\":1}}\n");
    let jumps = ["1e300", "-1e300", "0", "1e18", "null", "-0.0", "253402300800", "5"];
    let text: String = (0..20).flat_map(|_| jumps).map(of).collect();
    for args in [&ALL[..], &LIVE[..], &[&LIVE[..], &["--stale", "1s"]].concat()[..]] {
        let ended = answered(at, args, &(good(0, 30) + &text + &good(0, 30)));
        assert_eq!(ended.summary()["rows"], 30 + 160 + 30, "{args:?}");
        let _ = ended.counts();
    }
    let row = |value: &&str| format!("{value},{value},1\n");
    let values = ["inf", "nan", "-inf", "1e999", "1"];
    let table: String = values.iter().cycle().take(95).map(row).collect();
    let ended = answered(at, &ALL, &(String::from("t,x,y\n") + &table));
    assert_eq!(ended.counts().get("ok"), None, "{:?}", ended.answers.first());
}
