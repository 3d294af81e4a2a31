//! The whole merge: a damaged update among good ones, a damaged base.

use std::fs;
use std::path::Path;

use aggregate::{Options, Reducer, Rules, Tolerance, Update, WeightFile, aggregate};
use edgectl_fuzz::Campaign;

/// Merges with options by chance, which must work if only an update may be damaged and the rule can
/// do without it; whether every file was taken.
fn merge(folder: &Path, choice: u64, base_is_sound: bool) -> bool {
    let bit = |i: u64| choice >> (8 + i) & 1 == 1;
    let reducer = Reducer::NAMES[choice as usize % Reducer::NAMES.len()];
    let names = ["bad", "n1", "n2", "n3"];
    let n_updates = if reducer == "slerp" { 2 } else { names.len() };
    let updates: Vec<_> = names[..n_updates]
        .iter()
        .map(|name| Update {
            node: bit(0).then(|| (*name).to_owned()),
            partial: *name == "bad" && bit(1),
            loss: (!bit(12) || *name != "bad").then_some(1.5),
            n_nodes: bit(11).then_some(choice >> 40),
            ..Update::new(folder.join(format!("{name}.safetensors")), 2.0)
        })
        .collect();
    let has_base = !(bit(2) && bit(3));
    let steps = has_base && bit(5);
    let bucket = (bit(4) && bit(9) && bit(10)).then_some(2);
    let rules = Rules {
        reduce: reducer.parse().expect("a reducer"),
        bucket,
        server: if steps { "sgd:lr=0.5" } else { "replace" }.parse().expect("a step"),
        keep_local: if has_base && bit(6) && bit(7) {
            vec!["*norm*".to_owned()]
        } else {
            Vec::new()
        },
        tolerance: if bit(8) { Tolerance::BadValues } else { Tolerance::KeepGoing },
        ..Rules::default()
    };
    // Whether these rules are sound, and three updates are enough for them.
    let can_do = rules.validate().is_ok()
        && (has_base || rules.needs_base().is_none())
        && rules.tolerance == Tolerance::KeepGoing
        && bucket.is_none()
        && reducer != "slerp";
    let options = Options {
        rules,
        base: has_base.then(|| folder.join("base.safetensors")),
        bucket_seed: choice,
        ..Options::default()
    };
    let out = folder.join("out.safetensors");
    let result = aggregate(&updates, &options, &out, &|summary| {
        Ok([("inputs".to_owned(), summary.admitted.len().to_string())].into())
    });
    assert_eq!(out.exists(), result.is_ok(), "an output beside an error, or none without");
    if let Err(error) = &result {
        assert!(!(can_do && base_is_sound), "{reducer}: one update ended the merge: {error}");
    } else {
        check_output(&out);
        fs::remove_file(&out).expect("it is there");
    }
    result.is_ok_and(|report| report.summary.rejected.is_empty())
}

/// Asserts that a merged file opens and that all its numbers are finite.
pub(crate) fn check_output(path: &Path) {
    let file = WeightFile::open(path).expect("the output opens");
    for tensor in file.tensors() {
        let finite = |values: &[f64]| assert!(values.iter().all(|v| v.is_finite()), "{tensor:?}");
        match file.visit_f64(&tensor.name, finite) {
            // Of a dtype that is carried as bytes.
            Err(aggregate::Error::Dtype { .. }) => {}
            other => other.expect("the output is read"),
        }
    }
}

fn campaign(name: &'static str) -> Campaign {
    Campaign::new(name, 3000)
        .sound("n1.safetensors", "n1")
        .sound("n2.safetensors", "n2")
        .sound("n3.safetensors", "n3")
}

#[test]
fn updates() {
    campaign("updates")
        .damaged("bad.safetensors", "update")
        .sound("base.safetensors", "model")
        .run(|folder, choice| merge(folder, choice, true));
}

#[test]
fn bases() {
    campaign("bases")
        .sound("bad.safetensors", "update")
        .damaged("base.safetensors", "model")
        .run(|folder, choice| merge(folder, choice, false));
}
