//! `preprocess describe` reads what it can of data that training refuses as it stands, and says what a job
//! has to say.

use std::fs;
use std::path::Path;

use edgectl::data::{DataConfig, Dataset, Described, Understood};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{edgectl, fails, json as run_json, ok};

/// A folder with such files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }
    folder
}

fn described(at: &Path) -> Described {
    Described::read(&[at.to_owned()], &DataConfig::default()).expect("described")
}

/// The only set of a file, whose training is refused with `reason`.
#[track_caller]
fn only(text: &str, reason: &str) -> Understood {
    let folder = folder(&[("d.csv", text)]);
    let refused = Dataset::read(&[folder.path().to_owned()], &DataConfig::default(), None);
    let refused = format!("{:#}", refused.expect_err("training refuses it"));
    assert!(refused.contains(reason), "{refused}");
    let mut sets = described(folder.path()).sets;
    assert_eq!(sets.len(), 1);
    sets.swap_remove(0)
}

#[track_caller]
fn warns(found: &[String], parts: &[&str]) {
    let fits = |warning: &String| parts.iter().all(|part| warning.contains(part));
    assert_eq!(found.iter().filter(|warning| fits(warning)).count(), 1, "{parts:?} in {found:#?}");
}

/// As the air of a city by the hour, with the wind as text.
#[test]
fn columns_of_text_are_counted_and_passed_over() {
    let text = "year,month,day,hour,pm2.5,cbwd,Iws,split\n\
                2011,1,1,0,NA,NW,1.79,train\n2011,1,1,1,129,cv,0.89,train\n\
                2011,1,1,2,148,NW,4.9,test\n";
    let found = only(text, "line 2, column \"cbwd\": expected a number, found \"NW\"");
    assert_eq!(found.texts.len(), 1);
    let cbwd = &found.texts[0];
    assert_eq!((&cbwd.name[..], cbwd.values, cbwd.and_more), ("cbwd", 2, false));
    assert_eq!(cbwd.some, ["NW", "cv"]);
    assert!(found.lines().contains(&"text, passed over: cbwd (2 values: NW, cv)".to_owned()));
    warns(&found.warnings, &["\"cbwd\" hold text", "data.series", "data.ignore"]);
    warns(&found.warnings, &["year, month, day", "together they are a time"]);
    warns(&found.warnings, &["sample of one channel", "data.format = \"long\""]);
    assert_eq!((found.split.train.series, found.split.test.series), (2, 1));
    // One bad cell among numbers is no text.
    let folder = folder(&[("d.csv", "t,x\n0,1\n1,x1\n2,3\n")]);
    fails(
        folder.path(),
        &["preprocess", "describe", "--data", "d.csv"],
        &["d.csv: line 3, column \"x\": expected a number, found \"x1\""],
    );
}

/// As a forecast has them: rows to validate on, and rows between.
#[test]
fn cells_that_are_neither_train_nor_test_are_counted() {
    let text = "t,value,split\n0,1,train\n1,2,val\n2,3,val\n3,4,gap\n4,5,test\n";
    let found = only(text, "expected \"train\", \"test\" or \"unmarked\", found \"val\"");
    let cells: Vec<(&str, usize)> =
        found.unknown_splits.iter().map(|found| (&found.cell[..], found.rows)).collect();
    assert_eq!(cells, [("gap", 1), ("val", 2)]);
    assert_eq!(
        (found.split.train.steps, found.split.test.steps, found.split.unmarked.steps),
        (1, 1, 3)
    );
    warns(
        &found.warnings,
        &["\"gap\" in 1 rows", "\"val\" in 2 rows", "column = \"split\", test = "],
    );
}

/// As tracks of people: a time for each, one track behind the other.
#[test]
fn times_that_run_backwards_are_counted_with_the_column_that_separates_them() {
    let row = |i: usize| format!("{},{},{},{}\n", i / 4, 40 * (i % 4), i * 7 % 5, i % 3);
    let rows: String = (0..40).map(row).collect();
    let found = only(&format!("track,t,x,y\n{rows}"), "line 6, column \"t\": time runs backwards");
    assert_eq!((found.backward_times, found.steps), (9, 40));
    warns(&found.warnings, &["line 6: time runs backwards", "9 rows", "which track seems to do"]);
}

/// As a car that has sensors at their own rates, each in a file.
#[test]
fn files_with_other_channels_are_sets_of_their_own() {
    let at = folder(&[
        ("trip_1_gnss.csv", "t_s,vn,ve\n0,1,2\n1,2,3\n"),
        ("trip_1_imu.csv", "t_s,ax,ay\n0,1,2\n0.02,2,3\n0.04,1,1\n"),
        ("trip_2_gnss.csv", "t_s,vn,ve\n0,1,2\n1,2,5\n"),
        ("weights.csv", "1,0,0.5\n0,1,0.25\n"),
    ]);
    let found = described(at.path());
    let sets: Vec<(usize, &str, usize, Option<f64>)> = found
        .sets
        .iter()
        .map(|set| (set.read[0].files, &set.channels[0].name[..], set.steps, set.rate_hz))
        .collect();
    assert_eq!(sets, [(2, "vn", 4, Some(1.0)), (1, "ax", 3, Some(50.0))]);
    assert_eq!(found.unread.len(), 1);
    assert!(found.unread[0].reason.contains("the first line holds numbers only"), "{found:?}");
    let report = run_json(at.path(), &["preprocess", "describe", "--data", "."]);
    assert_eq!(report["steps"], 4);
    assert_eq!(report["other_sets"][0]["steps"], 3);
    assert_eq!(report["unread"][0]["file"], "./weights.csv");
    let text = ok(at.path(), &["preprocess", "describe", "--data", "."]);
    assert!(
        text.contains("2 sets of files with different channels") && text.contains("set 2 of 2"),
        "{text}"
    );
    fails(
        at.path(),
        &["preprocess", "describe", "--data", "weights.csv"],
        &["weights.csv: the first line holds numbers only"],
    );
}

/// As a benchmark of streams: groups of series in folders, labels in another format.
#[test]
fn folders_below_one_without_data_are_described_and_told_of() {
    let series = "timestamp,value\n2015-02-26 21:42:53,35\n2015-02-26 21:47:53,41\n";
    let at = folder(&[
        ("data/a/x.csv", series),
        ("data/b/y.csv", series),
        ("labels/windows.json", "{}"),
        ("README.md", "series"),
    ]);
    let found = described(at.path());
    assert_eq!(
        (found.sets.len(), found.sets[0].read[0].files, found.sets[0].rate_hz),
        (1, 2, Some(1.0 / 300.0))
    );
    warns(
        &found.remarks,
        &["no data files in the folder itself", "only folders and files that are named"],
    );
    warns(&found.remarks, &["labels: windows.json not read", "*.json"]);

    let at = folder(&[("labels.csv", "t,x\n0,1\n"), ("clips/a.csv", series)]);
    let found = described(at.path());
    assert_eq!(found.sets.len(), 1);
    warns(&found.remarks, &["read without the folders in it that hold data: clips"]);
    let at = folder(&[("README.md", "")]);
    let nothing = Described::read(&[at.path().to_owned()], &DataConfig::default());
    assert!(nothing.expect_err("no data").to_string().contains("no data files"));
}

/// As a week of road sensors: minutes, and a column for each sensor, called by its number.
#[test]
fn minutes_are_times() {
    let name = |i: u32| format!(",{}", 767_541 + i * 17);
    let names: String = (0..30).map(name).collect();
    let row = |i: u32| format!("{}{}\n", 5 * i, ",64.4".repeat(30));
    let rows: String = (0..4).map(row).collect();
    let at = folder(&[("speed.csv", &format!("t_min{names}\n{rows}"))]);
    let found = described(at.path()).sets.swap_remove(0);
    assert_eq!((found.channels.len(), found.series, found.steps), (30, 1, 4));
    assert_eq!(found.times.expect("times").step, Some(300.0));
}

#[test]
fn what_training_reads_is_described_alike() {
    let text = "series,t,label,split,x\n1,0,a,train,1\n1,1,a,train,2\n2,0,b,test,3\n";
    let at = folder(&[("a.csv", text), ("b.csv", text)]);
    let paths = [at.path().to_owned()];
    let found = described(at.path());
    let data = Dataset::read(&paths, &DataConfig::default(), None).expect("read");
    assert_eq!(found.sets, [Understood::of(&data)]);
    assert_eq!((found.unread.len(), found.warnings().len()), (0, 0));
}

#[test]
fn a_picture_shows_the_channels_and_the_classes() {
    let row = |i: u32| {
        let x = (f64::from(i) / 3.0).sin();
        format!(
            "{},{},{x},{}\n",
            f64::from(i) / 50.0,
            ["up", "down <&>"][i as usize / 150],
            i * 7 % 11
        )
    };
    let rows: String = (0..300).map(row).collect();
    let at = folder(&[
        ("d.csv", &format!("t_s,label,swing,noise & co\n{rows}")[..]),
        (
            "job.toml",
            "preprocess = [{ step = \"moving-average\", len = 5 }, { step = \"z-score\" }]\n\
                      model = { d_model = 8, n_heads = 2, n_layers = 1, d_ff = 16 }\n",
        ),
    ]);
    let describe = ["preprocess", "describe", "--data", "d.csv"];
    let report = run_json(at.path(), &[&describe[..], &["--plot", "raw.svg"]].concat());
    assert_eq!(report["plot"], json!("raw.svg"));
    ok(at.path(), &[&describe[..], &["--config", "job.toml", "--plot", "both.svg"]].concat());
    for (name, parts) in [
        (
            "raw.svg",
            &[
                "swing, raw",
                "noise &amp; co, raw",
                "spectrum",
                "rows of each class",
                "down &lt;&amp;&gt;",
                "Hz",
            ][..],
        ),
        ("both.svg", &["swing, raw", "swing, cleaned", "cleaned: dashed", "raw: solid", "seconds"]),
    ] {
        let text = fs::read_to_string(at.path().join(name)).expect("a picture");
        assert!(text.starts_with("<svg") || text.starts_with("<?xml"), "{text}");
        check_xml(&text);
        for part in parts {
            assert!(text.contains(part), "{name}: {part} is missing");
        }
    }
    fails(
        at.path(),
        &[&describe[..], &["--plot", "x.pdf"]].concat(),
        &["x.pdf: pictures are written as SVG or PNG"],
    );
    ok(at.path(), &[&describe[..], &["--config", "job.toml", "--plot", "x.png"]].concat());
    let bytes = fs::read(at.path().join("x.png")).expect("a picture");
    // Three panels side by side, two channels and the classes below each other.
    assert_eq!(bytes[..8], *b"\x89PNG\r\n\x1a\n");
    let width = u32::from_be_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]);
    assert!(width == 3 * 420 && bytes.len() > 5000, "{width}, {}", bytes.len());
    fails(at.path(), &[&describe[..], &["--plot", "none/x.svg"]].concat(), &["none"]);
    let output =
        edgectl(at.path(), &["preprocess", "describe", "--data", "job.toml", "--plot", "y.svg"]);
    assert!(!{ output }.output().expect("it runs").status.success());
    assert!(!at.path().join("y.svg").exists());
}

/// Every element that opens closes, in order, and no bare sign stands in a text.
#[track_caller]
fn check_xml(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text.trim();
    while let Some(start) = rest.find('<') {
        for (at, _) in rest[..start].match_indices('&') {
            let entity = &rest[at..start];
            let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&apos;", "&#"];
            assert!(known.iter().any(|known| entity.starts_with(known)), "{entity}");
        }
        assert!(!rest[..start].contains('>'), "{}", &rest[..start]);
        let end = rest[start..].find('>').expect("a closed tag") + start;
        let tag = &rest[start + 1..end];
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().expect("a name");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') && !tag.starts_with(['?', '!']) {
            open.push(name);
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
}

/// `preprocess windows` writes what training and the test see.
#[test]
fn windows_are_written_for_other_programs() {
    let row = |i: usize| {
        let (split, label) = (if i < 30 { "train" } else { "test" }, ["a", "b"][i / 5 % 2]);
        format!("{},{label},{split},{},{}\n", i as f64 / 10.0, i, 2 * i)
    };
    let rows: String = (0..40).map(row).collect();
    let at = folder(&[
        ("d.csv", &format!("t_s,label,split,x,y\n{rows}")[..]),
        ("job.toml", "preprocess = []\nwindow = { len = 5 }\n"),
        ("none.toml", "window = { len = 6, stride = 10, label = \"pure\" }\n"),
    ]);
    let windows = ["preprocess", "windows", "--data", "d.csv", "--config"];
    let report = run_json(at.path(), &[&windows[..], &["job.toml", "--out", "w"]].concat());
    assert_eq!(
        [&report["train"], &report["test"], &report["steps"]],
        [&json!(6), &json!(2), &json!(5)]
    );
    let file = aggregate::WeightFile::open(at.path().join("w")).expect("a weight file");
    let values = |name: &str| {
        let mut all = Vec::new();
        file.visit_f64(name, |part| all.extend_from_slice(part)).expect("read");
        all
    };
    assert_eq!(file.tensor("train.x").expect("there").shape, [6, 5, 2]);
    assert_eq!(values("train.x")[..4], [0.0, 0.0, 1.0, 2.0]);
    assert_eq!(values("test.x")[..4], [30.0, 60.0, 31.0, 62.0]);
    assert_eq!(file.metadata()["classes"], "[\"a\",\"b\"]");
    let bytes = fs::read(at.path().join("d.csv")).expect("there");
    fails(at.path(), &[&windows[..], &["job.toml", "--out", "d.csv"]].concat(), &["d.csv"]);
    assert_eq!(fs::read(at.path().join("d.csv")).expect("there"), bytes);
    fails(at.path(), &[&windows[..], &["none.toml", "--out", "n"]].concat(), &["label"]);
    assert!(!at.path().join("n").exists());
}

/// What is read beside a data file is no output either.
#[test]
fn a_joined_table_is_not_replaced() {
    let at = folder(&[
        ("a_imu.csv", "t_s,label,x\n0,a,1\n1,b,2\n"),
        ("a_gps.csv", "t_s,speed\n0,1\n1,2\n"),
        ("job.toml", "data = { join = [{ path = \"{prefix}_gps.csv\" }] }\n"),
    ]);
    for command in [["preprocess", "apply"], ["preprocess", "windows"]] {
        let args = ["--config", "job.toml", "--data", "a_imu.csv", "--out", "a_gps.csv"];
        fails(at.path(), &[&command[..], &args].concat(), &["a_gps.csv"]);
    }
    let kept = fs::read_to_string(at.path().join("a_gps.csv")).expect("there");
    assert!(kept.starts_with("t_s,speed"), "{kept}");
}

/// A rate is a positive number, and that of the data.
#[test]
fn a_rate_that_cannot_be_is_refused_and_one_that_the_data_contradicts_is_told() {
    let row = |i: i32| format!("{},{},{i}\n", f64::from(i) / 10.0, i % 2);
    let rows: String = (0..40).map(row).collect();
    let job = |hz: &str| format!("data = {{ sample_rate_hz = {hz} }}\nwindow = {{ len = 4 }}\n");
    let at = folder(&[("d.csv", &format!("t_s,label,x\n{rows}")[..])]);
    let init = ["init", "--config", "job.toml", "--data", "d.csv", "--out", "m"];
    for hz in ["-5.0", "0", "inf", "nan"] {
        fs::write(at.path().join("job.toml"), job(hz)).expect("written");
        fails(at.path(), &init, &["sample_rate_hz"]);
        assert!(!at.path().join("m").exists(), "{hz}");
    }
    for (hz, told) in [("50.0", true), ("10.0", false)] {
        fs::write(at.path().join("job.toml"), job(hz)).expect("written");
        let warnings = run_json(at.path(), &init)["warnings"].to_string();
        assert_eq!(warnings.contains("the job says 50 rows a second"), told, "{warnings}");
    }
}
