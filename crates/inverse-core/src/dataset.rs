//! Datasets of (x, y) pairs.

use ndarray::{Array2, ArrayView2, Axis};
use rand::Rng;
use rand::seq::SliceRandom;
use sha2::{Digest, Sha256};

use crate::simulator::check_dimension;
use crate::{
    DataError, Domain, InvalidArgument, MeasurementNoise, Symmetry, Task, check_matrix, with_symmetric_copies,
};

/// How many designs are drawn for one that is wanted, where most cannot be evaluated; and how often, at least, the prior
/// is asked.
const LARGEST_REDRAW: usize = 100;

/// The most pairs that a dataset is drawn with, and the most designs that a model proposes in one call: a mistyped
/// count fails with a message instead of exhausting the memory.
pub const LARGEST_PAIRS: usize = 1 << 24;

/// Pairs of designs and measurements, one pair a row, every value finite.
///
/// ```
/// use inverse_core::{Dataset, RandomStreams};
/// use ndarray::array;
///
/// let data = Dataset::new(array![[0.0], [1.0], [2.0], [3.0], [4.0]], array![[0.0], [1.0], [4.0], [9.0], [16.0]])?;
/// let (training, validation) = data.split(0.2, &mut RandomStreams::new(0).stream("split", 0))?;
/// assert_eq!((training.len(), validation.len()), (4, 1));
/// # Ok::<(), inverse_core::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    x: Array2<f64>,
    y: Array2<f64>,
    domain: Domain,
    redrawn: usize,
}

impl Dataset {
    /// Joins designs (n, `dim_x`) with their measurements (n, `dim_y`).
    ///
    /// The domain is the mean and full range of `x`; see [`Dataset::with_domain`]. Arrays are kept row by row, whatever
    /// their layout: equal arrays give equal bits in all that is computed of them.
    ///
    /// # Errors
    /// [`DataError::InvalidArgument`] where the row counts differ or are 0, an array has no column, or a
    /// value is not finite; also where `x` is so huge that mean or range is not.
    pub fn new(x: Array2<f64>, y: Array2<f64>) -> Result<Self, DataError> {
        for (name, array) in [("x", &x), ("y", &y)] {
            if array.is_empty() {
                let found = format!("shape {:?}", array.dim());
                return Err(InvalidArgument::new(name, "at least one row and one column", found).into());
            }
            check_matrix(name, array.view(), array.ncols())?;
        }
        if x.nrows() != y.nrows() {
            let expected = format!("{} rows, as in `x`", x.nrows());
            return Err(InvalidArgument::new("y", expected, format!("{} rows", y.nrows())).into());
        }
        let (x, y) = (row_major(x), row_major(y));
        let domain = Domain::from_samples(x.view())?;
        Ok(Self { x, y, domain, redrawn: 0 })
    }

    /// Draws `n` designs from the task's prior and simulates them; the domain is the prior's.
    ///
    /// Designs that the simulator cannot evaluate (rows of NaN) are drawn again; [`Dataset::redrawn`]
    /// tells how many there were.
    ///
    /// # Errors
    /// [`DataError::InvalidArgument`] where `n` is 0 or above [`LARGEST_PAIRS`], where the prior hardly ever
    /// gives a design that can be evaluated, where the task claims no variables or more than
    /// [`LARGEST_DIMENSION`](crate::LARGEST_DIMENSION), or where prior or simulator answer in another shape;
    /// [`DataError::Simulation`] where the simulator fails.
    pub fn from_task(task: &dyn Task, n: usize, rng: &mut dyn Rng) -> Result<Self, DataError> {
        if !(1..=LARGEST_PAIRS).contains(&n) {
            return Err(InvalidArgument::new("n", format!("1 to {LARGEST_PAIRS}"), n).into());
        }
        for (dimension, of) in [(task.dim_x(), "x"), (task.dim_y(), "y")] {
            check_dimension("task", dimension).map_err(|mut error| {
                error.found = format!("{dimension} in {of}");
                error
            })?;
        }
        let mut x = Array2::zeros((0, task.dim_x()));
        let mut y = Array2::zeros((0, task.dim_y()));
        let (mut drawn, mut rounds) = (0, 0);
        // Where one design in a hundred can be evaluated, ln n hundreds of rounds leave nothing missing.
        let most_rounds = LARGEST_REDRAW * (1 + n.ilog2() as usize);
        let may_go_on =
            |drawn, rounds| rounds < LARGEST_REDRAW || (drawn < LARGEST_REDRAW * n && rounds < most_rounds);
        while x.nrows() < n && may_go_on(drawn, rounds) {
            let missing = n - x.nrows();
            let (designs, measurements) = draw(task, missing, rng)?;
            let valid: Vec<usize> = (0..missing)
                .filter(|row| measurements.row(*row).iter().all(|value| value.is_finite()))
                .collect();
            (drawn, rounds) = (drawn + missing, rounds + 1);
            append(&mut x, designs.select(Axis(0), &valid).view())?;
            append(&mut y, measurements.select(Axis(0), &valid).view())?;
        }
        if x.nrows() < n {
            let found = format!("{} of {n} among {drawn} designs", x.nrows());
            return Err(
                InvalidArgument::new("task", "a prior of designs that can be evaluated", found).into()
            );
        }
        let mut data = Self::new(x, y)?.with_domain(task.prior().domain().clone())?;
        data.redrawn = drawn - n;
        Ok(data)
    }

    /// Replaces the domain (μ_x, R_x of eq. 5), for instance by the prior's 95% interval.
    ///
    /// # Errors
    /// [`DataError::InvalidArgument`] where the width is not that of `x`.
    pub fn with_domain(mut self, domain: Domain) -> Result<Self, DataError> {
        if domain.dim() != self.x.ncols() {
            let expected = format!("{} variables", self.x.ncols());
            return Err(
                InvalidArgument::new("domain", expected, format!("{} variables", domain.dim())).into()
            );
        }
        self.domain = domain;
        Ok(self)
    }

    /// Measures every design with noise: the same designs under measurements as noisy as those that a model will be asked
    /// about; the domain stays.
    ///
    /// Methods that renew training pairs by a surrogate, as `Tuned` presets do on the paper's tasks, would replace such
    /// measurements by ones without noise: set their `relabelling` to `None`.
    ///
    /// # Errors
    /// [`DataError::InvalidArgument`] where the noise is of another width than `y`, or answers in another shape or with a
    /// value that is not finite.
    ///
    /// ```
    /// use inverse_core::{Dataset, GaussianNoise, RandomStreams};
    /// use ndarray::array;
    ///
    /// let exact = Dataset::new(array![[1.0], [2.0]], array![[10.0], [20.0]])?;
    /// let measured = exact.measured(&GaussianNoise::new(&[0.5])?, &mut RandomStreams::new(1).stream("noise", 0))?;
    /// assert!((measured.y()[[0, 0]] - 10.0).abs() < 5.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn measured(&self, noise: &dyn MeasurementNoise, rng: &mut dyn Rng) -> Result<Self, DataError> {
        if noise.dim_y() != self.y.ncols() {
            let expected = format!("one of {} measured variables", self.y.ncols());
            return Err(InvalidArgument::new("noise", expected, noise.dim_y()).into());
        }
        let y = noise.measure(self.y.view(), rng)?;
        if y.dim() != self.y.dim() {
            let expected = format!("one that gives measurements of shape {:?}", self.y.dim());
            return Err(InvalidArgument::new("noise", expected, format!("{:?}", y.dim())).into());
        }
        check_matrix("noise", y.view(), y.ncols())?;
        Ok(Self { x: self.x.clone(), y: row_major(y), domain: self.domain.clone(), redrawn: self.redrawn })
    }

    /// Adds the symmetric copies of every design, under its measurements: pairs that cost no simulator call.
    ///
    /// Each design is followed by its copies; the domain stays. A method that holds out pairs for validation holds out a
    /// design and trains on its copy: measure errors on other data.
    ///
    /// # Errors
    /// [`DataError::InvalidArgument`] where a copy has another width or holds a value that is not finite.
    ///
    /// ```
    /// use inverse_core::Dataset;
    /// use ndarray::array;
    ///
    /// // y = x₁ x₂.
    /// let data = Dataset::new(array![[1.0, 2.0], [3.0, 5.0]], array![[2.0], [15.0]])?;
    /// let data = data.with_symmetric_copies(&|x| vec![vec![x[1], x[0]]])?;
    /// assert_eq!(data.x(), array![[1.0, 2.0], [2.0, 1.0], [3.0, 5.0], [5.0, 3.0]]);
    /// assert_eq!(data.y(), array![[2.0], [2.0], [15.0], [15.0]]);
    /// # Ok::<(), inverse_core::DataError>(())
    /// ```
    pub fn with_symmetric_copies(self, symmetry: &Symmetry<'_>) -> Result<Self, DataError> {
        let (x, sources) = with_symmetric_copies(self.x(), symmetry)?;
        let y = self.y.select(Axis(0), &sources);
        let mut data = Self::new(x, y)?.with_domain(self.domain)?;
        data.redrawn = self.redrawn;
        Ok(data)
    }

    /// Designs, (n, `dim_x`).
    pub fn x(&self) -> ArrayView2<'_, f64> {
        self.x.view()
    }

    /// Measurements, (n, `dim_y`).
    pub fn y(&self) -> ArrayView2<'_, f64> {
        self.y.view()
    }

    /// μ_x and R_x of eq. 5.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Number of pairs; at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a dataset is never empty")]
    pub fn len(&self) -> usize {
        self.x.nrows()
    }

    /// How many draws of the prior could not be evaluated and were drawn again.
    pub fn redrawn(&self) -> usize {
        self.redrawn
    }

    /// The pairs at `rows`, in that order, under the same domain.
    ///
    /// # Errors
    /// [`DataError::InvalidArgument`] where `rows` is empty or a row does not exist.
    pub fn select(&self, rows: &[usize]) -> Result<Self, DataError> {
        if let Some(row) = rows.iter().find(|row| **row >= self.len()) {
            return Err(InvalidArgument::new("rows", format!("rows below {}", self.len()), row).into());
        }
        let (x, y) = (self.x.select(Axis(0), rows), self.y.select(Axis(0), rows));
        Self::new(x, y)?.with_domain(self.domain.clone())
    }

    /// These pairs and then `other`'s; the domain is the mean and full range of all designs, as of [`Dataset::new`].
    ///
    /// # Errors
    /// [`DataError::InvalidArgument`] that names `other` where its designs or measurements are of another width.
    pub fn joined(&self, other: &Self) -> Result<Self, DataError> {
        let widths = |data: &Self| (data.x.ncols(), data.y.ncols());
        if widths(self) != widths(other) {
            let expected = format!("pairs of {:?} variables, x and y", widths(self));
            return Err(InvalidArgument::new("other", expected, format!("{:?}", widths(other))).into());
        }
        let (mut x, mut y) = (self.x.clone(), self.y.clone());
        append(&mut x, other.x())?;
        append(&mut y, other.y())?;
        let joined = Self::new(x, y)?;
        Ok(Self { redrawn: self.redrawn + other.redrawn, ..joined })
    }

    /// Splits at random into (training, held out).
    ///
    /// * `held_out`: the share of pairs held out, between 0 and 1; both parts keep at least one pair
    ///
    /// # Errors
    /// [`DataError::InvalidArgument`] where the share is not between 0 and 1, or there is only one pair.
    pub fn split(&self, held_out: f64, rng: &mut dyn Rng) -> Result<(Self, Self), DataError> {
        if !(held_out > 0.0 && held_out < 1.0) {
            return Err(InvalidArgument::new("held_out", "a share between 0 and 1", held_out).into());
        }
        if self.len() < 2 {
            return Err(InvalidArgument::new("self", "at least two pairs to split", self.len()).into());
        }
        let mut rows: Vec<usize> = (0..self.len()).collect();
        rows.shuffle(rng);
        let count = ((self.len() as f64 * held_out).round() as usize).clamp(1, self.len() - 1);
        let (held, kept) = rows.split_at(count);
        Ok((self.select(kept)?, self.select(held)?))
    }

    /// SHA-256 of shapes, values and domain, in hexadecimal: equal for equal datasets on any machine.
    pub fn content_hash(&self) -> String {
        let mut hash = Sha256::new();
        for array in [&self.x, &self.y] {
            hash.update((array.nrows() as u64).to_le_bytes());
            hash.update((array.ncols() as u64).to_le_bytes());
            for value in array {
                hash.update(value.to_le_bytes());
            }
        }
        for value in self.domain.center().iter().chain(self.domain.range()) {
            hash.update(value.to_le_bytes());
        }
        hash.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }
}

/// The array in memory row by row: sums over rows depend on the layout in their last bits.
fn row_major(array: Array2<f64>) -> Array2<f64> {
    // `is_standard_layout` overlooks the stride along an axis of length 1, which sums do not.
    if array.strides() == [array.ncols() as isize, 1] {
        return array;
    }
    Array2::from_shape_fn(array.dim(), |place| array[place])
}

/// Designs of the prior, (n, `dim_x`), and what the task measures of them, (n, `dim_y`).
fn draw(task: &dyn Task, n: usize, rng: &mut dyn Rng) -> Result<(Array2<f64>, Array2<f64>), DataError> {
    let designs = task.prior().sample(n, rng);
    check_matrix("prior", designs.view(), task.dim_x())?;
    if designs.nrows() != n {
        let found = format!("{} designs", designs.nrows());
        return Err(InvalidArgument::new("prior", format!("{n} designs"), found).into());
    }
    let measurements = task.simulate(designs.view())?;
    if measurements.dim() != (n, task.dim_y()) {
        let expected = format!("measurements of shape {:?}", (n, task.dim_y()));
        let found = format!("{:?}", measurements.dim());
        return Err(InvalidArgument::new("task", expected, found).into());
    }
    Ok((designs, measurements))
}

fn append(rows: &mut Array2<f64>, more: ArrayView2<'_, f64>) -> Result<(), InvalidArgument> {
    rows.append(Axis(0), more).map_err(|error| InvalidArgument::new("task", "rows of one width", error))
}

#[cfg(test)]
#[path = "dataset_tests.rs"]
mod tests;
