//! How an adaptive search spends its calls, and how its inner problems are solved.

use inverse_core::InvalidArgument;
use serde::{Deserialize, Serialize};

use crate::levenberg_marquardt::LevenbergMarquardtSettings;

/// How an adaptive search spends its calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptiveSearchSettings {
    /// Proposals of the model that the search may open basins from.
    pub basin_count: usize,
    /// Half width of the first trust region of a basin, in standardised units of x.
    pub trust_radius: f64,
    /// Calls in a row that do not halve the error until a basin is given up.
    pub patience: usize,
    /// How far the surrogate's error at one design resembles that at another, in standardised units of x, from 1e-6 to
    /// 1e6: ℓ of the kernel (1 + ‖x − x'‖² / ℓ²)^(−1/2), by which the next basin is chosen. `None` chooses it by the
    /// surrogate alone.
    pub error_length: Option<f64>,
}

impl Default for AdaptiveSearchSettings {
    fn default() -> Self {
        Self { basin_count: 64, trust_radius: 1.0, patience: 3, error_length: Some(2.0) }
    }
}

impl AdaptiveSearchSettings {
    pub(crate) fn validate(&self) -> Result<(), InvalidArgument> {
        for (name, count) in [("basin_count", self.basin_count), ("patience", self.patience)] {
            if count == 0 {
                return Err(InvalidArgument::new(name, "at least 1", 0));
            }
        }
        if !(self.trust_radius > 0.0 && self.trust_radius.is_finite()) {
            return Err(InvalidArgument::new("trust_radius", "a positive number", self.trust_radius));
        }
        if let Some(length) = self.error_length.filter(|length| !(1e-6..=1e6).contains(length)) {
            return Err(InvalidArgument::new("error_length", "a number from 1e-6 to 1e6", length));
        }
        Ok(())
    }
}

/// The inner problems: from near Gauss–Newton, because the trust region already bounds the steps.
pub(crate) fn inner_settings() -> LevenbergMarquardtSettings {
    // The tolerance is relative: residuals are scaled by that of the center.
    LevenbergMarquardtSettings {
        iterations: 12,
        damping: 1e-8,
        tolerance: 1e-12,
        least_decrease: 1e-6,
        boundary_weight: 0.0,
    }
}

/// The descents that choose a basin: they start at the ends of others, and a ranking needs no last digits.
pub(crate) fn opening_settings() -> LevenbergMarquardtSettings {
    LevenbergMarquardtSettings { iterations: 8, least_decrease: 0.1, ..LevenbergMarquardtSettings::default() }
}
