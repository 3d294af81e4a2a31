//! Sensors of different rates on one clock.

use crate::clock::{Clock, check_rate};
use crate::error::check_option;
use crate::{Between, Error, Rows, RowsRef};

/// How a source is read at times between its rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlignSource {
    /// Values in a row of it.
    pub channels: usize,
    /// With [`Between::Hold`] the last row that is not after the time; with [`Between::Linear`] on the line
    /// to the row after it.
    pub method: Between,
    /// How far in time a row that counts may lie from the time that is asked for, in seconds; values are
    /// missing where it is further. Any distance where it is not given.
    pub max_age_s: Option<f64>,
}

/// The times of rows that come out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AlignClock {
    /// Those of the first source's rows.
    First,
    /// So many a second, from the first source's first row to its last.
    Rate(f64),
}

/// Puts the rows of several sources onto one clock: the channels of all, source by source, at each
/// time.
///
/// Times are seconds on a clock that all sources share, and never decrease. Before a source's first
/// row its values are missing, and on a line also after its last. Of rows with one time the last counts. A
/// row later than the time asked for never counts with [`Between::Hold`]; with [`AlignClock::Rate`] times
/// that differ by less than a millionth of a step are one. Where the first source jumps ahead by more steps
/// than `grid` fills, the clock begins anew behind the jump; it gives no rows at times so large that their
/// digits do not hold a step.
///
/// # Errors
/// If there is no source, or a rate or age is out of range.
///
/// # Panics
/// If rows have other channels than their source.
///
/// ```
/// use preprocess::{AlignClock, AlignSource, Between, Rows, align};
///
/// let motion = Rows::from_parts(1, vec![0.0, 1.0, 2.0, 3.0], vec![1.0, 2.0, 3.0, 4.0]);
/// let heart = Rows::from_parts(1, vec![0.5, 1.0], vec![70.0, 72.0]);
/// let plain = AlignSource { channels: 1, method: Between::Hold, max_age_s: None };
/// let fresh = AlignSource { max_age_s: Some(1.5), ..plain };
/// let rows = align(&[(plain, motion.view()), (fresh, heart.view())], AlignClock::First)?;
/// assert_eq!(rows.values()[2..6], [2.0, 72.0, 3.0, 72.0]);
/// assert!(rows.values()[1].is_nan() && rows.values()[7].is_nan());
/// # Ok::<(), preprocess::Error>(())
/// ```
pub fn align(sources: &[(AlignSource, RowsRef<'_>)], clock: AlignClock) -> Result<Rows, Error> {
    let specs: Vec<AlignSource> = sources.iter().map(|(spec, _)| *spec).collect();
    let mut aligner = Aligner::new(&specs, clock)?;
    let mut out = Rows::new(aligner.out_channels());
    for (source, (_, rows)) in sources.iter().enumerate() {
        aligner.push(source, *rows, &mut out);
        aligner.end(source, &mut out);
    }
    Ok(out)
}

/// [`align`] over rows that arrive: in any pieces and any order between the sources, the same rows come
/// out, bit for bit.
///
/// A row comes out when every source has got one later than its time. Where a sensor may fall silent,
/// [`release`](Self::release) ends the wait; what has been released makes no difference to later rows, which
/// are read as if they had come in time.
#[derive(Debug, Clone)]
pub struct Aligner {
    sources: Vec<Source>,
    clock: Option<Clock>,
    has_begun: bool,
    released: f64,
    row: Vec<f64>,
}

#[derive(Debug, Clone)]
struct Source {
    spec: AlignSource,
    /// Rows from the last that is not after the time asked for.
    rows: Rows,
    /// How many of them are not after it.
    passed: usize,
    has_ended: bool,
}

impl Aligner {
    /// At the start of all sources.
    ///
    /// # Errors
    /// As [`align`].
    pub fn new(sources: &[AlignSource], clock: AlignClock) -> Result<Self, Error> {
        const OWNER: &str = "align";
        let n = sources.len();
        check_option(OWNER, "the number of sources", n as f64, n > 0, "at least 1")?;
        for source in sources {
            let age = source.max_age_s.unwrap_or(0.0);
            let is_good = age.is_finite() && age >= 0.0;
            check_option(OWNER, "max_age_s", age, is_good, "a number of seconds from 0")?;
        }
        let clock = match clock {
            AlignClock::First => None,
            AlignClock::Rate(rate_hz) => {
                check_rate(OWNER, rate_hz)?;
                Some(Clock::new(rate_hz))
            }
        };
        let source = |spec: &AlignSource| Source {
            spec: *spec,
            rows: Rows::new(spec.channels),
            passed: 0,
            has_ended: false,
        };
        Ok(Self {
            sources: sources.iter().map(source).collect(),
            clock,
            has_begun: false,
            released: f64::NEG_INFINITY,
            row: Vec::new(),
        })
    }

    /// Values in a row that comes out.
    pub fn out_channels(&self) -> usize {
        self.sources.iter().map(|source| source.spec.channels).sum()
    }

    /// Takes the next rows of a source, and adds those to `out` that are ready.
    ///
    /// # Panics
    /// If there is no such source, or it has other channels.
    pub fn push(&mut self, source: usize, rows: RowsRef<'_>, out: &mut Rows) {
        self.sources[source].rows.extend(rows);
        self.emit(out);
    }

    /// A source has no more rows.
    ///
    /// # Panics
    /// If there is no such source.
    pub fn end(&mut self, source: usize, out: &mut Rows) {
        self.sources[source].has_ended = true;
        self.emit(out);
    }

    /// Waits no longer for rows up to a time: what is due until then comes out with what there is.
    pub fn release(&mut self, time: f64, out: &mut Rows) {
        self.released = self.released.max(time);
        self.emit(out);
    }

    /// The time of the next row, where it is known.
    fn next_time(&mut self) -> Option<f64> {
        let first = &mut self.sources[0];
        let Some(clock) = &mut self.clock else {
            return first.rows.times().get(first.passed).copied();
        };
        if !self.has_begun {
            clock.start(*first.rows.times().first()?);
            self.has_begun = true;
        }
        let newly = first.pass(clock.time(), clock.slack(clock.time()));
        (0..newly).for_each(|_| clock.count_row());
        let (before, after) = first.around();
        let is_over = before.is_none_or(|before| !clock.has_come(before));
        match after {
            Some(after) if is_over && clock.is_too_far(after) => clock.start(after),
            None if is_over && first.has_ended => return None,
            None if is_over && clock.is_too_far(self.released) => clock.start(self.released),
            _ => {}
        }
        clock.is_fine().then(|| clock.time())
    }

    fn emit(&mut self, out: &mut Rows) {
        while let Some(time) = self.next_time() {
            let slack = self.clock.as_ref().map_or(0.0, |clock| clock.slack(time));
            let n_clocks = usize::from(self.clock.is_none());
            let waits = |source: &Source| {
                let last = source.rows.times().last();
                !source.has_ended && last.is_none_or(|&last| last <= time + slack)
            };
            if time > self.released && self.sources[n_clocks..].iter().any(waits) {
                break;
            }
            self.row.clear();
            for (i, source) in self.sources.iter_mut().enumerate() {
                if i < n_clocks {
                    source.passed += 1;
                    self.row.extend_from_slice(source.rows.view().row(source.passed - 1));
                } else {
                    source.pass(time, slack);
                    source.read(time, slack, &mut self.row);
                }
                source.forget();
            }
            out.push(time, &self.row);
            if let Some(clock) = &mut self.clock {
                clock.advance();
            }
        }
    }
}

impl Source {
    /// Goes on to the last row that is not after `time`, and says by how many.
    fn pass(&mut self, time: f64, slack: f64) -> usize {
        let later = &self.rows.times()[self.passed..];
        let newly = later.iter().take_while(|&&row| row <= time + slack).count();
        self.passed += newly;
        newly
    }

    /// The times of the last row that is not after the time asked for, and of the next one.
    fn around(&self) -> (Option<f64>, Option<f64>) {
        let times = self.rows.times();
        let before = self.passed.checked_sub(1).map(|at| times[at]);
        (before, times.get(self.passed).copied())
    }

    /// Adds the values at a time that the source has gone on to.
    fn read(&self, time: f64, slack: f64, row: &mut Vec<f64>) {
        let rows = self.rows.view();
        let is_fresh =
            |distance: f64| self.spec.max_age_s.is_none_or(|most| distance <= most + slack);
        let (before, after) = self.around();
        let before = before.filter(|before| is_fresh(time - before));
        match (before, after.filter(|after| is_fresh(after - time))) {
            (Some(before), _) if self.spec.method == Between::Hold || before + slack >= time => {
                row.extend_from_slice(rows.row(self.passed - 1));
            }
            (Some(before), Some(after)) => {
                let share = (time - before) / (after - before);
                let pairs = rows.row(self.passed - 1).iter().zip(rows.row(self.passed));
                row.extend(pairs.map(|(a, b)| a + (b - a) * share));
            }
            _ => row.extend(std::iter::repeat_n(f64::NAN, self.spec.channels)),
        }
    }

    /// Lets go of rows that were passed, where they are the larger part.
    fn forget(&mut self) {
        let done = self.passed.saturating_sub(1);
        if done > self.rows.len() / 2 {
            self.rows.remove_first(done);
            self.passed -= done;
        }
    }
}
