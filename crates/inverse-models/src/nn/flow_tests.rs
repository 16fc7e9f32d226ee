//! Flows against what defines them: the inverse undoes, the log-determinant is the Jacobian's.

use approx::assert_abs_diff_eq;
use candle_core::{DType, Device, Result, Tensor};
use inverse_core::RandomStreams;
use proptest::prelude::*;

use super::*;
use crate::latent_sampling::standard_normal;

const COUPLINGS: [Coupling; 2] = [Coupling::Affine { clamp: 2.0 }, Coupling::Spline { bins: 6, bound: 4.0 }];

fn settings(coupling: Coupling) -> FlowSettings {
    FlowSettings { blocks: 4, hidden: vec![24; 2], activation: Activation::Silu, coupling }
}

/// A flow whose subnets' weights are `spread` times PyTorch's defaults, which alone are nearly flat.
fn flow(coupling: Coupling, width: usize, condition: usize, spread: f64, seed: u64) -> Flow<FrozenMlp> {
    let mut stream = RandomStreams::new(seed).stream("flow", 0);
    let flow = Flow::new(&settings(coupling), width, condition, &Device::Cpu, &mut stream).unwrap();
    for network in flow.networks() {
        network.parameters().set(&(network.parameters().as_tensor() * spread).unwrap()).unwrap();
    }
    flow.freeze().unwrap()
}

fn draws(rows: usize, columns: usize, scale: f64, seed: u64) -> Tensor {
    let mut stream = RandomStreams::new(seed).stream("draws", 0);
    (standard_normal(rows, columns, &Device::Cpu, &mut stream).unwrap() * scale).unwrap()
}

fn largest(difference: &Tensor) -> f64 {
    let difference = difference.to_dtype(DType::F64).unwrap();
    difference.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn the_inverse_undoes_far_outside_the_data(
        width in 1..7_usize, condition in 1..4_usize, scale in 0.1..10.0_f64, seed in 0..1000_u64
    ) {
        for coupling in COUPLINGS {
            // The default weights are nearly flat; three times those stretch and bend as trained ones do. Splines so
            // steep have slopes of e^-4 a variable and block, and no inverse of theirs is known to 1e-4: those that
            // training makes are tested in `cinn.rs`.
            let spreads = match coupling {
                Coupling::Affine { .. } => &[1.0, 3.0][..],
                Coupling::Spline { .. } => &[1.0],
            };
            for &spread in spreads {
                let flow = flow(coupling, width, condition, spread, seed);
                let x = draws(33, width, scale, seed);
                let y = draws(33, condition, scale, seed + 1);
                let (z, _) = flow.forward(&x, Some(&y)).unwrap();
                let back = flow.inverse(&z, Some(&y)).unwrap();
                let lost = largest(&(back - x.to_dtype(DType::F64).unwrap()).unwrap());
                prop_assert!(lost < 1e-4, "{coupling:?}, spread {spread}: {lost:e}");
            }
        }
    }
}

/// Gaussian elimination with pivoting; log |det|.
fn log_determinant(mut matrix: Vec<Vec<f64>>) -> f64 {
    let mut sum = 0.0;
    for column in 0..matrix.len() {
        let pivot = (column..matrix.len())
            .max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))
            .unwrap();
        matrix.swap(column, pivot);
        sum += matrix[column][column].abs().ln();
        for row in column + 1..matrix.len() {
            let factor = matrix[row][column] / matrix[column][column];
            let above = matrix[column].clone();
            matrix[row].iter_mut().zip(above).for_each(|(entry, above)| *entry -= factor * above);
        }
    }
    sum
}

#[test]
fn log_determinants_are_the_numerical_jacobians() -> Result<()> {
    // Central differences: the subnets' rounding of 1e-7 / h and the curvature's h² both stay below 1e-4 of a
    // slope, and the smallest slope that these flows have is above a twentieth.
    let h = 2e-3_f32;
    for coupling in COUPLINGS {
        for (width, condition) in [(1, 2), (2, 0), (3, 1), (4, 2), (5, 0)] {
            let flow = flow(coupling, width, condition, 1.0, 3);
            let (x, y) = (draws(6, width, 1.0, 4), draws(6, condition.max(1), 1.0, 5));
            let y = (condition > 0).then_some(&y);
            let (_, ours) = flow.forward(&x, y)?;
            let ours = ours.to_vec1::<f64>()?;
            let mut jacobians = vec![vec![vec![0.0_f64; width]; width]; 6];
            for column in 0..width {
                let step: Vec<f32> = (0..width).map(|index| if index == column { h } else { 0.0 }).collect();
                let step = Tensor::new(step.as_slice(), &Device::Cpu)?.unsqueeze(0)?;
                let (after, _) = flow.forward(&x.broadcast_add(&step)?, y)?;
                let (before, _) = flow.forward(&x.broadcast_sub(&step)?, y)?;
                let slopes = ((after - before)? / f64::from(2.0 * h))?.to_vec2::<f64>()?;
                for (jacobian, slopes) in jacobians.iter_mut().zip(slopes) {
                    for (row, slope) in jacobian.iter_mut().zip(slopes) {
                        row[column] = slope;
                    }
                }
            }
            for (jacobian, ours) in jacobians.into_iter().zip(ours) {
                assert_abs_diff_eq!(log_determinant(jacobian), ours, epsilon = 5e-3);
            }
        }
    }
    Ok(())
}

#[test]
fn splines_are_the_identity_outside_and_have_no_jump_at_their_ends() -> Result<()> {
    let flow = flow(Coupling::Spline { bins: 6, bound: 4.0 }, 2, 1, 2.0, 7);
    let y = Tensor::zeros((1, 1), candle_core::DType::F32, &Device::Cpu)?;
    let at = |value: f32| flow.forward(&Tensor::new(&[[value, value]], &Device::Cpu)?, Some(&y));
    let (far, log) = at(50.0)?;
    assert!(far.to_vec2::<f64>()?[0].iter().all(|value| *value == 50.0));
    assert_eq!(log.to_vec1::<f64>()?, [0.0]);
    let (inside, outside) = (at(3.999)?.0, at(4.001)?.0);
    assert!(largest(&(inside - outside)?) < 0.02);
    Ok(())
}

#[test]
fn impossible_flows_are_refused_by_name() {
    let refused = |change: fn(&mut FlowSettings), name: &str| {
        let mut settings = settings(Coupling::default());
        change(&mut settings);
        assert_eq!(settings.validate(2, 1).unwrap_err().argument, name);
    };
    refused(|s| s.blocks = 0, "blocks");
    refused(|s| s.blocks = usize::MAX, "blocks");
    refused(|s| s.hidden = vec![0], "hidden");
    refused(|s| s.coupling = Coupling::Affine { clamp: f64::NAN }, "clamp");
    refused(|s| s.coupling = Coupling::Spline { bins: 1, bound: 1.0 }, "bins");
    refused(|s| s.coupling = Coupling::Spline { bins: usize::MAX, bound: 1.0 }, "bins");
    refused(|s| s.coupling = Coupling::Spline { bins: 4, bound: 0.0 }, "bound");
    // One variable without a condition: nothing for a subnet to see.
    assert_eq!(settings(Coupling::default()).validate(1, 0).unwrap_err().argument, "inputs");
    refused(|s| s.hidden = vec![1 << 16; 3], "hidden");
}

#[test]
fn tensors_of_another_width_are_errors_in_both_directions() {
    let flow = flow(Coupling::default(), 3, 0, 1.0, 1);
    for width in [1, 2, 4, 7] {
        assert!(flow.forward(&draws(4, width, 1.0, 1), None).is_err(), "{width}");
        assert!(flow.inverse(&draws(4, width, 1.0, 1), None).is_err(), "{width}");
    }
    assert!(flow.inverse(&draws(1, 3, 1.0, 1).squeeze(0).unwrap(), None).is_err());
}

#[test]
fn not_a_number_stays_not_a_number() -> Result<()> {
    for coupling in COUPLINGS {
        let flow = flow(coupling, 2, 0, 1.0, 1);
        let (z, _) = flow.forward(&Tensor::new(&[[f32::NAN, 1.0]], &Device::Cpu)?, None)?;
        assert!(z.to_vec2::<f64>()?[0].iter().any(|value| value.is_nan()));
    }
    Ok(())
}

#[test]
fn views_of_wider_tensors_go_both_ways() {
    let settings = settings(COUPLINGS[0]);
    let mut stream = RandomStreams::new(1).stream("weights", 0);
    let flow = Flow::new(&settings, 3, 0, &Device::Cpu, &mut stream).unwrap();
    let wide = standard_normal(5, 4, &Device::Cpu, &mut stream).unwrap().to_dtype(DType::F64).unwrap();
    let (view, copy) = (wide.narrow(1, 1, 3).unwrap(), wide.narrow(1, 1, 3).unwrap().contiguous().unwrap());
    let rows = |tensor: &Tensor| tensor.to_vec2::<f64>().unwrap();
    assert_eq!(rows(&flow.inverse(&view, None).unwrap()), rows(&flow.inverse(&copy, None).unwrap()));
    assert_eq!(rows(&flow.forward(&view, None).unwrap().0), rows(&flow.forward(&copy, None).unwrap().0));
}
