//! Where Neural-Adjoint descents start.

use inverse_core::{ProposeError, RandomStreams};
use ndarray::{Array1, Array2, ArrayView1, Axis};
use rand::RngExt;
use rand::seq::index;
use serde::{Deserialize, Serialize};

use crate::boundary_loss::BoundaryLoss;
use crate::device::propose_backend;
use crate::standardized_data::{array, tensor};
use crate::surrogate::Surrogate;

/// Where designs start: the Ω of section 8.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Starts {
    /// Designs of the training data: draws from the prior ("add Ω" in Table 5).
    #[default]
    Prior,
    /// Uniform over the domain (Table 5 without Ω).
    Uniform,
    /// Those designs of the training data whose measurement, by the surrogate, is nearest to the target.
    ///
    /// One pass of the surrogate over the training designs, shared by all targets, replaces the first steps of every
    /// descent. Not in the paper. Designs of several solutions are near the target alike, so all of them are kept as
    /// long as `start_count` is far above their number. Symmetric copies are near the target alike, too: a model that was
    /// trained on [them](inverse_core::Dataset::with_symmetric_copies) needs as many times the starts.
    Screened,
}

/// What the surrogate says of the training designs.
pub(crate) struct Screen {
    /// Standardised predictions, each y times the root of its weight, (n, `dim_y`).
    predictions: Array2<f32>,
    /// Half their squared norms, (n).
    half_norms: Array1<f32>,
}

impl Screen {
    /// * `designs`: standardised, (n, `dim_x`)
    pub(crate) fn new(surrogate: &Surrogate, designs: &Array2<f32>) -> Result<Self, ProposeError> {
        let x = tensor(designs.mapv(f64::from).view(), &surrogate.device).map_err(propose_backend)?;
        let y = surrogate.network.forward(&x).and_then(|y| array(&y)).map_err(propose_backend)?;
        let roots: Array1<f32> = surrogate.error_weights().0.iter().map(|weight| weight.sqrt()).collect();
        let predictions = y.mapv(|value| value as f32) * &roots;
        let half_norms = predictions.rows().into_iter().map(|row| 0.5 * row.dot(&row)).collect();
        Ok(Self { predictions, half_norms })
    }

    /// The rows of the `count` designs nearest to the target, nearest first; in turn again where there are fewer.
    ///
    /// * `target`: standardised, each y times the root of its weight, (`dim_y`)
    fn nearest(&self, target: ArrayView1<'_, f64>, count: usize) -> Vec<usize> {
        let target = target.mapv(|value| value as f32);
        // ‖p − y‖² / 2 less what all share.
        let distances = &self.half_norms - &self.predictions.dot(&target);
        let mut rows: Vec<usize> = (0..distances.len()).collect();
        // Ties keep the order of the designs.
        let nearer = |a: &usize, b: &usize| distances[*a].total_cmp(&distances[*b]).then(a.cmp(b));
        if count < rows.len() {
            rows.select_nth_unstable_by(count, nearer);
            rows.truncate(count);
        }
        rows.sort_unstable_by(nearer);
        rows.into_iter().cycle().take(count).collect()
    }
}

/// Draws the starts of one target after the other.
pub(crate) struct StartSource<'a> {
    pub(crate) starts: Starts,
    pub(crate) count: usize,
    /// Standardised training designs, (n, `dim_x`).
    pub(crate) designs: &'a Array2<f32>,
    pub(crate) boundary: &'a BoundaryLoss,
    /// For [`Starts::Screened`].
    pub(crate) screen: Option<Screen>,
}

impl StartSource<'_> {
    /// Standardised starts, (`count`, `dim_x`).
    ///
    /// * `target`: standardised and weighted, as [`Screen::nearest`] takes it
    pub(crate) fn draw(&self, seed: u64, target: ArrayView1<'_, f64>) -> Array2<f64> {
        let mut stream = RandomStreams::new(seed).stream("neural adjoint starts", 0);
        let count = self.count;
        match (self.starts, &self.screen) {
            (Starts::Uniform, _) => {
                let BoundaryLoss { center, half_range: half } = self.boundary;
                Array2::from_shape_fn((count, center.len()), |(_, column)| {
                    center[column] + half[column] * stream.random_range(-1.0..=1.0)
                })
            }
            (Starts::Screened, Some(screen)) => self.chosen(&screen.nearest(target, count)),
            (Starts::Prior | Starts::Screened, _) => {
                // Without replacement as long as the designs last: equal starts would be wasted work.
                let rows = self.designs.nrows();
                let mut chosen = Vec::with_capacity(count);
                while chosen.len() < count {
                    chosen.extend(index::sample(&mut stream, rows, rows.min(count - chosen.len())));
                }
                self.chosen(&chosen)
            }
        }
    }

    fn chosen(&self, rows: &[usize]) -> Array2<f64> {
        self.designs.select(Axis(0), rows).mapv(f64::from)
    }
}
