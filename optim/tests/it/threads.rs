//! The number of threads does not show in any bit.

use optim::{OptimizerConfig, clip_by_global_norm, global_norm};
use testkit::{assert_same_bits, sequence};

fn on<T: Send>(threads: usize, job: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(job)
}

#[test]
fn steps_have_the_same_bits() {
    // Long enough for several parts, and no multiple of anything.
    let n_params = 100_003;
    for &name in OptimizerConfig::NAMES {
        let config: OptimizerConfig = name.parse().unwrap();
        let run = |threads: usize, bound: Option<usize>| {
            on(threads, || {
                let mut params = sequence(1, n_params);
                let mut optimizer = config.build(n_params).unwrap();
                if let Some(threads) = bound {
                    optimizer.set_threads(threads);
                }
                for step in 0..3 {
                    let mut grads = sequence(2 + step, n_params);
                    clip_by_global_norm(&mut grads, 1.0);
                    optimizer.step(&mut params, &grads, 0.01);
                }
                params
            })
        };
        let one = run(1, None);
        for (threads, bound) in [(2, None), (7, None), (4, Some(1)), (4, Some(3))] {
            assert_same_bits(name, &run(threads, bound), &one);
        }
    }
}

#[test]
fn norms_have_the_same_bits() {
    let values = sequence(3, 200_077);
    let one = on(1, || global_norm(&values));
    for threads in [2, 5] {
        assert_eq!(on(threads, || global_norm(&values)).to_bits(), one.to_bits());
    }
}
