//! What is counted while a model runs, in constant memory and without locks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::answer::{Answer, Status};
use super::board::Board;

/// Parts of each power of two that a [`Histogram`] tells apart.
const PARTS: u64 = 32;

/// Powers of two above [`PARTS`]: up to 2^37 µs, a day and a half.
const POWERS: usize = 33;

/// How often each duration came, by microseconds, to 3 % of it.
#[derive(Debug)]
pub struct Histogram {
    counts: Box<[AtomicU64]>,
    longest: AtomicU64,
    sum: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        let counts = (0..PARTS as usize * POWERS).map(|_| AtomicU64::new(0)).collect();
        Self { counts, longest: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts a duration.
    pub fn add(&self, us: u64) {
        let last = self.counts.len() - 1;
        self.counts[place(us).min(last)].fetch_add(1, Ordering::Relaxed);
        self.longest.fetch_max(us, Ordering::Relaxed);
        self.sum.fetch_add(us, Ordering::Relaxed);
    }

    /// How often each came until now, to be subtracted from what comes later, and for [`quantile_of`](Self::quantile_of).
    pub fn counts(&self) -> Vec<u64> {
        self.counts.iter().map(get).collect()
    }

    /// The duration that this share of some counts does not exceed; nothing where there are none.
    pub fn quantile_of(counts: &[u64], share: f64) -> Option<u64> {
        let total: u64 = counts.iter().sum();
        let rank = ((share * total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let at = counts.iter().position(|n| {
            seen += n;
            seen >= rank
        })?;
        Some(most(at))
    }

    /// How many of some counts are no longer than each of these bounds, to 3 % of it.
    pub fn no_longer(counts: &[u64], bounds: &[u64]) -> Vec<u64> {
        let up_to = |&us: &u64| {
            // What is counted in the place of the bound itself is hardly longer.
            let end = place(us).min(counts.len() - 1);
            counts[..=end].iter().sum()
        };
        bounds.iter().map(up_to).collect()
    }

    /// All durations together, in microseconds.
    pub fn sum(&self) -> u64 {
        get(&self.sum)
    }

    /// The duration that this share of all does not exceed; nothing where there is none.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let found = Self::quantile_of(&self.counts(), share)?;
        Some(found.min(self.longest.load(Ordering::Relaxed)))
    }

    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().map(get).sum()
    }

    /// The longest; nothing where there is none.
    pub fn longest(&self) -> Option<u64> {
        self.quantile(1.0).map(|_| self.longest.load(Ordering::Relaxed))
    }
}

/// Where a duration is counted: below [`PARTS`] by itself, above by its power of two and the next five bits.
fn place(us: u64) -> usize {
    if us < PARTS {
        return us as usize;
    }
    let power = us.ilog2() - PARTS.ilog2();
    (u64::from(power + 1) * PARTS + (us >> power) - PARTS) as usize
}

/// The longest duration that is counted there.
fn most(place: usize) -> u64 {
    let (power, part) = (place as u64 / PARTS, place as u64 % PARTS);
    if power == 0 {
        return part;
    }
    ((PARTS + part + 1) << (power - 1)) - 1
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Counters {
    /// Rows that were taken.
    pub rows: AtomicU64,
    /// The same of each source.
    sources: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    /// Lines that were no row.
    pub bad_lines: AtomicU64,
    /// What was wrong with the first of them.
    pub first_bad: OnceLock<String>,
    /// Rows that the model's job does not read.
    pub not_wanted: AtomicU64,
    /// Rows whose times did not follow those before.
    pub time_faults: AtomicU64,
    /// Windows that were due.
    pub due: AtomicU64,
    /// Answers of each status.
    answers: [AtomicU64; Status::ALL.len()],
    /// From the arrival of the last row to the answer, of answers that a model gave.
    pub latency: Histogram,
    /// How long the model took.
    pub inference: Histogram,
    /// Windows that were dropped as nobody took answers away.
    pub lost_output: AtomicU64,
    /// Lines that were written.
    pub written: AtomicU64,
    /// Windows whose class was told afterwards.
    pub labels: AtomicU64,
    /// Labels of no window that is known.
    pub labels_lost: AtomicU64,
    /// Models that became live after the first.
    pub reloads: AtomicU64,
    /// Models that were refused.
    pub refused: AtomicU64,
    /// Models that were live, and taken back.
    pub rollbacks: AtomicU64,
    /// Answers of each class.
    predictions: Box<[AtomicU64]>,
    /// Answers whose probability is at most each of [`CONFIDENCES`], and above the one before.
    confidences: [AtomicU64; CONFIDENCES.len()],
    /// All probabilities together, in millionths.
    confidence_sum: AtomicU64,
    /// What stands now.
    pub board: Board,
}

/// Bounds between which probabilities of answers are counted.
pub const CONFIDENCES: [f32; 11] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 1.0];

impl Counters {
    /// For a model of so many classes.
    pub fn of_classes(n: usize) -> Self {
        Self { predictions: (0..n).map(|_| AtomicU64::new(0)).collect(), ..Self::default() }
    }

    /// Counts an answer.
    pub fn answered(&self, answer: &Answer) {
        add(&self.answers[answer.status as usize], 1);
        if let Some(infer_us) = answer.infer_us {
            self.latency.add(answer.age_us);
            self.inference.add(infer_us);
        }
        if let Some((class, p)) = answer.class {
            if let Some(n) = self.predictions.get(class as usize) {
                add(n, 1);
            }
            let at = CONFIDENCES.iter().position(|&most| p <= most);
            add(&self.confidences[at.unwrap_or(CONFIDENCES.len() - 1)], 1);
            add(&self.confidence_sum, (f64::from(p) * 1e6).round() as u64);
        }
        self.board.answer(answer);
    }

    /// Rows that were taken of a source, to be counted.
    pub fn rows_of(&self, source: &str) -> Arc<AtomicU64> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sources.entry(source.to_owned()).or_default())
    }

    /// Rows that were taken of each source.
    pub fn sources(&self) -> Vec<(String, u64)> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.iter().map(|(source, rows)| (source.clone(), get(rows))).collect()
    }

    /// Answers of each class.
    pub fn predictions(&self) -> Vec<u64> {
        self.predictions.iter().map(get).collect()
    }

    /// Answers whose probability is at most each of [`CONFIDENCES`] and above the one before, and the sum of all.
    pub fn confidences(&self) -> (Vec<u64>, f64) {
        (self.confidences.iter().map(get).collect(), get(&self.confidence_sum) as f64 / 1e6)
    }

    /// Counts a window that was dropped as nobody took answers away; gives how many.
    pub fn lost(&self) -> u64 {
        add(&self.answers[Status::Dropped as usize], 1);
        1 + self.lost_output.fetch_add(1, Ordering::Relaxed)
    }

    /// Answers of a status.
    pub fn answers(&self, status: Status) -> u64 {
        get(&self.answers[status as usize])
    }
}

/// Counts.
pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// What was counted.
pub(super) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_has_a_place_within_three_percent() {
        let mut before = 0;
        for us in (0..100_000).chain((17..37).map(|power| (1 << power) + 12_345)) {
            let at = place(us);
            assert!(at >= before && most(at) >= us, "{us}");
            assert!(most(at) as f64 <= us as f64 * (1.0 + 1.0 / PARTS as f64), "{us}");
            before = at;
        }
        assert!(place(1 << 36) < PARTS as usize * POWERS);
    }

    #[test]
    fn quantiles_are_those_of_the_durations() {
        let histogram = Histogram::default();
        assert_eq!((histogram.quantile(0.5), histogram.longest()), (None, None));
        (1..=1000).for_each(|us| histogram.add(us));
        histogram.add(u64::MAX);
        let near = |share, us: f64| {
            let found = histogram.quantile(share).expect("some") as f64;
            assert!((found / us - 1.0).abs() < 0.04, "{found} for {us}");
        };
        near(0.5, 500.0);
        near(0.99, 990.0);
        assert_eq!(histogram.longest(), Some(u64::MAX));
        assert_eq!(histogram.quantile(0.0), Some(1));
    }
}
