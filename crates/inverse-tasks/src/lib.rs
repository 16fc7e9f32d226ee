//! Benchmark tasks for deep inverse models: a simulator y = f(x) and the prior its designs come from.
//!
//! | id | name | type | x | y | what it is |
//! |---|---|---|---|---|---|
//! | D1 | `ballistics` | [`Ballistics`] | 4 | 1 | where a thrown ball lands (section 8.6.1) |
//! | D2 | `sine-wave` | [`SineWave`] | 2 | 1 | a sinusoid on a square (section 5.2) |
//! | D3 | `robotic-arm` | [`RoboticArm`] | 4 | 2 | where an arm of three joints reaches (section 8.6.2) |
//! | D4 | `metamaterial` | [`metamaterial`]`::MetamaterialTask` | 8 | 300 | how a metamaterial reflects (section 5.1) |
//!
//! D4 is a proxy of [`metamaterial`]'s solver and needs the feature `metamaterial-proxy`, for its networks; the
//! solver does not.
//!
//! Sections are those of Ren, Padilla and Malof, "Benchmarking deep inverse models over time, and the
//! neural-adjoint method" (`NeurIPS` 2020). The first three simulators are exact to rounding, know their derivative
//! ([`inverse_core::DifferentiableSimulator`]) and evaluate millions of designs a second on one core.
//!
//! ```
//! use inverse_core::{Dataset, RandomStreams};
//!
//! let task = inverse_tasks::by_name("ballistics")?; // or "D1"
//! let data = Dataset::from_task(&*task, 1000, &mut RandomStreams::new(7).stream("data", 0))?;
//! assert_eq!((data.x().dim(), data.y().dim()), ((1000, 4), (1000, 1)));
//!
//! let farthest = data.y().iter().copied().fold(f64::NEG_INFINITY, f64::max);
//! println!("the best of 1000 random throws lands {farthest:.1} m away");
//! assert!(farthest > 10.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A new task is one file with its type and one line in the table of `registry.rs`. A task that need not
//! be known by name needs no line here at all: any closure is a simulator, and
//! [`inverse_core::SimulatedTask`] joins it to a prior.

mod ballistics;
mod fixed_prior;
pub mod metamaterial;
mod registry;
mod robotic_arm;
mod rows;
mod sine_wave;

pub use ballistics::Ballistics;
pub use registry::{UnknownTask, by_name, names};
pub use robotic_arm::RoboticArm;
pub use sine_wave::SineWave;
