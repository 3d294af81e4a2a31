//! Planted circles and uses against the order are found; what is clean stays quiet.

use super::laws::{circle, disorder};
use super::tree::Tree;

/// A crate without a fault: lists of names at the root and in `wide`, and what would be a circle in a
/// comment and in tests.
const CLEAN: [(&str, &str); 6] = [
    (
        "lib.rs",
        "pub mod base; mod wide; mod user; pub use base::{Base, helper}; pub use wide::Part;",
    ),
    (
        "base.rs",
        "// crate::user::run
         pub struct Base; pub fn helper() {}
         #[cfg(test)] mod tests { use crate::user::run; fn t() { crate::wide::Part::new() } }",
    ),
    ("wide/mod.rs", "mod first; mod part; pub use part::Part; pub use first::First;"),
    ("wide/first.rs", "use super::Part; pub struct First(Part, crate::Base);"),
    ("wide/part.rs", "use std::fmt; pub struct Part(super::super::base::Base);"),
    ("user.rs", "use crate::{base, wide::{First as It, Part}}; fn run(_: It) { base::helper() }"),
];

/// Files by path and text.
type Files<'a> = &'a [(&'a str, &'a str)];

/// The clean crate with other files in place of some of its own.
fn planted(files: Files) -> Tree {
    let files = [&CLEAN, files].concat();
    Tree::read(&|path| Some(files.iter().rfind(|(p, _)| *p == path)?.1.to_owned()))
}

#[test]
fn clean_crates_are_quiet() {
    let clean = planted(&[]);
    assert_eq!(circle(&clean), [""; 0]);
    assert_eq!(disorder(&clean, "base wide user"), [""; 0]);
    let uses = clean.uses();
    let used = |user: &str| uses[user].keys().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(used("user"), ["base", "wide::first", "wide::part"]);
    assert_eq!(used("wide"), [""; 0]);
    assert_eq!(used("wide::part"), ["base"]);
}

#[test]
fn circles_are_found() {
    let cases: [(&str, Files, &[&str]); 6] = [
        (
            "through a re-export",
            &[("wide/part.rs", "use super::First; pub struct Part(Box<First>);")],
            &[
                "wide/first.rs uses Part of wide/part.rs",
                "wide/part.rs uses First of wide/first.rs",
            ],
        ),
        (
            "through the root's re-export, by way of a third",
            &[("base.rs", "pub struct Base; pub fn helper(_: &super::Part) {}")],
            &["base.rs uses Part of wide/part.rs", "wide/part.rs uses Base of base.rs"],
        ),
        (
            "through super::",
            &[("wide/part.rs", "pub struct Part; fn f() { super::first::First::of() }")],
            &[
                "wide/first.rs uses Part of wide/part.rs",
                "wide/part.rs uses First of wide/first.rs",
            ],
        ),
        (
            "parent and child",
            &[
                (
                    "wide/mod.rs",
                    "mod first; mod part; pub use part::Part; pub const N: u8 = first::N;",
                ),
                ("wide/first.rs", "pub(super) const N: u8 = M; use super::{N as M};"),
            ],
            &["wide/mod.rs uses N of wide/first.rs", "wide/first.rs uses N of wide/mod.rs"],
        ),
        (
            "a parent that also uses what it hands on",
            &[
                ("wide/mod.rs", "mod first; mod part; pub use part::Part; fn f(_: Part) {}"),
                ("wide/part.rs", "pub struct Part; fn g() { super::f(Part) }"),
                ("user.rs", ""),
            ],
            &["wide/mod.rs uses Part of wide/part.rs", "wide/part.rs uses f of wide/mod.rs"],
        ),
        (
            "through an imported module and a name in an attribute",
            &[
                ("wide/part.rs", r#"#[serde(with = "crate::user::inner")] pub struct Part;"#),
                ("user.rs", "use crate::wide; pub mod inner { fn run(_: super::wide::Part) {} }"),
            ],
            &["user.rs uses Part of wide/part.rs", "wide/part.rs uses inner of user.rs"],
        ),
    ];
    for (case, files, expected) in cases {
        assert_eq!(circle(&planted(files)), expected, "{case}");
    }
}

#[test]
fn uses_against_the_order_are_found() {
    let clean = planted(&[]);
    assert_eq!(
        disorder(&clean, "base user wide"),
        [
            "user.rs uses First of wide/first.rs, but user stands before wide",
            "user.rs uses Part of wide/part.rs, but user stands before wide",
        ]
    );
    let root =
        planted(&[("wide/first.rs", "use super::Part; pub struct First(Part, crate::Own);")]);
    assert_eq!(
        disorder(&root, "base wide user"),
        ["wide/first.rs uses Own of lib.rs, but wide stands before the root"]
    );
}

#[test]
fn new_and_lost_modules_are_named() {
    assert_eq!(
        disorder(&planted(&[]), "base user gone"),
        [
            "wide/mod.rs is new: put `wide` into the order, after what it uses (base) and before \
             what uses it (user)",
            "`gone` in the order is no module, or is there twice",
        ]
    );
}
