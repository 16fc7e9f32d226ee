//! The whole descent on the input of a fixed network: every step of every start in one stream of launches.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::THREADS;
use super::frozen::{Chunk, Layers};
use super::{CudaNetwork, Kernels, Precision, floats, integer, launch, shape, thread_each};

/// Rows up to which a step is recorded: those of four chunks.
const MOST_RECORDED_ROWS: usize = 1 << 15;

/// Fewer steps than these are not worth a record.
const FEWEST_REPLAYS: usize = 8;

/// A descent: its network, its loss, and how far each step goes.
#[derive(Debug, Clone)]
pub(crate) struct CudaDescent<'a> {
    pub(crate) network: &'a CudaNetwork,
    /// Weight of each output's squared error.
    pub(crate) weights: &'a [f32],
    /// μ_x and R_x / 2 of eq. 5.
    pub(crate) center: Vec<f32>,
    pub(crate) half_range: Vec<f32>,
    /// λ of eq. 5.
    pub(crate) boundary_weight: f32,
    /// Learning rate of each step, where it is the same for all targets; one number otherwise.
    pub(crate) rates: Vec<f32>,
    pub(crate) plateau: Option<Plateau>,
    /// Steps, of which the first take products of [`Precision::TensorFloat32`].
    pub(crate) steps: usize,
    pub(crate) rounded_steps: usize,
    /// β₁, β₂ and ε.
    pub(crate) constants: (f64, f64, f64),
}

/// When a target's learning rate falls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plateau {
    pub(crate) factor: f32,
    pub(crate) patience: i32,
    pub(crate) lowest: f32,
    pub(crate) threshold: f32,
}

impl CudaDescent<'_> {
    /// The best point that each row saw, (rows, inputs), its loss, (rows), and its squared error, (rows).
    ///
    /// * `starts`: (rows, inputs), the rows of a target together; `y`: (targets, outputs)
    pub(crate) fn run(&self, starts: &Tensor, y: &Tensor) -> Result<[Tensor; 3]> {
        let (rows, columns) = starts.dims2()?;
        let (targets, outputs) = y.dims2()?;
        let layers = Layers::of(self.network)?;
        if targets == 0 || !rows.is_multiple_of(targets) || rows == 0 {
            bail!("{rows} starts for {targets} targets")
        }
        if (layers.inputs(), layers.outputs(), self.weights.len()) != (columns, outputs, outputs) {
            bail!("starts {:?} and targets {:?} do not fit the network", starts.shape(), y.shape())
        }
        drop(layers);
        let packed = starts.contiguous()?.apply_op2_no_bwd(&y.contiguous()?, self)?;
        let designs = packed.narrow(0, 0, rows * columns)?.reshape((rows, columns))?;
        let losses = packed.narrow(0, rows * columns, rows)?;
        Ok([designs, losses, packed.narrow(0, rows * (columns + 1), rows)?])
    }
}

/// Everything that the descent works on.
struct State<'a> {
    layers: Layers<'a>,
    y: CudaView<'a, f32>,
    chunk: Chunk,
    weights: CudaSlice<f32>,
    center: CudaSlice<f32>,
    half_range: CudaSlice<f32>,
    /// Best designs, their losses and their errors, one behind the other: the result.
    packed: CudaSlice<f32>,
    x: CudaSlice<f32>,
    gradient: CudaSlice<f32>,
    error: CudaSlice<f32>,
    loss: CudaSlice<f32>,
    first: CudaSlice<f32>,
    second: CudaSlice<f32>,
    /// Number of the step, counted on the device.
    step: CudaSlice<i32>,
    factors: CudaSlice<f32>,
    rate: CudaSlice<f32>,
    best: CudaSlice<f32>,
    stale: CudaSlice<i32>,
    rows: usize,
    columns: usize,
    targets: usize,
}

impl CustomOp2 for CudaDescent<'_> {
    fn name(&self) -> &'static str {
        "input-descent-cuda"
    }

    fn cpu_fwd(
        &self,
        _starts: &CpuStorage,
        _start_layout: &Layout,
        _y: &CpuStorage,
        _y_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("a network on the device takes inputs on the device")
    }

    fn cuda_fwd(
        &self,
        starts: &CudaStorage,
        start_layout: &Layout,
        y: &CudaStorage,
        y_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let kernels = Kernels::of(starts.device())?;
        let mut state = self.begin(&kernels, (starts, start_layout), (y, y_layout))?;
        let rounded = self.rounded_steps.min(self.steps);
        let stretches = [(rounded, Precision::TensorFloat32), (self.steps - rounded, Precision::Full)];
        for (steps, precision) in stretches.into_iter().filter(|(steps, _)| *steps > 0) {
            // Rounded losses are not comparable with full ones: the best point is sought anew among the latter.
            self.step(&kernels, &mut state, precision, true)?;
            self.repeat(&kernels, &mut state, precision, steps - 1)?;
        }
        self.assess(&kernels, &mut state, Precision::Full, rounded == self.steps)?;
        let length = state.packed.len();
        let storage = CudaStorage::wrap_cuda_slice(state.packed, kernels.device.clone());
        Ok((storage, Shape::from(length)))
    }
}

impl CudaDescent<'_> {
    fn begin<'a>(
        &'a self,
        kernels: &Kernels,
        (starts, start_layout): (&CudaStorage, &Layout),
        (y, y_layout): (&'a CudaStorage, &Layout),
    ) -> Result<State<'a>> {
        let layers = Layers::of(self.network)?;
        let (rows, columns) = start_layout.shape().dims2()?;
        let targets = y_layout.shape().dims2()?.0;
        let mut x = kernels.buffer(rows * columns)?;
        kernels.device.memcpy_dtod(&floats(starts, start_layout)?, &mut x)?;
        let rate = self.rates.first().copied().unwrap_or(0.0);
        Ok(State {
            y: floats(y, y_layout)?,
            chunk: Chunk::new(kernels, &layers, rows)?,
            weights: kernels.upload(self.weights)?,
            center: kernels.upload(&self.center)?,
            half_range: kernels.upload(&self.half_range)?,
            packed: kernels.buffer(rows * (columns + 2))?,
            x,
            gradient: kernels.buffer(rows * columns)?,
            error: kernels.buffer(rows)?,
            loss: kernels.buffer(rows)?,
            first: kernels.zeros(rows * columns)?,
            second: kernels.zeros(rows * columns)?,
            step: kernels.device.clone_htod(&[-1_i32])?,
            factors: kernels.upload(&self.factors())?,
            rate: kernels.upload(&vec![rate; targets])?,
            best: kernels.upload(&vec![f32::INFINITY; targets])?,
            stale: kernels.device.alloc_zeros::<i32>(targets)?,
            layers,
            rows,
            columns,
            targets,
        })
    }

    /// Rate and bias corrections of every step.
    fn factors(&self) -> Vec<f32> {
        let (beta1, beta2, _) = self.constants;
        let of_step = |step: usize| {
            let power = (step + 1).min(1 << 30) as i32;
            let correction = |beta: f64| (1.0 / (1.0 - beta.powi(power))) as f32;
            [self.rates.get(step).copied().unwrap_or(0.0), correction(beta1), correction(beta2)]
        };
        (0..self.steps).flat_map(of_step).collect()
    }

    /// `count` equal steps. A few thousand rows are done sooner than their launches are made one by one, so that such
    /// steps are recorded once and replayed.
    fn repeat(
        &self,
        kernels: &Kernels,
        state: &mut State<'_>,
        precision: Precision,
        count: usize,
    ) -> Result<()> {
        if count < FEWEST_REPLAYS || state.rows > MOST_RECORDED_ROWS {
            return (0..count).try_for_each(|_| self.step(kernels, state, precision, false));
        }
        let graph = kernels.record(|recorder| self.step(recorder, state, precision, false))?;
        (0..count).try_for_each(|_| kernels.replay(&graph))
    }

    /// Errors, gradients and losses at x, and the best point so far.
    fn assess(
        &self,
        kernels: &Kernels,
        state: &mut State<'_>,
        precision: Precision,
        first: bool,
    ) -> Result<()> {
        let State { rows, columns, targets, .. } = *state;
        {
            let (mut error, mut gradient) = (state.error.slice_mut(..), state.gradient.slice_mut(..));
            kernels.errors_and_gradients(
                &state.layers,
                (&state.x.slice(..), &state.y, &state.weights.slice(..)),
                (rows, rows / targets),
                &mut state.chunk,
                (&mut error, &mut gradient),
                precision,
            )?;
        }
        let (mut best_x, mut rest) = state.packed.split_at_mut(rows * columns);
        let (mut best_loss, mut best_error) = rest.split_at_mut(rows);
        let State { x, gradient, error, loss, step, center, half_range, .. } = state;
        let (count, width, weight) = (integer(rows)?, integer(columns)?, self.boundary_weight);
        let (first, shape) = (i32::from(first), thread_each(rows));
        launch!(
            kernels,
            assess,
            shape,
            &*x,
            gradient,
            &*error,
            loss,
            &mut best_x,
            &mut best_loss,
            &mut best_error,
            &*center,
            &*half_range,
            &weight,
            &count,
            &width,
            &first,
            step
        )
    }

    /// Assesses x, then moves it; before every move but the first, a plateau may lower its target's rate.
    fn step(
        &self,
        kernels: &Kernels,
        state: &mut State<'_>,
        precision: Precision,
        first: bool,
    ) -> Result<()> {
        self.assess(kernels, state, precision, first)?;
        let State { rows, columns, targets, .. } = *state;
        let State { x, gradient, loss, first, second, step, factors, rate, best, stale, .. } = state;
        let (beta1, beta2, epsilon) = self.constants;
        let (beta1, beta2, epsilon) = (beta1 as f32, beta2 as f32, epsilon as f32);
        let (count, whole) = (integer(rows * columns)?, thread_each(rows * columns));
        let numbers_a_target = integer(rows / targets * columns)?;
        let Some(Plateau { factor, patience, lowest, threshold }) = self.plateau else {
            let nothing = 0_u64;
            return launch!(
                kernels,
                descend,
                whole,
                &*step,
                &*factors,
                x,
                &*gradient,
                first,
                second,
                &nothing,
                &beta1,
                &beta2,
                &epsilon,
                &count,
                &numbers_a_target
            );
        };
        let rows_a_target = integer(rows / targets)?;
        let shape = shape((targets, 1), (THREADS, 1));
        launch!(
            kernels,
            plateau,
            shape,
            &*step,
            &*loss,
            &mut *rate,
            best,
            stale,
            &rows_a_target,
            &factor,
            &patience,
            &lowest,
            &threshold
        )?;
        launch!(
            kernels,
            descend,
            whole,
            &*step,
            &*factors,
            x,
            &*gradient,
            first,
            second,
            &*rate,
            &beta1,
            &beta2,
            &epsilon,
            &count,
            &numbers_a_target
        )
    }
}
