//! Panels of a picture: curves, and bars.

use anyhow::anyhow;
use plotters::chart::ChartBuilder;
use plotters::coord::Shift;
use plotters::element::{Circle, Rectangle, Text};
use plotters::prelude::{DrawingArea, DrawingBackend, LineSeries, RGBColor};
use plotters::series::DashedLineSeries;
use plotters::style::{Color, IntoFont};

/// Colours that are told apart without colour vision, as one is dark and one light; the second is dashed.
pub(crate) const COLOURS: [RGBColor; 2] = [RGBColor(0, 68, 136), RGBColor(221, 119, 0)];

/// The letters of all text.
pub(crate) const FONT: (&str, i32) = ("sans-serif", 12);

/// Points from left to right; one whose second number is NaN is a gap.
pub(crate) type Curve = Vec<(f64, f64)>;

/// Curves with axes.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) x: String,
    /// At most two, with their names.
    pub(crate) curves: Vec<(String, Curve)>,
}

/// A bar for each name.
pub(crate) struct Bars {
    pub(crate) title: String,
    pub(crate) bars: Vec<(String, usize)>,
}

impl Panel {
    /// Draws it.
    ///
    /// # Errors
    /// If the backend fails.
    pub(crate) fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> anyhow::Result<()> {
        let points = || self.curves.iter().flat_map(|(_, curve)| curve);
        let x = range(points().map(|point| point.0));
        let y = range(points().map(|point| point.1));
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, FONT)
            .margin(4)
            .margin_right(14)
            .x_label_area_size(32)
            .y_label_area_size(52)
            .build_cartesian_2d(x.0..x.1, y.0..y.1)
            .map_err(|error| anyhow!("{error}"))?;
        chart
            .configure_mesh()
            .x_desc(&self.x)
            .x_labels(5)
            .y_labels(4)
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|at| short(if at.abs() < 1e-9 * (y.1 - y.0) { 0.0 } else { *at }))
            .label_style(FONT)
            .max_light_lines(0)
            .draw()
            .map_err(|error| anyhow!("{error}"))?;
        // On the right of the title, also where there is little room.
        let left = i32::try_from(area.dim_in_pixel().0).map_or(300, |width| 300.min(width - 120));
        for ((i, (name, curve)), top) in self.curves.iter().enumerate().zip([1, 13]) {
            let style = COLOURS[i % COLOURS.len()].stroke_width(1);
            for piece in curve.split(|point| !point.1.is_finite()) {
                let points = piece.iter().copied();
                let drawn = if let &[point] = piece {
                    // A line of one point is not seen.
                    let dot = Circle::new(point, 2, COLOURS[i % COLOURS.len()].filled());
                    chart.draw_series([dot]).map(|_| ())
                } else if i == 0 {
                    chart.draw_series(LineSeries::new(points, style)).map(|_| ())
                } else {
                    chart.draw_series(DashedLineSeries::new(points, 5, 3, style)).map(|_| ())
                };
                drawn.map_err(|error| anyhow!("{error}"))?;
            }
            if self.curves.len() > 1 {
                let what = if i == 0 { "solid" } else { "dashed" };
                let colour = COLOURS[i % COLOURS.len()];
                let font = FONT.into_font().color(&colour);
                let label = Text::new(format!("{name}: {what}"), (left, top), font);
                area.draw(&label).map_err(|error| anyhow!("{error}"))?;
            }
        }
        Ok(())
    }
}

impl Bars {
    /// Draws them, one below the other, with their numbers.
    ///
    /// # Errors
    /// If the backend fails.
    pub(crate) fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> anyhow::Result<()> {
        const LINE: i32 = 22;
        let most = self.bars.iter().map(|(_, n)| *n).max().unwrap_or(0).max(1);
        let width = i32::try_from(area.dim_in_pixel().0).unwrap_or(i32::MAX);
        let (left, right) = (160, (width - 90).max(200));
        let put = |text: &str, at: (i32, i32)| {
            area.draw(&Text::new(text.to_owned(), at, FONT)).map_err(|error| anyhow!("{error}"))
        };
        put(&self.title, (12, 8))?;
        for ((name, n), top) in self.bars.iter().zip((30..).step_by(LINE as usize)) {
            let share = *n as f64 / most as f64;
            let end = left + (share * f64::from(right - left)).round() as i32;
            let name: String = name.chars().take(22).collect();
            put(&name, (12, top + 2))?;
            let bar = Rectangle::new([(left, top), (end, top + LINE - 6)], COLOURS[0].filled());
            area.draw(&bar).map_err(|error| anyhow!("{error}"))?;
            put(&n.to_string(), (end + 6, top + 2))?;
        }
        Ok(())
    }
}

/// The finite ones from the smallest to the largest, with some room where they are one.
fn range(numbers: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = numbers.filter(|number| number.is_finite());
    let (low, high) =
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), n| (l.min(n), h.max(n)));
    if low > high {
        return (0.0, 1.0);
    }
    let room = if high - low > 1e-9 * high.abs().max(low.abs()) {
        0.03 * (high - low)
    } else {
        0.5 * high.abs().max(1.0)
    };
    (low - room, high + room)
}

/// A number on an axis.
pub(crate) fn short(number: f64) -> String {
    if number != 0.0 && !(1e-3..1e5).contains(&number.abs()) {
        return format!("{number:.1e}");
    }
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_room_around_any_numbers() {
        for numbers in [
            &[][..],
            &[f64::NAN],
            &[0.0],
            &[-5.0, -5.0],
            &[1e300, 1e300],
            &[1.0, 2.0, f64::INFINITY],
        ] {
            let (low, high) = range(numbers.iter().copied());
            assert!(low < high && low.is_finite() && high.is_finite(), "{numbers:?}");
        }
        assert_eq!(
            ["0", "1.5", "-20", "1.0e-4", "2.5e6"].map(str::to_owned),
            [0.0, 1.5, -20.0, 1e-4, 2.5e6].map(short)
        );
    }
}
