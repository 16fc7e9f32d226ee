//! The curves f(x) = y of a function on a grid, by marching squares.

use std::collections::BTreeMap;

use super::ResidualGrid;

/// The curves on which a residual changes its sign: the designs that meet the target exactly.
///
/// Each curve is connected: a ring, or an arc that ends at the edge of the grid.
///
/// ```
/// use inverse_bench::ResidualGrid;
/// use inverse_core::Domain;
///
/// let domain = Domain::from_bounds(&[-1.0, -1.0], &[1.0, 1.0])?;
/// let circle = ResidualGrid::from_fn(&domain, 101, |x1, x2| x1.hypot(x2) - 0.5)?.level_set();
/// assert_eq!(circle.curves().len(), 1);
/// assert!((circle.length() - std::f64::consts::PI).abs() < 1e-2);
/// assert_eq!(circle.curves_near(&[[0.0, 0.51]], 0.05), 1);
/// # Ok::<(), inverse_core::InvalidArgument>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LevelSet {
    curves: Vec<Vec<[f64; 2]>>,
}

impl LevelSet {
    /// The curves as points in order; the first point of a ring is also its last.
    pub fn curves(&self) -> &[Vec<[f64; 2]>] {
        &self.curves
    }

    /// Length of all curves together.
    pub fn length(&self) -> f64 {
        let segments = self.curves.iter().flat_map(|curve| curve.windows(2));
        segments.map(|ends| (ends[0][0] - ends[1][0]).hypot(ends[0][1] - ends[1][1])).sum()
    }

    /// How many of the curves have at least one of the designs within `distance`.
    pub fn curves_near(&self, designs: &[[f64; 2]], distance: f64) -> usize {
        let near = |curve: &&Vec<[f64; 2]>| {
            let mut segments = curve.windows(2);
            segments.any(|ends| designs.iter().any(|x| distance_to_segment(*x, ends[0], ends[1]) <= distance))
        };
        self.curves.iter().filter(near).count()
    }

    /// Finds the curves; cells with a corner that is not finite hold none.
    pub(super) fn of(grid: &ResidualGrid) -> Self {
        let mut tangle = Tangle::default();
        for row in 0..grid.points() - 1 {
            for column in 0..grid.points() - 1 {
                tangle.add_cell(grid, row, column);
            }
        }
        Self { curves: tangle.unravel() }
    }
}

fn distance_to_segment(x: [f64; 2], from: [f64; 2], to: [f64; 2]) -> f64 {
    let along = [to[0] - from[0], to[1] - from[1]];
    let squared = along[0].powi(2) + along[1].powi(2);
    let share = if squared > 0.0 {
        (((x[0] - from[0]) * along[0] + (x[1] - from[1]) * along[1]) / squared).clamp(0.0, 1.0)
    } else {
        0.0
    };
    (x[0] - from[0] - share * along[0]).hypot(x[1] - from[1] - share * along[1])
}

/// An edge between neighbouring grid points: its lower left end, and whether it goes up.
type Edge = (usize, usize, bool);

/// Line pieces, each through one cell, from one of its edges to another.
#[derive(Default)]
struct Tangle {
    pieces: Vec<[Edge; 2]>,
    /// Where the curve crosses an edge, and the pieces that end there: one at the rim, else two.
    crossings: BTreeMap<Edge, ([f64; 2], Vec<usize>)>,
}

impl Tangle {
    fn add_cell(&mut self, grid: &ResidualGrid, row: usize, column: usize) {
        // Around the cell, from its lower left corner.
        let corners = [(row, column), (row, column + 1), (row + 1, column + 1), (row + 1, column)];
        let edges =
            [(row, column, false), (row, column + 1, true), (row + 1, column, false), (row, column, true)];
        let values = corners.map(|(row, column)| grid.residual(row, column));
        if values.iter().any(|value| !value.is_finite()) {
            return;
        }
        let above = values.map(|value| value >= 0.0);
        let crossed: Vec<usize> = (0..4).filter(|side| above[*side] != above[(side + 1) % 4]).collect();
        for &side in &crossed {
            let (from, to) = (side, (side + 1) % 4);
            let share = values[from] / (values[from] - values[to]);
            let place = |(row, column)| grid.place(row, column);
            let (start, end) = (place(corners[from]), place(corners[to]));
            let point = [0, 1].map(|axis| start[axis] + share * (end[axis] - start[axis]));
            self.crossings.entry(edges[side]).or_insert((point, Vec::new()));
        }
        match crossed[..] {
            [one, other] => self.add_piece(edges[one], edges[other]),
            // A saddle: the middle decides which two opposite corners are cut off.
            [_, _, _, _] => {
                let middle_is_above = values.iter().map(|value| value / 4.0).sum::<f64>() >= 0.0;
                let cuts = if middle_is_above == above[0] { [(0, 1), (2, 3)] } else { [(3, 0), (1, 2)] };
                for (from, to) in cuts {
                    self.add_piece(edges[from], edges[to]);
                }
            }
            _ => {}
        }
    }

    fn add_piece(&mut self, from: Edge, to: Edge) {
        for edge in [from, to] {
            if let Some((_, pieces)) = self.crossings.get_mut(&edge) {
                pieces.push(self.pieces.len());
            }
        }
        self.pieces.push([from, to]);
    }

    /// Follows the pieces from end to end: arcs first, since only they have ends; then rings.
    fn unravel(self) -> Vec<Vec<[f64; 2]>> {
        let mut used = vec![false; self.pieces.len()];
        let ends = self.crossings.iter().filter(|(_, (_, pieces))| pieces.len() == 1);
        let starts = ends.chain(&self.crossings).map(|(edge, _)| *edge);
        starts.map(|edge| self.follow(edge, &mut used)).filter(|curve| curve.len() > 1).collect()
    }

    /// The points from a crossing to where no unused piece goes on.
    fn follow(&self, mut edge: Edge, used: &mut [bool]) -> Vec<[f64; 2]> {
        let mut curve = Vec::new();
        while let Some((point, pieces)) = self.crossings.get(&edge) {
            curve.push(*point);
            let Some(&piece) = pieces.iter().find(|piece| !used[**piece]) else { break };
            used[piece] = true;
            let [from, to] = self.pieces[piece];
            edge = if from == edge { to } else { from };
        }
        curve
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::{FRAC_1_SQRT_2, PI};

    use inverse_core::Domain;

    use super::*;

    fn square() -> Domain {
        Domain::from_bounds(&[-1.0, -1.0], &[1.0, 1.0]).unwrap()
    }

    #[test]
    fn circles_have_their_length() {
        for points in [21, 41, 81] {
            let (radius, step) = (0.7, 2.0 / (points as f64 - 1.0));
            let grid = ResidualGrid::from_fn(&square(), points, |x1, x2| x1.hypot(x2) - radius).unwrap();
            let set = grid.level_set();
            assert_eq!(set.curves().len(), 1);
            let ring = &set.curves()[0];
            assert_eq!(ring.first(), ring.last());
            // Along an edge the second derivative of |x| is between 0 and 1 / |x|: where the interpolated
            // residual is 0, the true one is between -off and 0.
            let off = step * step / (8.0 * (radius - step));
            let inside = |x: &[f64; 2]| radius - x[0].hypot(x[1]);
            assert!(ring.iter().all(|x| (-1e-12..=off + 1e-12).contains(&inside(x))));
            // A chord between radii r − δ₁ and r − δ₂ under the angle θ is at least 2 sin(θ / 2) (r − off), and
            // at most θ r + |δ₁ − δ₂|; no chord is longer than a cell's diagonal.
            let angle = (2.0_f64.sqrt() * step / (radius - off)).min(PI);
            let shortest = 2.0 * PI * (radius - off) * (1.0 - angle * angle / 20.0);
            let longest = 2.0 * PI * radius + off * ring.len() as f64;
            assert!((shortest..=longest).contains(&set.length()), "{shortest} {} {longest}", set.length());
        }
    }

    #[test]
    fn curves_are_counted_and_found() {
        let two = |x1: f64, x2: f64| ((x1 - 0.5).hypot(x2) - 0.3).min((x1 + 0.5).hypot(x2) - 0.3);
        let set = ResidualGrid::from_fn(&square(), 50, two).unwrap().level_set();
        assert_eq!(set.curves().len(), 2);
        assert_eq!(set.curves_near(&[], 0.05), 0);
        assert_eq!(set.curves_near(&[[0.5, 0.0], [f64::NAN, 0.0]], 0.05), 0);
        assert_eq!(set.curves_near(&[[0.5, 0.33], [0.8, 0.0]], 0.05), 1);
        assert_eq!(set.curves_near(&[[0.5, 0.33], [-0.8, 0.0]], 0.05), 2);
        assert_eq!(set.curves_near(&[[0.5, 0.33]], 0.01), 0);
    }

    #[test]
    fn arcs_end_at_the_rim_and_at_holes() {
        let line = ResidualGrid::from_fn(&square(), 11, |x1, x2| x1 + x2 - 0.13).unwrap().level_set();
        assert_eq!(line.curves().len(), 1);
        assert_ne!(line.curves()[0].first(), line.curves()[0].last());
        assert!((line.length() - (2.0 - 0.13) / FRAC_1_SQRT_2).abs() < 1e-12);
        let hole = |x1: f64, x2: f64| if x1.abs() < 0.1 { f64::NAN } else { x2 - 0.03 };
        assert_eq!(ResidualGrid::from_fn(&square(), 50, hole).unwrap().level_set().curves().len(), 2);
        for constant in [0.0, 1.0, f64::NAN, f64::NEG_INFINITY] {
            let flat = ResidualGrid::from_fn(&square(), 9, |_, _| constant).unwrap().level_set();
            assert!(flat.curves().is_empty());
        }
    }

    #[test]
    fn saddles_are_taken_apart() {
        // Of one cell with corners + − + −, the middle's sign decides which corners are cut off.
        for (lift, low_left_is_cut) in [(-0.5, true), (0.5, false)] {
            let saddle = |x1: f64, x2: f64| x1 * x2 + lift;
            let set = ResidualGrid::from_fn(&square(), 2, saddle).unwrap().level_set();
            assert_eq!(set.curves().len(), 2);
            let cut = |curve: &Vec<[f64; 2]>| curve.iter().all(|x| x[0] == -1.0 || x[1] == -1.0);
            assert_eq!(set.curves().iter().any(cut), low_left_is_cut, "{set:?}");
        }
    }
}
