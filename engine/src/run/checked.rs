//! A checked run.

use anyhow::{Context, ensure};

use super::node_side::NodeSide;
use super::sections::{check_data, check_federation, check_private, check_train, check_window};
use crate::data::{DataConfig, Dataset};
use crate::job::{FederationConfig, Job, TrainConfig, WindowConfig};

/// What is asked for, with everything in it checked and every two things in it going together.
///
/// It is made by [`Run::check`] alone, and changed by [`Run::with`], which checks again: what
/// trains, merges or stands in a checkpoint was checked after its last override.
///
/// ```
/// use engine::job::{Epochs, Job};
/// use engine::run::Run;
///
/// let run = Run::check(Job::default(), None)?;
/// let shorter = run.with(|job| job.train.epochs = Epochs::Fixed(3))?;
/// assert_eq!(shorter.train().epochs, Epochs::Fixed(3));
/// let error = run.with(|job| job.train.batch = 0).expect_err("no batch");
/// assert_eq!(error.to_string(), "[train] batch must be at least 1");
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    job: Job,
    node_side: NodeSide,
}

/// What data or a model has, of which a job does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// Values in a row.
    pub channels: usize,
    /// Classes.
    pub classes: usize,
}

impl Schema {
    /// What a data set has.
    pub fn of(dataset: &Dataset) -> Self {
        Self { channels: dataset.channels.len(), classes: dataset.classes.len() }
    }
}

impl Run {
    /// Checks a job, on its own or against the data that it is for.
    ///
    /// # Errors
    /// If an option is out of range, two exclude each other, or the data has no labels or does not
    /// fit the model.
    pub fn check(job: Job, data: Option<Schema>) -> anyhow::Result<Self> {
        check_data(&job.data)?;
        check_window(&job.window)?;
        check_train(&job.train)?;
        check_federation(&job.federation)?;
        check_private(&job)?;
        let node_side = NodeSide::of(&job.train, &job.federation.rules)?;
        if let Some(data) = data {
            ensure!(
                data.classes > 0,
                "the data has no labels; name the label column in the [data] section of the job file"
            );
        }
        let Schema { channels, classes } = data.unwrap_or(Schema { channels: 1, classes: 1 });
        // How long windows are may depend on the data; at least a token they are.
        let seq_len = job.window.len.unwrap_or(job.model.patch_len);
        job.model.encoder(channels, seq_len, classes).validate().context("[model]")?;
        Ok(Self { job, node_side })
    }

    /// The run with an override, checked again.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn with(&self, change: impl FnOnce(&mut Job)) -> anyhow::Result<Self> {
        let mut job = self.job.clone();
        change(&mut job);
        Self::check(job, None)
    }

    /// All sections.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// How files are read.
    pub fn data(&self) -> &DataConfig {
        &self.job.data
    }

    /// How series are cut.
    pub fn window(&self) -> &WindowConfig {
        &self.job.window
    }

    /// How a node trains.
    pub fn train(&self) -> &TrainConfig {
        &self.job.train
    }

    /// Rounds, and how the center merges.
    pub fn federation(&self) -> &FederationConfig {
        &self.job.federation
    }

    /// What a node does against drift.
    pub fn node_side(&self) -> NodeSide {
        self.node_side
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        match toml::from_str::<Job>(text) {
            Err(error) => error.to_string(),
            Ok(job) => format!("{:#}", Run::check(job, None).expect_err(text)),
        }
    }

    #[test]
    fn options_out_of_range_are_errors_that_name_them() {
        for (text, name) in [
            ("[window]\nlen = 0", "len"),
            ("[window]\nstride = 3", "stride needs len"),
            ("[train]\nlr = -1.0", "lr"),
            ("[train]\nlr = nan", "lr"),
            ("[train]\nbatch = 0", "batch"),
            ("[train]\npatience = 3", "patience"),
            ("[train]\nvalidation = { fraction = 0.9 }", "fraction"),
            ("[train]\nvalidation = { fraction = 0.2, fold = 5 }", "fold"),
            ("[model]\nn_heads = 5", "n_heads"),
            ("[model]\ndropout = 1.5", "dropout"),
            ("[model]\nattention = { n_kv_heads = 3 }", "n_kv_heads"),
            ("[model]\nattention = { mask = \"casual\" }", "casual"),
            ("[federation]\nrounds = 0", "rounds"),
            ("[federation]\nbucket = 0", "bucket is 0"),
            ("[federation]\nmax_deviation = -1", "max_deviation is -1"),
            ("[federation]\nmax_deviation = \"of\"", "a number above 0, or off"),
            ("[federation]\npopulation = 0", "population is 0"),
            ("[federation]\nbucket = 2", "bucket does not go with the reducer mean"),
            (
                "[federation]\ncorrection = \"scaffold\"\nreduce = { name = \"median\" }",
                "correction scaffold does not go with the reducer median",
            ),
            ("[federation]\ncorrection = \"scaffold\"", "[train] optimizer"),
            (
                "[federation]\nserver = { name = \"dyn\", alpha = 0.1, population = 3 }\n[train]\ntrainable = [\"head*\"]",
                "server step dyn does not go with [train] trainable",
            ),
        ] {
            let message = refused(text);
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn data_without_labels_or_with_too_short_windows_fits_no_model() {
        let check = |text: &str, classes| {
            let job = toml::from_str(text).expect("a job");
            let error = Run::check(job, Some(Schema { channels: 2, classes }));
            format!("{:#}", error.expect_err(text))
        };
        assert!(check("", 0).contains("no labels"));
        assert!(check("[window]\nlen = 3\n[model]\npatch_len = 4", 2).contains("patch_len"));
    }
}
