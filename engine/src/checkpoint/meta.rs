//! What a checkpoint says beside its weights, as JSON: format 2, and what is read of format 1.
//!
//! `needs` lists what a reader must know to make sense of the file: one that it does not know is
//! refused, by name. What else it does not know does not matter to it, and is carried along.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use aggregate::WeightFile;
use anyhow::{Context, anyhow, ensure};
use attn_core::EncoderConfig;
use preprocess::{FittedStep, Pipeline};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::provenance::Provenance;
use super::unknown::{Unknown, add, known};
use crate::data::{DataConfig, Dataset, Expected, MAX_CLASSES, is_same_rate};
use crate::job::{FederationConfig, Job, ModelConfig, TrainConfig, WindowConfig};
use crate::run::{FromCenter, Run};
use crate::signals::Profile;
use monitor::temperature::{BOUNDS, is_valid};

/// The metadata key of a checkpoint.
pub const METADATA_KEY: &str = "edgectl";

/// The version of the metadata that this program writes. A reader goes by `needs`.
pub const FORMAT: u32 = 2;

/// What a checkpoint may need of its reader.
const KNOWN_NEEDS: [&str; 4] = [PARTIAL, CONTROL, NODE_FIT, TEMPERATURE];

/// Only the tensors that were trained are in the file; the others are those of the base.
const PARTIAL: &str = "partial";

/// Tensors called `control.…` are control variates and no weights.
const CONTROL: &str = "control-variates";

/// Some steps of preprocessing are fitted by each node for itself, and may have no values here.
const NODE_FIT: &str = "node-fit";

/// Probabilities are those of logits divided by a number, which holds for these weights alone.
const TEMPERATURE: &str = "temperature";

/// The keys of format 2; format 1 had no `needs`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    format: u32,
    #[serde(default)]
    needs: Vec<String>,
    model: EncoderConfig,
    classes: Vec<String>,
    channels: Vec<String>,
    data: DataConfig,
    window: WindowConfig,
    preprocess: Pipeline,
    train: TrainConfig,
    federation: FederationConfig,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    monitor: Option<Box<Profile>>,
    provenance: Provenance,
}

/// What is read first: whether the rest can be.
#[derive(Deserialize)]
struct Head {
    format: u32,
    #[serde(default)]
    needs: Vec<String>,
}

/// What the checkpoint says beside the weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Meta {
    /// Sizes of the model.
    pub model: EncoderConfig,
    /// Names of the classes, in the order of the head's outputs.
    pub classes: Vec<String>,
    /// Names of the channels, in the order of the model's inputs.
    pub channels: Vec<String>,
    /// How values are scaled; fitted on training rows, but for steps that each node fits for itself
    /// where these are no node's weights.
    pub preprocess: Pipeline,
    /// How files are read, series cut, nodes trained and updates merged: checked.
    pub run: Run,
    /// What logits are divided by before they become probabilities, as it was fitted for these weights; other
    /// weights have none. See [`monitor::temperature`].
    pub temperature: Option<f64>,
    /// What is usual of these weights at work, as `calibrate` found it; other weights have none.
    pub monitor: Option<Box<Profile>>,
    /// Where these weights come from.
    pub provenance: Provenance,
    /// What other programs, and later versions of this one, have written into the file: it is
    /// carried along.
    pub(super) unknown: Unknown,
}

impl Meta {
    /// The metadata of a model of which nothing is known that this program does not know.
    pub fn new(
        model: EncoderConfig,
        (classes, channels): (Vec<String>, Vec<String>),
        preprocess: Pipeline,
        run: Run,
    ) -> Self {
        let (provenance, unknown) = (Provenance::default(), Unknown::default());
        Self {
            model,
            classes,
            channels,
            preprocess,
            run,
            temperature: None,
            monitor: None,
            provenance,
            unknown,
        }
    }

    /// Forgets what was fitted for the weights as they were: these are others.
    pub fn forget_fitted(&mut self) {
        self.temperature = None;
        self.monitor = None;
    }

    /// Whether a file has metadata of a checkpoint.
    pub fn is_in(file: &WeightFile) -> bool {
        file.metadata().contains_key(METADATA_KEY)
    }

    /// Parses and checks the metadata of an open file.
    ///
    /// # Errors
    /// If the file is no edgectl checkpoint, needs what this program does not know, or contradicts
    /// itself.
    pub fn read(file: &WeightFile) -> anyhow::Result<Self> {
        let path = file.path().display();
        let text = file.metadata().get(METADATA_KEY).ok_or_else(|| {
            anyhow!(
                "{path}: not an edgectl checkpoint: it has no metadata key \"{METADATA_KEY}\"; `edgectl init` or `edgectl train` writes one"
            )
        })?;
        let mut meta = Self::parse(text).with_context(|| format!("{path}"))?;
        let others = file.metadata().iter().filter(|(key, _)| *key != METADATA_KEY);
        meta.unknown.metadata = others.map(|(k, v)| (k.clone(), v.clone())).collect();
        meta.check().with_context(|| format!("{path}: the metadata contradicts itself"))?;
        Ok(meta)
    }

    /// Parses the metadata, and checks the run in it.
    fn parse(text: &str) -> anyhow::Result<Self> {
        let damaged = || "the metadata is damaged";
        let mut value: Value = serde_json::from_str(text).with_context(damaged)?;
        let head = Head::deserialize(&value).with_context(damaged)?;
        ensure!(head.format >= 1, "the metadata is damaged: format {}", head.format);
        let strange: Vec<_> =
            head.needs.iter().filter(|need| !KNOWN_NEEDS.contains(&need.as_str())).collect();
        ensure!(
            strange.is_empty(),
            "the checkpoint needs {strange:?} of its reader, which edgectl {} does not know; use a newer edgectl",
            env!("CARGO_PKG_VERSION")
        );
        let mut keys = Map::new();
        let read: Keys = known(&mut value, &mut keys).with_context(damaged)?;
        let job = Job {
            data: read.data,
            window: read.window,
            preprocess: read.preprocess.configs(),
            model: ModelConfig::from(&read.model),
            train: read.train,
            federation: read.federation,
        };
        Ok(Self {
            model: read.model,
            classes: read.classes,
            channels: read.channels,
            preprocess: read.preprocess,
            run: Run::check(job, None)?,
            temperature: read.temperature,
            monitor: read.monitor,
            provenance: read.provenance,
            unknown: Unknown { metadata: BTreeMap::new(), keys },
        })
    }

    /// Writes the metadata, with what was unknown in the file that it comes from.
    fn to_json(&self) -> anyhow::Result<String> {
        let failed = || "the checkpoint's metadata cannot be written";
        let needs = [
            (self.provenance.partial, PARTIAL),
            (self.run.node_side().needs() == FromCenter::ControlVariate, CONTROL),
            (self.preprocess.has_node_steps(), NODE_FIT),
            (self.temperature.is_some(), TEMPERATURE),
        ];
        let job = self.run.job();
        let keys = Keys {
            format: FORMAT,
            needs: needs
                .into_iter()
                .filter(|(is, _)| *is)
                .map(|(_, need)| need.to_owned())
                .collect(),
            model: self.model.clone(),
            classes: self.classes.clone(),
            channels: self.channels.clone(),
            data: job.data.clone(),
            window: job.window.clone(),
            preprocess: self.preprocess.clone(),
            train: job.train.clone(),
            federation: job.federation.clone(),
            temperature: self.temperature,
            monitor: self.monitor.clone(),
            provenance: self.provenance.clone(),
        };
        let text = serde_json::to_string(&keys).with_context(failed)?;
        if self.unknown.keys.is_empty() {
            return Ok(text);
        }
        let mut value: Value = serde_json::from_str(&text).with_context(failed)?;
        if let Some(known) = value.as_object_mut() {
            add(known, &self.unknown.keys);
        }
        serde_json::to_string(&value).with_context(failed)
    }

    fn check(&self) -> anyhow::Result<()> {
        self.model.validate()?;
        let (n_channels, n_outputs) = (self.channels.len(), self.model.task.n_outputs());
        ensure!(
            self.preprocess.input().channels() == n_channels
                && self.preprocess.output().channels() == self.model.channels,
            "{n_channels} channel names, the preprocessing makes {} channels of {}, the model takes {}",
            self.preprocess.output().channels(),
            self.preprocess.input().channels(),
            self.model.channels
        );
        ensure!(
            self.classes.len() == n_outputs,
            "{} class names, {n_outputs} outputs of the model",
            self.classes.len()
        );
        ensure!(n_outputs <= MAX_CLASSES, "{n_outputs} classes, at most {MAX_CLASSES} are read");
        for (what, names) in [("class", &self.classes), ("channel", &self.channels)] {
            let mut seen = BTreeSet::new();
            let twice = names.iter().find(|name| !seen.insert(*name));
            ensure!(twice.is_none(), "a {what} name stands twice: {twice:?}");
        }
        ensure!(
            self.run.window().len.is_none_or(|len| len == self.model.seq_len),
            "windows of {:?} steps, a model for {}",
            self.run.window().len,
            self.model.seq_len
        );
        let temperature = self.temperature.unwrap_or(1.0);
        ensure!(
            is_valid(temperature),
            "a temperature of {temperature}, which is from {} to {}",
            BOUNDS.0,
            BOUNDS.1
        );
        if let Some(profile) = &self.monitor {
            let channels = self.preprocess.output().channels();
            profile.check(n_channels, channels).context("the monitor")?;
        }
        Ok(())
    }

    /// What data for this model must have.
    pub fn expected(&self) -> Expected<'_> {
        Expected { channels: &self.channels, classes: &self.classes }
    }

    /// Says where new weights come from; what was unknown of the old ones' origin is not true of these.
    pub fn set_provenance(&mut self, provenance: Provenance) {
        self.unknown.keys.remove("provenance");
        self.provenance = provenance;
    }

    /// Reads data for this model; `preprocessed` if it is what `edgectl preprocess` wrote for it.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub fn read_data(&self, paths: &[PathBuf], preprocessed: bool) -> anyhow::Result<Dataset> {
        self.read_data_with(paths, preprocessed, None)
    }

    /// The same with the tables of labels and splits that a job names, which a checkpoint does not keep,
    /// as they are paths.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub fn read_data_with(
        &self,
        paths: &[PathBuf],
        preprocessed: bool,
        tables: Option<&DataConfig>,
    ) -> anyhow::Result<Dataset> {
        if preprocessed {
            let channels = &self.preprocess.output().names;
            let expected = Expected { channels, classes: &self.classes };
            return Dataset::read_preprocessed(paths, self.run.data(), expected);
        }
        let config = self.data_config(false, tables);
        let dataset = Dataset::read(paths, &config, Some(self.expected()))?;
        self.check_rate(&dataset)?;
        Ok(dataset)
    }

    /// Holds the rate of data to the one that the model was made for, unless a step makes it so.
    fn check_rate(&self, dataset: &Dataset) -> anyhow::Result<()> {
        let sets_rate =
            |step: &FittedStep| ["grid", "frame-rate"].contains(&step.kind.kind().name());
        if self.preprocess.steps().iter().any(sets_rate) {
            return Ok(());
        }
        if let (Some(made_for), Some(found)) =
            (self.preprocess.input().rate_hz, dataset.own_rate_hz())
        {
            let first =
                dataset.segments.first().map(|segment| segment.source.display().to_string());
            ensure!(
                is_same_rate(made_for, found),
                "{}: {found} rows per second, but the model was made for {made_for}; bring rows of that rate, or put step = \"grid\" with rate_hz = {made_for} in front of the [[preprocess]] steps of the job",
                first.unwrap_or_default()
            );
        }
        Ok(())
    }

    /// How [`read_data_with`](Self::read_data_with) reads.
    pub fn data_config(&self, preprocessed: bool, tables: Option<&DataConfig>) -> DataConfig {
        if preprocessed {
            return self.run.data().of_written();
        }
        let mut config = self.run.data().clone();
        if let Some(DataConfig { split_file, labels, .. }) = tables {
            config.split_file.clone_from(split_file);
            config.labels.clone_from(labels);
        }
        config
    }

    /// The metadata of a file with this checkpoint's weights.
    ///
    /// # Errors
    /// If a number cannot be written as JSON.
    pub fn to_metadata(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut metadata = self.unknown.metadata.clone();
        metadata.insert(METADATA_KEY.to_owned(), self.to_json()?);
        Ok(metadata)
    }
}
