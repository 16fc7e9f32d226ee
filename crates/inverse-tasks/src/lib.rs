//! The paper's benchmark tasks (section 5, Table 1): simulators with their priors.
//!
//! | task | name | dim x | dim y | section |
//! |---|---|---|---|---|
//! | [`Ballistics`] (D1) | `ballistics` | 4 | 1 | 8.6.1 |
//! | [`SineWave`] (D2) | `sine-wave` | 2 | 1 | 5.2 |
//! | [`RoboticArm`] (D3) | `robotic-arm` | 4 | 2 | 8.6.2 |
//!
//! ```
//! use inverse_core::{Dataset, RandomStreams, Simulator, Task};
//!
//! let task = inverse_tasks::by_name("sine-wave")?;
//! let y = task.simulate(ndarray::array![[0.0, 0.0]].view())?;
//! assert_eq!(y[[0, 0]], 1.0);
//! let data = Dataset::from_task(&*task, 1000, &mut RandomStreams::new(0).stream("data", 0))?;
//! assert_eq!(data.x().dim(), (1000, 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ballistics;
mod registry;
mod robotic_arm;
mod rows;
mod sine_wave;

pub use ballistics::Ballistics;
pub use registry::{UnknownTask, by_name, names};
pub use robotic_arm::RoboticArm;
pub use sine_wave::SineWave;
