//! A model with all that belongs to it, in one file.

use std::collections::BTreeMap;
use std::path::Path;

use aggregate::{CONTROL_PREFIX, Patterns, TensorData, TensorRef, WeightFile, hash_file};
use anyhow::{Context, anyhow, bail, ensure};
use attn_core::Encoder;
use optim::ParamGroups;

use super::meta::Meta;
use super::named::open_model;
use crate::run::{FromCenter, Run};

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

impl Checkpoint {
    /// Reads a checkpoint and checks that its tensors are those of its model.
    ///
    /// # Errors
    /// If the file is damaged, is no edgectl checkpoint, or its tensors do not fit its model; or a
    /// weight is not finite.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        Self::of(&open_model(path)?)
    }

    /// The checkpoint in a file that is open already.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn of(file: &WeightFile) -> anyhow::Result<Self> {
        let path = file.path();
        let meta = Meta::read(file)?;
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
        let control = read_control(file, &encoder)?;
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
        let tensors = self.encoder.layout().tensors();
        let names = tensors.iter().map(|tensor| tensor.name.as_str());
        let patterns = Patterns::new(patterns).context("[federation] keep_local")?;
        patterns.check_all_match(&names).context("[federation] keep_local")?;
        Ok(tensors.iter().map(|tensor| patterns.matches(&tensor.name)).collect())
    }

    /// The same weights with another checked run.
    ///
    /// # Errors
    /// If a pattern of it matches no parameter, or nothing is left to train.
    pub fn with_run(mut self, run: Run) -> anyhow::Result<Self> {
        if run.node_side().needs() != FromCenter::ControlVariate {
            self.control = None;
        }
        self.meta.run = run;
        self.check_patterns()?;
        Ok(self)
    }

    /// Fails if a pattern of the run matches no parameter, or nothing is left to train.
    pub(super) fn check_patterns(&self) -> anyhow::Result<()> {
        self.param_groups()?;
        self.kept_local(&self.meta.run.federation().rules.keep_local)?;
        Ok(())
    }

    /// Which parameters are trained, and how, by the `[train]` section.
    ///
    /// # Errors
    /// If a pattern matches no parameter, or nothing is left to train.
    pub fn param_groups(&self) -> anyhow::Result<ParamGroups> {
        let tensors = self.encoder.layout().tensors();
        let names: Vec<(&str, usize)> = tensors.iter().map(|t| (&*t.name, t.range.len())).collect();
        let config = self.meta.run.train();
        ParamGroups::by_name(&names, &config.groups, &config.trainable)
            .context("[train] groups and trainable")
    }

    /// Writes the checkpoint, whole or not at all; of a partial one the tensors that were trained.
    ///
    /// # Errors
    /// If the folder does not exist or cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        self.with_tensors(|tensors, metadata| aggregate::write_file(path, tensors, metadata))?;
        Ok(())
    }

    /// The file that [`write`](Self::write) would write, in memory, by a name for messages.
    ///
    /// # Errors
    /// If a number of the metadata cannot be written as JSON.
    pub fn to_file(&self, name: &str) -> anyhow::Result<WeightFile> {
        self.with_tensors(|tensors, metadata| aggregate::weight_file(name, tensors, metadata))
    }

    /// Hands on what goes into a file.
    fn with_tensors<T>(
        &self,
        write: impl FnOnce(&[TensorRef<'_>], &BTreeMap<String, String>) -> Result<T, aggregate::Error>,
    ) -> anyhow::Result<T> {
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
        Ok(write(&tensors, &self.meta.to_metadata()?)?)
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
