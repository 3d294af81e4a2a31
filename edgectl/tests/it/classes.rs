//! How many classes there may be: a label that is another one in nearly every row is none, and a model
//! of many makes no command work with their square.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use aggregate::{TensorData, TensorRef, WeightFile, write_file};
use serde_json::Value;

use crate::support::{fails, json, ok};

const JOB: &str = "\
[model]
d_model = 8
n_heads = 2
n_layers = 1
d_ff = 16
[train]
epochs = 1
";

/// A wide table of two values, with the labels that `label` gives each row.
fn wide(at: &Path, name: &str, n_rows: usize, label: impl Fn(usize) -> String) {
    let mut text = "label,a,b\n".to_owned();
    for row in 0..n_rows {
        let value = (row as f64 * 0.7).sin();
        writeln!(text, "{},{value:.4},{:.4}", label(row), -value).expect("written");
    }
    fs::write(at.join(name), text).expect("written");
}

/// A number with six digits that is nearly always another one.
fn continuous(row: usize) -> String {
    format!("{:.6}", (row as f64 * 12.9898).sin().abs())
}

#[test]
fn a_label_that_differs_in_nearly_every_row_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    fs::write(at.join("job.toml"), JOB).expect("written");
    wide(at, "wide.csv", 3000, continuous);
    let mut long = "series,t,label,x\n".to_owned();
    let mut per_series = long.clone();
    let mut ts = "@problemName x\n@univariate true\n@classLabel true 0 1\n@data\n".to_owned();
    let mut declared = Vec::new();
    for row in 0..600 {
        let (series, t, label) = (row / 20, row % 20, continuous(row));
        writeln!(long, "{series},{t},{label},{t}").expect("written");
        writeln!(per_series, "{series},{t},{},{t}", continuous(series)).expect("written");
        declared.push(label);
    }
    ts = ts.replace(" 0 1", &format!(" {}", declared.join(" ")));
    for label in &declared {
        writeln!(ts, "1.0,2.0,3.0,2.5:{label}").expect("written");
    }
    fs::write(at.join("long.csv"), long).expect("written");
    fs::write(at.join("series.csv"), per_series).expect("written");
    fs::write(at.join("x_TRAIN.ts"), ts).expect("written");
    for (data, says) in [
        ("wide.csv", ["the label column \"label\" holds ", " in 3000 labeled windows"]),
        ("long.csv", ["the label column \"label\" holds ", " in 600 labeled rows"]),
        ("series.csv", ["the label column \"label\" holds ", " in 30 labeled windows"]),
        ("x_TRAIN.ts", ["the class label (@classLabel) holds ", " in 600 labeled windows"]),
    ] {
        let says = [&says[..], &[data, "no class", "data.label"]].concat();
        for command in ["init", "train"] {
            let args = [command, "--config", "job.toml", "--data", data, "--out", "o"];
            fails(at, &args, &says);
        }
    }
    // A simulation wants rows to test on.
    let text = fs::read_to_string(at.join("wide.csv")).expect("text");
    let rows = text.lines().enumerate().map(|(i, row)| match i {
        0 => format!("{row},split\n"),
        _ => format!("{row},{}\n", if i > 2900 { "test" } else { "train" }),
    });
    fs::write(at.join("split.csv"), rows.collect::<String>()).expect("written");
    let args = ["simulate", "--config", "job.toml", "--data", "split.csv", "--out", "run"];
    fails(at, &args, &["split.csv: the label column", " in 2900 labeled windows"]);
    // Named otherwise, it is named so.
    let text = fs::read_to_string(at.join("wide.csv")).expect("text").replace("label,", "target,");
    fs::write(at.join("other.csv"), text).expect("written");
    fs::write(at.join("job.toml"), format!("[data]\nlabel = \"target\"\n{JOB}")).expect("written");
    let args = ["train", "--config", "job.toml", "--data", "other.csv", "--out", "o"];
    fails(at, &args, &["the label column \"target\""]);
}

#[test]
fn few_rows_and_many_classes_of_two_rows_train() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    fs::write(at.join("job.toml"), JOB).expect("written");
    for (n_rows, n_classes) in [(6, 6), (20, 20), (60, 30)] {
        wide(at, "d.csv", n_rows, |row| format!("c{}", row % n_classes));
        ok(at, &["train", "--config", "job.toml", "--data", "d.csv", "--out", "o", "-q"]);
    }
    // One recording of each of thirty, from which many windows are cut.
    let mut long = "series,t,label,x\n".to_owned();
    for row in 0..1200 {
        writeln!(long, "{0},{1},p{0},{2}", row / 40, row % 40, row % 7).expect("written");
    }
    fs::write(at.join("long.csv"), long).expect("written");
    fs::write(at.join("cut.toml"), format!("{JOB}[window]\nlen = 10\n")).expect("written");
    ok(at, &["train", "--config", "cut.toml", "--data", "long.csv", "--out", "l", "-q"]);
    // A node that has each class of the model once learns on.
    wide(at, "node.csv", 30, |row| format!("c{row}"));
    ok(at, &["train", "--init", "o", "--data", "node.csv", "--out", "n", "-q"]);
}

#[test]
fn answers_of_a_model_with_many_classes_do_not_grow_with_their_square() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    fs::write(at.join("job.toml"), JOB).expect("written");
    wide(at, "d.csv", 8000, |row| format!("class-{}", row % 4000));
    wide(at, "two.csv", 2, |row| format!("class-{row}"));
    ok(at, &["init", "--config", "job.toml", "--data", "d.csv", "--out", "o"]);
    let eval = ["eval", "--model", "o", "--data", "two.csv"];
    let report = json(at, &eval);
    assert_eq!(report["per_class"].as_array().expect("a list").len(), 4000);
    assert_eq!(report["confusion"].as_array().expect("a list").len(), 0);
    assert!(report.to_string().len() < 1 << 20);
    let text = ok(at, &eval);
    assert!(text.len() < 10_000 && text.contains("and 3970 more classes"), "{} bytes", text.len());
    let text = ok(at, &["inspect", "o"]);
    assert!(text.len() < 20_000 && text.contains("and 3900 more"), "{} bytes", text.len());
    ok(at, &["predict", "--model", "o", "--data", "two.csv", "--out", "p.csv"]);
    assert!(fs::metadata(at.join("p.csv")).expect("there").len() < 1 << 20);
}

#[test]
fn a_file_that_claims_more_classes_than_a_model_may_have_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    fs::write(at.join("job.toml"), JOB).expect("written");
    wide(at, "d.csv", 40, |row| format!("c{}", row % 4));
    ok(at, &["train", "--config", "job.toml", "--data", "d.csv", "--out", "o", "-q"]);
    let file = WeightFile::open(at.join("o")).expect("valid");
    let mut meta: Value = serde_json::from_str(&file.metadata()["edgectl"]).expect("JSON");
    let n = 10_001;
    meta["classes"] = (0..n).map(|c| format!("c{c}")).collect();
    let text = meta["model"].to_string().replace("\"n_classes\":4", &format!("\"n_classes\":{n}"));
    meta["model"] = serde_json::from_str(&text).expect("JSON");
    assert!(meta["model"].to_string().contains("10001"), "{}", meta["model"]);
    let values: Vec<Vec<f32>> =
        file.tensors().iter().map(|t| file.read_f32(&t.name).expect("read")).collect();
    let tensors: Vec<TensorRef<'_>> = file
        .tensors()
        .iter()
        .zip(&values)
        .map(|(t, v)| TensorRef { name: &t.name, shape: &t.shape, data: TensorData::F32(v) })
        .collect();
    let metadata = BTreeMap::from([("edgectl".to_owned(), meta.to_string())]);
    write_file(at.join("many"), &tensors, &metadata).expect("written");
    let says = ["many", "10001 classes, at most 10000"];
    for args in [
        &["eval", "--model", "many", "--data", "d.csv"][..],
        &["predict", "--model", "many", "--data", "d.csv", "--out", "p.csv"],
        &["inspect", "many"],
        &["train", "--init", "many", "--data", "d.csv", "--out", "n"],
        &["aggregate", "many", "--out", "g"],
    ] {
        fails(at, args, &says);
    }
}
