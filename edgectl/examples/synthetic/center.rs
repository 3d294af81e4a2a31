//! The center: models in memory, merged by the library as the command merges files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aggregate::{
    CONTROL_PREFIX, Correction, Limit, Options, Rules, TensorData, TensorRef, WeightFile,
    aggregate_in_memory, nova_steps, weight_file,
};

use crate::data::DEVICES;
use crate::federation::{Center, Method, Update};
use crate::model::PARAMS;

/// The names of the global model and of the memory of the server step.
const GLOBAL: &str = "global";
const STATE: &str = "state";

/// What a center keeps from round to round.
#[derive(Debug)]
pub(crate) struct Models {
    global: WeightFile,
    state: Option<WeightFile>,
    scaffold: bool,
}

/// What the center sends out.
#[derive(Debug)]
pub(crate) struct Global {
    pub(crate) model: Vec<f32>,
    /// The center's control variate, zero if there is none.
    pub(crate) control: Vec<f32>,
}

impl Models {
    /// A model of zeros.
    pub(crate) fn new(center: Center) -> anyhow::Result<Self> {
        let scaffold = center.scaffold;
        let global = model(GLOBAL, &[0.0; PARAMS], &[0.0; PARAMS], scaffold)?;
        Ok(Self { global, state: None, scaffold })
    }

    /// The current global model.
    pub(crate) fn global(&self) -> anyhow::Result<Global> {
        let control = if self.scaffold {
            self.global.read_f32(&format!("{CONTROL_PREFIX}w"))?
        } else {
            vec![0.0; PARAMS]
        };
        Ok(Global { model: self.global.read_f32("w")?, control })
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
                let name = format!("node-{i}");
                let file = model(&name, &update.model, &update.control, self.scaffold)?;
                // SCAFFOLD's mean is one of equal weights.
                let weight = if self.scaffold { 1.0 } else { update.n_samples as f64 };
                let steps = nova_steps(update.steps, 0.0, 0.0);
                Ok(aggregate::Update { steps, ..aggregate::Update::of_file(file, weight) })
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
            base: Some(PathBuf::from(GLOBAL)),
            open: std::iter::once(self.global.clone()).chain(self.state.take()).collect(),
            bucket_seed: round,
            state_in: Some(PathBuf::from(STATE)),
            state_out: Some(PathBuf::from(STATE)),
            ..Options::default()
        };
        let out = Path::new(GLOBAL);
        let result = aggregate_in_memory(&merged, &options, out, &|_| Ok(BTreeMap::new()))?;
        (self.global, self.state) = (result.model, result.state);
        Ok(())
    }
}

/// A model with its control variate, if there is one.
fn model(
    name: &str,
    model: &[f32],
    control: &[f32],
    scaffold: bool,
) -> Result<WeightFile, aggregate::Error> {
    let control_name = format!("{CONTROL_PREFIX}w");
    let tensor = |name, values| TensorRef { name, shape: &[PARAMS], data: TensorData::F32(values) };
    let both = [tensor("w", model), tensor(&control_name, control)];
    weight_file(name, &both[..=usize::from(scaffold)], &BTreeMap::new())
}
