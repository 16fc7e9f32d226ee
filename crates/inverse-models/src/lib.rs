//! Deep inverse models on candle: one module a method.

pub mod nn;
