//! What holds for each section of a job, and between sections.

use anyhow::{Context, ensure};

use crate::data::DataConfig;
use crate::job::{ClassWeights, FederationConfig, Job, LearningRate, TrainConfig, WindowConfig};

pub(super) fn check_data(data: &DataConfig) -> anyhow::Result<()> {
    if let Some(hz) = data.sample_rate_hz {
        ensure!(
            hz > 0.0 && hz <= f64::from(f32::MAX),
            "[data] sample_rate_hz must be a positive number of rows a second, found {hz}"
        );
    }
    Ok(())
}

pub(super) fn check_window(window: &WindowConfig) -> anyhow::Result<()> {
    for (name, steps) in [
        ("len", window.len),
        ("stride", window.stride),
        ("train_stride", window.train_stride),
        ("max_len", window.max_len),
    ] {
        ensure!(steps != Some(0), "[window] {name} must be at least 1");
    }
    ensure!(
        window.len.is_some() || (window.stride.is_none() && window.train_stride.is_none()),
        "[window] stride needs len: without it a whole series is one window"
    );
    ensure!(
        window.len.is_none() || window.max_len.is_none(),
        "[window] has both len and max_len: max_len is for windows that are whole series"
    );
    Ok(())
}

pub(super) fn check_federation(federation: &FederationConfig) -> anyhow::Result<()> {
    ensure!(federation.rounds >= 1, "[federation] rounds must be at least 1");
    federation.rules.validate().context("[federation]")
}

pub(super) fn check_train(train: &TrainConfig) -> anyhow::Result<()> {
    ensure!(train.batch >= 1, "[train] batch must be at least 1");
    ensure!(train.accumulate >= 1, "[train] accumulate must be at least 1");
    if let LearningRate::Fixed(lr) = train.lr {
        ensure!(
            lr.is_finite() && lr > 0.0,
            "[train] lr must be a positive number or \"auto\", found {lr}"
        );
    }
    ensure!(
        (0.0..=1.0).contains(&train.label_smoothing),
        "[train] label_smoothing must be 0 to 1, found {}",
        train.label_smoothing
    );
    if let Some(norm) = train.clip_norm {
        ensure!(norm > 0.0, "[train] clip_norm must be positive, found {norm}");
    }
    if let Some(limit) = train.clip_value {
        ensure!(limit > 0.0, "[train] clip_value must be positive, found {limit}");
    }
    ensure!(
        train.proximal.is_finite() && train.proximal >= 0.0,
        "[train] proximal must not be negative, found {}",
        train.proximal
    );
    for (number, group) in train.groups.iter().enumerate() {
        let place = || format!("[[train.groups]] number {}", number + 1);
        group.validate().with_context(place)?;
    }
    if let Some(private) = train.private {
        private.options().validate().context("[train.private]")?;
        ensure!(
            train.class_weights == ClassWeights::Uniform,
            "[train.private] and class_weights = \"balanced\" do not go together: the weights would tell how many windows each class has"
        );
        ensure!(
            train.lr != LearningRate::Auto,
            "[train.private] needs a number for lr: a range test looks at the rows without privacy"
        );
        ensure!(
            train.schedule.plateau().is_none() && train.validation.is_none(),
            "[train.private] goes neither with [train.validation] nor with reduce-on-plateau: both choose by a loss that is not private; hold rows out in a split column and use eval"
        );
    }
    for (name, value) in [("jitter", train.augment.jitter), ("scale", train.augment.scale)] {
        ensure!(
            value.is_finite() && value >= 0.0,
            "[train.augment] {name} must not be negative, found {value}"
        );
    }
    for (name, value) in [
        ("time_warp", train.augment.time_warp),
        ("crop", train.augment.crop),
        ("channel_dropout", train.augment.channel_dropout),
    ] {
        ensure!(
            (0.0..1.0).contains(&value),
            "[train.augment] {name} must be at least 0 and below 1, found {value}"
        );
    }
    if let Some(validation) = train.validation {
        ensure!(
            validation.fraction > 0.0 && validation.fraction <= 0.5,
            "[train.validation] fraction must be above 0 and at most 0.5, found {}",
            validation.fraction
        );
        let folds = validation.folds();
        ensure!(
            validation.fold < folds,
            "[train.validation] fold must be below 1/fraction = {folds}, found {}",
            validation.fold
        );
    }
    ensure!(
        train.patience.is_none() || train.validation.is_some(),
        "[train] patience needs a [train.validation] section to watch"
    );
    train.optimizer.validate().context("[train] optimizer")?;
    train.schedule.validate().context("[train] schedule")?;
    Ok(())
}

/// Private training protects one window: no row may stand in more than one.
pub(super) fn check_private(job: &Job) -> anyhow::Result<()> {
    if job.train.private.is_none() {
        return Ok(());
    }
    ensure!(
        !job.federation.rules.reduce.needs_losses(),
        "[federation] reduce {} does not go with [train.private]: nodes would have to tell their losses",
        job.federation.rules.reduce.name()
    );
    let window = &job.window;
    let stride = window.train_stride.or(window.stride).or(window.len);
    ensure!(
        stride >= window.len,
        "[train.private] protects one window, and with a stride of {} a row stands in several windows of {}: set [window] train_stride to at least len",
        stride.unwrap_or(0),
        window.len.unwrap_or(0)
    );
    ensure!(
        job.train.augment.shift == 0,
        "[train.private] protects one window, and [train.augment] shift moves windows over each other's rows: set it to 0"
    );
    Ok(())
}
