//! f(x) − y of a function of two variables, on a regular grid.

use inverse_core::{Domain, InvalidArgument, SimulationError, Simulator};
use ndarray::Array2;

use super::LevelSet;

/// The most grid points a side: more than any picture shows.
const MOST_POINTS: usize = 2000;

/// The signed residual f(x) − y on a square grid of points over a domain of two variables.
#[derive(Debug, Clone, PartialEq)]
pub struct ResidualGrid {
    /// [x₁, x₂] of the grid's lower left and upper right point.
    corners: [[f64; 2]; 2],
    /// (points, points): a row for each x₂, a column for each x₁.
    residuals: Array2<f64>,
}

impl ResidualGrid {
    /// Evaluates a residual of (x₁, x₂).
    ///
    /// * `points`: grid points a side, the edges of the domain among them; at least 2
    ///
    /// # Errors
    /// [`InvalidArgument`] where the domain has no area in two dimensions, or `points` is out of bounds.
    pub fn from_fn(
        domain: &Domain,
        points: usize,
        mut residual: impl FnMut(f64, f64) -> f64,
    ) -> Result<Self, InvalidArgument> {
        let mut grid = Self::empty(domain, points)?;
        grid.residuals = Array2::from_shape_fn((points, points), |(row, column)| {
            let [x1, x2] = grid.place(row, column);
            residual(x1, x2)
        });
        Ok(grid)
    }

    /// Simulates every grid point, for a target y of one measurement.
    ///
    /// * `points`: as for [`ResidualGrid::from_fn`]
    ///
    /// # Errors
    /// [`SimulationError`] where the simulator has not two design variables and one measurement, where it
    /// fails, and as [`ResidualGrid::from_fn`].
    pub fn simulate<S: Simulator + ?Sized>(
        simulator: &S,
        target: f64,
        domain: &Domain,
        points: usize,
    ) -> Result<Self, SimulationError> {
        let dims = (simulator.dim_x(), simulator.dim_y());
        if dims != (2, 1) {
            let found = format!("{} and {}", dims.0, dims.1);
            let expected = "two design variables and one measurement";
            return Err(InvalidArgument::new("simulator", expected, found).into());
        }
        let mut grid = Self::empty(domain, points)?;
        let designs = Array2::from_shape_fn((points * points, 2), |(index, axis)| {
            grid.place(index / points, index % points)[axis]
        });
        let y = simulator.simulate(designs.view())?;
        grid.residuals = Array2::from_shape_fn((points, points), |(row, column)| {
            y.get([row * points + column, 0]).map_or(f64::NAN, |y| y - target)
        });
        Ok(grid)
    }

    fn empty(domain: &Domain, points: usize) -> Result<Self, InvalidArgument> {
        if !(2..=MOST_POINTS).contains(&points) {
            return Err(InvalidArgument::new("points", format!("2 to {MOST_POINTS}"), points));
        }
        let (lower, upper) = (domain.lower().to_vec(), domain.upper().to_vec());
        let (&[x1_low, x2_low], &[x1_high, x2_high]) = (&lower[..], &upper[..]) else {
            return Err(InvalidArgument::new("domain", "two variables", domain.dim()));
        };
        if !(x1_low < x1_high && x2_low < x2_high) {
            return Err(InvalidArgument::new(
                "domain",
                "a range larger than 0",
                format!("{lower:?} to {upper:?}"),
            ));
        }
        let residuals = Array2::from_elem((points, points), f64::NAN);
        Ok(Self { corners: [[x1_low, x2_low], [x1_high, x2_high]], residuals })
    }

    /// Grid points a side.
    pub fn points(&self) -> usize {
        self.residuals.nrows()
    }

    /// [x₁, x₂] of the lower left and of the upper right corner.
    pub fn corners(&self) -> [[f64; 2]; 2] {
        self.corners
    }

    /// Whether a design lies over the grid.
    pub fn contains(&self, x: [f64; 2]) -> bool {
        let [low, high] = self.corners;
        (0..2).all(|axis| (low[axis]..=high[axis]).contains(&x[axis]))
    }

    /// The designs with f(x) = y, as far as the grid resolves them.
    pub fn level_set(&self) -> LevelSet {
        LevelSet::of(self)
    }

    /// [x₁, x₂] of a grid point.
    pub(super) fn place(&self, row: usize, column: usize) -> [f64; 2] {
        let [low, high] = self.corners;
        let last = self.points() as f64 - 1.0;
        let at = |axis: usize, index: usize| {
            let share = index as f64 / last;
            low[axis] * (1.0 - share) + high[axis] * share
        };
        [at(0, column), at(1, row)]
    }

    pub(super) fn residual(&self, row: usize, column: usize) -> f64 {
        self.residuals[[row, column]]
    }

    /// |f(x) − y| in the middle of each cell, (points − 1, points − 1); NaN next to a point without value.
    pub(super) fn cell_errors(&self) -> Array2<f64> {
        let cells = self.points() - 1;
        Array2::from_shape_fn((cells, cells), |(row, column)| {
            let corners = [(row, column), (row, column + 1), (row + 1, column), (row + 1, column + 1)];
            let middle: f64 = corners.iter().map(|corner| 0.25 * self.residuals[*corner]).sum();
            if middle.is_finite() { middle.abs() } else { f64::NAN }
        })
    }
}

#[cfg(test)]
mod tests {
    use inverse_core::FnSimulator;

    use super::*;

    #[test]
    fn simulators_and_functions_agree() {
        let domain = Domain::from_bounds(&[0.0, -1.0], &[2.0, 3.0]).unwrap();
        let simulator = FnSimulator::new(2, 1, |x, y| y[0] = x[0] + 10.0 * x[1]).unwrap();
        let grid = ResidualGrid::simulate(&simulator, 0.5, &domain, 5).unwrap();
        assert_eq!(grid, ResidualGrid::from_fn(&domain, 5, |x1, x2| x1 + 10.0 * x2 - 0.5).unwrap());
        assert_eq!(grid.place(4, 1), [0.5, 3.0]);
        assert_eq!(grid.residual(4, 1), 30.0);
        assert_eq!(grid.cell_errors()[[0, 0]], (0.25_f64 - 5.0 - 0.5).abs());
        assert!(grid.contains([2.0, 3.0]) && !grid.contains([2.1, 0.0]) && !grid.contains([f64::NAN, 0.0]));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let square = Domain::from_bounds(&[0.0; 2], &[1.0; 2]).unwrap();
        let refused =
            |domain: &Domain, points| ResidualGrid::from_fn(domain, points, |_, _| 0.0).unwrap_err().argument;
        assert_eq!(refused(&square, 1), "points");
        assert_eq!(refused(&square, usize::MAX), "points");
        assert_eq!(refused(&Domain::from_bounds(&[0.0; 3], &[1.0; 3]).unwrap(), 5), "domain");
        assert_eq!(refused(&Domain::from_bounds(&[0.0; 2], &[0.0; 2]).unwrap(), 5), "domain");
        let wide = FnSimulator::new(3, 1, |_, _| {}).unwrap();
        let error = ResidualGrid::simulate(&wide, 0.0, &square, 5).unwrap_err().to_string();
        assert!(error.contains("simulator") && error.contains("3 and 1"), "{error}");
    }
}
