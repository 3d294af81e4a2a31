//! What may not be: files that need each other, and uses against the order of the modules.

use std::collections::{BTreeSet, VecDeque};

use super::tree::{Tree, Uses};

/// The shortest circle of files that need each other, if there is one, a line for each step.
pub(super) fn circle(tree: &Tree) -> Vec<String> {
    let uses = tree.uses();
    let circles = tree.modules().filter_map(|module| way_back(&uses, module));
    let shortest = circles.min_by_key(Vec::len).unwrap_or_default();
    let next = shortest.iter().cycle().skip(1);
    shortest.iter().zip(next).map(|(user, definer)| tie(tree, &uses, user, definer)).collect()
}

/// A line for each module that `order` lacks or has in vain, and for each use against it: a module
/// may use those before it, the root all, and nothing may use what the root defines.
pub(super) fn disorder(tree: &Tree, order: &str) -> Vec<String> {
    let order: Vec<&str> = order.split_whitespace().collect();
    let uses = tree.uses();
    let tops: BTreeSet<&str> = tree.modules().map(top).filter(|top| !top.is_empty()).collect();
    let new = tops.iter().filter(|top| !order.contains(top));
    let mut lines: Vec<String> = new.map(|top| place_for(tree, &uses, top)).collect();
    for (at, module) in order.iter().enumerate() {
        if !tops.contains(module) || order[..at].contains(module) {
            lines.push(format!("`{module}` in the order is no module, or is there twice"));
        }
    }
    let place = |module: &str| order.iter().position(|m| *m == module);
    for (user, definer) in ties(&uses) {
        let (from, to) = (top(user), top(definer));
        let against = match (place(from), place(to)) {
            (Some(from), Some(to)) => from < to,
            _ => to.is_empty() && !from.is_empty(),
        };
        if against {
            let tie = tie(tree, &uses, user, definer);
            let to = if to.is_empty() { "the root" } else { to };
            lines.push(format!("{tie}, but {from} stands before {to}"));
        }
    }
    lines
}

/// Where in the order a new module belongs.
fn place_for(tree: &Tree, uses: &Uses, new: &str) -> String {
    let tops = ties(uses).map(|(user, definer)| (top(user), top(definer)));
    let others = tops.filter(|(user, definer)| user != definer && !user.is_empty());
    let (mut used, mut users) = (BTreeSet::new(), BTreeSet::new());
    for (user, definer) in others {
        if user == new {
            used.insert(definer);
        } else if definer == new {
            users.insert(user);
        }
    }
    let list = |tops| Vec::from_iter::<BTreeSet<&str>>(tops).join(", ");
    format!(
        "{} is new: put `{new}` into the order, after what it uses ({}) and before what uses it ({})",
        tree.path(new),
        list(used),
        list(users)
    )
}

/// Every use: user and definer.
fn ties(uses: &Uses) -> impl Iterator<Item = (&str, &str)> {
    uses.iter().flat_map(|(user, definers)| definers.keys().map(|d| (user.as_str(), d.as_str())))
}

fn tie(tree: &Tree, uses: &Uses, user: &str, definer: &str) -> String {
    let names = Vec::from_iter(uses[user][definer].clone()).join(", ");
    format!("{} uses {names} of {}", tree.path(user), tree.path(definer))
}

/// The modules on the shortest way from `start` by way of what it uses back to it.
fn way_back<'a>(uses: &'a Uses, start: &'a str) -> Option<Vec<&'a str>> {
    let mut reached = BTreeSet::new();
    let mut ways = VecDeque::from([vec![start]]);
    while let Some(way) = ways.pop_front() {
        for next in uses[way[way.len() - 1]].keys() {
            if next == start {
                return Some(way);
            }
            if reached.insert(next) {
                ways.push_back([&way[..], &[next]].concat());
            }
        }
    }
    None
}

/// The module right below the root in which `module` is; empty for the root.
fn top(module: &str) -> &str {
    module.split("::").next().unwrap_or_default()
}
