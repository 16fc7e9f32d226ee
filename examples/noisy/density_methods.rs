//! The paper's methods that have a density, for pairs with noise.

use inverse::core::InvalidArgument;
use inverse::prelude::*;

/// MDN as its preset has it, but for the surrogate that would renew measurements without noise.
pub(crate) fn mdn(task: &str, source: Source) -> Result<MixtureDensityNetwork, InvalidArgument> {
    let preset = MixtureDensityNetwork::preset(task, source)?;
    Ok(MixtureDensityNetwork { relabelling: None, ..preset })
}

/// cINN, likewise.
pub(crate) fn cinn(task: &str, source: Source) -> Result<ConditionalInvertibleNetwork, InvalidArgument> {
    let preset = ConditionalInvertibleNetwork::preset(task, source)?;
    Ok(ConditionalInvertibleNetwork { relabelling: None, ..preset })
}
