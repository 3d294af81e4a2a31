//! Which rules of merging give in regions what they give in one center, and what a region applies of them.

use aggregate::{Correction, Reducer, Rules, ServerStep, Weights};
use anyhow::ensure;

/// What a region applies of a job's rules: all that is said of single updates, and the mean or the robust rule over them.
/// The center's step with its memory is the root's, who takes it once for all regions.
///
/// Means compose: with weights that are sums of those below, the mean of means is the mean of all. So does clipping, as a
/// mean of changes within a bound is within it. A robust rule without weights (median, Krum) is one rule in each region
/// and the same over the regions, each of which has one voice.
///
/// # Errors
/// If a rule would give something else in regions than what the job asks for.
pub(super) fn region_rules(rules: &Rules) -> anyhow::Result<Rules> {
    let (reduce, server) = (rules.reduce, rules.server);
    ensure!(
        rules.correction != Correction::Scaffold,
        "[federation] correction = \"scaffold\" does not go with regions: the center's control variate moves by how many nodes take part of all, which a region's update does not tell"
    );
    ensure!(
        !matches!(server, ServerStep::Dyn { .. }),
        "[federation] server step dyn does not go with regions: its memory moves by how many nodes take part of all, which a region's update does not tell"
    );
    ensure!(
        rules.privacy.is_none(),
        "[federation.privacy] does not go with regions: what each node is clipped to, and the noise for all, are for one center to add"
    );
    let reason = match reduce {
        Reducer::Nova => "it goes by the steps of each node, of which a region tells only the sum",
        Reducer::QFedAvg(_) => "it goes by the loss of each node, which a region does not tell",
        Reducer::Buffered(_) | Reducer::Async(_) => {
            "it goes by the age of each update, which a region does not tell"
        }
        _ if reduce.is_offline() => "it is for models that somebody chose",
        _ => "",
    };
    ensure!(
        reason.is_empty(),
        "[federation] reduce = {{ name = \"{}\" }} does not go with regions: {reason}",
        reduce.name()
    );
    ensure!(
        !(reduce.is_weighted() && rules.weights == Weights::Uniform),
        "[federation] weights = \"uniform\" does not go with regions: each would weigh the same, however many nodes are in it; weights = \"count\" lets every node weigh the same"
    );
    Ok(Rules { server: ServerStep::Replace, ..rules.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_leaves_the_step_to_the_root_and_applies_the_rest() {
        let rules = Rules {
            server: "adam".parse().expect("a step"),
            reduce: "norm-clipped-mean".parse().expect("a rule"),
            keep_local: vec!["head.*".to_owned()],
            ..Rules::default()
        };
        let applied = region_rules(&rules).expect("it composes");
        assert_eq!(applied, Rules { server: ServerStep::Replace, ..rules });
    }

    #[test]
    fn every_rule_composes_or_is_refused_by_name() {
        let refused = ["nova", "q-fedavg", "buffered", "async", "ties", "dare", "slerp"];
        for name in Reducer::NAMES {
            let reduce: Reducer = name.parse().expect("published options");
            let done = region_rules(&Rules { reduce, ..Rules::default() });
            match done.map_err(|error| error.to_string()) {
                Ok(_) => assert!(!refused.contains(&name), "{name}"),
                Err(problem) => assert!(refused.contains(&name) && problem.contains(name)),
            }
        }
    }

    #[test]
    fn what_the_root_alone_can_do_is_refused_with_the_reason() {
        let plain = Rules::default;
        let privacy = serde_json::json!({ "privacy": { "clip_norm": 1.0, "noise_multiplier": 1.0, "sampling_rate": 0.5, "delta": 1e-6 } });
        let privacy: Rules = serde_json::from_value(privacy).expect("rules");
        for (rules, why) in [
            (Rules { correction: Correction::Scaffold, ..plain() }, "control variate"),
            (Rules { server: ServerStep::Dyn { alpha: 0.1, population: 3 }, ..plain() }, "dyn"),
            (privacy, "noise"),
            (Rules { weights: Weights::Uniform, ..plain() }, "weights = \"count\""),
        ] {
            let problem = region_rules(&rules).expect_err(why).to_string();
            assert!(problem.contains(why), "{problem}");
        }
        // Rules that look at no weights do not mind.
        let median = Rules { weights: Weights::Uniform, reduce: Reducer::Median, ..plain() };
        region_rules(&median).expect("it composes");
    }
}
