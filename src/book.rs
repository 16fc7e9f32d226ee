//! The pages of the book under `docs/` that hold Rust: `cargo test` compiles and runs their blocks.
//!
//! `tests/book.rs` fails where a page with Rust is missing here.

#[doc = include_str!("../docs/tutorial.md")]
struct Tutorial;

#[doc = include_str!("../docs/reading_r_t.md")]
struct ReadingErrors;

#[doc = include_str!("../docs/calibration.md")]
struct Calibration;

#[doc = include_str!("../docs/posteriors.md")]
struct Posteriors;

#[doc = include_str!("../docs/add_a_task.md")]
struct AddTask;

#[doc = include_str!("../docs/add_a_method.md")]
struct AddMethod;
