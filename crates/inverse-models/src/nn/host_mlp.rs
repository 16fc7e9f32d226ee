//! A network whose weights are fixed, in host memory wherever it came from.

use std::sync::Arc;

use super::Activation;
use super::kernels::{FrozenLayer, outputs_and_jacobian, predict};

/// The layers of a [`FrozenMlp`](super::FrozenMlp) on the host.
#[derive(Debug, Clone)]
pub(crate) struct HostMlp {
    pub(super) layers: Arc<Vec<FrozenLayer>>,
    pub(super) activation: Activation,
}

impl HostMlp {
    pub(crate) fn inputs(&self) -> usize {
        self.layers.first().map_or(0, FrozenLayer::inputs)
    }

    pub(crate) fn outputs(&self) -> usize {
        self.layers.last().map_or(0, FrozenLayer::outputs)
    }

    /// The output, (rows, outputs), for x, (rows, inputs).
    pub(crate) fn outputs_at(&self, x: &[f32]) -> Vec<f32> {
        predict(&self.layers, self.activation, x)
    }

    /// Outputs, (rows, outputs), and transposed Jacobians, (rows, inputs, outputs), for x, (rows, inputs).
    pub(crate) fn jacobian_at(&self, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
        outputs_and_jacobian(&self.layers, self.activation, x)
    }
}
