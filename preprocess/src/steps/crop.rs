//! A part of a picture.

use serde::{Deserialize, Serialize};

use crate::error::check_option;
use crate::picture::Picture;
use crate::row_map::RowMap;
use crate::spec::Plain;
use crate::{Error, Stage, Step};

/// Each row is a picture, of which a rectangle is kept, with the names that its channels have.
///
/// ```
/// use preprocess::{Crop, Pipeline, Rows, Stage};
///
/// let crop = Crop { width: 3, height: 2, left: 1, top: 0, to_width: 2, to_height: 1 };
/// let pipeline = Pipeline::fit(&[crop.into()], &Stage::unnamed(6), vec![])?;
/// let picture = Rows::of_series(6, None, vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
/// assert_eq!(pipeline.apply(picture.view())?.values(), [1.0, 2.0]);
/// assert_eq!(pipeline.output().names, ["dim_1", "dim_2"]);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// Pixels in a row of the picture that comes in.
    pub width: usize,
    /// Rows of the picture that comes in.
    pub height: usize,
    /// Pixels that are cut off on the left.
    #[serde(default)]
    pub left: usize,
    /// Rows that are cut off at the top.
    #[serde(default)]
    pub top: usize,
    /// Pixels in a row that are kept.
    pub to_width: usize,
    /// Rows that are kept.
    pub to_height: usize,
}

const NAME: &str = "crop";

impl Crop {
    /// Where the values that are kept lie, row by row.
    fn kept(&self, picture: Picture) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let Self { left, top, to_width, to_height, .. } = *self;
        (top..top + to_height).map(move |row| {
            let start = row * picture.stride() + left * picture.planes;
            start..start + to_width * picture.planes
        })
    }
}

impl Plain for Crop {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        let Self { width, height, left, top, to_width, to_height } = *self;
        let picture = Picture::of(NAME, width, height, input)?;
        for (option, to, option_before, before, size) in [
            ("to_width", to_width, "left", left, width),
            ("to_height", to_height, "top", top, height),
        ] {
            let expected = format!("less than the {size} pixels there are");
            check_option(NAME, option_before, before as f64, before < size, expected)?;
            let most = size - before;
            let expected =
                format!("1 to {most} of {size} pixels from {option_before} = {before} on");
            check_option(NAME, option, to as f64, (1..=most).contains(&to), expected)?;
        }
        let names = self.kept(picture).flat_map(|places| input.names[places].to_vec());
        Ok(Stage { names: names.collect(), rate_hz: input.rate_hz })
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        let planes = input.channels() / (self.width * self.height);
        let picture = Picture { width: self.width, height: self.height, planes };
        let kept: Vec<_> = self.kept(picture).collect();
        let stride = self.to_width * planes;
        RowMap::boxed(input, self.to_height * stride, move |row, out| {
            for (to, places) in out.chunks_exact_mut(stride).zip(&kept) {
                to.copy_from_slice(&row[places.clone()]);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rows;

    #[test]
    fn planes_stay_together() {
        let crop = Crop { width: 2, height: 2, left: 1, top: 1, to_width: 1, to_height: 1 };
        let input = Stage::unnamed(12);
        assert_eq!(crop.plan(&input).unwrap().names, ["dim_9", "dim_10", "dim_11"]);
        let mut out = Rows::new(3);
        let rows = Rows::of_series(12, None, (0..12).map(f64::from).collect());
        crop.start(&input).push(rows.view(), &mut out);
        assert_eq!(out.values(), [9.0, 10.0, 11.0]);
    }

    #[test]
    fn what_lies_outside_is_refused() {
        let good = Crop { width: 4, height: 3, left: 1, top: 1, to_width: 3, to_height: 2 };
        good.plan(&Stage::unnamed(12)).unwrap();
        for bad in [
            Crop { left: 4, ..good },
            Crop { left: usize::MAX, ..good },
            Crop { to_width: 4, ..good },
            Crop { to_width: 0, ..good },
            Crop { to_height: 3, ..good },
            Crop { to_height: usize::MAX, ..good },
            Crop { top: 3, ..good },
            Crop { width: 5, ..good },
        ] {
            assert!(bad.plan(&Stage::unnamed(12)).is_err(), "{bad:?}");
        }
    }
}
