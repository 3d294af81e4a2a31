//! The mean: fixed points, bounds, weights, order and threads, in every dtype.

use std::collections::BTreeMap;

use aggregate::{Dtype, Options, ServerStep, Summary, TensorData, TensorRef, Update};
use half::f16;
use proptest::prelude::*;

use crate::support::{
    Folder, from_node, keep_going, rows_of_any_dtype, rows_of_any_float, values, with,
};

/// Merges rows with weights; the file `out` then holds the result.
fn merge_rows(folder: &Folder, dtype: Dtype, rows: &[Vec<u8>], weights: &[f64]) -> Vec<u8> {
    let save = |(i, row): (usize, &Vec<u8>)| folder.save_raw(&format!("{i}"), dtype, row);
    let paths = rows.iter().enumerate().map(save);
    let updates: Vec<_> = paths.zip(weights).map(|(path, &w)| Update::new(path, w)).collect();
    folder.merge(&updates, &keep_going()).unwrap();
    folder.merged_bytes()
}

fn merge_f64(rows: &[(f64, f64)]) -> f64 {
    let folder = Folder::new();
    let bytes: Vec<_> = rows.iter().map(|(value, _)| value.to_le_bytes().to_vec()).collect();
    let weights: Vec<_> = rows.iter().map(|&(_, weight)| weight).collect();
    let merged = merge_rows(&folder, Dtype::F64, &bytes, &weights);
    f64::from_le_bytes(merged.try_into().unwrap())
}

#[test]
fn fifty_halves_of_a_thousand_are_a_thousand() {
    let folder = Folder::new();
    let row = f16::from_f32(1000.0).to_le_bytes().to_vec();
    assert_eq!(merge_rows(&folder, Dtype::F16, &vec![row.clone(); 50], &[7.0; 50]), row);
}

#[test]
fn more_files_than_a_process_may_hold_open() {
    let folder = Folder::new();
    let rows: Vec<_> = (0..300).map(|i| (i as f32).to_le_bytes().to_vec()).collect();
    merge_rows(&folder, Dtype::F32, &rows, &[1.0; 300]);
    assert_eq!(folder.merged(), [149.5]);
}

#[test]
#[expect(clippy::float_cmp, reason = "these means are exact or at a bound")]
fn extreme_values_and_weights() {
    let (max, tiny) = (f64::MAX, 5e-324);
    assert_eq!(merge_f64(&[(max, 1.0), (-max, 1.0)]), 0.0);
    assert_eq!(merge_f64(&[(max, 1.0), (max, 1.0), (-max, 0.0)]), max);
    assert!((merge_f64(&[(max, 3.0), (-max, 1.0)]) / max - 0.5).abs() < 1e-15);
    assert_eq!(merge_f64(&[(tiny, 1.0), (3.0 * tiny, 1.0)]), 2.0 * tiny);
    assert_eq!(merge_f64(&[(1.0, 1e308), (2.0, 1e308), (3.0, 1e308)]), 2.0);
    assert_eq!(merge_f64(&[(1.0, tiny), (2.0, tiny), (3.0, tiny)]), 2.0);
    let near = merge_f64(&[(1.0, 1e308), (2.0, tiny)]);
    assert!((1.0..=1.0 + 1e-15).contains(&near));
    let mut zeros = vec![(f64::MIN, 0.0); 40];
    zeros.push((0.1, 1e300));
    assert_eq!(merge_f64(&zeros), 0.1);
}

/// `a + (b − a)` is often a bit beyond `b`.
#[test]
fn rounding_does_not_leave_the_bounds() {
    let folder = Folder::new();
    let bytes = |factor: f64| -> Vec<u8> {
        testkit::sequence(5, 500)
            .iter()
            .flat_map(|&v| (f64::from(v) * factor).to_le_bytes())
            .collect()
    };
    let (near, far) = (bytes(0.1), bytes(0.3));
    for weights in [[1e-300, 1.0], [1.0, 1e-300]] {
        merge_rows(&folder, Dtype::F64, &[near.clone(), far.clone()], &weights);
        let (near, far) = (values(&folder.path("0"), "w"), values(&folder.path("1"), "w"));
        for ((merged, near), far) in folder.merged().into_iter().zip(near).zip(far) {
            assert!(near.min(far) <= merged && merged <= near.max(far), "{near} {merged} {far}");
        }
    }
}

/// What a caller may write about a merge: all that the summary says.
#[expect(clippy::unnecessary_wraps, reason = "the signature of the callback")]
fn provenance(
    summary: &Summary,
) -> Result<BTreeMap<String, String>, Box<dyn std::error::Error + Send + Sync>> {
    Ok([("about".to_owned(), format!("{summary:?}"))].into())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn equal_inputs_are_a_fixed_point(
        (dtype, rows) in rows_of_any_dtype(1),
        weights in prop::collection::vec(0.001..1e6f64, 1..6),
    ) {
        let rows = vec![rows[0].clone(); weights.len()];
        let merged = merge_rows(&Folder::new(), dtype, &rows, &weights);
        prop_assert_eq!(&merged, &rows[0]);
    }

    #[test]
    fn every_coordinate_is_between_the_extremes(
        (dtype, rows) in rows_of_any_float(4),
        weights in prop::collection::vec(0.001..1e6f64, 4),
    ) {
        let folder = Folder::new();
        merge_rows(&folder, dtype, &rows, &weights);
        let inputs: Vec<_> =
            (0..rows.len()).map(|i| values(&folder.path(&i.to_string()), "w")).collect();
        for (j, merged) in folder.merged().into_iter().enumerate() {
            let column = || inputs.iter().map(|row| row[j]);
            let (low, high) = (column().fold(f64::MAX, f64::min), column().fold(f64::MIN, f64::max));
            prop_assert!(low <= merged && merged <= high, "{low} {merged} {high}");
        }
    }

    /// The file is the same byte for byte, its metadata included.
    #[test]
    fn neither_order_nor_threads_matter(
        (dtype, rows) in rows_of_any_dtype(6),
        weights in prop::collection::vec(prop_oneof![Just(0.0), 0.001..1e6f64], 6),
        order in Just([0usize, 1, 2, 3, 4, 5]).prop_shuffle(),
    ) {
        let folder = Folder::new();
        let mut updates: Vec<_> = rows
            .iter()
            .enumerate()
            .map(|(i, row)| {
                let path = folder.save_raw(&i.to_string(), dtype, row);
                // Two nodes send twice.
                let update = from_node(&format!("n{}", i % 4), &path, weights[i]);
                Update { base: Some(["x", "y"][i / 3].to_owned()), ..update }
            })
            .collect();
        updates[0].weight += 1.0;
        // Some of other shape.
        updates.push(Update::new(folder.save_f32("other", &[1.0; 40]), 1.0));

        let merge = |updates: &[Update], n_threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            let out = folder.path("out");
            let merged = pool.install(|| {
                aggregate::aggregate(updates, &keep_going(), &out, &provenance)
            });
            (std::fs::read(&out).ok(), merged.map(|r| (r.summary, r.out_hash)).map_err(|e| e.to_string()))
        };
        let expected = merge(&updates, 1);
        let place = |update: &Update| {
            updates.iter().position(|u| u == update).and_then(|i| order.get(i)).copied()
        };
        let mut shuffled = updates.clone();
        shuffled.sort_by_key(place);
        prop_assert_eq!(merge(&shuffled, 3), expected);
    }

    #[test]
    fn the_mean_is_the_formula(
        rows in prop::collection::vec(prop::collection::vec(-1e3..1e3f32, 5), 1..6),
        weights in prop::collection::vec(0.001..1e4f64, 6),
    ) {
        let folder = Folder::new();
        let bytes: Vec<Vec<u8>> =
            rows.iter().map(|r| r.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
        merge_rows(&folder, Dtype::F32, &bytes, &weights);
        let total: f64 = weights[..rows.len()].iter().sum();
        let expected: Vec<f32> = (0..5)
            .map(|j| {
                let sum: f64 = rows.iter().zip(&weights).map(|(r, w)| f64::from(r[j]) * w).sum();
                (sum / total) as f32
            })
            .collect();
        let merged: Vec<f32> = folder.merged().iter().map(|&v| v as f32).collect();
        testkit::assert_close("mean", &merged, &expected, 1e-6, 1e-6);
    }

    #[test]
    fn only_the_ratio_of_weights_matters(
        (dtype, rows) in rows_of_any_float(4),
        weights in prop::collection::vec(1..1000u32, 4),
        factor in 1..1000u32,
        power in -900..900i32,
    ) {
        let folder = Folder::new();
        let scaled = |factor: f64| weights.iter().map(|&w| f64::from(w) * factor).collect::<Vec<_>>();
        let expected = merge_rows(&folder, dtype, &rows, &scaled(1.0));
        // Powers of two change nothing at all, other factors the last bit at most.
        prop_assert_eq!(&merge_rows(&folder, dtype, &rows, &scaled(2f64.powi(power))), &expected);
        let before = folder.merged();
        merge_rows(&folder, dtype, &rows, &scaled(f64::from(factor)));
        let largest = (0..rows.len())
            .flat_map(|i| values(&folder.path(&i.to_string()), "w"))
            .fold(1e-40f64, |a, v| a.max(v.abs()));
        for (a, b) in folder.merged().iter().zip(before) {
            let slack = match dtype {
                Dtype::F16 => 1e-3,
                Dtype::BF16 => 1e-2,
                _ => 1e-6,
            };
            prop_assert!((a / largest - b / largest).abs() <= slack, "{a} {b}");
        }
    }

    #[test]
    fn weight_zero_does_not_count(
        (dtype, rows) in rows_of_any_float(4),
        at in any::<prop::sample::Index>(),
    ) {
        let folder = Folder::new();
        let n = rows.len();
        prop_assume!(n > 1);
        let mut weights = vec![3.0; n];
        let at = at.index(n);
        weights[at] = 0.0;
        let with = merge_rows(&folder, dtype, &rows, &weights);
        let mut without = rows.clone();
        without.remove(at);
        prop_assert_eq!(merge_rows(&folder, dtype, &without, &vec![3.0; n - 1]), with);
    }
}

#[test]
fn many_tensors_of_many_shapes() {
    let folder = Folder::new();
    let shapes: [&[usize]; 5] = [&[], &[0], &[1], &[32_769], &[2, 0, 3]];
    for (file, factor) in [("a", 1.0), ("b", 3.0)] {
        let data: Vec<Vec<f32>> = shapes
            .iter()
            .map(|s| testkit::sequence(7, s.iter().product()).iter().map(|v| v * factor).collect())
            .collect();
        let names = ["s", "empty", "one", "large", "hollow"];
        let tensors: Vec<_> = (0..5)
            .map(|i| TensorRef {
                name: names[i],
                shape: shapes[i],
                data: TensorData::F32(&data[i]),
            })
            .collect();
        folder.save(file, &tensors);
    }
    let updates = [Update::new(folder.path("a"), 1.0), Update::new(folder.path("b"), 1.0)];
    let report = folder.merge(&updates, &keep_going()).unwrap();
    assert_eq!((report.n_tensors, report.n_parameters), (5, 32_771));
    let expected: Vec<f32> = testkit::sequence(7, 32_769).iter().map(|v| v * 2.0).collect();
    let file = aggregate::WeightFile::open(folder.path("out")).unwrap();
    testkit::assert_close("large", &file.read_f32("large").unwrap(), &expected, 1e-6, 0.0);
    assert_eq!(file.tensor("hollow").unwrap().shape, [2, 0, 3]);
    assert!(file.tensor("s").unwrap().shape.is_empty());
}

#[test]
fn parts_are_merged_by_the_updates_that_hold_them() {
    let folder = Folder::new();
    let tensor = |name, value: &'static [f32; 1]| TensorRef {
        name,
        shape: &[1],
        data: TensorData::F32(value),
    };
    let base =
        folder.save("base", &[tensor("a", &[9.0]), tensor("b", &[8.0]), tensor("c", &[7.0])]);
    let files = [
        folder.save("1", &[tensor("b", &[1.0])]),
        folder.save("2", &[tensor("a", &[2.0])]),
        folder.save("3", &[tensor("a", &[4.0])]),
    ];
    // However light those that hold a tensor are beside the others.
    for weights in [[1.0, 1.0, 3.0], [1e300, 1e-300, 3e-300], [1e-300, 1e300, 3e300]] {
        let updates: Vec<Update> = files
            .iter()
            .zip(weights)
            .map(|(path, weight)| Update { partial: true, ..Update::new(path, weight) })
            .collect();
        for server_step in
            [ServerStep::Replace, ServerStep::Sgd { lr: 1.0, momentum: 0.5, nesterov: false }]
        {
            let options = Options {
                base: Some(base.clone()),
                state_out: Some(folder.path("state")),
                ..keep_going()
            };
            let options = with(&options, |r| r.server = server_step);
            folder.merge(&updates, &options).unwrap();
            let out = aggregate::WeightFile::open(folder.path("out")).unwrap();
            let values = ["a", "b", "c"].map(|name| out.read_f32(name).unwrap()[0]);
            testkit::assert_same_bits("merged", &values, &[3.5, 1.0, 7.0]);
        }
    }
}
