//! Where the parameters of a fully connected network lie in one flat vector.
//!
//! One vector a network lets one kernel update everything in a single pass.

use std::ops::Range;

use super::MlpSettings;

/// Added to the variance before dividing by its root.
pub(crate) const NORMALIZATION_EPSILON: f64 = 1e-5;

/// One linear layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerLayout {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// (outputs, inputs), row-major.
    pub(crate) weight: Range<usize>,
    pub(crate) bias: Range<usize>,
    pub(crate) normalization: Option<NormalizationLayout>,
}

/// Batch normalisation after a linear layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NormalizationLayout {
    pub(crate) scale: Range<usize>,
    pub(crate) shift: Range<usize>,
    /// In the vector of running statistics.
    pub(crate) running_mean: Range<usize>,
    pub(crate) running_variance: Range<usize>,
}

/// All layers, and the lengths of the two vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) layers: Vec<LayerLayout>,
    pub(crate) parameter_count: usize,
    pub(crate) statistic_count: usize,
}

impl Layout {
    pub(crate) fn new(settings: &MlpSettings) -> Self {
        let mut layout = Self { layers: Vec::new(), parameter_count: 0, statistic_count: 0 };
        let ends = settings.hidden.iter().chain(std::iter::once(&settings.outputs));
        let starts = std::iter::once(&settings.inputs).chain(&settings.hidden);
        for (index, (inputs, outputs)) in starts.zip(ends).enumerate() {
            let normalized = settings.batch_norm && index < settings.hidden.len();
            let layer = LayerLayout {
                inputs: *inputs,
                outputs: *outputs,
                weight: take(&mut layout.parameter_count, inputs * outputs),
                bias: take(&mut layout.parameter_count, *outputs),
                normalization: normalized.then(|| NormalizationLayout {
                    scale: take(&mut layout.parameter_count, *outputs),
                    shift: take(&mut layout.parameter_count, *outputs),
                    running_mean: take(&mut layout.statistic_count, *outputs),
                    running_variance: take(&mut layout.statistic_count, *outputs),
                }),
            };
            layout.layers.push(layer);
        }
        layout
    }
}

fn take(end: &mut usize, length: usize) -> Range<usize> {
    let start = *end;
    *end += length;
    start..*end
}
