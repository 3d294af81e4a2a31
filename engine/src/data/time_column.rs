//! Which column holds times where nothing says so.

use std::collections::HashMap;

use super::block::Block;
use super::columns::position;
use super::times::{self, TimeKind};

/// Names of a time column beside `t`, which is taken whatever it holds.
const NAMES: [&str; 10] =
    ["time", "timestamp", "t_s", "t_ms", "t_us", "t_min", "t_h", "date_time", "datetime", "date"];

/// What is said of a column that has the usual name of one of times, but is not taken for one.
pub(super) fn no_time(name: &str) -> String {
    format!(
        "the column {name:?} is called as times are, but its first rows are no times in order, so that it is read \
         as another column: name it as data.time, and what separates series as data.series, or list it in \
         data.ignore"
    )
}

/// What is said of times in several columns.
pub(super) const IN_PARTS: &str = "the columns year, month, day, … are read as values, though together they are \
                                   a time; write them as one column of dates, as 2016-07-01 05:00, or list \
                                   them in data.ignore";

/// Whether columns without a part hold the year, the month and the day of a time.
pub(super) fn is_in_parts(names: &[&str]) -> bool {
    let is_there = |part: &&str| names.iter().any(|name| name.eq_ignore_ascii_case(part));
    ["year", "month", "day"].iter().all(is_there)
}

/// Most columns that count in their names, and say no more than that there are several sensors.
const FEW_NUMBERED: usize = 8;

/// The only column with the usual name of one that holds times; those in `taken` are something else.
pub(super) fn only_named(header: &[String], taken: &[usize]) -> Option<usize> {
    let named = NAMES.iter().filter_map(|name| position(header, name));
    let mut named = named.filter(|column| !taken.contains(column));
    let (column, None) = (named.next()?, named.next()) else { return None };
    Some(column)
}

/// The column that holds times by its name and its first rows: the only one with a usual name, which
/// does not run backwards within a series (the rows that agree in the `series` columns), unless it may.
/// Columns in `taken` are something else.
pub(super) fn guess(
    header: &[String],
    taken: &[usize],
    series: &[usize],
    sample: &Block,
    may_run_back: bool,
) -> Option<usize> {
    let column = only_named(header, taken)?;
    let mut last: HashMap<Vec<&[u8]>, f64> = HashMap::new();
    let mut kind: Option<TimeKind> = None;
    for row in 0..sample.n_rows() {
        let (found, time) = times::parse(sample.text(column, row))?;
        if found == TimeKind::Text || kind.is_some_and(|kind| kind != found) {
            return None;
        }
        kind = Some(found);
        let key = series.iter().map(|&column| sample.text(column, row)).collect();
        if last.insert(key, time).is_some_and(|last| time < last && !may_run_back) {
            return None;
        }
    }
    Some(column)
}

/// Whether the columns look like the steps of a sample rather than as sensors: most of them are numbered
/// in order, `p0, p1, p2, …`.
pub(super) fn looks_wide(header: &[String], values: &[usize]) -> bool {
    let numbered = |name: &str| {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let number: Option<u32> = name[stem.len()..].parse().ok();
        number.map(|number| (stem.to_owned(), number))
    };
    let names: Vec<_> = values.iter().map(|&column| numbered(&header[column])).collect();
    let follows = names.windows(2).filter(|pair| {
        matches!(pair, [Some((stem, n)), Some((next, m))] if stem == next && n.checked_add(1) == Some(*m))
    });
    let n = follows.count();
    n >= FEW_NUMBERED && 2 * n >= values.len()
}

#[cfg(test)]
mod tests {
    use super::super::block::Need;
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// The guess for a table of words.
    fn guessed(table: &str, series: &[usize]) -> Option<usize> {
        let mut lines = table.split(';').map(names);
        let header = lines.next().unwrap();
        let mut block = Block::new(&vec![Need::Text; header.len()]);
        for line in lines {
            line.iter()
                .enumerate()
                .for_each(|(column, cell)| block.push_text(column, cell.as_bytes()));
            block.end_row(0);
        }
        guess(&header, series, series, &block, false)
    }

    #[test]
    fn one_usual_name_with_times_is_taken() {
        assert_eq!(guessed("x timestamp;1 0;1 1;1 1", &[]), Some(1));
        assert_eq!(guessed("date x;2016-07-01 1;2016-07-02 0", &[]), Some(0));
        assert_eq!(guessed("time date x;0 0 1;1 1 1", &[]), None, "two of them");
        assert_eq!(guessed("time x;1 0;0 0", &[]), None, "backwards");
        assert_eq!(guessed("id time x;a 1 0;b 0 0;a 2 0", &[0]), Some(1), "in each series");
        assert_eq!(guessed("time x;1 0;2016-07-01 0", &[]), None, "a mixture");
        assert_eq!(guessed("time x;noon 0", &[]), None);
        assert_eq!(guessed("clock x;1 0", &[]), None);
        assert_eq!(guessed("time x", &[0]), None, "it is something else");
    }

    #[test]
    fn numbered_columns_look_wide() {
        let wide = |text: &str| {
            let header = names(text);
            looks_wide(&header, &(0..header.len()).collect::<Vec<_>>())
        };
        let steps = (0..24).fold(String::new(), |names, i| format!("{names} h{i}"));
        assert!(wide(&steps) && wide(&format!("a b c {steps}")));
        assert!(!wide("x0 x1 x2 y0 y1 y2"), "few");
        assert!(!wide("773869 767541 767542 717447 717446 717445 773062 767620 737529 717816"));
        assert!(!wide("ax ay az"));
    }
}
