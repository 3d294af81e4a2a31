//! Where blocks begin and end does not show.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{Dtype, Rules, ServerStep, TensorData, TensorRef, write_file};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Where the blocks begin and end does not show, in the model or in the state.
    #[test]
    fn block_edges_do_not_show(
        row_bytes in 1..40usize,
        n_elements in 0..20usize,
        n_files in 1..4u64,
        momentum in prop::sample::select(vec![0.0f32, 0.9]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let save = |name: String, seed| {
            let floats = testkit::sequence(seed, n_elements);
            let wide: Vec<f64> = floats.iter().map(|&v| f64::from(v) / 3.0).collect();
            let counts: Vec<i64> = (0..n_elements).map(|i| i64::try_from(i).unwrap() * 1_000_003).collect();
            let flags: Vec<u8> = (0..n_elements).map(|i| (i % 2) as u8).collect();
            let shape = &[n_elements];
            let data = [
                ("a", TensorData::Raw { dtype: Dtype::BOOL, bytes: &flags }),
                ("b", TensorData::F32(&floats)),
                ("c", TensorData::F64(&wide)),
                ("d", TensorData::I64(&counts)),
            ];
            let tensors = data.map(|(name, data)| TensorRef { name, shape, data });
            write_file(path(&name), &tensors, &BTreeMap::new()).unwrap();
            Update::new(path(&name), seed as f64)
        };
        let base = save("base".into(), 99).path;
        let updates: Vec<_> = (1..=n_files).map(|seed| save(seed.to_string(), seed)).collect();

        let mut outputs = Vec::new();
        for row_bytes in [Some(row_bytes), None] {
            // Two rounds, the second with the state of the first.
            let mut base = base.clone();
            for round in 0..2 {
                let options = Options {
                    base: Some(base),
                    rules: Rules {
                        server: ServerStep::Sgd { lr: 0.5, momentum, nesterov: false },
                        ..Rules::default()
                    },
                    state_in: Some(path("state")).filter(|_| round > 0),
                    state_out: Some(path("state")),
                    ..Options::default()
                };
                let out = path(&format!("out{round}"));
                merge(&updates, &options, &out, &|_| BTreeMap::new(), row_bytes).unwrap();
                outputs.push(std::fs::read(&out).unwrap());
                outputs.push(std::fs::read(path("state")).unwrap_or_default());
                base = out;
            }
        }
        let (small, large) = outputs.split_at(4);
        prop_assert_eq!(small, large);
    }
}
