//! Frames of a camera, or of any video, as they come: the rows that a file of them would have.

use std::ffi::OsString;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, ensure};

use super::super::config::DataConfig;
use super::super::frame::Framing;
use super::super::recordings::Colour;
use super::Thinned;
use super::ffmpeg::{FORMATS, Output, start_live};
use super::y4m::Y4m;

/// Where frames come from: what stands between the options and the output of `ffmpeg`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameSource {
    /// Arguments up to the input.
    before: Vec<&'static str>,
    /// The input, as one argument.
    input: OsString,
    /// Whether it is a file, which ends.
    is_file: bool,
}

/// As little delay as there can be; of a file it would leave out the first frames.
const AT_ONCE: [&str; 4] = ["-fflags", "nobuffer", "-flags", "low_delay"];

/// Protocols of each scheme, and no others: a play list of one cannot lead elsewhere.
const PROTOCOLS: [(&str, &str); 10] = [
    ("rtsp", "rtsp,rtp,udp,tcp"),
    ("rtsps", "rtsps,rtsp,srtp,rtp,udp,tcp,tls"),
    ("http", "http,tcp"),
    ("https", "https,tls,tcp"),
    ("rtmp", "rtmp,tcp"),
    ("rtmps", "rtmps,rtmp,tls,tcp"),
    ("udp", "udp"),
    ("rtp", "rtp,udp"),
    ("srt", "srt,udp"),
    ("tcp", "tcp"),
];

impl FrameSource {
    /// By what stands on the command line: a URL, a video device, `lavfi:…` or a file. In `real_time` a file is read
    /// at its own pace.
    ///
    /// # Errors
    /// If the URL is of a scheme that is not read.
    pub fn of(text: &str, real_time: bool) -> anyhow::Result<Self> {
        ensure!(
            !text.is_empty() && !text.contains('\0'),
            "--camera {text:?}: give a URL or a file"
        );
        let pace = if real_time { &["-re"][..] } else { &[] };
        if let Some(graph) = text.strip_prefix("lavfi:") {
            let before = [pace, &["-f", "lavfi"][..]].concat();
            return Ok(Self { before, input: graph.into(), is_file: true });
        }
        if let Some((scheme, _)) = text.split_once("://") {
            let known = PROTOCOLS.iter().find(|(known, _)| scheme.eq_ignore_ascii_case(known));
            let Some((scheme, protocols)) = known else {
                let known = PROTOCOLS.map(|(known, _)| known).join(", ");
                bail!(
                    "--camera: {scheme}:// is not read; give one of {known}, a file, a device or lavfi:…"
                );
            };
            let mut before = [&AT_ONCE[..], &["-protocol_whitelist", *protocols][..]].concat();
            if scheme.starts_with("rtsp") {
                // By UDP, frames are torn where a packet is lost.
                before.extend(["-rtsp_transport", "tcp"]);
            }
            return Ok(Self { before, input: text.into(), is_file: false });
        }
        if text.starts_with("/dev/video") {
            let before = [&AT_ONCE[..], &["-f", "v4l2"][..]].concat();
            return Ok(Self { before, input: text.into(), is_file: false });
        }
        // With `file:` no name is an option, or a protocol that reaches elsewhere.
        let only = ["-protocol_whitelist", "file", "-format_whitelist", FORMATS];
        let before = [pace, &only[..]].concat();
        Ok(Self { before, input: format!("file:{text}").into(), is_file: true })
    }

    /// Whether it comes to an end.
    pub fn ends(&self) -> bool {
        self.is_file
    }
}

/// Ends a decoder from another thread.
#[derive(Debug, Clone)]
pub struct Killer {
    child: Arc<Mutex<Decoder>>,
}

/// A process, and what it says.
type Decoder = (Child, Option<JoinHandle<Vec<u8>>>);

/// How long it may take to end by itself behind its last frame.
const PATIENCE: Duration = Duration::from_secs(2);

impl Killer {
    /// Ends it, if it has not ended; gives what it said first.
    pub fn kill(&self) -> String {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have ended, and then there is nothing to kill.
        let _ = child.0.kill();
        let _ = child.0.wait();
        let said = child.1.take().and_then(|said| said.join().ok()).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
    }

    /// Behind its last frame: whether it ended by itself, as it should.
    pub fn ended_well(&self) -> bool {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
            match child.0.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => return status.success(),
                Err(_) => return false,
            }
            drop(child);
            thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

/// Frames of a running decoder, which is ended by its [`Killer`].
#[derive(Debug)]
pub struct LiveFrames {
    video: Y4m<Output>,
    framing: Framing,
    thinned: Thinned,
    in_colours: bool,
    /// The place of each channel of the model in a frame's row.
    places: Vec<usize>,
    number: usize,
    row: Vec<f64>,
}

impl LiveFrames {
    /// Starts `ffmpeg`; gives what ends it, so that it can be ended while its first frame is waited for.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(source: &FrameSource, config: &DataConfig) -> anyhow::Result<(Killer, Output)> {
        let in_colours = config.frames.as_ref().is_some_and(|frames| frames.colour == Colour::Rgb);
        let (child, output, said) = start_live(&source.before, &source.input, in_colours)?;
        Ok((Killer { child: Arc::new(Mutex::new((child, Some(said)))) }, output))
    }

    /// Waits for what the frames are, and finds the model's channels in them.
    ///
    /// # Errors
    /// If it ends before, or the frames have other pixels.
    pub fn open(output: Output, config: &DataConfig, channels: &[String]) -> anyhow::Result<Self> {
        let frames = config.frames.clone().unwrap_or_default();
        let wrong = |why: String| anyhow!(why);
        let video = Y4m::open(output).map_err(wrong)?;
        let framing = Framing::new(video.size(), &frames).map_err(wrong)?;
        let thinned = Thinned::new(video.rate_hz(), frames.fps).map_err(wrong)?;
        let names = framing.names();
        let place = |channel: &String| {
            names.iter().position(|name| name == channel).ok_or_else(|| {
                anyhow!(
                    "the frames have no pixel {channel}, which the model reads: it was made on other frames \
                     (data.frames.size)"
                )
            })
        };
        let places = channels.iter().map(place).collect::<anyhow::Result<_>>()?;
        let in_colours = frames.colour == Colour::Rgb;
        Ok(Self { video, framing, thinned, in_colours, places, number: 0, row: Vec::new() })
    }

    /// Reads up to the next frame that is kept; gives its time in seconds from the first, where the rate is known.
    /// Nothing at the end.
    ///
    /// # Errors
    /// If the stream is cut off within a frame.
    pub fn next_row(&mut self) -> anyhow::Result<Option<(Option<f64>, impl Iterator<Item = f64>)>> {
        loop {
            if !self.video.next().map_err(|why| anyhow!(why))? {
                return Ok(None);
            }
            let number = self.number;
            self.number += 1;
            if self.thinned.keeps(number) {
                self.video.row(&mut self.framing, self.in_colours, &mut self.row);
                let time = self.video.rate_hz().map(|rate| number as f64 / rate);
                let row = &self.row;
                return Ok(Some((time, self.places.iter().map(move |&place| row[place]))));
            }
        }
    }

    /// Frames a second that are kept, where it is known.
    pub fn rate_hz(&self) -> Option<f64> {
        self.thinned.rate_hz
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_argument_and_reaches_only_what_it_names() {
        let of = |text: &str| FrameSource::of(text, true);
        let file = of("-i /etc/passwd").expect("a file");
        assert_eq!(file.input, "file:-i /etc/passwd");
        assert_eq!(file.before[..3], ["-re", "-protocol_whitelist", "file"]);
        let camera = of("rtsp://user:word@camera/1").expect("a camera");
        assert!(camera.before.contains(&"rtsp,rtp,udp,tcp") && !camera.ends());
        assert_eq!(of("lavfi:testsrc").expect("a graph").input, "testsrc");
        assert_eq!(of("/dev/video0").expect("a device").before[4..], ["-f", "v4l2"]);
        for text in ["", "file:///etc/passwd", "concat://a|b", "pipe://0", "data://x"] {
            assert!(of(text).is_err(), "{text}");
        }
    }
}
