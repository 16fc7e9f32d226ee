//! D4 as a benchmark task: the shipped proxy of the solver, and its prior.

use std::sync::OnceLock;

use inverse_core::{
    BoxPrior, DifferentiableSimulator, Prior, SimulationError, Simulator, Task, check_designs,
};
use inverse_models::{ModelFileError, ProxySimulator};
use ndarray::{Array2, Array3, ArrayView2};

use super::prior;

/// The proxy that `cargo run --release --example metamaterial_proxy -- --half` made.
const SHIPPED_PROXY: &[u8] = include_bytes!("proxy.safetensors");

/// D4: reflectance spectra of a super-cell of four dielectric cylinders (section 5.1).
///
/// * x: (h₁…h₄, r₁…r₄), scaled heights in [−1, 14/11] and radii in [−1, 1]; see
///   [`SuperCell`](super::SuperCell)
/// * y: reflectance at 300 frequencies from 0.8 to 1.5 THz
///
/// As in the paper, f is not the slow simulator but an ensemble of networks that was trained on it. It comes with the
/// crate: no download, no training. [`ProxySimulator::report`] of [`shipped_proxy`] says how far it is from
/// [`MetamaterialSolver`](super::MetamaterialSolver). A task with another proxy, such as the authors' own weights,
/// is a [`SimulatedTask`](inverse_core::SimulatedTask) under the same name.
///
/// ```
/// use inverse_core::{Prior, RandomStreams, Simulator, Task};
/// use inverse_tasks::metamaterial::{self, MetamaterialSettings, MetamaterialSolver, MetamaterialTask};
///
/// let task = MetamaterialTask::new();
/// let x = task.prior().sample(100, &mut RandomStreams::new(1).stream("designs", 0));
/// let proxy = task.simulate(x.view())?;
/// let solver = MetamaterialSolver::new(MetamaterialSettings::default())?.simulate(x.view())?;
/// let error = (&proxy - &solver).mapv(|difference| difference * difference).mean().unwrap_or(f64::NAN);
/// assert!(error < 1e-3, "mean squared error {error}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct MetamaterialTask {
    prior: BoxPrior,
}

impl MetamaterialTask {
    /// The task's name.
    pub const NAME: &str = "metamaterial";

    /// The task with the authors' prior and the shipped proxy.
    pub fn new() -> Self {
        Self { prior: prior() }
    }
}

impl Default for MetamaterialTask {
    fn default() -> Self {
        Self::new()
    }
}

/// The proxy that comes with this crate, read once a process.
///
/// # Errors
/// [`ModelFileError`] where the weights in this build are damaged.
pub fn shipped_proxy() -> Result<&'static ProxySimulator, &'static ModelFileError> {
    static PROXY: OnceLock<Result<ProxySimulator, ModelFileError>> = OnceLock::new();
    PROXY.get_or_init(|| ProxySimulator::from_bytes(SHIPPED_PROXY, inverse_core::Device::Cpu)).as_ref()
}

fn proxy() -> Result<&'static ProxySimulator, SimulationError> {
    shipped_proxy().map_err(|error| SimulationError::Failed(Box::new(error)))
}

impl Simulator for MetamaterialTask {
    fn dim_x(&self) -> usize {
        8
    }

    fn dim_y(&self) -> usize {
        300
    }

    fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
        check_designs(x, self.dim_x())?;
        proxy()?.simulate(x)
    }
}

impl DifferentiableSimulator for MetamaterialTask {
    fn jacobian(&self, x: ArrayView2<'_, f64>) -> Result<Array3<f64>, SimulationError> {
        check_designs(x, self.dim_x())?;
        proxy()?.jacobian(x)
    }
}

impl Task for MetamaterialTask {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn prior(&self) -> &dyn Prior {
        &self.prior
    }
}
