//! The arrays that NumPy saves: `.npy`, and `.npz` with values and labels.

mod header;
mod items;
mod zip;

use std::io::Read;
use std::path::Path;

use anyhow::{anyhow, bail};

use self::header::{Array, Kind};
use self::items::Items;
use super::block::{Block, Need};
use super::config::DataConfig;
use super::number;
use super::reader::{Header, Reader, Series, Sink, at_cell, channel_name};
use super::source::{Source, inner_name};

pub(super) use self::zip::Npz;

/// Most channels, as a header that has its sizes in another order claims millions.
const MAX_CHANNELS: usize = 1 << 16;

/// About how many values are read at once.
const PIECE: usize = 1 << 14;

/// One array: a recording of one channel (`[steps]`) or several (`[steps, channels]`), or samples
/// (`[samples, steps, channels]`).
pub(super) struct Npy;

impl Reader for Npy {
    fn name(&self) -> &'static str {
        "npy"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["npy"]
    }

    fn is_table(&self) -> bool {
        false
    }

    fn read(
        &self,
        source: Source<'_>,
        _config: &DataConfig,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()> {
        let Source { path, mut input } = source;
        let fail = |reason: String| anyhow!("{}: {reason}", path.display());
        let array = Array::read(&mut input).map_err(fail)?;
        // A packed file tells its length only at its end.
        let plain = path.metadata().ok().filter(|file| file.is_file() && !inner_name(path).1);
        check_length(&array, plain.map(|file| file.len())).map_err(fail)?;
        read(path, &array, Box::new(input), None, sink)
    }
}

/// Holds what a header claims to the length of the file, if that is known, before anything relies on it.
fn check_length(array: &Array, n_bytes: Option<u64>) -> Result<(), String> {
    let expected = array.n_header.saturating_add(array.n_bytes);
    match n_bytes {
        Some(found) if found != expected => Err(format!(
            "the header says {} items, which are {} bytes, but {} follow; the file is cut off or \
             damaged, write it anew",
            array.shown(),
            array.n_bytes,
            found.saturating_sub(array.n_header)
        )),
        _ => Ok(()),
    }
}

/// How an array is taken.
struct Sizes {
    n_samples: usize,
    n_steps: usize,
    n_channels: usize,
    /// What places are.
    unit: &'static str,
}

impl Sizes {
    /// With labels the first axis is that of samples.
    fn of(array: &Array, labelled: bool) -> Result<Self, String> {
        let (n_samples, n_steps, n_channels) = match (&array.shape[..], labelled) {
            (&[n_steps], false) => (1, n_steps, 1),
            (&[n_steps, n_channels], false) => (1, n_steps, n_channels),
            (&[n_samples, n_steps], true) => (n_samples, n_steps, 1),
            (&[n_samples, n_steps, n_channels], _) => (n_samples, n_steps, n_channels),
            (_, true) => {
                return Err(format!(
                    "an array of values with labels has the axes samples, steps and (if several) \
                     channels; found {} axes",
                    array.shape.len()
                ));
            }
            (_, false) => {
                return Err(format!(
                    "an array has the axes steps; steps and channels; or samples, steps and \
                     channels; found {} axes",
                    array.shape.len()
                ));
            }
        };
        if n_samples == 0 || n_steps == 0 || n_channels == 0 {
            return Err(format!("the array ({}) holds no values; leave it out", array.shown()));
        }
        if n_channels > MAX_CHANNELS {
            return Err(format!(
                "the last of {} axes is that of the channels, and {n_channels} are too many (at \
                 most {MAX_CHANNELS}); transpose the array",
                array.shown()
            ));
        }
        let unit = if array.shape.len() == 3 || labelled { "sample" } else { "row" };
        Ok(Self { n_samples, n_steps, n_channels, unit })
    }
}

/// Reads the items of an array into the sink, with a label for each sample if there are some.
fn read(
    path: &Path,
    array: &Array,
    input: Box<dyn Read + '_>,
    labels: Option<&[Vec<u8>]>,
    sink: &mut dyn Sink,
) -> anyhow::Result<()> {
    let fail = |reason: String| anyhow!("{}: {reason}", path.display());
    if matches!(array.dtype.kind, Kind::Text | Kind::Bytes) {
        bail!("{}: the values are text; save numbers", path.display());
    }
    let sizes = Sizes::of(array, labels.is_some()).map_err(fail)?;
    let mut items = Items::new(array, input).map_err(fail)?;
    let names: Vec<String> = (0..sizes.n_channels).map(channel_name).collect();
    let unit = sizes.unit;
    let header = Header {
        names: &names,
        unit,
        delimiter: None,
        sample: None,
        classes: &[],
        label: None,
        frame: None,
    };
    let needs = sink.columns(&header)?;
    let (mut block, mut values) = (Block::new(&needs.columns), Vec::new());
    for sample in 0..sizes.n_samples {
        let is_sample = unit == "sample";
        let label = labels.filter(|_| needs.labels).map(|labels| &labels[sample][..]);
        sink.begin(&Series { place: sample + 1, label, rate_hz: None })?;
        let mut step = 0;
        while step < sizes.n_steps {
            let n_rows = (PIECE / sizes.n_channels).clamp(1, sizes.n_steps - step);
            items.numbers(n_rows * sizes.n_channels, &mut values).map_err(|reason| {
                let place = if is_sample { sample + 1 } else { step + 1 };
                anyhow!("{}: {unit} {place}: {reason}", path.display())
            })?;
            block.clear();
            for (row, values) in values.chunks_exact(sizes.n_channels).enumerate() {
                let step = step + row + 1;
                let place = if is_sample { sample + 1 } else { step };
                for (channel, &value) in values.iter().enumerate() {
                    if needs.columns[channel] != Need::Number {
                        continue;
                    }
                    let value = number::in_range(value).map_err(|reason| {
                        let reason =
                            if is_sample { format!("step {step}: {reason}") } else { reason };
                        at_cell(path, (unit, place), &names[channel], &reason)
                    })?;
                    block.push_number(channel, value);
                }
                block.end_row(place);
            }
            sink.rows(&block)?;
            step += n_rows;
        }
    }
    items.end().map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::super::{DataConfig, Dataset, Expected, read_inline};
    use super::header::tests::file;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Dataset, String> {
        read_inline(&[("x.npy", bytes)], &DataConfig::default(), None)
    }

    fn array(shape: &str, fortran: bool, values: &[f32]) -> Vec<u8> {
        let order = if fortran { "True" } else { "False" };
        let header = format!("{{'descr': '<f4', 'fortran_order': {order}, 'shape': {shape}, }}");
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        file(&header, &data)
    }

    #[test]
    fn axes_are_steps_channels_and_samples() {
        let data = read(&array("(3,)", false, &[1., 2., f32::NAN])).unwrap();
        assert_eq!((&data.channels[..], data.segments.len()), (&["dim_0".to_owned()][..], 1));
        assert!(data.segments[0].values[..2] == [1., 2.] && data.segments[0].values[2].is_nan());
        let values = [1., 2., 3., 4., 5., 6.];
        let data = read(&array("(3, 2)", false, &values)).unwrap();
        assert_eq!(
            (data.channels.len(), &data.segments[0].values[..]),
            (2, &[1., 2., 3., 4., 5., 6.][..])
        );
        let data = read(&array("(2, 3)", true, &[1., 4., 2., 5., 3., 6.])).unwrap();
        assert_eq!(
            (data.channels.len(), &data.segments[0].values[..]),
            (3, &[1., 2., 3., 4., 5., 6.][..])
        );
        let data = read(&array("(3, 1, 2)", false, &values)).unwrap();
        assert_eq!((data.segments.len(), &data.segments[2].values[..]), (3, &[5., 6.][..]));
        assert_eq!((data.segments[2].first_line, &data.segments[2].series[..]), (3, "3"));
        let data = read(&array("(2, 3, 1)", true, &[1., 4., 2., 5., 3., 6.])).unwrap();
        assert_eq!(data.segments[1].values, [4., 5., 6.]);
    }

    #[test]
    fn a_model_gets_its_channels() {
        let (channels, classes) = (["dim_1".to_owned()], []);
        let expected = Some(Expected { channels: &channels, classes: &classes });
        let bytes = array("(2, 2)", false, &[f32::INFINITY, 2., 3., 4.]);
        let data = read_inline(&[("x.npy", &bytes)], &DataConfig::default(), expected).unwrap();
        assert_eq!(data.segments[0].values, [2., 4.]);
    }

    #[test]
    fn more_than_a_piece_is_read_whole() {
        let values: Vec<f32> = (0..40_000).map(|i| i as f32).collect();
        let data = read(&array("(20000, 2)", false, &values)).unwrap();
        assert!(
            data.segments[0].values.iter().enumerate().all(|(i, &x)| (x - i as f64).abs() < 0.5)
        );
        assert_eq!(data.segments[0].values.len(), 40_000);
    }

    #[test]
    fn damage_names_the_place() {
        for (bytes, reason) in [
            (array("(3, 2)", false, &[1., 2.]), "x.npy: row 1: fewer bytes follow"),
            (array("(3, 2)", true, &[1., 2.]), "x.npy: fewer bytes follow"),
            (array("(2,)", false, &[1., 2., 3.]), "x.npy: more bytes follow"),
            (array("(2, 2)", true, &[1., 2., 3., 4., 5.]), "x.npy: more bytes follow"),
            (
                array("(2, 2)", false, &[1., 2., 3., f32::INFINITY]),
                "x.npy: row 2, column \"dim_1\": expected a finite number",
            ),
            (
                array("(2, 1, 1)", false, &[1., f32::INFINITY]),
                "x.npy: sample 2, column \"dim_0\": step 1: expected a finite",
            ),
            (array("()", false, &[1.]), "found 0 axes"),
            (array("(1, 1, 1, 1)", false, &[1.]), "found 4 axes"),
            (array("(0, 3)", false, &[]), "the array (0 × 3) holds no values"),
            (array("(1, 1000000000000)", false, &[1.]), "1000000000000 are too many"),
            (array("(1000000000000, 2)", true, &[1.]), "too large to turn in memory"),
            (
                file("{'descr': '<U2', 'fortran_order': False, 'shape': (1,)}", b"a\0\0\0b\0\0\0"),
                "the values are text",
            ),
            (b"".to_vec(), "the header is cut off"),
        ] {
            let error = read(&bytes).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_claim_is_held_to_the_length_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        std::fs::write(&path, array("(1000000, 2)", false, &[1., 2.])).unwrap();
        let error = Dataset::read(&[path], &DataConfig::default(), None).unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.contains("says 1000000 × 2 items, which are 8000000 bytes, but 8 follow"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn any_edit_returns(at in 0..120_usize, byte: u8) {
            let mut bytes = array("(2, 3)", false, &[1., 2., 3., 4., 5., 6.]);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = read(&bytes);
        }
    }
}
