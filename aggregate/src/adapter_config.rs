//! `adapter_config.json` of PEFT: what stands beside a file of adapters, of which the scale is read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Error;

/// Its name, in the folder of the weight file.
pub(crate) const CONFIG_NAME: &str = "adapter_config.json";

/// The longest that is read, in bytes.
const MAX_LEN: u64 = 1 << 18;

/// What PEFT puts before the name of a module in the file.
const PREFIX: &str = "base_model.model.";

/// Rank and alpha where the file does not say, as PEFT has them.
const DEFAULT_RANK: u64 = 8;
const DEFAULT_ALPHA: f64 = 8.0;

/// What is read of it. Whatever else there is does not change the scale, or is refused.
#[derive(Debug, Deserialize)]
struct Keys {
    peft_type: Option<String>,
    r: Option<u64>,
    lora_alpha: Option<f64>,
    use_rslora: Option<bool>,
    use_dora: Option<bool>,
    lora_bias: Option<bool>,
    rank_pattern: Option<BTreeMap<String, u64>>,
    alpha_pattern: Option<BTreeMap<String, f64>>,
    base_model_name_or_path: Option<String>,
    /// Of MLX.
    lora_parameters: Option<MlxKeys>,
    /// Of MLX.
    fine_tune_type: Option<String>,
    /// The base model, of MLX.
    model: Option<Value>,
}

/// What MLX says of all adapters of a file.
#[derive(Debug, Deserialize)]
struct MlxKeys {
    rank: Option<u64>,
    /// What the product is multiplied by, whatever the rank.
    scale: Option<f64>,
}

/// The key of these.
const MLX_KEYS: &str = "lora_parameters";

/// A configuration of adapters, of which nothing is believed that their shapes contradict.
#[derive(Debug)]
pub(crate) struct AdapterConfig {
    keys: Keys,
    /// All of it but ranks and scales.
    rest: Map<String, Value>,
}

/// The text of the configuration beside a weight file, if there is one; or why it is none.
///
/// # Errors
/// If this machine cannot read it.
pub(crate) fn beside(weights: &Path) -> Result<Option<Result<String, String>>, Error> {
    let path = weights.with_file_name(CONFIG_NAME);
    let read = || -> std::io::Result<Result<String, String>> {
        let metadata = fs::metadata(&path)?;
        if !metadata.is_file() || metadata.len() > MAX_LEN {
            return Ok(Err(format!("it is no file of at most {MAX_LEN} bytes")));
        }
        let mut text = String::new();
        // It may grow meanwhile.
        match File::open(&path)?.take(MAX_LEN).read_to_string(&mut text) {
            Err(error) if error.kind() == ErrorKind::InvalidData => Ok(Err(error.to_string())),
            other => other.map(|_| Ok(text)),
        }
    };
    match read() {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path, source }),
    }
}

impl AdapterConfig {
    /// Reads a configuration.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rest: Map<String, Value> = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let keys = Keys::deserialize(Value::Object(rest.clone())).map_err(|e| e.to_string())?;
        if let Some(other) = keys.peft_type.as_deref().filter(|kind| *kind != "LORA") {
            return Err(format!("it is of type {other:?}, expected \"LORA\""));
        }
        for (key, is_set) in [("use_dora", keys.use_dora), ("lora_bias", keys.lora_bias)] {
            if is_set == Some(true) {
                return Err(format!(
                    "{key} makes an adapter more than the product of two factors, which is all that can \
                     be stacked"
                ));
            }
        }
        if let Some(other) = keys.fine_tune_type.as_deref().filter(|kind| *kind != "lora") {
            return Err(format!("its fine_tune_type is {other:?}, expected \"lora\""));
        }
        // A key that is missing has a default, one that is null is a mistake of whoever wrote it.
        for key in ["r", "lora_alpha"] {
            if rest.get(key).is_some_and(Value::is_null) {
                return Err(format!("{key} is null, expected a number"));
            }
        }
        for key in ["r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern"] {
            rest.remove(key);
        }
        if let Some(Value::Object(mlx)) = rest.get_mut(MLX_KEYS) {
            for key in ["rank", "scale", "alpha"] {
                mlx.remove(key);
            }
        }
        Ok(Self { keys, rest })
    }

    /// The scale of a module's adapter, whose factors have that rank.
    ///
    /// # Errors
    /// If it has another rank by the configuration, or its scale is not clear from it.
    pub(crate) fn scale(&self, module: &str, rank: usize) -> Result<f64, String> {
        let Keys { r, lora_alpha, use_rslora, rank_pattern, alpha_pattern, .. } = &self.keys;
        let mlx = self.keys.lora_parameters.as_ref();
        let stated = match mlx {
            Some(mlx) => mlx.rank.unwrap_or(rank as u64),
            None => by_pattern(rank_pattern.as_ref(), module)?.or(*r).unwrap_or(DEFAULT_RANK),
        };
        if stated != rank as u64 {
            return Err(format!(
                "it says rank {stated} of {module:?}, whose factors have rank {rank}"
            ));
        }
        if let Some(mlx) = mlx {
            return mlx.scale.ok_or_else(|| format!("its {MLX_KEYS} state no scale"));
        }
        let alpha = by_pattern(alpha_pattern.as_ref(), module)?;
        let alpha = alpha.or(*lora_alpha).unwrap_or(DEFAULT_ALPHA);
        let rank = rank as f64;
        Ok(alpha / if *use_rslora == Some(true) { rank.sqrt() } else { rank })
    }

    /// The model that the adapters belong to, if it says which.
    pub(crate) fn base_model(&self) -> Option<&str> {
        let of_mlx = || self.keys.lora_parameters.as_ref().and(self.keys.model.as_ref()?.as_str());
        let stated = self.keys.base_model_name_or_path.as_deref();
        stated.or_else(of_mlx).filter(|name| !name.is_empty())
    }

    /// All of it but ranks and scales, the same text for the same content.
    pub(crate) fn rest(&self) -> String {
        Value::Object(self.rest.clone()).to_string()
    }
}

/// What the pattern says that a module matches: the end of its name after a dot, or the whole after `^`.
/// PEFT takes any regular expression; one that says more than names is refused, as are several that
/// differ.
fn by_pattern<T: Copy + PartialEq>(
    patterns: Option<&BTreeMap<String, T>>,
    module: &str,
) -> Result<Option<T>, String> {
    let module = module.strip_prefix(PREFIX).unwrap_or(module);
    let mut found = None;
    for (pattern, &value) in patterns.into_iter().flatten() {
        let is_match = matches(pattern, module)
            .ok_or_else(|| format!("its pattern {pattern:?} is more than the name of a module"))?;
        if !is_match {
            continue;
        }
        if found.is_some_and(|other| other != value) {
            return Err(format!(
                "several of its patterns match {module:?} and say different things"
            ));
        }
        found = Some(value);
    }
    Ok(found)
}

/// What means something else than itself in a regular expression, but for the dot.
const SPECIAL: &str = "\\^$*+?{}[]|()";

/// Whether PEFT finds a pattern in the name of a module, as `(.*\.)?(PATTERN)$`; none if it is more than
/// a name.
fn matches(pattern: &str, module: &str) -> Option<bool> {
    let (is_whole, pattern) = pattern.strip_prefix('^').map_or((false, pattern), |p| (true, p));
    // Each a character, or any.
    let mut name: Vec<Option<char>> = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            // Of a letter it would be a class.
            '\\' => name.push(Some(chars.next().filter(|c| !c.is_alphanumeric())?)),
            '.' => name.push(None),
            '$' if chars.as_str().is_empty() => {}
            c if SPECIAL.contains(c) => return None,
            c => name.push(Some(c)),
        }
    }
    let module: Vec<char> = module.chars().collect();
    let Some(before) = module.len().checked_sub(name.len()) else { return Some(false) };
    let is_end = before == 0 || (!is_whole && module[before - 1] == '.');
    let is_same = |(pattern, c): (&Option<char>, &char)| pattern.is_none_or(|p| p == *c);
    Some(is_end && name.iter().zip(&module[before..]).all(is_same))
}

/// A pattern that one module matches and no other, also none whose name ends like it.
fn pattern_of(module: &str) -> String {
    let mut pattern = "^".to_owned();
    for c in module.strip_prefix(PREFIX).unwrap_or(module).chars() {
        if c == '.' || SPECIAL.contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// The configuration of adapters of these modules and ranks with the scale 1, from the rest of one.
pub(crate) fn of_scale_one(rest: &str, ranks: &[(&str, usize)]) -> String {
    // The rest was written by this module.
    let mut config: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for (_, rank) in ranks {
        *counts.entry(*rank).or_default() += 1;
    }
    let common = counts.into_iter().max_by_key(|&(_, n)| n).map_or(0, |(rank, _)| rank);
    if let Some(Value::Object(mlx)) = config.get_mut(MLX_KEYS) {
        // It says one rank, and takes what the file holds.
        mlx.extend([("rank".to_owned(), json!(common)), ("scale".to_owned(), json!(1.0))]);
        return format!("{:#}\n", Value::Object(config));
    }
    let others: BTreeMap<String, usize> = ranks
        .iter()
        .filter(|(_, rank)| *rank != common)
        .map(|&(module, rank)| (pattern_of(module), rank))
        .collect();
    let set = [
        ("r", json!(common)),
        ("lora_alpha", json!(common)),
        ("use_rslora", json!(false)),
        ("rank_pattern", json!(others)),
        ("alpha_pattern", json!(others)),
    ];
    config.extend(set.map(|(key, value)| (key.to_owned(), value)));
    format!("{:#}\n", Value::Object(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(json: &str, module: &str, rank: usize) -> Result<f64, String> {
        AdapterConfig::parse(json)?.scale(module, rank)
    }

    #[test]
    fn the_scale_is_that_of_peft() {
        let close = |json: &str, module: &str, rank: usize, expected: f64| {
            let found = scale(json, module, rank).unwrap();
            assert!((found - expected).abs() < 1e-15, "{json}: {found}");
        };
        close(r#"{"r": 4, "lora_alpha": 8, "peft_type": "LORA"}"#, "m.q", 4, 2.0);
        close(r#"{"r": 4, "lora_alpha": 8, "use_rslora": true}"#, "m.q", 4, 4.0);
        close(r#"{"alpha_pattern": null}"#, "m.q", 8, 1.0);
        let patterns = r#"{"r": 4, "lora_alpha": 8, "rank_pattern": {"q": 2, "^m.v": 16},
            "alpha_pattern": {"m\\.q": 3.0}}"#;
        close(patterns, "base_model.model.m.q", 2, 1.5);
        close(patterns, "base_model.model.m.v", 16, 0.5);
        close(patterns, "base_model.model.n.m.v", 4, 2.0);
        close(patterns, "base_model.model.m.eq", 4, 2.0);
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        for (json, says) in [
            ("[]", "map"),
            ("{", "EOF"),
            (r#"{"r": -1}"#, "r"),
            (r#"{"r": 4, "lora_alpha": "x"}"#, "x"),
            (r#"{"r": 4, "lora_alpha": null}"#, "lora_alpha is null"),
            (r#"{"r": null}"#, "r is null"),
            (r#"{"lora_parameters": {"rank": 4}}"#, "no scale"),
            (r#"{"lora_parameters": {"rank": 4, "scale": null}}"#, "no scale"),
            (r#"{"lora_parameters": {"rank": 3, "scale": 2}}"#, "says rank 3"),
            (r#"{"fine_tune_type": "dora", "lora_parameters": {"scale": 2}}"#, "dora"),
            (r#"{"r": 4, "alpha_pattern": {"\\d": 1}}"#, "more than the name"),
            (r#"{"r": 5}"#, "says rank 5"),
            (r#"{"peft_type": "IA3"}"#, "IA3"),
            (r#"{"use_dora": true}"#, "use_dora"),
            (r#"{"lora_bias": true}"#, "lora_bias"),
            (r#"{"r": 4, "alpha_pattern": {".*q": 1}}"#, "more than the name"),
            (r#"{"r": 4, "alpha_pattern": {"q": 1, "m.q": 2}}"#, "different things"),
        ] {
            let error = scale(json, "m.q", 4).unwrap_err();
            assert!(error.contains(says), "{json}: {error}");
        }
    }

    #[test]
    fn patterns_that_are_written_match_one_module() {
        let modules =
            ["a", "x.a", "y.x.a", "x_a", "xxa", "x.a.b", "a+b", "q(1)[2]", "a$", "ä.\\", "x"];
        for module in modules {
            let pattern = pattern_of(&format!("{PREFIX}{module}"));
            let matched: Vec<&str> =
                modules.into_iter().filter(|other| matches(&pattern, other).unwrap()).collect();
            assert_eq!(matched, [module], "{pattern}");
            let ranks: Vec<(&str, usize)> =
                modules.into_iter().map(|m| (m, if m == module { 4 } else { 6 })).collect();
            let config = AdapterConfig::parse(&of_scale_one("{}", &ranks)).unwrap();
            for (module, rank) in ranks {
                assert_eq!(config.scale(module, rank), Ok(1.0), "{module}");
            }
        }
        // As PEFT's own: the end of a name, and a dot that is any character.
        for (pattern, module, expected) in [
            ("a", "x.a", true),
            ("a", "xa", false),
            ("x.a", "y.x_a", true),
            ("^x\\.a$", "x.a", true),
            ("^x\\.a$", "y.x.a", false),
            ("x.a", "a", false),
        ] {
            assert_eq!(matches(pattern, module), Some(expected), "{pattern} {module}");
        }
        for pattern in ["a|b", ".*a", "\\w", "a\\", "[a]", "(a)", "a?"] {
            assert_eq!(matches(pattern, "a"), None, "{pattern}");
        }
    }

    #[test]
    fn a_configuration_of_scale_one_says_so() {
        let text = r#"{"r": 4, "lora_alpha": 8, "use_rslora": true, "rank_pattern": {"x": 2},
            "target_modules": ["q"], "peft_type": "LORA"}"#;
        let config = AdapterConfig::parse(text).unwrap();
        let ranks = [("base_model.model.a.q", 6), ("base_model.model.b.q", 9), ("c.q", 6)];
        let written = of_scale_one(&config.rest(), &ranks);
        let again = AdapterConfig::parse(&written).unwrap();
        for (module, rank) in ranks {
            assert!((again.scale(module, rank).unwrap() - 1.0).abs() < 1e-15, "{written}");
        }
        assert_eq!(again.rest(), config.rest());
    }
}
