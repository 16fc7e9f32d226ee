//! Ask/tell search: proposals that may learn from the simulator's answers.

use ndarray::{Array2, ArrayView2};
use rand::Rng;

use crate::{InvalidArgument, Proposals, ProposeError};

/// A search for many targets at once: ask for one design a target, simulate, tell the answers, repeat.
pub trait Search {
    /// The next design for each target, (targets, `dim_x`).
    ///
    /// # Errors
    /// [`ProposeError::InvalidArgument`] where the search's budget is spent; from searches that learn, also where the
    /// designs before have not been answered: NaN answers those that could not be simulated.
    fn ask(&mut self, rng: &mut dyn Rng) -> Result<Array2<f64>, ProposeError>;

    /// The simulator's answers to the designs last asked for, (targets, `dim_y`); NaN where there was none.
    ///
    /// # Errors
    /// [`ProposeError::InvalidArgument`] where the shape is another.
    fn tell(&mut self, y: ArrayView2<'_, f64>) -> Result<(), ProposeError>;
}

/// Walks down a list of proposals, whatever the simulator answers.
#[derive(Debug, Clone)]
pub struct ProposalWalk {
    proposals: Proposals,
    dim_y: usize,
    next: usize,
}

impl ProposalWalk {
    /// A walk down `proposals`; answers have `dim_y` entries.
    pub fn new(proposals: Proposals, dim_y: usize) -> Self {
        Self { proposals, dim_y, next: 0 }
    }
}

impl Search for ProposalWalk {
    fn ask(&mut self, _rng: &mut dyn Rng) -> Result<Array2<f64>, ProposeError> {
        let Some(designs) = self.proposals.rank(self.next) else {
            let expected = format!("at most {} calls", self.proposals.count());
            return Err(InvalidArgument::new("budget", expected, self.next + 1).into());
        };
        self.next += 1;
        Ok(designs.to_owned())
    }

    fn tell(&mut self, y: ArrayView2<'_, f64>) -> Result<(), ProposeError> {
        let expected = (self.proposals.targets(), self.dim_y);
        if y.dim() != expected {
            let found = format!("{:?}", y.dim());
            return Err(InvalidArgument::new("y", format!("shape {expected:?}"), found).into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::RandomStreams;

    #[test]
    fn walks_down_and_stops() {
        let proposals = Proposals::new(array![[[1.0], [2.0]], [[3.0], [4.0]]]).unwrap();
        let mut walk = ProposalWalk::new(proposals, 1);
        let mut rng = RandomStreams::new(0).stream("search", 0);
        assert_eq!(walk.ask(&mut rng).unwrap(), array![[1.0], [3.0]]);
        walk.tell(array![[0.0], [f64::NAN]].view()).unwrap();
        assert!(walk.tell(array![[0.0]].view()).is_err());
        assert_eq!(walk.ask(&mut rng).unwrap(), array![[2.0], [4.0]]);
        assert!(walk.ask(&mut rng).is_err());
    }
}
