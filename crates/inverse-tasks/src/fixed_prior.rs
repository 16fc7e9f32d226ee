//! Priors whose parameters are constants of this crate.

use inverse_core::{InvalidArgument, Prior};

/// Takes the prior out of its constructor's answer.
///
/// A prior refuses parameters, never data, and a task's parameters are written in its source: no input
/// reaches the error, and the first test that builds a task would meet it.
pub(crate) fn fixed_prior<P: Prior>(prior: Result<P, InvalidArgument>) -> P {
    match prior {
        Ok(prior) => prior,
        Err(error) => unreachable!("a task's prior has constant parameters, yet: {error}"),
    }
}
