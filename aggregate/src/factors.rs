//! What an update says of its adapters: rank and scale of every pair.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::adapter_config::{AdapterConfig, CONFIG_NAME, beside};
use crate::adapters::{Pair, of_any_rank, only_pairs, pairs};
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
    /// Which model they belong to, if the configuration says so.
    pub(crate) base_model: Option<String>,
}

/// One pair of factors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Factor {
    pub(crate) rank: usize,
    /// What the product of the factors is multiplied by.
    pub(crate) scale: f64,
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
    if text.is_none() && !file.is_nameless() && pairs.iter().any(Pair::needs_config) {
        text = beside(&update.path)?;
    }
    let parsed = text.map(|text| text.and_then(|text| AdapterConfig::parse(&text))).transpose();
    let config = match parsed {
        Ok(config) => config.filter(|_| pairs.iter().any(Pair::needs_config)),
        Err(problem) => return Ok(Err(in_config(problem))),
    };
    if let Some(problem) = two_ranks(&pairs, config.is_some()) {
        return Ok(Err(Reason::Adapter { problem }));
    }
    let mut factors = Vec::with_capacity(pairs.len());
    for pair in &pairs {
        let scale = match (pair.alpha, &config) {
            (Some(alpha), _) => match alpha_of(file, &file.tensors()[alpha])? {
                Ok(alpha) => alpha / pair.rank as f64,
                Err(reason) => return Ok(Err(reason)),
            },
            (None, Some(config)) if pair.needs_config() => {
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
    let has_config = pairs.iter().any(Pair::needs_config).then_some(config.is_some());
    let base_model = config.as_ref().and_then(|config| config.base_model().map(str::to_owned));
    let config = config.map(|config| config.rest());
    Ok(Ok(Factors { pairs: factors, has_config, config, base_model }))
}

/// What is wrong with several adapters of one module that differ in rank, where one alpha or
/// configuration has to say the scale of all of them.
fn two_ranks(pairs: &[Pair], has_config: bool) -> Option<String> {
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for Pair { module, rank, alpha, .. } in pairs {
        let first = *known.entry(module).or_insert(*rank);
        if first != *rank && (has_config || alpha.is_some()) {
            let stated = if alpha.is_some() { "alpha" } else { CONFIG_NAME };
            return Some(format!(
                "module {module:?} has several adapters, of ranks {first} and {rank}, and the {stated} \
                 states one scale for all of them; write each adapter to a file of its own"
            ));
        }
    }
    None
}

/// Which model the adapters of a file belong to that are merged factor by factor, if the configuration
/// beside it is one, and says so. Nothing else is needed of it.
pub(crate) fn read_base_model(update: &Update, file: &WeightFile) -> Option<String> {
    let mut text = update.adapter_config.clone();
    if text.is_none() && !file.is_nameless() && pairs(file.tensors()).iter().any(Pair::needs_config)
    {
        text = beside(&update.path).ok().flatten().and_then(Result::ok);
    }
    AdapterConfig::parse(&text?).ok()?.base_model().map(str::to_owned)
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
    let is_known = |pair: &Pair| !pair.needs_config() || factors.has_config == Some(true);
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
