//! Calibration of samplers: where the truth ranks among a model's draws.

use inverse_core::{InvalidArgument, InverseModel, Proposals, Standardizer, check_matrix};
use ndarray::{Array2, Array3, ArrayView1, ArrayView2, ArrayView3, Axis, s};
use rand::{Rng, RngExt};
use statrs::distribution::{ChiSquared, ContinuousCDF};

use crate::MetricError;

/// Bins of the test of uniformity, where there are pairs and draws enough.
const LARGEST_BIN_COUNT: usize = 20;

/// Pairs that a bin of that test expects at least: below, its statistic does not follow its law.
const LEAST_EXPECTED: usize = 5;

/// Ranks of true values among draws, over many pairs of a design and its measurement.
///
/// Where a model draws from the true posterior p(x | y), the design x behind a measurement y is one more draw: its rank
/// among L others, by any number computed of a design and its measurement, is each of 0 to L equally often
/// (simulation-based calibration: Cook, Gelman and Rubin 2006; Talts et al. 2018; of any quantity, Modrák et al. 2023). It
/// takes pairs, not the posterior itself, so that it works where
/// [`ReferencePosterior`](crate::ReferencePosterior) draws for ever, and on problems that are only known by their data.
///
/// Ranks at both ends say that draws are too narrow, ranks in the middle that they are too broad, at one end that they are
/// off to a side. Uniform ranks prove nothing: a model that deafly draws from the prior has uniform
/// [`of_variables`](Self::of_variables), and is only found by a quantity that looks at the measurement, too, such as
/// [`of_distances`](Self::of_distances) from a reference that depends on it.
///
/// ```
/// use inverse_core::{Proposals, RandomStreams};
/// use inverse_metrics::RankStatistics;
/// use ndarray::{Array2, Array3};
/// use rand_distr::{Distribution, Normal};
///
/// // x and the noise of y = x + noise are standard normal, so that p(x | y) = N(y/2, 1/2).
/// let mut rng = RandomStreams::new(1).stream("example", 0);
/// let noise = Normal::new(0.0, 1.0)?;
/// let x = Array2::from_shape_simple_fn((400, 1), || noise.sample(&mut rng));
/// let y = x.mapv(|x| x + noise.sample(&mut rng));
/// let mut draw = |variance: f64| Array3::from_shape_fn((400, 99, 1), |(pair, _, _)| {
///     y[[pair, 0]] / 2.0 + variance.sqrt() * noise.sample(&mut rng)
/// });
/// let (right, narrow) = (Proposals::new(draw(0.5))?, Proposals::new(draw(0.1))?);
///
/// let mut rng = RandomStreams::new(1).stream("ties", 0);
/// let ranks = RankStatistics::of_variables(x.view(), &right, &mut rng)?;
/// assert!(ranks.uniformity_p_value(0)? > 0.01);
/// assert!((ranks.central_coverage(0, 0.8)? - 0.8).abs() < 0.08);
/// let ranks = RankStatistics::of_variables(x.view(), &narrow, &mut rng)?;
/// assert!(ranks.uniformity_p_value(0)? < 1e-9);
/// assert!(ranks.central_coverage(0, 0.8)? < 0.6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankStatistics {
    ranks: Array2<usize>,
    draws: usize,
}

impl RankStatistics {
    /// Ranks of any quantities of a design and its measurement.
    ///
    /// A value equal to some draws gets one of their ranks at random.
    ///
    /// * `truth`: of the true designs, (pairs, quantities)
    /// * `draws`: of the draws for the same measurements, (pairs, draws, quantities)
    /// * `rng`: decides between equal values
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where an axis is empty, the shapes disagree or a value is NaN.
    pub fn of_quantities(
        truth: ArrayView2<'_, f64>,
        draws: ArrayView3<'_, f64>,
        rng: &mut dyn Rng,
    ) -> Result<Self, MetricError> {
        let (pairs, count, quantities) = draws.dim();
        if draws.is_empty() {
            let found = format!("shape {:?}", draws.dim());
            return Err(InvalidArgument::new("draws", "at least one pair, draw and quantity", found).into());
        }
        if truth.dim() != (pairs, quantities) {
            let expected = format!("shape {:?}", (pairs, quantities));
            return Err(InvalidArgument::new("truth", expected, format!("{:?}", truth.dim())).into());
        }
        for (argument, nan) in [
            ("truth", truth.iter().any(|value| value.is_nan())),
            ("draws", draws.iter().any(|value| value.is_nan())),
        ] {
            if nan {
                return Err(InvalidArgument::new(argument, "numbers", "NaN").into());
            }
        }
        let rank = |(pair, quantity): (usize, usize)| {
            let value = truth[[pair, quantity]];
            let draws = draws.slice(s![pair, .., quantity]);
            let below = draws.iter().filter(|draw| **draw < value).count();
            match draws.iter().filter(|draw| **draw == value).count() {
                0 => below,
                equal => below + rng.random_range(0..=equal),
            }
        };
        Ok(Self { ranks: Array2::from_shape_fn((pairs, quantities), rank), draws: count })
    }

    /// Ranks of each variable of the designs, as simulation-based calibration has it: one quantity a variable.
    ///
    /// * `x`: the true designs, (pairs, `dim_x`)
    /// * `proposals`: of the model, for their measurements
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where `x` has another width than the proposals, has not one row a target, or is not
    /// finite, or a proposal is not.
    pub fn of_variables(
        x: ArrayView2<'_, f64>,
        proposals: &Proposals,
        rng: &mut dyn Rng,
    ) -> Result<Self, MetricError> {
        check_truth(x, proposals)?;
        Self::of_quantities(x, proposals.designs(), rng)
    }

    /// Ranks of the distance from a reference design, one quantity: whether draws are right in all variables together
    /// (the "tests of accuracy with random points" of Lemos et al. 2023, whose expected coverage is the
    /// [lower](Self::lower_coverage) one).
    ///
    /// Distances are taken in standard deviations of all designs, true and proposed. References may be anything that does not know the true design; to
    /// find a model that is deaf to measurements they must depend on them, such as the training design whose measurement is
    /// nearest.
    ///
    /// * `x`: the true designs, (pairs, `dim_x`)
    /// * `proposals`: of the model, for their measurements
    /// * `references`: one a pair, (pairs, `dim_x`)
    ///
    /// # Errors
    /// As [`RankStatistics::of_variables`]; also where references are not as many as designs, or not finite.
    pub fn of_distances(
        x: ArrayView2<'_, f64>,
        proposals: &Proposals,
        references: ArrayView2<'_, f64>,
        rng: &mut dyn Rng,
    ) -> Result<Self, MetricError> {
        check_truth(x, proposals)?;
        check_matrix("references", references, x.ncols())?;
        if references.nrows() != x.nrows() {
            let expected = format!("{} rows, one a pair", x.nrows());
            return Err(InvalidArgument::new("references", expected, references.nrows()).into());
        }
        let designs = proposals.designs();
        let count = proposals.count();
        let all = Array2::from_shape_fn((x.nrows() * (count + 1), x.ncols()), |(row, column)| {
            let (pair, draw) = (row / (count + 1), row % (count + 1));
            if draw == count { x[[pair, column]] } else { designs[[pair, draw, column]] }
        });
        // Of both alike: a true design must be one more draw in this, too.
        let units = Standardizer::fit(all.view())?;
        let distance = |design: ArrayView1<'_, f64>, pair: usize| -> f64 {
            let differences = design.iter().zip(references.row(pair)).zip(units.scale());
            differences.map(|((a, b), scale)| ((a - b) / scale).powi(2)).sum()
        };
        let truth = Array2::from_shape_fn((x.nrows(), 1), |(pair, _)| distance(x.row(pair), pair));
        let draws = Array3::from_shape_fn((x.nrows(), proposals.count(), 1), |(pair, draw, _)| {
            distance(designs.slice(s![pair, draw, ..]), pair)
        });
        Self::of_quantities(truth.view(), draws.view(), rng)
    }

    /// Ranks of the model's own density, one quantity: its [upper coverage](Self::upper_coverage) is that of regions of
    /// highest density. `None` where the model has no density.
    ///
    /// The density is that of draws as they are made; a model may have drawn again, or moved inside, what lay outside the
    /// range of its training designs. Where that was much, regions of highest density are not quite those of its
    /// proposals. A model that is deaf to measurements passes this, too.
    ///
    /// * `x`: the true designs, (pairs, `dim_x`); `y`: their measurements, (pairs, `dim_y`)
    /// * `proposals`: of the model, for these measurements
    ///
    /// # Errors
    /// As [`RankStatistics::of_variables`], and those of [`InverseModel::log_density`]; also where a density is NaN.
    pub fn of_densities(
        model: &dyn InverseModel,
        x: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
        proposals: &Proposals,
        rng: &mut dyn Rng,
    ) -> Result<Option<Self>, MetricError> {
        check_truth(x, proposals)?;
        let Some(truth) = model.log_density(x, y)? else { return Ok(None) };
        let Some(draws) = proposals.log_density(model, y)? else { return Ok(None) };
        if truth.len() != x.nrows() {
            let expected = format!("one that answers {} pairs with as many densities", x.nrows());
            return Err(InvalidArgument::new("model", expected, truth.len()).into());
        }
        if truth.iter().chain(&draws).any(|log| log.is_nan()) {
            return Err(InvalidArgument::new("model", "a density of every design", "NaN").into());
        }
        let (truth, draws) = (truth.insert_axis(Axis(1)), draws.insert_axis(Axis(2)));
        Self::of_quantities(truth.view(), draws.view(), rng).map(Some)
    }

    /// The ranks, (pairs, quantities): how many draws are smaller than the true value.
    pub fn ranks(&self) -> ArrayView2<'_, usize> {
        self.ranks.view()
    }

    /// Number of draws a pair; ranks are 0 to this.
    pub fn draws(&self) -> usize {
        self.draws
    }

    /// How many pairs rank in each of some equal parts of 0 to [`draws`](Self::draws), smallest first.
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where there is no such quantity, or `bins` is not between 1 and the number of
    /// ranks.
    pub fn histogram(&self, quantity: usize, bins: usize) -> Result<Vec<usize>, MetricError> {
        let ranks = self.column(quantity)?;
        if !(1..=self.draws + 1).contains(&bins) {
            let expected = format!("1 to {}, the number of ranks", self.draws + 1);
            return Err(InvalidArgument::new("bins", expected, bins).into());
        }
        let mut counts = vec![0; bins];
        for rank in ranks {
            counts[self.bin(*rank, bins)] += 1;
        }
        Ok(counts)
    }

    /// How likely ranks at least as uneven as these are where draws are right: the p-value of Pearson's χ² test, of up to 20
    /// bins that expect about 5 pairs or more. Small, say below 0.001, where they are not.
    ///
    /// Of several quantities one falls below 0.05 by chance ever more easily: compare with 0.05 divided by their number.
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where there is no such quantity, or there are fewer than 10 pairs.
    pub fn uniformity_p_value(&self, quantity: usize) -> Result<f64, MetricError> {
        let pairs = self.column(quantity)?.len();
        let bins = LARGEST_BIN_COUNT.min(self.draws + 1).min(pairs / LEAST_EXPECTED);
        if bins < 2 {
            let expected = format!("at least {} pairs", 2 * LEAST_EXPECTED);
            return Err(InvalidArgument::new("pairs", expected, pairs).into());
        }
        let mut expected = vec![0.0; bins];
        for rank in 0..=self.draws {
            expected[self.bin(rank, bins)] += pairs as f64 / (self.draws + 1) as f64;
        }
        let counts = self.histogram(quantity, bins)?;
        let terms = counts
            .iter()
            .zip(&expected)
            .map(|(count, expected)| (*count as f64 - expected).powi(2) / expected);
        let law = ChiSquared::new((bins - 1) as f64)
            .map_err(|error| InvalidArgument::new("pairs", "enough for a test", error))?;
        Ok(law.sf(terms.sum()))
    }

    /// The p-value of all quantities together: the least of theirs times their number (Bonferroni's bound), at most 1.
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where there are fewer than 10 pairs.
    pub fn least_p_value(&self) -> Result<f64, MetricError> {
        let quantities = self.ranks.ncols();
        (0..quantities).try_fold(1.0_f64, |least, quantity| {
            Ok(least.min(self.uniformity_p_value(quantity)? * quantities as f64))
        })
    }

    /// The share of pairs whose true value lies in the middle part of the draws: near `credibility` where draws are right,
    /// less where they are too narrow, more where they are too broad.
    ///
    /// * `credibility`: which part, of all draws, 0 to 1; resolved to 1 / (draws + 1)
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where there is no such quantity, or `credibility` is not a number from 0 to 1.
    pub fn central_coverage(&self, quantity: usize, credibility: f64) -> Result<f64, MetricError> {
        self.share(quantity, credibility, |place| (2.0 * place - 1.0).abs() <= credibility)
    }

    /// The mean of the [central coverages](Self::central_coverage) of all quantities.
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where `credibility` is not a number from 0 to 1.
    pub fn mean_central_coverage(&self, credibility: f64) -> Result<f64, MetricError> {
        let quantities = self.ranks.ncols();
        let sum = (0..quantities).try_fold(0.0, |sum, quantity| {
            Ok::<_, MetricError>(sum + self.central_coverage(quantity, credibility)?)
        })?;
        Ok(sum / quantities as f64)
    }

    /// The share of pairs whose true value lies in the upper part of the draws, those of the highest values.
    ///
    /// * `credibility`: which part, as in [`RankStatistics::central_coverage`]
    ///
    /// # Errors
    /// As [`RankStatistics::central_coverage`].
    pub fn upper_coverage(&self, quantity: usize, credibility: f64) -> Result<f64, MetricError> {
        self.share(quantity, credibility, |place| place >= 1.0 - credibility)
    }

    /// The share of pairs whose true value lies in the lower part of the draws, those of the lowest values: of distances from
    /// a reference, the share of balls around it, each of so many draws, that hold the true design.
    ///
    /// * `credibility`: which part, as in [`RankStatistics::central_coverage`]
    ///
    /// # Errors
    /// As [`RankStatistics::central_coverage`].
    pub fn lower_coverage(&self, quantity: usize, credibility: f64) -> Result<f64, MetricError> {
        self.share(quantity, credibility, |place| place <= credibility)
    }

    /// The share of pairs whose place among the draws, between 0 and 1, is inside.
    fn share(
        &self,
        quantity: usize,
        credibility: f64,
        inside: impl Fn(f64) -> bool,
    ) -> Result<f64, MetricError> {
        let ranks = self.column(quantity)?;
        if !(0.0..=1.0).contains(&credibility) {
            return Err(InvalidArgument::new("credibility", "a number from 0 to 1", credibility).into());
        }
        let place = |rank: usize| (rank as f64 + 0.5) / (self.draws + 1) as f64;
        Ok(ranks.iter().filter(|rank| inside(place(**rank))).count() as f64 / ranks.len() as f64)
    }

    fn bin(&self, rank: usize, bins: usize) -> usize {
        rank * bins / (self.draws + 1)
    }

    fn column(&self, quantity: usize) -> Result<ArrayView1<'_, usize>, InvalidArgument> {
        let quantities = self.ranks.ncols();
        if quantity >= quantities {
            return Err(InvalidArgument::new("quantity", format!("below {quantities}"), quantity));
        }
        Ok(self.ranks.column(quantity))
    }
}

/// Whether there is a true design for each target of the proposals.
fn check_truth(x: ArrayView2<'_, f64>, proposals: &Proposals) -> Result<(), InvalidArgument> {
    let (pairs, _, dim_x) = proposals.designs().dim();
    check_matrix("x", x, dim_x)?;
    if x.nrows() != pairs {
        let expected = format!("{pairs} rows, one for each target of the proposals");
        return Err(InvalidArgument::new("x", expected, x.nrows()));
    }
    if let Some(value) = proposals.designs().iter().find(|value| !value.is_finite()) {
        return Err(InvalidArgument::new("proposals", "finite designs", value));
    }
    Ok(())
}
