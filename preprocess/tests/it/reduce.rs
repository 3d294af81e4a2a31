//! Laws of the steps that reduce.

use preprocess::{Pca, Pipeline, Rows, Stage};
use proptest::prelude::*;
use testkit::assert_close;

fn distances(values: &[f64], channels: usize) -> Vec<f64> {
    let rows: Vec<&[f64]> = values.chunks_exact(channels).collect();
    let distance =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    rows.iter().flat_map(|a| rows.iter().map(|b| distance(a, b))).collect()
}

proptest! {
    #[test]
    fn pca_with_all_components_keeps_distances(
        channels in 1_usize..7,
        extra in 0_usize..20,
        seed in 0_u64..1000,
        offset in -1e6_f64..1e6,
        exponent in -3_i32..4,
    ) {
        let n_rows = channels.max(2) + extra;
        let spread = 10.0_f64.powi(exponent);
        let noise = testkit::sequence(seed, n_rows * channels);
        let values: Vec<f64> = noise.iter().map(|&v| offset + spread * f64::from(v)).collect();
        let rows = Rows::of_series(channels, None, values.clone());
        let pca = Pca { components: channels, whiten: false };
        let stage = Stage::unnamed(channels);
        let pipeline = Pipeline::fit(&[pca.into()], &stage, vec![rows.clone()]).unwrap();
        let out = pipeline.apply(rows.view()).unwrap();
        let (before, after) = (distances(&values, channels), distances(out.values(), channels));
        let largest = before.iter().copied().fold(0.0, f64::max);
        // Distances as such have the digits that the offset leaves them.
        assert_close("distances", &after, &before, 1e-11, 1e-11 * largest + 1e-15 * offset.abs());
    }

    #[test]
    fn whitened_components_have_variance_1_and_are_uncorrelated(seed in 0_u64..1000) {
        let (channels, n_rows) = (4, 60);
        let noise = testkit::sequence(seed, n_rows * channels);
        let value = |(i, v): (usize, &f32)| f64::from(*v) + 0.5 * f64::from(noise[i / channels * channels]);
        let rows = Rows::of_series(channels, None, noise.iter().enumerate().map(value).collect());
        let pca = Pca { components: channels, whiten: true };
        let stage = Stage::unnamed(channels);
        let pipeline = Pipeline::fit(&[pca.into()], &stage, vec![rows.clone()]).unwrap();
        let out = pipeline.apply(rows.view()).unwrap();
        let entry = |i: usize| {
            let pairs = out.view().iter().map(|(_, row)| row[i / channels] * row[i % channels]);
            pairs.sum::<f64>() / (n_rows - 1) as f64
        };
        let covariance: Vec<f64> = (0..channels * channels).map(entry).collect();
        let identity: Vec<f64> =
            (0..channels * channels).map(|i| f64::from(u8::from(i % (channels + 1) == 0))).collect();
        assert_close("covariance", &covariance, &identity, 0.0, 1e-10);
    }
}

/// In pieces, and in several series, the fit is the same but for rounding.
#[test]
fn pca_of_several_series_is_that_of_all_rows() {
    let values: Vec<f64> = testkit::sequence(9, 3000).iter().map(|&v| 1e5 + f64::from(v)).collect();
    let fit = |series: Vec<Rows>| {
        let pca = Pca { components: 2, whiten: false };
        Pipeline::fit(&[pca.into()], &Stage::unnamed(3), series).unwrap()
    };
    let whole = Rows::of_series(3, None, values.clone());
    let parts = values.chunks(3 * 77).map(|part| Rows::of_series(3, None, part.to_vec())).collect();
    let (one, many) = (fit(vec![whole.clone()]), fit(parts));
    let (one, many) = (one.apply(whole.view()).unwrap(), many.apply(whole.view()).unwrap());
    assert_close("projected", many.values(), one.values(), 1e-9, 1e-9);
}
