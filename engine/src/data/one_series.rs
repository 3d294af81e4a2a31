//! One series of a long table, whose rows may lie between those of others.

use super::split::Split;

/// A series of a long table while its rows arrive.
pub(super) struct OneSeries {
    /// What its columns say.
    pub(super) id: Vec<u8>,
    /// What the node column says.
    pub(super) node: Option<String>,
    /// What it is called; nothing without a series column.
    pub(super) name: Option<String>,
    /// The time of its last row.
    pub(super) last_time: f64,
    /// Its runs; rows are added to the last one.
    pub(super) runs: Vec<(Split, usize)>,
    /// What all its rows are for, where chance says it.
    pub(super) by_chance: Split,
    /// How many rows it has, where that says what they are for, and the places of those that do not follow
    /// the row before.
    pub(super) n_rows: usize,
    places: Vec<(usize, usize)>,
}

impl OneSeries {
    /// Without rows.
    pub(super) fn new(
        id: &[u8],
        node: Option<String>,
        name: Option<String>,
        by_chance: Split,
    ) -> Self {
        Self {
            id: id.to_vec(),
            node,
            name,
            last_time: f64::NEG_INFINITY,
            runs: Vec::new(),
            by_chance,
            n_rows: 0,
            places: Vec::new(),
        }
    }

    /// Counts a row at a place.
    pub(super) fn count(&mut self, place: usize) {
        let follows = self.places.last().is_some_and(|&(row, at)| at + self.n_rows - row == place);
        if !follows {
            self.places.push((self.n_rows, place));
        }
        self.n_rows += 1;
    }

    /// The place of a row that was counted.
    pub(super) fn place(&self, row: usize) -> usize {
        let after = self.places.partition_point(|&(first, _)| first <= row);
        self.places[..after].last().map_or(0, |&(first, place)| place + row - first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_rows_are_found_again() {
        let mut series = OneSeries::new(b"a", None, None, Split::Unmarked);
        let places = [2, 3, 4, 7, 9, 10, 11, 20];
        for place in places {
            series.count(place);
        }
        let found: Vec<usize> = (0..places.len()).map(|row| series.place(row)).collect();
        assert_eq!(found, places);
        assert_eq!(series.places.len(), 4, "only where they do not follow");
        assert_eq!(series.place(8), 21);
    }
}
