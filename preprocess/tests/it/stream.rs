//! Streaming equals batch, bit for bit.

use preprocess::{Rows, Stage, Streamer, ZScore};
use proptest::prelude::*;
use testkit::assert_same_bits;

use crate::support::{apply, causal_steps, fit, matrix, rows};

proptest! {
    #[test]
    fn streaming_equals_batch(
        configs in prop::collection::vec(causal_steps(), 0..4),
        channels in 1_usize..4,
        training in matrix(12),
        fresh in matrix(12),
    ) {
        let whole = |m: &[f64]| m[..m.len() / channels * channels].to_vec();
        let (training, fresh) = (whole(&training), whole(&fresh));
        let Ok(pipeline) = fit(&configs, channels, &training) else {
            return Ok(()); // a channel without a value, or values that overflow
        };
        let batch = pipeline.apply(rows(channels, &fresh).view()).unwrap();
        let mut streamer = Streamer::new(&pipeline).unwrap();
        for _ in 0..2 {
            let mut streamed = Rows::new(pipeline.output().channels());
            for (time, row) in rows(channels, &fresh).view().iter() {
                streamed.extend(streamer.push(time, row).unwrap());
            }
            streamed.extend(streamer.finish());
            assert_same_bits("streamed", streamed.values(), batch.values());
            assert_same_bits("times", streamed.times(), batch.times());
            streamer.reset();
        }
    }

    #[test]
    fn later_rows_change_nothing_before_them(
        configs in prop::collection::vec(causal_steps(), 1..4),
        values in matrix(20),
        cut in 0_usize..20,
    ) {
        let Ok(pipeline) = fit(&configs, 1, &values) else { return Ok(()) };
        let cut = cut.min(values.len());
        let (whole, part) = (apply(&pipeline, &values), apply(&pipeline, &values[..cut]));
        assert_same_bits("before the cut", &part, &whole[..part.len()]);
    }

    #[test]
    fn a_step_on_some_channels_leaves_the_others(
        config in causal_steps(),
        values in prop::collection::vec(-10.0_f64..10.0, 12),
    ) {
        let all = fit(std::slice::from_ref(&config), 1, &column(&values, 1)).unwrap();
        let some = fit(&[config.on(["dim_1"])], 3, &values).unwrap();
        let (alone, together) = (apply(&all, &column(&values, 1)), apply(&some, &values));
        let (n, made) = (some.output().channels(), all.output().channels());
        for row in 0..4 {
            let row_of = |all: &[f64], n: usize| all[row * n..(row + 1) * n].to_vec();
            let (was, is) = (row_of(&values, 3), row_of(&together, n));
            let expected = match &row_of(&alone, made)[..] {
                [one] => vec![was[0], *one, was[2]],
                several => [&[was[0], was[2]], several].concat(),
            };
            assert_same_bits("row", &is, &expected);
        }
    }
}

fn column(values: &[f64], channel: usize) -> Vec<f64> {
    values.iter().skip(channel).step_by(3).copied().collect()
}

#[test]
fn a_step_that_needs_the_whole_series_is_refused() {
    use preprocess::{Impute, ImputeMethod};
    let configs = [ZScore {}.into(), Impute::by(ImputeMethod::Linear).into()];
    let pipeline = fit(&configs, 1, &[0.0, 2.0]).unwrap();
    let error = Streamer::new(&pipeline).unwrap_err().to_string();
    assert_eq!(
        error,
        "step 1: impute looks at later rows and cannot run on a stream; use method \"previous\""
    );
}

#[test]
fn a_bad_row_does_not_count() {
    use preprocess::{Impute, ImputeMethod, Pipeline};
    let configs = [Impute::by(ImputeMethod::Previous).into()];
    let pipeline = Pipeline::fit(&configs, &Stage::unnamed(2), vec![rows(2, &[0.0, 0.0])]).unwrap();
    let mut streamer = Streamer::new(&pipeline).unwrap();
    streamer.push(0.0, &[1.0, 2.0]).unwrap();
    assert!(streamer.push(1.0, &[5.0, f64::INFINITY]).is_err());
    let short = streamer.push(1.0, &[5.0]).unwrap_err().to_string();
    assert_eq!(short, "the rows have 1 values, expected one for each of 2 channels");
    assert_same_bits("held", streamer.push(1.0, &[f64::NAN; 2]).unwrap().values(), &[1.0, 2.0]);
    streamer.reset();
    assert_same_bits("anew", streamer.push(0.0, &[f64::NAN; 2]).unwrap().values(), &[0.0, 0.0]);
}
