//! A model that nobody has trained yet.

use anyhow::{Context, ensure};
use attn_core::Encoder;
use preprocess::{FitBy, Pipeline};

use super::meta::Meta;
use super::model::Checkpoint;
use super::node_values::stand_in;
use super::stats_file::StatsFile;
use crate::data::{Dataset, Node, check_classes, train_segments};
use crate::run::{FromCenter, Run};
use crate::windows::{Cut, WindowSet, longest};

impl Checkpoint {
    /// A fresh model for a run: schema and classes from the data, preprocessing fitted on the
    /// training rows of `segments`, which are one node's where a step is fitted by each node.
    ///
    /// It keeps neither the path of the data nor the names of nodes that are held out.
    ///
    /// # Errors
    /// If there are no training rows, no labels, a label that is [no class](check_classes), or sizes do not fit together.
    pub fn fresh(run: &Run, dataset: &Dataset, segments: &[usize]) -> anyhow::Result<Self> {
        let train = train_segments(dataset, segments)?;
        let stage = dataset.stage(run.data());
        let series = dataset.rows(&train, stage.rate_hz);
        let pipeline = Pipeline::fit(&run.job().preprocess, &stage, series)
            .context("fitting [[preprocess]]")?;
        Self::fresh_with(run, dataset, segments, pipeline)
    }

    /// The same for nodes, of whose training rows `segments` are all: a step that each node fits for
    /// itself has no values.
    ///
    /// # Errors
    /// As [`fresh`](Self::fresh).
    pub fn fresh_for(
        run: &Run,
        dataset: &Dataset,
        segments: &[usize],
        nodes: &[Node],
    ) -> anyhow::Result<Self> {
        let steps = &run.job().preprocess;
        if steps.iter().all(|step| step.fit == FitBy::Shared) {
            return Self::fresh(run, dataset, segments);
        }
        train_segments(dataset, segments)?;
        let stage = dataset.stage(run.data());
        // A node whose rows are all for the test fits nothing.
        let training = nodes.iter().filter_map(|node| {
            let train = train_segments(dataset, &node.segments).ok()?;
            Some((node.name.as_str(), dataset.rows(&train, stage.rate_hz)))
        });
        let pipeline = Pipeline::fit_shared(steps, &stage, training.collect())
            .context("fitting [[preprocess]]")?;
        Self::fresh_with(run, dataset, segments, pipeline)
    }

    /// The same with preprocessing that was fitted before, as across nodes.
    ///
    /// # Errors
    /// As [`fresh`](Self::fresh).
    pub fn fresh_with(
        run: &Run,
        dataset: &Dataset,
        segments: &[usize],
        pipeline: Pipeline,
    ) -> anyhow::Result<Self> {
        let train = train_segments(dataset, segments)?;
        ensure!(
            !dataset.classes.is_empty(),
            "{}: the data has no labels; name the label column in the [data] section of the job file",
            dataset.segments[train[0]].source.display()
        );
        let job = run.job();
        let fitted = stand_in(&pipeline, dataset, &train)?;
        let seq_len = match job.window.len.or(job.window.max_len) {
            Some(len) => len,
            None => longest(dataset, &fitted, &train)?,
        };
        let config =
            job.model.encoder(pipeline.output().channels(), seq_len, dataset.classes.len());
        let encoder = Encoder::new(config).context("[model]")?;
        // What could never train shall fail here, not on the nodes.
        let cut = Cut { window: &job.window, seq_len, train: true };
        let set = WindowSet::new(dataset, &fitted, &train, cut)?;
        check_classes(dataset, run.data(), &train, set.windows().iter().map(|w| w.segment))?;
        drop(set);
        drop(fitted);
        Self::untrained(run, encoder, (&dataset.classes, &dataset.channels), pipeline)
    }

    /// A fresh model for a run without data: schema, classes and preprocessing by the statistics of
    /// nodes.
    ///
    /// # Errors
    /// If a step is still to be fitted, there are no classes, or sizes do not fit together.
    pub fn of_statistics(run: &Run, stats: &StatsFile) -> anyhow::Result<Self> {
        let job = run.job();
        let pipeline = stats.pipeline(&job.preprocess)?;
        let given = job.window.len.or(job.window.max_len);
        ensure!(
            given.is_some() || pipeline.keeps_rows() && stats.longest > 0,
            "it is not known how many rows a series has after [[preprocess]]; give [window] len or max_len"
        );
        let seq_len = given.unwrap_or(stats.longest);
        let config = job.model.encoder(pipeline.output().channels(), seq_len, stats.classes.len());
        let encoder = Encoder::new(config).context("[model]")?;
        let channels = pipeline.input().names.clone();
        Self::untrained(run, encoder, (&stats.classes, &channels), pipeline)
    }

    /// Weights at random, and what stands beside them.
    fn untrained(
        run: &Run,
        encoder: Encoder,
        (classes, channels): (&[String], &[String]),
        pipeline: Pipeline,
    ) -> anyhow::Result<Self> {
        let params = encoder.init(run.train().seed);
        let control = (run.node_side().needs() == FromCenter::ControlVariate)
            .then(|| vec![0.0; params.len()]);
        let run = run.with(|job| {
            job.data = job.data.clone().without_paths();
            job.federation.holdout.clear();
        })?;
        let names = (classes.to_vec(), channels.to_vec());
        let meta = Meta::new(encoder.config().clone(), names, pipeline, run);
        let checkpoint = Self { meta, encoder, params, control };
        checkpoint.check_patterns()?;
        Ok(checkpoint)
    }
}
