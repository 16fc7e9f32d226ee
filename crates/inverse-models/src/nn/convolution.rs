//! One-dimensional convolutions at an end of a network: how D4's forward network widens 150 numbers to a spectrum of
//! 300, and how its inverse networks narrow a spectrum to 150.

use inverse_core::InvalidArgument;
use serde::{Deserialize, Serialize};

/// No sequence is longer, no layer has more channels or taps: mistyped sizes fail with a message.
const LARGEST_LENGTH: usize = 1 << 16;
const LARGEST_CHANNELS: usize = 1 << 10;

/// Numbers of a matrix, 1 GiB of them.
const LARGEST_MATRIX: usize = 1 << 28;

/// One convolution along a sequence, as PyTorch's `Conv1d` and `ConvTranspose1d` define it, without groups,
/// dilation or output padding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convolution {
    /// Whether it is the transpose of a convolution, which lengthens a sequence by `stride`.
    pub transposed: bool,
    /// Channels that it gives.
    pub channels: usize,
    /// Taps of its kernel.
    pub kernel: usize,
    /// Step along the shorter sequence's neighbour.
    pub stride: usize,
    /// Zeros at each end (transposed: values cut from each end); less than `kernel`.
    pub padding: usize,
}

impl Convolution {
    /// A transposed convolution as the authors' code pads it: a stride of 1 keeps the length, one of 2 doubles it.
    pub fn transposed(channels: usize, kernel: usize, stride: usize) -> Self {
        Self { transposed: true, ..Self::plain(channels, kernel, stride) }
    }

    /// A convolution as the authors' code pads it: a stride of 1 keeps the length, one of 2 halves it.
    pub fn plain(channels: usize, kernel: usize, stride: usize) -> Self {
        let padding = if stride == 1 { kernel.saturating_sub(1) / 2 } else { (kernel / 2).saturating_sub(1) };
        Self { transposed: false, channels, kernel, stride, padding }
    }

    /// A convolution with one tap: it mixes channels and keeps the length.
    pub fn pointwise(channels: usize) -> Self {
        Self::plain(channels, 1, 1)
    }

    /// Length of the result for a sequence of `length`; `None` where nothing would be left.
    pub(crate) fn output_length(&self, length: usize) -> Option<usize> {
        let ends = self.padding.checked_mul(2)?;
        let result = if self.transposed {
            let stretched = length.checked_sub(1)?.checked_mul(self.stride)?;
            stretched.checked_add(self.kernel)?.checked_sub(ends)?
        } else {
            let span = length.checked_add(ends)?.checked_sub(self.kernel)?;
            span.checked_div(self.stride)?.checked_add(1)?
        };
        (result > 0).then_some(result)
    }

    /// Number of weights for that many incoming channels.
    pub(crate) fn weight_count(&self, inputs: usize) -> usize {
        inputs.saturating_mul(self.channels).saturating_mul(self.kernel)
    }

    /// Shape of the weights in PyTorch's layout: (in, out, taps) transposed, (out, in, taps) otherwise.
    pub(crate) fn weight_shape(&self, inputs: usize) -> [usize; 3] {
        let (first, second) = if self.transposed { (inputs, self.channels) } else { (self.channels, inputs) };
        [first, second, self.kernel]
    }

    /// PyTorch's default bound of weights and biases, 1/√fan_in; its fan-in of a transposed convolution counts
    /// the outgoing channels.
    pub(crate) fn initial_bound(&self, inputs: usize) -> f32 {
        let fan_in = self.kernel * if self.transposed { self.channels } else { inputs };
        1.0 / (fan_in as f32).sqrt()
    }

    fn validate(&self, layer: &str) -> Result<(), InvalidArgument> {
        let name = |field: &str| format!("{layer}.{field}");
        let sizes = [("channels", self.channels), ("kernel", self.kernel), ("stride", self.stride)];
        for (field, size) in sizes {
            if !(1..=LARGEST_CHANNELS).contains(&size) {
                return Err(InvalidArgument::new(name(field), format!("1 to {LARGEST_CHANNELS}"), size));
            }
        }
        if self.padding >= self.kernel {
            let expected = format!("less than the kernel's {} taps", self.kernel);
            return Err(InvalidArgument::new(name("padding"), expected, self.padding));
        }
        Ok(())
    }

    /// Which value of a sequence of `length` each tap meets at each place of the result, (taps, length out);
    /// `None` where it meets a zero.
    pub(crate) fn sources(&self, length: usize) -> Vec<Option<usize>> {
        let longer = self.output_length(length).unwrap_or(0);
        let meets = |tap: usize, place: usize| {
            let source = if self.transposed {
                // Value i is spread to i s + t − p.
                let shifted = (place + self.padding).checked_sub(tap)?;
                (shifted % self.stride == 0).then_some(shifted / self.stride)?
            } else {
                (place * self.stride + tap).checked_sub(self.padding)?
            };
            (source < length).then_some(source)
        };
        (0..self.kernel).flat_map(|tap| (0..longer).map(move |place| meets(tap, place))).collect()
    }

    /// The convolution of one sequence in `f64`: (channels in, length) to (channels out, length out).
    fn convolve(&self, values: &[f64], inputs: usize, weight: &[f32]) -> Vec<f64> {
        let length = values.len() / inputs;
        let sources = self.sources(length);
        let longer = sources.len() / self.kernel;
        let mut result = vec![0.0; self.channels * longer];
        for input in 0..inputs {
            let values = &values[input * length..(input + 1) * length];
            for output in 0..self.channels {
                let row =
                    if self.transposed { input * self.channels + output } else { output * inputs + input };
                let result = &mut result[output * longer..(output + 1) * longer];
                for (tap, sources) in sources.chunks_exact(longer).enumerate() {
                    let weight = f64::from(weight[row * self.kernel + tap]);
                    for (sum, source) in result.iter_mut().zip(sources) {
                        *sum += source.map_or(0.0, |source| weight * values[source]);
                    }
                }
            }
        }
        result
    }
}

/// Convolutions one after another at an end of a fully connected network, with no activation between them: behind it
/// they are its head, before it its encoder.
///
/// `width` numbers are a sequence of one channel; the last convolution gives one channel again. So the whole is an
/// affine map. The authors train its layers as they are, and so does this library; a network for use carries their
/// product with the linear layer beside them.
///
/// ```
/// use inverse_models::nn::Convolutions;
///
/// let head = Convolutions::metamaterial_head();
/// assert_eq!((head.width, head.output_width()), (150, Some(300)));
/// assert_eq!(head.parameter_count(), 36 + 84 + 84 + 5);
/// let encoder = Convolutions::metamaterial_encoder();
/// assert_eq!((encoder.width, encoder.output_width()), (300, Some(150)));
/// assert_eq!(encoder.parameter_count(), 24 + 84 + 132 + 5);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convolutions {
    /// Numbers that come to it: those of the fully connected network before a head, the inputs before an encoder.
    pub width: usize,
    /// The convolutions, first to last.
    pub layers: Vec<Convolution>,
}

impl Convolutions {
    /// The authors' head for D4: 150 numbers to a spectrum of 300.
    pub fn metamaterial_head() -> Self {
        let layers = vec![
            Convolution::transposed(4, 8, 2),
            Convolution::transposed(4, 5, 1),
            Convolution::transposed(4, 5, 1),
            Convolution::pointwise(1),
        ];
        Self { width: 150, layers }
    }

    /// The authors' encoder for D4: a spectrum of 300 to 150 numbers.
    pub fn metamaterial_encoder() -> Self {
        let layers = vec![
            Convolution::plain(4, 5, 1),
            Convolution::plain(4, 5, 1),
            Convolution::plain(4, 8, 2),
            Convolution::pointwise(1),
        ];
        Self { width: 300, layers }
    }

    /// Length of the sequence that it gives; `None` where a convolution leaves nothing.
    pub fn output_width(&self) -> Option<usize> {
        self.layers.iter().try_fold(self.width, |length, layer| layer.output_length(length))
    }

    /// Number of trainable parameters.
    pub fn parameter_count(&self) -> usize {
        let counts =
            self.steps().map(|(inputs, layer)| layer.weight_count(inputs).saturating_add(layer.channels));
        counts.fold(0, usize::saturating_add)
    }

    /// Whether a network can have these convolutions, and they give `outputs` numbers.
    ///
    /// * `name`: what errors call them
    ///
    /// # Errors
    /// [`InvalidArgument`] that names the layer and its field, or `name` where the result has another width or a
    /// matrix on the way would hold more than 2²⁸ numbers.
    pub fn validate(&self, name: &str, outputs: usize) -> Result<(), InvalidArgument> {
        if !(1..=LARGEST_LENGTH).contains(&self.width) {
            let argument = format!("{name}.width");
            return Err(InvalidArgument::new(argument, format!("1 to {LARGEST_LENGTH}"), self.width));
        }
        let mut length = self.width;
        for (index, layer) in self.layers.iter().enumerate() {
            let argument = format!("{name}.layers[{index}]");
            layer.validate(&argument)?;
            let next = layer.output_length(length).filter(|length| *length <= LARGEST_LENGTH);
            let expected = || format!("a convolution of {length} values into 1 to {LARGEST_LENGTH}");
            length = next.ok_or_else(|| InvalidArgument::new(argument, expected(), format!("{layer:?}")))?;
        }
        let channels = self.layers.last().map_or(1, |layer| layer.channels);
        if (channels, length) != (1, outputs) {
            let expected = format!("1 channel of {outputs} values");
            return Err(InvalidArgument::new(name, expected, format!("{channels} of {length}")));
        }
        self.check_matrices(name)
    }

    /// Whether memory holds what makes them one matrix: widths that are allowed one by one can still be too many.
    fn check_matrices(&self, name: &str) -> Result<(), InvalidArgument> {
        // Each layer takes what comes of every unit vector, and of the bias, once for each of its taps.
        let vectors = self.width + 1;
        let mut length = self.width;
        let mut largest = vectors.saturating_mul(self.width).max(self.parameter_count());
        for (inputs, layer) in self.steps() {
            length = layer.output_length(length).unwrap_or(0);
            let each = layer.channels.max(inputs.saturating_mul(layer.kernel)).saturating_mul(length);
            largest = largest.max(vectors.saturating_mul(each));
        }
        if largest <= LARGEST_MATRIX {
            return Ok(());
        }
        let expected = format!("convolutions whose matrices hold at most {LARGEST_MATRIX} numbers");
        Err(InvalidArgument::new(name, expected, largest))
    }

    /// Each convolution with the number of channels that come to it.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (usize, &Convolution)> {
        let inputs = std::iter::once(1).chain(self.layers.iter().map(|layer| layer.channels));
        inputs.zip(&self.layers)
    }

    /// All of them as one affine map, in `f64`; the settings and the number of parameters were checked.
    ///
    /// * `parameters`: weight and bias of each convolution in turn
    pub(crate) fn affine_map(&self, parameters: &[f32]) -> AffineMap {
        let outputs = self.output_width().unwrap_or(0);
        let bias = self.pass(vec![0.0; self.width], parameters, true);
        let mut weight = vec![0.0; outputs * self.width];
        for column in 0..self.width {
            let mut unit = vec![0.0; self.width];
            unit[column] = 1.0;
            for (row, value) in self.pass(unit, parameters, false).into_iter().enumerate() {
                weight[row * self.width + column] = value;
            }
        }
        AffineMap { weight, bias }
    }

    fn pass(&self, mut values: Vec<f64>, parameters: &[f32], with_bias: bool) -> Vec<f64> {
        let mut rest = parameters;
        for (inputs, layer) in self.steps() {
            let (weight, more) = rest.split_at(layer.weight_count(inputs));
            let (bias, more) = more.split_at(layer.channels);
            values = layer.convolve(&values, inputs, weight);
            if with_bias {
                let length = values.len() / layer.channels;
                for (channel, bias) in values.chunks_exact_mut(length).zip(bias) {
                    for value in channel {
                        *value += f64::from(*bias);
                    }
                }
            }
            rest = more;
        }
        values
    }
}

/// y = A v + b.
#[derive(Debug, Clone)]
pub(crate) struct AffineMap {
    /// A, (outputs, inputs), row-major.
    pub(crate) weight: Vec<f64>,
    /// b, (outputs).
    pub(crate) bias: Vec<f64>,
}

impl AffineMap {
    /// The linear layer v = W u + c followed by this map, as one layer: (A W, A c + b).
    ///
    /// * `weight`: W, (inputs of the map, inputs of the layer), row-major; `bias`: c
    pub(crate) fn after(&self, weight: &[f32], bias: &[f32]) -> (Vec<f32>, Vec<f32>) {
        compose(self, &Self::widened(weight, bias))
    }

    /// This map followed by the linear layer W v + c, as one layer: (W A, W b + c).
    ///
    /// * `weight`: W, (outputs of the layer, outputs of the map), row-major; `bias`: c
    pub(crate) fn before(&self, weight: &[f32], bias: &[f32]) -> (Vec<f32>, Vec<f32>) {
        compose(&Self::widened(weight, bias), self)
    }

    fn widened(weight: &[f32], bias: &[f32]) -> Self {
        let widen = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect();
        Self { weight: widen(weight), bias: widen(bias) }
    }
}

/// The map `first` followed by `second`: weight and bias.
fn compose(second: &AffineMap, first: &AffineMap) -> (Vec<f32>, Vec<f32>) {
    let between = first.bias.len().max(1);
    let columns = first.weight.len() / between;
    let mut product = vec![0.0_f32; second.bias.len() * columns];
    let mut sums = vec![0.0_f32; second.bias.len()];
    let mut row_sum = vec![0.0_f64; columns];
    for (output, row) in second.weight.chunks_exact(between).enumerate() {
        row_sum.fill(0.0);
        let mut shift = second.bias[output];
        for ((factor, weights), bias) in row.iter().zip(first.weight.chunks_exact(columns)).zip(&first.bias) {
            shift += factor * bias;
            if *factor != 0.0 {
                for (sum, weight) in row_sum.iter_mut().zip(weights) {
                    *sum += factor * weight;
                }
            }
        }
        sums[output] = shift as f32;
        for (value, sum) in product[output * columns..].iter_mut().zip(&row_sum) {
            *value = *sum as f32;
        }
    }
    (product, sums)
}
