//! How many proposals a method can make for one target, known before it is trained.

use inverse_core::InvalidArgument;
use inverse_models::presets::PresetMethod;
use inverse_models::{AnyMethod, NearestNeighbor, NeuralAdjoint};

use crate::StudyError;

/// Whether models of the method can make that many proposals for one target.
///
/// * `pairs`: of the training data
///
/// # Errors
/// [`InvalidArgument`] that names `--proposals` where they cannot: NA ranks its starts, and the nearest neighbour
/// its pairs.
pub(crate) fn check_proposals(
    proposals: usize,
    method: &dyn AnyMethod,
    pairs: usize,
) -> Result<(), StudyError> {
    let largest = match method.name() {
        NeuralAdjoint::NAME => neural_adjoint_settings(method)?.start_count,
        NearestNeighbor::NAME => pairs,
        _ => return Ok(()),
    };
    if proposals > largest {
        let found = format!("{proposals} with {}", method.label());
        return Err(InvalidArgument::new("--proposals", format!("1 to {largest}"), found).into());
    }
    Ok(())
}

/// The settings of NA behind the common interface of methods.
pub(crate) fn neural_adjoint_settings(method: &dyn AnyMethod) -> Result<NeuralAdjoint, StudyError> {
    serde_json::from_str(&method.settings()?).map_err(|error| StudyError::Settings(error.to_string()))
}

#[cfg(test)]
mod tests {
    use inverse_models::method_by_name;
    use inverse_models::presets::Source;

    use super::*;

    #[test]
    fn more_proposals_than_a_method_has_are_refused() {
        let check = |name: &str, proposals| {
            check_proposals(proposals, &*method_by_name(name, "any", Source::Quick).unwrap(), 1000)
        };
        assert!(check("NA", 250).is_ok() && check("nearest-neighbor", 1000).is_ok());
        assert!(check("mdn", 100_000).is_ok());
        for (name, proposals, range) in [("NA", 251, "1 to 250"), ("nearest-neighbor", 1001, "1 to 1000")] {
            let error = check(name, proposals).unwrap_err().to_string();
            assert!(error.contains("`--proposals`") && error.contains(range), "{error}");
        }
    }
}
