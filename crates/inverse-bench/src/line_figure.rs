//! Figures of functions of one variable, as SVG and PNG (Fig. 6 and 7).

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::ResultFileError;
use crate::figure::arrangement::{arrange, size_of_all};
use crate::figure::legend::{LEGEND_GAP, LEGEND_ROW, LegendEntry, draw_legend, lay_out};
use crate::figure::{DrawResult, FONT, Figure, PNG_SCALE, color, picture, text};

const PANEL_WIDTH: u32 = 560;
const PANEL_HEIGHT: u32 = 400;
/// What an axis can hold.
const LARGEST: f64 = 1e60;

/// Points under one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Name in the legend; equal names have equal colours in all panels.
    pub label: String,
    /// (x, y); where one is infinite or NaN, nothing is drawn, and a line has a gap.
    pub points: Vec<(f64, f64)>,
}

/// One panel with linear axes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LinePanel {
    /// Title above the panel.
    pub title: String,
    /// What the horizontal axis shows.
    pub x_label: String,
    /// What the vertical axis shows.
    pub y_label: String,
    /// The vertical axis; as much as the panel needs, where `None`. What lies outside is left out.
    pub y_range: Option<(f64, f64)>,
    /// Lines through points, in the order given.
    pub lines: Vec<Series>,
    /// Single points, drawn as crosses over the lines.
    pub points: Vec<Series>,
    /// Where to draw dashed vertical lines.
    pub verticals: Vec<f64>,
}

/// Panels over one legend.
///
/// ```
/// use inverse_bench::{Figure, LineFigure, LinePanel, Series};
///
/// let sine = (0..=100).map(|step| (0.1 * f64::from(step), (0.1 * f64::from(step)).sin())).collect();
/// let panel = LinePanel {
///     title: "a wave".into(),
///     lines: vec![Series { label: "sin x".into(), points: sine }],
///     verticals: vec![std::f64::consts::PI],
///     ..LinePanel::default()
/// };
/// assert!(LineFigure { panels: vec![panel] }.svg()?.contains("sin x"));
/// # Ok::<(), inverse_bench::ResultFileError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LineFigure {
    /// From left to right, then down.
    pub panels: Vec<LinePanel>,
}

impl LineFigure {
    fn size(&self, legend_rows: usize) -> (u32, u32) {
        let (width, height) = self.size_of_panels();
        (width, height + LEGEND_ROW * legend_rows.max(1) as u32 + LEGEND_GAP)
    }

    fn size_of_panels(&self) -> (u32, u32) {
        size_of_all(self.panels.len(), (PANEL_WIDTH, PANEL_HEIGHT))
    }

    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        legend: &[Vec<LegendEntry>],
        scale: u32,
    ) -> DrawResult {
        area.fill(&WHITE).map_err(text)?;
        let (panels, below) = area.split_vertically(self.size_of_panels().1 * scale);
        let labels = self.labels();
        for (panel, area) in self.panels.iter().zip(panels.split_evenly(arrange(self.panels.len()))) {
            draw_panel(panel, &labels, &area, scale)?;
        }
        draw_legend(legend, &labels, &below, scale)?;
        area.present().map_err(text)
    }

    /// Names in the legend and whether they are lines, in the order of their first appearance; points last.
    fn labels(&self) -> Vec<(String, bool)> {
        let mut labels: Vec<(String, bool)> = Vec::new();
        let lines = self.panels.iter().flat_map(|panel| &panel.lines).map(|series| (&series.label, true));
        let points = self.panels.iter().flat_map(|panel| &panel.points).map(|series| (&series.label, false));
        for (label, is_line) in lines.chain(points) {
            if !labels.iter().any(|(known, kind)| known == label && *kind == is_line) {
                labels.push((label.clone(), is_line));
            }
        }
        labels
    }
}

impl Figure for LineFigure {
    fn svg(&self) -> Result<String, ResultFileError> {
        let legend = lay_out(&self.labels(), self.size_of_panels().0);
        Ok(picture::svg(self.size(legend.len()), |area| self.draw(area, &legend, 1))?.0)
    }

    fn save_png(&self, path: &Path) -> Result<(), ResultFileError> {
        let legend = lay_out(&self.labels(), self.size_of_panels().0);
        picture::save_png(path, self.size(legend.len()), |area| self.draw(area, &legend, PNG_SCALE))
    }
}

fn drawable(value: f64) -> bool {
    value.abs() <= LARGEST
}

/// A range with a little room around all drawable values.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values.filter(|value| drawable(*value)) {
        low = low.min(value);
        high = high.max(value);
    }
    if low > high {
        (low, high) = (0.0, 1.0);
    }
    let size = low.abs().max(high.abs());
    // Ticks need numbers that differ: a constant gets a range of its own size.
    let room = if high - low > 1e-9 * size { 0.04 * (high - low) } else { 0.5 * size.max(1e-60) };
    low - room..high + room
}

impl LinePanel {
    fn bounds(&self) -> (Range<f64>, Range<f64>) {
        let points = || self.lines.iter().chain(&self.points).flat_map(|series| &series.points).copied();
        let seen = points().filter(|(x, y)| drawable(*x) && drawable(*y));
        let x = range(seen.clone().map(|(x, _)| x).chain(self.verticals.iter().copied()));
        let y = match self.y_range {
            Some((low, high)) if drawable(low) && drawable(high) && low < high => {
                range([low, high].into_iter())
            }
            _ => range(seen.map(|(_, y)| y)),
        };
        (x, y)
    }
}

/// The number at a tick, without zeros that say nothing.
fn tick(value: f64) -> String {
    let size = value.abs();
    if size >= 1e5 || (size > 0.0 && size < 1e-4) {
        return format!("{value:.1e}");
    }
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

fn draw_panel<B: DrawingBackend>(
    panel: &LinePanel,
    labels: &[(String, bool)],
    area: &DrawingArea<B, Shift>,
    scale: u32,
) -> DrawResult {
    let (x_range, y_range) = panel.bounds();
    let inside = |&(x, y): &(f64, f64)| x_range.contains(&x) && y_range.contains(&y);
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, (FONT, 24 * scale))
        .margin(12 * scale)
        .margin_right(24 * scale)
        .x_label_area_size(48 * scale)
        .y_label_area_size(74 * scale)
        .build_cartesian_2d(x_range.clone(), y_range.clone())
        .map_err(text)?;
    chart
        .configure_mesh()
        .set_all_tick_mark_size(5 * scale)
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12).stroke_width(scale))
        .x_desc(&panel.x_label)
        .y_desc(&panel.y_label)
        .x_labels(9)
        .y_labels(7)
        .x_label_formatter(&|x| tick(*x))
        .y_label_formatter(&|y| tick(*y))
        .label_style((FONT, 17 * scale))
        .axis_desc_style((FONT, 19 * scale))
        .draw()
        .map_err(text)?;
    for x in panel.verticals.iter().filter(|x| x_range.contains(x)) {
        let line = [(*x, y_range.start), (*x, y_range.end)];
        let style = BLACK.mix(0.55).stroke_width(scale);
        let dashes = DashedLineSeries::new(line, 7 * scale, 5 * scale, style);
        chart.draw_series(dashes).map_err(text)?;
    }
    for (index, series) in panel.lines.iter().enumerate() {
        // The first is broader: it stays in sight under another that runs along it.
        let width = if index == 0 { 4 } else { 2 };
        let style = color(labels, &series.label).stroke_width(width * scale);
        for piece in series.points.split(|point| !inside(point)).filter(|piece| piece.len() > 1) {
            chart.draw_series(LineSeries::new(piece.to_vec(), style)).map_err(text)?;
        }
    }
    for series in &panel.points {
        let style = color(labels, &series.label).stroke_width(2 * scale);
        let crosses = series.points.iter().filter(|point| inside(point));
        chart.draw_series(crosses.map(|point| Cross::new(*point, 6 * scale, style))).map_err(text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(points: Vec<(f64, f64)>) -> LineFigure {
        let line = Series { label: "truth".into(), points: points.clone() };
        let found = Series { label: "designs".into(), points };
        LineFigure {
            panels: vec![LinePanel {
                title: "one sine".into(),
                x_label: "x".into(),
                y_label: "y".into(),
                lines: vec![line],
                points: vec![found],
                verticals: vec![1.0],
                ..LinePanel::default()
            }],
        }
    }

    #[test]
    fn svg_and_png_are_deterministic() {
        let figure = figure((0..50).map(|x| (f64::from(x), f64::from(x).sin())).collect());
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("1.png"), folder.path().join("2.png"));
        figure.save_png(&one).unwrap();
        figure.save_png(&two).unwrap();
        let bytes = std::fs::read(one).unwrap();
        assert_eq!(bytes, std::fs::read(two).unwrap());
        assert_eq!(&bytes[1..4], b"PNG");
        let svg = figure.svg().unwrap();
        assert_eq!(svg, figure.svg().unwrap());
        assert!(["one sine", "truth", "designs"].iter().all(|name| svg.contains(name)));
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        LineFigure { panels: Vec::new() }.svg().unwrap();
        let crowd = vec![figure(vec![(0.0, 1.0), (1.0, 2.0)]).panels[0].clone(); 300];
        assert!(LineFigure { panels: crowd }.svg().unwrap().contains("one sine"));
        let (nan, infinite) = (f64::NAN, f64::INFINITY);
        let odd = [
            vec![],
            vec![(nan, 1.0), (1.0, nan)],
            vec![(infinite, 0.0), (0.0, -infinite)],
            vec![(0.0, 0.0); 3],
            vec![(1e300, 1.0), (1e60, -1e60)],
            vec![(1e60, 1e60), (1e60 * (1.0 + 1e-15), 1e60)],
            vec![(5e-324, 5e-324)],
        ];
        for points in odd {
            let mut figure = figure(points);
            assert!(!figure.svg().unwrap().contains("NaN"));
            figure.panels[0].verticals = vec![nan, infinite];
            figure.panels[0].y_range = Some((nan, 1.0));
            assert!(!figure.svg().unwrap().contains("NaN"));
        }
    }

    #[test]
    fn lines_have_gaps_where_values_are_missing() {
        let lines = |points: Vec<(f64, f64)>, y_range| {
            let mut figure = figure(points);
            figure.panels[0].y_range = y_range;
            let svg = figure.svg().unwrap();
            svg.matches("stroke-width=\"4\"").count()
        };
        let whole: Vec<(f64, f64)> = (0..9).map(|x| (f64::from(x), f64::from(x))).collect();
        let one = lines(whole.clone(), None);
        let mut broken = whole.clone();
        broken[4].1 = f64::NAN;
        assert_eq!(lines(broken, None), one + 1);
        assert_eq!(lines(whole, Some((2.5, 5.5))), one);
    }

    #[test]
    fn ticks_are_short() {
        let written = [0.0, -0.0, 300.0, -0.5, 0.300_000_000_000_04, 1e6, -2.5e-7].map(tick);
        assert_eq!(written, ["0", "0", "300", "-0.5", "0.3", "1.0e6", "-2.5e-7"]);
    }

    #[test]
    fn equal_names_share_one_entry() {
        let mut figure = figure(vec![(0.0, 1.0), (1.0, 2.0)]);
        figure.panels.push(figure.panels[0].clone());
        assert_eq!(figure.labels(), [("truth".to_owned(), true), ("designs".to_owned(), false)]);
    }

    #[test]
    fn unwritable_places_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = figure(vec![(0.0, 1.0)]).save_png(&folder.path().join("no/such/figure.png")).unwrap_err();
        assert!(error.to_string().contains("figure.png"), "{error}");
    }
}
