//! What is likely not as it should be in data, by rule.

use std::collections::BTreeMap;
use std::path::Path;

use super::files;
use super::reading::{FileRead, TimeUnit};
use super::tally::Tally;

/// Rises that a channel which never falls must have to be taken for a clock or a counter; fewer rows say
/// nothing about a value that never changes either.
const MANY_RISES: usize = 16;

/// All that is strange.
pub(super) fn of(
    tally: &Tally,
    files: &[FileRead],
    channels: &[String],
    (classes, places): (&[String], &[u32]),
) -> Vec<String> {
    let mut found = growing(tally, channels);
    found.extend(constant(tally, channels));
    found.extend(giveaways(tally, channels, (classes, places)));
    found.extend(alike(classes));
    found.extend(files.iter().filter_map(doubled));
    found.extend(files.iter().filter_map(unknown_times));
    found.extend(of_files(files));
    found
}

/// Channels of long tables that only grow with the rows, as a time stamp or the number of a row.
fn growing(tally: &Tally, channels: &[String]) -> Vec<String> {
    let counted = channels.iter().zip(&tally.channels);
    let grows = counted.filter(|(_, counted)| !counted.falls && counted.rises >= MANY_RISES);
    let names: Vec<&String> = grows.map(|(name, _)| name).collect();
    if names.len() > 3 {
        return vec![format!(
            "{} channels, {:?} the first, only grow from row to row, as time stamps or numbers of rows do; if \
             they are some, name one as data.time, or list the channels without them in data.channels",
            names.len(),
            names[0]
        )];
    }
    let warning = |name: &String| {
        format!(
            "the channel {name:?} only grows from row to row, as a time stamp or the number of a \
             row does, and would be trained on: name it as data.time, or as data.series if it numbers series, or list the channels without \
             it in data.channels"
        )
    };
    names.into_iter().map(warning).collect()
}

/// Channels that never change.
fn constant(tally: &Tally, channels: &[String]) -> Option<String> {
    let counted = channels.iter().zip(&tally.channels);
    let still = counted.filter(|(_, counted)| tally.steps >= MANY_RISES && counted.is_constant());
    let names: Vec<String> = still.map(|(name, _)| format!("{name:?}")).collect();
    let (some, n) = (names.iter().take(3).cloned().collect::<Vec<_>>().join(", "), names.len());
    let more = if n > 3 { format!(", … ({n} in all)") } else { String::new() };
    let (channels, have) = if n == 1 { ("channel", "has") } else { ("channels", "have") };
    // Of pictures many places are empty.
    (n > 0 && 2 * n <= tally.channels.len()).then(|| {
        format!(
            "the {channels} {some}{more} {have} one value in all rows and say nothing; list them in data.ignore"
        )
    })
}

/// Channels that give a class away by one value of theirs, as the number of an event does.
fn giveaways(tally: &Tally, channels: &[String], classes: (&[String], &[u32])) -> Vec<String> {
    let (classes, places) = classes;
    let found = channels.iter().zip(&tally.channels).filter_map(|(name, counted)| {
        let (label, value) = counted.giveaway(MANY_RISES)?;
        let class = classes.get(*places.get(label)? as usize)?;
        Some(format!(
            "the channel {name:?} is {value} in all rows of class {class:?} and in none of another: if it was \
             made of the label, as the number of an event is, list it in data.ignore"
        ))
    });
    found.take(4).collect()
}

/// What is strange about how files were read: once for all of which the same is to be said.
fn of_files(files: &[FileRead]) -> Vec<String> {
    let mut found: Vec<(String, &Path, usize)> = Vec::new();
    for file in files {
        let selection = &file.reading.selection;
        let counters = selection.counters.iter().map(|name| {
            format!(
                "the column {name:?} counts the rows and is read as nothing; list it in data.channels if it is a \
                 channel"
            )
        });
        let held_out = (selection.split_by.is_none() && files::looks_like_test(&file.path)).then(|| {
            "the file is called as rows for the test are, but nothing marks them: they are trained on; call it \
             test_… or put it into a folder test, or say which rows are for the test in data.split"
                .to_owned()
        });
        for text in counters.chain(held_out).chain(file.warnings.iter().cloned()) {
            match found.iter_mut().find(|(other, ..)| *other == text) {
                Some((.., n)) => *n += 1,
                None => found.push((text, &file.path, 1)),
            }
        }
    }
    let told = found.into_iter().map(|(text, path, n)| {
        let more = if n > 1 { format!(" (and {} more)", n - 1) } else { String::new() };
        format!("{}{more}: {text}", path.display())
    });
    told.collect()
}

/// Times that stand twice.
fn doubled(file: &FileRead) -> Option<String> {
    let line = file.first_doubled?;
    Some(format!(
        "{}: line {line}: the time is that of the row before, as in {} rows of the file; if series are \
         mixed there, name the column that separates them in data.series",
        file.path.display(),
        file.doubled_times
    ))
}

/// Times that cannot be held to their order.
fn unknown_times(file: &FileRead) -> Option<String> {
    let column = file.reading.roles.time.as_ref()?;
    (file.reading.time_unit == Some(TimeUnit::Unknown)).then(|| {
        format!(
            "{}: the times in {column:?} are neither numbers nor dates that are understood, and may be \
             in any order; write them as 2016-07-01 05:30:00",
            file.path.display()
        )
    })
}

/// Classes whose names are the same but for case, signs between words, quotes, or how a number is
/// written.
fn alike(classes: &[String]) -> Vec<String> {
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for class in classes {
        groups.entry(folded(class)).or_default().push(class);
    }
    // Codes of one sign are as they are: "A" is no other spelling of "a".
    let is_code = |name: &&str| name.chars().count() == 1;
    let several =
        groups.into_values().filter(|names| names.len() > 1 && !names.iter().all(is_code));
    let warning = |names: Vec<&str>| {
        let names = names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        format!("the classes {names} differ in spelling only; if they are one, write them alike")
    };
    several.map(warning).collect()
}

fn folded(class: &str) -> String {
    let text = class.trim_matches(|c: char| c.is_whitespace() || "\"'".contains(c));
    if let Ok(number) = text.parse::<f64>()
        && number.is_finite()
    {
        return format!("{number}");
    }
    let words = text.split(|c: char| c.is_whitespace() || "_-.".contains(c));
    words.map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_differ_in_spelling_are_named() {
        let warned = |classes: &[&str]| {
            alike(&classes.iter().map(|&class| class.to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(warned(&["walk", "run"]), [""; 0]);
        assert_eq!(warned(&["1", "2", "10", "-1"]), [""; 0]);
        assert_eq!(warned(&["A", "a", "N"]), [""; 0], "codes of beats");
        for two in [["1", "1.0"], ["walk", "Walk"], ["stand up", "stand_up"], ["\"a\"", "a"]] {
            let found = warned(&[two[0], "other", two[1]]);
            assert_eq!(found.len(), 1, "{two:?}");
            assert!(found[0].contains(&format!("{:?}", two[0])), "{found:?}");
        }
    }
}
