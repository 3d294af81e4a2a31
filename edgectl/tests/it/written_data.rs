//! Data that the command writes, it reads: the same windows, the same accuracy, the same bytes.

use std::path::Path;

use crate::support::{JOB, bytes, fails, federation, json, ok};

/// Trains on `data`, writes it scaled, and holds everything done with the written rows to the same
/// done with the original ones. Returns the written table.
#[track_caller]
fn round_trips(folder: &Path, job: &str, data: &[&str]) -> String {
    std::fs::write(folder.join("job.toml"), job).expect("written");
    let given = [&["--data"], data].concat();
    ok(folder, &[&["init", "--config", "job.toml", "--out", "g"], &given[..]].concat());
    let written = ["--data", "scaled.csv", "--preprocessed"];
    let out = ["--model", "g", "--out", "scaled.csv"];
    ok(folder, &[&["preprocess"], &out[..], &given].concat());
    for (out, data) in [("raw", &given[..]), ("written", &written[..])] {
        let train = ["train", "--init", "g", "--node", "n", "--out", out];
        ok(folder, &[&train[..], data].concat());
    }
    assert!(bytes(folder, "raw") == bytes(folder, "written"), "training differs");
    let eval = |data: &[&str]| json(folder, &[&["eval", "--model", "raw"], data].concat());
    assert_eq!(eval(&given), eval(&written));
    let answers = |out: &str, data: &[&str]| -> Vec<String> {
        ok(folder, &[&["predict", "--model", "raw", "--out", out], data].concat());
        let text = std::fs::read_to_string(folder.join(out)).expect("written");
        // Without the file, its line and the series' name, which are those of the written table.
        let cells = |line: &str| {
            let cells: Vec<&str> = line.split(',').collect();
            [&cells[2..3], &cells[4..]].concat().join(",")
        };
        text.lines().map(cells).collect()
    };
    assert_eq!(answers("raw.csv", &given), answers("written.csv", &written));
    std::fs::read_to_string(folder.join("scaled.csv")).expect("written")
}

fn job(data: &str, window: &str) -> String {
    JOB.replace("path = \"data\"", data).replace("len = 20\nstride = 10", window)
}

#[test]
fn files_of_nodes_with_series_of_the_same_names() {
    let folder = federation();
    let text = round_trips(folder.path(), JOB, &["data"]);
    assert!(text.starts_with("node,series,t,label,split,x,y\nnode_1,node_1.csv:0,0,slow,train,"));
    assert_eq!(text.lines().count(), 1 + 3 * 4 * 80);
    // Time goes on where the split changes.
    assert!(text.contains("\nnode_3,node_3.csv:3,60,fast,test,"), "{text}");
}

#[test]
fn one_file_keeps_its_node_and_its_series() {
    let folder = federation();
    let text = round_trips(folder.path(), JOB, &["data/node_2.csv"]);
    assert!(text.contains("\nnode_2,0,0,slow,train,"), "{text}");
}

#[test]
fn columns_with_other_names_and_a_node_column() {
    let folder = federation();
    let at = folder.path();
    let mut table = "Person,sequence,frame,posture,part,label,t\n".to_owned();
    for (i, line) in crate::support::table(1).lines().skip(1).enumerate() {
        let cells: Vec<&str> = line.split(',').collect();
        let [series, t, label, split, x, y] = cells[..] else { panic!("{line}") };
        let x = if i % 17 == 3 { "" } else { x };
        table += &format!("p{},{series},{t},{label},{split},{x},{y}\n", i / 160);
    }
    std::fs::write(at.join("people.csv"), table).expect("written");
    let roles = "series = \"sequence\"\ntime = \"frame\"\nlabel = \"posture\"\nsplit = \"part\"\nnode = \"Person\"";
    let impute = "[[preprocess]]\nstep = \"impute\"\nmethod = \"linear\"\n[[preprocess]]\nstep = \"z-score\"\n[[preprocess]]\nstep = \"window-normalize\"";
    let job = job(roles, "len = 20\nstride = 10");
    let job = job.replacen("[[preprocess]]\nstep = \"z-score\"", impute, 1);
    let text = round_trips(at, &job, &["people.csv"]);
    assert!(text.starts_with("Person,sequence,frame,posture,part,label,t\n"), "{text}");
}

#[test]
fn rows_that_nobody_marked_stay_so() {
    let folder = federation();
    let at = folder.path();
    let table = crate::support::table(1).replace(",train,", ",").replace(",test,", ",");
    std::fs::write(at.join("a.csv"), table.replace("label,split,", "label,")).expect("written");
    let text = round_trips(at, JOB, &["a.csv"]);
    assert!(text.contains(",unmarked,") && !text.contains(",train,"), "{text}");
    // Beside rows that are marked, too.
    std::fs::write(at.join("b_TEST.csv"), crate::support::table(2).replace("split", "part"))
        .expect("written");
    let channels = job("channels = [\"x\", \"y\"]", "len = 20\nstride = 10");
    let text = round_trips(at, &channels, &["a.csv", "b_TEST.csv"]);
    assert!(text.contains(",unmarked,") && text.contains(",test,"), "{text}");
}

#[test]
fn wide_tables_and_ts_files_with_rows_of_one_series() {
    let folder = federation();
    let at = folder.path();
    let mut wide = "who,label,split,a,b,c,d,e,f\n".to_owned();
    for row in 0..24 {
        let (label, slope) = if row % 2 == 0 { ("up", 1.0) } else { ("down", -1.0) };
        let split = if row < 16 { "train" } else { "test" };
        let cells: Vec<String> =
            (0..6).map(|t| format!("{}", slope * f64::from(t) + f64::from(row % 5))).collect();
        wide += &format!("s{},{label},{split},{}\n", row / 4, cells.join(","));
    }
    std::fs::write(at.join("wide.csv"), &wide).expect("written");
    let of = |data: &str| {
        job(data, "").replace("shift = 3", "").replace("patch_len = 4", "patch_len = 1")
    };
    round_trips(at, &of("format = \"wide\"\nwide_channels = 2\nseries = \"who\""), &["wide.csv"]);
    // A name that would be made up is there already.
    let taken = wide.replace("\ns1,", "\ns0#2,").replace("\ns2,", "\ns0,");
    std::fs::write(at.join("taken.csv"), taken).expect("written");
    let windows = "len = 2\nstride = 1";
    let taken = job("format = \"wide\"\nwide_channels = 2\nseries = \"who\"", windows);
    let taken = taken.replace("shift = 3", "").replace("patch_len = 4", "patch_len = 1");
    round_trips(at, &taken, &["taken.csv"]);
    let mut ts =
        "@problemName t\n@timeStamps false\n@univariate true\n@classLabel true up down\n@data\n"
            .to_owned();
    for row in 0..12 {
        let (label, slope) = if row % 2 == 0 { ("up", 1.0) } else { ("down", -1.0) };
        let cells: Vec<String> =
            (0..4 + row % 3).map(|t| format!("{}", slope * f64::from(t) + 0.1)).collect();
        ts += &format!("{}:{label}\n", cells.join(","));
    }
    std::fs::write(at.join("P_TRAIN.ts"), &ts).expect("written");
    std::fs::write(at.join("P_TEST.ts"), &ts).expect("written");
    let text = round_trips(at, &of("format = \"ts\""), &["P_TRAIN.ts", "P_TEST.ts"]);
    assert!(text.contains("\nP,P_TRAIN.ts:1,0,up,train,"), "{text}");
}

#[test]
fn what_cannot_be_written_or_read_is_said() {
    let folder = federation();
    let at = folder.path();
    let table = "series,t,y,node\n0,0,a,1\n0,1,a,2\n1,0,b,1\n1,1,b,2\n";
    std::fs::write(at.join("c.csv"), table).expect("written");
    std::fs::create_dir(at.join("d")).expect("a folder");
    std::fs::write(at.join("d/c.csv"), table).expect("written");
    let job = job("label = \"y\"\nchannels = [\"node\"]", "")
        .replace("shift = 3", "")
        .replace("patch_len = 4", "patch_len = 1");
    std::fs::write(at.join("job.toml"), job).expect("written");
    ok(at, &["init", "--config", "job.toml", "--data", "c.csv", "d/c.csv", "--out", "g"]);
    let out = ["--out", "scaled.csv"];
    let args = ["preprocess", "--model", "g", "--data", "c.csv", "d/c.csv"];
    fails(
        at,
        &[&args[..], &out].concat(),
        &["the channel \"node\" has the name of the node column"],
    );
    let args = ["train", "--config", "job.toml", "--data", "c.csv", "--preprocessed", "--out", "m"];
    fails(at, &args, &["--preprocessed needs --init"]);
}
