//! Convergence on problems with known minima, every optimizer with its published options and its
//! published learning rate, which falls to zero along a cosine: a step of constant length would
//! circle the minimum forever.

use optim::{Optimizer, OptimizerConfig, Schedule, SgdConfig};
use testkit::assert_close;

/// A problem: its gradient and where to start.
struct Problem {
    name: &'static str,
    start: Vec<f32>,
    minimum: Vec<f32>,
    gradient: fn(&[f32], &mut [f32]),
}

/// `(1 − x)² + 100·(y − x²)²`, minimum at (1, 1), from the usual start.
fn rosenbrock() -> Problem {
    Problem {
        name: "Rosenbrock",
        start: vec![-1.2, 1.0],
        minimum: vec![1.0, 1.0],
        gradient: |p, g| {
            let (x, y) = (f64::from(p[0]), f64::from(p[1]));
            g[0] = (-2.0 * (1.0 - x) - 400.0 * x * (y - x * x)) as f32;
            g[1] = (200.0 * (y - x * x)) as f32;
        },
    }
}

/// `Σ cᵢ·(pᵢ − tᵢ)²/2` with curvatures from 0.1 to 1000.
fn quadratic() -> Problem {
    Problem {
        name: "quadratic",
        start: vec![0.0; 5],
        minimum: vec![1.0, -2.0, 0.5, 3.0, -0.25],
        gradient: |p, g| {
            let curvatures = [0.1, 1.0, 10.0, 100.0, 1000.0];
            let targets = [1.0, -2.0, 0.5, 3.0, -0.25];
            for i in 0..5 {
                g[i] = curvatures[i] * (p[i] - targets[i]);
            }
        },
    }
}

/// The 40 points of the logistic regression: two features, a one for the bias, and the class, which
/// a tenth of the points has wrong, so that there is a finite minimum.
fn points() -> impl Iterator<Item = ([f64; 3], f64)> {
    (0..40).map(|i| {
        let at = |k: i32| f64::from((i * k) % 41) / 20.5 - 1.0;
        let x = [at(7), at(13), 1.0];
        let wrong = i % 10 == 3;
        (x, f64::from(u8::from((x[0] - 0.5 * x[1] + 0.2 > 0.0) != wrong)))
    })
}

fn logistic_gradient(p: &[f32], g: &mut [f32]) {
    let mut sum = [0.0_f64; 3];
    for (x, class) in points() {
        let z: f64 = x.iter().zip(p).map(|(x, &p)| x * f64::from(p)).sum();
        for (s, x) in sum.iter_mut().zip(x) {
            *s += (1.0 / (1.0 + (-z).exp()) - class) * x / 40.0;
        }
    }
    for (g, s) in g.iter_mut().zip(sum) {
        *g = s as f32;
    }
}

fn logistic() -> Problem {
    Problem {
        name: "logistic regression",
        start: vec![0.0; 3],
        minimum: logistic_minimum(),
        gradient: logistic_gradient,
    }
}

/// The minimum by plain gradient descent, until nothing moves any more.
fn logistic_minimum() -> Vec<f32> {
    let mut p = vec![0.0_f32; 3];
    let mut g = vec![0.0_f32; 3];
    for _ in 0..20_000 {
        logistic_gradient(&p, &mut g);
        for (p, g) in p.iter_mut().zip(&g) {
            *p -= 4.0 * g;
        }
    }
    assert!(g.iter().all(|g| g.abs() < 1e-6), "{g:?}");
    p
}

/// The published learning rate: `torch`'s default, or the paper's.
fn published_lr(name: &str) -> f32 {
    match name {
        "nadam" => 2e-3,
        "adagrad" | "rmsprop" | "yogi" => 1e-2,
        "lion" => 1e-4,
        "schedule-free-adamw" => 2.5e-3,
        "sgd" | "adam" | "amsgrad" | "adamw" | "radam" | "lamb" => 1e-3,
        _ => panic!("no published learning rate of {name}: add it here"),
    }
}

/// Where an optimizer is after so many steps.
fn minimise(name: &str, problem: &Problem, steps: u64) -> Vec<f32> {
    let config: OptimizerConfig = name.parse().unwrap();
    let mut optimizer = config.build(problem.start.len()).unwrap();
    let mut params = problem.start.clone();
    let mut grads = vec![0.0; params.len()];
    let schedule = match config {
        OptimizerConfig::ScheduleFreeAdamW(_) => Schedule::Constant,
        _ => Schedule::Cosine { warmup: 0.0, min_ratio: 0.0 },
    };
    for step in 0..steps {
        (problem.gradient)(&params, &mut grads);
        let lr = f64::from(published_lr(name)) * schedule.factor(step, steps);
        optimizer.step(&mut params, &grads, lr as f32);
    }
    optimizer.average(&mut params);
    params
}

/// Steps, and how far from the minimum the furthest parameter may end.
///
/// SGD is slow where curvatures differ, and a step of 1e-3 times a small gradient is lost in the
/// rounding of a parameter near 4. The rates of AMSGrad and Adagrad remember the first,
/// largest gradients. Schedule-free ends with an average, in which early iterates count.
fn budget(name: &str) -> (u64, f64) {
    match name {
        "sgd" | "adagrad" => (3_000_000, 2e-2),
        "amsgrad" => (3_000_000, 5e-3),
        "schedule-free-adamw" => (150_000, 5e-3),
        _ => (150_000, 2e-4),
    }
}

fn check(problem: &Problem) {
    for name in OptimizerConfig::NAMES {
        let (steps, tolerance) = budget(name);
        let what = format!("{} by {name}", problem.name);
        assert_close(&what, &minimise(name, problem, steps), &problem.minimum, 0.0, tolerance);
    }
}

#[test]
fn every_optimizer_crosses_rosenbrocks_valley() {
    check(&rosenbrock());
}

#[test]
fn every_optimizer_solves_an_ill_conditioned_quadratic() {
    check(&quadratic());
}

#[test]
fn every_optimizer_fits_a_logistic_regression() {
    check(&logistic());
}

#[test]
fn weight_decay_pulls_towards_zero() {
    // The minimum of c·(p − t)²/2 + w·p²/2 is c·t/(c + w).
    let mut sgd = SgdConfig { weight_decay: 0.5, ..SgdConfig::default() }.build(1).unwrap();
    let mut params = [0.0];
    for _ in 0..2000 {
        let grads = [2.0 * (params[0] - 3.0)];
        sgd.step(&mut params, &grads, 0.1);
    }
    assert_close("sgd", &params, &[2.0 * 3.0 / 2.5], 1e-5, 0.0);
}
