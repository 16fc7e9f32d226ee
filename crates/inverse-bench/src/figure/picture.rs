//! What every figure's files have in common.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::ResultFileError;
use crate::figure::{PNG_SCALE, register_fonts};
use crate::result_files::write_atomically;

/// Draws on an SVG of that size; gives the SVG and what the drawing gave.
pub(crate) fn svg<R>(
    size: (u32, u32),
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Result<R, String>,
) -> Result<(String, R), ResultFileError> {
    register_fonts();
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let drawn =
        draw(&area).map_err(|reason| ResultFileError::Format { path: "figure.svg".into(), reason })?;
    drop(area);
    Ok((svg, drawn))
}

/// Writes a PNG in one step; its size is given in the figure's units, each [`PNG_SCALE`] pixels.
pub(crate) fn save_png(
    path: &Path,
    (width, height): (u32, u32),
    draw: impl FnOnce(&DrawingArea<BitMapBackend<'_>, Shift>) -> Result<(), String>,
) -> Result<(), ResultFileError> {
    register_fonts();
    // plotters writes pictures by itself, to a path: let it write elsewhere, then move the bytes.
    let failed = |source| ResultFileError::Io { path: path.into(), source };
    let file = tempfile::Builder::new().suffix(".png").tempfile().map_err(failed)?;
    let size = (width * PNG_SCALE, height * PNG_SCALE);
    let area = BitMapBackend::new(file.path(), size).into_drawing_area();
    draw(&area).map_err(|reason| ResultFileError::Format { path: path.into(), reason })?;
    write_atomically(path, &std::fs::read(file.path()).map_err(failed)?)
}
