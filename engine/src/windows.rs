//! Windows: what the model sees, cut from scaled segments.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, ensure};
use preprocess::{Pipeline, Tail, Windowing, augment};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::data::{Dataset, Labels, Scaled};
use crate::job::{AugmentConfig, WindowConfig, WindowLabel};

/// One window: rows `start..start + len` of a segment, as the row steps leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Index into the data set's segments.
    pub segment: usize,
    /// First row inside the segment.
    pub start: usize,
    /// Number of rows.
    pub len: usize,
    /// Its class, where it has one.
    pub label: Option<u32>,
    /// The first row of the segment that it may reach when it is moved at random.
    pub first: usize,
    /// The row of the segment before which it must end, also when it is moved at random.
    pub end: usize,
}

/// Scaled segments and the windows cut from them.
#[derive(Debug, Clone)]
pub struct WindowSet<'a> {
    dataset: &'a Dataset,
    pipeline: &'a Pipeline,
    /// Each segment that has windows, after the row steps; parts of a set share them.
    scaled: Arc<Vec<Option<Scaled>>>,
    windows: Vec<Window>,
    /// Which row's label a window takes.
    rule: WindowLabel,
}

/// Windows of one batch as the model takes them; reused from batch to batch.
#[derive(Debug, Default)]
pub struct WindowBuffer {
    /// `[Σ lengths, channels]`
    pub values: Vec<f32>,
    /// Rows of each window.
    pub lengths: Vec<usize>,
    /// Class of each window; only those that have one can be in a training batch.
    pub targets: Vec<u32>,
    /// One window before it is rounded.
    window: Vec<f64>,
}

/// How windows are cut for one purpose.
#[derive(Debug, Clone, Copy)]
pub struct Cut<'a> {
    /// The job's section.
    pub window: &'a WindowConfig,
    /// Most rows the model takes.
    pub seq_len: usize,
    /// Whether these rows are trained on: then the training stride counts.
    pub train: bool,
}

impl<'a> WindowSet<'a> {
    /// Scales the chosen segments and cuts them into windows.
    ///
    /// # Errors
    /// If no segment is long enough for a window, a whole-series window is longer than the model
    /// takes, or a value is still missing after preprocessing.
    pub fn new(
        dataset: &'a Dataset,
        pipeline: &'a Pipeline,
        segments: &[usize],
        cut: Cut<'_>,
    ) -> anyhow::Result<Self> {
        let mut set = Self {
            dataset,
            pipeline,
            scaled: Arc::default(),
            windows: Vec::new(),
            rule: cut.window.label,
        };
        let channels = pipeline.output().channels();
        let mut all_scaled = vec![None; dataset.segments.len()];
        let mut longest = (0, 0);
        for &index in segments {
            let segment = &dataset.segments[index];
            let scaled = Scaled::of(segment, dataset, pipeline)?;
            let n_rows = scaled.values.len() / channels;
            longest = longest.max((n_rows, usize::MAX - index));
            set.cut_segment((index, &scaled.labels), n_rows, cut)
                .with_context(|| segment.place())?;
            if set.windows.last().is_some_and(|w| w.segment == index) {
                check_present(&scaled.values, &pipeline.output().names)
                    .with_context(|| segment.place())?;
                all_scaled[index] = Some(scaled);
            }
        }
        set.scaled = Arc::new(all_scaled);
        if set.windows.is_empty() && !segments.is_empty() {
            let (n_rows, index) = (longest.0, usize::MAX - longest.1);
            let segment = &dataset.segments[index];
            anyhow::bail!(
                "{}: a window of {} steps is longer than every series (the longest, {}, has {n_rows} rows{}); make [window] len smaller or bring longer series",
                segment.source.display(),
                cut.window.len.unwrap_or(cut.seq_len),
                segment.series,
                if pipeline.keeps_rows() { "" } else { " after preprocessing" },
            );
        }
        Ok(set)
    }

    fn cut_segment(
        &mut self,
        (index, labels): (usize, &Labels),
        n_rows: usize,
        cut: Cut<'_>,
    ) -> anyhow::Result<()> {
        let mut push = |start: usize, len: usize| {
            let label = label_of(cut.window.label, start, len, |row| labels.at(row));
            self.windows.push(Window { segment: index, start, len, label, first: 0, end: n_rows });
        };
        match cut.window.len {
            None => {
                ensure!(
                    n_rows <= cut.seq_len,
                    "{n_rows} rows, but the model takes at most {}; train with a larger [window] max_len",
                    cut.seq_len
                );
                // Of a series that is shorter than a step that thins its rows nothing may be left.
                if n_rows > 0 {
                    push(0, n_rows);
                }
            }
            Some(len) => {
                let stride = cut.window.stride.unwrap_or(len);
                let stride = cut.window.train_stride.filter(|_| cut.train).unwrap_or(stride);
                for range in Windowing::new(len, stride, Tail::Drop)?.starts(n_rows) {
                    push(range.start, range.len());
                }
            }
        }
        Ok(())
    }

    /// The rows of the window's segment that it stands for: its first, and how many.
    pub fn rows_of(&self, window: &Window) -> (usize, usize) {
        let (first, last) = (self.row_of(window, 0), self.row_of(window, window.len - 1));
        (first, last + 1 - first)
    }

    /// The row of the window's segment that one of its steps stands for.
    pub fn row_of(&self, window: &Window, step: usize) -> usize {
        let row = window.start + step;
        self.scaled[window.segment].as_ref().map_or(row, |scaled| scaled.origin(row))
    }

    /// The windows.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// The data the windows were cut from.
    pub fn dataset(&self) -> &'a Dataset {
        self.dataset
    }

    /// The same data with only the windows that `keep` chooses.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&Window) -> bool) -> Self {
        let mut set = self.clone();
        set.windows.retain(keep);
        set
    }

    /// The windows of this set and of another of the same data, one after the other.
    #[must_use]
    pub fn joined(mut self, other: Self) -> Self {
        let all = Arc::make_mut(&mut self.scaled);
        for (own, other) in all.iter_mut().zip(other.scaled.iter()) {
            if own.is_none() {
                own.clone_from(other);
            }
        }
        self.windows.extend(other.windows);
        self
    }

    /// The same windows, none of which may be moved into the rows that `closed` gives for it.
    #[must_use]
    pub fn kept_out(mut self, closed: impl Fn(&Window) -> Range<usize>) -> Self {
        for window in &mut self.windows {
            let closed = closed(window);
            if closed.start >= window.start + window.len {
                window.end = window.end.min(closed.start);
            } else if closed.end <= window.start {
                window.first = window.first.max(closed.end);
            }
        }
        self
    }

    /// Hands over the scaled values as bytes, to recognise the same data again.
    pub fn hash_values(&self, mut update: impl FnMut(&[u8])) {
        for value in self.scaled.iter().flatten().flat_map(|scaled| &scaled.values) {
            update(&value.to_le_bytes());
        }
    }

    /// Leaves out windows without a class; returns how many.
    pub fn drop_unlabeled(&mut self) -> usize {
        let before = self.windows.len();
        self.windows.retain(|w| w.label.is_some());
        before - self.windows.len()
    }

    /// Windows of each class.
    pub fn class_counts(&self, n_classes: usize) -> Vec<usize> {
        let mut counts = vec![0; n_classes];
        for label in self.windows.iter().filter_map(|w| w.label) {
            counts[label as usize] += 1;
        }
        counts
    }

    /// Copies windows into a buffer, scaled for the model; with `augment` each is changed at
    /// random, the same way for the same seed.
    ///
    /// # Panics
    /// If an index is not below the number of windows.
    pub fn fill(
        &self,
        indices: impl IntoIterator<Item = usize>,
        augment: Option<(AugmentConfig, u64)>,
        buffer: &mut WindowBuffer,
    ) {
        let channels = self.pipeline.output().channels();
        buffer.values.clear();
        buffer.lengths.clear();
        buffer.targets.clear();
        let mut random = augment.map(|(config, seed)| (config, ChaCha8Rng::seed_from_u64(seed)));
        for index in indices {
            let window = self.windows[index];
            let scaled = self.scaled[window.segment].as_ref().expect("a segment with windows");
            let (mut start, mut label) = (window.start, window.label);
            if let Some((config, rng)) = &mut random {
                start = moved(&window, config.shift, rng);
                if start != window.start {
                    let moved = label_of(self.rule, start, window.len, |row| scaled.labels.at(row));
                    // A window of one class is not moved to where it has none.
                    if self.rule == WindowLabel::Pure && moved.is_none() {
                        start = window.start;
                    }
                    label = moved.or(label);
                }
            }
            buffer.window.clear();
            let rows = start * channels..(start + window.len) * channels;
            buffer.window.extend_from_slice(&scaled.values[rows]);
            self.pipeline.apply_window(&mut buffer.window);
            let from = buffer.values.len();
            buffer.values.extend(buffer.window.iter().map(|&v| rounded(v)));
            if let Some((config, rng)) = &mut random {
                disturb(&mut buffer.values[from..], channels, *config, rng);
            }
            buffer.lengths.push(window.len);
            buffer.targets.extend(label);
        }
    }
}

/// The value as the model takes it; what f32 cannot hold is its largest value.
pub(crate) fn rounded(value: f64) -> f32 {
    value.clamp(f32::MIN.into(), f32::MAX.into()) as f32
}

/// The most rows that one of these segments has after the row steps.
///
/// # Errors
/// If a value is infinite.
pub fn longest(
    dataset: &Dataset,
    pipeline: &Pipeline,
    segments: &[usize],
) -> anyhow::Result<usize> {
    Ok(row_counts(dataset, pipeline, segments)?.into_iter().max().unwrap_or(0))
}

/// How many rows each of these segments has after the row steps.
///
/// # Errors
/// If a value is infinite.
pub fn row_counts(
    dataset: &Dataset,
    pipeline: &Pipeline,
    segments: &[usize],
) -> anyhow::Result<Vec<usize>> {
    let n_rows = |&index: &usize| {
        let segment = &dataset.segments[index];
        if pipeline.keeps_rows() {
            return Ok(segment.n_rows(dataset.channels.len()));
        }
        let scaled = Scaled::of(segment, dataset, pipeline)?;
        Ok(scaled.values.len() / pipeline.output().channels())
    };
    segments.iter().map(n_rows).collect()
}

/// The start of a window moved by at most `shift` rows, within the rows that it may reach.
fn moved(window: &Window, shift: usize, rng: &mut impl Rng) -> usize {
    let Window { start, len, first, end, .. } = *window;
    if shift == 0 {
        return start;
    }
    let (low, high) = (start.saturating_sub(shift).max(first), (start + shift).min(end - len));
    rng.random_range(low..=high)
}

/// Time that runs unevenly, a stretch of the window, channels that fail; noise on every value and a
/// random factor for every channel.
pub(crate) fn disturb(
    values: &mut [f32],
    channels: usize,
    config: AugmentConfig,
    rng: &mut impl Rng,
) {
    let mut uniform = || rng.random::<f64>();
    if config.time_warp > 0.0 {
        augment::time_warp(values, channels, config.time_warp.into(), &mut uniform);
    }
    if config.crop > 0.0 {
        augment::crop_and_resize(values, channels, config.crop.into(), &mut uniform);
    }
    if config.channel_dropout > 0.0 {
        augment::drop_channels(values, channels, config.channel_dropout.into(), &mut uniform);
    }
    let mut normal = || -> f32 { StandardNormal.sample(rng) };
    if config.scale > 0.0 {
        for channel in 0..channels {
            let factor = 1.0 + config.scale * normal();
            for v in values.iter_mut().skip(channel).step_by(channels) {
                *v *= factor;
            }
        }
    }
    if config.jitter > 0.0 {
        for v in values {
            *v += config.jitter * normal();
        }
    }
}

/// Fails if a value is missing, or is infinite after steps.
fn check_present(values: &[f64], channels: &[String]) -> anyhow::Result<()> {
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        let (row, channel) = (at / channels.len(), &channels[at % channels.len()]);
        anyhow::bail!(
            "row {} of the series: a value of \"{channel}\" is missing; add step = \"impute\" with method = \"linear\" in front of the other [[preprocess]] steps",
            row + 1,
        );
    }
    Ok(())
}

/// The class of a window by its rows' labels.
fn label_of(
    rule: WindowLabel,
    start: usize,
    len: usize,
    at: impl Fn(usize) -> Option<u32>,
) -> Option<u32> {
    match rule {
        WindowLabel::Last => at(start + len - 1),
        WindowLabel::Middle => at(start + len / 2),
        WindowLabel::Pure => {
            let first = at(start);
            first.filter(|_| (start..start + len).all(|row| at(row) == first))
        }
        WindowLabel::Majority => {
            let mut counts = std::collections::BTreeMap::new();
            for label in (start..start + len).filter_map(&at) {
                *counts.entry(label).or_insert(0_usize) += 1;
            }
            let most = counts.values().copied().max()?;
            counts.into_iter().find(|(_, n)| *n == most).map(|(label, _)| label)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_of_a_window_follows_the_rule() {
        let labels = [Some(2), Some(2), Some(1), None, Some(1), Some(0)];
        let label = |rule, start, len| label_of(rule, start, len, |row| labels[row]);
        assert_eq!(label(WindowLabel::Last, 0, 6), Some(0));
        assert_eq!(label(WindowLabel::Middle, 0, 6), None);
        assert_eq!(label(WindowLabel::Majority, 0, 3), Some(2));
        assert_eq!(label(WindowLabel::Majority, 0, 6), Some(1), "of equals the first class");
        assert_eq!(label(WindowLabel::Majority, 3, 1), None);
        assert_eq!(label(WindowLabel::Pure, 0, 2), Some(2));
        assert_eq!(label(WindowLabel::Pure, 0, 3), None, "they differ");
        assert_eq!(label(WindowLabel::Pure, 2, 2), None, "one has none");
        assert_eq!(label(WindowLabel::Pure, 3, 1), None);
    }

    #[test]
    fn a_moved_window_stays_in_its_segment() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let window =
            |start, first, end| Window { segment: 0, start, len: 10, label: None, first, end };
        for _ in 0..1000 {
            assert!(moved(&window(0, 0, 12), 5, &mut rng) <= 2);
            assert_eq!(moved(&window(3, 0, 13), 0, &mut rng), 3);
            assert!((4..=9).contains(&moved(&window(7, 4, 19), 5, &mut rng)));
        }
    }
}
