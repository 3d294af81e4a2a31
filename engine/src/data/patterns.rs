//! Columns by name, by range (`h0..h23`) and by pattern (`a*`, `s?_x`).

use std::path::Path;

use anyhow::bail;

use super::columns::{position, require};
use super::table::listed;
use crate::nearest::nearest;

/// Most names that a range may stand for.
const MOST: u64 = 1 << 16;

/// Whether one of the entries is a pattern of a header without such a column.
pub(super) fn has_pattern(entries: &[String]) -> bool {
    entries.iter().any(|entry| is_pattern(entry))
}

fn is_pattern(entry: &str) -> bool {
    entry.contains(['*', '?'])
}

/// The names that entries say themselves, by name or by range; of patterns nothing.
///
/// # Errors
/// A range that runs backwards or is too long.
pub(super) fn named(entries: &[String], header: &[String]) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in entries {
        if position(header, entry).is_some() {
            names.push(entry.clone());
        } else if let Some(range) = Range::of(entry)? {
            names.extend(range.names());
        } else if !is_pattern(entry) {
            names.push(entry.clone());
        }
    }
    Ok(names)
}

/// The columns of all entries, in their order; those of a pattern are the `free` ones that match and that
/// no other entry names, in the order of the file.
///
/// # Errors
/// If an entry matches nothing, or names a column twice; the message names the `key`.
pub(super) fn columns(
    path: &Path,
    header: &[String],
    (key, entries): (&str, &[String]),
    free: &[usize],
) -> anyhow::Result<Vec<usize>> {
    let own = named(entries, header)?;
    for (place, name) in own.iter().enumerate() {
        if position(&own, name) != Some(place) {
            bail!("{key} lists {name:?} twice; list each column once");
        }
    }
    let mut columns: Vec<usize> = Vec::new();
    for entry in entries {
        let is_there = position(header, entry).is_some();
        let range = if is_there { None } else { Range::of(entry)? };
        if let Some(range) = range {
            let why = format!("{key} lists it in {entry:?}");
            for name in range.names() {
                columns.push(require(path, header, &name, &why)?);
            }
        } else if is_there || !is_pattern(entry) {
            columns.push(require(path, header, entry, &format!("{key} lists it"))?);
        } else {
            let fits = |column: &&usize| matches(entry.as_bytes(), header[**column].as_bytes());
            let mut matched = free.iter().filter(fits).peekable();
            if matched.peek().is_none() {
                let names = free.iter().map(|&column| header[column].as_str());
                let plain = entry.replace(['*', '?'], "");
                let hint = nearest(&plain, names).map(|name| format!("; did you mean {name:?}?"));
                let free: Vec<String> = free.iter().map(|&column| header[column].clone()).collect();
                bail!(
                    "{}: no column matches {entry:?}, which {key} lists; the columns without another part \
                     are {}{}",
                    path.display(),
                    listed(&free),
                    hint.unwrap_or_default()
                );
            }
            let others = matched.filter(|&&column| !own.contains(&header[column]));
            let new: Vec<usize> =
                others.copied().filter(|column| !columns.contains(column)).collect();
            columns.extend(new);
        }
    }
    Ok(columns)
}

/// Names that differ in one number: `h0..h23`, `s1_x..s4_x`, `p00..p23`.
#[derive(Debug, PartialEq, Eq)]
struct Range<'e> {
    before: &'e str,
    first: u64,
    last: u64,
    /// Digits, where the numbers are padded with zeros.
    width: usize,
    after: &'e str,
}

impl<'e> Range<'e> {
    /// `None` if the entry is no range.
    fn of(entry: &'e str) -> anyhow::Result<Option<Self>> {
        let Some((from, to)) = entry.split_once("..") else { return Ok(None) };
        let (Some((before, first, after)), Some((before_to, last, after_to))) =
            (around_number(from), around_number(to))
        else {
            return Ok(None);
        };
        if (before, after) != (before_to, after_to) {
            return Ok(None);
        }
        let width = if first.len() > 1 && first.starts_with('0') { first.len() } else { 0 };
        let (Ok(first), Ok(last)) = (first.parse::<u64>(), last.parse::<u64>()) else {
            return Ok(None);
        };
        if last < first {
            bail!("the range {entry:?} of columns runs backwards; write the smaller number first");
        }
        if last - first >= MOST {
            bail!("the range {entry:?} stands for more than {MOST} columns; list fewer");
        }
        Ok(Some(Self { before, first, last, width, after }))
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let Self { before, width, after, .. } = *self;
        (self.first..=self.last).map(move |number| format!("{before}{number:0width$}{after}"))
    }
}

/// What stands before the last number of a name, its digits, and what follows them.
pub(super) fn around_number(name: &str) -> Option<(&str, &str, &str)> {
    let end = name.rfind(|c: char| c.is_ascii_digit())? + 1;
    let (head, after) = name.split_at(end);
    let before = head.trim_end_matches(|c: char| c.is_ascii_digit());
    Some((before, &head[before.len()..], after))
}

/// Whether a name fits a pattern, in which `*` stands for any characters and `?` for one.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where to go on if what was read for the last star was not enough.
    let mut again = None;
    while read < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                again = Some((at, read));
                at += 1;
            }
            Some(b'?') => {
                // One character may be several bytes.
                read += 1;
                while name.get(read).is_some_and(|byte| byte & 0xC0 == 0x80) {
                    read += 1;
                }
                at += 1;
            }
            Some(&byte) if byte == name[read] => (at, read) = (at + 1, read + 1),
            _ => {
                let Some((star, from)) = again else { return false };
                again = Some((star, from + 1));
                (at, read) = (star + 1, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// The columns that entries stand for, by name.
    fn chosen(entries: &str, header: &str) -> Result<String, String> {
        let header = names(header);
        let free: Vec<usize> = (0..header.len()).filter(|&i| header[i] != "t").collect();
        let found = columns(Path::new("x.csv"), &header, ("data.channels", &names(entries)), &free);
        let found = found.map_err(|error| format!("{error:#}"))?;
        Ok(found.iter().map(|&column| &header[column][..]).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn ranges_patterns_and_names_mix() {
        let header = "t h0 h1 h2 h10 a_x a_y s1_x s2_x s10_x note";
        for (entries, found) in [
            ("h0..h2", "h0 h1 h2"),
            ("s1_x..s2_x", "s1_x s2_x"),
            ("a*", "a_x a_y"),
            ("s?_x", "s1_x s2_x"),
            ("note h1 h*", "note h1 h0 h2 h10"),
            ("*", "h0 h1 h2 h10 a_x a_y s1_x s2_x s10_x note"),
            ("*_x a*", "a_x s1_x s2_x s10_x a_y"),
            ("a_* *_y", "a_x a_y"),
            ("t", "t"),
        ] {
            assert_eq!(chosen(entries, header).as_deref(), Ok(found), "{entries}");
        }
        assert_eq!(chosen("p08..p11", "p08 p09 p10 p11").as_deref(), Ok("p08 p09 p10 p11"));
        assert_eq!(chosen("a..b a* b?", "a..b a* b?").as_deref(), Ok("a..b a* b?"), "are names");
    }

    #[test]
    fn what_matches_nothing_is_an_error_with_the_nearest_name() {
        for (entries, says) in [
            ("h0..h3", "x.csv: no column \"h3\": data.channels lists it in \"h0..h3\""),
            (
                "gyro*",
                "no column matches \"gyro*\", which data.channels lists; the columns without",
            ),
            ("gyro*", "did you mean \"gyr\"?"),
            ("t*", "no column matches \"t*\""),
            ("h2..h0", "\"h2..h0\" of columns runs backwards"),
            ("h0..h99999999", "more than 65536 columns"),
            ("h0..g3", "no column \"h0..g3\": data.channels lists it"),
            ("h0 h0..h1", "lists \"h0\" twice"),
            ("h0..h99999999999999999999", "no column \"h0..h9999"),
        ] {
            let error = chosen(entries, "t h0 h1 h2 gyr").unwrap_err();
            assert!(error.contains(says), "{entries}: {error}");
        }
    }

    #[test]
    fn a_star_is_any_text_and_a_question_mark_one_character() {
        for (pattern, name, fits) in [
            ("*", "", true),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "aXbYb", false),
            ("**x", "x", true),
            ("?", "é", true),
            ("?", "", false),
            ("a?", "abc", false),
            ("*?x", "x", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_with_parts_replaced_by_stars_still_fits(
            name in "[ab]{0,8}",
            cuts in prop::collection::vec(any::<bool>(), 8),
        ) {
            let pattern: String =
                name.chars().zip(&cuts).map(|(c, &cut)| if cut { '*' } else { c }).collect();
            prop_assert!(matches(pattern.as_bytes(), name.as_bytes()));
            let (longer, one, other) =
                (format!("{pattern}b"), format!("{name}b"), format!("{name}a"));
            prop_assert!(matches(longer.as_bytes(), one.as_bytes()));
            prop_assert!(!matches(longer.as_bytes(), other.as_bytes()));
        }
    }
}
