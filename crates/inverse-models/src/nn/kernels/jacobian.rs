//! Outputs of a network whose weights are fixed, and their derivatives with respect to all inputs.

use rayon::prelude::*;

use super::frozen::{Scratch, widths};
use super::frozen_layer::FrozenLayer;
use super::panels::{PanelMatrix, PanelRow};
use super::product::{Start, multiply};
use super::vector_unit::multiply_in_place;
use crate::nn::Activation;

/// Tangents or adjoints that pass a layer together: they stay in a core's second-level cache.
const BLOCK: usize = 256;

/// Outputs, (rows, outputs), and transposed Jacobians, (rows, inputs, outputs), row-major.
///
/// One tangent an input passes the layers, or one adjoint an output, whichever are fewer. What comes of a row does not
/// depend on the other rows.
///
/// * `x`: (rows, inputs)
pub(crate) fn outputs_and_jacobian(
    layers: &[FrozenLayer],
    activation: Activation,
    x: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let (inputs, outputs) = widths(layers);
    let rows = x.len() / inputs;
    let (mut values, mut jacobian) = (vec![0.0; rows * outputs], vec![0.0; rows * inputs * outputs]);
    let block = (BLOCK / inputs.min(outputs)).max(1);
    let blocks =
        values.par_chunks_mut(block * outputs).zip(jacobian.par_chunks_mut(block * inputs * outputs));
    blocks.zip(x.par_chunks(block * inputs)).for_each(|((values, jacobian), x)| {
        let mut scratch = Scratch::default();
        scratch.forward(layers, activation, x);
        scratch.current.write(values);
        if inputs <= outputs {
            tangents(layers, &scratch.derivatives, values.len() / outputs).write(jacobian);
        } else {
            let adjoints = adjoints(layers, &scratch.derivatives, values.len() / outputs).to_rows();
            let rows =
                jacobian.chunks_exact_mut(inputs * outputs).zip(adjoints.chunks_exact(inputs * outputs));
            for (jacobian, adjoints) in rows {
                for (input, jacobian) in jacobian.chunks_exact_mut(outputs).enumerate() {
                    for (value, adjoint) in jacobian.iter_mut().zip(adjoints.chunks_exact(inputs)) {
                        *value = adjoint[input];
                    }
                }
            }
        }
    });
    (values, jacobian)
}

/// Each row's derivatives of the outputs by each input, (rows · inputs, outputs), from the first layer to the last.
fn tangents(layers: &[FrozenLayer], derivatives: &[PanelMatrix], rows: usize) -> PanelMatrix {
    let factors: Vec<&PanelMatrix> = layers.iter().map(FrozenLayer::turned_weight).collect();
    let derivatives: Vec<&PanelMatrix> = derivatives.iter().take(layers.len() - 1).collect();
    chain(&factors, &derivatives, rows)
}

/// Each row's derivatives of each output by the inputs, (rows · outputs, inputs), from the last layer to the first.
fn adjoints(layers: &[FrozenLayer], derivatives: &[PanelMatrix], rows: usize) -> PanelMatrix {
    let factors: Vec<&PanelMatrix> = layers.iter().rev().map(FrozenLayer::weight).collect();
    let derivatives: Vec<&PanelMatrix> = derivatives.iter().take(layers.len() - 1).rev().collect();
    chain(&factors, &derivatives, rows)
}

/// For each row F₁ D₁ F₂ D₂ … F_n, one below the other: D the diagonal matrix of the row's activation derivatives between
/// two factors.
fn chain(factors: &[&PanelMatrix], derivatives: &[&PanelMatrix], rows: usize) -> PanelMatrix {
    let (mut current, mut next) = (PanelMatrix::default(), PanelMatrix::default());
    let Some((first, others)) = factors.split_first() else { return current };
    // The first layer's part is the same for each row.
    let count = first.rows();
    current.reshape(rows * count, first.columns());
    for (panel, current) in current.panels_mut().enumerate() {
        current.chunks_exact_mut(count).take(rows).for_each(|own| own.copy_from_slice(first.panel(panel)));
    }
    for (index, factor) in others.iter().enumerate() {
        for (panel, current) in current.panels_mut().enumerate() {
            for (own, derivative) in current.chunks_exact_mut(count).zip(derivatives[index].panel(panel)) {
                for row in own {
                    multiply_in_place(&mut row.0, &derivative.0);
                }
            }
        }
        next.reshape(rows * count, factor.columns());
        for (panel, next) in next.panels_mut().enumerate() {
            multiply(
                &current,
                0,
                (factor.panel(panel), factor.width(panel)),
                Start::Row(&PanelRow::ZERO),
                next,
            );
        }
        std::mem::swap(&mut current, &mut next);
    }
    current
}
