//! The center: weight files in a folder, merged by the library as the command does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aggregate::{
    CONTROL_PREFIX, Correction, Limit, Options, Rules, TensorData, TensorRef, WeightFile,
    nova_steps, write_file,
};
use tempfile::TempDir;

use crate::data::DEVICES;
use crate::federation::{Center, Method, Update};
use crate::model::PARAMS;

/// A disk in memory, where there is one: a round is a few small files.
const MEMORY: &str = "/dev/shm";

/// The files of a federation.
#[derive(Debug)]
pub(crate) struct Files {
    folder: TempDir,
    scaffold: bool,
}

/// What the center sends out.
#[derive(Debug)]
pub(crate) struct Global {
    pub(crate) model: Vec<f32>,
    /// The center's control variate, zero if there is none.
    pub(crate) control: Vec<f32>,
}

impl Files {
    /// A folder with a model of zeros.
    pub(crate) fn new(center: Center) -> anyhow::Result<Self> {
        let memory = Path::new(MEMORY);
        let folder = if memory.is_dir() { TempDir::new_in(memory)? } else { TempDir::new()? };
        let files = Self { folder, scaffold: center.scaffold };
        files.write("global", &[0.0; PARAMS], &[0.0; PARAMS])?;
        Ok(files)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, model: &[f32], control: &[f32]) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        let control_name = format!("{CONTROL_PREFIX}w");
        let tensor =
            |name, values| TensorRef { name, shape: &[PARAMS], data: TensorData::F32(values) };
        let both = [tensor("w", model), tensor(&control_name, control)];
        write_file(&path, &both[..=usize::from(self.scaffold)], &BTreeMap::new())?;
        Ok(path)
    }

    /// The current global model.
    pub(crate) fn global(&self) -> anyhow::Result<Global> {
        let file = WeightFile::open(self.path("global"))?;
        let control = if self.scaffold {
            file.read_f32(&format!("{CONTROL_PREFIX}w"))?
        } else {
            vec![0.0; PARAMS]
        };
        Ok(Global { model: file.read_f32("w")?, control })
    }

    /// Merges a round's updates into the next global model.
    pub(crate) fn merge(
        &mut self,
        method: &Method,
        updates: &[Update],
        round: u64,
    ) -> anyhow::Result<()> {
        let merged = updates
            .iter()
            .enumerate()
            .map(|(i, update)| {
                let path = self.write(&format!("node-{i}"), &update.model, &update.control)?;
                // SCAFFOLD's mean is one of equal weights.
                let weight = if self.scaffold { 1.0 } else { update.n_samples as f64 };
                let steps = nova_steps(update.steps, 0.0, 0.0);
                Ok(aggregate::Update { steps, ..aggregate::Update::new(path, weight) })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let rules = Rules {
            reduce: method.center.reduce,
            bucket: method.bucket,
            server: method.center.server,
            correction: if self.scaffold { Correction::Scaffold } else { Correction::None },
            population: self.scaffold.then_some(DEVICES as u32),
            // The devices differ by orders of magnitude, and every rule shall stand by itself.
            max_deviation: Limit::OFF,
            // The published figures weigh devices by their samples, whatever these are.
            max_weight: Limit::OFF,
            ..Rules::default()
        };
        let options = Options {
            rules,
            base: Some(self.path("global")),
            bucket_seed: round,
            state_in: Some(self.path("state")),
            state_out: Some(self.path("state")),
            ..Options::default()
        };
        aggregate::aggregate(&merged, &options, &self.path("global"), &|_| Ok(BTreeMap::new()))?;
        Ok(())
    }
}
