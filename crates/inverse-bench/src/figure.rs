//! Figures of r_T against T, as SVG and PNG (Fig. 3, 5 and 8).

use std::ops::Range;
use std::path::Path;
use std::sync::Once;

use epaint_default_fonts::UBUNTU_LIGHT;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use crate::ResultFileError;
use crate::result_files::write_atomically;

/// Colours that colour-blind readers can tell apart (Okabe and Ito 2008).
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
];

const FONT: &str = "sans-serif";
const PANEL_WIDTH: u32 = 560;
const PANEL_HEIGHT: u32 = 440;
const LEGEND_HEIGHT: u32 = 60;
const LEGEND_SPACING: i32 = 190;

/// One curve: entry T − 1 belongs to T. Values that are not positive and finite are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct PanelCurve {
    /// Name in the legend; equal names have equal colours in all panels.
    pub label: String,
    /// r_T.
    pub mean: Vec<f64>,
    /// First and third quartile over targets, drawn as a band; may be empty.
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

/// Panels side by side over one legend.
///
/// ```
/// use inverse_bench::{CurveFigure, Panel, PanelCurve};
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
    /// From left to right.
    pub panels: Vec<Panel>,
}

type DrawResult = Result<(), String>;

impl CurveFigure {
    fn size(&self) -> (u32, u32) {
        (PANEL_WIDTH * self.panels.len().clamp(1, 16) as u32, PANEL_HEIGHT + LEGEND_HEIGHT)
    }

    /// The figure as SVG.
    ///
    /// # Errors
    /// [`ResultFileError::Format`] where drawing fails.
    pub fn svg(&self) -> Result<String, ResultFileError> {
        let mut text = String::new();
        self.draw(&SVGBackend::with_string(&mut text, self.size()).into_drawing_area())
            .map_err(|reason| ResultFileError::Format { path: "figure.svg".into(), reason })?;
        Ok(text)
    }

    /// Writes the figure as SVG, in one step.
    ///
    /// # Errors
    /// [`ResultFileError`] where drawing or writing fails.
    pub fn save_svg(&self, path: &Path) -> Result<(), ResultFileError> {
        write_atomically(path, self.svg()?.as_bytes())
    }

    /// Writes the figure as PNG, in one step.
    ///
    /// # Errors
    /// [`ResultFileError`] where drawing or writing fails.
    pub fn save_png(&self, path: &Path) -> Result<(), ResultFileError> {
        // plotters writes pictures by itself, to a path: let it write elsewhere, then move the bytes.
        let failed = |source| ResultFileError::Io { path: path.into(), source };
        let file = tempfile::Builder::new().suffix(".png").tempfile().map_err(failed)?;
        self.draw(&BitMapBackend::new(file.path(), self.size()).into_drawing_area())
            .map_err(|reason| ResultFileError::Format { path: path.into(), reason })?;
        write_atomically(path, &std::fs::read(file.path()).map_err(failed)?)
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> DrawResult {
        static FONTS: Once = Once::new();
        FONTS.call_once(|| {
            // The font is known to be sound; if it were refused, drawing text would say so.
            let _ = register_font(FONT, FontStyle::Normal, UBUNTU_LIGHT);
        });
        area.fill(&WHITE).map_err(text)?;
        let (panels, legend) = area.split_vertically(PANEL_HEIGHT);
        let labels = self.labels();
        for (panel, area) in self.panels.iter().zip(panels.split_evenly((1, self.panels.len().max(1)))) {
            draw_panel(panel, &labels, &area)?;
        }
        draw_legend(&labels, &legend)?;
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

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn color(labels: &[(String, bool)], name: &str) -> RGBColor {
    let index = labels.iter().position(|(label, _)| label == name).unwrap_or(0);
    PALETTE[index % PALETTE.len()]
}

fn drawable(value: f64) -> bool {
    value.is_finite() && value > 1e-300
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
    let furthest = panel.references.iter().map(|(_, t, _)| *t).fold(longest as f64, f64::max);
    (1.0..furthest.max(10.0) * 1.1, bottom..top)
}

fn draw_panel<B: DrawingBackend>(
    panel: &Panel,
    labels: &[(String, bool)],
    area: &DrawingArea<B, Shift>,
) -> DrawResult {
    let (x_range, y_range) = bounds(panel);
    let decades = (y_range.end / y_range.start).log10().round() as usize;
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, (FONT, 24))
        .margin(12)
        .margin_right(24)
        .x_label_area_size(48)
        .y_label_area_size(74)
        .build_cartesian_2d(x_range.log_scale(), y_range.log_scale())
        .map_err(text)?;
    chart
        .configure_mesh()
        .light_line_style(BLACK.mix(0.05))
        .bold_line_style(BLACK.mix(0.15))
        .x_desc("number of proposals T")
        .y_desc("re-simulation error r_T")
        .x_labels(6)
        .y_labels(decades.clamp(2, 10) + 1)
        .x_label_formatter(&|t| format!("{t:.0}"))
        .y_label_formatter(&|error| format!("{error:.0e}"))
        .label_style((FONT, 17))
        .axis_desc_style((FONT, 19))
        .draw()
        .map_err(text)?;
    for curve in &panel.curves {
        let color = color(labels, &curve.label);
        let points = |values: &[f64]| -> Vec<(f64, f64)> {
            let numbered = values.iter().enumerate().map(|(index, value)| (index as f64 + 1.0, *value));
            numbered.filter(|(_, value)| drawable(*value)).collect()
        };
        let (mut band, upper) = (points(&curve.quartiles.0), points(&curve.quartiles.1));
        band.extend(upper.into_iter().rev());
        if band.len() > 2 {
            chart.draw_series(std::iter::once(Polygon::new(band, color.mix(0.15)))).map_err(text)?;
        }
        chart.draw_series(LineSeries::new(points(&curve.mean), color.stroke_width(3))).map_err(text)?;
    }
    for (name, t, value) in panel.references.iter().filter(|(.., value)| drawable(*value)) {
        let style = color(labels, name).stroke_width(3);
        chart.draw_series(std::iter::once(Cross::new((*t, *value), 8, style))).map_err(text)?;
    }
    Ok(())
}

fn draw_legend<B: DrawingBackend>(labels: &[(String, bool)], area: &DrawingArea<B, Shift>) -> DrawResult {
    let (width, height) = area.dim_in_pixel();
    let start = (width as i32 - LEGEND_SPACING * labels.len() as i32).max(0) / 2;
    let middle = height as i32 / 2;
    for (index, (name, is_curve)) in labels.iter().enumerate() {
        let left = start + LEGEND_SPACING * index as i32;
        let style = color(labels, name).stroke_width(3);
        if *is_curve {
            area.draw(&PathElement::new(vec![(left, middle), (left + 30, middle)], style)).map_err(text)?;
        } else {
            area.draw(&Cross::new((left + 15, middle), 8, style)).map_err(text)?;
        }
        let place = (left + 40, middle - 10);
        area.draw(&Text::new(name.clone(), place, (FONT, 19).into_font())).map_err(text)?;
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
    }

    #[test]
    fn unwritable_places_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = figure(vec![1.0]).save_png(&folder.path().join("no/such/figure.png")).unwrap_err();
        assert!(error.to_string().contains("figure.png"), "{error}");
    }
}
