//! Laws of all reducers: fixed points, bounds, order and threads, bad updates, partial models.

use aggregate::reducers::{NormClippedMean, QFedAvg, TrimmedMean};
use aggregate::{
    Correction, Error, Limit, Options, Quorum, Reason, Reducer, ServerStep, Tolerance, Update,
    WeightFile,
};
use proptest::prelude::*;

use crate::support::{
    Folder, f32_tensor, from_node, keep_going, rows_of_any_dtype, rows_of_any_float, values, with,
};

/// Every rule with its published options, and some with others.
fn rules() -> Vec<Reducer> {
    let others = [
        "norm-clipped-mean:max_norm=0.5",
        "trimmed-mean:trim=0",
        "trimmed-mean:trim=0.49",
        "krum:byzantine=0",
        "multi-krum:byzantine=1,keep=11",
        "bulyan:byzantine=0",
        "centred-clipping:radius=0.1",
        "q-fedavg:q=0",
        "q-fedavg:q=3,lr=1",
        "async:alpha=1",
        "ties:density=1",
        "dare:density=0.3",
        "dare:density=1",
    ];
    Reducer::NAMES.iter().chain(&others).map(|text| text.parse().unwrap()).collect()
}

/// Eleven, or as many as the rule takes.
fn n_updates(reducer: Reducer) -> usize {
    if matches!(reducer, Reducer::Slerp(_)) { 2 } else { 11 }
}

/// Eleven updates near each other, of two tensors, the weights all different.
fn updates(folder: &Folder, n: usize) -> (Vec<Update>, Options) {
    let common = testkit::sequence(7, 300);
    let save = |name: &str, seed: u64, scale: f32| {
        let own = testkit::sequence(seed, 300);
        let all: Vec<f32> = common.iter().zip(&own).map(|(c, o)| c + scale * o).collect();
        let tensors =
            [f32_tensor("a", &[100], &all[..100]), f32_tensor("b", &[10, 20], &all[100..])];
        folder.save(name, &tensors)
    };
    let base = save("base", 99, 0.0);
    let updates = (0..n)
        .map(|i| {
            let path = save(&format!("n{i:02}"), i as u64, 0.1);
            let update = from_node(&format!("n{i:02}"), &path, 1.0 + i as f64);
            let loss = Some(1.0 + (i % 4) as f64);
            Update { steps: 3.0 + i as f64, age: (i % 3) as u64, loss, ..update }
        })
        .collect();
    (updates, Options { base: Some(base), ..keep_going() })
}

#[test]
fn no_rule_knows_order_or_threads() {
    let folder = Folder::new();
    let (mut updates, options) = updates(&folder, 11);
    let mut cases: Vec<Options> =
        rules().into_iter().map(|reducer| with(&options, |r| r.reduce = reducer)).collect();
    for reducer in ["median", "multi-krum:byzantine=1", "centred-clipping", "geometric-median"] {
        let bucketed = with(&options, |r| {
            r.reduce = reducer.parse().unwrap();
            r.bucket = Some(2);
        });
        cases.push(Options { bucket_seed: 5, ..bucketed });
    }
    for options in cases {
        let mut outputs = Vec::new();
        for n_threads in [1, 3] {
            let n = n_updates(options.rules.reduce);
            if n == updates.len() {
                updates.reverse();
            }
            let updates = &updates[..n];
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            let report = pool.install(|| folder.merge(updates, &options)).unwrap();
            outputs.push((std::fs::read(folder.path("out")).unwrap(), report.summary));
        }
        assert_eq!(outputs[0], outputs[1], "{:?}", options.rules.reduce);
    }
}

#[test]
fn equal_updates_are_a_fixed_point_of_every_rule() {
    for reducer in rules() {
        // What clips, drops or discounts changes does not reach the updates.
        let reaches = !matches!(
            reducer,
            Reducer::NormClippedMean(NormClippedMean { max_norm: Some(_) })
                | Reducer::CentredClipping(_)
                | Reducer::Buffered(_)
                | Reducer::Dare(_)
                | Reducer::Async(_)
                | Reducer::Ties(_)
        ) && !matches!(reducer, Reducer::QFedAvg(QFedAvg { q, .. }) if q > 0.0);
        let folder = Folder::new();
        let numbers = testkit::sequence(3, 500);
        let base = reducer.needs_base().then(|| folder.save_f32("base", &[0.5; 500]));
        let updates: Vec<Update> = (0..n_updates(reducer))
            .map(|i| {
                let path = folder.save_f32(&format!("{i}"), &numbers);
                Update { loss: Some(1.0 + i as f64), ..Update::new(path, 1.0 + i as f64) }
            })
            .collect();
        let options = with(&keep_going(), |r| r.reduce = reducer);
        folder.merge(&updates, &Options { base, ..options.clone() }).unwrap();
        let merged = WeightFile::open(folder.path("out")).unwrap().read_f32("w").unwrap();
        if reaches {
            testkit::assert_same_bits(reducer.name(), &merged, &numbers);
        }
        // And of equal updates that are the base, every rule.
        let base = Some(folder.save_f32("same", &numbers));
        folder.merge(&updates, &Options { base, ..options }).unwrap();
        let merged = WeightFile::open(folder.path("out")).unwrap().read_f32("w").unwrap();
        testkit::assert_same_bits(reducer.name(), &merged, &numbers);
    }
}

#[test]
fn one_update_with_nan_never_spreads() {
    // The rule for two does not take a third that turns out to be bad.
    for reducer in rules().into_iter().filter(|&reducer| n_updates(reducer) == 11) {
        let folder = Folder::new();
        let (mut updates, options) = updates(&folder, 12);
        let options = with(&options, |r| r.reduce = reducer);
        folder.merge(&updates[..11], &options).unwrap();
        let expected = std::fs::read(folder.path("out")).unwrap();
        let bad = folder.save(
            "n11",
            &[f32_tensor("a", &[100], &[0.0; 100]), f32_tensor("b", &[10, 20], &[f32::NAN; 200])],
        );
        updates[11] = Update { loss: Some(1e9), ..from_node("n11", &bad, 1e9) };
        let report = folder.merge(&updates, &options).unwrap();
        assert_eq!(report.summary.rejected.len(), 1);
        assert!(matches!(report.summary.rejected[0].reason, Reason::Value { index: 0, .. }));
        assert!(std::fs::read(folder.path("out")).unwrap() == expected, "{reducer:?}");
    }
}

#[test]
fn an_update_that_moved_too_far_is_refused() {
    let folder = Folder::new();
    let (mut updates, options) = updates(&folder, 6);
    folder.merge(&updates, &options).unwrap();
    let expected = std::fs::read(folder.path("out")).unwrap();
    let far = folder.save(
        "far",
        &[f32_tensor("a", &[100], &[9.0; 100]), f32_tensor("b", &[10, 20], &[9.0; 200])],
    );
    updates.push(from_node("far", &far, 1.0));
    let report = folder.merge(&updates, &options).unwrap();
    let [rejected] = &report.summary.rejected[..] else { panic!("{report:?}") };
    let Reason::Norm { norm, median, limit } = rejected.reason else { panic!("{rejected}") };
    assert!(norm > limit && limit > median, "{rejected}");
    assert_eq!(std::fs::read(folder.path("out")).unwrap(), expected);
    // The same by a rule that knows the norms before it merges.
    let krum = with(&options, |r| r.reduce = "krum:byzantine=1".parse().unwrap());
    assert_eq!(folder.merge(&updates, &krum).unwrap().summary.rejected.len(), 1);
    // As an operator wishes.
    let any = with(&options, |r| r.max_deviation = Limit::OFF);
    assert!(folder.merge(&updates, &any).unwrap().summary.rejected.is_empty());
    let strict = with(&options, |r| r.tolerance = Tolerance::Strict);
    assert!(matches!(folder.merge(&updates, &strict), Err(Error::Rejected { .. })));
    let quorum = with(&options, |r| r.quorum = Quorum::AtLeast(7));
    let error = folder.merge(&updates, &quorum).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("6 of 7 nodes' updates can be merged, the quorum is 7; refused:\n"),
        "{error}"
    );
    let young = with(&options, |r| r.max_age = Some(1));
    let found = folder.merge(&updates, &young).unwrap().summary.rejected;
    let ages = found.iter().filter(|r| matches!(r.reason, Reason::Age { age: 2, max_age: 1 }));
    assert_eq!(ages.count(), 2);
}

#[test]
fn integers_are_carried_and_must_agree() {
    use aggregate::{TensorData, TensorRef};
    let folder = Folder::new();
    let save = |name: &str, w: f32, count: i64| {
        let count = TensorRef { name: "count", shape: &[1], data: TensorData::I64(&[count]) };
        Update::new(folder.save(name, &[f32_tensor("w", &[1], &[w]), count]), 1.0)
    };
    let large = (1 << 53) + 1;
    let mut updates = vec![save("a", 1.0, large), save("b", 3.0, large)];
    folder.merge(&updates, &keep_going()).unwrap();
    let count = || folder.merged_bytes_of("count");
    assert_eq!(count(), large.to_le_bytes());
    updates.push(save("c", 8.0, 7));
    let report = folder.merge(&updates, &keep_going()).unwrap();
    let reason = Reason::Integers {
        tensor: "count".to_owned(),
        index: 0,
        found: "7".to_owned(),
        expected: large.to_string(),
        of_most: true,
    };
    assert_eq!(report.summary.rejected[0].reason, reason);
    assert_eq!((folder.merged(), count()), (vec![2.0], large.to_le_bytes().to_vec()));
    // Those of a part must agree too.
    let part = Update { partial: true, ..updates[2].clone() };
    let base = Some(save("whole", 0.0, large).path);
    let with_part = [updates[0].clone(), updates[1].clone(), part];
    let report = folder.merge(&with_part, &Options { base, ..keep_going() }).unwrap();
    assert_eq!(report.summary.rejected[0].reason, reason);
    // Of a tie none is told as what most hold.
    let report = folder.merge(&updates[1..], &keep_going()).unwrap();
    let text = report.summary.rejected[0].reason.to_string();
    assert!(text.contains("no value has a majority") && text.contains("carry"), "{text}");
    assert!(text.contains("\"count\" holds ") && text.contains(&large.to_string()), "{text}");
    // Kept local, they are the base's.
    let base = save("base", 0.0, 5).path;
    let options = Options { base: Some(base), ..keep_going() };
    let options = with(&options, |r| r.keep_local = vec!["cou*".to_owned()]);
    assert!(folder.merge(&updates, &options).unwrap().summary.rejected.is_empty());
    assert_eq!((folder.merged(), count()), (vec![4.0], 5i64.to_le_bytes().to_vec()));
    let slip = with(&options, |r| r.keep_local = vec!["cuont".into()]);
    let error = folder.merge(&updates, &slip).unwrap_err().to_string();
    assert!(error.contains("\"cuont\"") && error.contains("no tensor has such a name"), "{error}");
}

#[test]
fn the_median_is_no_average_of_huge_norms_without_a_base() {
    // The first update by fingerprint may be the outlier: then distances are counted from another.
    for seed in 0..6 {
        let folder = Folder::new();
        let mut updates: Vec<Update> = (0..6)
            .map(|i| {
                let numbers = testkit::sequence(10 + i, 64);
                let near: Vec<f32> = numbers.iter().map(|v| 1.0 + 1e-3 * v).collect();
                Update::new(folder.save_f32(&format!("{i}"), &near), 1.0)
            })
            .collect();
        let far: Vec<f32> = testkit::sequence(100 + seed, 64).iter().map(|v| v * 1e12).collect();
        updates.push(Update::new(folder.save_f32("far", &far), 1.0));
        for reducer in ["krum", "multi-krum:byzantine=1", "geometric-median", "bulyan"] {
            let options = with(&keep_going(), |r| r.reduce = reducer.parse().unwrap());
            folder.merge(&updates, &options).unwrap();
            let worst = folder.merged().iter().map(|v| (v - 1.0).abs()).fold(0.0, f64::max);
            assert!(worst < 2e-3, "{reducer}: off by {worst}");
        }
    }
}

#[test]
fn equal_steps_make_nova_the_mean_and_rate_one_makes_descent_the_mean() {
    let folder = Folder::new();
    let (mut updates, options) = updates(&folder, 7);
    folder.merge(&updates, &options).unwrap();
    let mean = std::fs::read(folder.path("out")).unwrap();
    let sgd = ServerStep::Sgd { lr: 1.0, momentum: 0.0, nesterov: false };
    folder.merge(&updates, &with(&options, |r| r.server = sgd)).unwrap();
    assert_eq!(std::fs::read(folder.path("out")).unwrap(), mean);
    for update in &mut updates {
        update.steps = 17.0;
    }
    folder.merge(&updates, &with(&options, |r| r.reduce = Reducer::Nova)).unwrap();
    assert_eq!(std::fs::read(folder.path("out")).unwrap(), mean);
}

#[test]
fn late_updates_are_changes_of_their_own_base() {
    let folder = Folder::new();
    let old = folder.save_f32("old", &[10.0, 20.0]);
    let new = folder.save_f32("new", &[12.0, 24.0]);
    let hash = |path| Some(aggregate::hash_file(path).unwrap());
    let late = Update {
        base: hash(&old),
        age: 3,
        ..Update::new(folder.save_f32("late", &[14.0, 20.0]), 1.0)
    };
    let fresh =
        Update { base: hash(&new), ..Update::new(folder.save_f32("fresh", &[12.0, 26.0]), 1.0) };
    let options = Options { base: Some(new), older_bases: vec![old], ..keep_going() };
    let options = with(&options, |r| r.reduce = "buffered".parse().unwrap());
    folder.merge(&[late.clone(), fresh.clone()], &options).unwrap();
    // Half of the late change (4, 0) at discount 1/2, and half of the fresh one (0, 2).
    assert_eq!(folder.merged(), [13.0, 25.0]);
    let report = folder.merge(&[late.clone(), fresh.clone()], &options).unwrap();
    let norm = |place: usize| report.summary.admitted[place].norm.unwrap();
    assert!((norm(0).max(norm(1)) - 4.0).abs() < 1e-12, "the norm is that of its own change");
    // Without the file it started from, it is refused.
    let without = Options { older_bases: Vec::new(), ..options.clone() };
    let report = folder.merge(&[late, fresh], &without).unwrap();
    assert!(matches!(report.summary.rejected[0].reason, Reason::Base { .. }));
    let other = folder.save_f32("other", &[1.0]);
    let unlike = Options { older_bases: vec![other], ..options };
    let error = folder.merge(&[Update::new(folder.path("fresh"), 1.0)], &unlike).unwrap_err();
    assert!(matches!(error, Error::OlderBase { .. }), "{error}");
}

#[test]
fn control_variates_move_as_far_as_nodes_took_part() {
    let folder = Folder::new();
    let name = format!("{}w", aggregate::CONTROL_PREFIX);
    let save = |file: &str, w: f32, c: f32| {
        folder.save(file, &[f32_tensor("w", &[1], &[w]), f32_tensor(&name, &[1], &[c])])
    };
    let base = Some(save("base", 0.0, 1.0));
    // Changes of the variate are 1, 2, 3 and 10, as in a system that kept only the last of them.
    let updates: Vec<Update> = [2.0f32, 3.0, 4.0, 11.0]
        .iter()
        .map(|&c| Update::new(save(&c.to_string(), c, c), 1.0))
        .collect();
    let variate = || values(&folder.path("out"), &name);
    let options = with(&Options { base, ..keep_going() }, |r| {
        r.correction = Correction::Scaffold;
        r.max_deviation = Limit::OFF;
    });
    folder.merge(&updates, &options).unwrap();
    assert_eq!((folder.merged(), variate()), (vec![5.0], vec![5.0]));
    // Of eight nodes four took part: half of the mean change.
    folder.merge(&updates, &with(&options, |r| r.population = Some(8))).unwrap();
    assert_eq!((folder.merged(), variate()), (vec![5.0], vec![3.0]));
    // Without a word they are tensors like any other.
    let median = with(&options, |r| r.reduce = Reducer::Median);
    folder.merge(&updates, &with(&median, |r| r.correction = Correction::None)).unwrap();
    assert_eq!((folder.merged(), variate()), (vec![3.5], vec![3.5]));
    let error = folder.merge(&updates, &median).unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
}

#[test]
fn numbers_that_a_rule_cannot_stand_are_errors() {
    let folder = Folder::new();
    let (updates, options) = updates(&folder, 4);
    let fail = |reducer: &str, options: &Options| {
        let options = with(options, |r| r.reduce = reducer.parse().unwrap());
        folder.merge(&updates, &options).unwrap_err().to_string()
    };
    let text = fail("krum:byzantine=1", &options);
    assert_eq!(text, "krum needs at least 5 updates to withstand 1, and 4 can be merged");
    assert!(fail("bulyan:byzantine=1", &options).contains("at least 7 updates"));
    assert!(fail("multi-krum:keep=5", &options).contains("at least 5 updates to keep"));
    assert!(fail("slerp", &options).contains("exactly two"));
    assert!(fail("trimmed-mean:trim=0.5", &options).contains("trim is 0.5"));
    assert!(fail("ties:density=0", &options).contains("density is 0"));
    assert!(fail("q-fedavg:q=-1", &options).contains("q is -1, expected at least 0"));
    assert!(fail("q-fedavg:lr=0", &options).contains("lr is 0"));
    assert!(fail("geometric-median:steps=0", &options).contains("steps is 0"));
    assert!(fail("ties", &keep_going()).contains("ties moves a base file"));
    let bucketed = |size| with(&options, |r| r.bucket = Some(size));
    assert!(fail("mean", &bucketed(2)).contains("bucket does not go with the reducer mean"));
    assert!(fail("median", &bucketed(0)).contains("bucket is 0, expected at least 1"));
    for bad in ["meen", "median:trim=1", "trimmed-mean:trim", "krum:byzantine=-1", "mean:name=x"] {
        assert!(bad.parse::<Reducer>().is_err(), "{bad}");
    }
}

/// Where the attacker alone holds a tensor, what the others lack counts as no change.
#[test]
fn parts_do_not_undo_clipping() {
    let folder = Folder::new();
    let both = |a: f32, b: f32| [f32_tensor_of("a", a), f32_tensor_of("b", b)];
    let base = Some(folder.save("base", &both(0.0, 0.0).each_ref().map(Owned::tensor)));
    let part = |file: &str, name: &'static str, value: f32| {
        let path = folder.save(file, &[f32_tensor_of(name, value).tensor()]);
        Update { partial: true, ..Update::new(path, 1.0) }
    };
    let mut updates: Vec<Update> =
        (0..5).map(|i| part(&format!("{i}"), "a", 1.0 + i as f32 / 10.0)).collect();
    updates.push(part("attacker", "b", 8000.0));
    for (reducer, most) in [
        ("norm-clipped-mean:max_norm=1", 1.0 / 6.0),
        ("centred-clipping:radius=1,steps=1", 1.0 / 6.0),
        ("geometric-median", 2.0),
        ("krum", 0.0),
    ] {
        let options = with(&Options { base: base.clone(), ..keep_going() }, |r| {
            r.reduce = reducer.parse().unwrap();
            r.max_deviation = Limit::OFF;
        });
        folder.merge(&updates, &options).unwrap();
        let moved = values(&folder.path("out"), "b")[0];
        assert!(moved.abs() <= most + 1e-6, "{reducer} moved by {moved}");
    }
    let privacy = aggregate::Privacy {
        clip_norm: 1.0,
        noise_multiplier: 1e-6,
        sampling_rate: 1.0,
        delta: 1e-5,
        adaptive: None,
        seed: Some(1),
    };
    let state_out = Some(folder.path("state"));
    let options = Options { base, state_out, ..keep_going() };
    let options = with(&options, |r| r.privacy = Some(privacy));
    let summary = folder.merge(&updates, &options).unwrap().summary;
    let moved = values(&folder.path("out"), "b")[0];
    assert!((moved - 1.0 / 6.0).abs() < 1e-4, "{moved}");
    assert!(
        summary.admitted.iter().all(|a| a.norm.is_none() && (a.share * 6.0 - 1.0).abs() < 1e-12)
    );
}

/// A tensor of one value.
struct Owned(&'static str, [f32; 1]);

impl Owned {
    fn tensor(&self) -> aggregate::TensorRef<'_> {
        f32_tensor(self.0, &[1], &self.1)
    }
}

fn f32_tensor_of(name: &'static str, value: f32) -> Owned {
    Owned(name, [value])
}

#[test]
fn one_update_out_of_range_does_not_stop_the_others() {
    for (reducer, server_step) in [
        ("mean", "adam"),
        ("mean", "adagrad"),
        ("mean", "yogi"),
        ("krum", "replace"),
        ("centred-clipping", "replace"),
    ] {
        let folder = Folder::new();
        let (mut updates, options) = updates(&folder, 8);
        let far = folder.save(
            "far",
            &[f32_tensor("a", &[100], &[1e25; 100]), f32_tensor("b", &[10, 20], &[1e30; 200])],
        );
        updates.push(from_node("far", &far, 1.0));
        let options = Options { state_out: Some(folder.path("state")), ..options };
        let options = with(&options, |r| {
            r.reduce = reducer.parse().unwrap();
            r.server = server_step.parse().unwrap();
        });
        let report = folder.merge(&updates, &options).unwrap();
        let [rejected] = &report.summary.rejected[..] else { panic!("{report:?}") };
        assert!(matches!(rejected.reason, Reason::Norm { .. }), "{reducer} {server_step}");
    }
}

#[test]
fn long_training_is_no_attack_and_absurd_steps_are() {
    let folder = Folder::new();
    let (mut updates, options) = updates(&folder, 6);
    // Five times as far as the others, as after many more local steps.
    let base = WeightFile::open(folder.path("base")).unwrap();
    let all: Vec<f32> = ["a", "b"].iter().flat_map(|t| base.read_f32(t).unwrap()).collect();
    let far: Vec<f32> =
        all.iter().zip(testkit::sequence(77, 300)).map(|(x, d)| x + 0.45 * d).collect();
    let tensors = [f32_tensor("a", &[100], &far[..100]), f32_tensor("b", &[10, 20], &far[100..])];
    updates.push(from_node("slow", &folder.save("slow", &tensors), 1.0));
    assert!(folder.merge(&updates, &options).unwrap().summary.rejected.is_empty());
    let nova = with(&options, |r| r.reduce = Reducer::Nova);
    updates[6].steps = 2e9;
    let report = folder.merge(&updates, &nova).unwrap();
    assert!(matches!(report.summary.rejected[0].reason, Reason::Steps { .. }));
}

#[test]
fn a_loss_is_a_claim_that_must_make_sense() {
    let folder = Folder::new();
    let (mut updates, options) = updates(&folder, 7);
    let fair = with(&options, |r| {
        r.reduce = Reducer::QFedAvg(QFedAvg::default());
        r.quorum = Quorum::AtLeast(1);
    });
    updates[0].loss = None;
    updates[1].loss = Some(-1.0);
    updates[2].loss = Some(f64::NAN);
    let rejected = folder.merge(&updates, &fair).unwrap().summary.rejected;
    let reasons: Vec<String> = rejected.iter().map(|r| r.reason.to_string()).collect();
    assert!(reasons[0].contains("does not state its loss at the model it started from"));
    assert!(reasons[1].contains("a loss of -1.000e0, expected a finite number of at least 0"));
    assert_eq!(rejected[2].reason.kind(), "loss");
    // Other rules do not ask.
    assert!(folder.merge(&updates, &options).unwrap().summary.rejected.is_empty());
    // However large its claim, one is at most as much as all others.
    let model = |claim: f64, updates: &mut Vec<Update>| {
        updates[6].loss = Some(claim);
        folder.merge(&updates[3..], &fair).unwrap();
        values(&folder.path("out"), "a")
    };
    assert_eq!(model(1e9, &mut updates), model(1e300, &mut updates));
}

/// Powers of zero make the mean of equal weights, bit for bit.
#[test]
fn without_a_power_losses_do_not_count() {
    let folder = Folder::new();
    let (mut updates, options) = updates(&folder, 9);
    let plain = with(&options, |r| r.reduce = "q-fedavg:q=0".parse().unwrap());
    folder.merge(&updates, &plain).unwrap();
    let fair = std::fs::read(folder.path("out")).unwrap();
    for update in &mut updates {
        update.weight = 3.0;
    }
    folder.merge(&updates, &options).unwrap();
    assert_eq!(std::fs::read(folder.path("out")).unwrap(), fair);
}

#[test]
fn a_sphere_is_round_in_every_dtype() {
    use aggregate::{TensorData, TensorRef};
    let folder = Folder::new();
    let rows = [[1.0, 0.0, 0.0, 2.0], [0.0, 1.0, 1.0, 1.0]];
    let options = with(&keep_going(), |r| r.reduce = "slerp".parse().unwrap());
    let wide = rows.map(|row| {
        let tensor = TensorRef { name: "w", shape: &[4], data: TensorData::F64(&row) };
        Update::new(folder.save(&format!("wide{}", row[0]), &[tensor]), 1.0)
    });
    folder.merge(&wide, &options).unwrap();
    let found = folder.merged();
    let narrow = rows.map(|row| {
        Update::new(folder.save_f32(&format!("n{}", row[0]), &row.map(|v| v as f32)), 1.0)
    });
    folder.merge(&narrow, &options).unwrap();
    for (a, b) in found.iter().zip(folder.merged()) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
    let partial = wide.map(|update| Update { partial: true, ..update });
    let base = Some(folder.path("wide1"));
    assert!(folder.merge(&partial, &Options { base, ..options }).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn medians_and_trimmed_means_stay_within_the_values(
        (dtype, rows) in rows_of_any_float(9),
        trim in 0.0..0.5f64,
    ) {
        for reducer in [Reducer::Median, Reducer::TrimmedMean(TrimmedMean { trim })] {
            let folder = Folder::new();
            let updates: Vec<Update> = rows
                .iter()
                .enumerate()
                .map(|(i, row)| Update::new(folder.save_raw(&i.to_string(), dtype, row), 1.0))
                .collect();
            folder.merge(&updates, &with(&keep_going(), |r| r.reduce = reducer)).unwrap();
            let inputs: Vec<_> =
                (0..rows.len()).map(|i| values(&folder.path(&i.to_string()), "w")).collect();
            for (j, merged) in folder.merged().into_iter().enumerate() {
                let column = || inputs.iter().map(|row| row[j]);
                let low = column().fold(f64::INFINITY, f64::min);
                let high = column().fold(f64::NEG_INFINITY, f64::max);
                prop_assert!(low <= merged && merged <= high, "{low} {merged} {high}");
            }
        }
    }

    /// Of every dtype, integers included.
    #[test]
    fn equal_files_come_back_bit_for_bit((dtype, rows) in rows_of_any_dtype(1), n in 7..12usize) {
        for text in ["median", "trimmed-mean", "krum", "multi-krum", "bulyan", "geometric-median"] {
            let folder = Folder::new();
            let updates: Vec<Update> = (0..n)
                .map(|i| Update::new(folder.save_raw(&i.to_string(), dtype, &rows[0]), 1.0))
                .collect();
            let options = with(&keep_going(), |r| r.reduce = text.parse().unwrap());
            let merged = folder.merge(&updates, &options);
            // Squares of huge f64 are not finite.
            if dtype == aggregate::Dtype::F64 && merged.is_err() {
                continue;
            }
            merged.unwrap();
            prop_assert_eq!(&folder.merged_bytes(), &rows[0], "{}", text);
        }
    }
}
