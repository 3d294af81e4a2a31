//! What an answer is owed to: the table of `predict --explain`, the picture of `eval --plot`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use aggregate::WeightFile;
use attn_core::{Batch, Workspace};
use edgectl::checkpoint::Checkpoint;
use serde_json::json;

use crate::support::{JOB, bytes, fails, federation, json, ok, trained};

const EXPLAIN: [&str; 9] = [
    "predict",
    "--model",
    "n1.safetensors",
    "--data",
    "data/node_2.csv",
    "--out",
    "p.csv",
    "--explain",
    "why.csv",
];

/// Rows of a table as cells by column.
fn rows(at: &Path, name: &str) -> Vec<BTreeMap<String, String>> {
    let text = String::from_utf8(bytes(at, name)).expect("text");
    let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let mut lines = text.lines();
    let header = cells(lines.next().expect("a header"));
    lines.map(|line| header.iter().cloned().zip(cells(line)).collect()).collect()
}

fn number(cell: &str) -> f64 {
    cell.parse().unwrap_or_else(|_| panic!("no number: {cell}"))
}

#[test]
fn a_table_says_what_each_answer_is_owed_to() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let report = json(at, &[&EXPLAIN[..], &["--tensors", "t.safetensors"]].concat());
    assert_eq!((&report["explain"], &report["explain_rows"]), (&json!("why.csv"), &json!(24 * 20)));
    let (answers, steps) = (rows(at, "p.csv"), rows(at, "why.csv"));
    assert_eq!((answers.len(), steps.len()), (24, 24 * 20));
    let header = String::from_utf8(bytes(at, "why.csv")).expect("text");
    let expected = "file,series,line,start,predicted,step,row,time,r_x,r_y,attention\n";
    assert!(header.starts_with(expected), "{header}");

    let model = Checkpoint::read(&at.join("n1.safetensors")).expect("read");
    let x = WeightFile::open(at.join("t.safetensors")).expect("read").read_f32("x").expect("read");
    let mut workspace = Workspace::new(1);
    for ((answer, steps), x) in answers.iter().zip(steps.chunks(20)).zip(x.chunks(20 * 2)) {
        for (step, row) in steps.iter().enumerate() {
            for key in ["file", "series", "line", "start", "predicted"] {
                assert_eq!(row[key], answer[key], "{row:?}");
            }
            assert_eq!(row["step"], step.to_string());
            // Series have 60 rows for training and 20 for the test; a segment begins at the line of its first.
            let in_segment = number(&answer["start"]) + step as f64;
            let before = if answer["split"] == "test" { 60.0 } else { 0.0 };
            assert_eq!(number(&row["row"]).to_bits(), in_segment.to_bits());
            assert_eq!(number(&row["time"]).to_bits(), (before + in_segment).to_bits());
        }
        let sum = |key: &str| steps.iter().map(|row| number(&row[key])).sum::<f64>();
        // Tokens of four steps.
        assert!((sum("attention") / 4.0 - 1.0).abs() < 1e-4, "{answer:?}");
        let both = [x, &[0.0; 40]].concat();
        let batch = Batch::new(&model.meta.model, &both, &[20, 20]).expect("valid");
        let mut logits = [0.0; 4];
        model.encoder.forward(&model.params, &batch, &mut workspace, &mut logits);
        let class = model.meta.classes.iter().position(|class| *class == answer["predicted"]);
        let class = class.expect("a class");
        let owed = f64::from(logits[class]) - f64::from(logits[class + 2]);
        let found = sum("r_x") + sum("r_y");
        assert!((found - owed).abs() < 0.01 + 0.01 * owed.abs(), "{found}, expected {owed}");
    }
}

#[test]
fn the_table_is_the_same_on_any_number_of_threads_and_needs_no_labels() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let text = ok(at, &[&EXPLAIN[..], &["--threads", "1"]].concat());
    assert!(text.contains("why.csv: what they are owed to, 480 steps"), "{text}");
    let (answers, table) = (bytes(at, "p.csv"), bytes(at, "why.csv"));
    ok(at, &[&EXPLAIN[..], &["--threads", "3"]].concat());
    assert_eq!((bytes(at, "p.csv"), bytes(at, "why.csv")), (answers, table));

    let unlabeled: Vec<String> = String::from_utf8(bytes(at, "data/node_2.csv"))
        .expect("text")
        .lines()
        .map(|line| line.split(',').enumerate().filter(|(i, _)| *i != 1 && *i != 2 && *i != 3))
        .map(|cells| cells.map(|(_, cell)| cell).collect::<Vec<_>>().join(","))
        .collect();
    fs::write(at.join("plain.csv"), unlabeled.join("\n") + "\n").expect("written");
    let model = ["--model", "n1.safetensors", "--data", "plain.csv"];
    ok(at, &[&["predict"], &model[..], &["--out", "q.csv", "--explain", "w.csv"]].concat());
    let found = rows(at, "w.csv");
    assert!(!found.is_empty() && found.iter().all(|row| !row.contains_key("time")));
    fails(at, &[&["eval"], &model[..], &["--plot", "x.svg"]].concat(), &["no labeled test window"]);
}

#[test]
fn where_rows_are_thinned_each_step_tells_the_row_it_stands_for() {
    let folder = federation();
    let at = folder.path();
    let z_score = "[[preprocess]]\nstep = \"z-score\"";
    let decimate = format!("[[preprocess]]\nstep = \"decimate\"\nfactor = 2\n{z_score}");
    let job = JOB.replace("len = 20\nstride = 10", "len = 10\nstride = 5");
    fs::write(at.join("job.toml"), job.replace(z_score, &decimate)).expect("written");
    ok(at, &["train", "--config", "job.toml", "--epochs", "1", "--out", "n1.safetensors"]);
    ok(at, &EXPLAIN);
    let (answers, steps) = (rows(at, "p.csv"), rows(at, "why.csv"));
    assert!(!answers.is_empty() && steps.len() == 10 * answers.len());
    for (answer, steps) in answers.iter().zip(steps.chunks(10)) {
        let found: Vec<f64> = steps.iter().map(|row| number(&row["row"])).collect();
        let first = number(&answer["start"]);
        let expected: Vec<f64> = (0..10).map(|step| first + 2.0 * f64::from(step)).collect();
        assert_eq!(found, expected, "{answer:?}");
        assert_eq!(number(&answer["rows"]).to_bits(), 19_f64.to_bits());
    }
}

#[test]
fn a_picture_shows_windows_of_each_class() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let eval = ["eval", "--model", "n1.safetensors", "--data", "data"];
    let report = json(at, &[&eval[..], &["--plot", "x.svg"]].concat());
    assert_eq!(report["plot"], "x.svg");
    let text = String::from_utf8(bytes(at, "x.svg")).expect("text");
    let wrong = report["accuracy"].as_f64().is_some_and(|accuracy| accuracy < 1.0);
    assert_eq!(text.contains("WRONG answer"), wrong, "{report}");
    for part in
        ["true fast, ", "true slow, ", "step 20", "attention", "node_1.csv, series", "integrated"]
    {
        assert!(text.contains(part), "{part} is missing");
    }
    let said = ok(at, &[&eval[..], &["--plot", "x.PNG"]].concat());
    assert!(said.contains("x.PNG: some windows of each class"), "{said}");
    assert!(bytes(at, "x.PNG").starts_with(b"\x89PNG"));
    ok(at, &[&eval[..], &["--plot", "x.svg", "--precision", "int8"]].concat());
    // Without the flag nothing of it is said.
    assert!(json(at, &eval).get("plot").is_none());
}

#[test]
fn no_input_is_replaced_and_no_weights_but_sound_ones_are_explained() {
    let folder = federation();
    let at = folder.path();
    trained(at);
    let model = "n1.safetensors";
    let predict = ["predict", "--model", model, "--data", "data/node_2.csv", "--out", "p.csv"];
    for (out, part) in [
        ("p.csv", "p.csv"),
        (model, "input"),
        ("data/node_2.csv", "input"),
        ("data", "folder"),
        ("none/why.csv", "none"),
    ] {
        fails(at, &[&predict[..], &["--explain", out]].concat(), &[out, part]);
    }
    let tensors = ["--tensors", "t", "--explain", "t"];
    fails(at, &[&predict[..], &tensors].concat(), &["t"]);

    let eval = ["eval", "--data", "data", "--model"];
    fs::copy(at.join(model), at.join("m.svg")).expect("copied");
    fails(at, &[&eval[..], &["m.svg", "--plot", "m.svg"]].concat(), &["m.svg", "input"]);
    symlink("data/node_1.csv", at.join("x.png")).expect("linked");
    fails(at, &[&eval[..], &[model, "--plot", "x.png"]].concat(), &["input"]);
    fails(at, &[&eval[..], &[model, "--plot", "x.pdf"]].concat(), &["x.pdf", ".svg or .png"]);
    fails(at, &[&eval[..], &[model, "--plot", "none/x.svg"]].concat(), &["none"]);

    let mut file = bytes(at, model);
    let end = file.len();
    file[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(at.join("nan.safetensors"), file).expect("written");
    for args in [
        &["predict", "--data", "data", "--out", "p.csv", "--explain", "why.csv"][..],
        &["eval", "--data", "data", "--plot", "y.svg"],
    ] {
        fails(at, &[args, &["--model", "nan.safetensors"]].concat(), &["NaN or infinity"]);
    }
}
