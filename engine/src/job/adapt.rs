//! How a model is adjusted while it runs: the `[adapt]` section of a file of settings.

use std::path::PathBuf;

use anyhow::ensure;
use serde::Deserialize;

/// When a model is adjusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Never.
    #[default]
    Never,
    /// After an alarm: confidence or errors drift.
    Drift,
    /// Whenever there are enough windows with labels.
    Always,
}

/// Labels that come back.
const GIVEN: &str = "given";

/// `[adapt]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptSettings {
    /// When.
    pub when: When,
    /// Windows of what was before that are kept to train on again, over all classes.
    pub replay: usize,
    /// Bytes that all windows take at most.
    pub bytes: usize,
    /// Whose labels: `"given"`, those that come back.
    pub labels: String,
    /// Labelled rows as they were before the model ran, for the replay; relative to the file's folder.
    pub clean: Vec<PathBuf>,
    /// The rate of every step.
    pub lr: f32,
    /// Steps.
    pub steps: u64,
    /// Windows of a step, half of them of before.
    pub batch: usize,
    /// Labelled windows of now without which nothing begins.
    pub windows: usize,
    /// The share of what processors have left over.
    pub cpu: f64,
    /// Where the adapted model is also written as an update for the next round; relative to the file's folder.
    pub update: Option<PathBuf>,
    /// The node's name in it.
    pub node: Option<String>,
}

impl Default for AdaptSettings {
    fn default() -> Self {
        Self {
            when: When::Never,
            replay: 2000,
            bytes: 64 << 20,
            labels: GIVEN.to_owned(),
            clean: Vec::new(),
            lr: 1e-3,
            steps: 500,
            batch: 32,
            windows: 14,
            cpu: 0.8,
            update: None,
            node: None,
        }
    }
}

impl AdaptSettings {
    /// Checks the values.
    ///
    /// # Errors
    /// If one is out of its range.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.lr.is_finite() && self.lr > 0.0,
            "[adapt] lr = {}: give a number above 0, such as 1e-3",
            self.lr
        );
        ensure!(
            self.labels != "confident",
            "[adapt] labels = \"confident\": a model that learns from its own answers gets worse where it is wrong (a \
             sensor that was turned by 30°: from 60 % right to 55 %); leave it out, and send labels back"
        );
        ensure!(
            self.labels == GIVEN,
            "[adapt] labels = {:?}: give \"given\", or leave it out",
            self.labels
        );
        ensure!(self.steps > 0, "[adapt] steps = 0: give at least 1");
        ensure!(
            (2..=4096).contains(&self.batch),
            "[adapt] batch = {}: give a number from 2 to 4096",
            self.batch
        );
        ensure!(self.windows > 0, "[adapt] windows = 0: give at least 1");
        ensure!(
            self.cpu > 0.0 && self.cpu <= 1.0,
            "[adapt] cpu = {}: give a share above 0 and at most 1",
            self.cpu
        );
        ensure!(self.bytes <= 1 << 40, "[adapt] bytes = {}: at most a terabyte", self.bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_do_not_go_are_refused_by_name() {
        let of = |text: &str| toml::from_str::<AdaptSettings>(text).expect("readable").check();
        assert!(
            of("").is_ok()
                && of("when = \"drift\"\nlr = 1e-4\ncpu = 1.0\nlabels = \"given\"").is_ok()
        );
        for (text, part) in [
            ("lr = 0.0", "lr"),
            ("lr = nan", "lr"),
            ("steps = 0", "steps"),
            ("batch = 1", "batch"),
            ("windows = 0", "windows"),
            ("cpu = 1.5", "cpu"),
            ("cpu = nan", "cpu"),
            ("labels = \"confident\"", "gets worse"),
            ("labels = \"all\"", "given"),
        ] {
            assert!(of(text).expect_err(text).to_string().contains(part), "{text}");
        }
        assert!(toml::from_str::<AdaptSettings>("when = \"soon\"").is_err());
    }
}
