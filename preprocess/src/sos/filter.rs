//! Sections at work on rows of channels, eight channels at a time.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched closure is compiled for the oldest processor"
)]

use super::{Section, Sos};
use crate::dispatch::vectorized;

/// Channels that run side by side.
const LANES: usize = 8;

/// Rows that are spread out for the lanes at a time.
const PIECE: usize = 64;

type Lanes = [f64; LANES];

/// A recursive filter over rows of channels as they come, without allocating.
///
/// Each channel starts as if its first present value had been there forever (the steady state times
/// that value, as `sosfilt(sos, x, zi=sosfilt_zi(sos)*x[0])`), so that nothing jumps at the start. A
/// missing value stays missing, and the filter goes on after it as if it had not been there.
#[derive(Debug, Clone)]
pub struct SosFilter {
    sections: Vec<Section>,
    steady: Vec<[f64; 2]>,
    channels: usize,
    /// The two numbers each section keeps: for each eight channels, for each section.
    memory: Vec<[Lanes; 2]>,
    /// Channels without a value so far.
    waiting: Vec<usize>,
}

impl SosFilter {
    /// A filter at the start of rows of so many channels.
    ///
    /// # Panics
    /// If there are no channels.
    pub fn new(sos: &Sos, channels: usize) -> Self {
        assert!(channels > 0, "a filter needs at least one channel");
        let groups = channels.div_ceil(LANES);
        Self {
            sections: sos.sections().to_vec(),
            steady: sos.steady_state(),
            channels,
            memory: vec![[[0.0; LANES]; 2]; groups * sos.sections().len()],
            waiting: (0..channels).collect(),
        }
    }

    /// Filters the next rows in place: `[n_rows, channels]`, in any pieces.
    ///
    /// # Panics
    /// If the values are no whole number of rows.
    pub fn run(&mut self, rows: &mut [f64]) {
        let channels = self.channels;
        assert!(
            rows.len().is_multiple_of(channels),
            "{} values are no rows of {channels} channels",
            rows.len()
        );
        let mut rest = rows;
        while !self.waiting.is_empty() {
            let starts = |row: &[f64]| self.waiting.iter().any(|&channel| !row[channel].is_nan());
            let Some(at) = rest.chunks_exact(channels).position(starts) else { break };
            let (before, after) = rest.split_at_mut(at * channels);
            self.advance(before);
            self.start(&after[..channels]);
            rest = after;
        }
        self.advance(rest);
    }

    /// Forgets all rows.
    pub fn reset(&mut self) {
        self.waiting.clear();
        self.waiting.extend(0..self.channels);
    }

    /// Channels that have waited for their first value and have it in this row start.
    fn start(&mut self, row: &[f64]) {
        let Self { steady, memory, waiting, .. } = self;
        waiting.retain(|&channel| {
            let first = row[channel];
            if first.is_nan() {
                return true;
            }
            let (group, lane) = (channel / LANES, channel % LANES);
            let memory = &mut memory[group * steady.len()..][..steady.len()];
            for (memory, steady) in memory.iter_mut().zip(&*steady) {
                memory[0][lane] = steady[0] * first;
                memory[1][lane] = steady[1] * first;
            }
            false
        });
    }

    fn advance(&mut self, rows: &mut [f64]) {
        let Self { sections, channels, memory, .. } = self;
        let (channels, sections) = (*channels, &sections[..]);
        vectorized(
            #[inline(always)]
            || {
                if channels == LANES {
                    for piece in rows.as_chunks_mut().0.chunks_mut(PIECE) {
                        all_sections(sections, memory, piece);
                    }
                    return;
                }
                let mut lanes = [[0.0; LANES]; PIECE];
                for piece in rows.chunks_mut(PIECE * channels) {
                    let groups = memory.chunks_exact_mut(sections.len()).enumerate();
                    for (group, memory) in groups {
                        let from = group * LANES;
                        let to = channels.min(from + LANES);
                        let n_rows = piece.len() / channels;
                        for (lanes, row) in lanes.iter_mut().zip(piece.chunks_exact(channels)) {
                            let values = lanes.iter_mut().zip(&row[from..to]);
                            values.for_each(|(lane, &value)| *lane = value);
                        }
                        all_sections(sections, memory, &mut lanes[..n_rows]);
                        for (lanes, row) in lanes.iter().zip(piece.chunks_exact_mut(channels)) {
                            let values = row[from..to].iter_mut().zip(lanes);
                            values.for_each(|(value, &lane)| *value = lane);
                        }
                    }
                }
            },
        );
    }
}

/// Largest number, of rows and of what is kept of those before them, whose sections are sure not to make a
/// NaN: they are stable, and far from the end of the range.
const TAME: f64 = 1e150;

/// All sections over a piece of rows of eight, several sections at a time, whose chains of operations
/// overlap.
#[inline(always)]
fn all_sections(sections: &[Section], memory: &mut [[Lanes; 2]], rows: &mut [Lanes]) {
    // Whether a value is missing is asked once for all, as most pieces have none.
    if are_tame(rows) && are_tame(memory.as_flattened()) {
        each_sections::<false>(sections, memory, rows);
    } else {
        each_sections::<true>(sections, memory, rows);
    }
}

#[inline(always)]
fn are_tame(rows: &[Lanes]) -> bool {
    let mut largest = [0.0_f64; LANES];
    let mut sums = [0.0_f64; LANES];
    for row in rows {
        for i in 0..LANES {
            let size = row[i].abs();
            largest[i] = if size > largest[i] { size } else { largest[i] };
            // A NaN stays in the sum.
            sums[i] += size;
        }
    }
    let is_tame = |(&max, sum): (&f64, &f64)| u8::from(max < TAME) & u8::from(!sum.is_nan());
    largest.iter().zip(&sums).fold(1, |all, lane| all & is_tame(lane)) == 1
}

#[inline(always)]
fn each_sections<const GAPS: bool>(
    sections: &[Section],
    memory: &mut [[Lanes; 2]],
    rows: &mut [Lanes],
) {
    let (fours, rest) = sections.as_chunks::<4>();
    let (four_memory, rest_memory) = memory.as_chunks_mut::<4>();
    for (sections, memory) in fours.iter().zip(four_memory) {
        some_sections::<4, GAPS>(sections, memory, rows);
    }
    let (pairs, last) = rest.as_chunks::<2>();
    let (pair_memory, last_memory) = rest_memory.as_chunks_mut::<2>();
    for (sections, memory) in pairs.iter().zip(pair_memory) {
        some_sections::<2, GAPS>(sections, memory, rows);
    }
    if let ([section], [memory]) = (last, last_memory) {
        some_sections::<1, GAPS>(&[*section], std::array::from_mut(memory), rows);
    }
}

/// Transposed direct form II, eight channels side by side; with `GAPS` a missing value leaves no trace.
#[inline(always)]
fn some_sections<const N: usize, const GAPS: bool>(
    sections: &[Section; N],
    memory: &mut [[Lanes; 2]; N],
    rows: &mut [Lanes],
) {
    let mut kept = *memory;
    for row in rows {
        let mut x = *row;
        for (section, [first, second]) in sections.iter().zip(&mut kept) {
            let ([b0, b1, b2], [a1, a2]) = (section.b, section.a);
            let y: Lanes = std::array::from_fn(|i| b0 * x[i] + first[i]);
            for i in 0..LANES {
                // What does not wait for y comes first.
                let next = [(b1 * x[i] + second[i]) - a1 * y[i], b2 * x[i] - a2 * y[i]];
                first[i] = if GAPS && y[i].is_nan() { first[i] } else { next[0] };
                second[i] = if GAPS && y[i].is_nan() { second[i] } else { next[1] };
            }
            x = y;
        }
        *row = x;
    }
    *memory = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Band;

    #[test]
    fn channels_do_not_touch_each_other_and_gaps_leave_no_trace() {
        let sos = Sos::butterworth(Band::BandPass, 3, &[4.0, 9.0], 50.0).unwrap();
        for channels in [1, 2, 7, 8, 9, 17] {
            let noise = testkit::sequence(5, 150 * channels);
            let value = |(i, noise): (usize, f32)| {
                // Some channels begin late, and all have gaps.
                let late = i / channels < i % channels;
                if late || i % 13 == 4 { f64::NAN } else { f64::from(noise) + 3.0 }
            };
            let series: Vec<f64> = noise.into_iter().enumerate().map(value).collect();
            let mut together = series.clone();
            let mut filter = SosFilter::new(&sos, channels);
            filter.run(&mut together);
            let mut pieces = series.clone();
            filter.reset();
            pieces.chunks_mut(3 * channels).for_each(|piece| filter.run(piece));
            testkit::assert_same_bits("pieces", &pieces, &together);
            for channel in 0..channels {
                let column = |values: &[f64]| {
                    let values = values.iter().skip(channel).step_by(channels).copied();
                    values.filter(|v| !v.is_nan()).collect::<Vec<_>>()
                };
                let mut alone = column(&series);
                SosFilter::new(&sos, 1).run(&mut alone);
                testkit::assert_same_bits("alone", &column(&together), &alone);
            }
        }
    }
}
