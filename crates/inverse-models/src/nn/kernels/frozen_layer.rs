//! One layer of a network whose weights are fixed.

use std::sync::OnceLock;

use super::panels::{PanelMatrix, PanelRow};
use super::product::{Start, multiply};

/// One linear layer, with any normalisation folded into it.
#[derive(Debug, Clone)]
pub(crate) struct FrozenLayer {
    /// (outputs, inputs), row-major.
    pub(crate) weight: Vec<f32>,
    /// (outputs).
    pub(crate) bias: Vec<f32>,
    /// (inputs, outputs): the right factor of the forward pass.
    forward: PanelMatrix,
    /// (outputs, inputs): the right factor of the input gradient, made when one is first asked for.
    backward: OnceLock<PanelMatrix>,
}

impl FrozenLayer {
    /// * `weight`: (outputs, inputs), row-major; `bias`: (outputs)
    pub(crate) fn new(weight: Vec<f32>, bias: Vec<f32>) -> Self {
        let mut forward = PanelMatrix::default();
        forward.par_copy_transposed(&weight, weight.len().checked_div(bias.len()).unwrap_or(0));
        Self { weight, bias, forward, backward: OnceLock::new() }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.bias.len()
    }

    pub(crate) fn inputs(&self) -> usize {
        self.weight.len() / self.bias.len().max(1)
    }

    /// Rows of one panel of z = x · weightᵀ + bias.
    pub(super) fn forward(&self, x: &PanelMatrix, panel: usize, z: &mut [PanelRow]) {
        let range = self.forward.range(panel);
        let bias = PanelRow::filled(&self.bias[range.clone()]);
        multiply(x, 0, (self.forward.panel(panel), range.len()), Start::Row(&bias), z);
    }

    /// z for rows of the first inputs, x, and rows of the others, of which row i has row `places[i]` of `given`.
    ///
    /// What is given is multiplied once however many rows share it, and before x: a row's sums have one order.
    pub(super) fn forward_beside(
        &self,
        x: &PanelMatrix,
        given: &PanelMatrix,
        places: &[usize],
        z: &mut PanelMatrix,
    ) {
        let varying = x.columns();
        let mut shared = vec![PanelRow::ZERO; given.height()];
        z.reshape(x.rows(), self.outputs());
        for (panel, z) in z.panels_mut().enumerate() {
            let range = self.forward.range(panel);
            let bias = PanelRow::filled(&self.bias[range.clone()]);
            let (own, others) = self.forward.panel(panel).split_at(varying);
            multiply(given, 0, (others, range.len()), Start::Row(&bias), &mut shared);
            for (z, place) in z.iter_mut().zip(places) {
                *z = shared[*place];
            }
            multiply(x, 0, (own, range.len()), Start::Own, z);
        }
    }

    /// (inputs, outputs).
    pub(super) fn turned_weight(&self) -> &PanelMatrix {
        &self.forward
    }

    /// (outputs, inputs).
    pub(super) fn weight(&self) -> &PanelMatrix {
        self.backward.get_or_init(|| {
            let mut weight = PanelMatrix::default();
            weight.copy(&self.weight, self.inputs());
            weight
        })
    }

    /// The gradient with respect to x, given that with respect to z.
    pub(super) fn backward(&self, gradient: &PanelMatrix, x_gradient: &mut PanelMatrix) {
        let weight = self.weight();
        x_gradient.reshape(gradient.rows(), self.inputs());
        for (panel, rows) in x_gradient.panels_mut().enumerate() {
            multiply(
                gradient,
                0,
                (weight.panel(panel), weight.width(panel)),
                Start::Row(&PanelRow::ZERO),
                rows,
            );
        }
    }
}
