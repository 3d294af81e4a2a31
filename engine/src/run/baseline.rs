//! What a federated run is compared with: the same recipe without its federation's options.

use aggregate::Rules;

use super::checked::Run;
use crate::job::{Epochs, FederationConfig};

impl Run {
    /// Plain federated averaging: the same rounds of the same local training, merged by the default
    /// rules. Of `[federation]` only `rounds`, `fit` and `holdout` matter, and nodes do nothing against
    /// drift.
    ///
    /// # Errors
    /// As [`check`](Self::check); not for a run whose training makes sense without its federation.
    pub fn plain_fedavg(&self) -> anyhow::Result<Self> {
        self.with(|job| {
            job.federation.rules = Rules::default();
            job.train.proximal = 0.0;
        })
    }

    /// One model on all nodes' rows, with as many epochs as the federation has in all its rounds.
    /// Of `[federation]` only `rounds` matters.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn centralised(&self) -> anyhow::Result<Self> {
        self.with(|job| {
            let of_a_round = job.train.epochs.in_a_round();
            job.train.epochs = Epochs::Fixed(of_a_round.saturating_mul(job.federation.rounds));
            job.train.proximal = 0.0;
            job.federation = FederationConfig { rounds: 1, ..FederationConfig::default() };
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::job::{Job, TrainConfig};

    /// A value of every option that is not its default, with what it needs to be valid.
    fn options() -> Vec<(&'static str, &'static str, Value, Value)> {
        let train = |key, value| ("train", key, value, json!({}));
        let federation = |key, value| ("federation", key, value, json!({}));
        let scaffold = json!({ "train": { "optimizer": { "name": "sgd" } } });
        vec![
            train("epochs", json!(7)),
            train("batch", json!(9)),
            train("accumulate", json!(2)),
            train("lr", json!(0.5)),
            train("optimizer", json!({ "name": "sgd" })),
            train("schedule", json!({ "name": "cosine" })),
            train("clip_norm", json!(3.0)),
            train("clip_value", json!(3.0)),
            train("proximal", json!(0.25)),
            train("trainable", json!(["*"])),
            train("groups", json!([{ "params": ["*.bias"] }])),
            train("private", json!({ "clip_norm": 1.0, "noise_multiplier": 1.0 })),
            train("label_smoothing", json!(0.2)),
            train("class_weights", json!("balanced")),
            train("validation", json!({ "fraction": 0.5 })),
            (
                "train",
                "patience",
                json!(3),
                json!({ "train": { "validation": { "fraction": 0.5 } } }),
            ),
            train("augment", json!({ "jitter": 0.5 })),
            train("seed", json!(4)),
            federation("rounds", json!(3)),
            federation("fit", json!("statistics")),
            federation("holdout", json!(["a"])),
            federation("reduce", json!({ "name": "median" })),
            (
                "federation",
                "bucket",
                json!(2),
                json!({ "federation": { "reduce": { "name": "median" } } }),
            ),
            federation("server", json!({ "name": "sgd", "momentum": 0.5 })),
            federation("weights", json!("uniform")),
            federation("max_weight", json!(2.0)),
            federation("keep_local", json!(["*norm*"])),
            federation("carry", json!(["*count=max"])),
            ("federation", "correction", json!("scaffold"), scaffold),
            federation("population", json!(5)),
            federation("max_deviation", json!("off")),
            federation("max_age", json!(2)),
            federation("quorum", json!(2)),
            federation("tolerance", json!("strict")),
            federation("privacy", json!({ "clip_norm": 1.0, "noise_multiplier": 1.0 })),
        ]
    }

    fn run(mut job: Value, section: &str, key: &str, value: Option<&Value>) -> Run {
        if let Some(value) = value {
            let table = job[section].as_object_mut();
            match table {
                Some(table) => _ = table.insert(key.to_owned(), value.clone()),
                None => job[section] = json!({ key: value }),
            }
        }
        let job: Job = serde_json::from_value(job).expect("a job");
        Run::check(job, None).expect("a valid job")
    }

    #[test]
    fn baselines_depend_on_the_recipe_and_on_nothing_of_the_federation() {
        for (section, key, value, needs) in options() {
            let with = run(needs.clone(), section, key, Some(&value));
            let without = run(needs, section, key, None);
            assert_ne!(with, without, "{section}.{key}: not another value");
            let same = |baseline: fn(&Run) -> anyhow::Result<Run>| {
                baseline(&with).expect("valid") == baseline(&without).expect("valid")
            };
            let of_recipe = section == "train" && key != "proximal";
            let fedavg = of_recipe || ["rounds", "fit", "holdout"].contains(&key);
            let centralised = of_recipe || key == "rounds";
            assert_eq!(same(Run::plain_fedavg), !fedavg, "plain averaging and {section}.{key}");
            assert_eq!(same(Run::centralised), !centralised, "one model and {section}.{key}");
        }
    }

    /// The options of `[train]`: one that is new does not compile until it stands here.
    fn keys_of_train() -> [&'static str; 18] {
        let TrainConfig {
            epochs: _,
            batch: _,
            accumulate: _,
            lr: _,
            optimizer: _,
            schedule: _,
            clip_norm: _,
            clip_value: _,
            proximal: _,
            trainable: _,
            groups: _,
            private: _,
            label_smoothing: _,
            class_weights: _,
            validation: _,
            patience: _,
            augment: _,
            seed: _,
        } = TrainConfig::default();
        [
            "epochs",
            "batch",
            "accumulate",
            "lr",
            "optimizer",
            "schedule",
            "clip_norm",
            "clip_value",
            "proximal",
            "trainable",
            "groups",
            "private",
            "label_smoothing",
            "class_weights",
            "validation",
            "patience",
            "augment",
            "seed",
        ]
    }

    #[test]
    fn the_table_has_every_option() {
        let listed: Vec<_> = options().into_iter().map(|(s, k, ..)| format!("{s}.{k}")).collect();
        for key in keys_of_train() {
            assert!(listed.contains(&format!("train.{key}")), "train.{key} is in no line above");
        }
        for key in ["rounds", "fit", "holdout"] {
            assert!(listed.contains(&format!("federation.{key}")), "{key}");
        }
        for key in Rules::KEYS {
            assert!(listed.contains(&format!("federation.{key}")), "{key}");
        }
    }
}
