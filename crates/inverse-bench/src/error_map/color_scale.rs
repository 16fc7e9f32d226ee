//! Logarithmic colours of an error: darker is better.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::FontTransform;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::ResidualGrid;
use crate::figure::{DrawResult, FONT, text};

/// Colours in the scale: few enough for files of moderate size, enough to look smooth.
pub(super) const LEVELS: usize = 24;

/// Even steps along cividis, perceptually uniform for colour-blind readers too (Nuñez et al. 2018).
const ANCHORS: [(u8, u8, u8); 10] = [
    (0, 32, 77),
    (0, 51, 111),
    (57, 72, 107),
    (87, 92, 109),
    (112, 112, 115),
    (138, 135, 121),
    (166, 157, 117),
    (196, 181, 108),
    (228, 207, 91),
    (255, 234, 70),
];

/// The share of the map that the darkest colour may cover: below it, errors look alike.
const DARKEST_SHARE: f64 = 0.1;
/// The most decades; more would leave too few colours for each.
const MOST_DECADES: f64 = 6.0;

/// Colours of errors between two limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ColorScale {
    /// log₁₀ of the limits; `low` is a whole number.
    low: f64,
    high: f64,
}

impl ColorScale {
    /// From the power of ten below the smallest errors to the largest.
    pub(super) fn of(grid: &ResidualGrid) -> Self {
        let errors = grid.cell_errors();
        let mut known: Vec<f64> = errors.iter().copied().filter(|error| !error.is_nan()).collect();
        known.sort_by(f64::total_cmp);
        let highest = known.last().copied().filter(|error| *error > 1e-100).unwrap_or(1.0);
        let small = known.get((known.len() as f64 * DARKEST_SHARE) as usize).copied().unwrap_or(0.0);
        let high = highest.log10();
        // Nothing is far below zero and nothing reaches the top: an error of 0 is the darkest.
        let low = small.log10().floor().max((high - MOST_DECADES).ceil()).min((high - 0.5).floor());
        Self { low, high }
    }

    /// The colour's number, 0 for the smallest errors; none where the error is unknown.
    pub(super) fn level(&self, error: f64) -> Option<usize> {
        let share = (error.log10() - self.low) / (self.high - self.low);
        (!error.is_nan()).then(|| (share.clamp(0.0, 1.0) * LEVELS as f64).min(LEVELS as f64 - 1.0) as usize)
    }

    /// Labels and places between 0 and 1: each power of ten, and ticks between them. Where there are few
    /// powers of ten, 2 and 5 have labels too.
    fn ticks(&self) -> Vec<(Option<String>, f64)> {
        let decades = self.high - self.low;
        let labelled = |digit: u32| digit == 1 || (decades < 2.0 && matches!(digit, 2 | 5));
        let powers = self.low as i32..=self.high.floor() as i32;
        let ticks = powers.flat_map(|power| (1..10).map(move |digit| (power, digit)));
        let ticks = ticks.map(|(power, digit)| {
            let share = (f64::from(power) + f64::from(digit).log10() - self.low) / decades;
            (labelled(digit).then(|| format!("{digit}e{power}")), share)
        });
        ticks.filter(|(_, share)| *share <= 1.0).collect()
    }

    /// Draws the scale from top to bottom of the area, with its powers of ten.
    pub(super) fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        (top, bottom): (i32, i32),
        scale: u32,
    ) -> DrawResult {
        let unit = scale as i32;
        let (left, right) = (14 * unit, 36 * unit);
        let height = f64::from(bottom - top);
        let at = |share: f64| bottom - (share * height).round() as i32;
        for level in 0..LEVELS {
            let share = |level: usize| at(level as f64 / LEVELS as f64);
            let corners = [(left, share(level + 1)), (right, share(level))];
            area.draw(&Rectangle::new(corners, level_color(level).filled())).map_err(text)?;
        }
        let frame = BLACK.stroke_width(scale);
        area.draw(&Rectangle::new([(left, top), (right, bottom)], frame)).map_err(text)?;
        let font = (FONT, 17 * scale).into_font().color(&BLACK);
        for (label, share) in self.ticks() {
            let y = at(share);
            let length = if label.is_some() { 6 } else { 3 };
            let tick = vec![(right, y), (right + length * unit, y)];
            area.draw(&PathElement::new(tick, frame)).map_err(text)?;
            let place = (right + 9 * unit, y);
            let font = font.pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(label.unwrap_or_default(), place, font)).map_err(text)?;
        }
        let font = (FONT, 19 * scale).into_font().transform(FontTransform::Rotate270).color(&BLACK);
        let font = font.pos(Pos::new(HPos::Center, VPos::Center));
        let place = (right + 62 * unit, i32::midpoint(top, bottom));
        area.draw(&Text::new("error |f(x) - y|, darker is better", place, font)).map_err(text)
    }
}

pub(super) fn level_color(level: usize) -> RGBColor {
    let place = level as f64 / (LEVELS - 1) as f64 * (ANCHORS.len() - 1) as f64;
    let below = (place as usize).min(ANCHORS.len() - 2);
    let share = place - below as f64;
    let mix = |from: u8, to: u8| (f64::from(from) * (1.0 - share) + f64::from(to) * share).round() as u8;
    let ((r0, g0, b0), (r1, g1, b1)) = (ANCHORS[below], ANCHORS[below + 1]);
    RGBColor(mix(r0, r1), mix(g0, g1), mix(b0, b1))
}

#[cfg(test)]
mod tests {
    use inverse_core::Domain;

    use super::*;

    fn scale(residual: impl FnMut(f64, f64) -> f64) -> ColorScale {
        let square = Domain::from_bounds(&[-1.0; 2], &[1.0; 2]).unwrap();
        ColorScale::of(&ResidualGrid::from_fn(&square, 41, residual).unwrap())
    }

    #[test]
    fn levels_rise_with_the_error() {
        // The middles of cells 0.05 wide: a tenth have errors up to 0.075, the next 0.125.
        let scale = scale(|x1, _| x1);
        assert_eq!((scale.low, scale.level(0.0), scale.level(1e9)), (-1.0, Some(0), Some(LEVELS - 1)));
        assert_eq!(scale.level(f64::NAN), None);
        let levels: Vec<_> = (0..100).map(|step| scale.level(0.02 * f64::from(step))).collect();
        assert!(levels.is_sorted());
    }

    #[test]
    fn ticks_are_powers_of_ten_and_what_is_between() {
        let labels = |low, high| -> Vec<String> {
            let ticks = ColorScale { low, high }.ticks();
            assert!(ticks.iter().all(|(_, share)| (0.0..=1.0).contains(share)));
            ticks.into_iter().filter_map(|(label, _)| label).collect()
        };
        assert_eq!(labels(-1.0, 0.36), ["1e-1", "2e-1", "5e-1", "1e0", "2e0"]);
        assert_eq!(labels(-3.0, 0.0), ["1e-3", "1e-2", "1e-1", "1e0"]);
    }

    #[test]
    fn odd_maps_have_a_scale() {
        for value in [0.0, 1.0, -1e-300, f64::NAN, f64::INFINITY, 1e300] {
            let scale = scale(|_, _| value);
            assert!(scale.low < scale.high && scale.low.is_finite() && scale.high.is_finite(), "{value}");
        }
        let spike = scale(|x1, _| if x1 > 0.0 { 1e200 } else { 1e-200 });
        assert!(spike.high - spike.low <= MOST_DECADES + 1.0);
    }

    #[test]
    fn colors_get_lighter() {
        let light = |RGBColor(r, g, b): RGBColor| {
            0.2126 * f64::from(r) + 0.7152 * f64::from(g) + 0.0722 * f64::from(b)
        };
        let lights: Vec<f64> = (0..LEVELS).map(|level| light(level_color(level))).collect();
        assert!(lights.is_sorted());
        assert_eq!((level_color(0), level_color(LEVELS - 1)), (RGBColor(0, 32, 77), RGBColor(255, 234, 70)));
    }
}
