//! Smaller pictures by the mean of what each pixel covers.

use serde::{Deserialize, Serialize};

use crate::dispatch::vectorized;
use crate::error::check_option;
use crate::picture::Picture;
use crate::row_map::RowMap;
use crate::spec::Plain;
use crate::{Error, Stage, Step};

/// Each row is a picture, which becomes smaller: every pixel is the mean over the area that it covers of
/// the picture that came in, with pixels that it covers in part by their share; as `cv2.resize` with
/// `INTER_AREA`, without rounding to bytes. Channels `pixel_0`, `pixel_1`, …; a pixel that covers a
/// missing value is missing.
///
/// ```
/// use preprocess::{Pipeline, Resize, Rows, Stage};
///
/// let resize = Resize { width: 3, height: 1, to_width: 2, to_height: 1 };
/// let pipeline = Pipeline::fit(&[resize.into()], &Stage::unnamed(3), vec![])?;
/// let picture = Rows::of_series(3, None, vec![0.0, 3.0, 6.0]);
/// // (0 + 3/2)/1.5 and (3/2 + 6)/1.5
/// assert_eq!(pipeline.apply(picture.view())?.values(), [1.0, 5.0]);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// Pixels in a row of the picture that comes in.
    pub width: usize,
    /// Rows of the picture that comes in.
    pub height: usize,
    /// Pixels in a row of the picture that goes out, at most `width`.
    pub to_width: usize,
    /// Rows of the picture that goes out, at most `height`.
    pub to_height: usize,
}

const NAME: &str = "resize";

impl Plain for Resize {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        let Self { width, height, to_width, to_height } = *self;
        let picture = Picture::of(NAME, width, height, input)?;
        for (option, to, from) in [("to_width", to_width, width), ("to_height", to_height, height)]
        {
            let expected = format!("1 to {from} pixels, as pictures only become smaller");
            check_option(NAME, option, to as f64, (1..=from).contains(&to), expected)?;
        }
        Ok(Picture { width: to_width, height: to_height, ..picture }.stage(input))
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        let planes = input.channels() / (self.width * self.height);
        let (stride, to_stride) = (self.width * planes, self.to_width * planes);
        let across = covers(self.width, self.to_width);
        let down = covers(self.height, self.to_height);
        let mut line = vec![0.0; stride];
        RowMap::boxed(input, self.to_height * to_stride, move |row, out| {
            vectorized(
                #[inline(always)]
                || {
                    for (to, cover) in out.chunks_exact_mut(to_stride).zip(&down) {
                        // First down, over whole rows side by side, then across.
                        line.fill(0.0);
                        let rows = row.chunks_exact(stride).skip(cover.start);
                        for (from, &weight) in rows.zip(&cover.weights) {
                            line.iter_mut().zip(from).for_each(|(sum, v)| *sum += v * weight);
                        }
                        for (to, cover) in to.chunks_exact_mut(planes).zip(&across) {
                            let pixels = line.chunks_exact(planes).skip(cover.start);
                            for (from, &weight) in pixels.zip(&cover.weights) {
                                to.iter_mut().zip(from).for_each(|(sum, v)| *sum += v * weight);
                            }
                        }
                    }
                },
            );
        })
    }
}

/// What a pixel covers along one side: shares, from a place on, that add up to 1.
struct Cover {
    start: usize,
    weights: Vec<f64>,
}

/// What each of `to` pixels covers of `from`, counted in whole parts of `1/to` of a pixel.
fn covers(from: usize, to: usize) -> Vec<Cover> {
    let cover = |pixel: usize| {
        let (start, end) = (pixel * from, (pixel + 1) * from);
        let share = |place: usize| {
            let covered = end.min((place + 1) * to) - start.max(place * to);
            covered as f64 / from as f64
        };
        Cover { start: start / to, weights: (start / to..end.div_ceil(to)).map(share).collect() }
    };
    (0..to).map(cover).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rows;

    fn resize(spec: Resize, channels: usize, values: &[f64]) -> Vec<f64> {
        let input = Stage::unnamed(channels);
        let mut out = Rows::new(spec.plan(&input).unwrap().channels());
        let rows = Rows::of_series(channels, None, values.to_vec());
        spec.start(&input).push(rows.view(), &mut out);
        out.values().to_vec()
    }

    #[test]
    fn shares_add_up_and_cover_everything() {
        for (from, to) in [(1, 1), (7, 3), (640, 96), (97, 96), (5, 5)] {
            let covers = covers(from, to);
            let mut covered = vec![0.0; from];
            for cover in &covers {
                let sum: f64 = cover.weights.iter().sum();
                testkit::assert_close("sum", &[sum], &[1.0], 1e-14, 0.0);
                let places = covered[cover.start..].iter_mut().zip(&cover.weights);
                places.for_each(|(sum, weight)| *sum += weight);
            }
            let each = vec![to as f64 / from as f64; from];
            testkit::assert_close("covered", &covered, &each, 1e-14, 0.0);
        }
    }

    #[test]
    fn the_same_size_changes_nothing_and_planes_stay_apart() {
        let values = [1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0];
        let same = Resize { width: 2, height: 2, to_width: 2, to_height: 2 };
        testkit::assert_same_bits("same", &resize(same, 8, &values), &values);
        let one = Resize { to_width: 1, to_height: 1, ..same };
        testkit::assert_same_bits("planes", &resize(one, 8, &values), &[2.5, 25.0]);
    }

    #[test]
    fn larger_pictures_are_refused() {
        let good = Resize { width: 4, height: 3, to_width: 2, to_height: 2 };
        for bad in [
            Resize { to_width: 5, ..good },
            Resize { to_width: 0, ..good },
            Resize { to_height: 4, ..good },
            Resize { height: 4, ..good },
        ] {
            assert!(bad.plan(&Stage::unnamed(12)).is_err(), "{bad:?}");
        }
    }
}
