//! A running stream allocates nothing: alone in its binary, as it counts what the process allocates.

use allocation_counter::measure;
use preprocess::{
    Butterworth, Exponential, Hampel, Median, MovingAverage, Notch, Pipeline, Rows, SavitzkyGolay,
    Stage, StepConfig, Streamer, ZScore,
};

#[test]
fn live_steps_do_not_allocate_once_they_run() {
    let steps: Vec<StepConfig> = vec![
        MovingAverage { len: 10 }.into(),
        Exponential::by_alpha(0.9).into(),
        Median { len: 5 }.into(),
        Median { len: 31 }.into(),
        StepConfig::from(Hampel { len: 7, n_sigmas: 3.0 }).on(["dim_1", "dim_3"]),
        Hampel { len: 21, n_sigmas: 3.0 }.into(),
        SavitzkyGolay { len: 11, order: 3, deriv: 0 }.into(),
        Butterworth::low_pass(4, 10.0).into(),
        Notch::at(12.0).into(),
        ZScore {}.into(),
    ];
    let row = |t: usize| -> [f64; 6] {
        std::array::from_fn(|i| (t as f64 / 9.0 + i as f64).sin() + 0.01 * ((t * 37) % 11) as f64)
    };
    let values: Vec<f64> = (0..300).flat_map(row).collect();
    let training = Rows::of_series(6, Some(50.0), values);
    let pipeline =
        Pipeline::fit(&steps, &Stage::unnamed(6).at(50.0), vec![training]).expect("good options");
    let mut stream = Streamer::new(&pipeline).expect("causal");
    let mut sum = 0.0;
    let mut push = |t: usize| {
        let out = stream.push(t as f64 / 50.0, &row(t)).expect("finite");
        sum += out.values().iter().sum::<f64>();
    };
    (0..200).for_each(&mut push);
    let counted = measure(|| (200..2000).for_each(&mut push));
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert!(sum.is_finite() && sum != 0.0);
    // The counter sees allocations.
    assert!(measure(|| drop(std::hint::black_box(vec![1_u8; 100]))).count_total > 0);
}
