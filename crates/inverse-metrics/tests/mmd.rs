//! MMD²: equal to the plain double loop, never negative, 0 for equal samples, the same bits on any threads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use inverse_core::RandomStreams;
use inverse_metrics::{Mmd, MmdEstimator};
use ndarray::{Array2, ArrayView2};
use proptest::prelude::*;
use rand::RngExt;

/// The formula as written: every pair, one after the other.
fn brute_force(mmd: &Mmd, a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> f64 {
    let mean = |u: ArrayView2<'_, f64>, v: ArrayView2<'_, f64>, skip_diagonal: bool| {
        let (mut sum, mut pairs) = (0.0, 0.0);
        for (i, u) in u.rows().into_iter().enumerate() {
            for (j, v) in v.rows().into_iter().enumerate() {
                if skip_diagonal && i == j {
                    continue;
                }
                let distance: f64 = u.iter().zip(v).map(|(u, v)| (u - v).powi(2)).sum();
                sum += mmd.scales.iter().map(|s| s * s / (s * s + distance)).sum::<f64>();
                pairs += 1.0;
            }
        }
        sum / pairs
    };
    let unbiased = mmd.estimator == MmdEstimator::Unbiased;
    mean(a, a, unbiased) + mean(b, b, unbiased) - 2.0 * mean(a, b, false)
}

fn uniform(shape: (usize, usize), seed: u64, index: u64) -> Array2<f64> {
    let mut rng = RandomStreams::new(seed).stream("sample", index);
    Array2::from_shape_simple_fn(shape, || rng.random_range(-1.0..1.0))
}

fn estimator() -> impl Strategy<Value = MmdEstimator> {
    prop_oneof![Just(MmdEstimator::Biased), Just(MmdEstimator::Unbiased)]
}

proptest! {
    #[test]
    fn equals_brute_force_and_is_symmetric(
        n in 2..150_usize,
        m in prop_oneof![2..20_usize, 505..530_usize],
        width in 1..5_usize,
        estimator in estimator(),
        scales in prop::collection::vec(0.01..3.0_f64, 1..4),
        seed in any::<u64>(),
    ) {
        let (a, b) = (uniform((n, width), seed, 0), uniform((m, width), seed, 1));
        let mmd = Mmd { scales, estimator };
        let squared = mmd.squared(a.view(), b.view()).unwrap();
        // Means of up to N = 530² kernels below 3, summed in two orders: each addition rounds by 2⁻⁵³ of the
        // running sum, with random signs by 3 · 2⁻⁵³ · √(N/3) = 1e-13 together. Ten of that.
        let expected = brute_force(&mmd, a.view(), b.view());
        prop_assert!((squared - expected).abs() < 1e-12, "{squared} {expected}");
        prop_assert!((squared - mmd.squared(b.view(), a.view()).unwrap()).abs() < 1e-12);
    }

    #[test]
    fn the_biased_estimator_is_never_negative_and_0_for_equal_samples(
        n in 1..100_usize, width in 1..4_usize, seed in any::<u64>(),
    ) {
        let mmd = Mmd::default();
        let a = uniform((n, width), seed, 0);
        prop_assert_eq!(mmd.squared(a.view(), a.view()).unwrap(), 0.0);
        prop_assert!(mmd.squared(a.view(), uniform((n, width), seed, 1).view()).unwrap() >= 0.0);
        // The order of rows is no part of a sample.
        let backwards = a.slice(ndarray::s![..;-1, ..]);
        prop_assert!(mmd.squared(a.view(), backwards).unwrap() < 1e-12);
    }

    #[test]
    fn any_arrays_give_a_finite_value_or_an_error(
        a in (0..3_usize, 0..3_usize),
        b in (0..3_usize, 0..3_usize),
        values in prop::collection::vec(prop_oneof![
            4 => -2.0..2.0_f64,
            1 => Just(f64::MAX), 1 => Just(f64::MIN), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY),
        ], 2),
        scales in prop::collection::vec(
            prop_oneof![Just(0.9), Just(-1.0), Just(f64::NAN), Just(1e-300), Just(1e150), Just(1e-150)], 0..3,
        ),
        estimator in estimator(),
    ) {
        let a = Array2::from_shape_fn(a, |(row, _)| values[row % 2]);
        let b = Array2::from_shape_fn(b, |(_, column)| values[column % 2]);
        let mmd = Mmd { scales, estimator };
        if let Ok(squared) = mmd.squared(a.view(), b.view()) {
            prop_assert!(squared.is_finite());
        }
    }
}

#[test]
fn the_unbiased_estimator_is_0_on_average_for_equal_distributions() {
    let mmd = Mmd { estimator: MmdEstimator::Unbiased, ..Mmd::default() };
    let repeats = 400;
    let values: Vec<f64> = (0..repeats)
        .map(|repeat| {
            let (a, b) = (uniform((30, 2), 5, 2 * repeat), uniform((45, 2), 5, 2 * repeat + 1));
            mmd.squared(a.view(), b.view()).unwrap()
        })
        .collect();
    let mean = values.iter().sum::<f64>() / repeats as f64;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (repeats - 1) as f64;
    let error = (variance / repeats as f64).sqrt();
    assert!(mean.abs() < 4.0 * error, "four standard errors: {mean} ± {error}");
    // The bias that the paper's estimator has, (1/30 + 1/45)(3 − mean kernel) with a mean kernel below 1.5,
    // would stand out.
    assert!(error < 0.02 * (1.0 / 30.0 + 1.0 / 45.0) * 1.5, "{error}");
}

#[test]
fn different_distributions_are_told_apart() {
    let (a, b) = (uniform((300, 2), 6, 0), uniform((300, 2), 6, 1));
    let same = Mmd::default().squared(a.view(), b.view()).unwrap();
    let shifted = Mmd::default().squared(a.view(), (&b + 0.5).view()).unwrap();
    // Equal distributions leave the bias of at most (1/300 + 1/300) · 3 = 0.02 on average.
    assert!(same < 0.02 && shifted > 2.0 * same, "{same} {shifted}");
}

#[test]
fn threads_do_not_change_a_bit() {
    let (a, b) = (uniform((333, 3), 7, 0), uniform((517, 3), 7, 1));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Mmd::default().squared(a.view(), b.view()).unwrap().to_bits())
    };
    assert_eq!(run(1), run(2));
    assert_eq!(run(1), run(5));
}
