//! The metamaterial's solver: energy, symmetry, spectra, and what it does with designs that are none.

#![expect(clippy::unwrap_used, reason = "functions that tests share are tests too")]

use std::time::{Duration, Instant};

use inverse_core::testing::{check_prior, check_simulator};
use inverse_core::{Prior, RandomStreams, SimulationError, Simulator};
use inverse_tasks::metamaterial::{
    self, Cylinder, MetamaterialSettings, MetamaterialSolver, SYMMETRIES, SuperCell, permuted,
};
use ndarray::{Array1, Array2, ArrayView1};
use proptest::prelude::*;

/// The speed of light in µm·THz over the default period: where the first diffraction orders open, 1.414 THz.
const ONSET: f64 = 299.792_458 / 212.0;

fn solver(absorption_q: Option<f64>) -> MetamaterialSolver {
    MetamaterialSolver::new(MetamaterialSettings { absorption_q, ..MetamaterialSettings::default() }).unwrap()
}

fn designs(count: usize, seed: u64) -> Array2<f64> {
    metamaterial::prior().sample(count, &mut RandomStreams::new(seed).stream("metamaterial", 0))
}

fn design(row: ArrayView1<'_, f64>) -> [f64; 8] {
    std::array::from_fn(|column| row[column])
}

#[test]
fn no_power_is_lost_or_made() {
    let solver = solver(None);
    let open: Vec<_> = solver.settings().frequencies.iter().map(|frequency| *frequency > ONSET).collect();
    assert!(open.iter().filter(|open| **open).count() > 30);
    let (mut worst, mut diffracted) = (0.0_f64, 0.0_f64);
    for row in designs(1000, 1).rows() {
        let balance = solver.power_balance(&SuperCell::from_design(&design(row))).unwrap();
        assert!(balance.absorbed.iter().all(|power| *power == 0.0));
        worst = balance.total().iter().fold(worst, |worst, power| worst.max((power - 1.0).abs()));
        for (power, open) in balance.diffracted().iter().zip(&open) {
            assert!(*power >= 0.0 && (*open || *power == 0.0), "{power} diffracted");
            diffracted = diffracted.max(*power);
        }
    }
    println!("1000 designs: largest |R + T + orders − 1| = {worst:.1e}, most in orders {diffracted:.2}");
    // Rounding, amplified by resonances as sharp as a lossless array has.
    assert!(worst < 1e-9, "{worst:e}");
    // The orders above c/L carry what the balance needs, so they are tested too.
    assert!(diffracted > 0.3, "{diffracted}");
}

#[test]
fn power_beyond_the_second_ring_of_orders_is_conserved() {
    let frequencies = (0..60).map(|index| 0.5 + 0.038 * f64::from(index)).collect();
    let settings =
        MetamaterialSettings { frequencies, absorption_q: None, ..MetamaterialSettings::default() };
    let solver = MetamaterialSolver::new(settings).unwrap();
    for row in designs(50, 2).rows() {
        let balance = solver.power_balance(&SuperCell::from_design(&design(row))).unwrap();
        assert_eq!(balance.orders.len(), 8);
        assert!(balance.total().iter().all(|power| (power - 1.0).abs() < 1e-9), "{row}");
    }
}

#[test]
fn absorption_takes_what_is_missing() {
    let solver = solver(Some(40.0));
    let (mut worst, mut absorbed) = (0.0_f64, 0.0_f64);
    for row in designs(300, 3).rows() {
        let balance = solver.power_balance(&SuperCell::from_design(&design(row))).unwrap();
        let scattered = &balance.reflected + &balance.transmitted + balance.diffracted();
        assert!(scattered.iter().all(|power| *power <= 1.0), "{row}");
        assert!(balance.reflected.iter().chain(&balance.absorbed).all(|power| (0.0..=1.0).contains(power)));
        worst = balance.total().iter().fold(worst, |worst, power| worst.max((power - 1.0).abs()));
        absorbed = balance.absorbed.iter().fold(absorbed, |most, power| most.max(*power));
    }
    println!("300 designs with loss: largest |sum − 1| = {worst:.1e}, most absorbed {absorbed:.2}");
    assert!(worst < 1e-11, "{worst:e}");
    assert!(absorbed > 0.1);
}

#[test]
fn the_simulator_is_the_balance_of_its_reflection() {
    let solver = solver(Some(40.0));
    let x = designs(5, 4);
    let y = solver.simulate(x.view()).unwrap();
    for (x, y) in x.rows().into_iter().zip(y.rows()) {
        let balance = solver.power_balance(&SuperCell::from_design(&design(x))).unwrap();
        assert_eq!(balance.reflected, y);
        assert_eq!(balance.electric_dipoles.dim(), (300, 4));
        // r = (ik/2)(Σp − Σm), from the moments that the balance tells.
        let k = std::f64::consts::TAU * solver.settings().frequencies[299] / ONSET;
        let total = balance.electric_dipoles.row(299).sum() - balance.magnetic_dipoles.row(299).sum();
        assert!(((k / 2.0 * total).norm_sqr() - y[299]).abs() < 1e-14);
    }
}

fn permutations() -> Vec<[usize; 4]> {
    let all = (0..256).map(|code| [code / 64, code / 16 % 4, code / 4 % 4, code % 4]);
    all.filter(|order| permuted(&[0.0; 8], *order).is_ok()).collect()
}

#[test]
fn four_of_all_orders_leave_the_spectrum_alone() {
    let solver = solver(Some(40.0));
    let orders = permutations();
    assert_eq!(orders.len(), 24);
    let mut symmetric = orders.clone();
    let mut nearest_other = f64::INFINITY;
    for row in designs(5, 5).rows() {
        let x: Vec<f64> = orders.iter().flat_map(|order| permuted(&design(row), *order).unwrap()).collect();
        let y = solver.simulate(ndarray::ArrayView2::from_shape((24, 8), &x).unwrap()).unwrap();
        for (order, spectrum) in orders.iter().zip(y.rows()) {
            let difference =
                (&spectrum - &y.row(0)).iter().fold(0.0_f64, |most, value| most.max(value.abs()));
            if difference < 1e-12 {
                continue;
            }
            symmetric.retain(|other| other != order);
            nearest_other = nearest_other.min(difference);
        }
    }
    println!(
        "symmetric orders {symmetric:?}; every other one moves a spectrum by {nearest_other:.1e} or more"
    );
    assert_eq!(symmetric, SYMMETRIES);
    assert!(nearest_other > 1e-4);
    assert_eq!(permuted(&[0.0; 8], [0, 0, 1, 2]).unwrap_err().argument, "order");
}

/// Frequencies of the spectrum's peaks that rise by 0.02 above the valleys beside them.
fn peaks(spectrum: ArrayView1<'_, f64>) -> Vec<usize> {
    let (mut found, mut valley, mut peak, mut rising) = (Vec::new(), 0, 0, true);
    for index in 0..spectrum.len() {
        if rising {
            if spectrum[index] > spectrum[peak] {
                peak = index;
            } else if spectrum[index] < spectrum[peak] - 0.02 {
                found.push(peak);
                (rising, valley) = (false, index);
            }
        } else if spectrum[index] < spectrum[valley] {
            valley = index;
        } else if spectrum[index] > spectrum[valley] + 0.02 {
            (rising, peak) = (true, index);
        }
    }
    found
}

#[test]
fn spectra_have_several_resonances() {
    let y = solver(Some(40.0)).simulate(designs(500, 6).view()).unwrap();
    let counts: Vec<_> = y.rows().into_iter().map(|spectrum| peaks(spectrum).len()).collect();
    let histogram: Vec<_> =
        (0..8).map(|count| counts.iter().filter(|found| **found == count).count()).collect();
    let deviation = y.std_axis(ndarray::Axis(0), 0.0);
    println!(
        "peaks of 500 spectra: {histogram:?}; deviation of y {:.3} on average",
        deviation.mean().unwrap()
    );
    let mean = counts.iter().sum::<usize>() as f64 / 500.0;
    assert!(mean >= 2.5, "{mean} peaks on average");
    assert!(deviation.mean().unwrap() > 0.05);
}

#[test]
fn resonances_move_with_the_geometry() {
    let solver = solver(Some(40.0));
    let spectrum = |height: f64, radius: f64| {
        let x = Array2::from_shape_fn((1, 8), |(_, column)| if column < 4 { height } else { radius });
        solver.simulate(x.view()).unwrap().row(0).to_owned()
    };
    // Four equal cylinders have one band of high reflectance in range; higher ones have it lower.
    let band_edge = |height| spectrum(height, 0.0).iter().position(|value| *value > 0.3).unwrap();
    let edges = [0.0, 0.4, 0.8, 1.2].map(band_edge);
    println!("band edge by height: {edges:?}");
    assert!(edges.is_sorted_by(|a, b| *a > b + 20));
    // Wider ones keep that edge, where the magnetic mode falls as its coupling rises, and move the electric mode.
    for radius in [-1.0, -0.5, 0.0, 0.5] {
        let change = spectrum(0.4, radius) - spectrum(0.4, radius + 0.5);
        let most = change.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        println!("wider by 2.5 µm from {radius}: y changes by up to {most:.2}");
        assert!(most > 0.05);
    }
}

#[test]
fn small_cylinders_hardly_reflect_low_frequencies() {
    let settings = MetamaterialSettings { frequencies: vec![0.01, 0.02], ..MetamaterialSettings::default() };
    let cell = SuperCell { cylinders: [Cylinder { height: 20.0, radius: 20.0 }; 4] };
    let balance = MetamaterialSolver::new(settings).unwrap().power_balance(&cell).unwrap();
    assert!(balance.reflected[0] < 1e-4);
    // r is proportional to k: |r|² grows fourfold.
    assert!((balance.reflected[1] / balance.reflected[0] - 4.0).abs() < 0.05, "{}", balance.reflected);
}

#[test]
fn the_solver_is_a_simulator() {
    check_simulator(&solver(Some(40.0)), designs(20, 8).view()).unwrap();
    check_prior(&metamaterial::prior(), 8, 8).unwrap();
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let solver = solver(Some(40.0));
    let x = designs(50, 9);
    let bits = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let y = pool.install(|| solver.simulate(x.view())).unwrap();
        y.iter().map(|value| value.to_bits()).collect::<Vec<_>>()
    };
    let alone = bits(1);
    assert!([2, 3, 8].into_iter().all(|threads| bits(threads) == alone));
}

#[test]
fn a_geometry_takes_less_than_five_milliseconds_of_one_core() {
    let solver = solver(Some(40.0));
    let x = designs(20, 9);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let once = || {
        let start = Instant::now();
        pool.install(|| solver.simulate(x.view())).unwrap();
        start.elapsed()
    };
    // The best of five: about a fortieth of the bound on an idle core, so other work does not decide.
    let best = (0..5).map(|_| once()).min().unwrap();
    assert!(best < Duration::from_millis(5 * 20), "{best:?} for 20 geometries");
}

#[test]
fn what_is_no_design_is_refused_by_name() {
    let solver = solver(Some(40.0));
    for (rows, columns) in [(1, 7), (1, 9), (0, 4)] {
        let error = solver.simulate(Array2::zeros((rows, columns)).view()).unwrap_err();
        let SimulationError::InvalidArgument(error) = error else { panic!("{error}") };
        assert_eq!((error.argument.as_str(), error.expected.as_str()), ("x", "8 columns"));
    }
    for value in [f64::NAN, f64::INFINITY] {
        let mut x = Array2::zeros((3, 8));
        x[[2, 5]] = value;
        let error = solver.simulate(x.view()).unwrap_err().to_string();
        assert_eq!(error, format!("invalid `x`: expected finite values, found {value} in row 2, column 5"));
    }
    assert_eq!(solver.simulate(Array2::zeros((0, 8)).view()).unwrap().dim(), (0, 300));
}

#[test]
fn what_cannot_be_built_is_a_row_of_nan() {
    let solver = solver(Some(40.0));
    // Heights −3, 0 and 1000 µm; radii 0, 53 (touching) and 5 µm (too slim for the formulas); huge numbers.
    for (column, value) in [
        (0, -4.0),
        (3, -41.0 / 11.0),
        (1, 87.2),
        (4, -9.4),
        (7, 1.2),
        (6, -8.4),
        (2, f64::MAX),
        (5, -f64::MAX),
    ] {
        let mut x = Array2::zeros((3, 8));
        x[[1, column]] = value;
        let y = solver.simulate(x.view()).unwrap();
        assert!(y.row(1).iter().all(|value| value.is_nan()), "{column} {value}");
        assert_eq!(y.row(0), y.row(2));
        assert!(y.row(0).iter().all(|value| value.is_finite()));
        assert!(solver.power_balance(&SuperCell::from_design(&design(x.row(1)))).is_err());
    }
}

#[test]
fn the_prior_is_the_authors_box() {
    let prior = metamaterial::prior();
    let center: Array1<f64> = prior.domain().center().to_owned();
    assert!(
        (&center - &Array1::from_iter([3.0 / 22.0; 4].into_iter().chain([0.0; 4])))
            .iter()
            .all(|d| d.abs() < 1e-15)
    );
    for row in designs(2000, 7).rows() {
        for cylinder in SuperCell::from_design(&design(row)).cylinders {
            assert!((30.0 - 1e-9..=55.0 + 1e-9).contains(&cylinder.height));
            assert!((42.0 - 1e-9..=52.0 + 1e-9).contains(&cylinder.radius));
        }
    }
}

/// With Q_abs = 8.6e-306 these settings once gave a reflectance of 0 and no power balance.
#[test]
fn the_strongest_absorption_still_has_a_balance() {
    let settings = |q| MetamaterialSettings {
        period: 200.0,
        permittivity: 92.58,
        absorption_q: Some(q),
        frequencies: vec![1.2988],
    };
    let error = MetamaterialSolver::new(settings(8.6e-306)).unwrap_err();
    assert_eq!(error.argument, "absorption_q");
    let solver = MetamaterialSolver::new(settings(0.5)).unwrap();
    // Of 50 designs some do not fit into that cell; a tiny cylinder has the largest terms of all.
    let tiny = [1e-3, 1e-60, 1e-120]
        .map(|size| SuperCell { cylinders: [Cylinder { height: size, radius: size }; 4] });
    let cells = designs(50, 10)
        .rows()
        .into_iter()
        .map(|row| SuperCell::from_design(&design(row)))
        .collect::<Vec<_>>();
    let mut balanced = 0;
    for cell in cells.iter().chain(&tiny) {
        let x = Array2::from_shape_vec((1, 8), cell.design().to_vec()).unwrap();
        let y = solver.simulate(x.view()).unwrap();
        let balance = solver.power_balance(&SuperCell::from_design(&design(x.row(0))));
        assert_eq!(y[[0, 0]].is_nan(), balance.is_err(), "{cell:?}");
        if let Ok(balance) = balance {
            balanced += 1;
            assert!((balance.total()[0] - 1.0).abs() < 1e-9, "{cell:?}: {}", balance.total());
        }
    }
    assert!(balanced > 5, "{balanced}");
}

/// Any number a third of the time, one from `usual` else.
fn mostly(usual: std::ops::Range<f64>) -> impl Strategy<Value = f64> {
    prop_oneof![1 => any::<f64>(), 2 => usual]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_settings_give_a_solver_or_an_error(
        period in mostly(200.0..300.0),
        permittivity in mostly(8.0..100.0),
        absorption_q in prop::option::of(mostly(0.5..1e6)),
        frequency in mostly(1e-3..2.0),
        scaled in prop_oneof![prop::array::uniform8(any::<f64>()), prop::array::uniform8(-1.0..1.3)],
    ) {
        let settings = MetamaterialSettings { period, permittivity, absorption_q, frequencies: vec![frequency] };
        let Ok(solver) = MetamaterialSolver::new(settings) else { return Ok(()) };
        let balance = solver.power_balance(&SuperCell::from_design(&scaled));
        let x = Array2::from_shape_fn((1, 8), |(_, column)| scaled[column]);
        let Ok(y) = solver.simulate(x.view()) else { return Ok(()) };
        prop_assert_eq!(y[[0, 0]].is_nan(), balance.is_err());
        if let Ok(balance) = balance {
            prop_assert!((balance.total()[0] - 1.0).abs() < 1e-9, "{}", balance.total());
            prop_assert_eq!(balance.reflected[0], y[[0, 0]]);
        }
    }
}
