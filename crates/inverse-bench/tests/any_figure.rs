//! Figures and tables of random values: a picture or an error, no panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use inverse_bench::{
    CurveFigure, ErrorMap, ErrorMapPanel, Figure, LineFigure, LinePanel, Panel, PanelCurve, ResidualGrid,
    Series, Table, scientific,
};
use inverse_core::Domain;
use proptest::prelude::*;

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        5 => 1e-6..10.0_f64,
        1 => prop::num::f64::ANY,
        1 => prop_oneof![Just(0.0), Just(-1.0), Just(f64::NAN), Just(f64::INFINITY), Just(f64::MAX), Just(5e-324)],
    ]
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(value(), 0..6)
}

fn label() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-c<&\\\"|]{0,4}", 1 => ".{0,12}", 1 => "x{300}"]
}

fn curve() -> impl Strategy<Value = PanelCurve> {
    (label(), values(), values(), values()).prop_map(|(label, mean, lower, upper)| PanelCurve {
        label,
        mean,
        quartiles: (lower, upper),
    })
}

fn panel() -> impl Strategy<Value = Panel> {
    let curves = prop::collection::vec(curve(), 0..4);
    let references = prop::collection::vec((label(), value(), value()), 0..3);
    (label(), curves, references).prop_map(|(title, curves, references)| Panel { title, curves, references })
}

fn series() -> impl Strategy<Value = Vec<Series>> {
    let points = prop::collection::vec((value(), value()), 0..6);
    let one = (label(), points).prop_map(|(label, points)| Series { label, points });
    prop::collection::vec(one, 0..3)
}

fn line_panel() -> impl Strategy<Value = LinePanel> {
    let labels = (label(), label(), label());
    let range = prop::option::of((value(), value()));
    (labels, range, series(), series(), values()).prop_map(|(labels, y_range, lines, points, verticals)| {
        let (title, x_label, y_label) = labels;
        LinePanel { title, x_label, y_label, y_range, lines, points, verticals }
    })
}

/// Draws the figure both ways.
fn draw(figure: &dyn Figure) {
    if let Ok(svg) = figure.svg() {
        assert!(svg.contains("</svg>"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn curve_figures(panels in prop::collection::vec(panel(), 0..4)) {
        draw(&CurveFigure { panels });
    }

    #[test]
    fn line_figures(panels in prop::collection::vec(line_panel(), 0..4)) {
        draw(&LineFigure { panels });
    }

    #[test]
    fn error_maps(
        bounds in prop::collection::vec((value(), value()), 1..4),
        points in prop_oneof![6 => 0..12_usize, 1 => Just(usize::MAX)],
        residuals in prop::collection::vec(value(), 144),
        titles in prop::collection::vec(label(), 0..5),
        designs in prop::collection::vec((value(), value()), 0..5),
        distance in value(),
    ) {
        let (lower, upper): (Vec<f64>, Vec<f64>) = bounds.into_iter().unzip();
        let Ok(domain) = Domain::from_bounds(&lower, &upper) else { return Ok(()) };
        let mut next = residuals.iter().cycle();
        let residual = |_: f64, _: f64| next.next().copied().unwrap_or(0.0) - 1.0;
        let Ok(grid) = ResidualGrid::from_fn(&domain, points, residual) else { return Ok(()) };
        let designs: Vec<[f64; 2]> = designs.into_iter().map(|(x1, x2)| [x1, x2]).collect();
        let curves = grid.level_set();
        let _ = (curves.length(), curves.curves_near(&designs, distance));
        let panels = titles.into_iter().map(|title| ErrorMapPanel { title, designs: designs.clone() });
        draw(&ErrorMap { grid, names: ["x₁".into(), "x₂".into()], panels: panels.collect() });
    }

    #[test]
    fn tables(header in prop::collection::vec(label(), 0..4), rows in prop::collection::vec(prop::collection::vec(label(), 0..6), 0..4), number in value()) {
        let mut table = Table::new(&header.iter().map(String::as_str).collect::<Vec<_>>());
        let count = rows.len();
        for row in rows {
            table.push(row);
        }
        let single = header.iter().all(|name| !name.contains(['\n', '\r']));
        let _ = table.text();
        let lines = table.markdown().lines().count();
        prop_assert!(!single || lines >= count);
        prop_assert!(!scientific(number).is_empty());
    }
}
