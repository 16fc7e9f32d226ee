//! Draws inside the range of the training designs: which are drawn again, and which are moved.

use inverse_core::{Proposals, ProposeError, Stream};
use ndarray::Array2;
use rand::seq::index;

use crate::fitted::DesignRange;

/// Rows that are drawn together: it bounds the memory whatever the number of targets.
pub(crate) const GROUP_ROWS: usize = 1 << 14;

/// `n` draws for each target, as long as [`Redraws`] lasts inside `range`, and moved there where it does not.
///
/// * `streams`: one a target, whose draws depend on no other
/// * `draw`: one design, in the data's units, for each of the targets that are listed in ascending order, (rows, `dim_x`)
pub(crate) fn draw_inside(
    range: &DesignRange,
    n: usize,
    streams: &mut [Stream],
    mut draw: impl FnMut(&[usize], &mut [Stream]) -> Result<Array2<f64>, ProposeError>,
) -> Result<Proposals, ProposeError> {
    let targets = streams.len();
    let mut designs = Array2::zeros((targets * n, range.width()));
    let mut redraws = vec![Redraws::new(n); targets];
    // First every row, then those outside, round by round: a target's draws do not depend on the others.
    let mut open: Vec<usize> = (0..designs.nrows()).collect();
    while !open.is_empty() {
        for rows in open.chunks(GROUP_ROWS) {
            let of_target: Vec<usize> = rows.iter().map(|row| row / n).collect();
            let drawn = draw(&of_target, streams)?;
            for (row, design) in rows.iter().zip(drawn.rows()) {
                designs.row_mut(*row).assign(&design);
            }
        }
        open.retain(|row| range.is_outside(designs.row(*row)));
        let of_targets = open.chunk_by(|a, b| a / n == b / n);
        let chosen = of_targets.flat_map(|rows| {
            let target = rows[0] / n;
            redraws[target].choose(rows.to_vec(), &mut streams[target])
        });
        open = chosen.collect();
    }
    let moved = range.keep_inside(&mut designs);
    let shape_error = |error| ProposeError::Backend(Box::new(error));
    let moved = Array2::from_shape_vec((targets, n), moved).map_err(shape_error)?;
    let designs = designs.into_shape_with_order((targets, n, range.width())).map_err(shape_error)?;
    Ok(Proposals::new(designs)?.with_moved_inside(moved)?)
}

/// How often the draws for one target may still be drawn again: a quarter of them in all, which bounds the cost of a
/// model that has not learnt the range of its data.
#[derive(Debug, Clone)]
struct Redraws {
    left: usize,
}

impl Redraws {
    /// For `n` draws of one target.
    fn new(n: usize) -> Self {
        Self { left: n.div_ceil(4) }
    }

    /// The rows to draw again, of those outside, in their order. Where they are too many it is chance that chooses, so that
    /// no proposal is better for being an earlier one.
    fn choose(&mut self, outside: Vec<usize>, stream: &mut Stream) -> Vec<usize> {
        let chosen = if outside.len() > self.left {
            let mut places = index::sample(stream, outside.len(), self.left).into_vec();
            places.sort_unstable();
            places.into_iter().map(|place| outside[place]).collect()
        } else {
            outside
        };
        self.left -= chosen.len();
        chosen
    }
}

#[cfg(test)]
mod tests {
    use inverse_core::RandomStreams;

    use super::*;

    #[test]
    fn chance_chooses_where_there_are_too_many() {
        let mut stream = RandomStreams::new(1).stream("redraws", 0);
        let mut redraws = Redraws::new(10);
        assert_eq!(redraws.choose(vec![1, 5], &mut stream), [1, 5]);
        assert_eq!(redraws.choose(vec![5], &mut stream), [5], "three of ten, rounded up");
        assert!(redraws.choose(vec![5], &mut stream).is_empty());
        let mut counts = [0; 20];
        for _ in 0..4000 {
            let chosen = Redraws::new(20).choose((0..20).collect(), &mut stream);
            assert!(chosen.len() == 5 && chosen.is_sorted());
            for row in chosen {
                counts[row] += 1;
            }
        }
        // Each row a quarter of the time: five standard deviations of 4000 trials.
        assert!(counts.iter().all(|count: &i32| (count - 1000).abs() < 137), "{counts:?}");
    }
}
