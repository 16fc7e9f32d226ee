//! CPU kernels: row-major `f32` buffers, fused passes, batches split over threads.
//!
//! Every kernel splits its rows into blocks of a fixed size and adds partial sums in block order, so a
//! result has the same bits whatever the number of threads. candle's own matrix product is as fast;
//! what these kernels save is allocation, separate elementwise passes and unwanted gradients.

mod adam;
mod coupling;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod frozen;
mod normalization;
mod panels;
mod product;
mod spline;
mod training;
mod vector_unit;

pub(crate) use adam::adam_step;
pub(crate) use coupling::CouplingPass;
pub(crate) use frozen::{
    FrozenLayer, GivenRows, error_and_gradient, predict, predict_beside, vector_jacobian_product,
};
pub(crate) use product::product;
pub(crate) use spline::{Direction, Spline};
pub(crate) use training::{TrainingPass, TrainingWorkspace};
pub(crate) use vector_unit::{squared_distance, vectorized};

/// Rows a block of the training kernels: a batch of 128 still keeps two cores busy.
pub(crate) const TRAINING_BLOCK: usize = 64;
