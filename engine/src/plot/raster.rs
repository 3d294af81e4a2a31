//! A picture of pixels: for programs that show no SVG.

use std::convert::Infallible;

use anyhow::Context;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::{MonoTextStyle, iso_8859_1::FONT_6X13};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::text::{Baseline, Text};
use embedded_graphics::{Drawable, Pixel};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendTextStyle, DrawingBackend, DrawingErrorKind,
};

/// Width and height of a letter.
const LETTER: (i32, i32) = (6, 13);

/// Pixels, three bytes each, line after line.
pub(crate) struct Raster {
    size: (u32, u32),
    pixels: Vec<u8>,
}

/// What draws on pixels.
pub(crate) struct Backend<'a>(&'a mut Raster);

impl Raster {
    /// A white one.
    pub(crate) fn new(size: (u32, u32)) -> Self {
        Self { size, pixels: vec![255; 3 * size.0 as usize * size.1 as usize] }
    }

    pub(crate) fn backend(&mut self) -> Backend<'_> {
        Backend(self)
    }

    /// The picture as PNG.
    ///
    /// # Errors
    /// If it cannot be packed.
    pub(crate) fn png(&self) -> anyhow::Result<Vec<u8>> {
        let failed = || "the picture cannot be packed as PNG";
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.size.0, self.size.1);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().with_context(failed)?;
        writer.write_image_data(&self.pixels).with_context(failed)?;
        writer.finish().with_context(failed)?;
        Ok(bytes)
    }

    /// Mixes a colour into a pixel; what is outside is left out.
    fn mix(&mut self, (x, y): BackendCoord, (r, g, b): (u8, u8, u8), alpha: f64) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
        if x >= self.size.0 || y >= self.size.1 {
            return;
        }
        let at = 3 * (y as usize * self.size.0 as usize + x as usize);
        for (old, new) in self.pixels[at..at + 3].iter_mut().zip([r, g, b]) {
            let mixed = f64::from(*old) + alpha * (f64::from(new) - f64::from(*old));
            *old = mixed.round().clamp(0.0, 255.0) as u8;
        }
    }
}

impl DrawingBackend for Backend<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.0.size
    }

    fn ensure_prepared(&mut self) -> Result<(), DrawingErrorKind<Infallible>> {
        Ok(())
    }

    fn present(&mut self) -> Result<(), DrawingErrorKind<Infallible>> {
        Ok(())
    }

    fn draw_pixel(
        &mut self,
        point: BackendCoord,
        color: BackendColor,
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        self.0.mix(point, color.rgb, color.alpha);
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        (x, y): BackendCoord,
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        let (width, height) = size_of(text);
        let anchor = style.anchor();
        let left = match anchor.h_pos {
            HPos::Left => x,
            HPos::Center => x - width / 2,
            HPos::Right => x - width,
        };
        let top = match anchor.v_pos {
            VPos::Top => y,
            VPos::Center => y - height / 2,
            VPos::Bottom => y - height,
        };
        let (r, g, b) = style.color().rgb;
        let letters = MonoTextStyle::new(&FONT_6X13, Rgb888::new(r, g, b));
        let text = Text::with_baseline(text, Point::new(left, top), letters, Baseline::Top);
        match text.draw(self) {
            Ok(_) => Ok(()),
        }
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        _: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let (width, height) = size_of(text);
        Ok((width.unsigned_abs(), height.unsigned_abs()))
    }
}

impl DrawTarget for Backend<'_> {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        for Pixel(at, colour) in pixels {
            self.0.mix((at.x, at.y), (colour.r(), colour.g(), colour.b()), 1.0);
        }
        Ok(())
    }
}

impl OriginDimensions for Backend<'_> {
    fn size(&self) -> Size {
        Size::new(self.0.size.0, self.0.size.1)
    }
}

fn size_of(text: &str) -> (i32, i32) {
    let n = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let pixels = |n: usize, each: i32| i32::from(u16::try_from(n).unwrap_or(u16::MAX)) * each;
    (pixels(n, LETTER.0), pixels(text.lines().count().max(1), LETTER.1))
}

#[cfg(test)]
mod tests {
    use plotters::element::Text;
    use plotters::prelude::{BLACK, IntoDrawingArea, Rectangle};
    use plotters::style::{Color, IntoFont};

    use super::*;

    #[test]
    fn what_is_drawn_is_in_the_file() {
        let mut raster = Raster::new((60, 20));
        let root = raster.backend().into_drawing_area();
        root.draw(&Rectangle::new([(50, 0), (90, 19)], BLACK.mix(0.5).filled())).unwrap();
        root.draw(&Text::new("I", (0, 0), ("sans-serif", 12).into_font())).unwrap();
        drop(root);
        let bytes = raster.png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (60, 20));
        let at = |x: usize, y: usize| pixels[3 * (y * 60 + x)];
        assert_eq!((at(30, 10), at(55, 10)), (255, 128));
        let dark =
            (0..13).flat_map(|y| (0..6).map(move |x| (x, y))).filter(|&(x, y)| at(x, y) == 0);
        assert!((8..40).contains(&dark.count()), "a letter");
    }
}
