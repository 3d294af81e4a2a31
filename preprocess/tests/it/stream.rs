//! Streaming equals batch, bit for bit.

use preprocess::{Pipeline, Streamer};
use proptest::prelude::*;
use testkit::assert_same_bits;

use crate::pipeline::{causal_steps, matrix};

proptest! {
    #[test]
    fn streaming_equals_batch(
        configs in prop::collection::vec(causal_steps(), 0..4),
        channels in 1_usize..4,
        training in matrix(12),
        fresh in matrix(12),
    ) {
        let rows = |m: &[f32]| m[..m.len() / channels * channels].to_vec();
        let (training, fresh) = (rows(&training), rows(&fresh));
        let Ok(pipeline) = Pipeline::fit(&configs, channels, &[&training]) else {
            return Ok(()); // a channel without a value
        };
        let mut batch = fresh.clone();
        pipeline.apply_series(&mut batch).unwrap();

        let mut streamer = Streamer::new(&pipeline).unwrap();
        for _ in 0..2 {
            let mut streamed = fresh.clone();
            for row in streamed.chunks_mut(channels) {
                streamer.push(row).unwrap();
            }
            assert_same_bits("streamed", &streamed, &batch);
            streamer.reset();
        }
    }

    #[test]
    fn later_rows_change_nothing_before_them(
        configs in prop::collection::vec(causal_steps(), 1..4),
        values in matrix(20),
        cut in 0_usize..20,
    ) {
        let Ok(pipeline) = Pipeline::fit(&configs, 1, &[&values]) else { return Ok(()) };
        let cut = cut.min(values.len());
        let (mut whole, mut part) = (values.clone(), values[..cut].to_vec());
        pipeline.apply_series(&mut whole).unwrap();
        pipeline.apply_series(&mut part).unwrap();
        assert_same_bits("before the cut", &part, &whole[..cut]);
    }
}
