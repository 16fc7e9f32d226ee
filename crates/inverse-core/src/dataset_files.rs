//! Dataset files.
