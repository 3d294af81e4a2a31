//! What a file names: its `use` trees, its other paths, and the files it declares.

use std::collections::BTreeSet;

use super::tokens::{tokens, without_tests};

/// A path, as it is written.
pub(super) type Path = Vec<String>;

/// What `use` brings into a file.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) path: Path,
    /// What it is called from then on; none in a module that is written within the file.
    pub(super) name: Option<String>,
    pub(super) public: bool,
}

/// What a file names outside its tests.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// `mod name;`
    pub(super) children: Vec<String>,
    pub(super) imports: Vec<Import>,
    /// Paths of two segments or more outside `use`.
    pub(super) paths: Vec<Path>,
    /// Every word outside `use`.
    pub(super) words: BTreeSet<String>,
}

impl Names {
    pub(super) fn of(source: &str) -> Self {
        let code = without_tests(&tokens(source));
        let get = |at: usize| code.get(at).copied().unwrap_or_default();
        let mut names = Self::default();
        // Depth in braces, and the depths at which modules within the file begin.
        let mut depth = 0;
        let mut modules = Vec::new();
        let mut at = 0;
        while at < code.len() {
            let before = at.checked_sub(1).map_or("", |before| code[before]);
            let mut end = at + 1;
            match code[at] {
                // `impl Trait + use<'a>` is no import.
                "use" if get(at + 1) != "<" => {
                    end = at + code[at..].iter().position(|&t| t == ";").expect("a ; after use");
                    let public = matches!(before, "pub" | ")");
                    for (path, name) in leaves(&code[at + 1..end]) {
                        let name = Some(name).filter(|_| modules.is_empty());
                        let path = from_the_file(path, modules.len());
                        names.imports.extend(path.map(|path| Import { path, name, public }));
                    }
                }
                "mod" if get(at + 2) == ";" => names.children.push(get(at + 1).to_owned()),
                "mod" if get(at + 2) == "{" => modules.push(depth),
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    modules.pop_if(|begin| *begin == depth);
                }
                word if is_name(word) => {
                    while get(end) == "::" && is_name(get(end + 1)) {
                        end += 2;
                    }
                    let path: Path = code[at..end].iter().step_by(2).map(|&t| t.into()).collect();
                    names.words.extend(path.iter().cloned());
                    if path.len() > 1 && before != "::" {
                        names.paths.extend(from_the_file(path, modules.len()));
                    }
                }
                _ => {}
            }
            at = end;
        }
        names
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The path as it would stand outside the `depth` modules within the file around it; none if it
/// does not lead out of them.
fn from_the_file(mut path: Path, depth: usize) -> Option<Path> {
    if depth > 0 && path[0] != "crate" {
        if path.len() <= depth || path[..depth].iter().any(|segment| segment != "super") {
            return None;
        }
        path.splice(..depth, ["self".to_owned()]);
    }
    Some(path)
}

/// The paths in a `use` tree, each with the name it gets.
fn leaves(tree: &[&str]) -> Vec<(Path, String)> {
    let mut leaves = Vec::new();
    let mut path: Vec<&str> = Vec::new();
    // Lengths of the prefixes that the open braces share.
    let mut prefixes = Vec::new();
    let mut name = None;
    let mut before = "";
    for &token in tree.iter().chain(&[","]) {
        match token {
            "::" | "as" => {}
            "{" => {
                prefixes.push(path.len());
                name = None;
            }
            "," | "}" => {
                if let Some(name) = name.take() {
                    leaves.push((path.iter().map(|&s| s.to_owned()).collect(), String::from(name)));
                }
                path.truncate(prefixes.last().copied().unwrap_or(0));
                if token == "}" {
                    prefixes.pop();
                }
            }
            "self" if before == "{" || before == "," => name = path.last().copied(),
            segment => {
                if before != "as" {
                    path.push(segment);
                }
                name = Some(segment);
            }
        }
        before = token;
    }
    leaves
}

#[test]
fn names_are_read() {
    let names = Names::of(
        "mod child; pub(crate) use child::{One, deep::{self, Two as Second}};
         use super::Three; use std::fmt; fn f() -> impl Fn() + use<> { crate::four::<u8>(fmt::x) }
         mod inner { use super::child::Five; use super::super::Six; fn g() { self::h(crate::i) } }
         fn h() { super::seven::Eight::nine() }",
    );
    let imports: Vec<_> = names
        .imports
        .iter()
        .map(|i| (i.path.join("::"), i.name.as_deref().unwrap_or("-"), i.public))
        .collect();
    let expected = [
        ("child::One", "One", true),
        ("child::deep", "deep", true),
        ("child::deep::Two", "Second", true),
        ("super::Three", "Three", false),
        ("std::fmt", "fmt", false),
        ("self::child::Five", "-", false),
        ("self::super::Six", "-", false),
    ];
    assert_eq!(imports, expected.map(|(path, name, public)| (path.to_owned(), name, public)));
    let paths: Vec<_> = names.paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["crate::four", "fmt::x", "crate::i", "super::seven::Eight::nine"]);
    assert_eq!(names.children, ["child"]);
    assert!(names.words.contains("Eight") && !names.words.contains("Second"));
}
