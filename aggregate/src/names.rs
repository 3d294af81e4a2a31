//! Updates that go by the same name: a node counts once, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::reject::Reason;

/// An update and the names it goes by.
#[derive(Debug)]
pub(crate) struct Named<'a> {
    pub(crate) path: &'a Path,
    /// The node it came from, or those whose updates were merged into it.
    pub(crate) names: BTreeSet<&'a str>,
    /// Hashes of its content, the second only to tell apart those with the same first.
    pub(crate) content: (&'a str, &'a str),
    /// Of weight 0 are no rivals of those that count.
    pub(crate) weight: f64,
}

/// Whether each goes by a name that another one goes by, too.
pub(crate) fn have_namesakes(all: &[Named<'_>]) -> Vec<bool> {
    let holders = holders(all, |_| true);
    all.iter().map(|named| named.names.iter().any(|name| holders[name].len() > 1)).collect()
}

/// Why each is left out for its names, or none.
///
/// Who of two is the node that both name cannot be known, so that both are left out, but for copies
/// of one file, the first of which counts. A merge that holds a node of an update with fewer names
/// is left out alone: else one that claims all nodes would silence them. So is one that has names of
/// several others which have none in common: one file would take out as many regions as it names.
pub(crate) fn rivals(all: &[Named<'_>]) -> Vec<Option<Reason>> {
    let mut reasons: Vec<Option<Reason>> = copies(all);
    for (i, bridge) in bridges(all, &reasons).into_iter().enumerate() {
        reasons[i] = reasons[i].take().or(bridge);
    }
    let is_out: Vec<bool> = reasons.iter().map(Option::is_some).collect();
    let mut holders = holders(all, |i| !is_out[i]);
    let rank = |&i: &usize| (all[i].weight == 0.0, all[i].names.len(), i);
    for holders in holders.values_mut() {
        holders.sort_by_key(rank);
    }
    for (i, reason) in reasons.iter_mut().enumerate().filter(|&(i, _)| !is_out[i]) {
        let own = &all[i];
        let rival = own.names.iter().find_map(|&name| {
            let other = &all[holders[name].iter().copied().find(|&j| j != i)?];
            let counts = other.weight > 0.0 || own.weight == 0.0;
            (counts && other.names.len() <= own.names.len()).then_some((name, other.path))
        });
        *reason = rival.map(|(node, other)| {
            let (node, other) = (node.to_owned(), other.to_owned());
            if own.names.len() > 1 {
                Reason::Overlap { node, other }
            } else {
                Reason::Duplicate { node, other }
            }
        });
    }
    reasons
}

/// Those that share names with several others which share none with each other.
fn bridges(all: &[Named<'_>], copies: &[Option<Reason>]) -> Vec<Option<Reason>> {
    let holders = holders(all, |i| copies[i].is_none());
    let bridge = |(i, own): (usize, &Named<'_>)| {
        let others: Vec<(&str, usize)> = own
            .names
            .iter()
            .filter_map(|&name| {
                let is_other = |&j: &usize| j != i && all[j].weight > 0.0;
                Some((name, holders.get(name)?.iter().copied().find(is_other)?))
            })
            .collect();
        let (name, first) = others.first()?;
        let apart = |j: usize| j != *first && all[j].names.is_disjoint(&all[*first].names);
        others.iter().any(|&(_, j)| apart(j)).then(|| Reason::Overlap {
            node: (*name).to_owned(),
            other: all[*first].path.to_owned(),
        })
    };
    all.iter().enumerate().map(bridge).collect()
}

/// Those that are byte for byte what an earlier one of the same names is, with the same weight.
fn copies(all: &[Named<'_>]) -> Vec<Option<Reason>> {
    let mut first = BTreeMap::new();
    all.iter()
        .map(|named| {
            let key = (&named.names, named.content, named.weight.to_bits());
            let of: &Path = first.entry(key).or_insert(named.path);
            (of != named.path && !named.names.is_empty())
                .then(|| Reason::Copy { of: of.to_owned() })
        })
        .collect()
}

/// Who goes by each name.
fn holders<'a>(all: &[Named<'a>], counts: impl Fn(usize) -> bool) -> BTreeMap<&'a str, Vec<usize>> {
    let mut holders: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, named) in all.iter().enumerate().filter(|&(i, _)| counts(i)) {
        for &name in &named.names {
            holders.entry(name).or_default().push(i);
        }
    }
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the updates are left out, each given by its names, content and weight.
    fn out(all: &[(&[&str], &str, f64)]) -> Vec<Option<&'static str>> {
        let paths: Vec<String> = (0..all.len()).map(|i| i.to_string()).collect();
        let named: Vec<Named<'_>> = all
            .iter()
            .zip(&paths)
            .map(|(&(names, content, weight), path)| Named {
                path: Path::new(path),
                names: names.iter().copied().collect(),
                content: (content, ""),
                weight,
            })
            .collect();
        rivals(&named).iter().map(|reason| reason.as_ref().map(Reason::kind)).collect()
    }

    #[test]
    fn of_one_name_none_counts_and_of_a_merge_the_smaller() {
        let (dup, over, copy) = (Some("duplicate"), Some("overlap"), Some("copy"));
        for (what, all, expected) in [
            ("others", &[(&["a"][..], "1", 1.0), (&["b"], "1", 1.0)][..], &[None, None][..]),
            ("unknown", &[(&[], "1", 1.0), (&[], "1", 1.0)], &[None, None]),
            (
                "two",
                &[(&["a"], "1", 1.0), (&["a"], "2", 1.0), (&["b"], "3", 1.0)],
                &[dup, dup, None],
            ),
            ("a copy", &[(&["a"], "1", 1.0), (&["a"], "1", 1.0)], &[None, copy]),
            ("other weight", &[(&["a"], "1", 1.0), (&["a"], "1", 2.0)], &[dup, dup]),
            (
                "a copy and another",
                &[(&["a"], "1", 1.0), (&["a"], "1", 1.0), (&["a"], "2", 1.0)],
                &[dup, copy, dup],
            ),
            ("without weight", &[(&["a"], "1", 0.0), (&["a"], "2", 1.0)], &[dup, None]),
            ("no weight at all", &[(&["a"], "1", 0.0), (&["a"], "2", 0.0)], &[dup, dup]),
            (
                "claims all",
                &[(&["a"], "1", 1.0), (&["a", "b"], "2", 1.0), (&["b"], "3", 1.0)],
                &[None, over, None],
            ),
            (
                "a name of each region",
                &[(&["a", "b"], "1", 1.0), (&["c", "d"], "2", 1.0), (&["b", "d"], "3", 1.0)],
                &[None, None, over],
            ),
            (
                "two regions",
                &[(&["a", "b"], "1", 1.0), (&["b", "c"], "2", 1.0), (&["d"], "3", 1.0)],
                &[over, over, None],
            ),
            (
                "one in a larger",
                &[(&["a", "b"], "1", 1.0), (&["b", "c", "d"], "2", 1.0)],
                &[None, over],
            ),
            ("a region twice", &[(&["a", "b"], "1", 1.0), (&["a", "b"], "1", 1.0)], &[None, copy]),
        ] {
            assert_eq!(out(all), expected, "{what}");
        }
    }
}
