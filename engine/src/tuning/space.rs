//! What may be changed in a job, and to what.

use serde_json::{Value, json};

use crate::job::{ClassWeights, Job, LearningRate};

/// A value for a key of the job.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The key with its sections: `train.lr`.
    pub path: &'static str,
    /// What stands there.
    pub value: Value,
}

/// One way to set a dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// As people read it.
    pub shown: String,
    /// What it sets.
    pub changes: Vec<Change>,
}

/// Settings of which a candidate has one.
#[derive(Debug, Clone, PartialEq)]
pub struct Dimension {
    /// Its name.
    pub name: &'static str,
    /// How the job has it, as people read it.
    pub base: String,
    /// The others.
    pub choices: Vec<Choice>,
}

/// What of the data decides what can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Values in a row as the model takes it.
    pub channels: usize,
    /// Rows of the longest window as the model takes it.
    pub window_len: usize,
    /// Windows to train on.
    pub windows: usize,
    /// Those of the rarest and of the most frequent class.
    pub class_sizes: (usize, usize),
}

/// All that may be changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Space {
    /// One after the other.
    pub dimensions: Vec<Dimension>,
    /// How the job changes windows at random, also where it was not written: a section that is written names all.
    pub augment: Value,
}

/// Steps that scale values, of which a pipeline has one.
const SCALINGS: [&str; 4] = ["z-score", "robust-scale", "min-max", "window-normalize"];

/// Fewest and most tokens that another patch may make of a window.
const TOKENS: (usize, usize) = (4, 256);

impl Space {
    /// What may be changed in a job, which was written as `written`.
    pub fn of(job: &Job, written: &Value, facts: Facts) -> Self {
        let mut dimensions = Vec::new();
        dimensions.extend(scaling(job));
        model(job, facts, &mut dimensions);
        training(job, written, facts, &mut dimensions);
        augmentation(job, facts, &mut dimensions);
        dimensions.retain(|dimension| !dimension.choices.is_empty());
        let own = &job.train.augment;
        let augment = json!({ "jitter": plain(own.jitter), "scale": plain(own.scale) });
        Self { dimensions, augment }
    }
}

fn change(path: &'static str, value: impl Into<Value>) -> Change {
    Change { path, value: value.into() }
}

/// A dimension of one key: its values less the one that the job has.
fn of_key(name: &'static str, path: &'static str, base: &Value, values: Vec<Value>) -> Dimension {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let others = values.into_iter().filter(|value| !alike(value, base));
    let choices = others
        .map(|value| Choice { shown: shown(&value), changes: vec![change(path, value)] })
        .collect();
    Dimension { name, base: shown(base), choices }
}

/// Whether two values are the same for an f32.
fn alike(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a as f32).total_cmp(&(b as f32)).is_eq(),
        _ => a == b,
    }
}

/// An f32 as it was written, not as the f64 next to it.
fn plain(x: f32) -> Value {
    x.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

/// The one scaling of all channels replaced by another, or one added where there is none.
fn scaling(job: &Job) -> Option<Dimension> {
    let scales = |step: &preprocess::StepConfig| SCALINGS.contains(&step.name());
    let places: Vec<usize> = job
        .preprocess
        .iter()
        .enumerate()
        .filter(|(_, step)| scales(step))
        .map(|(i, _)| i)
        .collect();
    let (before, own, behind) = match places[..] {
        [] => (&job.preprocess[..], None, &[][..]),
        [at] => {
            let step = &job.preprocess[at];
            if step.channels.is_some() || step.fit != preprocess::FitBy::Shared {
                return None;
            }
            (&job.preprocess[..at], Some(step), &job.preprocess[at + 1..])
        }
        _ => return None,
    };
    // A step of windows stands behind all steps of rows.
    let ways: Vec<(&str, Vec<Value>)> = vec![
        ("z-score", vec![json!({ "step": "z-score" })]),
        ("robust-scale", vec![json!({ "step": "robust-scale" })]),
        ("window-normalize", vec![json!({ "step": "window-normalize" })]),
        ("min-max", vec![json!({ "step": "min-max" })]),
    ];
    let value = |steps: Vec<Value>| -> Option<Value> {
        let written = |steps: &[preprocess::StepConfig]| -> Option<Vec<Value>> {
            steps.iter().map(|step| serde_json::to_value(step).ok()).collect()
        };
        Some([written(before)?, steps, written(behind)?].concat().into())
    };
    let base = own.map_or("none", |step| step.name());
    let mut choices = Vec::new();
    for (shown, steps) in ways {
        let per_window = shown == "window-normalize";
        if shown == base || (per_window && behind.iter().any(|step| !step.is_per_window())) {
            continue;
        }
        let changes = vec![change("preprocess", value(steps)?)];
        choices.push(Choice { shown: shown.to_owned(), changes });
    }
    Some(Dimension { name: "scaling", base: base.to_owned(), choices })
}

fn model(job: &Job, facts: Facts, dimensions: &mut Vec<Dimension>) {
    let model = &job.model;
    let value = |value: &dyn erased::Written| value.written();
    let mut positions = vec!["learned", "sinusoidal", "alibi"];
    if (model.d_model / model.n_heads).is_multiple_of(2) {
        positions.push("rotary");
    }
    let positions = positions.into_iter().map(Value::from).collect();
    dimensions.push(of_key("positions", "model.positions", &value(&model.positions), positions));
    let tokens = |patch: usize| facts.window_len.div_ceil(patch);
    let base = model.patch_len;
    let patches = [1, 2, 3, 4, 5, 8, 10, 16, 20, 32].into_iter().filter(|&patch| {
        (TOKENS.0..=TOKENS.1).contains(&tokens(patch)) && patch <= 4 * base && base <= 4 * patch
    });
    let patches = patches.map(Value::from).collect();
    dimensions.push(of_key("patch_len", "model.patch_len", &base.into(), patches));
    let layers = (1..=3).map(Value::from).collect();
    dimensions.push(of_key("n_layers", "model.n_layers", &model.n_layers.into(), layers));
    let size = |d_model: usize, n_heads: usize, d_ff: usize| Choice {
        shown: format!("{d_model} / {n_heads} heads / {d_ff}"),
        changes: vec![
            change("model.d_model", d_model),
            change("model.n_heads", n_heads),
            change("model.d_ff", d_ff),
        ],
    };
    let own = size(model.d_model, model.n_heads, model.d_ff);
    let mut sizes = vec![size(32, 4, 64), size(64, 4, 128), size(64, 8, 256), size(96, 8, 192)];
    sizes.retain(|other| *other != own && model.attention.n_kv_heads.is_none());
    dimensions.push(Dimension { name: "width", base: own.shown, choices: sizes });
    let dropouts = [0.0, 0.1, 0.2, 0.3].map(Value::from).to_vec();
    dimensions.push(of_key("dropout", "model.dropout", &plain(model.dropout), dropouts));
    if !model.attention.mask.is_causal() {
        let ways = ["mean", "class-token"].map(Value::from).to_vec();
        dimensions.push(of_key("pooling", "model.pooling", &value(&model.pooling), ways));
    }
}

/// Types that are written as one value.
mod erased {
    use serde::Serialize;
    use serde_json::Value;

    pub(super) trait Written {
        fn written(&self) -> Value;
    }

    impl<T: Serialize> Written for T {
        fn written(&self) -> Value {
            serde_json::to_value(self).unwrap_or(Value::Null)
        }
    }
}

fn training(job: &Job, written: &Value, facts: Facts, dimensions: &mut Vec<Dimension>) {
    let train = &job.train;
    if let LearningRate::Fixed(lr) = train.lr {
        let rates = [0.25, 0.5, 2.0].map(|factor| plain(lr * factor)).to_vec();
        dimensions.push(of_key("lr", "train.lr", &plain(lr), rates));
    }
    let epochs = train.epochs.of(facts.windows);
    // Passes in a round are a matter of the federation, not of the rows.
    let alone = written.get("federation").is_none();
    let more = [epochs.div_ceil(2), epochs.saturating_mul(2), epochs.saturating_mul(4)];
    if alone {
        dimensions.push(of_key(
            "epochs",
            "train.epochs",
            &epochs.into(),
            more.map(Value::from).to_vec(),
        ));
    }
    let batches = [8, 16, 32, 64].into_iter().filter(|batch| 2 * batch <= facts.windows);
    let batches = batches.map(Value::from).collect();
    dimensions.push(of_key("batch", "train.batch", &train.batch.into(), batches));
    let smoothing = [0.0, 0.1, 0.2].map(Value::from).to_vec();
    let own = plain(train.label_smoothing);
    dimensions.push(of_key("label_smoothing", "train.label_smoothing", &own, smoothing));
    if let optim::OptimizerConfig::AdamW(adamw) = &train.optimizer {
        let table = written.pointer("/train/optimizer").cloned();
        let table = table.unwrap_or_else(|| json!({ "name": "adamw" }));
        let with = |decay: f64| {
            let mut table = table.clone();
            table["weight_decay"] = decay.into();
            Choice { shown: decay.to_string(), changes: vec![change("train.optimizer", table)] }
        };
        let own = plain(adamw.weight_decay);
        let others = [0.0, 0.01, 0.05, 0.2].into_iter().filter(|&x| !alike(&x.into(), &own));
        let choices = others.map(with).collect();
        dimensions.push(Dimension { name: "weight_decay", base: own.to_string(), choices });
    }
    let (least, most) = facts.class_sizes;
    if 2 * most > 3 * least {
        let base = match train.class_weights {
            ClassWeights::Uniform => "uniform",
            ClassWeights::Balanced => "balanced",
        };
        let ways = ["uniform", "balanced"].map(Value::from).to_vec();
        dimensions.push(of_key("class_weights", "train.class_weights", &base.into(), ways));
    }
}

fn augmentation(job: &Job, facts: Facts, dimensions: &mut Vec<Dimension>) {
    let own = &job.train.augment;
    let strengths = [
        ("jitter", "train.augment.jitter", own.jitter, [0.0, 0.03, 0.1]),
        ("scale", "train.augment.scale", own.scale, [0.0, 0.1, 0.2]),
        ("time_warp", "train.augment.time_warp", own.time_warp, [0.0, 0.1, 0.3]),
        ("crop", "train.augment.crop", own.crop, [0.0, 0.1, 0.3]),
    ];
    for (name, path, own, values) in strengths {
        dimensions.push(of_key(name, path, &plain(own), values.map(Value::from).to_vec()));
    }
    if facts.channels > 1 {
        let path = "train.augment.channel_dropout";
        let values = [0.0, 0.1, 0.2].map(Value::from).to_vec();
        dimensions.push(of_key("channel_dropout", path, &plain(own.channel_dropout), values));
    }
    // A whole series has no room to move in.
    if job.window.len.is_some() {
        let shifts = [0, facts.window_len / 20, facts.window_len / 8];
        let mut shifts: Vec<Value> = shifts.map(Value::from).to_vec();
        shifts.dedup();
        dimensions.push(of_key("shift", "train.augment.shift", &own.shift.into(), shifts));
    }
}
