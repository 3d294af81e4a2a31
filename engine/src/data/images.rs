//! Pictures: a folder of them is one series, each a row whose channels are its pixels.
//!
//! The order is that of the names, in which numbers count as numbers. Values are 0 to 255.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use super::block::{Block, Need};
use super::config::DataConfig;
use super::frame::{Framing, MAX_PIXELS};
use super::reader::{Header, Reader, Series, Sink, has_extension};
use super::recordings::Frames;
use super::source::Source;

/// Most pixels for each byte of a file: those of one bit, packed as well as deflate can.
const PIXELS_PER_BYTE: u64 = 8 * 1032;

/// Most bytes that a decoder may hold.
const MAX_MEMORY: u64 = 1 << 28;

/// The column of names, which is behind those of the pixels.
const NAME: &str = "picture";

/// Folders of pictures, and single ones.
pub(super) struct Pictures;

impl Reader for Pictures {
    fn name(&self) -> &'static str {
        "pictures"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["png", "jpg", "jpeg"]
    }

    fn is_table(&self) -> bool {
        false
    }

    fn is_recording(&self) -> bool {
        true
    }

    fn reads_folders(&self) -> bool {
        true
    }

    fn claims(&self, name: &Path, _head: &[u8]) -> bool {
        name.is_dir() || self.extensions().iter().any(|end| has_extension(name, end))
    }

    fn read(
        &self,
        source: Source<'_>,
        config: &DataConfig,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()> {
        let config = config.frames.clone().unwrap_or_default();
        let path = source.path;
        ensure!(
            config.fps.is_none(),
            "{}: pictures have no rate that data.frames.fps could thin; leave it out",
            path.display()
        );
        let paths = if path.is_dir() { self.of_folder(path)? } else { vec![path.to_owned()] };
        hand_over(&paths, &config, sink).with_context(|| path.display().to_string())
    }
}

impl Pictures {
    /// The pictures of a folder, in order.
    fn of_folder(&self, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let unreadable = || format!("{}: cannot list the directory", folder.display());
        let mut paths = Vec::new();
        for entry in folder.read_dir().with_context(unreadable)? {
            let path = entry.with_context(unreadable)?.path();
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            let is_picture = self.extensions().iter().any(|end| has_extension(&path, end));
            if is_picture && !name.starts_with(b".") && !path.is_dir() {
                paths.push(path);
            }
        }
        ensure!(!paths.is_empty(), "{}: no pictures in the folder", folder.display());
        paths.sort_by(|a, b| by_numbers(&name_of(a), &name_of(b)));
        Ok(paths)
    }
}

/// Hands pictures to the sink. Messages name the picture only.
fn hand_over(paths: &[PathBuf], config: &Frames, sink: &mut dyn Sink) -> anyhow::Result<()> {
    let mut open: Option<(Framing, Block, bool)> = None;
    let mut row = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let name = name_of(path);
        let picture = decode(path).map_err(|why| anyhow!("picture {name:?}: {why}"))?;
        let from = [picture.width() as usize, picture.height() as usize];
        if config.size.is_none()
            && let Some((framing, ..)) = &open
            && framing.from() != from
        {
            let before = framing.from();
            bail!(
                "picture {name:?} is of {} × {}, but those before it are of {} × {}; give the size to \
                 which all are brought as data.frames.size",
                from[0],
                from[1],
                before[0],
                before[1]
            );
        }
        let framing = match open.take() {
            Some((framing, block, named)) if framing.from() == from => (framing, block, named),
            before => {
                let framing =
                    Framing::new(from, config).map_err(|why| anyhow!("picture {name:?}: {why}"))?;
                match before {
                    Some((_, block, named)) => (framing, block, named),
                    None => begin(framing, sink)?,
                }
            }
        };
        let (framing, block, named) = open.insert(framing);
        fill(picture, framing, &mut row);
        row.iter().enumerate().for_each(|(column, &value)| block.push_number(column, value));
        if *named {
            block.push_text(row.len(), name.as_bytes());
        }
        block.end_row(number);
        if block.is_full() {
            sink.rows(block)?;
            block.clear();
        }
    }
    open.map_or(Ok(()), |(_, block, _)| sink.rows(&block))
}

/// Begins the series, whose channels the first picture gives.
fn begin(framing: Framing, sink: &mut dyn Sink) -> anyhow::Result<(Framing, Block, bool)> {
    let mut names = framing.names();
    let column = names.len();
    names.push(NAME.to_owned());
    let needs = sink.columns(&Header {
        names: &names,
        unit: "picture",
        delimiter: None,
        sample: None,
        classes: &[],
        label: None,
        frame: Some(column),
    })?;
    sink.begin(&Series { place: 0, label: None, rate_hz: None })?;
    let named = needs.columns[column] == Need::Text;
    Ok((framing, Block::new(&needs.columns), named))
}

/// Reads a picture, whatever its name says it is; what it claims is held to what it can hold.
fn decode(path: &Path) -> Result<DynamicImage, String> {
    let unreadable = |error: std::io::Error| format!("cannot read the file: {error}");
    // A pipe would wait for its writer.
    let meta = path.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err("it is no plain file".to_owned());
    }
    let input = BufReader::new(File::open(path).map_err(unreadable)?);
    decode_from(input, meta.len())
}

fn decode_from(input: impl BufRead + Seek, n_bytes: u64) -> Result<DynamicImage, String> {
    let damaged = |error: image::ImageError| {
        format!("cannot decode it ({error}); the file is damaged, or is no PNG or JPEG")
    };
    let mut reader = ImageReader::new(input)
        .with_guessed_format()
        .map_err(|error| format!("cannot read the file: {error}"))?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_MEMORY);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let n_pixels = u64::from(width) * u64::from(height);
    if n_pixels > MAX_PIXELS || n_pixels > n_bytes * PIXELS_PER_BYTE {
        return Err(format!(
            "it claims {width} × {height} pixels, which is more than {MAX_PIXELS}, or than {n_bytes} bytes \
             can hold"
        ));
    }
    DynamicImage::from_decoder(decoder).map_err(damaged)
}

/// The row of a picture; what is transparent counts as what it covers.
fn fill(picture: DynamicImage, framing: &mut Framing, row: &mut Vec<f64>) {
    if picture.color().has_color() {
        let colours = picture.into_rgb8();
        framing.row_of_rgb(colours.pixels().map(|pixel| pixel.0.map(f64::from)), row);
    } else {
        let grey = picture.into_luma8();
        framing.row_of_grey(grey.as_raw().iter().map(|&value| f64::from(value)), row);
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The order of names in which digits are numbers: `p2` before `p10`.
fn by_numbers(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (n, m) = (digits(left), digits(right));
        let order = if n > 0 && m > 0 {
            let (x, y) = (left[..n].trim_start_matches('0'), right[..m].trim_start_matches('0'));
            (left, right) = (&left[n..], &right[m..]);
            x.len().cmp(&y.len()).then_with(|| x.cmp(y))
        } else {
            let (mut x, mut y) = (left.chars(), right.chars());
            let order = match (x.next(), y.next()) {
                (None, None) => return a.cmp(b),
                (x, y) => x.cmp(&y),
            };
            (left, right) = (x.as_str(), y.as_str());
            order
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Cursor;

    use image::{GrayImage, ImageFormat, Rgb, RgbImage};

    use super::super::dataset::Dataset;
    use super::super::recordings::{Colour, LabelTable};
    use super::super::split::Split;
    use super::*;

    fn grey(size: [u32; 2], shade: u8) -> DynamicImage {
        DynamicImage::from(GrayImage::from_pixel(size[0], size[1], image::Luma([shade])))
    }

    fn read(folder: &Path, config: &DataConfig) -> Result<Dataset, String> {
        Dataset::read(&[folder.to_owned()], config, None).map_err(|error| format!("{error:#}"))
    }

    fn with(frames: Frames) -> DataConfig {
        DataConfig { frames: Some(frames), ..DataConfig::default() }
    }

    #[test]
    fn a_folder_is_one_series_in_the_order_of_numbers() {
        let folder = tempfile::tempdir().unwrap();
        for (name, shade) in [("f10.png", 10), ("f2.png", 2), ("f1.PNG", 1)] {
            let file = folder.path().join(name);
            grey([2, 1], shade).save_with_format(file, ImageFormat::Png).unwrap();
        }
        fs::write(folder.path().join("notes.csv"), "a\n1\n").unwrap();
        let data = read(folder.path(), &DataConfig::default()).unwrap();
        assert_eq!(data.channels, ["p0", "p1"]);
        let [segment] = &data.segments[..] else { panic!("{:?}", data.segments) };
        assert_eq!(segment.values, [1., 1., 2., 2., 10., 10.]);
        assert_eq!((&*segment.source, segment.rate_hz), (folder.path(), None));
        let one = read(&folder.path().join("f10.png"), &DataConfig::default()).unwrap();
        assert_eq!(one.segments[0].values, [10., 10.]);
        let error = read(folder.path(), &with(Frames { fps: Some(5.0), ..Frames::default() }));
        assert!(error.unwrap_err().contains("pictures have no rate"));
    }

    #[test]
    fn a_table_tells_of_pictures_by_name_and_number() {
        let folder = tempfile::tempdir().unwrap();
        let pictures = folder.path().join("camera");
        fs::create_dir(&pictures).unwrap();
        for (name, shade) in [("000003.png", 3), ("000004.png", 4), ("000005.png", 5)] {
            grey([1, 1], shade).save(pictures.join(name)).unwrap();
        }
        let list = folder.path().join("frames.csv");
        fs::write(&list, "frame,node,split,near\n3,a,train,1\n4,a,gap,0\n5,b,test,0\n").unwrap();
        let label = Some("near".to_owned());
        let labels = Some(LabelTable { path: Some(list), label, ..LabelTable::default() });
        let data = read(&pictures, &DataConfig { labels, ..DataConfig::default() }).unwrap();
        let found: Vec<_> = data
            .segments
            .iter()
            .map(|s| (s.node.as_deref(), s.split, s.values[0], s.labels.at(0)))
            .collect();
        let expected =
            [(Some("a"), Split::Train, 3.0, Some(1)), (Some("b"), Split::Test, 5.0, Some(0))];
        assert_eq!(found, expected);
    }

    #[test]
    fn colours_and_jpeg_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let red = DynamicImage::from(RgbImage::from_pixel(16, 8, Rgb([200, 0, 0])));
        red.save(folder.path().join("a.jpg")).unwrap();
        let config = Frames { size: Some([2, 1]), colour: Colour::Rgb, fps: None };
        let data = read(folder.path(), &with(config)).unwrap();
        let close = |found: &[f64], expected: &[f64]| {
            let is_close = |(a, b): (&f64, &f64)| (a - b).abs() < 3.0;
            found.len() == expected.len() && found.iter().zip(expected).all(is_close)
        };
        let values = &data.segments[0].values;
        assert!(close(values, &[200., 0., 0., 200., 0., 0.]), "{values:?}");
        let config = Frames { size: Some([1, 1]), ..Frames::default() };
        let values = read(folder.path(), &with(config)).unwrap().segments.remove(0).values;
        assert!(close(&values, &[200. * 0.299]), "{values:?}");
    }

    #[test]
    fn pictures_of_several_sizes_need_one() {
        let folder = tempfile::tempdir().unwrap();
        grey([4, 2], 7).save(folder.path().join("1.png")).unwrap();
        grey([2, 2], 9).save(folder.path().join("2.png")).unwrap();
        let error = read(folder.path(), &DataConfig::default()).unwrap_err();
        assert!(
            error.contains("picture \"2.png\" is of 2 × 2, but those before it are of 4 × 2"),
            "{error}"
        );
        let config = Frames { size: Some([1, 1]), ..Frames::default() };
        assert_eq!(read(folder.path(), &with(config)).unwrap().segments[0].values, [7., 9.]);
    }

    #[test]
    fn damage_is_named_with_the_picture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.png");
        grey([9, 9], 7).save(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        let error = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            read(folder.path(), &DataConfig::default()).unwrap_err()
        };
        for bytes in [&whole[..whole.len() / 2], b"text", b"", b"\x89PNG\r\n\x1a\n"] {
            let error = error(bytes);
            assert!(error.contains("picture \"1.png\": cannot decode it"), "{error}");
        }
    }

    #[test]
    fn a_claimed_size_is_held_to_the_file() {
        let mut bytes = Vec::new();
        grey([3000, 3000], 0).write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
        assert!(decode_from(Cursor::new(&bytes), bytes.len() as u64).is_ok());
        let error = decode_from(Cursor::new(&bytes), 1000).unwrap_err();
        assert!(error.contains("it claims 3000 × 3000 pixels"), "{error}");
        let mut bytes = Vec::new();
        grey([6000, 6000], 0).write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
        let error = decode_from(Cursor::new(&bytes), bytes.len() as u64).unwrap_err();
        assert!(error.contains("it claims 6000 × 6000 pixels"), "{error}");
    }

    #[test]
    fn digits_of_names_are_numbers() {
        let mut names = ["a10", "a9b", "a9", "b", "10", "9", "a09", "a"];
        names.sort_by(|a, b| by_numbers(a, b));
        assert_eq!(names, ["9", "10", "a", "a09", "a9", "a9b", "a10", "b"]);
    }
}
