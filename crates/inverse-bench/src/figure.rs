//! What all figures share: how they are kept, their colours and their font.

pub(crate) mod arrangement;
pub(crate) mod legend;
pub(crate) mod picture;

use std::path::Path;
use std::sync::Once;

use epaint_default_fonts::UBUNTU_LIGHT;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use crate::ResultFileError;
use crate::result_files::write_atomically;

/// A picture that can be kept as SVG and as PNG.
///
/// ```
/// use inverse_bench::{Figure, LineFigure, LinePanel, Series};
///
/// let points = vec![(0.0, 0.0), (1.0, 1.0)];
/// let panel = LinePanel { lines: vec![Series { label: "a".into(), points }], ..LinePanel::default() };
/// let figure = LineFigure { panels: vec![panel] };
/// let folder = tempfile::tempdir()?;
/// figure.save_png(&folder.path().join("line.png"))?;
/// assert!(figure.svg()?.contains("<svg"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Figure {
    /// The figure as SVG.
    ///
    /// # Errors
    /// [`ResultFileError::Format`] where drawing fails.
    fn svg(&self) -> Result<String, ResultFileError>;

    /// Writes the figure as PNG, in one step.
    ///
    /// # Errors
    /// [`ResultFileError`] where drawing or writing fails.
    fn save_png(&self, path: &Path) -> Result<(), ResultFileError>;

    /// Writes the figure as SVG, in one step.
    ///
    /// # Errors
    /// [`ResultFileError`] where drawing or writing fails.
    fn save_svg(&self, path: &Path) -> Result<(), ResultFileError> {
        write_atomically(path, self.svg()?.as_bytes())
    }
}

/// Colours that colour-blind readers can tell apart (Okabe and Ito 2008); grey for their yellow, which is too light
/// for lines on white.
pub(crate) const PALETTE: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
    RGBColor(128, 128, 128),
];

pub(crate) const FONT: &str = "sans-serif";
/// PNG pixels a unit of the figure: letters and lines stay smooth in print.
pub(crate) const PNG_SCALE: u32 = 2;

pub(crate) type DrawResult = Result<(), String>;

pub(crate) fn register_fonts() {
    static FONTS: Once = Once::new();
    FONTS.call_once(|| {
        // The font is known to be sound; if it were refused, drawing text would say so.
        let _ = register_font(FONT, FontStyle::Normal, UBUNTU_LIGHT);
    });
}

pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

pub(crate) fn color(labels: &[(String, bool)], name: &str) -> RGBColor {
    let index = labels.iter().position(|(label, _)| label == name).unwrap_or(0);
    PALETTE[index % PALETTE.len()]
}
