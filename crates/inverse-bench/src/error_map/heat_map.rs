//! The map of errors under each panel: runs of equal colours, kept once in an SVG.

use std::fmt::Write;
use std::ops::Range;

use super::ResidualGrid;
use super::color_scale::{ColorScale, LEVELS, level_color};

/// Neighbouring cells of one row and one colour.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    pub(super) level: usize,
    pub(super) row: usize,
    pub(super) columns: Range<usize>,
}

/// The cells of a grid, (points − 1) a side, as runs; cells without value are in none.
pub(super) fn runs(grid: &ResidualGrid, scale: &ColorScale) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for ((row, column), error) in grid.cell_errors().indexed_iter() {
        let Some(level) = scale.level(*error) else { continue };
        match runs.last_mut() {
            Some(run) if (run.level, run.row, run.columns.end) == (level, row, column) => {
                run.columns.end += 1;
            }
            _ => runs.push(Run { level, row, columns: column..column + 1 }),
        }
    }
    runs
}

/// Pixels, from left to right and from top to bottom, that a panel's map covers.
pub(super) type Place = (Range<i32>, Range<i32>);

/// An SVG symbol with the map, in units of cells, and one use of it for each panel.
///
/// plotters would write every cell of every panel as an element of its own: megabytes.
pub(super) fn svg_element(runs: &[Run], cells: usize, places: &[Place]) -> String {
    let mut svg = String::from("<defs>\n<g id=\"error-map\" shape-rendering=\"crispEdges\">\n");
    for level in 0..LEVELS {
        let runs = runs.iter().filter(|run| run.level == level);
        // Rows count upwards, pixels downwards.
        let path = runs.fold(String::new(), |mut path, run| {
            let width = run.columns.len();
            // Writing to a string cannot fail.
            let _ = write!(path, "M{} {}h{width}v1h-{width}z", run.columns.start, cells - 1 - run.row);
            path
        });
        if !path.is_empty() {
            let color = level_color(level);
            let _ =
                writeln!(svg, "<path fill=\"#{:02X}{:02X}{:02X}\" d=\"{path}\"/>", color.0, color.1, color.2);
        }
    }
    svg += "</g>\n</defs>\n";
    for (across, down) in places {
        let size = |range: &Range<i32>| f64::from(range.end - range.start) / cells as f64;
        let _ = writeln!(
            svg,
            "<use href=\"#error-map\" transform=\"translate({} {}) scale({} {})\"/>",
            across.start,
            down.start,
            size(across),
            size(down)
        );
    }
    svg
}

#[cfg(test)]
mod tests {
    use inverse_core::Domain;

    use super::*;

    #[test]
    fn runs_cover_every_known_cell_once() {
        let square = Domain::from_bounds(&[0.0; 2], &[1.0; 2]).unwrap();
        let residual = |x1: f64, x2: f64| if x1 > 0.3 && x2 > 0.8 { f64::NAN } else { (9.0 * x1).sin() + x2 };
        let grid = ResidualGrid::from_fn(&square, 31, residual).unwrap();
        let scale = ColorScale::of(&grid);
        let runs = runs(&grid, &scale);
        let mut seen = vec![None; 900];
        for run in &runs {
            for column in run.columns.clone() {
                assert_eq!(seen[run.row * 30 + column].replace(run.level), None);
            }
        }
        let expected: Vec<_> = grid.cell_errors().iter().map(|error| scale.level(*error)).collect();
        assert_eq!(seen, expected);
        assert!(runs.len() < 900);
        let svg = svg_element(&runs, 30, &[(10..40, 5..65)]);
        assert_eq!(svg.matches('M').count(), runs.len());
        assert!(svg.contains("translate(10 5) scale(1 2)"));
    }
}
