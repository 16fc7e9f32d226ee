//! Symmetries of the forward problem: designs that have the same measurements.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};

use crate::{InvalidArgument, check_matrix};

/// The other designs that have the same measurements as one design; none, where it has no symmetric copy.
///
/// Two parts that may change places make the simplest one:
///
/// ```
/// use inverse_core::Symmetry;
///
/// let exchange: &Symmetry<'_> = &|x| vec![vec![x[1], x[0]]];
/// assert_eq!(exchange(&[0.1, 0.2]), [[0.2, 0.1]]);
/// ```
pub type Symmetry<'a> = dyn Fn(&[f64]) -> Vec<Vec<f64>> + 'a;

/// Designs, each followed by its symmetric copies.
///
/// * `x`: designs, (n, `dim_x`)
///
/// Returns designs and copies, (m, `dim_x`), and the row of `x` that each one comes from, (m).
///
/// # Errors
/// [`InvalidArgument`] that names `x`, where it holds a value that is not finite, or `symmetry`, where a copy does or
/// has another width than `x`.
pub fn with_symmetric_copies(
    x: ArrayView2<'_, f64>,
    symmetry: &Symmetry<'_>,
) -> Result<(Array2<f64>, Vec<usize>), InvalidArgument> {
    check_matrix("x", x, x.ncols())?;
    let (mut values, mut sources) = (Vec::new(), Vec::new());
    for (row, design) in x.rows().into_iter().enumerate() {
        let design = design.to_vec();
        let copies = symmetry(&design);
        for copy in &copies {
            check_matrix("symmetry", ArrayView1::from(copy).insert_axis(Axis(0)), x.ncols())?;
        }
        for design in std::iter::once(&design).chain(&copies) {
            values.extend_from_slice(design);
            sources.push(row);
        }
    }
    let designs = Array2::from_shape_vec((sources.len(), x.ncols()), values)
        .map_err(|error| InvalidArgument::new("symmetry", "copies of equal width", error))?;
    Ok((designs, sources))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn copies_follow_their_designs() {
        let x = array![[1.0, 2.0], [3.0, 3.0]];
        let exchange = |x: &[f64]| if x[0] == x[1] { Vec::new() } else { vec![vec![x[1], x[0]]] };
        let (designs, sources) = with_symmetric_copies(x.view(), &exchange).unwrap();
        assert_eq!((designs, sources), (array![[1.0, 2.0], [2.0, 1.0], [3.0, 3.0]], vec![0, 0, 1]));
    }

    #[test]
    fn what_is_no_design_is_no_copy() {
        let x = array![[1.0, 2.0]];
        for (copy, found) in [(vec![1.0], "1 columns"), (vec![1.0, f64::NAN], "NaN in row 0, column 1")] {
            let error = with_symmetric_copies(x.view(), &|_| vec![copy.clone()]).unwrap_err().to_string();
            assert!(error.contains("`symmetry`") && error.contains(found), "{error}");
        }
        // What is no design is not asked for copies.
        let error =
            with_symmetric_copies(array![[1.0], [f64::NAN]].view(), &|_| panic!("called")).unwrap_err();
        assert_eq!(error.to_string(), "invalid `x`: expected finite values, found NaN in row 1, column 0");
    }
}
