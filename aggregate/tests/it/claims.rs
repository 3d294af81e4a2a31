//! What updates say of themselves: names, weights, how many there are; and what befalls a file.

use std::path::PathBuf;

use aggregate::{Dtype, Error, Limit, Options, Quorum, Reason, Reducer, Update};

use crate::admission::{message, rejections};
use crate::support::{Folder, from_node, keep_going, with};

#[test]
fn of_two_updates_of_one_name_none_counts() {
    let folder = Folder::new();
    let (a, b) = (folder.save_f32("a", &[1.0]), folder.save_f32("b", &[3.0]));
    let c = folder.save_f32("c", &[8.0]);
    let updates = [from_node("x", &a, 1.0), from_node("x", &b, 1.0), from_node("y", &c, 1.0)];
    let report = folder.merge(&updates, &keep_going()).unwrap();
    assert_eq!(rejections(&folder, &updates, &keep_going()).len(), 2);
    let [first, second] = &report.summary.rejected[..] else { panic!("{report:?}") };
    assert_eq!(first.reason, Reason::Duplicate { node: "x".into(), other: b.clone() });
    assert_eq!(second.reason, Reason::Duplicate { node: "x".into(), other: a.clone() });
    let text = first.to_string();
    assert!(text.contains(a.to_str().unwrap()) && text.contains(b.to_str().unwrap()), "{text}");
    assert_eq!(folder.merged(), [8.0]);

    // Copies of one file of one node count once, of different or unknown nodes they are others.
    let copy = folder.save_f32("copy", &[1.0]);
    let same = [from_node("x", &a, 1.0), from_node("x", &copy, 1.0), from_node("y", &c, 1.0)];
    let found = rejections(&folder, &same, &keep_going());
    let reason = format!("it is a copy of {}, which counts once", a.display());
    assert_eq!(found, [("copy".into(), reason)]);
    assert_eq!(folder.merged(), [4.5]);
    let others = [from_node("x", &a, 1.0), from_node("z", &copy, 1.0), from_node("y", &c, 1.0)];
    assert!(rejections(&folder, &others, &keep_going()).is_empty());
    let unknown = [Update::new(&a, 1.0), Update::new(&copy, 1.0), Update::new(&c, 1.0)];
    assert!(rejections(&folder, &unknown, &keep_going()).is_empty());
    // Neither a file without weight nor a rejected one silences its node.
    for (silent, heard) in [(&a, &b), (&b, &a)] {
        let updates = [from_node("x", silent, 0.0), from_node("x", heard, 1.0)];
        let report = folder.merge(&updates, &keep_going()).unwrap();
        assert_eq!(report.summary.rejected.len(), 1);
        assert_eq!(report.summary.rejected[0].path, *silent);
    }
    let broken = folder.save_f32("broken", &[f32::NAN]);
    let retry = [from_node("x", &broken, 1.0), from_node("x", &a, 1.0)];
    let found = rejections(&folder, &retry, &keep_going());
    assert_eq!(found, [("broken".into(), "tensor \"w\" holds NaN at element 0".into())]);
}

#[test]
fn a_merge_of_nodes_that_are_there_takes_out_itself_alone() {
    let folder = Folder::new();
    let save = |name: &str, value: f32| folder.save_f32(name, &[value]);
    let of = |name: &str, value: f32, merged: &[&str]| Update {
        merged: merged.iter().map(|&node| node.to_owned()).collect(),
        ..Update::new(save(name, value), 1.0)
    };
    let plain = [from_node("x", &save("x", 1.0), 1.0), from_node("y", &save("y", 3.0), 1.0)];
    let all = of("all", 90.0, &["v", "x", "y", "z"]);
    let updates = [plain[0].clone(), plain[1].clone(), all];
    let found = rejections(&folder, &updates, &keep_going());
    let reason = format!("node \"x\" is in {} too", folder.path("x").display());
    assert_eq!(found, [("all".into(), reason)]);
    assert_eq!(folder.merged(), [2.0]);
    // Of two merges of as many nodes none counts.
    let regions = [of("r", 1.0, &["a", "b"]), of("s", 2.0, &["b", "c"]), plain[0].clone()];
    let found = rejections(&folder, &regions, &keep_going());
    assert_eq!((found.len(), folder.merged()), (2, vec![1.0]), "{found:?}");
    // A merge that is refused for something else takes out nobody.
    let broken = of("broken", f32::NAN, &["x"]);
    let found = rejections(&folder, &[plain[0].clone(), plain[1].clone(), broken], &keep_going());
    assert_eq!((found.len(), folder.merged()), (1, vec![2.0]), "{found:?}");
}

#[test]
#[cfg(unix)]
fn a_link_to_an_update_is_no_second_one() {
    let folder = Folder::new();
    let a = Update::new(folder.save_f32("b-real", &[1.0]), 1.0);
    let b = Update::new(folder.save_f32("other", &[3.0]), 1.0);
    let link = Update::new(folder.path("c-link"), 1.0);
    std::os::unix::fs::symlink(&a.path, &link.path).unwrap();
    let found = rejections(&folder, &[link, a, b.clone()], &keep_going());
    assert_eq!((found.len(), found[0].0.as_str()), (1, "c-link"), "{found:?}");
    assert_eq!(folder.merged(), [2.0]);
    // One that leads nowhere, or in a circle, is a fault of its own.
    for target in ["nowhere", "circle"] {
        let bad = Update::new(folder.path("circle"), 1.0);
        std::os::unix::fs::symlink(folder.path(target), &bad.path).unwrap();
        let found = rejections(&folder, &[bad.clone(), b.clone()], &keep_going());
        assert!(found.len() == 1 && found[0].1.starts_with("cannot be read: "), "{found:?}");
        std::fs::remove_file(bad.path).unwrap();
    }
}

#[test]
fn a_quorum_is_more_than_half_of_the_nodes() {
    let folder = Folder::new();
    let good = |name: &str| from_node(name, &folder.save_f32(name, &[1.0]), 1.0);
    let bad = |name: &str, node: Option<&str>| Update {
        node: node.map(str::to_owned),
        ..Update::new(folder.save_bytes(name, b"not weights"), 1.0)
    };
    let half = Options::default();
    let merge = |updates: &[Update]| folder.merge(updates, &half);
    assert!(merge(&[good("a"), good("b"), bad("x", None)]).is_ok());
    // However many files one node sends, it is one.
    let loud: Vec<Update> = (0..9).map(|i| bad(&format!("x{i}"), Some("x"))).collect();
    assert!(merge(&[vec![good("a"), good("b")], loud].concat()).is_ok());
    let text = message(merge(&[good("a"), good("b"), bad("x", None), bad("y", None)]));
    let start = "2 of 4 nodes' updates can be merged, the quorum is more than half; refused:\n";
    assert!(text.starts_with(start) && text.lines().count() == 3, "{text}");
    assert!(text.contains("x: not a valid") && text.contains("y: not a valid"), "{text}");
    let few = with(&half, |r| r.quorum = Quorum::AtLeast(2));
    let flooded = [good("a"), good("b"), bad("x", None), bad("y", None)];
    assert!(folder.merge(&flooded, &few).is_ok());
    // What the caller leaves out is one of them, and is reported with its words.
    let refused = Some(Reason::Refused { message: "another model".into() });
    let other = Update { refused, ..good("c") };
    let found = rejections(&folder, &[good("a"), good("b"), other.clone()], &half);
    assert_eq!(found, [("c".into(), "another model".into())]);
    assert!(merge(&[good("a"), other]).is_err());
    // So is what a rule needs by itself.
    let krum = with(&half, |r| r.reduce = "krum:byzantine=1".parse().unwrap());
    let five = ["a", "b", "c", "d"].map(good);
    let text = message(folder.merge(&[&five[..], &[bad("x", None)]].concat(), &krum));
    let needs = "4 of 5 nodes' updates can be merged, krum needs at least 5 updates to withstand 1";
    assert!(text.starts_with(needs) && text.contains("x: not a valid"), "{text}");
    assert!(matches!(folder.merge(&five, &krum), Err(Error::TooFew { .. })));
}

#[test]
fn claims_are_capped_and_told_and_the_callers_word_is_not() {
    let folder = Folder::new();
    let paths = ["a", "b", "c", "d"].map(|n| folder.save_f32(n, &[n.len() as f32]));
    let zero = folder.save_f32("zero", &[0.0]);
    let claims = |n_nodes: Option<u64>| -> Vec<Update> {
        let claim =
            |(path, weight): (&PathBuf, f64)| Update { n_nodes, ..Update::new(path, weight) };
        let honest = paths.iter().zip([8.0, 10.0, 12.0, 10.0]).map(claim);
        honest.chain([claim((&zero, 1e15))]).collect()
    };
    // Of 40 examples of others and as many of the one that claims 10^15.
    let report = folder.merge(&claims(Some(1)), &Options::default()).unwrap();
    assert_eq!(folder.merged(), [0.5]);
    let zero_says = report.summary.admitted.iter().find(|a| a.path == zero).unwrap();
    assert_eq!((zero_says.weight, zero_says.counted, zero_says.share), (1e15, 40.0, 0.5));
    assert_eq!(report.summary.total_weight.to_bits(), 80f64.to_bits());
    for rule in
        ["geometric-median", "norm-clipped-mean", "nova", "ties:density=1", "dare:density=1"]
    {
        let base = Some(folder.save_f32("base", &[0.0]));
        let merged = |updates: &[Update], max_weight: &str| {
            let options = with(&Options { base: base.clone(), ..Options::default() }, |r| {
                r.reduce = rule.parse().unwrap();
                r.max_weight = max_weight.parse().unwrap();
                r.max_deviation = Limit::OFF;
            });
            folder.merge(updates, &options).unwrap();
            folder.merged()[0]
        };
        let capped = merged(&claims(Some(1)), "10");
        assert!(capped > 0.4, "{rule}: {capped}");
        // As many as are believed.
        let mut believed = claims(None);
        believed[4].weight = 40.0;
        assert_eq!(merged(&believed, "10").to_bits(), capped.to_bits(), "{rule}");
        for (updates, max_weight) in [(claims(Some(1)), "off"), (claims(None), "10")] {
            let found = merged(&updates, max_weight);
            assert!(found < 1e-3 || rule.starts_with("ties"), "{rule} {max_weight}: {found}");
        }
    }
    // A merge stands for its nodes, though never for more than the others together.
    let region = |n| Update { n_nodes: Some(n), ..Update::new(&zero, 30.0) };
    let others = &claims(Some(1))[..4];
    for (n, counted) in [(1, 30.0), (3, 30.0), (1_000_000, 30.0)] {
        let updates = [others, &[region(n)]].concat();
        let report = folder.merge(&updates, &Options::default()).unwrap();
        let said = report.summary.admitted.iter().find(|a| a.path == zero).unwrap();
        assert_eq!(said.counted.to_bits(), f64::to_bits(counted), "{n}");
    }
}

/// Finite, but its square is not: of three nobody can say who moved far, and yet one did not stay
/// within the numbers.
#[test]
fn a_change_whose_square_is_no_number_is_left_out() {
    for reducer in Reducer::NAMES.into_iter().filter(|&name| name != "slerp") {
        let folder = Folder::new();
        let save = |name: &str, value: f64| {
            let values = [value, 1.0].map(f64::to_le_bytes).concat();
            folder.save_raw(name, Dtype::F64, &values)
        };
        let base = save("base", 0.0);
        let update = |name: &str, value: f64| Update {
            loss: Some(1.0),
            ..Update::new(save(name, value), 1.0)
        };
        let updates = [update("a", 1.0), update("b", 2.0), update("c", 3.0), update("bad", -1e300)];
        let options = with(&Options::default(), |r| {
            r.reduce = reducer.parse().unwrap();
            r.max_deviation = Limit::OFF;
        });
        for base in [Some(base), None] {
            if base.is_none() && options.rules.needs_base().is_some() {
                continue;
            }
            let options = Options { base, ..options.clone() };
            let merged = folder.merge(&updates, &options);
            assert!(merged.is_ok(), "{reducer}: {merged:?}");
        }
    }
}

#[test]
fn a_claim_of_steps_stretches_nobody() {
    let folder = Folder::new();
    let base = Some(folder.save_f32("base", &[0.0]));
    let merged = |steps: f64, max_weight: Limit| {
        let update = |(i, steps): (usize, f64)| Update {
            steps,
            ..Update::new(folder.save_f32(&format!("n{i}"), &[1.0]), 1.0)
        };
        let all = [10.0, 12.0, 8.0, 10.0, steps].into_iter().enumerate();
        let options = with(&Options { base: base.clone(), ..Options::default() }, |r| {
            (r.reduce, r.max_weight) = (Reducer::Nova, max_weight);
        });
        folder.merge(&all.map(update).collect::<Vec<_>>(), &options).unwrap();
        folder.merged()[0]
    };
    // All moved by 1, as the mean does but for how far each went with its steps.
    let limit = Limit::at(10.0);
    for steps in [1e-6, 1.0, 10.0, 100.0, 9999.0] {
        let capped = merged(steps, limit);
        assert!((0.9..3.5).contains(&capped), "{steps}: {capped}");
    }
    assert_eq!(merged(9999.0, limit).to_bits(), merged(100.0, limit).to_bits());
    assert_eq!(merged(10.0, limit).to_bits(), merged(10.0, Limit::OFF).to_bits());
    assert!(merged(9999.0, Limit::OFF) > 100.0);
}
