//! When adapters are stacked, and what stacking goes with.

use std::path::Path;

use crate::adapters::{Sign, sign};
use crate::admit::Candidates;
use crate::base::Base;
use crate::shards::is_index;
use crate::{Adapters, Correction, Error, Options, Reducer, ServerStep};

/// What messages call [`Adapters::Stack`].
const STACKING: &str = "stacking adapters";

/// Fails if files hold adapters and nobody said how they are merged, and if somebody did and there are
/// none. The files of a few do not matter, which cannot be merged with those of most.
pub(crate) fn check_word(
    adapters: Option<Adapters>,
    base: Option<&Base>,
    candidates: &Candidates,
    out: &Path,
) -> Result<(), Error> {
    let of_base = || {
        let file = &base?.file;
        Some((file.path().to_owned(), sign(file.tensors())?))
    };
    match (adapters, of_base().or_else(|| candidates.adapter())) {
        (None, Some((path, Sign { tensor, problem: None }))) => {
            Err(Error::Adapters { path, tensor })
        }
        (None, Some((path, Sign { tensor, problem: Some(problem) }))) => {
            let problem = format!(
                "{} holds low-rank adapters, and the mean of their factors is not the mean of what \
                 these stand for; {problem}",
                path.display()
            );
            Err(Error::Tensor { path: out.to_owned(), tensor, problem })
        }
        (Some(adapters), None) if !candidates.is_empty() => Err(Error::NoAdapters { adapters }),
        _ => Ok(()),
    }
}

/// Fails if an option asks for what is no sum of products.
pub(crate) fn check_stacking(options: &Options, out: &Path) -> Result<(), Error> {
    let rules = &options.rules;
    let second = if rules.reduce != Reducer::Mean {
        format!("the reducer {}", rules.reduce.name())
    } else if rules.server != ServerStep::Replace {
        format!("the server step {}", rules.server.name())
    } else if rules.correction != Correction::None {
        "correction scaffold".to_owned()
    } else if rules.privacy.is_some() {
        "private merging".to_owned()
    } else if rules.bucket.is_some() {
        "bucket".to_owned()
    } else if !rules.keep_local.is_empty() {
        "keeping tensors local".to_owned()
    } else if !rules.carry.is_empty() {
        "rules for tensors that are carried".to_owned()
    } else if options.base.is_some() || !options.older_bases.is_empty() {
        "a base, as the result has another rank".to_owned()
    } else if is_index(out) || options.shard_bytes.is_some() {
        "a result in several files".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::Conflict { first: STACKING, second })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Privacy, Rules};

    #[test]
    fn what_is_no_sum_of_products_is_named() {
        let plain = || Options { adapters: Some(Adapters::Stack), ..Options::default() };
        let with = |change: fn(&mut Options)| {
            let mut options = plain();
            change(&mut options);
            check_stacking(&options, Path::new("out")).map_err(|e| e.to_string())
        };
        assert_eq!(with(|_| ()), Ok(()));
        let privacy = Privacy {
            clip_norm: 1.0,
            noise_multiplier: 1.0,
            sampling_rate: 1.0,
            delta: 1e-5,
            adaptive: None,
            seed: None,
        };
        let private =
            Options { rules: Rules { privacy: Some(privacy), ..Rules::default() }, ..plain() };
        let error = check_stacking(&private, Path::new("out")).unwrap_err().to_string();
        assert!(error.contains("private merging"), "{error}");
        for (change, says) in [
            ((|o| o.rules.reduce = "median".parse().unwrap()) as fn(&mut Options), "median"),
            (|o| o.rules.reduce = "ties".parse().unwrap(), "ties"),
            (|o| o.rules.server = "sgd:momentum=0.9".parse().unwrap(), "sgd"),
            (|o| o.rules.correction = Correction::Scaffold, "scaffold"),
            (|o| o.rules.bucket = Some(2), "bucket"),
            (|o| o.rules.keep_local = vec!["x".into()], "local"),
            (|o| o.rules.carry = vec!["x=max".into()], "carried"),
            (|o| o.base = Some("b".into()), "base"),
            (|o| o.older_bases = vec!["b".into()], "base"),
            (|o| o.shard_bytes = Some(9), "several files"),
        ] {
            let error = with(change).unwrap_err();
            assert!(error.contains(says) && error.contains(STACKING), "{says}: {error}");
        }
        let index = Path::new("m.safetensors.index.json");
        assert!(check_stacking(&plain(), index).is_err());
    }
}
