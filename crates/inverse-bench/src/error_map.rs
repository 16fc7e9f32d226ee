//! Maps of the error over two design variables, under the designs that methods propose (Fig. 4).

mod color_scale;
mod heat_map;
mod level_set;
mod residual_grid;

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub use self::level_set::LevelSet;
pub use self::residual_grid::ResidualGrid;

use self::color_scale::{ColorScale, level_color};
use self::heat_map::{Place, Run, runs, svg_element};
use crate::ResultFileError;
use crate::figure::legend::LEGEND_ROW;
use crate::figure::{DrawResult, FONT, Figure, PALETTE, PNG_SCALE, picture, text};

const COLUMNS: usize = 3;
/// More panels are refused: a picture of that size helps nobody.
const MOST_PANELS: usize = 60;
const PANEL_WIDTH: u32 = 400;
const PANEL_HEIGHT: u32 = 418;
const CAPTION: u32 = 24;
const MARGIN: u32 = 12;
const X_LABELS: u32 = 44;
const Y_LABELS: u32 = 58;
/// Room for the colour scale beside the panels.
const SCALE_WIDTH: u32 = 124;
const RING_COLOR: RGBColor = PALETTE[4];
const DESIGN_COLOR: RGBColor = PALETTE[1];

/// One panel: the designs of one method.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorMapPanel {
    /// Title above the panel.
    pub title: String,
    /// Designs [x₁, x₂]. The title tells how many lie outside the map or are not finite.
    pub designs: Vec<[f64; 2]>,
}

/// Panels in up to three columns, each with the same map of errors under its designs.
///
/// The map shows |f(x) − y| in logarithmic colours, darker where it is smaller, and the designs with
/// f(x) = y as light blue curves. Where f has no value the map is white.
///
/// ```
/// use inverse_bench::{ErrorMap, ErrorMapPanel, Figure, ResidualGrid};
/// use inverse_core::Domain;
///
/// let domain = Domain::from_bounds(&[-1.0, -1.0], &[1.0, 1.0])?;
/// let map = ErrorMap {
///     grid: ResidualGrid::from_fn(&domain, 61, |x1, x2| x1.hypot(x2) - 0.5)?,
///     names: ["x₁".into(), "x₂".into()],
///     panels: vec![ErrorMapPanel { title: "NA".into(), designs: vec![[0.5, 0.0], [0.0, -2.0]] }],
/// };
/// assert!(map.svg()?.contains("NA (1 outside)"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorMap {
    /// f(x) − y.
    pub grid: ResidualGrid,
    /// Names of the two axes.
    pub names: [String; 2],
    /// From left to right, then from top to bottom.
    pub panels: Vec<ErrorMapPanel>,
}

impl ErrorMap {
    fn shape(&self) -> (usize, usize) {
        let columns = match self.panels.len() {
            0 | 1 => 1,
            2 | 4 => 2,
            _ => COLUMNS,
        };
        (self.panels.len().div_ceil(columns).max(1), columns)
    }

    fn size(&self) -> (u32, u32) {
        let (rows, columns) = self.shape();
        let rows = rows.min(MOST_PANELS / COLUMNS);
        (PANEL_WIDTH * columns as u32 + SCALE_WIDTH, PANEL_HEIGHT * rows as u32 + LEGEND_ROW)
    }

    /// Draws everything, with `runs` as the map; gives the place of each panel's map.
    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        runs: &[Run],
        colors: ColorScale,
        scale: u32,
    ) -> Result<Vec<Place>, String> {
        if self.panels.len() > MOST_PANELS {
            return Err(format!("{} panels are more than {MOST_PANELS}", self.panels.len()));
        }
        area.fill(&WHITE).map_err(text)?;
        let (rows, columns) = self.shape();
        let height = PANEL_HEIGHT * rows as u32 * scale;
        let (above, below) = area.split_vertically(height);
        let (panels, bar) = above.split_horizontally(PANEL_WIDTH * columns as u32 * scale);
        let level_set = self.grid.level_set();
        let panel_areas = panels.split_evenly((rows, columns));
        let places = self.panels.iter().zip(panel_areas);
        let places: Vec<Place> = places
            .map(|(panel, area)| self.draw_panel(panel, &level_set, runs, &area, scale))
            .collect::<Result<_, _>>()?;
        let (top, bottom) = ((MARGIN + CAPTION + 10) * scale, (MARGIN + X_LABELS) * scale);
        let bottom = PANEL_HEIGHT * rows as u32 * scale - bottom;
        let span = places.first().zip(places.last()).map(|(first, last)| (first.1.start, last.1.end));
        colors.draw(&bar, span.unwrap_or((top as i32, bottom as i32)), scale)?;
        draw_legend(&below, scale)?;
        area.present().map_err(text)?;
        Ok(places)
    }

    fn draw_panel<B: DrawingBackend>(
        &self,
        panel: &ErrorMapPanel,
        level_set: &LevelSet,
        runs: &[Run],
        area: &DrawingArea<B, Shift>,
        scale: u32,
    ) -> Result<Place, String> {
        let [low, high] = self.grid.corners();
        let mut chart = ChartBuilder::on(area)
            .caption(self.caption(panel), (FONT, CAPTION * scale))
            .margin(MARGIN * scale)
            .x_label_area_size(X_LABELS * scale)
            .y_label_area_size(Y_LABELS * scale)
            .build_cartesian_2d(low[0]..high[0], low[1]..high[1])
            .map_err(text)?;
        let rectangles = runs.iter().map(|run| {
            let corners =
                [self.grid.place(run.row, run.columns.start), self.grid.place(run.row + 1, run.columns.end)];
            Rectangle::new(corners.map(|[x1, x2]| (x1, x2)), level_color(run.level).filled())
        });
        chart.draw_series(rectangles).map_err(text)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .set_all_tick_mark_size(5 * scale)
            .x_labels(5)
            .y_labels(5)
            .x_desc(&self.names[0])
            .y_desc(&self.names[1])
            .label_style((FONT, 17 * scale))
            .axis_desc_style((FONT, 19 * scale))
            .draw()
            .map_err(text)?;
        for curve in level_set.curves() {
            let points = curve.iter().map(|x| (x[0], x[1]));
            let line = LineSeries::new(points, RING_COLOR.stroke_width(2 * scale));
            chart.draw_series(line).map_err(text)?;
        }
        let inside = || panel.designs.iter().filter(|x| self.grid.contains(**x)).map(|x| (x[0], x[1]));
        for point in inside() {
            let outline = Circle::new(point, design_radius(scale) + scale, WHITE.filled());
            let design = Circle::new(point, design_radius(scale), DESIGN_COLOR.filled());
            chart.draw_series([outline, design]).map_err(text)?;
        }
        Ok(chart.plotting_area().get_pixel_range())
    }

    fn caption(&self, panel: &ErrorMapPanel) -> String {
        let outside = panel.designs.iter().filter(|x| !self.grid.contains(**x)).count();
        if outside == 0 { panel.title.clone() } else { format!("{} ({outside} outside)", panel.title) }
    }
}

fn design_radius(scale: u32) -> u32 {
    5 * scale / 2
}

/// No picture is drawn of more than 60 panels.
impl Figure for ErrorMap {
    fn svg(&self) -> Result<String, ResultFileError> {
        let failed =
            |reason: &str| ResultFileError::Format { path: "figure.svg".into(), reason: reason.into() };
        let scale = ColorScale::of(&self.grid);
        let (svg, places) = picture::svg(self.size(), |area| self.draw(area, &[], scale, 1))?;
        // The map belongs over the white of the page and under everything else.
        let cells = self.grid.points() - 1;
        let map = svg_element(&runs(&self.grid, &scale), cells, &places);
        let page = svg.find("<rect").and_then(|start| Some(start + svg[start..].find("/>")? + "/>\n".len()));
        let (page, rest) =
            page.and_then(|end| svg.split_at_checked(end)).ok_or_else(|| failed("the page has no ground"))?;
        Ok([page, &map, rest].concat())
    }

    fn save_png(&self, path: &Path) -> Result<(), ResultFileError> {
        let scale = ColorScale::of(&self.grid);
        let runs = runs(&self.grid, &scale);
        picture::save_png(path, self.size(), |area| self.draw(area, &runs, scale, PNG_SCALE).map(drop))
    }
}

fn draw_legend<B: DrawingBackend>(area: &DrawingArea<B, Shift>, scale: u32) -> DrawResult {
    let unit = scale as i32;
    let middle = area.dim_in_pixel().0 as i32 / 2;
    let y = (LEGEND_ROW * scale) as i32 / 2 - 4 * unit;
    let font = (FONT, 19 * scale).into_font().color(&BLACK);
    let font = font.pos(Pos::new(HPos::Left, VPos::Center));
    let ring = vec![(middle - 180 * unit, y), (middle - 150 * unit, y)];
    area.draw(&PathElement::new(ring, RING_COLOR.stroke_width(3 * scale))).map_err(text)?;
    area.draw(&Text::new("f(x) = y", (middle - 140 * unit, y), font.clone())).map_err(text)?;
    let design = Circle::new((middle + 20 * unit, y), 2 * design_radius(scale), DESIGN_COLOR.filled());
    area.draw(&design).map_err(text)?;
    area.draw(&Text::new("proposed designs", (middle + 36 * unit, y), font)).map_err(text)
}

#[cfg(test)]
mod tests {
    use inverse_core::Domain;

    use super::*;

    fn map(residual: impl FnMut(f64, f64) -> f64, panels: Vec<ErrorMapPanel>) -> ErrorMap {
        let square = Domain::from_bounds(&[-1.0; 2], &[1.0; 2]).unwrap();
        let grid = ResidualGrid::from_fn(&square, 31, residual).unwrap();
        ErrorMap { grid, names: ["x1".into(), "x2".into()], panels }
    }

    fn panel(title: &str, designs: &[[f64; 2]]) -> ErrorMapPanel {
        ErrorMapPanel { title: title.into(), designs: designs.to_vec() }
    }

    #[test]
    fn svg_and_png_are_deterministic() {
        let panels = ["NA", "cINN", "INN", "MDN"].map(|title| panel(title, &[[0.1, 0.5], [0.3, -0.4]]));
        let map = map(|x1, x2| x1.hypot(x2) - 0.5, panels.to_vec());
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("1.png"), folder.path().join("2.png"));
        map.save_png(&one).unwrap();
        map.save_png(&two).unwrap();
        let bytes = std::fs::read(one).unwrap();
        assert_eq!(bytes, std::fs::read(two).unwrap());
        assert_eq!(&bytes[1..4], b"PNG");
        let svg = map.svg().unwrap();
        assert_eq!(svg, map.svg().unwrap());
        assert_eq!((svg.matches("<use").count(), svg.matches("id=\"error-map\"").count()), (4, 1));
        assert!(svg.find("<rect").unwrap() < svg.find("<defs").unwrap());
        assert!(svg.find("<use").unwrap() < svg.find("<circle").unwrap());
    }

    #[test]
    fn designs_outside_are_counted() {
        let designs = [[0.5, 0.5], [1.5, 0.0], [0.0, -1.01], [f64::NAN, 0.0], [0.0, f64::INFINITY]];
        let map = map(|x1, _| x1, vec![panel("INN", &designs), panel("NA", &designs[..1])]);
        let svg = map.svg().unwrap();
        assert!(svg.contains("INN (4 outside)") && !svg.contains("NA ("));
        // Two circles a design, and one in the legend.
        assert_eq!(svg.matches("<circle").count(), 5);
    }

    #[test]
    fn maps_without_values_are_drawn() {
        let folder = tempfile::tempdir().unwrap();
        for value in [f64::NAN, f64::INFINITY, 0.0, 1e300] {
            for panels in [vec![], vec![panel("none", &[])]] {
                let map = map(|_, _| value, panels);
                assert!(!map.svg().unwrap().contains("NaN"));
                map.save_png(&folder.path().join("map.png")).unwrap();
            }
        }
    }

    #[test]
    fn failures_are_typed() {
        let crowd = map(|x1, _| x1, vec![panel("again", &[]); MOST_PANELS + 1]);
        let error = crowd.svg().unwrap_err().to_string();
        assert!(error.contains("61 panels"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let error = map(|x1, _| x1, vec![]).save_png(&folder.path().join("no/such/map.png")).unwrap_err();
        assert!(error.to_string().contains("map.png"), "{error}");
    }
}
