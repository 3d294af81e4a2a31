//! The files of a crate, and which uses what of which other.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{Names, Path};

/// The files of a crate by module, `a::b` for `a/b.rs` or `a/b/mod.rs`; the root, `lib.rs`, has no name.
#[derive(Debug)]
pub(super) struct Tree {
    files: BTreeMap<String, File>,
}

#[derive(Debug)]
struct File {
    path: String,
    names: Names,
}

/// The names that a file uses of others: `uses[user][definer]`, both as modules.
pub(super) type Uses = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// Re-exports that a name may go through; more than there are means that they lead in a circle.
const MOST_REEXPORTS: usize = 16;

impl Tree {
    /// Reads `lib.rs`, and all that is declared from there on outside tests.
    pub(super) fn read(source: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut tree = Self { files: BTreeMap::new() };
        tree.add("", &["lib.rs".to_owned()], source);
        tree
    }

    fn add(&mut self, module: &str, paths: &[String], source: &dyn Fn(&str) -> Option<String>) {
        let mut found = paths.iter().filter_map(|path| Some((path.clone(), source(path)?)));
        let (path, text) = found.next().unwrap_or_else(|| panic!("no file {}", paths.join(" or ")));
        let names = Names::of(&text);
        for child in &names.children {
            let child = join(module, child);
            let file = child.replace("::", "/");
            self.add(&child, &[format!("{file}.rs"), format!("{file}/mod.rs")], source);
        }
        self.files.insert(module.to_owned(), File { path, names });
    }

    /// All modules that have a file.
    pub(super) fn modules(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The file of a module.
    pub(super) fn path(&self, module: &str) -> &str {
        &self.files[module].path
    }

    /// Who uses what. What a parent only hands on with `pub use` from below it, it does not use.
    pub(super) fn uses(&self) -> Uses {
        let mut uses = Uses::new();
        for (module, File { names, .. }) in &self.files {
            let of_module = uses.entry(module.clone()).or_default();
            let imports = names.imports.iter().map(|import| {
                let used = import.name.as_ref().is_none_or(|name| names.words.contains(name));
                (&import.path, import.public && !used)
            });
            for (path, only_exported) in imports.chain(names.paths.iter().map(|p| (p, false))) {
                for (definer, name) in self.definers(module, path, MOST_REEXPORTS) {
                    if definer != *module && !(only_exported && is_within(&definer, module)) {
                        of_module.entry(definer).or_default().insert(name);
                    }
                }
            }
        }
        uses
    }

    /// Modules that define what `path` names where it stands in `module`, and its name there. More
    /// than one if it depends on features, none if it is not of this crate.
    fn definers(&self, module: &str, path: &[String], reexports: usize) -> Vec<(String, String)> {
        let mut at = module.to_owned();
        let mut rest = path;
        while let Some((head, after)) = rest.split_first() {
            match head.as_str() {
                "crate" => at.clear(),
                "super" => at.truncate(at.rfind("::").unwrap_or(0)),
                "self" => {}
                child if self.files.contains_key(&join(&at, child)) => at = join(&at, child),
                _ => break,
            }
            rest = after;
        }
        let Some(name) = rest.first() else {
            let name = at.rsplit("::").next().unwrap_or_default().to_owned();
            return vec![(at, name)];
        };
        let imports: Vec<&Path> = self.files[&at]
            .names
            .imports
            .iter()
            // `use name;` makes a macro one that has a path.
            .filter(|import| import.name.as_ref() == Some(name) && import.path != [name.as_str()])
            .map(|import| &import.path)
            .collect();
        if !imports.is_empty() && reexports > 0 {
            let through = |import: &Path| [import, &rest[1..]].concat();
            imports.iter().flat_map(|i| self.definers(&at, &through(i), reexports - 1)).collect()
        } else if rest.len() < path.len() {
            vec![(at, name.clone())]
        } else {
            Vec::new()
        }
    }
}

/// The module `child` in `module`.
fn join(module: &str, child: &str) -> String {
    if module.is_empty() { child.to_owned() } else { format!("{module}::{child}") }
}

fn is_within(module: &str, around: &str) -> bool {
    around.is_empty()
        || module.strip_prefix(around).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
