//! Pictures: what draws on both kinds of file, and the parts that pictures share.

#[cfg(feature = "plot")]
mod chart;
#[cfg(feature = "plot")]
mod draw;
#[cfg(feature = "plot")]
mod raster;

use std::path::Path;

use anyhow::{bail, ensure};

#[cfg(feature = "plot")]
pub(crate) use chart::{Bars, COLOURS, Curve, FONT, Panel, short};
#[cfg(feature = "plot")]
pub(crate) use draw::{Draw, bytes};

/// Refuses a picture that cannot be made, before the data is read.
///
/// # Errors
/// If this build makes none, or the file's name says no format that it knows.
pub(crate) fn check(plot: &Path) -> anyhow::Result<()> {
    if !cfg!(feature = "plot") {
        bail!("--plot: this edgectl was built without pictures; build it with the feature plot");
    }
    ensure!(
        is_png(plot) || has_extension(plot, "svg"),
        "{}: pictures are written as SVG or PNG; name a file that ends in .svg or .png",
        plot.display()
    );
    Ok(())
}

/// Whether the file is to be of pixels.
pub(crate) fn is_png(plot: &Path) -> bool {
    has_extension(plot, "png")
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}
