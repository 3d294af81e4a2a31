//! The rules of a merge: one struct for the library, the job file and the command line.

use serde::{Deserialize, Serialize};

use crate::carry::{Carries, FROM_BASE};
use crate::limit::EXPECTED;
use crate::patterns::Patterns;
use crate::{Error, Limit, Privacy, Quorum, Reducer, ServerStep};

/// The rules of a merge: how updates become one, how the center moves, which updates count.
///
/// The default is `FedAvg`. In a configuration file each field is a key and may be left out;
/// unknown keys are errors.
///
/// ```
/// use aggregate::{Limit, Rules};
///
/// let text = r#"{ "reduce": { "name": "median" }, "bucket": 2, "max_deviation": "off" }"#;
/// let rules: Rules = serde_json::from_str(text)?;
/// rules.validate()?;
/// assert_eq!((rules.reduce.name(), rules.max_deviation), ("median", Limit::OFF));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// How updates become one.
    #[serde(skip_serializing_if = "is_default")]
    pub reduce: Reducer,
    /// Updates in a group that is averaged before the reducer sees it, at least 1.
    ///
    /// The updates are shuffled and dealt to `⌈n/bucket⌉` groups, the last of which may have fewer,
    /// so that the reducer sees fewer and more alike ones. The averages are weighted if the reducer
    /// is. Karimireddy et al., <https://arxiv.org/abs/2006.09365>. The seed of the shuffle is
    /// [`Options::bucket_seed`](crate::Options::bucket_seed).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<usize>,
    /// How the center moves towards what the updates were reduced to.
    pub server: ServerStep,
    /// Which of an update's claims is its weight. Whoever makes the list of
    /// [`Update`](crate::Update)s goes by it.
    pub weights: Weights,
    /// The most that an update weighs by its own word, in medians of the claims per node; and
    /// never more than all others together. See [`cap_weights`](crate::cap_weights) and
    /// [`Update::n_nodes`](crate::Update::n_nodes). Local steps count within as many times their
    /// median, and a share of it as small.
    #[serde(skip_serializing_if = "is_default_limit")]
    pub max_weight: Limit,
    /// Float tensors that keep the base's values, by pattern (`*` stands for anything), as in
    /// `FedBN`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keep_local: Vec<String>,
    /// How tensors that are not averaged (integers, booleans, narrow floats, complex numbers) become
    /// one, by pattern: `PATTERN=max` takes the largest of each element, `PATTERN=first` what the first
    /// update in order of nodes holds, `PATTERN=base` what the base holds; the first pattern that
    /// matches counts. Without one, integers without dimensions are counters, of which the largest is
    /// taken (but in private merging, which must not tell one node's number), and everything else must
    /// be the same in all updates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub carry: Vec<String>,
    /// How nodes correct their drift, which the center must know of.
    #[serde(skip_serializing_if = "is_default")]
    pub correction: Correction,
    /// Nodes there are in all, for SCAFFOLD; those that take part if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub population: Option<u32>,
    /// An update is rejected if the norm of its change is beyond the median of all norms by more
    /// than this many deviations. A deviation is 1.4826 times the median distance from the median
    /// (that of a normal distribution), and at least half of the median. It needs a base and at
    /// least four updates that hold the same tensors.
    #[serde(skip_serializing_if = "is_default_limit")]
    pub max_deviation: Limit,
    /// An update is rejected if its base is older by more versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u64>,
    /// How many updates must be admitted, at least.
    #[serde(skip_serializing_if = "is_default")]
    pub quorum: Quorum,
    /// What a rejected update does to the merge.
    #[serde(skip_serializing_if = "is_default")]
    pub tolerance: Tolerance,
    /// Clipping and noise, so that the result does not tell who took part; the reducer is then the
    /// mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privacy: Option<Privacy>,
}

/// Of `max_weight` and of `max_deviation`.
const DEFAULT_LIMIT: f64 = 10.0;

/// What messages call merging with [`Privacy`].
const PRIVATE: &str = "private merging";

// What was always so is not written, so that files stay as they were before there was a choice.

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_default_limit(limit: &Limit) -> bool {
    *limit == Limit::at(DEFAULT_LIMIT)
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            reduce: Reducer::Mean,
            bucket: None,
            server: ServerStep::Replace,
            weights: Weights::Examples,
            max_weight: Limit::at(DEFAULT_LIMIT),
            keep_local: Vec::new(),
            carry: Vec::new(),
            correction: Correction::None,
            population: None,
            max_deviation: Limit::at(DEFAULT_LIMIT),
            max_age: None,
            quorum: Quorum::Half,
            tolerance: Tolerance::KeepGoing,
            privacy: None,
        }
    }
}

/// Which of an update's claims is its weight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// How many examples it was trained on.
    #[default]
    Examples,
    /// None: all weigh the same.
    Uniform,
    /// How many updates are in it: more than 1 in what was merged before.
    Count,
}

/// How nodes correct the drift of their local training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Correction {
    /// Not at all; tensors called `control.…` are tensors like any other.
    #[default]
    None,
    /// By the control variates of SCAFFOLD, which model and updates carry as tensors called
    /// `control.…`. The center's moves by the mean change of the updates' times their number over
    /// [`Rules::population`]. The reducer must be the mean. Karimireddy et al.,
    /// <https://arxiv.org/abs/1910.06378>.
    Scaffold,
}

/// How the names of control variates begin, see [`Correction`].
pub const CONTROL_PREFIX: &str = "control.";

/// What a rejected update does to the merge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tolerance {
    /// It is left out and reported, whatever the reason: no node alone can end the round of the
    /// others. [`Rules::quorum`] ends it.
    #[default]
    KeepGoing,
    /// It is left out if it is sound but for its values ([`Reason::Value`](crate::Reason::Value)
    /// and [`Reason::Norm`](crate::Reason::Norm): training went wrong on that node, or it attacks);
    /// any other reason fails the merge.
    BadValues,
    /// It fails the merge: for files that are no updates of nodes, where each one was chosen.
    Strict,
}

impl Rules {
    /// The keys of a configuration, in the order in which they are written.
    pub const KEYS: [&'static str; 14] = [
        "reduce",
        "bucket",
        "server",
        "weights",
        "max_weight",
        "keep_local",
        "carry",
        "correction",
        "population",
        "max_deviation",
        "max_age",
        "quorum",
        "tolerance",
        "privacy",
    ];

    /// Checks all that can be checked without a file and an update: that every number is in its
    /// range, and that no rule excludes another.
    ///
    /// # Errors
    /// [`Error::Rule`], [`Error::ReducerOption`], [`Error::LearningRate`], [`Error::ServerOption`],
    /// [`Error::Optimizer`], [`Error::PrivacyOption`] or [`Error::Pattern`] if a value is out of
    /// range, [`Error::Conflict`] if two rules exclude each other.
    pub fn validate(&self) -> Result<(), Error> {
        self.reduce.validate()?;
        self.server.validate()?;
        self.privacy.as_ref().map_or(Ok(()), Privacy::validate)?;
        let limits = [("max_weight", self.max_weight), ("max_deviation", self.max_deviation)];
        for (rule, limit) in limits {
            if let Some(value) = limit.get().filter(|_| !limit.is_sound()) {
                return Err(Error::Rule { rule, value, expected: EXPECTED });
            }
        }
        for (rule, is_zero) in
            [("bucket", self.bucket == Some(0)), ("population", self.population == Some(0))]
        {
            if is_zero {
                return Err(Error::Rule { rule, value: 0.0, expected: "at least 1" });
            }
        }
        if !cfg!(feature = "random") && self.bucket.is_some_and(|size| size > 1) {
            return Err(Error::Feature { option: "bucket", feature: "random" });
        }
        Patterns::new(&self.keep_local)?;
        self.carries()?;
        self.check_pairs()
    }

    /// How tensors that are not averaged become one.
    pub(crate) fn carries(&self) -> Result<Carries, Error> {
        Carries::new(&self.carry, self.privacy.is_some())
    }

    /// Fails if two rules exclude each other.
    fn check_pairs(&self) -> Result<(), Error> {
        let is_mean = self.reduce == Reducer::Mean;
        let is_scaffold = self.correction == Correction::Scaffold;
        let is_private = self.privacy.is_some();
        let is_bucketed = self.bucket.is_some();
        let takes_buckets = self.reduce.needs().buckets;
        let reduce = || format!("the reducer {}", self.reduce.name());
        let scaffold = "correction scaffold";
        let (first, second) = if is_private && is_bucketed {
            (PRIVATE, "bucket".to_owned())
        } else if is_private && is_scaffold {
            (PRIVATE, scaffold.to_owned())
        } else if is_private && self.carry.iter().any(|text| !text.ends_with(FROM_BASE)) {
            (PRIVATE, "carry by max or first".to_owned())
        } else if is_private && !is_mean {
            (PRIVATE, reduce())
        } else if is_scaffold && !is_mean {
            (scaffold, reduce())
        } else if is_scaffold && matches!(self.server, ServerStep::Dyn { .. }) {
            (scaffold, "the server step dyn".to_owned())
        } else if is_bucketed && !takes_buckets {
            ("bucket", reduce())
        } else {
            return Ok(());
        };
        Err(Error::Conflict { first, second })
    }

    /// What needs a base file, in words; `None` if these rules can do without.
    pub fn needs_base(&self) -> Option<&'static str> {
        if self.privacy.is_some() {
            Some(PRIVATE)
        } else if self.reduce.needs_base() {
            Some(self.reduce.name())
        } else if self.server != ServerStep::Replace {
            Some(self.server.name())
        } else if self.correction == Correction::Scaffold {
            Some("scaffold")
        } else if !self.keep_local.is_empty() {
            Some("keeping tensors local")
        } else if self.carry.iter().any(|text| text.ends_with(FROM_BASE)) {
            Some("carrying tensors from the base")
        } else {
            None
        }
    }

    /// What must be remembered from one round to the next, in words; `None` if nothing must.
    pub fn needs_state(&self) -> Option<&'static str> {
        if self.server.has_state() {
            Some(self.server.name())
        } else {
            self.privacy.map(|_| "of privacy")
        }
    }

    /// Whether products of changes are needed before the values are read again.
    pub(crate) fn needs_gram(&self) -> bool {
        self.privacy.is_some() || self.reduce.needs().products
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reducers::TrimmedMean;

    /// No field has its default.
    fn full() -> Rules {
        Rules {
            reduce: Reducer::TrimmedMean(TrimmedMean { trim: 0.25 }),
            bucket: Some(2),
            server: ServerStep::Sgd { lr: 0.5, momentum: 0.75, nesterov: true },
            weights: Weights::Count,
            max_weight: Limit::OFF,
            keep_local: vec!["*norm*".to_owned()],
            carry: vec!["*ids=base".to_owned()],
            correction: Correction::Scaffold,
            population: Some(12),
            max_deviation: Limit::at(3.5),
            max_age: Some(4),
            quorum: Quorum::AtLeast(5),
            tolerance: Tolerance::BadValues,
            privacy: Some(Privacy {
                clip_norm: 1.5,
                noise_multiplier: 2.5,
                sampling_rate: 0.5,
                delta: 1e-6,
                adaptive: Some(crate::AdaptiveClip::default()),
                seed: Some(3),
            }),
        }
    }

    fn parse(toml: &str) -> Result<Rules, toml::de::Error> {
        toml::from_str(toml)
    }

    #[test]
    fn all_rules_survive_toml_and_json() {
        for rules in [full(), Rules::default()] {
            let text = toml::to_string(&rules).unwrap();
            assert_eq!(parse(&text).unwrap(), rules, "{text}");
            let json = serde_json::to_string(&rules).unwrap();
            assert_eq!(serde_json::from_str::<Rules>(&json).unwrap(), rules, "{json}");
        }
    }

    #[test]
    fn the_keys_are_those_of_the_fields() {
        let json = serde_json::to_string(&full()).unwrap();
        let mut places = Vec::new();
        for key in Rules::KEYS {
            places.push(json.find(&format!("\"{key}\":")).expect(key));
        }
        assert!(places.is_sorted(), "{json}");
        let table: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&json).unwrap();
        assert_eq!(table.len(), Rules::KEYS.len());
    }

    #[test]
    fn what_was_always_so_is_not_written() {
        let json = serde_json::to_string(&Rules::default()).unwrap();
        assert_eq!(json, r#"{"server":{"name":"replace"},"weights":"examples"}"#);
        assert_eq!(serde_json::from_str::<Rules>("{}").unwrap(), Rules::default());
    }

    #[test]
    fn every_spelling_is_read_and_unknown_keys_are_not() {
        let rules =
            parse("max_deviation = 0\nmax_weight = \"off\"\ntolerance = \"strict\"").unwrap();
        assert_eq!((rules.max_deviation, rules.max_weight), (Limit::OFF, Limit::OFF));
        assert_eq!(rules.tolerance, Tolerance::Strict);
        for (text, tolerance) in
            [("keep-going", Tolerance::KeepGoing), ("bad-values", Tolerance::BadValues)]
        {
            assert_eq!(parse(&format!("tolerance = \"{text}\"")).unwrap().tolerance, tolerance);
        }
        let rules = parse("max_deviation = 7\nweights = \"uniform\"\npopulation = 3").unwrap();
        assert_eq!(rules.max_deviation, Limit::at(7.0));
        assert_eq!((rules.weights, rules.population), (Weights::Uniform, Some(3)));
        for bad in ["reducer = 1", "weights = \"example\"", "max_deviation = \"of\"", "quorum = -1"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let message = parse("max_deviations = 1").unwrap_err().to_string();
        assert!(
            message.contains("max_deviations") && message.contains("`max_deviation`"),
            "{message}"
        );
    }

    #[test]
    fn rules_that_exclude_each_other_are_named() {
        let privacy = Some(Privacy { adaptive: None, ..full().privacy.unwrap() });
        let server = ServerStep::Dyn { alpha: 0.1, population: 3 };
        let scaffold = Correction::Scaffold;
        let plain = Rules::default;
        let mut pairs = vec![
            (PRIVATE, "bucket", Rules { privacy, bucket: Some(2), ..plain() }),
            (PRIVATE, "carry by max", Rules { privacy, carry: vec!["*=max".into()], ..plain() }),
            (PRIVATE, "correction scaffold", Rules { privacy, correction: scaffold, ..plain() }),
            (
                "correction scaffold",
                "the server step dyn",
                Rules { correction: scaffold, server, ..plain() },
            ),
        ];
        for reduce in [
            "norm-clipped-mean",
            "median",
            "trimmed-mean",
            "krum",
            "multi-krum",
            "bulyan",
            "geometric-median",
            "centred-clipping",
            "nova",
            "buffered",
            "async",
            "ties",
            "dare",
            "slerp",
        ] {
            let reduce: Reducer = reduce.parse().unwrap();
            pairs.push((PRIVATE, reduce.name(), Rules { reduce, privacy, ..plain() }));
            let correction = scaffold;
            pairs.push((
                "correction scaffold",
                reduce.name(),
                Rules { reduce, correction, ..plain() },
            ));
        }
        for reduce in ["mean", "nova", "buffered", "async", "ties", "dare", "slerp"] {
            let reduce: Reducer = reduce.parse().unwrap();
            pairs.push(("bucket", reduce.name(), Rules { bucket: Some(2), reduce, ..plain() }));
        }
        for (first, second, rules) in pairs {
            let message = rules.validate().unwrap_err().to_string();
            assert!(message.contains(first) && message.contains(second), "{message}");
            assert!(message.contains("does not go with"), "{message}");
        }
        for goes in [
            plain(),
            Rules { server, privacy, ..plain() },
            Rules { correction: scaffold, population: Some(9), ..plain() },
            Rules { bucket: Some(1), reduce: Reducer::Median, ..plain() },
            Rules { bucket: Some(2), reduce: "krum".parse().unwrap(), ..plain() },
        ] {
            goes.validate().unwrap();
        }
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let plain = Rules::default;
        let pattern = vec!["a[".to_owned()];
        let privacy = Some(Privacy { clip_norm: -1.0, ..full().privacy.unwrap() });
        for (name, rules) in [
            ("max_weight is -1", Rules { max_weight: Limit::at(-1.0), ..plain() }),
            ("max_deviation is NaN", Rules { max_deviation: Limit::at(f64::NAN), ..plain() }),
            ("bucket is 0", Rules { bucket: Some(0), ..plain() }),
            ("population is 0", Rules { population: Some(0), ..plain() }),
            (
                "trim is 0.5",
                Rules { reduce: Reducer::TrimmedMean(TrimmedMean { trim: 0.5 }), ..plain() },
            ),
            ("alpha", Rules { server: ServerStep::Dyn { alpha: 0.0, population: 1 }, ..plain() }),
            ("clip_norm", Rules { privacy, ..plain() }),
            ("\"a[\"", Rules { keep_local: pattern, ..plain() }),
            ("\"a=sum\"", Rules { carry: vec!["a=sum".to_owned()], ..plain() }),
        ] {
            let message = rules.validate().unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn what_moves_a_base_says_so() {
        let plain = Rules::default;
        assert_eq!((plain().needs_base(), plain().needs_state()), (None, None));
        let adam = Rules { server: "adam".parse().unwrap(), ..plain() };
        assert_eq!((adam.needs_base(), adam.needs_state()), (Some("adam"), Some("adam")));
        let ties = Rules { reduce: "ties".parse().unwrap(), ..plain() };
        assert_eq!((ties.needs_base(), ties.needs_state()), (Some("ties"), None));
        let private = Rules { privacy: full().privacy, ..plain() };
        assert!(private.needs_base().is_some() && private.needs_state().is_some());
        assert!(Rules { keep_local: vec!["*".into()], ..plain() }.needs_base().is_some());
        assert!(Rules { carry: vec!["*=base".into()], ..plain() }.needs_base().is_some());
        assert_eq!(Rules { carry: vec!["*=max".into()], ..plain() }.needs_base(), None);
        assert!(Rules { correction: Correction::Scaffold, ..plain() }.needs_base().is_some());
    }
}
