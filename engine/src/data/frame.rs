//! A frame of a video or a folder: from pixels to a row of values from 0 to 255.

use super::recordings::{Colour, Frames};

/// Most pixels of a frame that is decoded.
pub(super) const MAX_PIXELS: u64 = 1 << 25;

/// Most values of a frame, each of which is a channel.
const MAX_VALUES: usize = 1 << 19;

/// Width and height.
pub(super) type Size = [usize; 2];

/// The parts of red, green and blue in the brightness (ITU-R BT.601).
const BRIGHTNESS: [f64; 3] = [0.299, 0.587, 0.114];

/// Makes rows of frames that all have one size.
#[derive(Debug)]
pub(super) struct Framing {
    from: Size,
    to: Size,
    colour: Colour,
    /// What each column and each row of the result is a mean of, once there was a frame: until then its
    /// size is only claimed.
    spans: Option<[Vec<Span>; 2]>,
    line: Vec<f64>,
    narrow: Vec<f64>,
}

/// The pixels in a line that a new one covers, each with its part of it.
#[derive(Debug)]
struct Span {
    start: usize,
    parts: Vec<f64>,
}

impl Framing {
    /// Of frames of a size.
    ///
    /// # Errors
    /// If they have no pixel, or more values than can be channels.
    pub(super) fn new(from: Size, config: &Frames) -> Result<Self, String> {
        let to = config.size.unwrap_or(from);
        if config.size.is_some_and(|size| size.contains(&0)) {
            return Err(
                "data.frames.size has a 0; give the width and the height of a frame".to_owned()
            );
        }
        let colour = config.colour;
        let n_values = to[0].saturating_mul(to[1]).saturating_mul(planes(colour));
        if from.contains(&0) || n_values > MAX_VALUES {
            return Err(format!(
                "a frame of {} × {} has {n_values} values, but at least 1 and at most {MAX_VALUES} can \
                 be read; give a smaller data.frames.size",
                to[0], to[1]
            ));
        }
        Ok(Self { from, to, colour, spans: None, line: Vec::new(), narrow: Vec::new() })
    }

    /// The size of the frames that it takes.
    pub(super) fn from(&self) -> Size {
        self.from
    }

    /// What the channels are called.
    pub(super) fn names(&self) -> Vec<String> {
        let pixels = 0..self.to[0] * self.to[1];
        match self.colour {
            Colour::Grey => pixels.map(|pixel| format!("p{pixel}")).collect(),
            Colour::Rgb => {
                let of_pixel = |pixel| ["r", "g", "b"].map(|plane| format!("p{pixel}_{plane}"));
                pixels.flat_map(of_pixel).collect()
            }
        }
    }

    /// The row of a grey frame.
    pub(super) fn row_of_grey(&mut self, pixels: impl Iterator<Item = f64>, row: &mut Vec<f64>) {
        match self.colour {
            Colour::Grey => self.row_of(pixels, 1, row),
            Colour::Rgb => self.row_of(pixels.flat_map(|grey| [grey; 3]), 3, row),
        }
    }

    /// The row of a frame in colours.
    pub(super) fn row_of_rgb(
        &mut self,
        pixels: impl Iterator<Item = [f64; 3]>,
        row: &mut Vec<f64>,
    ) {
        match self.colour {
            Colour::Grey => self.row_of(pixels.map(brightness), 1, row),
            Colour::Rgb => self.row_of(pixels.flatten(), 3, row),
        }
    }

    /// Means over areas: of each line along the width, which are then added to the rows they are in.
    fn row_of(&mut self, values: impl Iterator<Item = f64>, planes: usize, row: &mut Vec<f64>) {
        row.clear();
        let (from, to) = (self.from, self.to);
        if from == to {
            row.extend(values);
            return;
        }
        let all_spans = || [0, 1].map(|axis| spans(from[axis], to[axis]));
        let [columns, rows] = &*self.spans.get_or_insert_with(all_spans);
        let n_out = columns.len() * planes;
        row.resize(n_out * rows.len(), 0.0);
        let mut values = values.peekable();
        let (mut y, mut first) = (0, 0);
        while values.peek().is_some() {
            self.line.clear();
            self.line.extend(values.by_ref().take(self.from[0] * planes));
            self.narrow.clear();
            for span in columns {
                for plane in 0..planes {
                    let pixels = self.line[span.start * planes + plane..].iter().step_by(planes);
                    self.narrow.push(span.parts.iter().zip(pixels).map(|(part, x)| part * x).sum());
                }
            }
            while first < rows.len() && rows[first].end() <= y {
                first += 1;
            }
            for (at, span) in
                rows.iter().enumerate().skip(first).take_while(|(_, span)| span.start <= y)
            {
                let part = span.parts[y - span.start];
                let sums: &mut [f64] = &mut row[at * n_out..][..n_out];
                sums.iter_mut().zip(&self.narrow).for_each(|(sum, x)| *sum += part * x);
            }
            y += 1;
        }
    }
}

impl Span {
    fn end(&self) -> usize {
        self.start + self.parts.len()
    }
}

/// Values of a pixel.
fn planes(colour: Colour) -> usize {
    match colour {
        Colour::Grey => 1,
        Colour::Rgb => 3,
    }
}

/// How bright a colour is.
fn brightness(rgb: [f64; 3]) -> f64 {
    rgb.iter().zip(BRIGHTNESS).map(|(value, part)| value * part).sum()
}

/// Cuts a line of `from` pixels into `to` equal pieces.
fn spans(from: usize, to: usize) -> Vec<Span> {
    let (len, to_f) = (from as f64 / to as f64, to as f64);
    let span = |index: usize| {
        // Whole numbers where they are exact, as a rounded edge would reach into a pixel outside.
        let (start, end) = (index * from / to, ((index + 1) * from).div_ceil(to));
        let (left, right) = ((index * from) as f64 / to_f, ((index + 1) * from) as f64 / to_f);
        let part = |pixel: usize| {
            let covered = right.min((pixel + 1) as f64) - left.max(pixel as f64);
            covered.max(0.0) / len
        };
        Span { start, parts: (start..end).map(part).collect() }
    };
    (0..to).map(span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(from: Size, size: Option<Size>, colour: Colour) -> Framing {
        Framing::new(from, &Frames { size, colour, fps: None }).unwrap()
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        let is_close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
        assert!(found.iter().zip(expected).all(is_close), "{found:?} {expected:?}");
    }

    #[test]
    fn a_pixel_is_the_mean_of_its_area() {
        let mut row = Vec::new();
        let pixels = [0., 3., 6., 9., 12., 15.].into_iter();
        framing([3, 2], Some([2, 1]), Colour::Grey).row_of_grey(pixels.clone(), &mut row);
        close(&row, &[(0. + 3. / 2. + 9. + 12. / 2.) / 3., (3. / 2. + 6. + 12. / 2. + 15.) / 3.]);
        framing([3, 2], Some([6, 2]), Colour::Grey).row_of_grey(pixels.clone(), &mut row);
        close(&row, &[0., 0., 3., 3., 6., 6., 9., 9., 12., 12., 15., 15.]);
        framing([3, 2], None, Colour::Grey).row_of_grey(pixels, &mut row);
        close(&row, &[0., 3., 6., 9., 12., 15.]);
    }

    #[test]
    fn the_mean_of_a_frame_stays() {
        for (from, to) in
            [([7, 5], [3, 2]), ([160, 120], [48, 36]), ([3, 3], [5, 4]), ([1, 1], [2, 2])]
        {
            let n = from[0] * from[1];
            let pixels = (0..n).map(|i| [(i * 7 % 256) as f64, (i * 13 % 256) as f64, 1.0]);
            let mut row = Vec::new();
            framing(from, Some(to), Colour::Rgb).row_of_rgb(pixels.clone(), &mut row);
            assert_eq!(row.len(), to[0] * to[1] * 3);
            for plane in 0..3 {
                let mean = pixels.clone().map(|rgb| rgb[plane]).sum::<f64>() / n as f64;
                let found = row.iter().skip(plane).step_by(3).sum::<f64>() / (to[0] * to[1]) as f64;
                close(&[found], &[mean]);
            }
        }
    }

    #[test]
    fn colours_become_brightness_and_grey_becomes_colours() {
        let mut row = Vec::new();
        framing([1, 1], None, Colour::Grey).row_of_rgb([[10., 20., 30.]].into_iter(), &mut row);
        close(&row, &[2.99 + 11.74 + 3.42]);
        let mut colours = framing([1, 1], None, Colour::Rgb);
        colours.row_of_grey([7.].into_iter(), &mut row);
        close(&row, &[7.; 3]);
        assert_eq!(colours.names(), ["p0_r", "p0_g", "p0_b"]);
        assert_eq!(framing([2, 1], None, Colour::Grey).names(), ["p0", "p1"]);
    }

    #[test]
    fn a_claimed_size_allocates_nothing() {
        let mut framing = framing([1, 1 << 24], Some([1, 1]), Colour::Grey);
        assert!(framing.spans.is_none());
        let mut row = Vec::new();
        framing.row_of_grey((0..1 << 24).map(|_| 7.0), &mut row);
        assert!((row[0] - 7.0).abs() < 1e-6, "{row:?}");
    }

    #[test]
    fn sizes_without_end_are_refused() {
        let error =
            |from, size| Framing::new(from, &Frames { size, ..Frames::default() }).unwrap_err();
        assert!(error([4096, 4096], None).contains("give a smaller data.frames.size"));
        assert!(error([4, 4], Some([usize::MAX, 9])).contains("at most 524288"));
        assert!(error([4, 4], Some([0, 9])).contains("has a 0"));
        assert!(error([0, 4], None).contains("at least 1"));
    }
}
