//! Published pairs of a reducer and a server step, by name.

use aggregate::{Correction, Reducer, Rules, ServerStep, Weights};
use anyhow::{anyhow, bail};

use crate::nearest::nearest;

/// A name for rules: a reducer, a server step, and what goes with them.
#[derive(Debug, Clone, PartialEq)]
pub struct Strategy {
    /// The name it is known by.
    pub name: &'static str,
    /// What it stands for.
    pub rules: Rules,
}

/// What a published rule is: its name, reducer and server step. Options that are left out are those
/// of the paper.
const PUBLISHED: [(&str, &str, &str); 25] = [
    ("fedavg", "mean", "replace"),
    ("fedavgm", "mean", "sgd"),
    ("fedsgd", "mean", "sgd"),
    ("fedadagrad", "mean", "adagrad"),
    ("fedadam", "mean", "adam"),
    ("fedyogi", "mean", "yogi"),
    ("fedadamw", "mean", "adamw"),
    ("fedlion", "mean", "lion"),
    ("fednova", "nova", "replace"),
    ("q-fedavg", "q-fedavg", "replace"),
    ("fedbuff", "buffered", "replace"),
    ("fedasync", "async", "replace"),
    ("scaffold", "mean", "replace"),
    ("feddyn", "mean", "dyn"),
    ("median", "median", "replace"),
    ("trimmed-mean", "trimmed-mean", "replace"),
    ("krum", "krum", "replace"),
    ("multi-krum", "multi-krum", "replace"),
    ("bulyan", "bulyan", "replace"),
    ("geometric-median", "geometric-median", "replace"),
    ("centred-clipping", "centred-clipping", "replace"),
    ("norm-clipped-mean", "norm-clipped-mean", "replace"),
    ("ties", "ties", "replace"),
    ("dare", "dare", "replace"),
    ("slerp", "slerp", "replace"),
];

/// Other names, for those who know a rule by them.
const ALSO: [(&str, &str); 5] = [
    ("weighted", "fedavg"),
    ("linear", "fedavg"),
    ("sgd", "fedavgm"),
    ("fedmedian", "median"),
    ("rfa", "geometric-median"),
];

/// Momentum of `fedavgm` where none is given (Hsu et al., arXiv 1909.06335).
const DEFAULT_MOMENTUM: &str = "0.9";

impl Strategy {
    /// The strategy of a name, or of a name with options: `fedadam:lr=0.1`. The options are those
    /// of the server step, or of the reducer if the step is to replace.
    ///
    /// # Errors
    /// If there is no such name or option.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let (wanted, options) = text.split_once(':').unwrap_or((text, ""));
        let Some(name) = Self::names().find(|name| *name == wanted) else {
            bail!("unknown strategy {wanted:?}{}", hint(wanted));
        };
        let published = ALSO.into_iter().find(|(also, _)| *also == name).map_or(name, |(_, p)| p);
        let Some((_, reduce, server)) = PUBLISHED.into_iter().find(|(p, ..)| *p == published)
        else {
            bail!("strategy {name:?} stands for {published:?}, which there is not");
        };
        let mut options = options.to_owned();
        if published == "fedavgm" && !options.contains("momentum=") {
            options = format!("momentum={DEFAULT_MOMENTUM},{options}");
        }
        let with = |half: &str, own: bool| {
            if own { format!("{half}:{options}") } else { half.to_owned() }
        };
        let moves = server != "replace";
        let error = |message: String| anyhow!("--strategy {text}: {message}");
        let rules = Rules {
            reduce: with(reduce, !moves).parse().map_err(error)?,
            server: with(server, moves).parse().map_err(error)?,
            weights: match name {
                "scaffold" | "feddyn" => Weights::Uniform,
                _ => Weights::Examples,
            },
            correction: match name {
                "scaffold" => Correction::Scaffold,
                _ => Correction::None,
            },
            ..Rules::default()
        };
        Ok(Self { name, rules })
    }

    /// The name of a pair: a published one, or both halves.
    pub fn name_of(reduce: &Reducer, server: &ServerStep) -> String {
        // What tells these two apart is the momentum.
        let plain = matches!(server, ServerStep::Sgd { momentum: 0.0, .. });
        let (reduce, server) = (reduce.name(), server.name());
        let is = |pair: &(&str, &str, &str)| {
            (pair.1, pair.2) == (reduce, server) && !(plain && pair.0 == "fedavgm")
        };
        match PUBLISHED.into_iter().find(is) {
            Some((name, ..)) => name.to_owned(),
            None => format!("{reduce}+{server}"),
        }
    }

    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let also = ALSO.into_iter().map(|(name, _)| name);
        PUBLISHED.into_iter().map(|(name, ..)| name).chain(also)
    }
}

/// `; did you mean …?`, or all names.
fn hint(wanted: &str) -> String {
    match nearest(wanted, Strategy::names()) {
        Some(name) => format!("; did you mean {name}?"),
        None => format!("; there are {}", Strategy::names().collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_pair_parses() {
        for (name, reduce, server) in PUBLISHED {
            let text = if server == "dyn" { "feddyn:alpha=0.1,population=5" } else { name };
            let strategy = Strategy::parse(text).expect(name);
            assert_eq!((strategy.name, strategy.rules.reduce.name()), (name, reduce));
            assert_eq!(strategy.rules.server.name(), server);
            strategy.rules.validate().expect(name);
        }
        let sgd = ServerStep::Sgd { lr: 0.5, momentum: 0.9, nesterov: false };
        assert_eq!(Strategy::parse("sgd:lr=0.5").expect("valid").rules.server, sgd);
        assert_eq!(Strategy::name_of(&Reducer::Mean, &sgd), "fedavgm");
        assert_eq!(Strategy::name_of(&Reducer::Median, &sgd), "median+sgd");
        let plain = Strategy::parse("fedsgd:lr=0.5").expect("valid").rules.server;
        assert_eq!(Strategy::name_of(&Reducer::Mean, &plain), "fedsgd");
    }

    #[test]
    fn every_other_name_stands_for_a_published_one() {
        for (name, published) in ALSO {
            let [also, published] = [name, published].map(|n| Strategy::parse(n).expect(n));
            assert_eq!((also.name, also.rules), (name, published.rules));
        }
    }

    #[test]
    fn every_reducer_has_a_name() {
        for reducer in Reducer::NAMES {
            assert!(PUBLISHED.iter().any(|(_, of, _)| *of == reducer), "{reducer} has no strategy");
        }
    }

    #[test]
    fn slips_are_named() {
        let message = |text: &str| format!("{:#}", Strategy::parse(text).expect_err(text));
        assert!(message("fedadm").contains("did you mean fedadam?"));
        assert!(message("fedadam:lrr=1").contains("lrr"));
        assert!(message("median:trim=0.1").contains("trim"));
        assert!(message("xyz").contains("there are fedavg, fedavgm"));
    }
}
