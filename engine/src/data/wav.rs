//! WAV: sound or any signal as samples, PCM of 8 to 32 bits or floats of 32.
//!
//! A file is one series with the channels `ch_0`, `ch_1`, …; whole numbers are brought to −1 to 1 by
//! `sample / 2^(bits − 1)`, floats stay as they are.

use std::io::BufRead;
use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};
use hound::{SampleFormat, WavReader};

use super::block::Block;
use super::config::DataConfig;
use super::reader::{Header, Reader, Series, Sink};
use super::source::Source;

/// Files by their names.
pub(super) struct Wav;

impl Reader for Wav {
    fn name(&self) -> &'static str {
        "wav"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["wav", "wave"]
    }

    fn is_table(&self) -> bool {
        false
    }

    fn is_recording(&self) -> bool {
        true
    }

    fn read(
        &self,
        source: Source<'_>,
        _config: &DataConfig,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()> {
        let path = source.path;
        let reader = WavReader::new(source.input);
        let reader = reader.with_context(|| {
            format!(
                "{}: it is no WAV that can be read; copy it anew, or convert it",
                path.display()
            )
        })?;
        let bits = reader.spec().bits_per_sample;
        match reader.spec().sample_format {
            SampleFormat::Float if bits == 32 => {
                hand_over(path, reader, |sample: f32| f64::from(sample), sink)
            }
            SampleFormat::Int if (2..=32).contains(&bits) => {
                let whole = f64::from(bits - 1).exp2();
                hand_over(path, reader, |sample: i32| f64::from(sample) / whole, sink)
            }
            format => bail!(
                "{}: samples of {bits} bits ({format:?}) are not supported, only PCM of 8 to 32 bits and \
                 floats of 32",
                path.display()
            ),
        }
    }
}

/// Hands the samples of a file to the sink.
fn hand_over<S: hound::Sample>(
    path: &Path,
    reader: WavReader<impl BufRead>,
    scale: impl Fn(S) -> f64,
    sink: &mut dyn Sink,
) -> anyhow::Result<()> {
    let spec = reader.spec();
    let (n_rows, n_values) = (reader.duration() as usize, reader.len() as usize);
    let n_channels = usize::from(spec.channels);
    ensure!(n_rows > 0, "{}: it has no samples", path.display());
    ensure!(spec.sample_rate > 0, "{}: its rate is 0", path.display());
    ensure!(
        n_rows * n_channels == n_values,
        "{}: it announces {n_values} samples, which is no whole number for {n_channels} channels; it is \
         damaged, copy it anew",
        path.display()
    );
    let mut samples = reader.into_samples::<S>();
    let mut next_row = |number: usize, row: &mut Vec<f64>| {
        row.clear();
        for _ in 0..n_channels {
            let sample = samples.next().transpose();
            let cut_off = || {
                format!(
                    "{}: sample {number}: cannot read it, though {n_rows} are announced; the file is cut \
                     off, copy it anew",
                    path.display()
                )
            };
            let sample = sample.with_context(cut_off)?.ok_or_else(|| anyhow!(cut_off()))?;
            let value = scale(sample);
            ensure!(
                value.is_finite(),
                "{}: sample {number}: it is {value}, which is no number; correct it",
                path.display()
            );
            row.push(value);
        }
        Ok(())
    };
    // The header can claim any number of channels, so that a row is read before there are so many.
    let mut row = Vec::new();
    next_row(0, &mut row)?;
    let names: Vec<String> = (0..n_channels).map(|channel| format!("ch_{channel}")).collect();
    let needs = sink.columns(&Header {
        names: &names,
        unit: "sample",
        delimiter: None,
        sample: None,
        classes: &[],
        label: None,
        frame: None,
    })?;
    sink.begin(&Series { place: 0, label: None, rate_hz: Some(f64::from(spec.sample_rate)) })?;
    let mut block = Block::new(&needs.columns);
    for number in 0..n_rows {
        if number > 0 {
            next_row(number, &mut row)?;
        }
        row.iter().enumerate().for_each(|(column, &value)| block.push_number(column, value));
        block.end_row(number);
        if block.is_full() {
            sink.rows(&block)?;
            block.clear();
        }
    }
    sink.rows(&block)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use hound::{WavSpec, WavWriter};

    use super::super::dataset::Dataset;
    use super::super::read_inline;
    use super::*;

    fn spec(channels: u16, bits_per_sample: u16, sample_format: SampleFormat) -> WavSpec {
        WavSpec { channels, sample_rate: 8000, bits_per_sample, sample_format }
    }

    fn wav<S: hound::Sample + Copy>(spec: WavSpec, samples: &[S]) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
        for &sample in samples {
            writer.write_sample(sample).unwrap();
        }
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    fn read(bytes: &[u8]) -> Result<Dataset, String> {
        read_inline(&[("a.wav", bytes)], &DataConfig::default(), None)
    }

    #[test]
    fn samples_are_brought_to_one() {
        for bits in [8, 16, 24, 32] {
            let least = i32::MIN >> (32 - bits);
            let bytes = wav(spec(2, bits, SampleFormat::Int), &[0, least, least / 2, -(least / 4)]);
            let data = read(&bytes).unwrap();
            assert_eq!(data.channels, ["ch_0", "ch_1"]);
            let segment = &data.segments[0];
            assert_eq!(segment.values, [0., -1., -0.5, 0.25], "{bits}");
            assert_eq!((segment.rate_hz, &segment.series[..]), (Some(8000.0), "a"));
        }
        let floats = wav(spec(1, 32, SampleFormat::Float), &[1.5_f32, -0.1]);
        assert_eq!(read(&floats).unwrap().segments[0].values, [1.5, f64::from(-0.1_f32)]);
    }

    #[test]
    fn damage_is_named() {
        let whole = wav(spec(2, 16, SampleFormat::Int), &[1_i32, 2, 3, 4]);
        let error = |bytes: &[u8]| read(bytes).unwrap_err();
        assert!(
            error(&whole[..whole.len() - 1]).contains("a.wav: sample 1: cannot read it, though 2")
        );
        assert!(error(&whole[..20]).contains("a.wav: it is no WAV"));
        assert!(error(b"no wave").contains("a.wav: it is no WAV"));
        let empty = wav::<i32>(spec(1, 16, SampleFormat::Int), &[]);
        assert!(error(&empty).contains("it has no samples"));
        let infinite = wav(spec(1, 32, SampleFormat::Float), &[0.0, f32::INFINITY]);
        assert!(error(&infinite).contains("sample 1: it is inf"));
        // The length of the data, at the end of the header.
        let mut odd = whole.clone();
        let at = whole.len() - 12;
        odd[at..at + 4].copy_from_slice(&6_u32.to_le_bytes());
        assert!(error(&odd).starts_with("a.wav: "), "{}", error(&odd));
    }
}
