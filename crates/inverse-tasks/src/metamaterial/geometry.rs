//! The super-cell of four cylinders and the scaled designs that describe it.

use inverse_core::InvalidArgument;

/// Centre and half-width of the scaled heights in µm: (h − 41) / 11.
const HEIGHT_SCALE: (f64, f64) = (41.0, 11.0);

/// Centre and half-width of the scaled radii in µm: (r − 47) / 5.
const RADIUS_SCALE: (f64, f64) = (47.0, 5.0);

/// Smallest and largest height in µm that the authors simulated.
const HEIGHTS: (f64, f64) = (30.0, 55.0);

/// Smallest and largest radius in µm that the authors simulated.
const RADII: (f64, f64) = (42.0, 52.0);

/// One dielectric cylinder that stands upright on the plane of the array.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cylinder {
    /// Full height in µm.
    pub height: f64,
    /// Radius in µm.
    pub radius: f64,
}

/// Four cylinders in a square cell that repeats itself with period L, seen from above:
///
/// ```text
/// y
/// ↑   2  3        centres at (±L/4, ±L/4)
/// │   0  1
/// └────→ x        the incident field points along x
/// ```
///
/// ```
/// use inverse_tasks::metamaterial::SuperCell;
///
/// // The middle of the authors' scale: 41 µm high, 47 µm in radius.
/// let cell = SuperCell::from_design(&[0.0; 8]);
/// assert_eq!((cell.cylinders[3].height, cell.cylinders[3].radius), (41.0, 47.0));
/// assert_eq!(cell.design(), [0.0; 8]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SuperCell {
    /// The cylinders in the order of the figure above.
    pub cylinders: [Cylinder; 4],
}

impl SuperCell {
    /// The cell of a scaled design x = (h₁…h₄, r₁…r₄), heights as (h − 41) / 11 and radii as (r − 47) / 5 in µm.
    pub fn from_design(design: &[f64; 8]) -> Self {
        let scaled = |value: f64, (center, half_width): (f64, f64)| center + half_width * value;
        let cylinders = std::array::from_fn(|site| Cylinder {
            height: scaled(design[site], HEIGHT_SCALE),
            radius: scaled(design[site + 4], RADIUS_SCALE),
        });
        Self { cylinders }
    }

    /// The scaled design of this cell; see [`Self::from_design`].
    pub fn design(&self) -> [f64; 8] {
        let scaled = |value: f64, (center, half_width): (f64, f64)| (value - center) / half_width;
        std::array::from_fn(|column| match self.cylinders.get(column) {
            Some(cylinder) => scaled(cylinder.height, HEIGHT_SCALE),
            None => scaled(self.cylinders[column - 4].radius, RADIUS_SCALE),
        })
    }

    /// Checks that each cylinder has a size and fits its own quarter of the cell.
    ///
    /// Cylinders with 2r < L/2 do not overlap.
    ///
    /// * `period`: L in µm
    ///
    /// # Errors
    /// [`InvalidArgument`] that names the first cylinder's height or radius that cannot be built.
    pub fn check(&self, period: f64) -> Result<(), InvalidArgument> {
        let spacing = period / 2.0;
        for (site, cylinder) in self.cylinders.iter().enumerate() {
            let Cylinder { height, radius } = *cylinder;
            if !(height.is_finite() && height > 0.0) {
                return Err(InvalidArgument::new(
                    format!("cylinders[{site}].height"),
                    "a positive number of µm",
                    height,
                ));
            }
            if !(radius > 0.0 && 2.0 * radius < spacing) {
                return Err(InvalidArgument::new(
                    format!("cylinders[{site}].radius"),
                    format!("above 0 and below {} µm, half the distance to the next cylinder", spacing / 2.0),
                    radius,
                ));
            }
        }
        Ok(())
    }
}

/// The authors' box in scaled units: lower and upper bounds, each (h₁…h₄, r₁…r₄).
pub(super) fn design_bounds() -> [[f64; 8]; 2] {
    let corner = |height, radius| SuperCell { cylinders: [Cylinder { height, radius }; 4] }.design();
    [corner(HEIGHTS.0, RADII.0), corner(HEIGHTS.1, RADII.1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_is_the_authors() {
        let [lower, upper] = design_bounds();
        assert_eq!(lower, [-1.0; 8]);
        let highest = 14.0 / 11.0;
        assert_eq!(upper, [highest, highest, highest, highest, 1.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn cylinders_that_cannot_be_built_are_named() {
        let cell = SuperCell::from_design(&[0.0; 8]);
        assert!(cell.check(212.0).is_ok());
        for (height, radius, argument) in [
            (0.0, 47.0, "cylinders[2].height"),
            (f64::NAN, 47.0, "cylinders[2].height"),
            (f64::INFINITY, 47.0, "cylinders[2].height"),
            (41.0, 0.0, "cylinders[2].radius"),
            (41.0, 53.0, "cylinders[2].radius"),
            (41.0, f64::NAN, "cylinders[2].radius"),
        ] {
            let mut other = cell;
            other.cylinders[2] = Cylinder { height, radius };
            assert_eq!(other.check(212.0).unwrap_err().argument, argument, "{height} {radius}");
        }
        assert!(cell.check(188.0).is_err());
    }
}
