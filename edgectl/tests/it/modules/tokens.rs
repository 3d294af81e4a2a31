//! Rust source as words and signs: no comments, no text, no tests.

/// Identifiers, numbers, `::` and single signs. Comments, characters and strings are left out, except
/// strings that are nothing but a path, as in `#[serde(with = "crate::bits")]`.
pub(super) fn tokens(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = source.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment(rest)
        } else if let Some((open, hashes)) = raw_string(rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            open + rest[open..].find(&close).expect("the end of a raw string") + close.len()
        } else if first == '"' {
            let length = quoted(rest, '"');
            let text = &rest[1..length - 1];
            if text.contains("::") && text.chars().all(|c| is_word(c) || c == ':') {
                found.extend(tokens(text));
            }
            length
        } else if first == '\'' {
            character(rest)
        } else {
            let length = if rest.starts_with("::") { 2 } else { word.max(first.len_utf8()) };
            found.push(&rest[..length]);
            length
        };
        rest = rest[length..].trim_start();
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Length of a comment `/* … */`, which may hold others.
fn comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    loop {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += rest[at..].chars().next().expect("the end of a comment").len_utf8();
        }
        if depth == 0 {
            return at;
        }
    }
}

/// Where the text of a raw string begins, and how many `#` it has.
fn raw_string(rest: &str) -> Option<(usize, usize)> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
        let hashes = rest.strip_prefix(prefix).map(|after| after.trim_start_matches('#'));
        hashes.is_some_and(|after| after.starts_with('"'))
    })?;
    let open = rest.find('"')?;
    Some((open + 1, open - prefix.len()))
}

/// Length of what stands between two `quote`s, both included.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = rest.char_indices().skip(1).find(|&(_, c)| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.expect("a closing quote").0 + 1
}

/// Length of a character, or of the mark before the name of a lifetime.
fn character(rest: &str) -> usize {
    let mut after = rest.chars().skip(1);
    let first = after.next();
    if first == Some('\\') || after.next() == Some('\'') { quoted(rest, '\'') } else { 1 }
}

/// Without the items under `#[cfg(test)]`.
pub(super) fn without_tests<'a>(tokens: &[&'a str]) -> Vec<&'a str> {
    const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].starts_with(&TEST) {
            at += TEST.len();
            at += item(&tokens[at..]);
        } else {
            kept.push(tokens[at]);
            at += 1;
        }
    }
    kept
}

/// How many tokens an item has, other attributes before it included.
fn item(tokens: &[&str]) -> usize {
    let mut depth = 0;
    let mut is_use = false;
    for (at, &token) in tokens.iter().enumerate() {
        match token {
            "use" if depth == 0 => is_use = true,
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" if depth == 0 => return at,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 && (token == ";" || (token == "}" && !is_use)) {
            return at + 1;
        }
    }
    tokens.len()
}

#[test]
fn only_code_counts() {
    let source = r##"
        //! crate::a, "
        /* crate::b /* nested */ ' */
        const TEXT: [&str; 2] = ["// crate::c \" x", r#"" crate::d"#];
        #[serde(with = "crate::e")]
        fn f<'a>(x: &'a str) -> char { let quote = ['"', '\'', '\\']; g::h(x) }
        #[cfg(test)]
        #[must_use]
        fn only(here: [u8; 2]) -> { crate::i }
        #[cfg(test)]
        use crate::{j, k};
        #[cfg(test)]
        mod tests { mod more { crate::l } }
        use m::n;
    "##;
    let code = without_tests(&tokens(source)).join(" ");
    for kept in
        ["with = crate :: e", "fn f < a > ( x : & a str )", "g :: h ( x ) }", "use m :: n ;"]
    {
        assert!(code.contains(kept), "{kept} in {code}");
    }
    assert_eq!(code.matches("::").count(), 3, "{code}");
}
