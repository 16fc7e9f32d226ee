//! Figures of r_T against T, as SVG and PNG (Fig. 3, 5 and 8).

use std::ops::{Range, RangeInclusive};
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::ResultFileError;
use crate::figure::arrangement::{arrange, size_of_all};
use crate::figure::legend::{LEGEND_GAP, LEGEND_ROW, LegendEntry, draw_legend, lay_out};
use crate::figure::{DrawResult, FONT, Figure, PNG_SCALE, color, picture, text};

const PANEL_WIDTH: u32 = 560;
const PANEL_HEIGHT: u32 = 440;
/// What an axis can hold. Plotters' logarithmic axes never end where limits differ by more than a float holds.
const DRAWABLE: RangeInclusive<f64> = 1e-60..=1e60;

/// One curve: entry T − 1 belongs to T. Values outside 1e-60 to 1e60 (zero, infinite and
/// NaN among them) are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct PanelCurve {
    /// Name in the legend; equal names have equal colours in all panels.
    pub label: String,
    /// r_T.
    pub mean: Vec<f64>,
    /// First and third quartile over targets, drawn as a band where both can be drawn; may be empty.
    pub quartiles: (Vec<f64>, Vec<f64>),
}

/// One panel, usually one task.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// Title above the panel.
    pub title: String,
    /// The curves.
    pub curves: Vec<PanelCurve>,
    /// (name, T, value) of single points, such as the paper's figure.
    pub references: Vec<(String, f64, f64)>,
}

/// Panels over one legend.
///
/// ```
/// use inverse_bench::{CurveFigure, Figure, Panel, PanelCurve};
///
/// let mean: Vec<f64> = (1..=200).map(|t| 1e-3 / f64::from(t)).collect();
/// let quartiles = (mean.iter().map(|r| r / 2.0).collect(), mean.iter().map(|r| r * 2.0).collect());
/// let curve = PanelCurve { label: "NA".into(), mean, quartiles };
/// let figure = CurveFigure {
///     panels: vec![Panel { title: "D1".into(), curves: vec![curve], references: vec![] }],
/// };
/// assert!(figure.svg()?.contains("<svg"));
/// # Ok::<(), inverse_bench::ResultFileError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CurveFigure {
    /// From left to right, then down.
    pub panels: Vec<Panel>,
}

impl CurveFigure {
    /// In the figure's own units.
    fn size_of_panels(&self) -> (u32, u32) {
        size_of_all(self.panels.len(), (PANEL_WIDTH, PANEL_HEIGHT))
    }

    /// For a legend of that many rows, in the figure's units.
    fn size(&self, legend_rows: usize) -> (u32, u32) {
        let (width, height) = self.size_of_panels();
        (width, height + LEGEND_ROW * legend_rows.max(1) as u32 + LEGEND_GAP)
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

    /// Names in the legend, in the order of their first appearance; references last.
    fn labels(&self) -> Vec<(String, bool)> {
        let mut labels: Vec<(String, bool)> = Vec::new();
        let curves =
            self.panels.iter().flat_map(|panel| &panel.curves).map(|curve| (curve.label.clone(), true));
        let points = self.panels.iter().flat_map(|panel| &panel.references);
        for label in curves.chain(points.map(|(name, ..)| (name.clone(), false))) {
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        labels
    }
}

impl Figure for CurveFigure {
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
    DRAWABLE.contains(&value)
}

/// Whether both coordinates of a reference fit the axes; T starts at 1.
fn reachable((_, t, value): &(String, f64, f64)) -> bool {
    *t >= 1.0 && drawable(*t) && drawable(*value)
}

/// Powers of ten around everything that is drawn.
fn bounds(panel: &Panel) -> (Range<f64>, Range<f64>) {
    let curves = panel.curves.iter();
    let values =
        curves.flat_map(|curve| curve.mean.iter().chain(&curve.quartiles.0).chain(&curve.quartiles.1));
    let values = values.copied().chain(panel.references.iter().map(|(.., value)| *value));
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values.filter(|value| drawable(*value)) {
        low = low.min(value);
        high = high.max(value);
    }
    if low > high {
        (low, high) = (1e-1, 1.0);
    }
    let bottom = 10_f64.powf(low.log10().floor());
    let top = 10_f64.powf(high.log10().ceil()).max(bottom * 10.0);
    let longest = panel.curves.iter().map(|curve| curve.mean.len()).max().unwrap_or(1);
    let furthest = panel
        .references
        .iter()
        .filter(|point| reachable(point))
        .map(|(_, t, _)| *t)
        .fold(longest as f64, f64::max);
    // A hair of room keeps the outer powers of ten, with their labels, inside the axis.
    (1.0..furthest.max(10.0) * 1.1, bottom * (1.0 - 1e-9)..top * (1.0 + 1e-9))
}

fn draw_panel<B: DrawingBackend>(
    panel: &Panel,
    labels: &[(String, bool)],
    area: &DrawingArea<B, Shift>,
    scale: u32,
) -> DrawResult {
    let (x_range, y_range) = bounds(panel);
    let decades = (y_range.end / y_range.start).log10().round() as usize;
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, (FONT, 24 * scale))
        .margin(12 * scale)
        .margin_right(24 * scale)
        .x_label_area_size(48 * scale)
        .y_label_area_size(74 * scale)
        .build_cartesian_2d(x_range.log_scale(), y_range.log_scale())
        .map_err(text)?;
    chart
        .configure_mesh()
        .set_all_tick_mark_size(5 * scale)
        .light_line_style(BLACK.mix(0.05).stroke_width(scale))
        .bold_line_style(BLACK.mix(0.15).stroke_width(scale))
        .x_desc("number of proposals T")
        .y_desc("re-simulation error r_T")
        .x_labels(6)
        .y_labels(decades.clamp(2, 10) + 1)
        .x_label_formatter(&|t| format!("{t:.0}"))
        .y_label_formatter(&|error| format!("{error:.0e}"))
        .label_style((FONT, 17 * scale))
        .axis_desc_style((FONT, 19 * scale))
        .draw()
        .map_err(text)?;
    for curve in &panel.curves {
        let color = color(labels, &curve.label);
        let points = |values: &[f64]| -> Vec<(f64, f64)> {
            let numbered = values.iter().enumerate().map(|(index, value)| (index as f64 + 1.0, *value));
            numbered.filter(|(_, value)| drawable(*value)).collect()
        };
        // An edge that jumps to another T where one quartile is missing would draw a wedge that is not there.
        let pairs = curve.quartiles.0.iter().zip(&curve.quartiles.1).enumerate();
        let inside: Vec<_> = pairs.filter(|(_, (low, high))| drawable(**low) && drawable(**high)).collect();
        let lower = inside.iter().map(|(index, (low, _))| (*index as f64 + 1.0, **low));
        let upper = inside.iter().rev().map(|(index, (_, high))| (*index as f64 + 1.0, **high));
        let band: Vec<(f64, f64)> = lower.chain(upper).collect();
        if band.len() > 2 {
            chart.draw_series(std::iter::once(Polygon::new(band, color.mix(0.15)))).map_err(text)?;
        }
        chart
            .draw_series(LineSeries::new(points(&curve.mean), color.stroke_width(3 * scale)))
            .map_err(text)?;
    }
    for (name, t, value) in panel.references.iter().filter(|point| reachable(point)) {
        let style = color(labels, name).stroke_width(3 * scale);
        chart.draw_series(std::iter::once(Cross::new((*t, *value), 8 * scale, style))).map_err(text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(mean: Vec<f64>) -> CurveFigure {
        let curve = PanelCurve { label: "NA".into(), quartiles: (mean.clone(), mean.clone()), mean };
        let references = vec![("paper".into(), 200.0, 1e-7)];
        CurveFigure { panels: vec![Panel { title: "D1 ballistics".into(), curves: vec![curve], references }] }
    }

    #[test]
    fn svg_and_png_are_deterministic() {
        let figure = figure((1..200).map(|t| 1e-4 / f64::from(t)).collect());
        let folder = tempfile::tempdir().unwrap();
        let bytes = |name: &str| {
            let path = folder.path().join(name);
            if name.starts_with('s') {
                figure.save_svg(&path).unwrap();
            } else {
                figure.save_png(&path).unwrap();
            }
            std::fs::read(path).unwrap()
        };
        assert_eq!(bytes("s1"), bytes("s2"));
        assert_eq!(bytes("p1"), bytes("p2"));
        assert_eq!(&bytes("p1")[1..4], b"PNG");
        let svg = figure.svg().unwrap();
        assert!(svg.contains("D1 ballistics") && svg.contains("paper"));
    }

    #[test]
    fn values_that_cannot_be_drawn_are_left_out() {
        for mean in [vec![], vec![0.0; 5], vec![f64::NAN, f64::INFINITY, 1e-3, -1.0], vec![f64::INFINITY; 3]]
        {
            figure(mean).svg().unwrap();
        }
        CurveFigure { panels: vec![] }.svg().unwrap();
        figure(vec![f64::MAX, 1e300, 1e-299, 5e-324]).svg().unwrap();
        figure(vec![1e60, 1e-60]).svg().unwrap();
        let mut odd = figure(vec![1.0, 0.5]);
        let places = [f64::INFINITY, f64::NAN, 0.0, -1.0, 1e300];
        odd.panels[0].references = places.iter().map(|t| ("paper".into(), *t, 1.0)).collect();
        odd.panels[0].curves[0].quartiles = (vec![0.5], vec![f64::INFINITY, 1.0, 2.0]);
        assert!(!odd.svg().unwrap().contains("NaN"));
    }

    #[test]
    fn legends_fit_the_figure() {
        let mut figure = figure(vec![1e-3]);
        let one = figure.panels[0].curves[0].clone();
        let labels = (0..9).map(|index| format!("a method with a long name {index}"));
        figure.panels[0].curves = labels.map(|label| PanelCurve { label, ..one.clone() }).collect();
        let legend = lay_out(&figure.labels(), figure.size_of_panels().0);
        assert!(legend.len() > 1);
        assert_eq!(legend.iter().map(Vec::len).sum::<usize>(), 10);
        for row in &legend {
            assert!(row.iter().map(|entry| entry.width).sum::<u32>() <= figure.size_of_panels().0);
        }
    }

    #[test]
    fn axes_reach_their_outer_powers_of_ten() {
        for exponent in -40..40 {
            let power = |exponent: i32| format!("1e{exponent}").parse::<f64>().unwrap();
            let mut panel = figure(vec![3.0 * power(exponent)]).panels.remove(0);
            panel.references.clear();
            let (_, y) = bounds(&panel);
            assert!(y.contains(&power(exponent)) && y.contains(&power(exponent + 1)), "{exponent}: {y:?}");
        }
    }

    #[test]
    fn unwritable_places_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = figure(vec![1.0]).save_png(&folder.path().join("no/such/figure.png")).unwrap_err();
        assert!(error.to_string().contains("figure.png"), "{error}");
    }
}
