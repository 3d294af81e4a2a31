//! A picture as the bytes of a file.

use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend, IntoDrawingArea, SVGBackend};

use super::raster::Raster;

/// What can be drawn on any backend.
pub(crate) trait Draw {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    /// Draws all of it.
    ///
    /// # Errors
    /// If the backend fails.
    fn draw<B: DrawingBackend>(&self, root: &DrawingArea<B, Shift>) -> anyhow::Result<()>;
}

/// The picture as PNG, or else as SVG.
///
/// # Errors
/// If it cannot be drawn.
pub(crate) fn bytes(picture: &impl Draw, as_png: bool) -> anyhow::Result<Vec<u8>> {
    if as_png {
        let mut raster = Raster::new(picture.size());
        picture.draw(&raster.backend().into_drawing_area())?;
        return raster.png();
    }
    let mut text = String::new();
    picture.draw(&SVGBackend::with_string(&mut text, picture.size()).into_drawing_area())?;
    Ok(text.into_bytes())
}
