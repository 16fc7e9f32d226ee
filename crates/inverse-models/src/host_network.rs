//! A frozen network on the host, in single or double precision, with the derivative of all its outputs.

use candle_core::Result;
use ndarray::{Array1, Array2, Array3, ArrayView2, Axis, Zip, s};

use crate::nn::{Activation, FrozenMlp, HostMlp};

/// A network in host memory with the derivative of all its outputs.
pub(crate) trait JacobianNetwork: Sized + Send + Sync {
    /// The network with these weights.
    ///
    /// # Errors
    /// Where the network's device does not give its weights back.
    fn of(network: &FrozenMlp) -> Result<Self>;

    /// The outputs, (rows, outputs), for x, (rows, inputs).
    fn values(&self, x: ArrayView2<'_, f64>) -> Array2<f64>;

    /// Outputs and derivatives at x, (rows, inputs): one tangent an input passes the layers, or one adjoint an output,
    /// whichever are fewer.
    fn evaluate(&self, x: ArrayView2<'_, f64>) -> Evaluation;
}

/// Values and derivatives of several outputs at several points.
pub(crate) struct Evaluation {
    /// (rows, outputs).
    pub(crate) values: Array2<f64>,
    /// The transposed Jacobians, (rows, inputs, outputs): what an input does to all outputs lies together.
    pub(crate) jacobian: Array3<f64>,
}

/// A network in single precision.
impl JacobianNetwork for HostMlp {
    fn of(network: &FrozenMlp) -> Result<Self> {
        network.on_host()
    }

    fn values(&self, x: ArrayView2<'_, f64>) -> Array2<f64> {
        let values = self.outputs_at(&single(x));
        Array2::from_shape_fn((x.nrows(), self.outputs()), |(row, output)| {
            f64::from(values[row * self.outputs() + output])
        })
    }

    fn evaluate(&self, x: ArrayView2<'_, f64>) -> Evaluation {
        let (rows, inputs, outputs) = (x.nrows(), self.inputs(), self.outputs());
        let (values, jacobian) = self.jacobian_at(&single(x));
        Evaluation {
            values: Array2::from_shape_fn((rows, outputs), |(row, output)| {
                f64::from(values[row * outputs + output])
            }),
            jacobian: Array3::from_shape_fn((rows, inputs, outputs), |(row, input, output)| {
                f64::from(jacobian[(row * inputs + input) * outputs + output])
            }),
        }
    }
}

fn single(x: ArrayView2<'_, f64>) -> Vec<f32> {
    x.iter().map(|value| *value as f32).collect()
}

/// A network in double precision.
pub(crate) struct HostNetwork {
    /// (weight, (outputs, inputs); bias, (outputs)).
    layers: Vec<(Array2<f64>, Array1<f64>)>,
    activation: Activation,
    inputs: usize,
    outputs: usize,
}

/// Rows of one pass through a layer: values and slopes of the activation behind it.
struct Layered {
    value: Array2<f64>,
    /// One entry a hidden layer, (rows, width).
    slopes: Vec<Array2<f64>>,
}

impl JacobianNetwork for HostNetwork {
    fn of(network: &FrozenMlp) -> Result<Self> {
        let layers = network.layers()?.map(|(weight, bias)| {
            let (outputs, inputs) = (bias.len(), weight.len() / bias.len().max(1));
            let entry = |(row, column)| f64::from(weight[row * inputs + column]);
            (Array2::from_shape_fn((outputs, inputs), entry), bias.iter().copied().map(f64::from).collect())
        });
        let layers = layers.collect();
        let activation = network.activation();
        Ok(Self { layers, activation, inputs: network.inputs(), outputs: network.outputs() })
    }

    fn values(&self, x: ArrayView2<'_, f64>) -> Array2<f64> {
        self.forward(x).value
    }

    fn evaluate(&self, x: ArrayView2<'_, f64>) -> Evaluation {
        let Layered { value, slopes } = self.forward(x);
        let jacobian = if self.inputs <= self.outputs {
            self.tangents(x.nrows(), &slopes)
        } else {
            self.adjoints(x.nrows(), &slopes)
        };
        Evaluation { values: value, jacobian }
    }
}

/// Replaces each z by its activation, and writes the derivative at z.
fn activate(activation: Activation, values: &mut Array2<f64>, slopes: &mut Array2<f64>) {
    Zip::from(values).and(slopes).for_each(|value, slope| {
        let z = *value;
        (*value, *slope) = match activation {
            // Written so that NaN stays NaN.
            Activation::Relu => (if z < 0.0 { 0.0 } else { z }, if z > 0.0 { 1.0 } else { 0.0 }),
            Activation::Silu => {
                let gate = 1.0 / (1.0 + (-z).exp());
                (z * gate, gate * (1.0 + z * (1.0 - gate)))
            }
            Activation::Tanh => {
                let height = z.tanh();
                (height, 1.0 - height * height)
            }
        };
    });
}

/// Products of `f64` by ndarray: their rounding does not depend on the number of rows, so one search's targets do not
/// influence each other.
impl HostNetwork {
    fn forward(&self, x: ArrayView2<'_, f64>) -> Layered {
        let mut value = x.to_owned();
        let mut slopes = Vec::with_capacity(self.layers.len());
        for (index, (weight, bias)) in self.layers.iter().enumerate() {
            value = value.dot(&weight.t()) + bias;
            if index + 1 < self.layers.len() {
                let mut slope = Array2::zeros(value.dim());
                activate(self.activation, &mut value, &mut slope);
                slopes.push(slope);
            }
        }
        Layered { value, slopes }
    }

    /// Jacobians by forward differentiation, (rows, inputs, outputs).
    fn tangents(&self, rows: usize, slopes: &[Array2<f64>]) -> Array3<f64> {
        // The first layer's tangents are its weights, whatever the row.
        let mut tangent: Option<Array2<f64>> = None;
        for (index, (weight, _)) in self.layers.iter().enumerate() {
            let width = weight.nrows();
            let mut next = match tangent {
                Some(tangent) => tangent.dot(&weight.t()),
                None => Array2::from_shape_fn((rows * self.inputs, width), |(row, output)| {
                    weight[[output, row % self.inputs]]
                }),
            };
            if let Some(slope) = slopes.get(index) {
                for (row, mut tangent) in next.rows_mut().into_iter().enumerate() {
                    tangent *= &slope.row(row / self.inputs);
                }
            }
            tangent = Some(next);
        }
        let mut jacobian = Array3::zeros((rows, self.inputs, self.outputs));
        if let Some(flat) = tangent {
            for (mut slot, row) in jacobian.rows_mut().into_iter().zip(flat.rows()) {
                slot.assign(&row);
            }
        }
        jacobian
    }

    /// Jacobians by backward differentiation, (rows, inputs, outputs).
    fn adjoints(&self, rows: usize, slopes: &[Array2<f64>]) -> Array3<f64> {
        let mut jacobian = Array3::zeros((rows, self.inputs, self.outputs));
        for output in 0..self.outputs {
            let mut adjoint = Array2::zeros((rows, self.outputs));
            adjoint.column_mut(output).fill(1.0);
            for (index, (weight, _)) in self.layers.iter().enumerate().rev() {
                if let Some(slope) = slopes.get(index) {
                    adjoint *= slope;
                }
                adjoint = adjoint.dot(weight);
            }
            jacobian.slice_mut(s![.., .., output]).assign(&adjoint);
        }
        jacobian
    }
}

impl Evaluation {
    /// The values at one row, and its transposed Jacobian, (inputs, outputs).
    pub(crate) fn row(&self, row: usize) -> (Array1<f64>, Array2<f64>) {
        (self.values.row(row).to_owned(), self.jacobian.index_axis(Axis(0), row).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use candle_core::Device;
    use inverse_core::{FnSimulator, RandomStreams, numerical_jacobian};
    use ndarray::array;
    use rand::RngExt;

    use super::*;

    fn network(widths: &[usize], activation: Activation) -> FrozenMlp {
        let mut stream = RandomStreams::new(5).stream("weights", widths.len() as u64);
        let layers = widths.windows(2).map(|pair| {
            let scale = 1.5 / (pair[0] as f32).sqrt();
            let mut draw = |count: usize| -> Vec<f32> {
                (0..count).map(|_| scale * stream.random_range(-1.0..1.0_f32)).collect()
            };
            (draw(pair[0] * pair[1]), draw(pair[1]))
        });
        FrozenMlp::from_layers(layers.collect(), activation, &Device::Cpu).unwrap()
    }

    #[test]
    fn derivatives_are_those_of_the_values() {
        let x = array![[0.3, -0.8, 0.1], [1.1, 0.4, -0.6]];
        // More outputs than inputs: tangents; fewer: adjoints; one layer only: a linear map.
        for widths in [&[3, 7, 6, 5][..], &[3, 7, 6, 2], &[3, 1], &[3, 4]] {
            for activation in [Activation::Silu, Activation::Tanh, Activation::Relu] {
                let outputs = widths[widths.len() - 1];
                let host = HostNetwork::of(&network(widths, activation)).unwrap();
                let simulator = FnSimulator::new(3, outputs, |x, y| {
                    let values = host.values(ArrayView2::from_shape((1, 3), x).unwrap());
                    y.copy_from_slice(&values.row(0).to_vec());
                })
                .unwrap();
                let numerical = numerical_jacobian(&simulator, x.view(), 1e-3).unwrap();
                let evaluation = host.evaluate(x.view());
                // Differences lose 1e-16 / 1e-3 and the fourth power of the step; both are below 1e-11.
                let transposed = numerical.permuted_axes([0, 2, 1]);
                assert_abs_diff_eq!(evaluation.jacobian, transposed, epsilon = 1e-10);
                assert_eq!(evaluation.values, host.values(x.view()));
            }
        }
    }

    #[test]
    fn single_precision_is_near_double() {
        let x = array![[0.3, -0.8, 0.1], [1.1, 0.4, -0.6]];
        for activation in [Activation::Silu, Activation::Tanh] {
            // More outputs than inputs, fewer, and no hidden layer.
            for widths in [&[3, 20, 20, 4][..], &[3, 20, 20, 2], &[3, 4]] {
                let network = network(widths, activation);
                let double = HostNetwork::of(&network).unwrap().evaluate(x.view());
                let single = HostMlp::of(&network).unwrap();
                // Three layers of at most 20 terms below 2: some 60 roundings of 6e-8.
                assert_abs_diff_eq!(double.values, single.evaluate(x.view()).values, epsilon = 8e-6);
                assert_abs_diff_eq!(double.values, single.values(x.view()), epsilon = 8e-6);
                assert_abs_diff_eq!(double.jacobian, single.evaluate(x.view()).jacobian, epsilon = 8e-6);
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_neighbours() {
        rows_are_alone::<HostNetwork>();
        rows_are_alone::<HostMlp>();
    }

    fn rows_are_alone<N: JacobianNetwork>() {
        for widths in [[3, 33, 65, 4], [3, 33, 65, 1]] {
            let host = N::of(&network(&widths, Activation::Silu)).unwrap();
            let x = Array2::from_shape_fn((170, 3), |(row, column)| ((row * 3 + column) as f64).sin());
            let all = host.evaluate(x.view());
            for row in [0, 1, 37, 169] {
                let alone = host.evaluate(x.slice(s![row..=row, ..]));
                assert_eq!(alone.row(0), all.row(row));
            }
        }
    }
}
