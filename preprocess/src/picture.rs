//! Rows that are pictures: one channel for each pixel and plane, row by row, planes side by side.

use crate::error::check_option;
use crate::{Error, Stage};

/// Size of a picture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Values of a pixel: 1 for grey, 3 for red, green, blue.
    pub(crate) planes: usize,
}

impl Picture {
    /// The picture of a size that comes in; its planes follow from the number of channels.
    pub(crate) fn of(
        step: &'static str,
        width: usize,
        height: usize,
        input: &Stage,
    ) -> Result<Self, Error> {
        let channels = input.channels();
        for (option, size) in [("width", width), ("height", height)] {
            let expected = format!("1 to {channels} pixels, as {channels} channels come in");
            check_option(step, option, size as f64, (1..=channels).contains(&size), expected)?;
        }
        let pixels = width.saturating_mul(height);
        let expected =
            format!("one for which width × height × planes is {channels}, the number of channels");
        check_option(step, "width", width as f64, channels.is_multiple_of(pixels), expected)?;
        Ok(Self { width, height, planes: channels / pixels })
    }

    /// Values of a row of pixels.
    pub(crate) fn stride(&self) -> usize {
        self.width * self.planes
    }

    /// A stage of pixels `pixel_0`, `pixel_1`, …, numbered value by value.
    pub(crate) fn stage(&self, input: &Stage) -> Stage {
        let names = (0..self.height * self.stride()).map(|place| format!("pixel_{place}"));
        Stage { names: names.collect(), rate_hz: input.rate_hz }
    }
}
