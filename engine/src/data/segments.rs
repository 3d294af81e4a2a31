//! Runs kept whole: the segments of a data set.

use super::dataset::Segment;
use super::labels::{LabelRun, Labels};
use super::reading::Clock;
use super::runs::{Rows, Run, Runs};
use super::split::Split;

/// Keeps every run as a segment.
#[derive(Debug, Default)]
pub(super) struct Segments {
    whole: Vec<Segment>,
    open: Vec<Option<Open>>,
    n_open: usize,
}

#[derive(Debug)]
struct Open {
    segment: Segment,
    n_channels: usize,
    labels: LabelRun,
    /// The row from which on it is for the test, and its place.
    cut: Option<(usize, usize)>,
}

impl Segments {
    /// All of them, in the order in which they were ended.
    pub(super) fn finish(self) -> Vec<Segment> {
        self.whole
    }
}

impl Runs for Segments {
    fn begin(&mut self, run: &Run<'_>) -> usize {
        let segment = Segment {
            source: run.source.to_owned(),
            node: run.node.map(str::to_owned),
            series: run.series.to_owned(),
            split: run.split,
            first_line: run.first_line,
            values: Vec::new(),
            times: None,
            in_seconds: run.clock != Clock::Numbers,
            rate_hz: run.rate_hz,
            labels: run.label.map_or(Labels::None, Labels::One),
        };
        self.open.push(Some(Open {
            segment,
            n_channels: 0,
            labels: LabelRun::default(),
            cut: None,
        }));
        self.n_open += 1;
        self.open.len() - 1
    }

    fn rows(&mut self, run: usize, rows: &Rows<'_>) {
        let Some(Open { segment, n_channels, labels, .. }) = &mut self.open[run] else { return };
        *n_channels = rows.n_channels;
        segment.values.extend_from_slice(rows.values);
        if let Some(times) = rows.times {
            segment.times.get_or_insert_default().extend_from_slice(times);
        }
        rows.labels.unwrap_or_default().iter().for_each(|label| labels.push(*label));
    }

    fn cut(&mut self, run: usize, row: usize, place: usize) {
        if let Some(open) = &mut self.open[run] {
            open.cut = Some((row, place));
        }
    }

    fn end(&mut self, runs: &[usize]) {
        for &run in runs {
            let Some(open) = self.open[run].take() else { continue };
            let Open { mut segment, n_channels, labels, cut } = open;
            self.n_open -= 1;
            segment.values.shrink_to_fit();
            if let Some(times) = &mut segment.times {
                times.shrink_to_fit();
            }
            if segment.labels == Labels::None {
                segment.labels = labels.finish();
            }
            match cut {
                Some(cut) => self.whole.extend(halves(segment, n_channels, cut)),
                None => self.whole.push(segment),
            }
        }
        if self.n_open == 0 {
            self.open.clear();
        }
    }
}

/// The rows of a segment to train on, and from a row on those for the test; a part without rows is left
/// out.
fn halves(
    mut train: Segment,
    n_channels: usize,
    (row, place): (usize, usize),
) -> impl Iterator<Item = Segment> {
    let values = train.values.split_off(row * n_channels);
    let labels = match &mut train.labels {
        Labels::PerRow(rows) => {
            let rest = rows.split_off(row);
            let part = |rows: &[Option<u32>]| {
                let mut run = LabelRun::default();
                for label in rows {
                    run.push(*label);
                }
                run.finish()
            };
            let first = part(rows);
            train.labels = first;
            part(&rest)
        }
        all => all.clone(),
    };
    train.split = Split::Train;
    let test = Segment {
        source: train.source.clone(),
        node: train.node.clone(),
        series: train.series.clone(),
        split: Split::Test,
        first_line: place,
        values,
        times: train.times.as_mut().map(|times| times.split_off(row)),
        labels,
        in_seconds: train.in_seconds,
        rate_hz: train.rate_hz,
    };
    [train, test].into_iter().filter(|half| !half.values.is_empty())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::reading::Layout;
    use super::*;

    #[test]
    fn runs_that_are_filled_by_turns_come_in_the_order_that_is_given() {
        let mut all = Segments::default();
        let run = |series| Run {
            source: Path::new("x.csv"),
            layout: Layout::Long,
            node: None,
            series,
            split: Split::Train,
            first_line: 2,
            label: None,
            rate_hz: None,
            clock: Clock::Numbers,
        };
        let (a, b) = (all.begin(&run("a")), all.begin(&run("b")));
        for (run, value) in [(a, 1.0), (b, 10.0), (a, 2.0)] {
            let (values, times, labels) = ([value], [value], [Some(value as u32)]);
            let (times, labels) = (Some(&times[..]), Some(&labels[..]));
            all.rows(run, &Rows { values: &values, n_channels: 1, times, labels });
        }
        all.end(&[b, a]);
        assert_eq!(all.begin(&run("c")), 0, "numbers are given again");
        all.end(&[0]);
        let found = all.finish();
        assert_eq!(found.iter().map(|s| &s.series[..]).collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(
            (&found[1].values[..], found[1].times.as_deref()),
            (&[1., 2.][..], Some(&[1., 2.][..]))
        );
        assert_eq!(found[1].labels, Labels::PerRow(vec![Some(1), Some(2)]));
        assert_eq!(
            (found[0].labels.clone(), found[2].labels.clone()),
            (Labels::One(10), Labels::None)
        );
    }
}
