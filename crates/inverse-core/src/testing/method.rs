//! Checks of methods.

use super::{Nonconformance, model};
use crate::{Dataset, FitContext, InverseModel, Method, RandomStreams};

/// Targets handed to the fitted model.
const TARGETS: usize = 4;

/// Checks a method by fitting it twice on the processor; pass settings and data that fit in seconds.
///
/// * the model has the widths of the data
/// * the same data and seed give a model of the same proposals
/// * the model conforms ([`check_model`](super::check_model)), on the first measurements of the data
///
/// * `data`: at least two pairs
///
/// # Errors
/// [`Nonconformance`] that lists every finding.
pub fn check_method<M: Method>(method: &M, data: &Dataset, seed: u64) -> Result<(), Nonconformance> {
    let mut report = Nonconformance::new("the method");
    let mut fit = |what: &str| report.expect(what, || method.fit(data, &mut FitContext::new(seed)));
    let (Some(first), Some(second)) = (fit("fit"), fit("a second fit")) else { return report.finish() };
    let (expected, came) = ((data.x().ncols(), data.y().ncols()), (first.dim_x(), first.dim_y()));
    report.require(
        came == expected,
        "dim_x and dim_y of the model",
        format!("{expected:?}, as the data"),
        format!("{came:?}"),
        "take the widths from the data",
    );
    let y = data.y();
    let targets = y.slice(ndarray::s![..data.len().min(TARGETS), ..]);
    if report.is_clean() {
        let propose = |model: &M::Model| {
            model.propose(targets, 1, &mut RandomStreams::new(seed).stream("conformance", 3)).ok()
        };
        report.require(
            super::caught(|| propose(&first)) == super::caught(|| propose(&second)),
            "a second fit",
            "the same proposals after the same seed",
            "others",
            "take all randomness from the context's streams, and add in a fixed order",
        );
        model::checks(&mut report, &first, targets, seed);
    }
    report.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ndarray::{Array3, ArrayView2, array};
    use rand::{Rng, RngExt};
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::{FitError, InvalidArgument, Proposals, ProposeError, check_request};

    #[derive(Serialize, Deserialize)]
    struct Offset(String);

    struct Fitted {
        dims: (usize, usize),
        offset: f64,
    }

    impl Method for Offset {
        type Model = Fitted;

        fn fit(&self, data: &Dataset, context: &mut FitContext<'_>) -> Result<Fitted, FitError> {
            static FITS: AtomicUsize = AtomicUsize::new(0);
            let dims = (data.x().ncols(), data.y().ncols());
            let offset = context.streams().stream("fit", 0).random();
            match &*self.0 {
                "refusing" => Err(InvalidArgument::new("rate", "a positive number", 0).into()),
                "moody" => Ok(Fitted { dims, offset: FITS.fetch_add(1, Ordering::SeqCst) as f64 }),
                "fixed" => Ok(Fitted { dims: (dims.0 + 1, 1), offset }),
                "broken" => Ok(Fitted { dims, offset: f64::NAN }),
                _ => Ok(Fitted { dims, offset }),
            }
        }
    }

    impl InverseModel for Fitted {
        fn name(&self) -> &'static str {
            "offset"
        }

        fn dim_x(&self) -> usize {
            self.dims.0
        }

        fn dim_y(&self) -> usize {
            self.dims.1
        }

        fn propose(
            &self,
            y: ArrayView2<'_, f64>,
            n: usize,
            _rng: &mut dyn Rng,
        ) -> Result<Proposals, ProposeError> {
            check_request(y, self.dims.1, n, usize::MAX)?;
            Ok(Proposals::new(Array3::from_elem((y.nrows(), n, self.dims.0), self.offset))?)
        }
    }

    fn findings(flaw: &str) -> String {
        let data = Dataset::new(array![[0.0], [1.0], [2.0]], array![[0.0], [1.0], [4.0]]).unwrap();
        let outcome = check_method(&Offset(flaw.into()), &data, 1);
        outcome.err().map(|report| report.to_string()).unwrap_or_default()
    }

    #[test]
    fn flaws_are_found_and_sound_methods_pass() {
        assert_eq!(findings("none"), "");
        for (flaw, words) in [
            ("refusing", "fit: expected an answer, came the error \"invalid `rate`"),
            ("moody", "a second fit: expected the same proposals after the same seed, came others"),
            ("fixed", "dim_x and dim_y of the model: expected (1, 1), as the data, came (2, 1)"),
            ("broken", "proposals: expected finite designs"),
        ] {
            let report = findings(flaw);
            assert!(report.contains(words), "{flaw}: {report}");
        }
    }
}
