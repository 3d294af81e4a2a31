//! Models that are slices in memory.

use std::collections::BTreeMap;

use crate::{
    Error, Limit, Options, Reducer, Rules, TensorData, TensorRef, Tolerance, Update, WeightFile,
    aggregate_in_memory, weight_file,
};

/// Merges models that are slices of equal length: one tensor each, as far as rules go by tensors.
///
/// The bits are those that the same models give as files. `base` is the model that they started
/// from, for the rules that need one. A value that is not finite is an error.
///
/// ```
/// use aggregate::{Reducer, merge_slices};
///
/// let models: [&[f32]; 3] = [&[1.0, 2.0], &[3.0, 2.0], &[80.0, 2.0]];
/// let mean = merge_slices(&models[..2], &[3.0, 1.0], None, &Reducer::Mean)?;
/// assert_eq!(mean, [1.5, 2.0]);
/// assert_eq!(merge_slices(&models, &[1.0; 3], None, &Reducer::Median)?, [3.0, 2.0]);
/// # Ok::<(), aggregate::Error>(())
/// ```
///
/// # Errors
/// As for [`aggregate`](crate::aggregate), and [`Error::Weights`] if there is not one weight for each
/// model. Rules that go by what nodes say of their training need [`Update`]s.
pub fn merge_slices(
    models: &[&[f32]],
    weights: &[f64],
    base: Option<&[f32]>,
    reducer: &Reducer,
) -> Result<Vec<f32>, Error> {
    if models.len() != weights.len() {
        return Err(Error::Weights { n_models: models.len(), n_weights: weights.len() });
    }
    let file = |name: String, values: &[f32]| -> Result<WeightFile, Error> {
        let tensor =
            TensorRef { name: TENSOR, shape: &[values.len()], data: TensorData::F32(values) };
        weight_file(name, &[tensor], &BTreeMap::new())
    };
    let updates = models.iter().zip(weights).enumerate();
    let updates = updates
        .map(|(i, (values, &weight))| {
            Ok(Update::of_file(file(format!("model {i}"), values)?, weight))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let base = base.map(|values| file("base".to_owned(), values)).transpose()?;
    let rules = Rules {
        reduce: *reducer,
        max_deviation: Limit::OFF,
        tolerance: Tolerance::Strict,
        ..Rules::default()
    };
    let options = Options {
        rules,
        base: base.as_ref().map(|file| file.path().to_owned()),
        open: base.into_iter().collect(),
        ..Options::default()
    };
    let metadata = |_: &crate::Summary| Ok(BTreeMap::new());
    let merged = aggregate_in_memory(&updates, &options, "merged".as_ref(), &metadata)?;
    merged.model.read_f32(TENSOR)
}

/// What the one tensor is called.
const TENSOR: &str = "w";
