//! Spectra of short frames of a series: what spectrogram and band powers share.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};
use serde::{Deserialize, Serialize};

use crate::error::check_option;
use crate::{Error, Latency, Rows, RowsRef, Stage, Step};

/// Most rows of a frame.
const MOST_ROWS: usize = 1 << 20;
/// Most values that wait for their frame.
const MOST_HELD: usize = 1 << 24;
/// Most channels that come out.
const MOST_CHANNELS: usize = 1 << 20;

/// What a frame is multiplied by before its transform: `scipy.signal.get_window(NAME, len)`, which is
/// periodic; with `φ = 2π·row/len`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpectrumWindow {
    /// `0.5 − 0.5·cos φ`.
    #[default]
    Hann,
    /// `0.54 − 0.46·cos φ`.
    Hamming,
    /// `0.42 − 0.5·cos φ + 0.08·cos 2φ`.
    Blackman,
    /// 1 throughout.
    Boxcar,
}

impl SpectrumWindow {
    fn values(self, len: usize) -> impl Iterator<Item = f64> {
        (0..len).map(move |row| {
            let phase = std::f64::consts::TAU * row as f64 / len as f64;
            match self {
                Self::Hann => 0.5 - 0.5 * phase.cos(),
                Self::Hamming => 0.54 - 0.46 * phase.cos(),
                Self::Blackman => 0.42 - 0.5 * phase.cos() + 0.08 * (2.0 * phase).cos(),
                Self::Boxcar => 1.0,
            }
        })
    }
}

/// How frames are cut: checked by [`check`](Self::check).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frames {
    pub(crate) len: usize,
    pub(crate) hop: usize,
    pub(crate) window: SpectrumWindow,
}

impl Frames {
    /// Passes if frames of `input` can be transformed; says its rate.
    pub(crate) fn check(&self, step: &'static str, input: &Stage) -> Result<f64, Error> {
        let most = MOST_ROWS.min(MOST_HELD / input.channels().max(1));
        let expected = format!("2 to {most} rows for {} channels", input.channels());
        check_option(step, "len", self.len as f64, (2..=most).contains(&self.len), expected)?;
        let good_hop = (1..=MOST_ROWS).contains(&self.hop);
        check_option(step, "hop", self.hop as f64, good_hop, format!("1 to {MOST_ROWS} rows"))?;
        input.rate_hz.ok_or(Error::NoRate { step, option: "the frequency" })
    }

    /// Frequencies of a transform: from 0 to half the rate.
    pub(crate) fn n_bins(&self) -> usize {
        self.len / 2 + 1
    }

    /// What goes out: so many channels for each that comes in.
    pub(crate) fn output(
        &self,
        step: &'static str,
        input: &Stage,
        rate_hz: f64,
        suffixes: &[String],
    ) -> Result<Stage, Error> {
        let n_made = input.channels().saturating_mul(suffixes.len());
        let expected =
            format!("a length that makes at most {MOST_CHANNELS} channels, not {n_made}");
        check_option(step, "len", self.len as f64, n_made <= MOST_CHANNELS, expected)?;
        let of_one = |name: &String| {
            suffixes.iter().map(|suffix| format!("{name}@{suffix}")).collect::<Vec<_>>()
        };
        let names = input.names.iter().flat_map(of_one).collect();
        Ok(Stage { names, rate_hz: Some(rate_hz / self.hop as f64) })
    }
}

/// A frequency as people write it: with seven digits at most.
pub(crate) fn in_hz(frequency: f64) -> String {
    format!("{frequency:.6e}").parse().map_or(String::new(), |rounded: f64| rounded.to_string())
}

/// What becomes of the power density of a frame's channel, `[n_bins]`: the values that come out.
pub(crate) trait Render: Send {
    fn render(&self, density: &[f64], out: &mut [f64]);
}

/// The transform of one frame after the other, at work.
pub(crate) struct Spectra<R> {
    frames: Frames,
    render: R,
    /// Rows from the next frame on, or not yet so far: it begins `ahead` rows behind the first.
    held: Rows,
    ahead: usize,
    window: Vec<f64>,
    /// `1/(rate·Σ window²)`.
    scale: f64,
    fft: Arc<dyn RealToComplex<f64>>,
    frame: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
    density: Vec<f64>,
    out_channels: usize,
    rate_hz: f64,
}

impl<R: Render + 'static> Spectra<R> {
    /// The start of a series; `per_channel` values are rendered for each channel.
    pub(crate) fn boxed(
        frames: Frames,
        render: R,
        per_channel: usize,
        input: &Stage,
    ) -> Box<dyn Step> {
        // A checked input has a rate.
        let rate_hz = input.rate_hz.unwrap_or(1.0);
        let fft = RealFftPlanner::new().plan_fft_forward(frames.len);
        let window: Vec<f64> = frames.window.values(frames.len).collect();
        let energy: f64 = window.iter().map(|w| w * w).sum();
        Box::new(Self {
            render,
            held: Rows::new(input.channels()),
            ahead: 0,
            scale: 1.0 / (rate_hz * energy),
            frame: fft.make_input_vec(),
            spectrum: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            density: vec![0.0; frames.n_bins()],
            out_channels: per_channel * input.channels(),
            rate_hz: rate_hz / frames.hop as f64,
            window,
            fft,
            frames,
        })
    }

    /// The power density of a channel of the frame at hand; without meaning where a value is missing.
    fn transform(&mut self, channel: usize) -> bool {
        let channels = self.held.channels();
        let values = &self.held.values()[self.ahead * channels + channel..];
        let values = values.iter().step_by(channels);
        let mut is_complete = true;
        for ((to, v), w) in self.frame.iter_mut().zip(values).zip(&self.window) {
            is_complete &= !v.is_nan();
            *to = v * w;
        }
        let buffers = (&mut self.frame, &mut self.spectrum, &mut self.scratch);
        let done = self.fft.process_with_scratch(buffers.0, buffers.1, buffers.2);
        // The bins between those at 0 and at half the rate stand for two frequencies each.
        let last =
            if self.frames.len.is_multiple_of(2) { self.density.len() - 1 } else { usize::MAX };
        for (bin, (density, value)) in self.density.iter_mut().zip(&self.spectrum).enumerate() {
            let sides = if bin == 0 || bin == last { 1.0 } else { 2.0 };
            *density = value.norm_sqr() * self.scale * sides;
        }
        is_complete && done.is_ok()
    }
}

impl<R: Render + 'static> Step for Spectra<R> {
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
        self.held.extend(rows);
        let channels = self.held.channels();
        let per_channel = self.out_channels / channels;
        while self.held.len() >= self.ahead + self.frames.len {
            let time = self.held.times()[self.ahead + self.frames.len / 2];
            let made = out.extend_zeroed(&[time]);
            for (channel, made) in made.chunks_exact_mut(per_channel).enumerate() {
                if self.transform(channel) {
                    self.render.render(&self.density, made);
                } else {
                    made.fill(f64::NAN);
                }
            }
            self.ahead += self.frames.hop;
        }
        let passed = self.ahead.min(self.held.len());
        self.held.remove_first(passed);
        self.ahead -= passed;
    }

    fn finish(&mut self, _out: &mut Rows) {
        self.reset();
    }

    fn reset(&mut self) {
        self.held.clear();
        self.ahead = 0;
    }

    fn latency(&self) -> Latency {
        Latency::Rows(self.frames.len - 1)
    }

    fn out_channels(&self) -> usize {
        self.out_channels
    }

    fn out_rate_hz(&self) -> Option<f64> {
        Some(self.rate_hz)
    }
}

/// The least power that a logarithm is taken of: as dB.
pub(crate) const FLOOR_DB: f64 = -200.0;

/// Passes if a floor for logarithms can be used.
pub(crate) fn check_floor(step: &'static str, floor_db: f64) -> Result<(), Error> {
    let good = (-3000.0..=1000.0).contains(&floor_db);
    check_option(step, "floor_db", floor_db, good, "-3000 to 1000 dB")
}

/// `10·log₁₀(power)`, at least the floor: silence has no logarithm.
pub(crate) fn in_db(power: f64, floor_db: f64) -> f64 {
    (10.0 * power.log10()).max(floor_db)
}
