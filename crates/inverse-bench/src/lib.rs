//! Experiments over the inverse crates: what every table and figure example shares. No science lives here.
//!
//! ```no_run
//! use inverse_bench::{Profile, Study, StudyArguments};
//!
//! let arguments = StudyArguments { profile: Some(Profile::Smoke), ..StudyArguments::default() };
//! let study = Study::new(&arguments)?;
//! for result in study.grid()? {
//!     println!("{} {}: r_200 = {:.2e}", result.task, result.method, result.errors.mean(200)?);
//! }
//! # Ok::<(), inverse_bench::StudyError>(())
//! ```
//!
//! # Features
//! - `cuda`: trains and proposes on NVIDIA GPUs; needs the CUDA toolkit to build.

mod arguments;
mod cell;
mod comparison;
mod curve_figure;
mod error_map;
mod figure;
mod line_figure;
mod machine;
mod observers;
mod paper;
mod profile;
mod progress;
mod proposal_limit;
mod publication;
mod report;
mod result_files;
mod store;
mod study;
mod table;
mod task_result;

pub use arguments::StudyArguments;
pub use cell::{Cell, Stage};
pub use comparison::{CellComparison, Difference, compare};
pub use curve_figure::{CurveFigure, Panel, PanelCurve};
pub use error_map::{ErrorMap, ErrorMapPanel, LevelSet, ResidualGrid};
pub use figure::Figure;
pub use line_figure::{LineFigure, LinePanel, Series};
pub use observers::{CurveFile, EventFile, Observers};
pub use paper::{PaperTable, paper_table};
pub use profile::Profile;
pub use progress::{EpochProgress, Progress};
pub use publication::{PaperItem, Publication, Publications, ablation_experiments, publish};
pub use report::report;
pub use result_files::{ResultFileError, ResultFolder};
pub use store::{Claim, Entry, EntryState, Store, StoreError};
pub use study::{
    Event, InferenceSettings, InferenceTimes, Outcome, Plan, PlannedCell, PosteriorMatch, Repeats, Study,
    StudyError, TrainingTime, exit_code,
};
pub use table::{Table, scientific};
pub use task_result::{CurveRow, ScoreRow, TaskResult, panels, score_table};
