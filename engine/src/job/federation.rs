//! `[federation]`: rounds, and the rules of the merge.

use aggregate::{Correction, Rules, ServerStep};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::text::json;
use crate::typed::typed;

/// `[federation]`: how often nodes train and the center merges, and by which rules. All keys stand
/// in one table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FederationConfig {
    /// Rounds of train and merge.
    pub rounds: u32,
    /// How the center merges; the seed of buckets is that of the round.
    #[serde(flatten)]
    pub rules: Rules,
    /// What `simulate` fits `[[preprocess]]` on.
    #[serde(skip_serializing_if = "FitOn::is_rows")]
    pub fit: FitOn,
    /// Nodes that never train; the final model is tested on all their rows.
    pub holdout: Vec<String>,
}

/// What `simulate` fits `[[preprocess]]` on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FitOn {
    /// The training rows of all nodes together.
    #[default]
    Rows,
    /// Statistics that each node hands out of its training rows, merged as `preprocess fit` and
    /// `aggregate` do, before the first round.
    Statistics,
}

impl FitOn {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
    fn is_rows(&self) -> bool {
        *self == Self::Rows
    }
}

impl FederationConfig {
    /// All keys of the table.
    pub(super) fn keys() -> impl Iterator<Item = &'static str> {
        ["rounds", "fit", "holdout"].into_iter().chain(Rules::KEYS)
    }

    /// How the center moves where a job file does not say: as much as the mean update and half of its last movement,
    /// which ends closer to a model of all rows than taking the mean does (`bench/federated.py`); where a correction of
    /// the nodes' drift does so in its own way, by the mean alone.
    pub(super) fn gather_momentum(&mut self) {
        let server = ServerStep::Sgd { lr: 1.0, momentum: 0.5, nesterov: false };
        let rules = Rules { server, ..self.rules.clone() };
        if rules.correction == Correction::None && rules.validate().is_ok() {
            self.rules = rules;
        }
    }

    /// The key of `[federation]` that a job file cannot be read for: errors inside a flattened
    /// struct know no line.
    pub(super) fn wrong_key(job: &str) -> Option<String> {
        let job = json(job).ok()?;
        let fails = |(key, value): &(&String, &Value)| {
            let alone = Map::from_iter([((*key).clone(), (*value).clone())]);
            typed::<Self>(&Value::Object(alone)).is_err()
        };
        let (key, _) = job.get("federation")?.as_object()?.iter().find(fails)?;
        Some(key.clone())
    }
}

impl Default for FederationConfig {
    fn default() -> Self {
        Self { rounds: 20, rules: Rules::default(), fit: FitOn::Rows, holdout: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use aggregate::{Limit, Quorum, Reducer, Tolerance, Weights};

    use super::*;

    #[test]
    fn all_rules_are_keys_of_the_table() {
        let text = r#"
            rounds = 7
            reduce = { name = "krum", byzantine = 1 }
            bucket = 2
            server = { name = "sgd", lr = 1, momentum = 0.5 }
            weights = "count"
            max_weight = 4
            keep_local = ["*norm*"]
            correction = "none"
            population = 9
            max_deviation = "off"
            max_age = 3
            quorum = 2
            tolerance = "strict"
            privacy = { clip_norm = 1, noise_multiplier = 1.5 }
            fit = "statistics"
            holdout = ["a", "b"]
        "#;
        let config: FederationConfig = toml::from_str(text).expect("valid");
        assert_eq!((config.rounds, &*config.holdout), (7, &["a".to_owned(), "b".to_owned()][..]));
        assert_eq!(config.fit, FitOn::Statistics);
        let rules = &config.rules;
        assert_eq!(
            (rules.reduce, rules.bucket),
            ("krum:byzantine=1".parse::<Reducer>().expect("valid"), Some(2))
        );
        assert_eq!(rules.server, ServerStep::Sgd { lr: 1.0, momentum: 0.5, nesterov: false });
        assert_eq!((rules.max_weight, rules.max_deviation), (Limit::at(4.0), Limit::OFF));
        assert_eq!((rules.max_age, rules.population), (Some(3), Some(9)));
        assert_eq!(rules.quorum, Quorum::AtLeast(2));
        assert_eq!((rules.tolerance, rules.weights), (Tolerance::Strict, Weights::Count));
        assert!(rules.privacy.is_some_and(|privacy| privacy.noise_multiplier > 1.0));
        let written = toml::to_string(&config).expect("valid");
        assert_eq!(toml::from_str::<FederationConfig>(&written).expect("valid"), config);
        let json = serde_json::to_string(&config).expect("valid");
        assert_eq!(serde_json::from_str::<FederationConfig>(&json).expect("valid"), config);
    }

    /// What earlier builds wrote into checkpoints, and that this one writes no byte more.
    #[test]
    fn checkpoints_of_earlier_builds_are_read() {
        let plain =
            r#"{"rounds":20,"server":{"name":"replace"},"weights":"examples","holdout":[]}"#;
        let config: FederationConfig = serde_json::from_str(plain).expect("valid");
        assert_eq!(config, FederationConfig::default());
        assert_eq!(serde_json::to_string(&config).expect("valid"), plain);

        let full = r#"{"rounds":3,"reduce":{"name":"centred-clipping","radius":null,"steps":5},"bucket":2,"server":{"name":"sgd","lr":0.5,"momentum":0.9,"nesterov":false},"weights":"uniform","keep_local":["*norm*"],"correction":"scaffold","population":4,"max_deviation":20.0,"holdout":["x"]}"#;
        let config: FederationConfig = serde_json::from_str(full).expect("valid");
        assert_eq!((config.rules.bucket, config.rules.population), (Some(2), Some(4)));
        assert_eq!(
            (config.rules.correction, config.rules.weights),
            (Correction::Scaffold, Weights::Uniform)
        );
        assert_eq!(config.rules.max_deviation, Limit::at(20.0));
        assert_eq!(serde_json::to_string(&config).expect("valid"), full);

        let off = plain.replace("\"holdout\"", "\"max_deviation\":0.0,\"holdout\"");
        let config: FederationConfig = serde_json::from_str(&off).expect("valid");
        assert_eq!(config.rules.max_deviation, Limit::OFF);
    }

    #[test]
    fn unknown_keys_are_errors_in_every_format() {
        let message = toml::from_str::<FederationConfig>("buckets = 2").expect_err("unknown");
        assert!(message.message().contains("unknown field `buckets`"), "{message}");
        let message = serde_json::from_str::<FederationConfig>(r#"{"buckets":2}"#);
        assert!(message.expect_err("unknown").to_string().contains("unknown field `buckets`"));
    }

    #[test]
    fn the_keys_are_those_of_the_fields() {
        let FederationConfig { rounds: _, rules: _, fit: _, holdout: _ } =
            FederationConfig::default();
        for key in FederationConfig::keys() {
            let table = format!("{key} = \"no such value\"");
            let message = toml::from_str::<FederationConfig>(&table).expect_err(key).to_string();
            assert!(!message.contains("unknown field"), "{message}");
        }
    }
}
