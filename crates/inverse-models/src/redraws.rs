//! Which draws of a sampler are drawn again.

use inverse_core::Stream;
use rand::seq::index;

/// How often the draws for one target may still be drawn again: a quarter of them in all, which bounds the cost of a
/// model that has not learnt the range of its data.
#[derive(Debug, Clone)]
pub(crate) struct Redraws {
    left: usize,
}

impl Redraws {
    /// For `n` draws of one target.
    pub(crate) fn new(n: usize) -> Self {
        Self { left: n.div_ceil(4) }
    }

    /// The rows to draw again, of those outside, in their order. Where they are too many it is chance that chooses, so that
    /// no proposal is better for being an earlier one.
    pub(crate) fn choose(&mut self, outside: Vec<usize>, stream: &mut Stream) -> Vec<usize> {
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
