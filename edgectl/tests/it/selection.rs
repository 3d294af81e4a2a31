//! `[data]` chooses columns, rows and what they are for; what it chose is shown, and what nobody said is
//! warned of.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use edgectl::data::{DataConfig, Dataset, Expected, Labels, Split, Understood};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{JOB, edgectl, fails, ok, table};

/// A folder with files, and their data set by a `[data]` section. What is counted in passing is the same.
fn read(files: &[(&str, &str)], config: &str) -> (TempDir, Result<Dataset, String>) {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("written");
    }
    let config: DataConfig = toml::from_str(config).expect("a section");
    let paths = [folder.path().to_owned()];
    let found = Dataset::read(&paths, &config, None).map_err(|error| format!("{error:#}"));
    if let Ok(data) = &found {
        let counted = Understood::read(&paths, &config).expect("it reads");
        assert_eq!(counted, Understood::of(data));
    }
    (folder, found)
}

fn data(files: &[(&str, &str)], config: &str) -> Dataset {
    read(files, config).1.expect("it reads")
}

fn error(files: &[(&str, &str)], config: &str) -> String {
    read(files, config).1.expect_err(config)
}

/// Series, split and values of every segment.
fn segments(data: &Dataset) -> Vec<(&str, Split, &[f64])> {
    data.segments.iter().map(|s| (&s.series[..], s.split, &s.values[..])).collect()
}

/// A line that is shown, by its beginning or what is in it.
fn shown(data: &Dataset, what: &str) -> String {
    let lines = Understood::of(data).lines();
    lines
        .iter()
        .find(|line| line.contains(what))
        .unwrap_or_else(|| panic!("{what}: {lines:?}"))
        .clone()
}

fn warnings(data: &Dataset) -> Vec<String> {
    Understood::of(data).warnings
}

#[test]
fn columns_are_chosen_by_range_and_pattern_and_ignored_ones_are_nothing() {
    // A day of hours, with notes that are no numbers.
    let header: String = (0..24).map(|h| format!("h{h:02},")).collect::<Vec<_>>().concat();
    let row = |v: usize| (0..24).map(|h| format!("{},", v + h)).collect::<Vec<_>>().concat();
    let text = format!(
        "date,{header}holiday,note_a,note_b\n2020-01-01,{}1,fog,x\n2020-01-02,{}0,,y\n",
        row(0),
        row(100)
    );
    let files = [("load.csv", &text[..])];
    let chosen = "format = \"long\"\nchannels = [\"holiday\", \"h0?\", \"h10..h12\"]";
    let found = data(&files, chosen);
    assert_eq!(found.channels.len(), 14);
    assert_eq!((&found.channels[0][..], &found.channels[11][..]), ("holiday", "h10"));
    assert_eq!(found.segments[0].values[..3], [1.0, 0.0, 1.0]);
    let ignored = data(&files, "format = \"long\"\nignore = [\"note*\", \"holiday\"]");
    assert_eq!(ignored.channels.len(), 24);
    assert!(shown(&ignored, "read as").ends_with("; ignored: note_a, note_b, holiday"));
    let both = data(&files, "format = \"long\"\nchannels = [\"h*\"]\nignore = [\"h1*\", \"h2*\"]");
    assert_eq!(both.channels.len(), 11, "h00 to h09 and holiday");
    for (config, says) in [
        ("channels = [\"h00..h24\"]", "no column \"h24\": data.channels lists it in \"h00..h24\""),
        ("ignore = [\"nota*\"]", "no column matches \"nota*\", which data.ignore lists"),
        ("ignore = [\"date\"]\ntime = \"date\"", "which data.ignore lists"),
        ("channels = [\"h00\"]\nignore = [\"h00\"]", "data.channels and data.ignore list \"h00\""),
    ] {
        let error = error(&files, &format!("format = \"long\"\n{config}"));
        assert!(error.contains(says), "{config}: {error}");
    }
}

#[test]
fn a_model_reads_the_names_that_its_patterns_had() {
    let config: DataConfig =
        toml::from_str("channels = [\"a*\"]\nignore = [\"note\"]").expect("a section");
    let model =
        data(&[("x.csv", "t,ax,ay,note\n0,1,2,n\n")], "channels = [\"a*\"]\nignore = [\"note\"]");
    let (folder, _) = read(&[("y.csv", "t,ay,az,ax\n0,2,3,1\n")], "");
    let expected = Expected { channels: &model.channels, classes: &[] };
    let found =
        Dataset::read(&[folder.path().to_owned()], &config, Some(expected)).expect("it reads");
    assert_eq!((&found.channels, &found.segments[0].values), (&model.channels, &vec![1.0, 2.0]));
}

#[test]
fn rows_are_chosen_by_their_cells() {
    let text = "t,label,valid,x\n0,walk,1,10\n1,swim,1,11\n2,run,0,12\n3,run,1.0,13\n4,,1,14\n";
    let found = data(&[("x.csv", text)], "where = { label = [\"walk\", \"run\"], valid = 1 }");
    assert_eq!(segments(&found), [("x", Split::Unmarked, &[10.0, 13.0][..])]);
    assert_eq!(found.classes, ["run", "walk"]);
    assert_eq!((&found.channels[..], found.readings[0].not_wanted), (&["x".to_owned()][..], 3));
    assert!(shown(&found, "read as").contains("; only rows where label is walk, run, valid is 1"));
    shown(&found, "3 rows are left out by data.where");
    // A condition on a channel is one on numbers; times that are left out do not count.
    let text = "t,x\n0,1\n9,5\n1,1.0\n";
    let found = data(&[("x.csv", text)], "where = { x = [\"1\"] }\nchannels = [\"x\"]");
    assert_eq!(found.segments[0].values, [1.0, 1.0]);
    // Of wide tables samples are left out, and keep the numbers of their rows.
    let found =
        data(&[("x.csv", "ok,label,p0,p1\nno,a,1,2\nyes,b,3,4\n")], "where = { ok = \"yes\" }");
    assert_eq!(segments(&found), [("2", Split::Unmarked, &[3.0, 4.0][..])]);
    let missing = error(&[("x.csv", text)], "where = { y = 1 }");
    assert!(missing.contains("x.csv: no column \"y\": data.where names it"), "{missing}");
    let none = error(&[("x.csv", text)], "where = { x = 7 }\nchannels = [\"x\"]");
    assert!(none.contains("no row is left: none has the cells that data.where asks for"), "{none}");
    let samples =
        error(&[("x.ts", "@classLabel true a\n@data\n1,2:a\n")], "where = { label = \"a\" }");
    assert!(samples.contains("this is no table"), "{samples}");
}

#[test]
fn files_and_folders_are_marked_by_their_names() {
    let rows = "t,x\n0,1\n";
    let found = data(&[("test_a.csv", rows), ("train_b.csv", rows), ("c.csv", rows)], "");
    let splits: Vec<_> =
        segments(&found).iter().map(|&(series, split, _)| (series, split)).collect();
    assert_eq!(splits, [("c", Split::Unmarked), ("a", Split::Test), ("b", Split::Train)]);
    assert_eq!(
        shown(&found, "split by"),
        "split by the names of files: 1 steps in 1 runs to train on, 1 steps in 1 runs for the test, 1 \
         steps in 1 runs unmarked"
    );
    let found = data(&[("train/a.csv", rows), ("test/a.csv", rows), ("test/b.csv", rows)], "");
    assert_eq!(found.nodes().len(), 2, "of a file in both folders one");
    let split = Understood::of(&found).split;
    assert_eq!((split.train.series, split.test.series, split.by.len()), (1, 2, 1));
    // What the job says goes before names.
    let found = data(&[("test_a.csv", rows)], "split = { after = 5.0 }");
    assert_eq!(segments(&found)[0].1, Split::Train);
}

#[test]
fn cells_of_any_column_say_the_split() {
    use Split::{Test, Train, Unmarked};
    let text = "series,fold,x\na,0,1\nb,4,2\nc,4.0,3\nd,,4\n";
    let splits = |config: &str| -> Vec<Split> {
        segments(&data(&[("x.csv", text)], config)).iter().map(|segment| segment.1).collect()
    };
    let by_fold = "split = { column = \"fold\", test = [\"4\"] }";
    assert_eq!(splits(by_fold), [Train, Test, Test, Unmarked]);
    let both = "split = { column = \"fold\", test = [\"0\"], train = [\"4\"] }";
    assert_eq!(splits(both), [Test, Train, Train], "others are left out");
    shown(&data(&[("x.csv", text)], by_fold), "split by the column \"fold\" (test: 4): 1 steps");
    let other = [("x.csv", "split,x\ntrain,1\nval,2\n")];
    let error = error(&other, "format = \"long\"");
    assert!(
        error.contains("found \"val\"")
            && error
                .contains("split = { column = \"split\", test = [\"test\"], train = [\"train\"] }"),
        "{error}"
    );
    let mapped = "format = \"long\"\nsplit = { column = \"split\", test = [\"test\", \"val\"] }";
    assert_eq!(segments(&data(&other, mapped))[1].1, Test);
    let none = data(&[("x.csv", text)], "split = { column = \"fold\", test = [\"9\"] }");
    assert!(warnings(&none)[0].contains("leaves no row for the test"), "{:?}", warnings(&none));
}

#[test]
fn a_share_of_the_series_is_chosen_whatever_else_there_is() {
    let rows = |series: std::ops::Range<usize>| {
        let row = |s: usize| format!("s{s},{s},0\ns{s},{s},1\n");
        format!("series,x,y\n{}", series.map(row).collect::<String>())
    };
    let tests = |text: &str, config: &str| -> Vec<String> {
        let found = data(&[("x.csv", text)], config);
        let tests = segments(&found).into_iter().filter(|segment| segment.1 == Split::Test);
        tests.map(|segment| segment.0.to_owned()).collect()
    };
    let config = "split = { fraction = 0.3 }";
    let few = tests(&rows(0..40), config);
    assert!((4..20).contains(&few.len()), "{few:?}");
    let many = tests(&rows(0..80), config);
    assert_eq!(many[..few.len()], few, "those that were there stay where they were");
    assert_eq!(few, tests(&rows(0..40), config));
    assert_ne!(few, tests(&rows(0..40), "split = { fraction = 0.3, seed = 1 }"));
    // Samples of wide tables and of .ts files are series.
    let wide: String = (0..50).map(|i| format!("{},a\n", i % 7)).collect::<Vec<_>>().concat();
    let wide = tests(&format!("p0,label\n{wide}"), config);
    let ts: String = (0..50).map(|i| format!("{}:a\n", i % 7)).collect::<Vec<_>>().concat();
    let ts = data(&[("x.ts", &format!("@classLabel true a\n@data\n{ts}"))], config);
    assert_eq!(ts.segments.iter().filter(|s| s.split == Split::Test).count(), wide.len());
    assert!((6..25).contains(&wide.len()), "{wide:?}");
}

#[test]
fn the_last_rows_of_every_series_or_those_from_a_time_on_are_for_the_test() {
    // Two series by turns, with an empty line between.
    let text = "series,t_s,label,x\na,0,u,0\nb,0,u,10\na,60,u,1\n\nb,60,u,11\na,120,v,2\nb,120,v,12\na,180,v,3\n";
    let by_rows = data(&[("x.csv", text)], "split = { fraction = 0.25, by = \"rows\" }");
    assert_eq!(
        segments(&by_rows),
        [
            ("a", Split::Train, &[0., 1., 2.][..]),
            ("a", Split::Test, &[3.][..]),
            ("b", Split::Train, &[10., 11.][..]),
            ("b", Split::Test, &[12.][..]),
        ]
    );
    let lines: Vec<usize> = by_rows.segments.iter().map(|segment| segment.first_line).collect();
    assert_eq!(lines, [2, 9, 3, 8]);
    let label = |name: &str| {
        by_rows.classes.iter().position(|class| class == name).expect("a class") as u32
    };
    assert_eq!(by_rows.segments[1].labels, Labels::One(label("v")));
    assert_eq!(by_rows.segments[2].labels, Labels::One(label("u")));
    assert_eq!(by_rows.segments[3].times.as_deref(), Some(&[120.0][..]));
    shown(&by_rows, "split by the order of rows: the last 0.25 of every series: 5 steps in 2 runs");
    let by_time = data(&[("x.csv", text)], "split = { after = 120.0 }");
    assert_eq!(
        segments(&by_time).iter().map(|s| (s.0, s.1, s.2.len())).collect::<Vec<_>>(),
        [
            ("a", Split::Train, 2),
            ("a", Split::Test, 2),
            ("b", Split::Train, 2),
            ("b", Split::Test, 1)
        ]
    );
    let dates = [("x.csv", "date,x\n2017-12-31 23:59,1\n2018-01-01,2\n")];
    let found = data(&dates, "split = { after = \"2018-01-01\" }");
    assert_eq!((segments(&found)[0].1, segments(&found)[1].1), (Split::Train, Split::Test));
    let never = data(&dates, "split = { after = \"2019-01-01\" }");
    assert!(warnings(&never)[0].contains("by time: from 2019-01-01 on leaves no row for the test"));
    for (files, config, says) in [
        (dates, "split = { after = 3.0 }", "rows from 3 on, but the time is a date"),
        ([("x.csv", "series,x\n1,2\n")], "split = { after = 3.0 }", "there is no time column"),
        ([("x.csv", "p0,p1\n1,2\n")], "split = { after = 3.0 }", "its rows have no times"),
        (
            [("x.csv", "p0,p1\n1,2\n")],
            "split = { fraction = 0.5, by = \"rows\" }",
            "by = \"series\"",
        ),
        (
            [("x.ts", "@data\n1,2\n")],
            "split = { fraction = 0.5, by = \"rows\" }",
            "fits long tables only",
        ),
    ] {
        let error = error(&files, config);
        assert!(error.contains(says), "{config}: {error}");
    }
}

#[test]
fn several_columns_name_a_series() {
    let text = "subject,trial,t,x\ns1,1,0,1\ns1,2,0,2\ns2,1,0,3\ns1,1,1,4\n";
    let found = data(&[("x.csv", text)], "series = [\"subject\", \"trial\"]");
    let unmarked = Split::Unmarked;
    assert_eq!(
        segments(&found),
        [
            ("s1/1", unmarked, &[1., 4.][..]),
            ("s1/2", unmarked, &[2.][..]),
            ("s2/1", unmarked, &[3.][..])
        ]
    );
    shown(&found, "series from \"subject/trial\"");
    // The sign between them in a cell makes no two series one.
    let text = "a,b,x\n1/2,3,1\n1,2/3,2\n";
    let found = data(&[("x.csv", text)], "series = [\"a\", \"b\"]");
    assert_eq!(found.segments.len(), 2);
    let empty = error(&[("x.csv", "a,b,x\n1,,1\n")], "series = [\"a\", \"b\"]");
    assert!(empty.contains("line 2, column \"b\": the cell is empty"), "{empty}");
}

#[test]
fn a_column_that_counts_rows_is_no_channel() {
    let text = ",label,p0,p1\n0,a,1,2\n1,b,3,4\n2,a,5,6\n";
    let found = data(&[("x.csv", text)], "");
    assert_eq!(found.segments[0].values, [1.0, 2.0]);
    assert!(shown(&found, "read as").contains("ignored, as it counts the rows: \"\""));
    assert_eq!(warnings(&found).len(), 1);
    assert!(warnings(&found)[0].contains("list it in data.channels if it is a channel"));
    let long = [("x.csv", "t,id,x\n0,7,1\n1,8,2\n")];
    assert_eq!(data(&long, "").channels, ["x"]);
    assert_eq!(data(&long, "channels = [\"id\", \"x\"]").channels, ["id", "x"]);
    assert_eq!(
        data(&[("x.csv", "t,id,x\n0,7,1\n1,7,2\n")], "").channels,
        ["id", "x"],
        "it does not count"
    );
    let expected = ["id".to_owned(), "x".to_owned()];
    let (folder, _) = read(&long, "");
    let expected = Some(Expected { channels: &expected, classes: &[] });
    let found = Dataset::read(&[folder.path().to_owned()], &DataConfig::default(), expected);
    assert_eq!(found.expect("it reads").channels, ["id", "x"], "as a model made before has it");
}

#[test]
fn wide_rows_are_laid_out_by_names() {
    let shuffled = [("x.csv", "a1,b0,label,a0,b1,a2,b2\n1,10,u,0,11,2,12\n")];
    let found = data(&shuffled, "");
    assert_eq!(found.channels, ["a", "b"]);
    assert_eq!(found.segments[0].values, [0., 10., 1., 11., 2., 12.]);
    shown(&found, "; channels and steps by the names of columns");
    assert_eq!(data(&shuffled, "wide_order = \"channels-steps\"").channels, ["dim_0"]);
    let config = "wide_channels = 2\nwide_order = \"steps-channels\"";
    let found = data(&[("x.csv", "u,v,w,x\n1,2,3,4\n")], config);
    assert_eq!((found.channels.len(), &found.segments[0].values[..]), (2, &[1., 2., 3., 4.][..]));
    let doubtful = data(&[("x.csv", "a0,a1,a2,b0,b1,b2,b3\n1,2,3,4,5,6,7\n")], "");
    assert_eq!(doubtful.channels, ["dim_0"]);
    assert!(
        warnings(&doubtful)[0].contains("look like several channels"),
        "{:?}",
        warnings(&doubtful)
    );
    // A model that was made when there was one channel of all still reads one.
    let old = ["dim_0".to_owned()];
    let (folder, _) = read(&shuffled, "");
    let expected = Some(Expected { channels: &old, classes: &[] });
    let found = Dataset::read(&[folder.path().to_owned()], &DataConfig::default(), expected);
    assert_eq!(found.expect("it reads").segments[0].values, [1., 10., 0., 11., 2., 12.]);
    // Files in other orders are alike.
    let two = [("x.csv", "a0,b0,a1,b1\n1,2,3,4\n"), ("y.csv", "b1,b0,a1,a0\n4,2,3,1\n")];
    let found = data(&two, "");
    assert_eq!(found.segments[0].values, found.segments[1].values);
    let pixels: String = (0..16).map(|i| format!("p{i},")).collect::<Vec<_>>().concat();
    let values: String = (0..16).map(|i| format!("{i},")).collect::<Vec<_>>().concat();
    let text = format!("{pixels}label\n{values}a\n");
    let found = data(&[("x.csv", &text)], "picture = { width = 4, height = 4, patch = [2, 2] }");
    assert_eq!(found.channels, ["px_0", "px_1", "px_2", "px_3"]);
    assert_eq!(found.segments[0].values[..8], [0., 1., 4., 5., 2., 3., 6., 7.]);
    shown(&found, "; pictures of 4 × 4 pixels in patches of 2 × 2");
}

/// Runs a command with `--json`; its report, and what it says on stderr.
fn run(at: &Path, args: &[&str]) -> (Value, String) {
    let output = edgectl(at, &[args, &["--json"]].concat()).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {stderr}");
    (serde_json::from_slice(&output.stdout).expect("JSON"), stderr)
}

/// A job and a table without a split column, by a name.
fn unmarked(name: &str, job: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("data")).expect("a folder");
    fs::write(folder.path().join("job.toml"), job).expect("written");
    let mut text = String::new();
    for line in table(1).lines() {
        let cells: Vec<&str> = line.split(',').collect();
        let kept = cells.iter().enumerate().filter(|(i, _)| *i != 3).map(|(_, cell)| *cell);
        writeln!(text, "{}", kept.collect::<Vec<_>>().join(",")).expect("written");
    }
    fs::write(folder.path().join("data").join(name), text).expect("written");
    folder
}

#[test]
fn a_test_on_rows_that_nobody_marked_is_warned_of() {
    let folder = unmarked("a.csv", JOB);
    let train = ["train", "--config", "job.toml", "--epochs", "1", "--out", "m.safetensors"];
    let (report, _) = run(folder.path(), &train);
    assert_eq!(report["data"]["split"]["unmarked"]["series"], 4);
    assert!(
        report["warnings"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|w| !w.to_string().contains("mark"))
    );
    let eval = ["eval", "--model", "m.safetensors", "--data", "data"];
    let (report, stderr) = run(folder.path(), &eval);
    let says = "no row is marked for the test: these are all rows, which may be those that were trained on";
    assert_eq!(report["warnings"][0], says);
    assert!(
        stderr.contains(&format!("warning: {says}")) && report["accuracy"].is_number(),
        "{stderr}"
    );
    let (report, stderr) = run(folder.path(), &[&eval[..], &["--all"]].concat());
    assert_eq!(report["warnings"], serde_json::json!([]), "{stderr}");
    let data = folder.path().join("data");
    fs::rename(data.join("a.csv"), data.join("test_a.csv")).expect("renamed");
    assert_eq!(run(folder.path(), &eval).0["warnings"], serde_json::json!([]));
    fails(folder.path(), &train, &["every row is marked for the test (by the names of files)"]);
}

#[test]
fn training_on_a_file_that_is_called_a_test_is_warned_of() {
    let folder = unmarked("testset-1.csv", JOB);
    let train = ["train", "--config", "job.toml", "--epochs", "1", "--out", "m.safetensors"];
    let (report, stderr) = run(folder.path(), &train);
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("testset-1.csv: the file is called as rows for the test are"),
        "{warnings}"
    );
    assert!(stderr.contains("warning: ") && stderr.contains("testset-1.csv"), "{stderr}");
}

#[test]
fn windows_that_are_padded_are_said_to_be() {
    let job = JOB.replace("len = 20", "len = 18");
    let folder = unmarked(
        "a.csv",
        &job.replace("[data]\n", "[data]\nsplit = { fraction = 0.25, by = \"rows\" }\n"),
    );
    let says = "windows of 18 steps are padded with 2 of zeros to 20, as [model] patch_len = 4 does not divide 18";
    for args in [
        &["init", "--config", "job.toml", "--out", "g.safetensors"][..],
        &["train", "--config", "job.toml", "--epochs", "1", "--out", "m.safetensors"],
        &["simulate", "--config", "job.toml", "--rounds", "1", "--epochs", "1", "--out", "run"],
    ] {
        let (report, stderr) = run(folder.path(), args);
        assert!(report["warnings"].to_string().contains(says), "{args:?}: {}", report["warnings"]);
        assert!(stderr.contains(&format!("warning: {says}")), "{stderr}");
    }
    // The checkpoint knows how to split: its test rows are the same ones.
    let (report, _) = run(folder.path(), &["eval", "--model", "m.safetensors", "--data", "data"]);
    assert_eq!((&report["n"], &report["warnings"]), (&4.into(), &serde_json::json!([])));
    ok(folder.path(), &["predict", "--model", "m.safetensors", "--data", "data", "--out", "p.csv"]);
}

#[test]
fn pure_windows_have_one_label() {
    let text = "series,t,label,x\n".to_owned()
        + &(0..40)
            .map(|t| format!("a,{t},{},{}\n", ["u", "v"][t / 10 % 2], t % 3))
            .collect::<Vec<_>>()
            .concat();
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("x.csv"), text).expect("written");
    let job = JOB
        .replace("path = \"data\"", "path = \"x.csv\"")
        .replace("len = 20\nstride = 10", "len = 8\nstride = 4\nlabel = \"pure\"");
    fs::write(folder.path().join("job.toml"), job).expect("written");
    let train = ["train", "--config", "job.toml", "--epochs", "1", "--out", "m.safetensors"];
    let (report, _) = run(folder.path(), &train);
    assert_eq!(report["examples"], 4, "of nine windows those from 0, 12, 20 and 32 on: {report}");
}
