//! Checks of a model's density.

use ndarray::{Array1, ArrayView2, Axis, concatenate, s};

use super::density_scale::{DRAWS, DensityScale};
use super::{Nonconformance, caught};
use crate::{InverseModel, RandomStreams};

/// What rounding may change in a log-density where other pairs stand beside: networks compute in `f32`, in sums whose
/// order some devices choose by the number of rows.
const TOLERANCE: f64 = 1e-3;

/// Asks for the density of the model's own proposals, one for each target.
pub(super) fn checks(
    report: &mut Nonconformance,
    model: &dyn InverseModel,
    targets: ArrayView2<'_, f64>,
    seed: u64,
) {
    let mut rng = RandomStreams::new(seed).stream("conformance", 4);
    // What is wrong with the proposals themselves is another check's finding.
    let Ok(proposals) = model.propose(targets, 1, &mut rng) else { return };
    let Some(x) = proposals.rank(0) else { return };
    if x.dim() != (targets.nrows(), model.dim_x()) || x.iter().any(|value| !value.is_finite()) {
        return;
    }
    let Some(Some(all)) = report.expect("log_density of proposals", || model.log_density(x, targets)) else {
        return;
    };
    values(report, model, (x, targets), &all);
    scale(report, model, targets, seed);
    refusals(report, model, x, targets);
}

/// Whether draws for the first target follow their density.
fn scale(report: &mut Nonconformance, model: &dyn InverseModel, targets: ArrayView2<'_, f64>, seed: u64) {
    let mut rng = RandomStreams::new(seed).stream("conformance", 5);
    let target = targets.slice(s![..1, ..]);
    // A model may refuse as many; what is wrong with proposals or densities themselves is another check's finding.
    let Ok(Ok(proposals)) = caught(|| model.propose(target, DRAWS, &mut rng)) else { return };
    if proposals.designs().dim() != (1, DRAWS, model.dim_x()) {
        return;
    }
    let draws = proposals.designs();
    let draws = draws.index_axis(Axis(0), 0);
    let rows: Vec<usize> = (0..DRAWS).filter(|row| proposals.is_draw(0, *row)).collect();
    let draws = draws.select(Axis(0), &rows);
    // A density may have more beyond the range of the draws than was moved: a quarter of them may have been drawn again.
    let least = 0.5 * draws.nrows() as f64 / (1.25 * DRAWS as f64);
    let density = |x: ArrayView2<'_, f64>| {
        let y = targets.select(Axis(0), &vec![0; x.nrows()]);
        caught(|| model.log_density(x, y.view()).ok().flatten())
    };
    let Ok(Some(scale)) = DensityScale::estimate(draws.view(), density, &mut rng) else { return };
    report.require(
        !scale.excludes(least, 2.0),
        "log_density of proposals",
        "that of the draws, within a factor of two",
        format!("about {:.3} times it", scale.factor()),
        "give log p(x | y) per unit of volume of x, in the data's units",
    );
}

fn values(
    report: &mut Nonconformance,
    model: &dyn InverseModel,
    (x, y): (ArrayView2<'_, f64>, ArrayView2<'_, f64>),
    all: &Array1<f64>,
) {
    let rows = x.nrows();
    let usable = all.len() == rows && all.iter().all(|log| !log.is_nan() && *log < f64::INFINITY);
    report.require(
        usable,
        "log_density of proposals",
        format!("{rows} numbers below infinity"),
        format!("{all}"),
        "return one logarithm a pair",
    );
    if !usable {
        return;
    }
    let none = s![..0, ..];
    let empty = report.expect("log_density of no pairs", || model.log_density(x.slice(none), y.slice(none)));
    if let Some(empty) = empty {
        report.require(
            empty.as_ref().is_some_and(Array1::is_empty),
            "log_density of no pairs",
            "an empty array",
            format!("{empty:?}"),
            "let whether there is a density depend on the model alone",
        );
    }
    for row in 0..rows {
        let own = s![row..=row, ..];
        let what = format!("log_density of pair {row} alone");
        let Some(alone) = report.expect(&what, || model.log_density(x.slice(own), y.slice(own))) else {
            return;
        };
        let (alone, expected) = (alone.unwrap_or_default(), all[row]);
        let near =
            |log: f64| log == expected || (log - expected).abs() <= TOLERANCE * expected.abs().max(1.0);
        let agrees = alone.len() == 1 && near(alone[0]);
        report.require(
            agrees,
            &what,
            format!("{expected}, as among others"),
            format!("{alone}"),
            "let no pair change another's density",
        );
        if !agrees {
            return;
        }
    }
}

fn refusals(
    report: &mut Nonconformance,
    model: &dyn InverseModel,
    x: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
) {
    report.expect_refusal("the density under too few targets", "y", || {
        model.log_density(x, y.slice(s![1.., ..]))
    });
    for (argument, matrix) in [("x", x), ("y", y)] {
        let Ok(wide) = concatenate(Axis(1), &[matrix, matrix]) else { continue };
        let mut strange = matrix.to_owned();
        strange[[0, 0]] = f64::NAN;
        for (what, matrix) in [("another width", &wide), ("a NaN", &strange)] {
            let what = format!("the density of `{argument}` with {what}");
            report.expect_refusal(&what, argument, || match argument {
                "x" => model.log_density(matrix.view(), y),
                _ => model.log_density(x, matrix.view()),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};
    use rand::{Rng, RngExt};

    use crate::testing::check_model;
    use crate::{InverseModel, Proposals, ProposeError, check_pairs, check_request};

    use super::*;

    /// Proposes its target; the density has one flaw or none.
    struct Echo(&'static str);

    impl InverseModel for Echo {
        fn name(&self) -> &'static str {
            "echo"
        }

        fn dim_x(&self) -> usize {
            1
        }

        fn dim_y(&self) -> usize {
            1
        }

        fn propose(
            &self,
            y: ArrayView2<'_, f64>,
            n: usize,
            _: &mut dyn Rng,
        ) -> Result<Proposals, ProposeError> {
            check_request(y, 1, n, usize::MAX)?;
            Ok(Proposals::new(Array3::from_shape_fn((y.nrows(), n, 1), |(row, _, _)| y[[row, 0]]))?)
        }

        fn log_density(
            &self,
            x: ArrayView2<'_, f64>,
            y: ArrayView2<'_, f64>,
        ) -> Result<Option<Array1<f64>>, ProposeError> {
            if self.0 != "careless" {
                check_pairs(x, y, (1, 1))?;
            }
            let log = Array1::from_shape_fn(x.nrows(), |row| -x[[row, 0]].abs());
            Ok(Some(match self.0 {
                "short" => log.slice(s![1..]).to_owned(),
                "boundless" => -log / 0.0,
                "entangled" => &log + x.nrows() as f64,
                // The pair of the highest density hides it.
                "envious" => &log - log.fold(f64::NEG_INFINITY, |largest, log| largest.max(*log)),
                "impossible" => Array1::from_elem(x.nrows(), f64::NEG_INFINITY),
                "shy" if x.nrows() == 1 => return Ok(None),
                "silent" if x.nrows() == 0 => return Ok(None),
                _ => log,
            }))
        }
    }

    /// Draws from the unit interval above its target; with one flaw or none.
    struct Interval(&'static str);

    impl InverseModel for Interval {
        fn name(&self) -> &'static str {
            "interval"
        }

        fn dim_x(&self) -> usize {
            1
        }

        fn dim_y(&self) -> usize {
            1
        }

        fn propose(
            &self,
            y: ArrayView2<'_, f64>,
            n: usize,
            rng: &mut dyn Rng,
        ) -> Result<Proposals, ProposeError> {
            check_request(y, 1, n, if self.0 == "limited" { 100 } else { usize::MAX })?;
            let mut designs = Array3::zeros((y.nrows(), n, 1));
            for (mut designs, y) in designs.outer_iter_mut().zip(&y) {
                let mut stream = RandomStreams::new(rng.next_u64()).stream("interval", 0);
                designs.mapv_inplace(|_: f64| y + stream.random::<f64>());
            }
            if !self.0.contains("moving") {
                return Ok(Proposals::new(designs)?);
            }
            // A fifth lies outside of the range that it keeps to.
            let end = y[[0, 0]] + 0.8;
            let moved = designs.index_axis(Axis(2), 0).mapv(|x| x > end);
            let proposals = Proposals::new(designs.mapv(|x: f64| x.min(end)))?;
            Ok(if self.0.contains("silently") { proposals } else { proposals.with_moved_inside(moved)? })
        }

        fn log_density(
            &self,
            x: ArrayView2<'_, f64>,
            y: ArrayView2<'_, f64>,
        ) -> Result<Option<Array1<f64>>, ProposeError> {
            check_pairs(x, y, (1, 1))?;
            let inside = (&x - &y).remove_axis(Axis(1)).mapv(|place| (0.0..1.0).contains(&place));
            let log = match self.0 {
                "unscaled" | "limited" | "moving, unscaled" => 5.5_f64.ln(),
                _ => 0.0,
            };
            Ok(Some(inside.mapv(|inside| if inside { log } else { f64::NEG_INFINITY })))
        }
    }

    fn interval_findings(flaw: &'static str) -> String {
        let report = check_model(&Interval(flaw), array![[0.5], [1.5], [2.5]].view(), 1);
        report.err().map(|report| report.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_density_of_other_draws_is_found() {
        for sound in ["none", "moving", "silently moving", "limited"] {
            // A draw that was moved without a word repeats another: too many for a density at all.
            assert_eq!(interval_findings(sound), "", "{sound}");
        }
        // Draws that are kept to a range leave out what the density has beyond: a fifth.
        for (flaw, factor) in [("unscaled", 5), ("moving, unscaled", 4)] {
            let report = interval_findings(flaw);
            let words = "log_density of proposals: expected that of the draws, within a factor of two";
            let found = report.contains(words) && report.contains(&format!("came about {factor}."));
            assert!(found, "{flaw}: {report}");
        }
    }

    fn findings(flaw: &'static str) -> String {
        let report = check_model(&Echo(flaw), array![[0.5], [1.5], [2.5]].view(), 1);
        report.err().map(|report| report.to_string()).unwrap_or_default()
    }

    #[test]
    fn sound_densities_pass() {
        assert_eq!(findings("none"), "");
        assert_eq!(findings("impossible"), "", "a density may be 0");
    }

    #[test]
    fn every_flaw_is_found() {
        for (flaw, words) in [
            ("short", "log_density of proposals: expected 3 numbers below infinity, came [-1.5, -2.5]"),
            ("boundless", "log_density of proposals: expected 3 numbers below infinity"),
            ("entangled", "log_density of pair 0 alone: expected 2.5, as among others, came [0.5]"),
            ("envious", "log_density of pair 1 alone: expected -1, as among others, came [0]"),
            ("shy", "log_density of pair 0 alone: expected -0.5, as among others, came []"),
            ("silent", "log_density of no pairs: expected an empty array, came None"),
            ("careless", "the density under too few targets: expected InvalidArgument that names `y`"),
            ("careless", "the density of `x` with another width: expected InvalidArgument that names `x`"),
            ("careless", "the density of `y` with a NaN: expected InvalidArgument that names `y`"),
        ] {
            let report = findings(flaw);
            assert!(report.contains(words), "{flaw}: {report}");
        }
    }
}
