//! What says of each row of a table what it is for.

use super::split::Split;
use super::split_by::{Moment, ShareOf, SplitBy};

/// What says it.
#[derive(Debug, Clone, Copy)]
pub(super) enum RowSplit<'a> {
    /// It is the same for all.
    All(Split),
    /// A column.
    Cell(usize),
    /// Chance, series by series.
    Series(Chance),
    /// Where it is in its series, of which this share is for the test.
    Last(f64),
    /// Its time.
    Time(&'a Moment),
}

/// Chance that does not depend on what else there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chance {
    fraction: f64,
    seed: u64,
}

impl<'a> RowSplit<'a> {
    /// By the configuration, the split column if there is one, else as all the file.
    pub(super) fn of(by: Option<&'a SplitBy>, column: Option<usize>, of_whole: Split) -> Self {
        match (by, column) {
            (Some(SplitBy::Fraction { fraction, by: ShareOf::Series, seed }), _) => {
                Self::Series(Chance { fraction: *fraction, seed: *seed })
            }
            (Some(SplitBy::Fraction { fraction, by: ShareOf::Rows, .. }), _) => {
                Self::Last(*fraction)
            }
            (Some(SplitBy::After(moment)), _) => Self::Time(moment),
            (_, Some(column)) => Self::Cell(column),
            (_, None) => Self::All(of_whole),
        }
    }
}

impl Chance {
    /// What a series of a file (by its stem) and a node is for: the same whatever else is in the data.
    pub(super) fn split(self, stem: &str, node: Option<&str>, series: &str) -> Split {
        // FNV-1a, whose last bits decide too little of the first: so they are mixed once more.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        self.seed.to_le_bytes().into_iter().for_each(&mut add);
        for text in [stem, node.unwrap_or_default(), series] {
            text.len().to_le_bytes().into_iter().chain(text.bytes()).for_each(&mut add);
        }
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
        let part = (hash >> 11) as f64 / (1_u64 << 53) as f64;
        if part < self.fraction { Split::Test } else { Split::Train }
    }
}

/// How many of the rows of a series are to train on, if this share of them is for the test.
pub(super) fn n_before(fraction: f64, n_rows: usize) -> usize {
    n_rows - ((fraction * n_rows as f64).round() as usize).min(n_rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_takes_its_share_and_another_with_another_seed() {
        let tests = |seed: u64| -> Vec<bool> {
            let chance = Chance { fraction: 0.2, seed };
            let split = |i: usize| chance.split("x", None, &i.to_string()) == Split::Test;
            (0..10_000).map(split).collect()
        };
        let (a, b) = (tests(0), tests(1));
        for tests in [&a, &b] {
            let share = tests.iter().filter(|&&test| test).count();
            // Within five standard deviations.
            assert!((1800..2200).contains(&share), "{share}");
        }
        let both = a.iter().zip(&b).filter(|&(&a, &b)| a && b).count();
        assert!((300..500).contains(&both), "independent: {both}");
        let chance = Chance { fraction: 0.5, seed: 0 };
        let of = |stem: &str, node| {
            (0..64).map(|i| chance.split(stem, node, &i.to_string())).collect::<Vec<_>>()
        };
        assert_ne!(of("a", None), of("b", None));
        assert_ne!(of("a", None), of("a", Some("n")));
    }

    #[test]
    fn the_last_rows_are_a_rounded_share() {
        let n = |fraction, n_rows| n_before(fraction, n_rows);
        assert_eq!([n(0.2, 10), n(0.25, 10), n(0.2, 2), n(0.5, 1), n(0.9, 0)], [8, 7, 2, 0, 0]);
    }
}
