//! The work grows with the number of updates, not with its square.
//!
//! There is no clock here: what grew with the square would not end within minutes.

use std::collections::BTreeMap;

use aggregate::{Limit, Options, Update, aggregate_in_memory, weight_file};

use crate::support::{f32_tensor, keep_going, with};

const N: usize = 20_000;

/// Updates of one tensor of two numbers, with a name of its own each where `names` differ.
fn updates(name: impl Fn(usize) -> String, value: impl Fn(usize) -> f32) -> Vec<Update> {
    let update = |i: usize| {
        let values = [value(i), 1.0];
        let name = name(i);
        let tensor = f32_tensor(&name, &[2], &values);
        let path = format!("a/folder/with/a/long/path/so/that/paths/take/long/{i}");
        let file = weight_file(path, &[tensor], &BTreeMap::new()).unwrap();
        Update { node: Some(format!("node {i}")), ..Update::of_file(file, 1.0) }
    };
    (0..N).map(update).collect()
}

/// How many of the updates are merged.
fn n_merged(updates: &[Update], options: &Options) -> usize {
    let merged = aggregate_in_memory(updates, options, "out".as_ref(), &|_| Ok(BTreeMap::new()));
    merged.unwrap().report.summary.admitted.len()
}

#[test]
fn many_updates_are_merged() {
    let updates = updates(|_| "w".to_owned(), |i| i as f32);
    for reduce in ["mean", "median"] {
        let options = with(&keep_going(), |rules| {
            rules.reduce = reduce.parse().unwrap();
            rules.max_deviation = Limit::OFF;
        });
        assert_eq!(n_merged(&updates, &options), N, "{reduce}");
    }
}

#[test]
fn many_bad_updates_are_left_out() {
    let updates = updates(|_| "w".to_owned(), |i| if i % 2 == 0 { f32::NAN } else { 1.0 });
    assert_eq!(n_merged(&updates, &keep_going()), N / 2);
}

#[test]
fn many_layouts_are_told_apart() {
    let updates = updates(|i| if i < 2 { "w".to_owned() } else { format!("w{i}") }, |_| 1.0);
    assert_eq!(n_merged(&updates, &keep_going()), 2);
}
