//! A search with the simulator's own derivative: the ceiling of what any surrogate can reach.

use std::fmt;

use inverse_core::{
    DifferentiableSimulator, Domain, InvalidArgument, Proposals, ProposeError, Search, check_answered,
    check_answers, check_matrix,
};
use ndarray::{Array1, Array2, Array3, ArrayView2, Axis, Zip};
use rand::Rng;

use crate::levenberg_marquardt::{Bounds, LeastSquares, LevenbergMarquardtSettings};

/// Levenberg–Marquardt on the simulator itself, one step a call, its Jacobian free of charge.
///
/// It shows what perfect knowledge of the derivative is worth beside a surrogate that only guesses it. A start that is
/// done, or cannot be simulated, is followed by the next one.
///
/// ```
/// use inverse_core::{Domain, Proposals, RandomStreams};
/// use inverse_metrics::resimulate_search;
/// use inverse_models::GradientSearch;
/// use inverse_tasks::RoboticArm;
/// use ndarray::array;
///
/// let arm = RoboticArm::new();
/// let starts = Proposals::new(array![[[0.0, 0.4, -0.2, 0.3]]])?;
/// let domain = Domain::from_bounds(&[-1.0; 4], &[1.0; 4])?;
/// let y = array![[0.3, 1.6]];
/// let mut search = GradientSearch::new(&arm, &domain, &starts, y.view(), 8)?;
/// let mut rng = RandomStreams::new(1).stream("search", 0);
/// let errors = resimulate_search(&arm, &mut search, y.view(), 8, &mut rng)?;
/// assert!(errors.mean(8)? < 1e-20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct GradientSearch<'a> {
    simulator: &'a dyn DifferentiableSimulator,
    settings: LevenbergMarquardtSettings,
    /// Half the domain's range: the unit in which steps are damped, (`dim_x`).
    units: Array1<f64>,
    starts: Array3<f64>,
    y: Array2<f64>,
    problems: Vec<LeastSquares>,
    /// The start each target is at.
    at: Vec<usize>,
    bounds: Bounds,
    asked: Option<Array2<f64>>,
    remaining: usize,
}

impl fmt::Debug for GradientSearch<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = formatter.debug_struct("GradientSearch");
        text.field("targets", &self.y.nrows()).field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

impl<'a> GradientSearch<'a> {
    /// A search from `starts`, best first.
    ///
    /// * `domain`: its range is the unit of each variable; designs may leave it
    /// * `starts`: finite designs, (targets, n, `dim_x`)
    /// * `y`: targets, (targets, `dim_y`)
    /// * `budget`: calls a target
    ///
    /// # Errors
    /// [`ProposeError::InvalidArgument`] where shapes disagree, a value is not finite, or `budget` is 0.
    pub fn new(
        simulator: &'a dyn DifferentiableSimulator,
        domain: &Domain,
        starts: &Proposals,
        y: ArrayView2<'_, f64>,
        budget: usize,
    ) -> Result<Self, ProposeError> {
        check_matrix("y", y, simulator.dim_y())?;
        let (targets, _, dim_x) = starts.designs().dim();
        if (targets, dim_x) != (y.nrows(), simulator.dim_x()) || domain.dim() != dim_x {
            let expected = format!("{} targets of {} variables, as `domain`", y.nrows(), simulator.dim_x());
            return Err(InvalidArgument::new("starts", expected, format!("{targets} of {dim_x}")).into());
        }
        for designs in starts.designs().axis_iter(Axis(0)) {
            check_matrix("starts", designs, dim_x)?;
        }
        if budget == 0 {
            return Err(InvalidArgument::new("budget", "at least one call", 0).into());
        }
        // A variable without a range is measured in its own unit.
        let units = domain.range().mapv(|range| if range > 0.0 { 0.5 * range } else { 1.0 });
        let settings = LevenbergMarquardtSettings { damping: 1e-6, tolerance: 1e-30, ..Default::default() };
        let problems = (0..targets).map(|index| LeastSquares::unknown(index, dim_x, &settings)).collect();
        let infinite = Array2::from_elem((targets, dim_x), f64::INFINITY);
        Ok(Self {
            simulator,
            settings,
            units,
            starts: starts.designs().to_owned(),
            y: y.to_owned(),
            problems,
            at: vec![0; targets],
            bounds: Bounds { lower: -&infinite, upper: infinite },
            asked: None,
            remaining: budget,
        })
    }
}

impl Search for GradientSearch<'_> {
    fn ask(&mut self, _rng: &mut dyn Rng) -> Result<Array2<f64>, ProposeError> {
        if self.remaining == 0 {
            return Err(InvalidArgument::new("budget", "no more calls than it allows", "one more").into());
        }
        check_answered(self.asked.is_some())?;
        let count = self.starts.dim().1;
        let mut designs = Array2::zeros((self.y.nrows(), self.units.len()));
        for (target, mut row) in designs.rows_mut().into_iter().enumerate() {
            if let Some(x) = self.problems[target].propose(&self.bounds, &self.settings) {
                row.assign(&(x * &self.units));
            } else {
                let start = self.starts.index_axis(Axis(0), target);
                // Where all starts are used up, the last one is simulated again.
                row.assign(&start.row(self.at[target].min(count - 1)));
                self.at[target] += 1;
                self.problems[target] = LeastSquares::unknown(target, row.len(), &self.settings);
            }
        }
        self.remaining -= 1;
        self.asked = Some(designs.clone());
        Ok(designs)
    }

    fn tell(&mut self, y: ArrayView2<'_, f64>) -> Result<(), ProposeError> {
        check_answers(y, self.y.dim())?;
        let Some(designs) = &self.asked else {
            return Err(InvalidArgument::new("y", "answers to designs that were asked for", "others").into());
        };
        let jacobian = self
            .simulator
            .jacobian(designs.view())
            .map_err(|error| ProposeError::Backend(Box::new(error)))?;
        let expected = (designs.nrows(), self.y.ncols(), designs.ncols());
        if jacobian.dim() != expected {
            let (expected, found) = (format!("derivatives of shape {expected:?}"), jacobian.dim());
            return Err(InvalidArgument::new("simulator", expected, format!("{found:?}")).into());
        }
        for (target, x) in designs.rows().into_iter().enumerate() {
            let mut transposed = jacobian.index_axis(Axis(0), target).t().to_owned();
            Zip::from(transposed.rows_mut()).and(&self.units).for_each(|mut row, unit| row *= *unit);
            let residuals = &y.row(target) - &self.y.row(target);
            self.problems[target].answer(&x / &self.units, residuals, transposed);
        }
        self.asked = None;
        Ok(())
    }
}
