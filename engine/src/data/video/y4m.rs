//! YUV4MPEG2: frames as they are, behind one line that says what they are.
//!
//! As `yuv4mpeg(5)` of the mjpegtools describes it.

use std::io::{BufRead, Read};

use super::super::frame::{Framing, MAX_PIXELS, Size};

/// How a stream begins.
pub(super) const MAGIC: &[u8] = b"YUV4MPEG2";

/// Most bytes of a line before frames.
const MAX_LINE: u64 = 4096;

/// An open stream.
#[derive(Debug)]
pub(super) struct Y4m<R> {
    input: R,
    head: Head,
    frame: Vec<u8>,
    n_read: usize,
}

/// What the first line says.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Head {
    size: Size,
    rate_hz: Option<f64>,
    chroma: Chroma,
    /// Whether values are 0 to 255; else 16 to 235, and 16 to 240 of colours.
    is_full: bool,
}

/// How much of the colours is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chroma {
    Mono,
    /// So many pixels share a colour, along the width and the height.
    Shared(usize, usize),
}

impl<R: BufRead> Y4m<R> {
    /// Reads the first line.
    ///
    /// # Errors
    /// If it is not that of such a stream, or of one that is not read.
    pub(super) fn open(mut input: R) -> Result<Self, String> {
        let line = line(&mut input)?;
        let line = line.ok_or("the video is empty")?;
        let head = Head::parse(&line)?;
        Ok(Self { input, head, frame: Vec::new(), n_read: 0 })
    }

    /// Width and height of every frame.
    pub(super) fn size(&self) -> Size {
        self.head.size
    }

    /// Frames a second, if it is said.
    pub(super) fn rate_hz(&self) -> Option<f64> {
        self.head.rate_hz
    }

    /// Reads the next frame; false at the end.
    ///
    /// # Errors
    /// If the stream is cut off within one, or cannot be read.
    pub(super) fn next(&mut self) -> Result<bool, String> {
        let Some(line) = line(&mut self.input)? else { return Ok(false) };
        let number = self.n_read;
        if !line.starts_with(b"FRAME") {
            return Err(format!(
                "frame {number}: it does not begin with FRAME; the file is damaged"
            ));
        }
        let n_bytes = self.head.frame_bytes();
        // Only what is there is allocated: the first line can claim any size.
        self.frame.clear();
        let read = self.input.by_ref().take(n_bytes as u64).read_to_end(&mut self.frame);
        let found = read.map_err(|error| format!("frame {number}: cannot read it: {error}"))?;
        if found < n_bytes {
            return Err(format!(
                "frame {number}: it is cut off after {found} of {n_bytes} bytes; copy the file anew"
            ));
        }
        self.n_read += 1;
        Ok(true)
    }

    /// Makes the row of the frame that was read.
    pub(super) fn row(&self, framing: &mut Framing, in_colours: bool, row: &mut Vec<f64>) {
        let Head { size: [width, height], chroma, is_full, .. } = self.head;
        let luma = |at: usize| {
            let y = f64::from(self.frame[at]);
            if is_full { y } else { ((y - 16.0) * (255.0 / 219.0)).clamp(0.0, 255.0) }
        };
        let Chroma::Shared(across, down) = chroma else {
            return framing.row_of_grey((0..width * height).map(luma), row);
        };
        if !in_colours {
            return framing.row_of_grey((0..width * height).map(luma), row);
        }
        let wide = width.div_ceil(across);
        let n_colours = wide * height.div_ceil(down);
        let (us, vs) = self.frame[width * height..].split_at(n_colours);
        let scale = if is_full { 1.0 } else { 255.0 / 224.0 };
        let colour = |c: u8| (f64::from(c) - 128.0) * scale;
        let pixel = |at: usize| {
            let shared = at / width / down * wide + at % width / across;
            let (u, v) = (colour(us[shared]), colour(vs[shared]));
            let y = f64::from(self.frame[at]);
            let y = if is_full { y } else { (y - 16.0) * (255.0 / 219.0) };
            // ITU-R BT.601.
            let rgb = [y + 1.402 * v, y - 0.344_136 * u - 0.714_136 * v, y + 1.772 * u];
            rgb.map(|value| value.clamp(0.0, 255.0))
        };
        framing.row_of_rgb((0..width * height).map(pixel), row);
    }
}

impl Head {
    fn parse(line: &[u8]) -> Result<Self, String> {
        let text = line.strip_prefix(MAGIC).and_then(|text| std::str::from_utf8(text).ok());
        let text = text.ok_or("the file does not begin as a Y4M video does (YUV4MPEG2)")?;
        let mut size: [Option<usize>; 2] = [None; 2];
        let mut rate_hz = None;
        let mut chroma = Chroma::Shared(2, 2);
        let mut range = None;
        for word in text.split_ascii_whitespace() {
            let (key, value) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
            match key {
                "W" | "H" => size[usize::from(key == "H")] = value.parse().ok(),
                "F" => rate_hz = rate(value)?,
                "C" => chroma = Chroma::of(value)?,
                "X" => range = value.strip_prefix("COLORRANGE=").or(range),
                _ => {}
            }
        }
        let [Some(width), Some(height)] = size else {
            return Err("the first line says no width (W) or no height (H)".to_owned());
        };
        let n_pixels = (width as u64).checked_mul(height as u64);
        if !n_pixels.is_some_and(|n| (1..=MAX_PIXELS).contains(&n)) {
            return Err(format!(
                "frames of {width} × {height} are not read, only of at least 1 and at most {MAX_PIXELS} \
                 pixels"
            ));
        }
        let is_full = match range {
            Some("FULL") => true,
            Some("LIMITED") => false,
            _ => chroma == Chroma::Mono,
        };
        Ok(Self { size: [width, height], rate_hz, chroma, is_full })
    }

    fn frame_bytes(&self) -> usize {
        let [width, height] = self.size;
        let colours = match self.chroma {
            Chroma::Mono => 0,
            Chroma::Shared(across, down) => width.div_ceil(across) * height.div_ceil(down),
        };
        width * height + 2 * colours
    }
}

impl Chroma {
    fn of(value: &str) -> Result<Self, String> {
        Ok(match value {
            "mono" => Self::Mono,
            "420" | "420jpeg" | "420mpeg2" | "420paldv" => Self::Shared(2, 2),
            "422" => Self::Shared(2, 1),
            "444" => Self::Shared(1, 1),
            _ => {
                return Err(format!(
                    "colours stored as C{value} are not supported, only C420, C422, C444 and Cmono; \
                     convert it with ffmpeg -pix_fmt yuv420p"
                ));
            }
        })
    }
}

/// Frames a second as a fraction; 0:0 is one that nobody knows.
fn rate(value: &str) -> Result<Option<f64>, String> {
    let numbers = value.split_once(':');
    let numbers = numbers.and_then(|(n, d)| Some((n.parse::<u32>().ok()?, d.parse::<u32>().ok()?)));
    match numbers {
        Some((0, 0)) => Ok(None),
        Some((n, d)) if n > 0 && d > 0 => Ok(Some(f64::from(n) / f64::from(d))),
        _ => Err(format!("the first line has the frame rate F{value}, which is none")),
    }
}

/// The next line without its end; none at the end of the stream.
fn line(input: &mut impl BufRead) -> Result<Option<Vec<u8>>, String> {
    let mut line = Vec::new();
    let read = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
    match read.map_err(|error| format!("cannot read the video: {error}"))? {
        0 => Ok(None),
        _ if line.pop() == Some(b'\n') => Ok(Some(line)),
        _ => Err("the file is no Y4M video, or it is cut off; copy it anew".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::recordings::{Colour, Frames};
    use super::*;

    fn rows(bytes: &[u8], colour: Colour) -> Result<Vec<Vec<f64>>, String> {
        let mut video = Y4m::open(bytes)?;
        let config = Frames { colour, ..Frames::default() };
        let mut framing = Framing::new(video.size(), &config)?;
        let mut rows = Vec::new();
        while video.next()? {
            let mut row = Vec::new();
            video.row(&mut framing, colour == Colour::Rgb, &mut row);
            rows.push(row);
        }
        Ok(rows)
    }

    fn video(head: &str, frames: &[&[u8]]) -> Vec<u8> {
        let mut bytes = format!("YUV4MPEG2 {head}\n").into_bytes();
        for frame in frames {
            bytes.extend(b"FRAME\n");
            bytes.extend(*frame);
        }
        bytes
    }

    #[test]
    fn luma_is_brought_to_its_whole_range() {
        let mono = video("W2 H1 F30000:1001 Ip A1:1 Cmono", &[&[0, 255], &[7, 8]]);
        assert_eq!(rows(&mono, Colour::Grey).unwrap(), [[0., 255.], [7., 8.]]);
        let video420 = video("W2 H1 F25:1", &[&[16, 235, 1, 2], &[0, 125, 3, 4]]);
        let found = rows(&video420, Colour::Grey).unwrap();
        assert_eq!(found, [[0., 255.], [0., 109. * (255. / 219.)]]);
        let full = video("W2 H1 F25:1 C444 XCOLORRANGE=FULL", &[&[16, 235, 1, 1, 1, 1]]);
        assert_eq!(rows(&full, Colour::Grey).unwrap(), [[16., 235.]]);
        assert_eq!(Y4m::open(&mono[..]).unwrap().rate_hz(), Some(30000. / 1001.));
        assert_eq!(Y4m::open(&video("W2 H1 F0:0", &[])[..]).unwrap().rate_hz(), None);
    }

    #[test]
    fn colours_belong_to_their_pixels() {
        // Red, and black, in colours that 2 × 2 pixels share.
        let frame = [81, 81, 16, 81, 81, 16, 90, 128, 240, 128];
        let found = rows(&video("W3 H2 F1:1 C420jpeg", &[&frame]), Colour::Rgb).unwrap();
        let (red, black) = ([254.4, 0.0, 0.0], [0.0; 3]);
        for (pixel, expected) in found[0].chunks_exact(3).zip([red, red, black, red, red, black]) {
            assert!(pixel.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1.0), "{pixel:?}");
        }
        let frame422 = [81, 81, 16, 16, 90, 128, 240, 128];
        let found = rows(&video("W2 H2 F1:1 C422", &[&frame422]), Colour::Rgb).unwrap();
        assert!(found[0][0] > 250.0 && found[0][6] < 1.0, "{found:?}");
    }

    #[test]
    fn damage_is_named_with_its_frame() {
        let whole = video("W4 H2 F25:1 Cmono", &[&[9; 8], &[8; 8]]);
        assert!(
            rows(&whole[..whole.len() - 1], Colour::Grey)
                .unwrap_err()
                .starts_with("frame 1: it is cut")
        );
        let mut wrong = whole.clone();
        let n = wrong.len();
        wrong[n - 14] = b'G';
        assert!(rows(&wrong, Colour::Grey).unwrap_err().starts_with("frame 1: it does not begin"));
        for (head, part) in [
            ("H2 F25:1", "says no width"),
            ("Wx H2", "says no width"),
            ("W0 H2", "frames of 0 × 2"),
            ("W99999999 H99999999", "frames of 99999999 × 99999999"),
            ("W4 H2 F25", "the frame rate F25"),
            ("W4 H2 C420p10", "C420p10"),
        ] {
            let found = rows(&video(head, &[]), Colour::Grey).unwrap_err();
            assert!(found.contains(part), "{found}");
        }
        assert!(rows(b"", Colour::Grey).unwrap_err().contains("empty"));
        assert!(rows(b"RIFF....\n", Colour::Grey).unwrap_err().contains("does not begin"));
        assert!(rows(b"YUV4MPEG2 W4 H2", Colour::Grey).unwrap_err().contains("cut off"));
    }

    #[test]
    fn a_claimed_size_allocates_nothing() {
        let found = rows(&video("W5000 H5000 F25:1", &[&[1, 2, 3]]), Colour::Grey);
        assert!(found.unwrap_err().contains("give a smaller"), "before the frame is read");
    }
}
