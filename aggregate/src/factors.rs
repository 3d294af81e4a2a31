//! What an update says of its adapters: rank and scale of every pair.

use std::sync::Arc;

use crate::adapter_config::{AdapterConfig, CONFIG_NAME, beside};
use crate::adapters::{AdapterKind, Pair, of_any_rank, only_pairs};
use crate::reject::Reason;
use crate::{Error, TensorInfo, Update, WeightFile};

/// The adapters of one update.
#[derive(Debug)]
pub(crate) struct Factors {
    /// Of each pair, in the order of [`only_pairs`].
    pub(crate) pairs: Vec<Factor>,
    /// Whether there is a configuration that says the scale, if one is needed for it.
    pub(crate) has_config: Option<bool>,
    /// The configuration but for ranks and scales.
    pub(crate) config: Option<String>,
}

/// One pair of factors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Factor {
    pub(crate) rank: usize,
    /// What the product of the factors is multiplied by.
    pub(crate) scale: f64,
}

/// Whether the scale of a pair stands nowhere but in a configuration.
fn needs_config(pair: &Pair) -> bool {
    pair.kind == AdapterKind::Peft && pair.alpha.is_none()
}

/// Reads ranks and scales, or says why the file's adapters cannot be stacked.
///
/// # Errors
/// If this machine cannot read a file.
pub(crate) fn read_factors(
    update: &Update,
    file: &WeightFile,
) -> Result<Result<Factors, Reason>, Error> {
    let pairs = match only_pairs(file.tensors()) {
        Ok(pairs) => pairs,
        Err(problem) => return Ok(Err(Reason::Adapter { problem })),
    };
    let in_config =
        |problem: String| Reason::Adapter { problem: format!("{CONFIG_NAME}: {problem}") };
    let mut text = update.adapter_config.clone().map(Ok);
    if text.is_none() && !file.is_nameless() && pairs.iter().any(needs_config) {
        text = beside(&update.path)?;
    }
    let parsed = text.map(|text| text.and_then(|text| AdapterConfig::parse(&text))).transpose();
    let config = match parsed {
        Ok(config) => config.filter(|_| pairs.iter().any(needs_config)),
        Err(problem) => return Ok(Err(in_config(problem))),
    };
    let mut factors = Vec::with_capacity(pairs.len());
    for pair in &pairs {
        let scale = match (pair.alpha, &config) {
            (Some(alpha), _) => match alpha_of(file, &file.tensors()[alpha])? {
                Ok(alpha) => alpha / pair.rank as f64,
                Err(reason) => return Ok(Err(reason)),
            },
            (None, Some(config)) if needs_config(pair) => {
                match config.scale(&pair.module, pair.rank) {
                    Ok(scale) => scale,
                    Err(problem) => return Ok(Err(in_config(problem))),
                }
            }
            // As loaders have it where there is no alpha; of PEFT's the scale is not known.
            (None, _) => 1.0,
        };
        factors.push(Factor { rank: pair.rank, scale });
    }
    let has_config = pairs.iter().any(needs_config).then_some(config.is_some());
    let config = config.map(|config| config.rest());
    Ok(Ok(Factors { pairs: factors, has_config, config }))
}

/// The one number of an alpha, which must be finite.
fn alpha_of(file: &WeightFile, tensor: &TensorInfo) -> Result<Result<f64, Reason>, Error> {
    let mut alpha = f64::NAN;
    file.visit_f64(&tensor.name, |values| alpha = values.first().copied().unwrap_or(f64::NAN))?;
    Ok(if alpha.is_finite() {
        Ok(alpha)
    } else {
        let found = alpha.to_string();
        Err(Reason::Value { tensor: tensor.name.clone(), index: 0, found })
    })
}

/// A file's tensors as they are compared where adapters are stacked: factors of any rank, but for
/// those whose scale is not known, which can only be the same where the rank is.
pub(crate) fn stackable(tensors: &Arc<[TensorInfo]>, factors: &Factors) -> Arc<[TensorInfo]> {
    let Ok(pairs) = only_pairs(tensors) else { return Arc::clone(tensors) };
    if pairs.is_empty() {
        return Arc::clone(tensors);
    }
    let is_known = |pair: &Pair| !needs_config(pair) || factors.has_config == Some(true);
    of_any_rank(tensors, &pairs, is_known).into()
}

/// The reason in words that suit factors of any rank.
pub(crate) fn of_factors(reason: Reason, factors: Option<&Factors>) -> Reason {
    let Reason::Shape { tensor, expected, found } = &reason else { return reason };
    match factors {
        Some(factors) if factors.has_config == Some(false) && tensor.contains("lora") => {
            Reason::Adapter {
                problem: format!(
                    "{reason}; ranks may differ only where scales are known, from an {CONFIG_NAME} \
                     beside each file"
                ),
            }
        }
        Some(_) if expected.contains(&0) || found.contains(&0) => {
            let shape = |sizes: &[usize]| {
                let size = |&size: &usize| if size == 0 { "rank".into() } else { size.to_string() };
                sizes.iter().map(size).collect::<Vec<String>>().join(", ")
            };
            let (found, expected) = (shape(found), shape(expected));
            let problem = format!("tensor {tensor:?} has shape [{found}], expected [{expected}]");
            Reason::Adapter { problem }
        }
        _ => reason,
    }
}
