//! Temperature and calibration error: fitted on held-out rows, stored, used, and gone with the weights it was for.

use std::fs;
use std::path::Path;

use aggregate::WeightFile;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::exclusions::edit;
use crate::support::{JOB, bytes, fails, federation, json, ok, table, weights};

/// A federation whose job holds rows out, and of whose third node the half of the labels is wrong.
fn calibrated() -> TempDir {
    let folder = federation();
    let at = folder.path();
    let job = JOB.replace("epochs = 2", "epochs = 12");
    fs::write(at.join("plain.toml"), &job).expect("written");
    let job = format!("{job}\n[train.validation]\nfraction = 0.5\nby = \"time\"\n");
    fs::write(at.join("job.toml"), job).expect("written");
    let swapped = |line: &str| match line.split(',').next() {
        Some("0") => line.replace("slow", "fast"),
        Some("1") => line.replace("fast", "slow"),
        _ => line.to_owned(),
    };
    let text: Vec<String> = table(3).lines().map(swapped).collect();
    fs::write(at.join("data/node_3.csv"), text.join("\n") + "\n").expect("written");
    let train = ["train", "--config", "job.toml", "--out", "m.safetensors", "--node", "n"];
    let report = json(at, &train);
    fs::write(at.join("report"), report.to_string()).expect("written");
    folder
}

fn temperature(at: &Path, model: &str) -> Value {
    json(at, &["inspect", model])["edgectl"]["temperature"].clone()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn what_was_fitted_on_held_out_rows_is_stored_and_used() {
    let folder = calibrated();
    let at = folder.path();
    let report: Value = serde_json::from_slice(&bytes(at, "report")).expect("JSON");
    let found = number(&report["temperature"]);
    assert!((0.05..=20.0).contains(&found) && (found - 1.0).abs() > 1e-3, "{report}");
    assert!(report["temperature_kept"].is_null());
    assert!(number(&report["val"]["ece"]) > 0.0 && report["val"]["ece_uncalibrated"].is_null());
    let inspected = json(at, &["inspect", "m.safetensors"]);
    assert_eq!(inspected["edgectl"]["temperature"], report["temperature"]);
    assert_eq!(inspected["edgectl"]["needs"], json!(["temperature"]));
    assert!(ok(at, &["inspect", "m.safetensors"]).contains(&format!("temperature: {found}")));

    let predict = ["predict", "--model", "m.safetensors", "--data", "data", "--out", "p.csv"];
    json(at, &[&predict[..], &["--tensors", "t.safetensors"]].concat());
    let file = WeightFile::open(at.join("t.safetensors")).expect("read");
    assert_eq!(file.metadata()["temperature"], found.to_string());
    let logits = file.read_f32("logits").expect("read");
    let table = String::from_utf8(bytes(at, "p.csv")).expect("text");
    let (mut loss, mut right, mut n) = (0.0, 0, 0);
    for (line, logits) in table.lines().skip(1).zip(logits.chunks(2)) {
        let cells: Vec<&str> = line.split(',').collect();
        let p = 1.0 / (1.0 + (f64::from(logits[1] - logits[0]) / found).exp());
        let stated: f64 = cells[9].parse().expect("p_fast");
        assert!((p - stated).abs() < 1e-5, "{line}: {p}");
        assert_eq!(cells[7], if logits[1] > logits[0] { "slow" } else { "fast" });
        if cells[2] == "test" {
            let of_label = if cells[6] == "fast" { p } else { 1.0 - p };
            (loss, n) = (loss - of_label.ln(), n + 1);
            right += usize::from(cells[6] == cells[7]);
        }
    }
    let report = json(at, &["eval", "--model", "m.safetensors", "--data", "data"]);
    assert_eq!(report["n"], n);
    assert!((number(&report["loss"]) - loss / f64::from(n)).abs() < 1e-5, "{report}");
    assert!((number(&report["accuracy"]) - right as f64 / f64::from(n)).abs() < 1e-12);
    let (with, without) = (number(&report["ece"]), number(&report["ece_uncalibrated"]));
    assert!((with - without).abs() > 1e-6 && with < 1.0, "{report}");
    let text = ok(at, &["eval", "--model", "m.safetensors", "--data", "data"]);
    assert!(text.contains(&format!("ECE {with:.4} ({without:.4} without temperature)")), "{text}");
}

#[test]
fn other_weights_have_no_temperature_but_one_of_their_own() {
    let folder = calibrated();
    let at = folder.path();
    let old = temperature(at, "m.safetensors");
    assert!(old.is_number());
    let train = ["train", "--init", "m.safetensors", "--data", "data"];
    let further = |config: &str, out: &str| {
        let report = json(at, &[&train[..], &["--config", config, "--out", out]].concat());
        (report["temperature"].clone(), temperature(at, out))
    };
    assert_eq!(further("plain.toml", "f.safetensors"), (Value::Null, Value::Null));
    let (found, stored) = further("job.toml", "g.safetensors");
    assert!(found == stored && stored.is_number() && stored != old, "{old} became {stored}");

    let train = ["train", "--config", "plain.toml", "--out", "o.safetensors", "--node", "o"];
    json(at, &train);
    for (base, out) in [(&[][..], "a.safetensors"), (&["--base", "m.safetensors"], "b.safetensors")]
    {
        let merge = ["aggregate", "m.safetensors", "g.safetensors", "--out", out];
        ok(at, &[&merge[..], base, &["--max-weight", "off"]].concat());
        assert_eq!(temperature(at, out), Value::Null, "{out}");
        let report = json(at, &["eval", "--model", out, "--data", "data"]);
        assert!(report["ece"].is_number() && report["ece_uncalibrated"].is_null(), "{report}");
    }
}

#[test]
fn too_little_to_fit_on_is_said_and_changes_no_byte() {
    let folder = calibrated();
    let at = folder.path();
    let one = ["--data", "data/node_1.csv", "--epochs", "1", "--node", "n", "--out"];
    let train = ["train", "--config", "job.toml"];
    let report = json(at, &[&train[..], &one, &["few.safetensors"]].concat());
    assert_eq!(report["temperature"], 1.0);
    let why = "fewer than 20 held-out windows";
    assert_eq!(report["temperature_kept"], why);
    assert_eq!(temperature(at, "few.safetensors"), Value::Null);
    assert_eq!(json(at, &["inspect", "few.safetensors"])["edgectl"]["needs"], json!([]));
    let text = ok(at, &[&train[..], &one, &["few.safetensors"]].concat());
    assert!(text.contains(&format!("temperature 1: {why}")), "{text}");
    // Nothing held out, nothing said.
    let report = json(at, &["train", "--config", "plain.toml", "--out", "x.safetensors"]);
    assert!(report.get("temperature").is_none(), "{report}");
}

#[test]
fn a_claim_that_no_fit_makes_is_refused() {
    let folder = calibrated();
    let at = folder.path();
    for claim in [json!(0.0), json!(-1.0), json!(0.049), json!(20.5), json!(1e300), json!("warm")] {
        edit(at, "m.safetensors", "bad.safetensors", |meta| meta["temperature"] = claim.clone());
        let eval = ["eval", "--model", "bad.safetensors", "--data", "data"];
        fails(
            at,
            &eval,
            &[
                "bad.safetensors",
                if claim.is_string() { "temperature" } else { "a temperature of" },
            ],
        );
    }
    edit(at, "m.safetensors", "same.safetensors", |meta| meta["temperature"] = json!(0.05));
    ok(at, &["eval", "--model", "same.safetensors", "--data", "data"]);
    assert_eq!(weights(at, "same.safetensors"), weights(at, "m.safetensors"));
}
