//! Comparison with `torch` and with the papers' formulas; the files are written by
//! `tests/golden/make_golden.py`.

use optim::{
    AdagradConfig, AdamConfig, AdamWConfig, AmsGradConfig, Anneal, DecayKind, LambConfig,
    LionConfig, NAdamConfig, OptimizerConfig, Plateau, PlateauConfig, RAdamConfig, RmsPropConfig,
    Schedule, ScheduleFreeAdamWConfig, SgdConfig, YogiConfig,
};
use testkit::{assert_close, golden};

const LR: f32 = 0.01;

type Cases = Vec<(&'static str, OptimizerConfig)>;

/// The options of `CASES` and `FORMULAS` in `make_golden.py`.
fn cases() -> Cases {
    [of_sgd(), of_adam(), of_adams(), of_relatives(), of_papers(), of_schedule_free()].concat()
}

fn of_sgd() -> Cases {
    let sgd = SgdConfig::default();
    let all = SgdConfig { momentum: 0.7, dampening: 0.3, weight_decay: 0.05, ..sgd };
    let nesterov = SgdConfig { momentum: 0.9, nesterov: true, weight_decay: 0.05, ..sgd };
    let cases = [
        ("sgd", sgd),
        ("sgd_decay", SgdConfig { weight_decay: 0.1, ..sgd }),
        ("sgd_momentum", SgdConfig { momentum: 0.9, ..sgd }),
        ("sgd_dampening", SgdConfig { momentum: 0.9, dampening: 0.5, ..sgd }),
        ("sgd_nesterov", SgdConfig { momentum: 0.8, nesterov: true, ..sgd }),
        ("sgd_all", all),
        ("sgd_nesterov_decay", nesterov),
    ];
    cases.map(|(name, config)| (name, OptimizerConfig::Sgd(config))).to_vec()
}

fn of_adam() -> Cases {
    let adam = AdamConfig::default();
    let uncorrected = AdamConfig { beta2: 0.998, eps: 1e-3, bias_correction: false, ..adam };
    let cases = [
        ("adam", adam),
        ("adam_decay", AdamConfig { weight_decay: 0.1, eps: 1e-2, ..adam }),
        ("adam_betas", AdamConfig { beta1: 0.5, beta2: 0.9, eps: 1e-3, ..adam }),
        ("adam_no_momentum", AdamConfig { beta1: 0.0, beta2: 0.99, ..adam }),
        ("adam_uncorrected", uncorrected),
    ];
    let adamw = AdamWConfig::default();
    let decoupled = [
        ("adamw", adamw),
        ("adamw_no_decay", AdamWConfig { weight_decay: 0.0, ..adamw }),
        ("adamw_all", AdamWConfig { beta1: 0.8, beta2: 0.95, eps: 1e-6, weight_decay: 0.3 }),
    ];
    let decoupled = decoupled.map(|(name, config)| (name, OptimizerConfig::AdamW(config)));
    cases
        .map(|(name, config)| (name, OptimizerConfig::Adam(config)))
        .into_iter()
        .chain(decoupled)
        .collect()
}

/// Relatives of Adam in `torch`.
fn of_adams() -> Cases {
    let decay = DecayKind::Decoupled;
    let ams = AmsGradConfig::default();
    let falling = AmsGradConfig { beta2: 0.5, ..ams };
    let amsgrad = [
        ("amsgrad", ams),
        ("amsgrad_falling", falling),
        ("amsgrad_decay", AmsGradConfig { weight_decay: 0.1, eps: 1e-2, ..falling }),
        ("amsgrad_decoupled", AmsGradConfig { weight_decay: 0.1, decay, ..falling }),
    ];
    let n = NAdamConfig::default();
    let all = NAdamConfig { beta1: 0.8, beta2: 0.95, eps: 1e-6, momentum_decay: 0.01, ..n };
    let nadam = [
        ("nadam", n),
        ("nadam_decay", NAdamConfig { weight_decay: 0.1, eps: 1e-2, ..n }),
        ("nadam_decoupled", NAdamConfig { weight_decay: 0.1, decay, ..n }),
        ("nadam_all", all),
    ];
    let r = RAdamConfig::default();
    let radam = [
        ("radam", r),
        ("radam_decay", RAdamConfig { weight_decay: 0.1, eps: 1e-2, ..r }),
        ("radam_decoupled", RAdamConfig { weight_decay: 0.1, decay, ..r }),
        ("radam_short", RAdamConfig { beta1: 0.8, beta2: 0.9, ..r }),
    ];
    let amsgrad = amsgrad.map(|(name, config)| (name, OptimizerConfig::AmsGrad(config)));
    let nadam = nadam.map(|(name, config)| (name, OptimizerConfig::NAdam(config)));
    let radam = radam.map(|(name, config)| (name, OptimizerConfig::RAdam(config)));
    amsgrad.into_iter().chain(nadam).chain(radam).collect()
}

/// The other optimizers of `torch`.
fn of_relatives() -> Cases {
    let ada = AdagradConfig::default();
    let all = AdagradConfig { lr_decay: 0.1, initial_accumulator: 0.5, eps: 1e-6, ..ada };
    let adagrad = [
        ("adagrad", ada),
        ("adagrad_decay", AdagradConfig { weight_decay: 0.1, eps: 1e-2, ..ada }),
        ("adagrad_all", all),
    ];
    let rms = RmsPropConfig::default();
    let all =
        RmsPropConfig { alpha: 0.9, eps: 1e-6, momentum: 0.7, centered: true, weight_decay: 0.05 };
    let rmsprop = [
        ("rmsprop", rms),
        ("rmsprop_decay", RmsPropConfig { weight_decay: 0.1, eps: 1e-2, ..rms }),
        ("rmsprop_momentum", RmsPropConfig { momentum: 0.9, ..rms }),
        ("rmsprop_centered", RmsPropConfig { centered: true, ..rms }),
        ("rmsprop_all", all),
    ];
    let adagrad = adagrad.map(|(name, config)| (name, OptimizerConfig::Adagrad(config)));
    let rmsprop = rmsprop.map(|(name, config)| (name, OptimizerConfig::RmsProp(config)));
    adagrad.into_iter().chain(rmsprop).collect()
}

/// Those that `torch` lacks.
fn of_papers() -> Cases {
    let y = YogiConfig::default();
    let all = YogiConfig { beta1: 0.8, beta2: 0.998, eps: 1e-2, initial_accumulator: 1.0, ..y };
    let yogi = [
        ("yogi", y),
        ("yogi_decay", YogiConfig { weight_decay: 0.1, ..y }),
        ("yogi_corrected", YogiConfig { bias_correction: true, ..y }),
        ("yogi_all", all),
    ];
    let lion = LionConfig::default();
    let lions = [
        ("lion", lion),
        ("lion_decay", LionConfig { weight_decay: 0.1, ..lion }),
        ("lion_betas", LionConfig { beta1: 0.95, beta2: 0.98, ..lion }),
    ];
    let lamb = LambConfig::default();
    let lambs = [
        ("lamb", lamb),
        ("lamb_no_decay", LambConfig { weight_decay: 0.0, ..lamb }),
        ("lamb_all", LambConfig { beta1: 0.8, beta2: 0.998, eps: 1e-4, weight_decay: 0.3 }),
    ];
    let yogi = yogi.map(|(name, config)| (name, OptimizerConfig::Yogi(config)));
    let lions = lions.map(|(name, config)| (name, OptimizerConfig::Lion(config)));
    let lambs = lambs.map(|(name, config)| (name, OptimizerConfig::Lamb(config)));
    yogi.into_iter().chain(lions).chain(lambs).collect()
}

fn of_schedule_free() -> Cases {
    let free = ScheduleFreeAdamWConfig::default();
    let cases = [
        ("schedule_free", free),
        ("schedule_free_decay", ScheduleFreeAdamWConfig { weight_decay: 0.1, ..free }),
        (
            "schedule_free_warmup",
            ScheduleFreeAdamWConfig { weight_decay: 0.05, warmup_steps: 4, ..free },
        ),
    ];
    cases.map(|(name, config)| (name, OptimizerConfig::ScheduleFreeAdamW(config))).to_vec()
}

#[test]
fn ten_steps_of_every_optimizer() {
    let tensors = golden("tests/golden/optimizers.safetensors");
    let mut compared = 0;
    for (case, config) in cases() {
        for shape in ["vector", "matrix", "cube"] {
            let expected = &tensors[&format!("{case}/{shape}/params")];
            let averaged = tensors.get(&format!("{case}/{shape}/averaged"));
            let grads = &tensors[&format!("{shape}/grads")];
            let n_params = expected.values.len() / expected.shape[0];
            let mut rows = expected.values.chunks(n_params);
            let mut params = rows.next().unwrap().to_vec();
            let mut optimizer = config.build(n_params).unwrap();
            for (step, (row, g)) in rows.zip(grads.values.chunks(n_params)).enumerate() {
                optimizer.step(&mut params, g, LR);
                // The gradients of 1e-20 move SGD's parameters by 1e-22 and Adam's by 1e-14.
                let name = format!("{case}, {shape}, step {}", step + 1);
                assert_close(&name, &params, row, 1e-6, 1e-30);
                let mut shipped = params.clone();
                optimizer.average(&mut shipped);
                let row = averaged.map_or(row, |a| &a.values[(step + 1) * n_params..][..n_params]);
                assert_close(&format!("{name}, averaged"), &shipped, row, 1e-6, 1e-30);
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 48 * 3 * 10);
}

#[test]
fn every_case_of_the_file_is_compared() {
    let tensors = golden("tests/golden/optimizers.safetensors");
    let names: Vec<_> = cases().into_iter().map(|(name, _)| name).collect();
    for key in tensors.keys().filter(|key| key.ends_with("/params")) {
        assert!(names.contains(&key.split('/').next().unwrap()), "{key}");
    }
}

#[test]
fn every_name_has_a_case_of_its_defaults() {
    for name in OptimizerConfig::NAMES {
        let defaults: OptimizerConfig = name.parse().unwrap();
        let found = cases().iter().any(|(_, config)| *config == defaults);
        assert!(found, "{name} has no golden case");
    }
}

#[test]
fn every_schedule() {
    let tensors = golden("tests/golden/schedules.safetensors");
    let restarts = |cycle_mult, cycles, min_ratio| Schedule::CosineRestarts {
        cycles,
        cycle_mult,
        warmup: 0.0,
        min_ratio,
    };
    let one_cycle = |pct_start, div_factor, final_div_factor, anneal| Schedule::OneCycle {
        pct_start,
        div_factor,
        final_div_factor,
        anneal,
    };
    let cases = [
        ("constant", Schedule::Constant),
        ("warmup_linear", Schedule::LinearWarmup { warmup: 0.2 }),
        ("warmup_lambda", Schedule::LinearWarmup { warmup: 0.2 }),
        ("cosine", Schedule::Cosine { warmup: 0.0, min_ratio: 0.0 }),
        ("cosine_floor", Schedule::Cosine { warmup: 0.0, min_ratio: 0.25 }),
        ("cosine_warmup", Schedule::Cosine { warmup: 0.2, min_ratio: 0.1 }),
        ("cosine_restarts", restarts(1, 4, 0.1)),
        ("cosine_restarts_mult", restarts(3, 2, 0.0)),
        ("polynomial", Schedule::Polynomial { power: 2.0, warmup: 0.0 }),
        ("polynomial_linear", Schedule::Polynomial { power: 1.0, warmup: 0.0 }),
        ("one_cycle", one_cycle(0.3, 25.0, 1e4, Anneal::Cosine)),
        ("one_cycle_linear", one_cycle(0.25, 10.0, 100.0, Anneal::Linear)),
        ("step", Schedule::Step { every: 7, gamma: 0.5 }),
        ("exponential_per_step", Schedule::Step { every: 1, gamma: 0.9 }),
        ("exponential", Schedule::Exponential { final_ratio: 0.01 }),
    ];
    assert_eq!(tensors.len(), cases.len() + 2, "and two of the plateau");
    for (name, schedule) in cases {
        schedule.validate().unwrap();
        let mut expected = tensors[name].values.as_slice();
        if name.starts_with("cosine_restarts") {
            // At the end `torch` would begin another cycle; here the last value stays.
            expected = &expected[..40];
        }
        assert!(expected.len() >= 40, "{name}");
        let actual: Vec<f32> =
            (0..expected.len()).map(|step| schedule.factor(step as u64, 40) as f32).collect();
        assert_close(name, &actual, expected, 2e-6, 1e-7);
    }
}

#[test]
fn the_plateau() {
    let tensors = golden("tests/golden/schedules.safetensors");
    let config =
        PlateauConfig { factor: 0.5, patience: 2, threshold: 1e-2, cooldown: 1, min_ratio: 0.05 };
    let mut plateau = Plateau::default();
    let metrics = &tensors["plateau/metrics"].values;
    let actual: Vec<f32> =
        metrics.iter().map(|&m| plateau.observe(&config, m.into()) as f32).collect();
    assert_close("plateau", &actual, &tensors["plateau/factors"].values, 1e-6, 0.0);
}
