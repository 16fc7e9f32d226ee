//! Ranks of draws from posteriors that are known.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use inverse_core::{InverseModel, Proposals, ProposeError, RandomStreams, Stream};
use inverse_metrics::RankStatistics;
use ndarray::{Array1, Array2, Array3, ArrayView2, Axis, array};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

const PAIRS: usize = 2000;
const DRAWS: usize = 199;

fn stream(purpose: &str) -> Stream {
    RandomStreams::new(7).stream(purpose, 0)
}

/// Two standard normal variables, and y, their values plus noise of variance 1: p(xᵢ | y) = N(yᵢ / 2, 1/2).
fn pairs() -> (Array2<f64>, Array2<f64>) {
    let mut stream = stream("pairs");
    let x = Array2::from_shape_simple_fn((PAIRS, 2), || StandardNormal.sample(&mut stream));
    let y = x.mapv(|x: f64| {
        let noise: f64 = StandardNormal.sample(&mut stream);
        x + noise
    });
    (x, y)
}

/// Draws from N(yᵢ / 2 + shift, factor² / 2).
fn draws(y: &Array2<f64>, factor: f64, shift: f64) -> Proposals {
    let mut stream = stream("draws");
    let draw = |(pair, _, variable): (usize, usize, usize)| {
        let noise: f64 = StandardNormal.sample(&mut stream);
        y[[pair, variable]] / 2.0 + shift + factor * 0.5_f64.sqrt() * noise
    };
    Proposals::new(Array3::from_shape_fn((PAIRS, DRAWS, 2), draw)).unwrap()
}

fn of_variables(factor: f64, shift: f64) -> RankStatistics {
    let (x, y) = pairs();
    RankStatistics::of_variables(x.view(), &draws(&y, factor, shift), &mut stream("ties")).unwrap()
}

/// Four standard deviations of a share of all pairs, and what the ranks resolve.
fn tolerance(share: f64) -> f64 {
    4.0 * (share * (1.0 - share) / PAIRS as f64).sqrt() + 1.0 / (DRAWS + 1) as f64
}

fn assert_near(found: f64, expected: f64) {
    assert!((found - expected).abs() < tolerance(expected), "{found}, expected {expected}");
}

#[test]
fn draws_of_the_true_posterior_have_uniform_ranks() {
    let ranks = of_variables(1.0, 0.0);
    assert_eq!((ranks.ranks().dim(), ranks.draws()), ((PAIRS, 2), DRAWS));
    for variable in 0..2 {
        let p_value = ranks.uniformity_p_value(variable).unwrap();
        assert!(p_value > 1e-3);
        assert!(ranks.least_p_value().unwrap() <= 2.0 * p_value);
        for credibility in [0.1, 0.5, 0.9] {
            assert_near(ranks.central_coverage(variable, credibility).unwrap(), credibility);
            assert_near(ranks.upper_coverage(variable, credibility).unwrap(), credibility);
            assert_near(ranks.lower_coverage(variable, credibility).unwrap(), credibility);
        }
        let counts = ranks.histogram(variable, 8).unwrap();
        assert_eq!(counts.iter().sum::<usize>(), PAIRS);
        for count in counts {
            assert_near(count as f64 / PAIRS as f64, 0.125);
        }
    }
}

#[test]
fn coverage_is_that_of_the_normal_law() {
    // Half as wide: the middle half of the draws reaches to 0.674 / 2 deviations, where 26.41 % lie; twice as wide:
    // to 2 · 0.674, where 82.25 % lie.
    for (factor, expected) in [(0.5, 0.2641), (2.0, 0.8225)] {
        let ranks = of_variables(factor, 0.0);
        assert_near(ranks.central_coverage(0, 0.5).unwrap(), expected);
        assert!(ranks.uniformity_p_value(1).unwrap() < 1e-12);
    }
    // A deviation too high: the true value lies below half of the draws where it is below 1 deviation: 84.13 %.
    let ranks = of_variables(1.0, 0.5_f64.sqrt());
    assert_near(1.0 - ranks.upper_coverage(0, 0.5).unwrap(), 0.8413);
    assert_near(ranks.lower_coverage(0, 0.5).unwrap(), 0.8413);
    assert!(ranks.uniformity_p_value(0).unwrap() < 1e-12);
}

#[test]
fn quantities_are_summed_up() {
    // The first is off and the second is right.
    let truth = Array2::from_shape_fn(
        (100, 2),
        |(pair, quantity)| {
            if quantity == 0 { 2.0 } else { (pair % 4) as f64 - 0.5 }
        },
    );
    let draws = Array3::from_shape_fn((100, 3, 2), |(_, draw, _)| draw as f64);
    let ranks = RankStatistics::of_quantities(truth.view(), draws.view(), &mut stream("ties")).unwrap();
    let p_values = [0, 1].map(|quantity| ranks.uniformity_p_value(quantity).unwrap());
    assert!(p_values[0] < 1e-9 && p_values[1] == 1.0);
    assert_eq!(ranks.least_p_value().unwrap(), 2.0 * p_values[0]);
    let shares = [0, 1].map(|quantity| ranks.central_coverage(quantity, 0.5).unwrap());
    assert!(shares[0] != shares[1]);
    assert_eq!(ranks.mean_central_coverage(0.5).unwrap(), f64::midpoint(shares[0], shares[1]));
    assert!(ranks.mean_central_coverage(2.0).unwrap_err().to_string().contains("`credibility`"));
    let few = RankStatistics::of_quantities(
        truth.view().split_at(Axis(0), 9).0,
        draws.view().split_at(Axis(0), 9).0,
        &mut stream("ties"),
    );
    assert!(few.unwrap().least_p_value().unwrap_err().to_string().contains("`pairs`"));
}

#[test]
fn p_values_are_those_of_the_law() {
    // Ranks 0 to 3 of 40, 20, 20 and 20 pairs: χ² = (15² + 3 · 5²) / 25 = 12 of three degrees of freedom.
    let truth = Array2::from_shape_fn((100, 1), |(pair, _)| match pair {
        0..40 => 0.0,
        40..60 => 1.0,
        60..80 => 2.0,
        _ => 3.0,
    });
    let draws = Array3::from_shape_fn((100, 3, 1), |(_, draw, _)| draw as f64 + 0.5);
    let ranks = RankStatistics::of_quantities(truth.view(), draws.view(), &mut stream("ties")).unwrap();
    assert_eq!(ranks.histogram(0, 4).unwrap(), [40, 20, 20, 20]);
    assert_eq!(ranks.histogram(0, 2).unwrap(), [60, 40]);
    // P(χ²₃ > 12) = 0.007383.
    assert!((ranks.uniformity_p_value(0).unwrap() - 0.007_383_160_505_359_769).abs() < 1e-12);
}

#[test]
fn equal_values_share_their_ranks() {
    let draws = Array3::zeros((PAIRS, 3, 1));
    let rank = |truth: f64| {
        let truth = Array2::from_elem((PAIRS, 1), truth);
        RankStatistics::of_quantities(truth.view(), draws.view(), &mut stream("ties")).unwrap()
    };
    assert!(rank(0.0).histogram(0, 4).unwrap().iter().all(|count| count.abs_diff(PAIRS / 4) < 100));
    assert_eq!(rank(1.0).histogram(0, 4).unwrap(), [0, 0, 0, PAIRS]);
    assert_eq!(rank(f64::NEG_INFINITY).histogram(0, 4).unwrap(), [PAIRS, 0, 0, 0]);
    assert_eq!(rank(0.0), rank(0.0), "the same stream, the same ranks");
}

#[test]
fn distances_find_what_variables_hide() {
    let (x, y) = pairs();
    // Draws from the prior, deaf to y.
    let mut stream = stream("draws");
    let deaf = Array3::from_shape_simple_fn((PAIRS, DRAWS, 2), || StandardNormal.sample(&mut stream));
    let deaf = Proposals::new(deaf).unwrap();
    let ranks = RankStatistics::of_variables(x.view(), &deaf, &mut stream).unwrap();
    assert!((0..2).all(|variable| ranks.uniformity_p_value(variable).unwrap() > 1e-3));
    let distances = |proposals: &Proposals, references: &Array2<f64>| {
        let mut ties = RandomStreams::new(7).stream("ties", 0);
        let ranks = RankStatistics::of_distances(x.view(), proposals, references.view(), &mut ties).unwrap();
        ranks.uniformity_p_value(0).unwrap()
    };
    // A reference that does not depend on y is as blind, one that does sees it.
    assert!(distances(&deaf, &Array2::zeros((PAIRS, 2))) > 1e-3);
    assert!(distances(&deaf, &(&y / 2.0)) < 1e-12);
    assert!(distances(&draws(&y, 1.0, 0.0), &(&y / 2.0)) > 1e-3);
    assert!(distances(&draws(&y, 0.7, 0.0), &(&y / 2.0)) < 1e-12);
}

/// N(y / 2, width² / 2) in both variables, with its density where it has one.
struct Posterior {
    width: Option<f64>,
}

impl InverseModel for Posterior {
    fn name(&self) -> &'static str {
        "posterior"
    }

    fn dim_x(&self) -> usize {
        2
    }

    fn dim_y(&self) -> usize {
        2
    }

    fn propose(&self, _: ArrayView2<'_, f64>, _: usize, _: &mut dyn Rng) -> Result<Proposals, ProposeError> {
        Err(ProposeError::Backend("not asked for here".into()))
    }

    fn log_density(
        &self,
        x: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Option<Array1<f64>>, ProposeError> {
        let Some(width) = self.width else { return Ok(None) };
        let squares = (&x - &(&y / 2.0)).mapv(|offset| offset * offset).sum_axis(ndarray::Axis(1));
        Ok(Some(-squares / (width * width)))
    }
}

#[test]
fn densities_cover_what_they_claim() {
    let (x, y) = pairs();
    let of_densities = |width: f64| {
        let (model, proposals) = (Posterior { width: Some(width) }, draws(&y, width, 0.0));
        RankStatistics::of_densities(&model, x.view(), y.view(), &proposals, &mut stream("ties"))
            .unwrap()
            .unwrap()
    };
    let right = of_densities(1.0);
    assert!(right.uniformity_p_value(0).unwrap() > 1e-3);
    for credibility in [0.2, 0.5, 0.9] {
        assert_near(right.upper_coverage(0, credibility).unwrap(), credibility);
    }
    // A disc of half the posterior's mass has the radius² 2 ln 2 in deviations; half as wide, it holds
    // 1 − exp(−ln 2 / 4) = 15.91 %.
    assert_near(of_densities(0.5).upper_coverage(0, 0.5).unwrap(), 0.1591);
    // Deaf to y: the density of the prior, whose draws are as dense as true designs.
    let mut draws_stream = stream("draws");
    let deaf = Array3::from_shape_simple_fn((PAIRS, DRAWS, 2), || StandardNormal.sample(&mut draws_stream));
    let deaf = Proposals::new(deaf).unwrap();
    let zeros = Array2::zeros((PAIRS, 2));
    let model = Posterior { width: Some(2.0_f64.sqrt()) };
    let ranks = RankStatistics::of_densities(&model, x.view(), zeros.view(), &deaf, &mut stream("ties"))
        .unwrap()
        .unwrap();
    assert!(ranks.uniformity_p_value(0).unwrap() > 1e-3);
    let none = Posterior { width: None };
    let ranks =
        RankStatistics::of_densities(&none, x.view(), y.view(), &draws(&y, 1.0, 0.0), &mut stream("ties"));
    assert_eq!(ranks.unwrap(), None);
}

#[test]
fn bad_arguments_are_named() {
    let mut rng = stream("ties");
    let proposals = Proposals::new(Array3::zeros((3, 4, 2))).unwrap();
    let x = Array2::zeros((3, 2));
    let mut named = |x: &Array2<f64>, references: &Array2<f64>| {
        let ranks = RankStatistics::of_distances(x.view(), &proposals, references.view(), &mut rng);
        ranks.unwrap_err().to_string()
    };
    assert!(named(&Array2::zeros((3, 1)), &x).contains("`x`"));
    assert_eq!(
        named(&Array2::zeros((2, 2)), &x),
        "invalid `x`: expected 3 rows, one for each target of the proposals, found 2"
    );
    assert!(named(&Array2::from_elem((3, 2), f64::NAN), &x).contains("`x`"));
    assert!(named(&x, &Array2::zeros((3, 1))).contains("`references`"));
    assert!(named(&x, &Array2::zeros((2, 2))).contains("`references`"));
    let nan = Proposals::new(Array3::from_elem((3, 4, 2), f64::NAN)).unwrap();
    let error = RankStatistics::of_variables(x.view(), &nan, &mut rng).unwrap_err().to_string();
    assert_eq!(error, "invalid `proposals`: expected finite designs, found NaN");
    let nothing = Array3::zeros((3, 0, 2));
    let error = RankStatistics::of_quantities(x.view(), nothing.view(), &mut rng).unwrap_err().to_string();
    assert!(error.contains("`draws`"), "{error}");
    let error = RankStatistics::of_quantities(array![[0.0]].view(), proposals.designs(), &mut rng);
    assert!(error.unwrap_err().to_string().contains("`truth`"));

    let ranks = RankStatistics::of_variables(x.view(), &proposals, &mut rng).unwrap();
    assert!(ranks.histogram(2, 1).unwrap_err().to_string().contains("`quantity`"));
    for bins in [0, 6] {
        assert!(ranks.histogram(0, bins).unwrap_err().to_string().contains("`bins`"));
    }
    assert_eq!(
        ranks.uniformity_p_value(0).unwrap_err().to_string(),
        "invalid `pairs`: expected at least 10 pairs, found 3"
    );
    for credibility in [-0.1, 1.1, f64::NAN] {
        assert!(ranks.central_coverage(0, credibility).unwrap_err().to_string().contains("`credibility`"));
    }
}
