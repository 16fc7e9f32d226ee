//! Random shapes and values at the public functions of the light crates: an answer or an error, no panic.
//!
//! Networks, settings of methods, and figures have such tests in their crates: `any_network.rs`, `any_settings.rs`,
//! `any_figure.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use inverse::core::{LARGEST_PAIRS, SimulationError, Standardizer, check_matrix, numerical_jacobian};
use inverse::metrics::RankStatistics;
use inverse::prelude::*;
use ndarray::{Array1, Array2, Array3, ArrayView2};
use proptest::prelude::*;

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => -10.0..10.0_f64,
        1 => prop::num::f64::ANY,
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::MAX), Just(-0.0), Just(f64::MIN_POSITIVE)],
    ]
}

fn matrix() -> impl Strategy<Value = Array2<f64>> {
    (0..6_usize, 0..6_usize).prop_flat_map(|shape| {
        prop::collection::vec(value(), shape.0 * shape.1)
            .prop_map(move |values| Array2::from_shape_vec(shape, values).unwrap())
    })
}

/// A simulator that answers whatever it was given, in any shape, and promises something else.
struct Faulty {
    dims: (usize, usize),
    answer: Option<Array2<f64>>,
}

impl Simulator for Faulty {
    fn dim_x(&self) -> usize {
        self.dims.0
    }

    fn dim_y(&self) -> usize {
        self.dims.1
    }

    fn simulate(&self, _x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
        self.answer.clone().ok_or_else(|| SimulationError::Failed("no connection".into()))
    }
}

/// JSON of two arrays as `ndarray` writes them, with lengths that may be those of no array.
fn two_arrays(names: [&str; 2], values: [&[f64]; 2], lengths: [usize; 2]) -> serde_json::Value {
    let array = |index: usize| serde_json::json!({ "v": 1, "dim": [lengths[index]], "data": values[index] });
    serde_json::json!({ names[0]: array(0), names[1]: array(1) })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn datasets_of_any_size(n in prop_oneof![8 => 0..9_usize, 1 => any::<usize>(), 1 => Just(usize::MAX)]) {
        prop_assume!(!(9..=LARGEST_PAIRS).contains(&n));
        for name in inverse::tasks::names() {
            let task = inverse::tasks::by_name(name).unwrap();
            let data = Dataset::from_task(&*task, n, &mut RandomStreams::new(1).stream("any", 0));
            prop_assert_eq!(data.is_ok(), (1..9).contains(&n));
        }
    }

    #[test]
    fn faulty_simulators(dims in (0..4_usize, 0..4_usize), answer in prop::option::of(matrix()), x in matrix(), step in value()) {
        let simulator = Faulty { dims, answer };
        if let Ok(jacobian) = numerical_jacobian(&simulator, x.view(), step) {
            prop_assert_eq!(jacobian.dim(), (x.nrows(), dims.1, dims.0));
        }
        if let Ok(prior) = BoxPrior::new(&vec![0.0; dims.0], &vec![1.0; dims.0]) {
            let task = SimulatedTask::new("faulty", simulator, prior).unwrap();
            if let Ok(data) = Dataset::from_task(&task, x.nrows(), &mut RandomStreams::new(1).stream("any", 0)) {
                prop_assert_eq!((data.x().dim(), data.y().dim()), ((x.nrows(), dims.0), (x.nrows(), dims.1)));
            }
        }
    }

    #[test]
    fn files_of_domains_and_standardizers(a in prop::collection::vec(value(), 0..4), b in prop::collection::vec(value(), 0..4), extra in (0..8_usize, 0..8_usize), x in matrix()) {
        // Mostly the lengths that belong there.
        let lengths = [a.len() + usize::from(extra.0 == 0), b.len() + usize::from(extra.1 == 0)];
        let json = two_arrays(["center", "range"], [&a, &b], lengths);
        if let Ok(domain) = serde_json::from_value::<Domain>(json) {
            prop_assert!(Domain::new(domain.center().to_owned(), domain.range().to_owned()).is_ok());
            let _ = domain.boundary_loss(x.view());
            prop_assert_eq!(serde_json::from_value::<Domain>(serde_json::to_value(&domain).unwrap()).unwrap(), domain);
        }
        let json = two_arrays(["mean", "scale"], [&a, &b], lengths);
        if let Ok(standardizer) = serde_json::from_value::<Standardizer>(json) {
            prop_assert!(standardizer.validate().is_ok());
            let _ = standardizer.transform(x.view());
            let _ = standardizer.inverse(x.view());
        }
    }

    #[test]
    fn core_types(a in matrix(), b in matrix(), share in value(), step in value(), rows in prop::collection::vec(0..9_usize, 0..5)) {
        let mut rng = RandomStreams::new(1).stream("any", 0);
        let _ = check_matrix("a", a.view(), 3);
        if let Ok(standardizer) = Standardizer::fit(a.view()) {
            prop_assert!(standardizer.validate().is_ok());
            let _ = standardizer.transform(b.view());
            let _ = standardizer.inverse(b.view());
        }
        if let Ok(domain) = Domain::from_samples(a.view()) {
            let _ = domain.boundary_loss(b.view());
        }
        let row = |m: &Array2<f64>| m.rows().into_iter().next().map(|row| row.to_vec()).unwrap_or_default();
        let _ = Domain::new(Array1::from(row(&a)), Array1::from(row(&b)));
        if let Ok(prior) = BoxPrior::new(&row(&a), &row(&b)) {
            prop_assert!(prior.sample(4, &mut rng).iter().all(|value| value.is_finite()));
            let _ = prior.log_density(b.view());
        }
        if let Ok(data) = Dataset::new(a.clone(), b.clone()) {
            prop_assert_eq!(data.content_hash().len(), 64);
            let _ = data.split(share, &mut rng);
            let _ = data.select(&rows);
        }
        if let Ok(noise) = GaussianNoise::new(&row(&a)) {
            let _ = noise.measure(b.view(), &mut rng);
            let _ = noise.log_likelihood(a.view(), b.view());
            if let Ok(data) = Dataset::new(a.clone(), b.clone()) {
                let _ = data.measured(&noise, &mut rng);
            }
        }
        if let Ok(weights) = ImportanceWeights::of_logarithms(a.view(), b.view()) {
            for (weights, size) in weights.weights().rows().into_iter().zip(&weights.effective_sample_sizes()) {
                prop_assert!(*size == 0.0 || ((weights.sum() - 1.0).abs() < 1e-9 && *size > 0.999));
            }
            let designs = Array3::zeros((a.nrows(), a.ncols(), 1));
            let _ = weights.resample(&Proposals::new(designs).unwrap(), rows.len(), &mut rng);
        }
        for name in inverse::tasks::names() {
            let task = inverse::tasks::by_name(name).unwrap();
            let _ = task.simulate(a.view());
            let _ = task.prior().log_density(a.view());
            let _ = numerical_jacobian(&*task, a.view(), step);
        }
    }

    #[test]
    fn marginals(first in value(), second in value(), kind in 0..4) {
        let marginal = match kind {
            0 => Marginal::Uniform { lower: first, upper: second },
            1 => Marginal::Normal { mean: first, deviation: second },
            2 => Marginal::LogNormal { log_mean: first, log_deviation: second },
            _ => Marginal::Poisson { rate: first },
        };
        if let Ok(prior) = IndependentPrior::new(&[marginal]) {
            let x = prior.sample(3, &mut RandomStreams::new(1).stream("any", 0));
            let _ = prior.log_density(x.view());
        }
    }

    #[test]
    fn metrics(shape in (0..4_usize, 0..4_usize, 0..4_usize), values in prop::collection::vec(value(), 64), y in matrix(), t in 0..6_usize, level in value()) {
        let designs = Array3::from_shape_fn(shape, |(i, j, k)| values[(i * 16 + j * 4 + k) % 64]);
        let mut rng = RandomStreams::new(2).stream("any", 0);
        if let Ok(proposals) = Proposals::new(designs) {
            let sum = FnSimulator::new(2, 1, |x, y| y[0] = x[0] + x[1]).unwrap();
            if let Ok(errors) = resimulate(&sum, &proposals, y.view()) {
                let curve = errors.curve();
                prop_assert!(curve.mean.iter().all(|mean| *mean >= 0.0));
                let _ = errors.confidence_interval(t, level, 5, &mut rng);
            }
            let variables = RankStatistics::of_variables(y.view(), &proposals, &mut rng);
            let distances = RankStatistics::of_distances(y.view(), &proposals, y.view(), &mut rng);
            for ranks in variables.into_iter().chain(distances) {
                prop_assert!(ranks.ranks().iter().all(|rank| *rank <= ranks.draws()));
                prop_assert!(ranks.central_coverage(t, level).map_or(true, |share| (0.0..=1.0).contains(&share)));
                let _ = (ranks.histogram(t, t), ranks.uniformity_p_value(t), ranks.upper_coverage(t, level));
            }
        }
    }
}
