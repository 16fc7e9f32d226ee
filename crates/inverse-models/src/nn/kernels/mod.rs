//! CPU kernels: a product whose sums have one order, fused passes, work split over threads.
//!
//! Activations and packed weights of a network in use lie in panels of columns (`panels`), a batch in training in blocks
//! of features and rows (`blocks`). A product (`product`; in training `weight`) sums every entry in the order of its
//! terms, and partial sums elsewhere are added in block order: a result has the same bits whatever the number of
//! threads, the rows that come with it and the vector unit. Beside candle's own operations these kernels save
//! allocation, separate elementwise passes, copies of factors and unwanted gradients.

mod adam;
mod blocks;
mod coupling;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod frozen;
mod frozen_layer;
mod jacobian;
mod normalization;
mod panels;
mod product;
mod spline;
mod training;
mod vector_unit;
mod weight;

pub(crate) use adam::adam_step;
pub(crate) use coupling::CouplingPass;
pub(crate) use frozen::{GivenRows, error_and_gradient, predict, predict_beside, vector_jacobian_product};
pub(crate) use frozen_layer::FrozenLayer;
pub(crate) use jacobian::outputs_and_jacobian;
pub(crate) use spline::{Direction, Spline};
pub(crate) use training::{TrainingPass, TrainingWorkspace};
pub(crate) use vector_unit::{squared_distance, vectorized};

/// Rows a block of the training kernels: a batch of 128 still keeps two cores busy.
pub(crate) const TRAINING_BLOCK: usize = 64;
