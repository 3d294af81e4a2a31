//! Videos: each file is a series, each frame a row whose channels are its pixels.
//!
//! Y4M is read as it is, other files through `ffmpeg`. Values are 0 to 255.

mod ffmpeg;
mod live;
mod y4m;

use std::io::BufRead;
use std::path::Path;

use anyhow::{anyhow, ensure};

use super::block::Block;
use super::config::DataConfig;
use super::frame::Framing;
use super::reader::{Header, Reader, Series, Sink, has_extension};
use super::recordings::{Colour, Frames};
use super::source::Source;
use ffmpeg::Ffmpeg;
pub use live::{FrameSource, Killer, LiveFrames};
use y4m::{MAGIC, Y4m};

/// Videos by their names, and Y4M by its first bytes.
pub(super) struct Video;

impl Reader for Video {
    fn name(&self) -> &'static str {
        "video"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &[
            "y4m", "mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg", "mts", "m2ts", "wmv",
            "flv", "ogv", "3gp", "gif", "h264",
        ]
    }

    fn is_table(&self) -> bool {
        false
    }

    fn is_recording(&self) -> bool {
        true
    }

    fn claims(&self, name: &Path, head: &[u8]) -> bool {
        let by_name = self.extensions().iter().any(|extension| has_extension(name, extension));
        by_name || head.starts_with(MAGIC)
    }

    fn read(
        &self,
        mut source: Source<'_>,
        config: &DataConfig,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()> {
        let path = source.path;
        let config = config.frames.clone().unwrap_or_default();
        if source.head()?.starts_with(MAGIC) || has_extension(path, "y4m") {
            return frames(path, source.input, &config, sink);
        }
        let (ffmpeg, mut output) = Ffmpeg::start(path, config.colour == Colour::Rgb)?;
        let read = frames(path, &mut output, &config, sink);
        ffmpeg.finish(path, &output, read)
    }
}

/// Hands the frames of a Y4M stream to the sink.
fn frames(
    path: &Path,
    input: impl BufRead,
    config: &Frames,
    sink: &mut dyn Sink,
) -> anyhow::Result<()> {
    let wrong = |why: String| anyhow!("{}: {why}", path.display());
    let mut video = Y4m::open(input).map_err(wrong)?;
    let mut framing = Framing::new(video.size(), config).map_err(wrong)?;
    let thinned = Thinned::new(video.rate_hz(), config.fps).map_err(wrong)?;
    // The first line can claim any size, so that a frame is read before there are as many channels.
    ensure!(video.next().map_err(wrong)?, "{}: the video has no frame", path.display());
    let needs = sink.columns(&Header {
        names: &framing.names(),
        unit: "frame",
        delimiter: None,
        sample: None,
        classes: &[],
        label: None,
        frame: None,
    })?;
    sink.begin(&Series { place: 0, label: None, rate_hz: thinned.rate_hz })?;
    let mut block = Block::new(&needs.columns);
    let in_colours = config.colour == Colour::Rgb;
    let (mut row, mut number) = (Vec::new(), 0);
    loop {
        if thinned.keeps(number) {
            video.row(&mut framing, in_colours, &mut row);
            row.iter().enumerate().for_each(|(column, &value)| block.push_number(column, value));
            block.end_row(number);
        }
        number += 1;
        let more = video.next().map_err(wrong)?;
        if block.is_full() || !more {
            sink.rows(&block)?;
            block.clear();
        }
        if !more {
            return Ok(());
        }
    }
}

/// Which frames are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Thinned {
    rate_hz: Option<f64>,
    /// Frames to keep for each that there is.
    share: f64,
}

impl Thinned {
    fn new(rate_hz: Option<f64>, fps: Option<f64>) -> Result<Self, String> {
        let Some(fps) = fps else { return Ok(Self { rate_hz, share: 1.0 }) };
        if !(fps.is_finite() && fps > 0.0) {
            return Err(format!("data.frames.fps is {fps}; give frames a second, above 0"));
        }
        let Some(rate) = rate_hz else {
            return Err("data.frames.fps is given, but the video says no frame rate".to_owned());
        };
        Ok(Self { rate_hz: Some(fps.min(rate)), share: (fps / rate).min(1.0) })
    }

    /// Whether a frame, counted from 0, is kept: the first, and each with which another whole one is due.
    fn keeps(self, number: usize) -> bool {
        // A rounded product just below a whole number is that number.
        let due = |n: f64| (n * self.share + 1e-9).floor();
        number == 0 || due(number as f64) > due(number as f64 - 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_thinned_evenly() {
        let kept = |rate, fps, n: usize| {
            let thinned = Thinned::new(Some(rate), Some(fps)).unwrap();
            (0..n).filter(|&number| thinned.keeps(number)).collect::<Vec<_>>()
        };
        assert_eq!(kept(10.0, 10.0, 5), [0, 1, 2, 3, 4]);
        assert_eq!(kept(10.0, 5.0, 7), [0, 2, 4, 6]);
        assert_eq!(kept(30.0, 10.0, 10), [0, 3, 6, 9]);
        assert_eq!(kept(25.0, 10.0, 11), [0, 3, 5, 8, 10]);
        assert_eq!(kept(30.0, 0.1, 1000), [0, 300, 600, 900]);
        assert_eq!(kept(10.0, 20.0, 3), [0, 1, 2], "no frame comes twice");
        assert_eq!(Thinned::new(Some(10.0), Some(20.0)).unwrap().rate_hz, Some(10.0));
        assert_eq!(Thinned::new(None, None).unwrap().rate_hz, None);
        for (rate, fps, part) in [
            (None, 5.0, "says no frame rate"),
            (Some(10.0), 0.0, "above 0"),
            (Some(10.0), f64::NAN, "above 0"),
        ] {
            assert!(Thinned::new(rate, Some(fps)).unwrap_err().contains(part));
        }
    }
}
