//! Pictures of three colours become grey.

use serde::{Deserialize, Serialize};

use crate::dispatch::vectorized;
use crate::error::check_option;
use crate::picture::Picture;
use crate::row_map::RowMap;
use crate::spec::Plain;
use crate::{Error, Stage, Step};

/// Each row is a picture of red, green and blue, three values for each pixel, and becomes one value for
/// each: `0.299·r + 0.587·g + 0.114·b` (ITU-R BT.601, as `cv2.cvtColor(…, COLOR_RGB2GRAY)`). Channels
/// `pixel_0`, `pixel_1`, …; a pixel with a missing value is missing.
///
/// ```
/// use preprocess::{Grey, Pipeline, Rows, Stage};
///
/// let configs = [Grey { width: 2, height: 1 }.into()];
/// let pipeline = Pipeline::fit(&configs, &Stage::unnamed(6), vec![])?;
/// let picture = Rows::of_series(6, None, vec![100.0, 0.0, 0.0, 50.0, 50.0, 50.0]);
/// let grey = pipeline.apply(picture.view())?;
/// assert!((grey.values()[0] - 29.9).abs() < 1e-12 && (grey.values()[1] - 50.0).abs() < 1e-12);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grey {
    /// Pixels in a row of the picture.
    pub width: usize,
    /// Rows of the picture.
    pub height: usize,
}

const NAME: &str = "grey";

impl Plain for Grey {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        let picture = Picture::of(NAME, self.width, self.height, input)?;
        let expected = "3 planes: red, green and blue";
        check_option(NAME, "planes", picture.planes as f64, picture.planes == 3, expected)?;
        Ok(Picture { planes: 1, ..picture }.stage(input))
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        RowMap::boxed(input, self.width * self.height, |row, out| {
            vectorized(
                #[inline(always)]
                || {
                    for (to, pixel) in out.iter_mut().zip(row.chunks_exact(3)) {
                        *to = 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2];
                    }
                },
            );
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pictures_of_three_colours_are_taken() {
        let plan = |width, height, channels| Grey { width, height }.plan(&Stage::unnamed(channels));
        assert_eq!(plan(4, 2, 24).unwrap().names[7], "pixel_7");
        for (width, height, channels) in
            [(4, 2, 8), (4, 2, 32), (5, 2, 24), (0, 2, 24), (2, 0, 24), (usize::MAX, 2, 24)]
        {
            assert!(plan(width, height, channels).is_err(), "{width} × {height} of {channels}");
        }
    }
}
