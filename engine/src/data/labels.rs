//! Class labels: text in the files, indexes in the data set.

use std::collections::HashMap;

use super::number::is_missing;

/// The labels of a segment's rows, as indexes into `Dataset::classes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Labels {
    /// No row has a label.
    None,
    /// Every row has this label.
    One(u32),
    /// The labels differ from row to row, or some rows have none.
    PerRow(Vec<Option<u32>>),
}

impl Labels {
    /// The label of a row of the segment, counted from 0.
    ///
    /// # Panics
    /// If the labels are per row and the segment has no such row.
    pub fn at(&self, row: usize) -> Option<u32> {
        match self {
            Self::None => None,
            Self::One(class) => Some(*class),
            Self::PerRow(rows) => rows[row],
        }
    }

    /// Replaces every class `i` by `places[i]`.
    pub(super) fn renumber(&mut self, places: &[u32]) {
        match self {
            Self::None => {}
            Self::One(class) => *class = places[*class as usize],
            Self::PerRow(rows) => {
                for class in rows.iter_mut().flatten() {
                    *class = places[*class as usize];
                }
            }
        }
    }
}

/// Labels while rows arrive: one for all until a row differs.
#[derive(Debug, Default)]
pub(super) struct LabelRun {
    first: Option<u32>,
    n_rows: usize,
    rows: Vec<Option<u32>>,
}

impl LabelRun {
    pub(super) fn push(&mut self, label: Option<u32>) {
        if self.n_rows == 0 {
            self.first = label;
        } else if self.rows.is_empty() && label != self.first {
            self.rows = vec![self.first; self.n_rows];
        }
        self.n_rows += 1;
        if !self.rows.is_empty() {
            self.rows.push(label);
        }
    }

    pub(super) fn finish(mut self) -> Labels {
        match self.first {
            _ if !self.rows.is_empty() => {
                self.rows.shrink_to_fit();
                Labels::PerRow(self.rows)
            }
            Some(class) => Labels::One(class),
            None => Labels::None,
        }
    }
}

/// The class names and their indexes: collected from the files, or fixed by what a model expects.
pub(super) struct Classes {
    names: Vec<String>,
    index: HashMap<Vec<u8>, u32>,
    fixed: bool,
    /// Most names that are kept.
    most: usize,
    overflown: bool,
}

impl Classes {
    /// With `expected`, the classes and their order are given; without, they are what the files
    /// hold.
    pub(super) fn new(expected: Option<&[String]>) -> Self {
        let mut classes = Self {
            names: Vec::new(),
            index: HashMap::new(),
            fixed: false,
            most: usize::MAX,
            overflown: false,
        };
        for name in expected.unwrap_or_default() {
            classes.add(name);
        }
        classes.fixed = expected.is_some();
        classes
    }

    /// The same with at most so many names: labels that would be others count as none.
    pub(super) fn at_most(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// Whether there were more names than are kept.
    pub(super) fn overflown(&self) -> bool {
        self.overflown
    }

    /// Whether labels have no use here: the model expects no classes.
    pub(super) fn ignored(&self) -> bool {
        self.fixed && self.names.is_empty()
    }

    /// The class of a label cell; `None` for a cell without a label.
    ///
    /// # Errors
    /// A label that is not among the expected ones or is not UTF-8; the message leaves the place to
    /// the caller.
    pub(super) fn class_of(&mut self, cell: &[u8]) -> Result<Option<u32>, String> {
        let cell = cell.trim_ascii();
        // What quotes a label after a blank is no part of it; the reader takes those without one.
        let cell = match cell {
            [b'"', inner @ .., b'"'] => inner.trim_ascii(),
            _ => cell,
        };
        if self.ignored() {
            return Ok(None);
        }
        if let Some(class) = self.index.get(cell) {
            return Ok(Some(*class));
        }
        if is_missing(cell) {
            return Ok(None);
        }
        let Ok(name) = std::str::from_utf8(cell) else {
            return Err(format!("the label {} is not UTF-8 text", super::number::quoted(cell)));
        };
        if self.fixed {
            return Err(format!(
                "unknown label {}; the model knows {}; correct the label, leave the cell empty, \
                 or train a model that has this class",
                super::number::quoted(cell),
                super::table::listed(&self.names)
            ));
        }
        if self.names.len() >= self.most {
            self.overflown = true;
            return Ok(None);
        }
        Ok(Some(self.add(name)))
    }

    /// Makes a class known that a file declares, whether or not a row has it.
    pub(super) fn declare(&mut self, name: &str) {
        if !self.fixed && !self.index.contains_key(name.as_bytes()) {
            self.add(name);
        }
    }

    fn add(&mut self, name: &str) -> u32 {
        let class = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.index.insert(name.as_bytes().to_vec(), class);
        class
    }

    /// The final class names, and for every index given out so far its place among them. Collected
    /// classes are sorted: as numbers if all are numbers, else as text. Fixed ones stay as they
    /// are.
    pub(super) fn finish(self) -> (Vec<String>, Vec<u32>) {
        let mut order: Vec<u32> = (0..self.names.len() as u32).collect();
        if !self.fixed {
            let name = |class: u32| &self.names[class as usize];
            let numbers: Option<Vec<f64>> = self
                .names
                .iter()
                .map(|name| name.parse().ok().filter(|number: &f64| number.is_finite()))
                .collect();
            order.sort_by(|&a, &b| {
                let by_text = name(a).cmp(name(b));
                match &numbers {
                    Some(numbers) => {
                        numbers[a as usize].total_cmp(&numbers[b as usize]).then(by_text)
                    }
                    None => by_text,
                }
            });
        }
        let mut places = vec![0; order.len()];
        for (place, &class) in order.iter().enumerate() {
            places[class as usize] = place as u32;
        }
        (order.iter().map(|&class| self.names[class as usize].clone()).collect(), places)
    }
}

/// Names of classes in the order that a data set with these gives them.
pub fn sorted_classes<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let mut classes = Classes::new(None);
    for name in names {
        classes.declare(name);
    }
    classes.finish().0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(labels: &[Option<u32>]) -> Labels {
        let mut run = LabelRun::default();
        for label in labels {
            run.push(*label);
        }
        run.finish()
    }

    fn sorted(labels: &[&str]) -> Vec<String> {
        let mut classes = Classes::new(None);
        for label in labels {
            classes.class_of(label.as_bytes()).unwrap();
        }
        classes.finish().0
    }

    #[test]
    fn constant_labels_collapse() {
        assert_eq!(run(&[]), Labels::None);
        assert_eq!(run(&[None, None]), Labels::None);
        assert_eq!(run(&[Some(3), Some(3)]), Labels::One(3));
        assert_eq!(run(&[Some(3), None]), Labels::PerRow(vec![Some(3), None]));
        assert_eq!(run(&[None, Some(0), None]), Labels::PerRow(vec![None, Some(0), None]));
    }

    #[test]
    fn numbers_sort_as_numbers_and_the_rest_as_text() {
        assert_eq!(sorted(&["10", "9", "-1", "1.5"]), ["-1", "1.5", "9", "10"]);
        assert_eq!(sorted(&["10", "9", "x"]), ["10", "9", "x"]);
        assert_eq!(sorted(&["inf", "2"]), ["2", "inf"]);
        assert_eq!(sorted(&["b", " a ", "b", "", "?"]), ["a", "b"]);
        assert_eq!(sorted(&["b", "NA", "NaN", "null", " \"a\"", "\" a\""]), ["a", "b"]);
    }

    #[test]
    fn places_follow_the_sort() {
        let mut classes = Classes::new(None);
        let given: Vec<_> = ["c", "a", "b"]
            .iter()
            .map(|l| classes.class_of(l.as_bytes()).unwrap().unwrap())
            .collect();
        let (names, places) = classes.finish();
        let mut labels = Labels::PerRow(given.iter().map(|class| Some(*class)).collect());
        labels.renumber(&places);
        assert_eq!(
            (names.join(""), labels),
            ("abc".to_owned(), Labels::PerRow(vec![Some(2), Some(0), Some(1)]))
        );
    }

    #[test]
    fn a_declared_class_counts_without_a_row() {
        let mut classes = Classes::new(None);
        classes.declare("2");
        classes.declare("1");
        assert_eq!(classes.class_of(b"2"), Ok(Some(0)));
        assert_eq!(classes.finish().0, ["1", "2"]);
    }

    #[test]
    fn names_beyond_the_most_are_no_classes() {
        let mut classes = Classes::new(None).at_most(2);
        let found: Vec<_> =
            [&b"a"[..], b"b", b"c", b"a"].map(|l| classes.class_of(l).unwrap()).into();
        assert_eq!(found, [Some(0), Some(1), None, Some(0)]);
        assert!(classes.overflown() && !Classes::new(None).overflown());
    }

    #[test]
    fn expected_classes_keep_their_order_and_admit_no_other() {
        let expected = ["walk".to_owned(), "run".to_owned()];
        let mut classes = Classes::new(Some(&expected));
        classes.declare("swim");
        assert_eq!(classes.class_of(b"run"), Ok(Some(1)));
        let error = classes.class_of(b"fly").unwrap_err();
        assert!(error.contains("unknown label \"fly\"") && error.contains("walk, run"), "{error}");
        assert_eq!(classes.finish(), (expected.to_vec(), vec![0, 1]));
    }

    #[test]
    fn a_model_without_classes_reads_no_labels() {
        let mut classes = Classes::new(Some(&[]));
        assert!(classes.ignored());
        assert_eq!(classes.class_of(b"anything"), Ok(None));
    }

    #[test]
    fn a_label_that_is_not_text_is_an_error() {
        assert!(Classes::new(None).class_of(b"\xff\xfe").unwrap_err().contains("not UTF-8"));
    }

    fn any_labels() -> impl Strategy<Value = Vec<Option<u32>>> {
        prop::collection::vec(prop::option::of(0..3_u32), 0..20)
    }

    proptest! {
        #[test]
        fn a_run_gives_back_what_was_pushed(labels in any_labels()) {
            let run = run(&labels);
            for (row, label) in labels.iter().enumerate() {
                prop_assert_eq!(run.at(row), *label);
            }
            let differ = labels.windows(2).any(|pair| pair[0] != pair[1]);
            prop_assert_eq!(matches!(run, Labels::PerRow(_)), differ);
        }
    }
}
