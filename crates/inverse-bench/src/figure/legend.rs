//! The legend below a figure's panels: as many rows as its names need.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{DrawResult, FONT, color, register_fonts, text};

pub(crate) const LEGEND_ROW: u32 = 36;
const LEGEND_MARK: u32 = 30;
const LEGEND_FONT: u32 = 19;
/// Room between a legend's mark and its name, and half of that between two entries.
pub(crate) const LEGEND_GAP: u32 = 10;

/// One name in the legend and the room that it takes.
pub(crate) struct LegendEntry {
    name: String,
    is_curve: bool,
    pub(crate) width: u32,
}

/// Entries of the legend with their widths, in rows that fit the figure.
pub(crate) fn lay_out(labels: &[(String, bool)], figure_width: u32) -> Vec<Vec<LegendEntry>> {
    register_fonts();
    let mut rows: Vec<Vec<LegendEntry>> = Vec::new();
    let mut used = 0;
    for (name, is_curve) in labels {
        // Where a name cannot be measured, a guess keeps the legend legible.
        let measured = (FONT, LEGEND_FONT).into_font().box_size(name);
        let letters = measured.unwrap_or((10 * name.chars().count() as u32, 0)).0;
        let width = LEGEND_MARK + 4 * LEGEND_GAP + letters;
        if rows.is_empty() || used + width > figure_width {
            rows.push(Vec::new());
            used = 0;
        }
        used += width;
        if let Some(row) = rows.last_mut() {
            row.push(LegendEntry { name: name.clone(), is_curve: *is_curve, width });
        }
    }
    rows
}

/// Draws the rows from top to bottom, each in the middle of the figure.
pub(crate) fn draw_legend<B: DrawingBackend>(
    rows: &[Vec<LegendEntry>],
    labels: &[(String, bool)],
    area: &DrawingArea<B, Shift>,
    scale: u32,
) -> DrawResult {
    let (width, _) = area.dim_in_pixel();
    let (gap, mark) = ((LEGEND_GAP * scale) as i32, (LEGEND_MARK * scale) as i32);
    for (row, entries) in rows.iter().enumerate() {
        let taken = entries.iter().map(|entry| entry.width * scale).sum::<u32>();
        let mut left = width.saturating_sub(taken) as i32 / 2 + gap;
        let middle = (LEGEND_ROW * scale) as i32 * row as i32 + (LEGEND_ROW * scale) as i32 / 2;
        for entry in entries {
            let style = color(labels, &entry.name).stroke_width(3 * scale);
            if entry.is_curve {
                area.draw(&PathElement::new(vec![(left, middle), (left + mark, middle)], style))
                    .map_err(text)?;
            } else {
                area.draw(&Cross::new((left + mark / 2, middle), 8 * scale, style)).map_err(text)?;
            }
            let font = (FONT, LEGEND_FONT * scale).into_font().color(&BLACK);
            let font = font.pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(entry.name.clone(), (left + mark + gap, middle), font)).map_err(text)?;
            left += (entry.width * scale) as i32;
        }
    }
    Ok(())
}
