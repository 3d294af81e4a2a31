//! A model that nobody has trained yet.

use anyhow::{Context, ensure};
use attn_core::Encoder;
use preprocess::Pipeline;

use super::meta::Meta;
use super::model::Checkpoint;
use crate::data::{Dataset, check_classes, train_segments};
use crate::run::{FromCenter, Run};
use crate::windows::{Cut, WindowSet};

impl Checkpoint {
    /// A fresh model for a run: schema and classes from the data, preprocessing fitted on the
    /// training rows of `segments`.
    ///
    /// It keeps neither the path of the data nor the names of nodes that are held out.
    ///
    /// # Errors
    /// If there are no training rows, no labels, a label that is [no class](check_classes), or sizes do not fit together.
    pub fn fresh(run: &Run, dataset: &Dataset, segments: &[usize]) -> anyhow::Result<Self> {
        let channels = dataset.channels.len();
        let train = train_segments(dataset, segments)?;
        ensure!(
            !dataset.classes.is_empty(),
            "{}: the data has no labels; name the label column in the [data] section of the job file",
            dataset.segments[train[0]].source.display()
        );
        let series: Vec<Vec<f32>> = train.iter().map(|&i| dataset.segments[i].rounded()).collect();
        let series: Vec<&[f32]> = series.iter().map(Vec::as_slice).collect();
        let job = run.job();
        let pipeline =
            Pipeline::fit(&job.preprocess, channels, &series).context("fitting [[preprocess]]")?;
        let longest = series.iter().map(|values| values.len() / channels).max().unwrap_or(0);
        let seq_len = job.window.len.or(job.window.max_len).unwrap_or(longest);
        let config = job.model.encoder(channels, seq_len, dataset.classes.len());
        let encoder = Encoder::new(config).context("[model]")?;
        // What could never train shall fail here, not on the nodes.
        let cut = Cut { window: &job.window, seq_len, train: true };
        let set = WindowSet::new(dataset, &pipeline, &train, cut)?;
        check_classes(dataset, run.data(), &train, set.windows().iter().map(|w| w.segment))?;
        let params = encoder.init(job.train.seed);
        let control = (run.node_side().needs() == FromCenter::ControlVariate)
            .then(|| vec![0.0; params.len()]);
        let run = run.with(|job| {
            job.data = job.data.clone().without_paths();
            job.federation.holdout.clear();
        })?;
        let names = (dataset.classes.clone(), dataset.channels.clone());
        let meta = Meta::new(encoder.config().clone(), names, pipeline, run);
        let checkpoint = Self { meta, encoder, params, control };
        checkpoint.check_patterns()?;
        Ok(checkpoint)
    }
}
