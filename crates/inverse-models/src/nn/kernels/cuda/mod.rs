//! CUDA kernels: the passes between cuBLAS's matrix products, fused, without a word to the host in between.
//!
//! Everything runs on the one stream of its device in the order in which it is asked for, and every sum is taken in a
//! fixed order. Products keep all bits of `f32` unless [`Precision::TensorFloat32`] is asked for.
#![allow(
    unsafe_code,
    reason = "launches and library calls are unsafe; this folder is the only one that makes them"
)]

mod adam;
mod coupling;
mod descent;
mod frozen;
mod training;
mod workspace;

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda_backend::DeviceId;
use candle_core::cuda_backend::cudarc::cublas::{CudaBlas, result, sys};
use candle_core::cuda_backend::cudarc::driver::result::graph::launch as graph_launch;
use candle_core::cuda_backend::cudarc::driver::sys as driver;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaGraph, CudaModule, CudaSlice, CudaStream, CudaView, CudaViewMut, DevicePtr,
    DevicePtrMut, LaunchConfig,
};
use candle_core::{CudaDevice, CudaStorage, Device, Error, Layout, Result, Storage, Tensor, bail};

pub(crate) use adam::{CudaMoments, move_statistics};
pub(crate) use coupling::{affine_coupling, spline_coupling};
pub(crate) use descent::{CudaDescent, Plateau};
pub(crate) use frozen::CudaNetwork;
pub(crate) use training::CudaTraining;
pub(crate) use workspace::CudaWorkspaces;

use crate::nn::Activation;

/// The kernels, compiled by the build script.
const KERNELS: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));
const COUPLING_KERNELS: &str = include_str!(concat!(env!("OUT_DIR"), "/coupling.ptx"));

/// Threads along the columns of a block, and rows that a block of an elementwise kernel covers, as in `kernels.cu`.
const WARP: usize = 32;
const BLOCK_ROWS: usize = 8;
const ROWS_PER_BLOCK: usize = 32;

/// Rows of a batch in training: blocks of rows lie along the grid's second axis, which has no more.
const LARGEST_BATCH: usize = 65_535 * ROWS_PER_BLOCK;

/// Rows of one partial sum, as in `kernels.cu`.
const ROWS_PER_PART: usize = 128;

/// Threads of a block of the kernels that give each thread one number or row.
const THREADS: usize = 256;

/// No output activation: sums without a derivative.
const IDENTITY: i32 = 3;

/// How exactly matrix products are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    /// All 24 bits of `f32`.
    Full,
    /// Factors rounded to 11 bits, sums in `f32`: several times faster on tensor cores.
    TensorFloat32,
}

/// What one device needs to run the kernels.
pub(crate) struct Kernels {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    blas: Arc<CudaBlas>,
    activate: CudaFunction,
    activate4: CudaFunction,
    multiply_slope: CudaFunction,
    multiply_slope4: CudaFunction,
    weighted_error: CudaFunction,
    assess: CudaFunction,
    plateau: CudaFunction,
    descend: CudaFunction,
    column_moments: CudaFunction,
    finish_moments: CudaFunction,
    normalize_activate: CudaFunction,
    pull_back_activation: CudaFunction,
    finish_sums: CudaFunction,
    pull_back_normalization: CudaFunction,
    move_statistics: CudaFunction,
    adam: CudaFunction,
    affine_coupling: CudaFunction,
    affine_coupling_gradient: CudaFunction,
    spline_coupling: CudaFunction,
    spline_coupling_gradient: CudaFunction,
    /// Kernels on a stream that records, made when first needed.
    recorder: Mutex<Option<Box<Kernels>>>,
    /// cuBLAS's scratch memory where it must not ask for any: while recording.
    workspace: Option<CudaSlice<f32>>,
}

/// Numbers in a recorder's workspace: the 32 MiB that cuBLAS takes on this kind of card.
const RECORDED_WORKSPACE: usize = 8 << 20;

static LOADED: Mutex<Vec<(DeviceId, Arc<Kernels>)>> = Mutex::new(Vec::new());

impl Kernels {
    /// The kernels of `device`, loaded at first use.
    pub(crate) fn of(device: &CudaDevice) -> Result<Arc<Self>> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, kernels)) = loaded.iter().find(|(id, _)| *id == device.id()) {
            return Ok(kernels.clone());
        }
        let kernels = Arc::new(Self::load(device)?);
        loaded.push((device.id(), kernels.clone()));
        Ok(kernels)
    }

    fn load(device: &CudaDevice) -> Result<Self> {
        let stream = device.cuda_stream();
        let module = |ptx: &str| stream.context().load_module(ptx.into()).map_err(Error::wrap);
        let load = |module: &Arc<CudaModule>, name: &str| module.load_function(name).map_err(Error::wrap);
        let (passes, couplings) = (module(KERNELS)?, module(COUPLING_KERNELS)?);
        let (function, coupling) = (|name: &str| load(&passes, name), |name: &str| load(&couplings, name));
        Ok(Self {
            device: device.clone(),
            blas: device.cublas_handle(),
            activate: function("activate")?,
            activate4: function("activate4")?,
            multiply_slope: function("multiply_slope")?,
            multiply_slope4: function("multiply_slope4")?,
            weighted_error: function("weighted_error")?,
            assess: function("assess")?,
            plateau: function("plateau")?,
            descend: function("descend")?,
            column_moments: function("column_moments")?,
            finish_moments: function("finish_moments")?,
            normalize_activate: function("normalize_activate")?,
            pull_back_activation: function("pull_back_activation")?,
            finish_sums: function("finish_sums")?,
            pull_back_normalization: function("pull_back_normalization")?,
            move_statistics: function("move_statistics")?,
            adam: function("adam")?,
            affine_coupling: coupling("affine_coupling")?,
            affine_coupling_gradient: coupling("affine_coupling_gradient")?,
            spline_coupling: coupling("spline_coupling")?,
            spline_coupling_gradient: coupling("spline_coupling_gradient")?,
            stream,
            recorder: Mutex::new(None),
            workspace: None,
        })
    }

    /// Work that is recorded instead of done, to be replayed in one piece.
    ///
    /// Recording has a stream and a cuBLAS handle of its own: work that another thread asks for meanwhile is done, and
    /// not recorded.
    fn record(&self, work: impl FnOnce(&Self) -> Result<()>) -> Result<CudaGraph> {
        let mut recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        if recorder.is_none() {
            *recorder = Some(Box::new(self.new_recorder()?));
        }
        let Some(recorder) = &*recorder else { bail!("no recorder") };
        let mode = driver::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        recorder.stream.begin_capture(mode).map_err(Error::wrap)?;
        let outcome = work(recorder);
        // Ended whatever came of the work: a stream that records does nothing else.
        let graph = recorder.stream.end_capture(driver::CUgraphInstantiate_flags(0)).map_err(Error::wrap);
        outcome?;
        graph?.ok_or_else(|| Error::Msg("nothing was recorded".to_owned()))
    }

    /// Does what was recorded, after everything that was asked for before.
    fn replay(&self, graph: &CudaGraph) -> Result<()> {
        self.stream.context().bind_to_thread().map_err(Error::wrap)?;
        // SAFETY: the graph is whole, and lives until its owner drops it: the driver keeps what is still running.
        unsafe { graph_launch(graph.cu_graph_exec(), self.stream.cu_stream()) }.map_err(Error::wrap)
    }

    fn new_recorder(&self) -> Result<Self> {
        let stream = self.stream.context().new_stream().map_err(Error::wrap)?;
        let blas = CudaBlas::new(stream.clone()).map_err(Error::wrap)?;
        let workspace = self.device.alloc_zeros::<f32>(RECORDED_WORKSPACE)?;
        {
            let (pointer, _workspace) = workspace.device_ptr(&self.stream);
            // SAFETY: the workspace lives as long as the handle, in the same struct.
            unsafe { sys::cublasSetWorkspace_v2(*blas.handle(), pointer as *mut _, 4 * RECORDED_WORKSPACE) }
                .result()
                .map_err(Error::wrap)?;
        }
        let mut recorder = Self::load(&self.device)?;
        (recorder.stream, recorder.blas, recorder.workspace) = (stream, Arc::new(blas), Some(workspace));
        Ok(recorder)
    }

    /// A buffer whose numbers are whatever was there: for results that a kernel writes whole.
    fn buffer(&self, length: usize) -> Result<CudaSlice<f32>> {
        // SAFETY: f32 has no invalid bits, and every reader of a buffer comes after a kernel that wrote it whole.
        unsafe { self.device.alloc::<f32>(length) }
    }

    fn zeros(&self, length: usize) -> Result<CudaSlice<f32>> {
        self.device.alloc_zeros::<f32>(length)
    }

    fn upload(&self, values: &[f32]) -> Result<CudaSlice<f32>> {
        self.device.clone_htod(values)
    }

    /// `result` = left · right, row-major (rows, columns); `inner` is the length of the sums.
    fn multiply(
        &self,
        result: &mut CudaViewMut<'_, f32>,
        left: Factor<'_>,
        right: Factor<'_>,
        (rows, columns, inner): (usize, usize, usize),
        precision: Precision,
    ) -> Result<()> {
        let lengths = (result.len(), left.values.len(), right.values.len());
        if lengths.0 < rows * columns || lengths.1 < rows * inner || lengths.2 < inner * columns {
            bail!("a product of ({rows}, {inner}) and ({inner}, {columns}) of {lengths:?} numbers")
        }
        let [m, n, k] = [columns, rows, inner].map(integer);
        let operation = |transposed: bool| {
            if transposed { sys::cublasOperation_t::CUBLAS_OP_T } else { sys::cublasOperation_t::CUBLAS_OP_N }
        };
        let compute = match precision {
            Precision::Full => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            Precision::TensorFloat32 => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
        };
        let kind = sys::cudaDataType_t::CUDA_R_32F;
        let (one, zero) = (1.0_f32, 0.0_f32);
        let (left_pointer, _left) = left.values.device_ptr(&self.stream);
        let (right_pointer, _right) = right.values.device_ptr(&self.stream);
        let (result_pointer, _result) = result.device_ptr_mut(&self.stream);
        // cuBLAS counts along columns: it is told of the transposed product, rightᵀ · leftᵀ.
        // SAFETY: the three buffers lie on this device and are long enough, as checked above; the scalars are on the
        // host, which is the handle's pointer mode.
        unsafe {
            result::gemm_ex(
                *self.blas.handle(),
                operation(right.transposed),
                operation(left.transposed),
                m?,
                n?,
                k?,
                (&raw const one).cast(),
                right_pointer as *const _,
                kind,
                integer(if right.transposed { inner } else { columns })?,
                left_pointer as *const _,
                kind,
                integer(if left.transposed { rows } else { inner })?,
                (&raw const zero).cast(),
                result_pointer as *mut _,
                kind,
                integer(columns)?,
                compute,
                sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        }
        .map_err(Error::wrap)
    }
}

/// One factor of a product: a row-major matrix, or the transpose of one.
#[derive(Clone, Copy)]
struct Factor<'a> {
    values: &'a CudaView<'a, f32>,
    transposed: bool,
}

impl<'a> Factor<'a> {
    fn plain(values: &'a CudaView<'a, f32>) -> Self {
        Self { values, transposed: false }
    }

    fn transposed(values: &'a CudaView<'a, f32>) -> Self {
        Self { values, transposed: true }
    }
}

/// Launches a kernel; the arguments are names of variables, in the kernel's order.
macro_rules! launch {
    ($kernels:expr, $function:ident, $shape:expr, $($argument:expr),+ $(,)?) => {{
        #[allow(unused_imports, reason = "a kernel may be launched where the trait is in scope")]
        use candle_core::cuda_backend::cudarc::driver::PushKernelArg as _;
        let mut builder = $kernels.stream.launch_builder(&$kernels.$function);
        $(builder.arg($argument);)+
        // SAFETY: the arguments are those of the kernel's signature, and its buffers hold what it indexes: the callers
        // check lengths where they come from outside.
        unsafe { builder.launch($shape) }.map(drop).map_err(candle_core::Error::wrap)
    }};
}
use launch;

/// Blocks of an elementwise pass over (rows, columns).
fn elementwise(rows: usize, columns: usize) -> LaunchConfig {
    shape((columns.div_ceil(WARP), rows.div_ceil(ROWS_PER_BLOCK)), (WARP, BLOCK_ROWS))
}

/// Blocks of a pass that sums over parts of the rows.
fn in_parts(rows: usize, columns: usize) -> LaunchConfig {
    shape((columns.div_ceil(WARP), rows.div_ceil(ROWS_PER_PART)), (WARP, BLOCK_ROWS))
}

/// Blocks of a pass with one warp a row.
fn warp_a_row(rows: usize) -> LaunchConfig {
    shape((rows.div_ceil(BLOCK_ROWS), 1), (WARP, BLOCK_ROWS))
}

/// Blocks of a pass with one thread a number.
fn thread_each(count: usize) -> LaunchConfig {
    shape((count.div_ceil(THREADS), 1), (THREADS, 1))
}

fn shape(grid: (usize, usize), block: (usize, usize)) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (grid.0 as u32, grid.1 as u32, 1),
        block_dim: (block.0 as u32, block.1 as u32, 1),
        shared_mem_bytes: 0,
    }
}

/// A count as the kernels take it.
fn integer(count: usize) -> Result<i32> {
    i32::try_from(count).map_err(|_| Error::Msg(format!("{count} numbers are more than one CUDA pass takes")))
}

fn kind(activation: Activation) -> i32 {
    match activation {
        Activation::Relu => 0,
        Activation::Silu => 1,
        Activation::Tanh => 2,
    }
}

/// The numbers of a contiguous `f32` tensor on the device.
fn floats<'a>(storage: &'a CudaStorage, layout: &Layout) -> Result<CudaView<'a, f32>> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("the kernels work on contiguous tensors")
    };
    Ok(storage.as_cuda_slice::<f32>()?.slice(start..end))
}

/// Read access to a tensor on the device.
struct Borrowed<'a>(Box<dyn Deref<Target = Storage> + 'a>, &'a Layout);

impl<'a> Borrowed<'a> {
    fn new(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self(Box::new(storage), layout)
    }

    fn floats(&self) -> Result<CudaView<'_, f32>> {
        let Storage::Cuda(storage) = &**self.0 else { bail!("the kernels work on the device's tensors") };
        floats(storage, self.1)
    }
}

/// Makes a device fit for this library: memory that was given back stays with the process, where the next step finds
/// it, and nothing is recorded to keep streams in step.
pub(crate) fn prepare(device: &Device) -> Result<()> {
    use candle_core::cuda_backend::cudarc::driver::{result, sys};

    let device = device.as_cuda_device()?;
    // SAFETY: the device has one stream, on which all work runs in order; there is none to keep in step with.
    unsafe { device.disable_event_tracking() };
    let context = device.cuda_stream().context().clone();
    context.bind_to_thread().map_err(Error::wrap)?;
    let mut threshold = u64::MAX;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the pool is the device's own, and the attribute is a u64.
    unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device()).map_err(Error::wrap)?;
        result::mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast()).map_err(Error::wrap)
    }
}

/// The device of a tensor that lies on one.
fn device_of(tensor: &Tensor) -> Result<CudaDevice> {
    tensor.device().as_cuda_device().cloned()
}
