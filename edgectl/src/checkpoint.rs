//! The checkpoint: one safetensors file with the weights and, as JSON under the metadata key
//! `edgectl`, all that a node needs besides its own data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aggregate::{CONTROL_PREFIX, TensorData, TensorRef, WeightFile, hash_file};
use anyhow::{Context, anyhow, bail, ensure};
use attn_core::{Encoder, EncoderConfig};
use glob::Pattern;
use optim::ParamGroups;
use preprocess::Pipeline;
use serde::{Deserialize, Serialize};

use crate::data::{DataConfig, Dataset, Expected};
use crate::federation::MergeNote;
use crate::job::{FederationConfig, TrainConfig, WindowConfig};

/// The metadata key.
pub const METADATA_KEY: &str = "edgectl";

/// The version of the metadata this program writes and reads.
pub const FORMAT: u32 = 1;

/// What the checkpoint says beside the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// [`FORMAT`].
    pub format: u32,
    /// Sizes of the model.
    pub model: EncoderConfig,
    /// Names of the classes, in the order of the head's outputs.
    pub classes: Vec<String>,
    /// Names of the channels, in the order of the model's inputs.
    pub channels: Vec<String>,
    /// How files are read.
    pub data: DataConfig,
    /// How series are cut.
    pub window: WindowConfig,
    /// How values are scaled; fitted on training rows.
    pub preprocess: Pipeline,
    /// How a node trains.
    pub train: TrainConfig,
    /// How the center merges.
    pub federation: FederationConfig,
    /// Where these weights come from.
    pub provenance: Provenance,
}

/// Where weights come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The node that trained, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Rounds that the global model has behind it.
    pub round: u32,
    /// Hash (BLAKE3) of the file the training or merge started from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Training windows.
    pub examples: u64,
    /// Optimizer steps since `base`.
    pub local_steps: u64,
    /// Whether the file holds only the tensors that were trained, all others being those of `base`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// What was measured, for example `loss` and `accuracy` on the training rows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// The updates that a merge took, by node or else by fingerprint; those of a merged update are
    /// listed in its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<String>,
    /// What a merge found out about its updates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<MergeNote>,
}

/// A model with all that belongs to it.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// What the file says beside the weights.
    pub meta: Meta,
    /// Names and shapes.
    pub encoder: Encoder,
    /// The weights, one flat vector.
    pub params: Vec<f32>,
    /// The control variate of the weights, where a federation uses SCAFFOLD: the center's, in an
    /// update plus the change of the node's.
    pub control: Option<Vec<f32>>,
}

/// What is read first: another version may have other keys.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl Meta {
    /// Parses and checks the metadata of an open file.
    ///
    /// # Errors
    /// If the file is no edgectl checkpoint, is of a newer format, or contradicts itself.
    pub fn read(file: &WeightFile) -> anyhow::Result<Self> {
        let path = file.path().display();
        let Some(json) = file.metadata().get(METADATA_KEY) else {
            bail!(
                "{path}: not an edgectl checkpoint: it has no metadata key \"{METADATA_KEY}\"; `edgectl init` or `edgectl train` writes one"
            );
        };
        let version: Version = serde_json::from_str(json)
            .with_context(|| format!("{path}: the metadata key \"{METADATA_KEY}\" is damaged"))?;
        ensure!(
            version.format == FORMAT,
            "{path}: checkpoint format {}, this program reads format {FORMAT}; use the edgectl that wrote it, or a newer one",
            version.format
        );
        let meta: Self = serde_json::from_str(json)
            .with_context(|| format!("{path}: the metadata key \"{METADATA_KEY}\" is damaged"))?;
        meta.check().with_context(|| format!("{path}: the metadata contradicts itself"))?;
        Ok(meta)
    }

    fn check(&self) -> anyhow::Result<()> {
        self.model.validate()?;
        self.preprocess.validate()?;
        self.train.validate()?;
        let (n_channels, n_outputs) = (self.channels.len(), self.model.task.n_outputs());
        ensure!(
            n_channels == self.model.channels && self.preprocess.channels() == n_channels,
            "{n_channels} channel names, {} channels in the model, {} in the preprocessing",
            self.model.channels,
            self.preprocess.channels()
        );
        for (what, names) in [("class", &self.classes), ("channel", &self.channels)] {
            let twice = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name));
            ensure!(
                twice.is_none(),
                "a {what} name stands twice: {:?}",
                twice.map(|(_, name)| name)
            );
        }
        ensure!(
            self.classes.len() == n_outputs,
            "{} class names, {n_outputs} outputs of the model",
            self.classes.len()
        );
        ensure!(
            self.window.len.is_none_or(|len| len == self.model.seq_len),
            "windows of {:?} steps, a model for {}",
            self.window.len,
            self.model.seq_len
        );
        Ok(())
    }

    /// What data for this model must have.
    pub fn expected(&self) -> Expected<'_> {
        Expected { channels: &self.channels, classes: &self.classes }
    }

    /// Reads data for this model; `preprocessed` if it is what `edgectl preprocess` wrote for it.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub fn read_data(&self, paths: &[PathBuf], preprocessed: bool) -> anyhow::Result<Dataset> {
        if preprocessed {
            Dataset::read_preprocessed(paths, &self.data, self.expected())
        } else {
            Dataset::read(paths, &self.data, Some(self.expected()))
        }
    }

    /// The metadata of a file with this checkpoint's weights.
    ///
    /// # Errors
    /// If a number cannot be written as JSON.
    pub fn to_metadata(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let json = serde_json::to_string(self).context("the checkpoint's metadata")?;
        Ok(BTreeMap::from([(METADATA_KEY.to_owned(), json)]))
    }
}

impl Checkpoint {
    /// Reads a checkpoint and checks that its tensors are those of its model.
    ///
    /// # Errors
    /// If the file is damaged, is no edgectl checkpoint, or its tensors do not fit its model; or a
    /// weight is not finite.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let file = WeightFile::open(path)?;
        let meta = Meta::read(&file)?;
        let is_partial = meta.provenance.partial;
        let missing = |tensor: &str| {
            if is_partial {
                anyhow!(
                    "{}: the update holds only the parameters that were trained; merge it into the model it started from: edgectl aggregate {} --base MODEL --out MODEL",
                    path.display(),
                    path.display()
                )
            } else {
                anyhow!("{}: tensor {tensor} of the model is missing", path.display())
            }
        };
        // Before there is a list of the model's tensors: the metadata may ask for any number.
        if meta.model.n_layers > file.tensors().len() {
            return Err(missing("blocks.*"));
        }
        let encoder = Encoder::new(meta.model.clone())
            .with_context(|| format!("{}: the model", path.display()))?;
        let specs = encoder.layout().tensors();
        for spec in specs {
            let found = file.tensor(&spec.name).ok_or_else(|| missing(&spec.name))?;
            ensure!(
                found.shape == spec.shape,
                "{}: tensor {} has shape {:?}, the model needs {:?}",
                path.display(),
                spec.name,
                found.shape,
                spec.shape
            );
        }
        // Only now is it known that the file holds as many numbers.
        let mut params = vec![0.0; encoder.n_params()];
        for spec in specs {
            params[spec.range.clone()].copy_from_slice(&file.read_f32(&spec.name)?);
        }
        let control = read_control(&file, &encoder)?;
        let known = |name: &str| {
            let own = name.strip_prefix(CONTROL_PREFIX).filter(|_| control.is_some());
            encoder.layout().get(own.unwrap_or(name)).is_some()
        };
        if let Some(extra) = file.tensors().iter().find(|t| !known(&t.name)) {
            bail!("{}: tensor {} is not part of the model", path.display(), extra.name);
        }
        if let Some(spec) =
            specs.iter().find(|s| params[s.range.clone()].iter().any(|v| !v.is_finite()))
        {
            bail!(
                "{}: tensor {} holds NaN or infinity; train or merge again from a sound file",
                path.display(),
                spec.name
            );
        }
        Ok(Self { meta, encoder, params, control })
    }

    /// Reads a checkpoint together with the hash that an update trained from it states as its base.
    ///
    /// # Errors
    /// If the file is no checkpoint.
    pub fn read_base(path: &Path) -> anyhow::Result<(Self, String)> {
        let checkpoint = Self::read(path)?;
        let hash = hash_file(path).with_context(|| format!("{}: cannot hash", path.display()))?;
        Ok((checkpoint, hash))
    }

    /// Takes parameters that match one of the patterns from another checkpoint of the same model.
    ///
    /// # Errors
    /// If a pattern matches no parameter, or the models differ.
    pub fn take_local(&mut self, patterns: &[String], own: &Self) -> anyhow::Result<()> {
        ensure!(
            own.encoder.config() == self.encoder.config(),
            "the model that keeps its own parameters is another one"
        );
        for (spec, kept) in self.encoder.layout().tensors().iter().zip(self.kept_local(patterns)?) {
            if kept {
                let range = spec.range.clone();
                self.params[range.clone()].copy_from_slice(&own.params[range]);
            }
        }
        Ok(())
    }

    /// Whether each tensor matches one of the patterns, each of which must match some.
    pub(crate) fn kept_local(&self, patterns: &[String]) -> anyhow::Result<Vec<bool>> {
        let patterns = patterns
            .iter()
            .map(|p| Pattern::new(p).with_context(|| format!("[federation] keep_local {p:?}")))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let tensors = self.encoder.layout().tensors();
        if let Some(pattern) = patterns.iter().find(|p| !tensors.iter().any(|t| p.matches(&t.name)))
        {
            bail!("[federation] keep_local {:?} matches no parameter", pattern.as_str());
        }
        Ok(tensors.iter().map(|t| patterns.iter().any(|p| p.matches(&t.name))).collect())
    }

    /// Which parameters are trained, and how, by the `[train]` section.
    ///
    /// # Errors
    /// If a pattern matches no parameter, or nothing is left to train.
    pub fn param_groups(&self) -> anyhow::Result<ParamGroups> {
        let tensors = self.encoder.layout().tensors();
        let names: Vec<(&str, usize)> = tensors.iter().map(|t| (&*t.name, t.range.len())).collect();
        let config = &self.meta.train;
        ParamGroups::by_name(&names, &config.groups, &config.trainable)
            .context("[train] groups and trainable")
    }

    /// Writes the checkpoint, whole or not at all; of a partial one the tensors that were trained.
    ///
    /// # Errors
    /// If the folder does not exist or cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let groups = self.meta.provenance.partial.then(|| self.param_groups()).transpose()?;
        let specs = self.encoder.layout().tensors().iter();
        let specs: Vec<_> = specs
            .filter(|spec| groups.as_ref().is_none_or(|g| g.is_trained(spec.range.start)))
            .collect();
        let names: Vec<String> =
            specs.iter().map(|spec| format!("{CONTROL_PREFIX}{}", spec.name)).collect();
        let mut tensors = Vec::new();
        for (spec, control_name) in specs.iter().zip(&names) {
            let shape = &spec.shape;
            let data = TensorData::F32(&self.params[spec.range.clone()]);
            tensors.push(TensorRef { name: &spec.name, shape, data });
            if let Some(control) = &self.control {
                let data = TensorData::F32(&control[spec.range.clone()]);
                tensors.push(TensorRef { name: control_name, shape, data });
            }
        }
        aggregate::write_file(path, &tensors, &self.meta.to_metadata()?)?;
        Ok(())
    }
}

/// The control variate of a model that has one.
fn read_control(file: &WeightFile, encoder: &Encoder) -> anyhow::Result<Option<Vec<f32>>> {
    if !file.tensors().iter().any(|t| t.name.starts_with(CONTROL_PREFIX)) {
        return Ok(None);
    }
    let mut control = vec![0.0; encoder.n_params()];
    for spec in encoder.layout().tensors() {
        let name = format!("{CONTROL_PREFIX}{}", spec.name);
        let fits = file.tensor(&name).is_some_and(|t| t.shape == spec.shape);
        ensure!(
            fits,
            "{}: the control variate {name} is missing or has another shape than the weights",
            file.path().display()
        );
        control[spec.range.clone()].copy_from_slice(&file.read_f32(&name)?);
    }
    ensure!(
        control.iter().all(|v| v.is_finite()),
        "{}: the control variate holds NaN or infinity",
        file.path().display()
    );
    Ok(Some(control))
}
