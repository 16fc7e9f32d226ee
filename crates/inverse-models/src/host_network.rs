//! A frozen network on the host, in single or double precision, with the derivative of all its outputs.

use std::ops::MulAssign;

use ndarray::{Array1, Array2, Array3, ArrayView2, Axis, LinalgScalar, s};

use crate::nn::{Activation, FrozenMlp, product};

/// The two precisions a network can be evaluated in.
pub(crate) trait Precise: LinalgScalar + MulAssign + Send + Sync {
    fn from_single(value: f32) -> Self;
    fn from_double(value: f64) -> Self;
    fn double(self) -> f64;
    /// a · b, (rows, columns), for a, (rows, k), and b, (k, columns).
    fn product(a: ArrayView2<'_, Self>, b: ArrayView2<'_, Self>) -> Array2<Self>;
    /// Replaces each z by its activation, and writes the derivative at z.
    fn activate(activation: Activation, values: &mut [Self], slopes: &mut [Self]);
}

impl Precise for f32 {
    fn from_single(value: f32) -> Self {
        value
    }

    fn from_double(value: f64) -> Self {
        value as f32
    }

    fn double(self) -> f64 {
        f64::from(self)
    }

    fn product(a: ArrayView2<'_, Self>, b: ArrayView2<'_, Self>) -> Array2<Self> {
        product(a, b)
    }

    fn activate(activation: Activation, values: &mut [Self], slopes: &mut [Self]) {
        activation.apply_in_place(values, slopes);
    }
}

impl Precise for f64 {
    fn from_single(value: f32) -> Self {
        f64::from(value)
    }

    fn from_double(value: f64) -> Self {
        value
    }

    fn double(self) -> f64 {
        self
    }

    /// Its rounding does not depend on the number of rows: one search's targets do not influence each other.
    fn product(a: ArrayView2<'_, Self>, b: ArrayView2<'_, Self>) -> Array2<Self> {
        a.dot(&b)
    }

    fn activate(activation: Activation, values: &mut [Self], slopes: &mut [Self]) {
        for (value, slope) in values.iter_mut().zip(slopes) {
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
        }
    }
}

/// Values and derivatives of several outputs at several points.
pub(crate) struct Evaluation {
    /// (rows, outputs).
    pub(crate) values: Array2<f64>,
    /// The transposed Jacobians, (rows, inputs, outputs): what an input does to all outputs lies together.
    pub(crate) jacobian: Array3<f64>,
}

/// The weights of a network as matrices of `F`.
pub(crate) struct HostNetwork<F> {
    /// (weight, (outputs, inputs); bias, (outputs)).
    layers: Vec<(Array2<F>, Array1<F>)>,
    activation: Activation,
    inputs: usize,
    outputs: usize,
}

/// Rows of one pass through a layer: values and slopes of the activation behind it.
struct Layered<F> {
    value: Array2<F>,
    /// One entry a hidden layer, (rows, width).
    slopes: Vec<Array2<F>>,
}

impl<F: Precise> HostNetwork<F> {
    /// The network in host memory.
    ///
    /// # Errors
    /// Where the network's device does not give its weights back.
    pub(crate) fn new(network: &FrozenMlp, activation: Activation) -> candle_core::Result<Self> {
        let layers = network.layers()?.map(|(weight, bias)| {
            let (outputs, inputs) = (bias.len(), weight.len() / bias.len().max(1));
            let entry = |(row, column)| F::from_single(weight[row * inputs + column]);
            (
                Array2::from_shape_fn((outputs, inputs), entry),
                bias.iter().copied().map(F::from_single).collect(),
            )
        });
        let layers = layers.collect();
        Ok(Self { layers, activation, inputs: network.inputs(), outputs: network.outputs() })
    }

    /// The outputs, (rows, outputs), for x, (rows, inputs).
    pub(crate) fn values(&self, x: ArrayView2<'_, f64>) -> Array2<f64> {
        self.forward(x).value.mapv(Precise::double)
    }

    /// Outputs and derivatives at x, (rows, inputs).
    ///
    /// One tangent an input passes the layers, or one adjoint an output, whichever are fewer.
    pub(crate) fn evaluate(&self, x: ArrayView2<'_, f64>) -> Evaluation {
        let Layered { value, slopes } = self.forward(x);
        let jacobian = if self.inputs <= self.outputs {
            self.tangents(x.nrows(), &slopes)
        } else {
            self.adjoints(x.nrows(), &slopes)
        };
        Evaluation { values: value.mapv(Precise::double), jacobian: jacobian.mapv(Precise::double) }
    }

    fn forward(&self, x: ArrayView2<'_, f64>) -> Layered<F> {
        let mut value = x.mapv(F::from_double);
        let mut slopes = Vec::with_capacity(self.layers.len());
        for (index, (weight, bias)) in self.layers.iter().enumerate() {
            value = F::product(value.view(), weight.t()) + bias;
            if index + 1 < self.layers.len() {
                value = value.as_standard_layout().into_owned();
                let mut slope = Array2::zeros(value.dim());
                if let (Some(values), Some(slopes)) = (value.as_slice_mut(), slope.as_slice_mut()) {
                    F::activate(self.activation, values, slopes);
                }
                slopes.push(slope);
            }
        }
        Layered { value, slopes }
    }

    /// Jacobians by forward differentiation, (rows, inputs, outputs).
    fn tangents(&self, rows: usize, slopes: &[Array2<F>]) -> Array3<F> {
        // The first layer's tangents are its weights, whatever the row.
        let mut tangent: Option<Array2<F>> = None;
        for (index, (weight, _)) in self.layers.iter().enumerate() {
            let width = weight.nrows();
            let mut next = match tangent {
                Some(tangent) => F::product(tangent.view(), weight.t()),
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
    fn adjoints(&self, rows: usize, slopes: &[Array2<F>]) -> Array3<F> {
        let mut jacobian = Array3::zeros((rows, self.inputs, self.outputs));
        for output in 0..self.outputs {
            let mut adjoint = Array2::zeros((rows, self.outputs));
            adjoint.column_mut(output).fill(F::one());
            for (index, (weight, _)) in self.layers.iter().enumerate().rev() {
                if let Some(slope) = slopes.get(index) {
                    adjoint *= slope;
                }
                adjoint = F::product(adjoint.view(), weight.view());
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
                let host = HostNetwork::<f64>::new(&network(widths, activation), activation).unwrap();
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
            let network = network(&[3, 20, 20, 4], activation);
            let double = HostNetwork::<f64>::new(&network, activation).unwrap().evaluate(x.view());
            let single = HostNetwork::<f32>::new(&network, activation).unwrap().evaluate(x.view());
            // Three layers of at most 20 terms below 2: some 60 roundings of 6e-8.
            assert_abs_diff_eq!(double.values, single.values, epsilon = 8e-6);
            assert_abs_diff_eq!(double.jacobian, single.jacobian, epsilon = 8e-6);
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_neighbours() {
        let network = network(&[3, 33, 65, 4], Activation::Silu);
        let x = Array2::from_shape_fn((70, 3), |(row, column)| ((row * 3 + column) as f64).sin());
        let host = HostNetwork::<f64>::new(&network, Activation::Silu).unwrap();
        let all = host.evaluate(x.view());
        for row in [0, 1, 37, 69] {
            let alone = host.evaluate(x.slice(s![row..=row, ..]));
            assert_eq!(alone.row(0), all.row(row));
        }
    }
}
