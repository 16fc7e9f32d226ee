//! Diversity: how many of a target's distinct solutions a search has found.
//!
//! The solutions of one target form pieces: points, curves, surfaces that do not touch. Single linkage finds them in a
//! sample of the posterior ([`ReferencePosterior`](crate::ReferencePosterior)): two designs lie in one piece where a
//! chain of designs joins them, each within a linking length of the next. Designs that meet the target are then assigned
//! to the piece that they lie in.

use inverse_core::{Domain, InvalidArgument, check_matrix};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::MetricError;

/// How designs are gathered into modes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ModeClustering {
    /// The linking length, in units of the reach of a sample: the distance to the nearest other design that only one in a
    /// hundred exceeds. Below 1, a mode falls apart; far above, modes melt together. Default: 2.
    pub linkage: f64,
    /// A mode holds at least this share of the reference sample; what is less is noise. Default: 0.01.
    pub least_share: f64,
}

impl Default for ModeClustering {
    fn default() -> Self {
        Self { linkage: 2.0, least_share: 0.01 }
    }
}

/// The modes of one target's solutions.
///
/// ```
/// use inverse_core::Domain;
/// use inverse_metrics::{ModeClustering, SolutionModes};
/// use ndarray::{Array2, array};
///
/// // x² = 0.25 has the solutions ±0.5; this sample has 50 designs near each.
/// let reference = Array2::from_shape_fn((100, 1), |(i, _)| {
///     let near = 0.5 + 1e-4 * (i / 2) as f64;
///     if i % 2 == 0 { near } else { -near }
/// });
/// let domain = Domain::from_bounds(&[-1.0], &[1.0])?;
/// let modes = SolutionModes::new(reference.view(), &domain, &ModeClustering::default())?;
/// assert_eq!(modes.count(), 2);
/// let found = modes.coverage(array![[0.501], [0.502], [0.9]].view())?;
/// assert_eq!((found.found, found.outside), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SolutionModes {
    /// Designs of the reference sample in units of the domain's range, (n, `dim_x`).
    reference: Array2<f64>,
    /// The mode of each, none for noise, (n).
    labels: Vec<Option<usize>>,
    range: Array1<f64>,
    linking_length: f64,
    count: usize,
}

/// How far some designs cover the modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeCoverage {
    /// Modes of the reference.
    pub modes: usize,
    /// Those that hold at least one of the designs.
    pub found: usize,
    /// Designs that lie in none of them, or are not finite.
    pub outside: usize,
}

impl ModeCoverage {
    /// The share of the modes that was found; 0 where there is none.
    pub fn share(&self) -> f64 {
        if self.modes == 0 { 0.0 } else { self.found as f64 / self.modes as f64 }
    }
}

impl SolutionModes {
    /// Gathers a sample of the posterior into modes, numbered by their first design.
    ///
    /// * `reference`: finite designs, (n, `dim_x`), n at least 2; it takes time and n² distances
    /// * `domain`: its range is the unit of each variable
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where a setting is out of range, widths differ, a design is not finite, or there
    /// are fewer than two.
    pub fn new(
        reference: ArrayView2<'_, f64>,
        domain: &Domain,
        clustering: &ModeClustering,
    ) -> Result<Self, MetricError> {
        let ModeClustering { linkage, least_share } = *clustering;
        if !(linkage > 0.0 && linkage.is_finite()) {
            return Err(InvalidArgument::new("linkage", "a positive number", linkage).into());
        }
        if !(0.0..1.0).contains(&least_share) {
            return Err(InvalidArgument::new("least_share", "a share below 1", least_share).into());
        }
        check_matrix("reference", reference, domain.dim())?;
        if reference.nrows() < 2 {
            return Err(InvalidArgument::new("reference", "at least 2 designs", reference.nrows()).into());
        }
        // A variable without a range is measured in its own unit.
        let range = domain.range().mapv(|range| if range > 0.0 { range } else { 1.0 });
        let reference = &reference / &range;
        let linking_length = linkage * reach(&reference);
        let components = components(&reference, linking_length);
        let mut sizes = vec![0_usize; reference.nrows()];
        for component in &components {
            sizes[*component] += 1;
        }
        let least = (least_share * reference.nrows() as f64).max(1.0);
        let mut numbers = vec![None; sizes.len()];
        let mut count = 0;
        for component in &components {
            if numbers[*component].is_none() && sizes[*component] as f64 >= least {
                numbers[*component] = Some(count);
                count += 1;
            }
        }
        let labels = components.into_iter().map(|component| numbers[component]).collect();
        Ok(Self { reference, labels, range, linking_length, count })
    }

    /// Number of modes.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The length within which designs belong together, in units of the domain's range.
    pub fn linking_length(&self) -> f64 {
        self.linking_length
    }

    /// The mode of each reference design, none for noise, (n).
    pub fn labels(&self) -> &[Option<usize>] {
        &self.labels
    }

    /// The mode in which a design lies: that of the nearest reference design, where it is within the linking length.
    fn mode(&self, x: ArrayView1<'_, f64>) -> Option<usize> {
        let x = &x / &self.range;
        let distances = self.reference.rows().into_iter().map(|other| squared_distance(x.view(), other));
        let (nearest, distance) = distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1))?;
        // Not a number is not within.
        if distance <= self.linking_length.powi(2) { self.labels[nearest] } else { None }
    }

    /// How many modes those designs lie in; take those alone whose error is accepted.
    ///
    /// * `designs`: (n, `dim_x`), n may be 0
    ///
    /// # Errors
    /// [`MetricError::InvalidArgument`] where the width differs.
    pub fn coverage(&self, designs: ArrayView2<'_, f64>) -> Result<ModeCoverage, MetricError> {
        if designs.ncols() != self.range.len() {
            let expected = format!("{} variables", self.range.len());
            return Err(InvalidArgument::new("designs", expected, designs.ncols()).into());
        }
        let mut hit = vec![false; self.count];
        let mut outside = 0;
        for design in designs.rows() {
            match self.mode(design) {
                Some(mode) => hit[mode] = true,
                None => outside += 1,
            }
        }
        let found = hit.into_iter().filter(|hit| *hit).count();
        Ok(ModeCoverage { modes: self.count, found, outside })
    }
}

fn squared_distance(a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// The distance to the nearest other design that one in a hundred exceeds.
fn reach(designs: &Array2<f64>) -> f64 {
    let nearest = |(index, design): (usize, ArrayView1<'_, f64>)| {
        let others = designs.rows().into_iter().enumerate().filter(|(other, _)| *other != index);
        others.map(|(_, other)| squared_distance(design, other)).fold(f64::INFINITY, f64::min).sqrt()
    };
    let mut distances: Vec<f64> = designs.rows().into_iter().enumerate().map(nearest).collect();
    distances.sort_by(f64::total_cmp);
    distances[(distances.len() * 99).div_ceil(100) - 1]
}

/// The component of each design under single linkage: the number of its first design.
fn components(designs: &Array2<f64>, length: f64) -> Vec<usize> {
    let mut labels = vec![usize::MAX; designs.nrows()];
    let mut waiting = Vec::new();
    for first in 0..designs.nrows() {
        if labels[first] != usize::MAX {
            continue;
        }
        labels[first] = first;
        waiting.push(first);
        while let Some(design) = waiting.pop() {
            let others = labels.iter_mut().enumerate().skip(first + 1);
            for (other, label) in others.filter(|(_, label)| **label == usize::MAX) {
                if squared_distance(designs.row(design), designs.row(other)) <= length * length {
                    *label = first;
                    waiting.push(other);
                }
            }
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn domain() -> Domain {
        Domain::from_bounds(&[-2.0, -2.0], &[2.0, 2.0]).unwrap()
    }

    /// 300 designs on each of two circles of radius 1 and 0.5 about the origin: gaps of 0.02, the circles 0.5 apart.
    fn rings() -> Array2<f64> {
        Array2::from_shape_fn((600, 2), |(index, axis)| {
            let radius = if index < 300 { 1.0 } else { 0.5 };
            let angle = (index % 300) as f64 * std::f64::consts::TAU / 300.0;
            radius * if axis == 0 { angle.cos() } else { angle.sin() }
        })
    }

    #[test]
    fn rings_are_modes_though_their_means_agree() {
        let modes = SolutionModes::new(rings().view(), &domain(), &ModeClustering::default()).unwrap();
        assert_eq!(modes.count(), 2);
        assert_eq!(
            (modes.labels()[17], modes.labels()[299], modes.labels()[300]),
            (Some(0), Some(0), Some(1))
        );
        // Twice the outer ring's gap, 2 sin(τ/600), in units of the range of 4.
        let expected = 2.0 * 2.0 * (std::f64::consts::TAU / 600.0).sin() / 4.0;
        assert!((modes.linking_length() - expected).abs() < 1e-12);
        let one = modes.coverage(array![[0.0, 1.0], [1.0, 0.01], [0.7, 0.0]].view()).unwrap();
        assert_eq!(one, ModeCoverage { modes: 2, found: 1, outside: 1 });
        let both = modes.coverage(array![[0.0, -0.51], [1.0, 0.0], [f64::NAN, 0.0]].view()).unwrap();
        assert_eq!((both.share(), both.outside), (1.0, 1));
        let none = modes.coverage(Array2::zeros((0, 2)).view()).unwrap();
        assert_eq!((none.found, none.share()), (0, 0.0));
    }

    #[test]
    fn long_links_melt_modes_and_few_designs_are_noise() {
        let long = ModeClustering { linkage: 60.0, ..ModeClustering::default() };
        assert_eq!(SolutionModes::new(rings().view(), &domain(), &long).unwrap().count(), 1);
        let mut strays = rings();
        strays.row_mut(0).assign(&array![-2.0, -2.0]);
        let modes = SolutionModes::new(strays.view(), &domain(), &ModeClustering::default()).unwrap();
        assert_eq!((modes.count(), modes.labels()[0]), (2, None));
        assert_eq!(modes.coverage(array![[-2.0, -2.0]].view()).unwrap().outside, 1);
    }

    #[test]
    fn bad_input_is_refused() {
        let default = ModeClustering::default();
        let rings = rings();
        for (linkage, least_share) in [(0.0, 0.1), (f64::NAN, 0.1), (2.0, 1.0), (2.0, -0.1)] {
            let bad = ModeClustering { linkage, least_share };
            assert!(SolutionModes::new(rings.view(), &domain(), &bad).is_err());
        }
        assert!(SolutionModes::new(array![[0.0, 0.0]].view(), &domain(), &default).is_err());
        assert!(SolutionModes::new(array![[0.0], [1.0]].view(), &domain(), &default).is_err());
        let modes = SolutionModes::new(rings.view(), &domain(), &default).unwrap();
        assert!(modes.coverage(array![[0.0]].view()).is_err());
    }
}
