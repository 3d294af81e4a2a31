//! A job with some settings changed.

use std::collections::BTreeMap;

use anyhow::anyhow;
use serde_json::{Map, Value};

use super::space::{Choice, Dimension, Space};
use crate::job::Job;

/// What of a job is changed: for some dimensions the number of a choice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Candidate {
    /// By the number of the dimension.
    pub chosen: BTreeMap<usize, usize>,
}

impl Candidate {
    /// The changed dimensions with what was chosen.
    pub fn changes<'a>(&self, space: &'a Space) -> Vec<(usize, &'a Dimension, &'a Choice)> {
        let of = |(&number, &choice): (&usize, &usize)| {
            let dimension = &space.dimensions[number];
            (number, dimension, &dimension.choices[choice])
        };
        self.chosen.iter().map(of).collect()
    }

    /// The same but for one dimension, which is as in the job.
    #[must_use]
    pub fn without(&self, dimension: usize) -> Self {
        let mut other = self.clone();
        other.chosen.remove(&dimension);
        other
    }

    /// The changes in a few words; `as the job is` for none.
    pub fn shown(&self, space: &Space) -> String {
        if self.chosen.is_empty() {
            return "as the job is".to_owned();
        }
        let words = self.changes(space).into_iter();
        words
            .map(|(_, d, choice)| format!("{} {}", d.name, choice.shown))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The changes as one text that is the same for the same settings, whatever else may be chosen.
    pub fn key(&self, space: &Space) -> String {
        let mut settings = Map::new();
        for (_, _, choice) in self.changes(space) {
            for change in &choice.changes {
                settings.insert(change.path.to_owned(), change.value.clone());
            }
        }
        Value::Object(settings).to_string()
    }

    /// The job as it would be written, from how it was written.
    pub fn written(&self, space: &Space, written: &Value) -> Value {
        let mut all = written.clone();
        for (_, _, choice) in self.changes(space) {
            for change in &choice.changes {
                // By itself, augmentation that is not written follows from how values are scaled.
                let concerns =
                    change.path == "preprocess" || change.path.starts_with("train.augment.");
                if concerns && all.pointer("/train/augment").is_none() {
                    put(&mut all, "train.augment", space.augment.clone());
                }
                put(&mut all, change.path, change.value.clone());
            }
        }
        all
    }

    /// The job; it reads what `base` reads.
    ///
    /// # Errors
    /// If a choice is no value of its key.
    pub fn job(&self, space: &Space, written: &Value, base: &Job) -> anyhow::Result<Job> {
        let written = self.written(space, written);
        let mut job = Job::of_value(&written, None).map_err(|error| anyhow!("{error}"))?;
        job.data = base.data.clone();
        Ok(job)
    }
}

/// Sets a value below a table, making the tables on the way.
fn put(table: &mut Value, path: &str, value: Value) {
    match path.split_once('.') {
        Some((section, rest)) => put(&mut table[section], rest, value),
        None => table[path] = value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::space::Facts;
    use super::*;

    #[test]
    fn every_choice_is_a_job_that_differs_in_its_keys_alone() {
        let written = json!({ "window": { "len": 100 }, "train": { "optimizer": { "name": "adamw", "beta1": 0.8 } } });
        let base = Job::of_value(&written, None).expect("a job");
        let facts = Facts { channels: 3, window_len: 100, windows: 500, class_sizes: (10, 400) };
        let space = Space::of(&base, &written, facts);
        let names: Vec<&str> = space.dimensions.iter().map(|d| d.name).collect();
        for name in
            ["scaling", "positions", "patch_len", "lr", "weight_decay", "shift", "class_weights"]
        {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        for (number, dimension) in space.dimensions.iter().enumerate() {
            for choice in 0..dimension.choices.len() {
                let candidate = Candidate { chosen: BTreeMap::from([(number, choice)]) };
                let job = candidate.job(&space, &written, &base).expect("a job");
                assert_ne!(job, base, "{}: {:?}", dimension.name, dimension.choices[choice]);
                crate::run::Run::check(job, None).expect("a valid job");
            }
        }
        assert_eq!(Candidate::default().job(&space, &written, &base).expect("a job"), base);
    }

    #[test]
    fn a_change_of_one_disturbance_leaves_the_others() {
        let written = json!({});
        let base = Job::of_value(&written, None).expect("a job");
        let facts = Facts { channels: 3, window_len: 100, windows: 500, class_sizes: (250, 250) };
        let space = Space::of(&base, &written, facts);
        let number = space.dimensions.iter().position(|d| d.name == "crop").expect("there");
        let candidate = Candidate { chosen: BTreeMap::from([(number, 0)]) };
        let augment = candidate.job(&space, &written, &base).expect("a job").train.augment;
        assert!(augment.crop > 0.0);
        assert_eq!(crate::job::AugmentConfig { crop: 0.0, ..augment }, base.train.augment);
    }

    #[test]
    fn what_the_job_says_is_no_choice() {
        let written = json!({ "model": { "positions": "rotary", "dropout": 0.2 }, "preprocess": [{ "step": "robust-scale" }] });
        let base = Job::of_value(&written, None).expect("a job");
        let facts = Facts { channels: 1, window_len: 40, windows: 50, class_sizes: (25, 25) };
        let space = Space::of(&base, &written, facts);
        let shown = |name: &str| -> Vec<String> {
            let found = space.dimensions.iter().find(|d| d.name == name);
            found.map_or(Vec::new(), |d| d.choices.iter().map(|c| c.shown.clone()).collect())
        };
        assert_eq!(shown("positions"), ["learned", "sinusoidal", "alibi"]);
        assert_eq!(shown("dropout"), ["0.0", "0.1", "0.3"]);
        assert_eq!(shown("scaling"), ["z-score", "window-normalize", "min-max"]);
        assert_eq!(shown("patch_len"), ["2", "3", "4"]);
        assert!(shown("shift").is_empty() && shown("class_weights").is_empty());
        assert!(shown("channel_dropout").is_empty());
    }
}
