//! Designs on their way down: Adam's moments, the best point of each, and which of them may rest.

use candle_core::{Device, Result, Tensor};

/// Adam's constants; the paper cites them as published.
pub(crate) const BETA1: f64 = 0.9;
pub(crate) const BETA2: f64 = 0.999;
pub(crate) const EPSILON: f64 = 1e-8;

/// The best point that each start saw on its way.
pub(crate) struct DescentEnd {
    /// (starts · `dim_x`).
    pub(crate) designs: Vec<f32>,
    /// Squared error plus boundary loss, (starts).
    pub(crate) losses: Vec<f32>,
    /// Squared error, with the members' disagreement, alone, (starts).
    pub(crate) errors: Vec<f32>,
}

/// Loss and gradient of all rows at one point.
pub(crate) struct Evaluation {
    /// (rows).
    pub(crate) loss: Vec<f32>,
    pub(crate) error: Vec<f32>,
    /// (rows · `dim_x`).
    pub(crate) gradient: Vec<f32>,
}

impl Evaluation {
    pub(crate) fn new(loss: &Tensor, error: &Tensor, gradient: &Tensor) -> Result<Self> {
        Ok(Self {
            loss: loss.to_vec1()?,
            error: error.to_vec1()?,
            gradient: gradient.flatten_all()?.to_vec1()?,
        })
    }
}

/// How good an answer has to be before a start rests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RestRule {
    /// The best end points of each target that will be looked at.
    pub(crate) wanted: usize,
    /// What the loss of one of them may be above that of a descent to the end.
    pub(crate) tolerance: f64,
    /// All starts of a target rest together or none.
    pub(crate) together: bool,
}

/// The designs that still descend, in the order of their starts.
pub(crate) struct DescentRows {
    columns: usize,
    starts_per_target: usize,
    /// The start and the target of each row.
    starts: Vec<usize>,
    targets: Vec<usize>,
    /// (rows · `dim_x`).
    x: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    end: DescentEnd,
}

impl DescentRows {
    /// * `starts`: (starts, `dim_x`); those of a target lie together, equally many for each
    pub(crate) fn new(starts: &Tensor, targets: usize) -> Result<Self> {
        let (rows, columns) = starts.dims2()?;
        let x: Vec<f32> = starts.flatten_all()?.to_vec1()?;
        let starts_per_target = (rows / targets.max(1)).max(1);
        let infinite = vec![f32::INFINITY; rows];
        Ok(Self {
            columns,
            starts_per_target,
            starts: (0..rows).collect(),
            targets: (0..rows).map(|row| row / starts_per_target).collect(),
            first: vec![0.0; x.len()],
            second: vec![0.0; x.len()],
            end: DescentEnd { designs: x.clone(), losses: infinite.clone(), errors: infinite },
            x,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The target of each row.
    pub(crate) fn targets(&self) -> &[usize] {
        &self.targets
    }

    /// Where the rows are, (rows, `dim_x`).
    pub(crate) fn designs(&self, device: &Device) -> Result<Tensor> {
        Tensor::from_slice(&self.x, (self.starts.len(), self.columns), device)
    }

    /// The target values of each row, (rows, `dim_y`), of `y`, (targets, `dim_y`).
    pub(crate) fn gather(&self, y: &Tensor) -> Result<Tensor> {
        let targets: Vec<u32> = self.targets.iter().map(|target| *target as u32).collect();
        y.index_select(&Tensor::new(targets, y.device())?, 0)
    }

    /// Step number `count`, from 1, of Adam.
    ///
    /// * `rate`: of a target
    pub(crate) fn step(&mut self, count: usize, gradient: &[f32], rate: impl Fn(usize) -> f32) {
        let power = count.min(1 << 30) as i32;
        let first_correction = (1.0 / (1.0 - BETA1.powi(power))) as f32;
        let second_correction = (1.0 / (1.0 - BETA2.powi(power))) as f32;
        let (beta1, beta2, epsilon) = (BETA1 as f32, BETA2 as f32, EPSILON as f32);
        let (rest1, rest2) = ((1.0 - BETA1) as f32, (1.0 - BETA2) as f32);
        let columns = self.columns;
        let moments = self.first.chunks_exact_mut(columns).zip(self.second.chunks_exact_mut(columns));
        let rows = self.x.chunks_exact_mut(columns).zip(gradient.chunks_exact(columns)).zip(moments);
        for (target, ((x, gradient), (first, second))) in self.targets.iter().zip(rows) {
            let rate = rate(*target);
            for (((x, gradient), first), second) in x.iter_mut().zip(gradient).zip(first).zip(second) {
                *first = *first * beta1 + gradient * rest1;
                *second = *second * beta2 + gradient * gradient * rest2;
                let direction = *first * first_correction / ((*second * second_correction).sqrt() + epsilon);
                *x -= direction * rate;
            }
        }
    }

    /// Takes note of the points that are the best so far of their starts.
    pub(crate) fn keep_better(&mut self, evaluation: &Evaluation) {
        let columns = self.columns;
        let Evaluation { loss, error, .. } = evaluation;
        for (row, start) in self.starts.iter().copied().enumerate() {
            if loss[row] < self.end.losses[start] {
                (self.end.losses[start], self.end.errors[start]) = (loss[row], error[row]);
                self.end.designs[start * columns..][..columns]
                    .copy_from_slice(&self.x[row * columns..][..columns]);
            }
        }
    }

    /// Takes out the rows that may rest, here and from `evaluation`; whether there were any.
    ///
    /// * `reach`: how far a target's rows may still go in each coordinate
    pub(crate) fn rest(
        &mut self,
        evaluation: &mut Evaluation,
        rule: RestRule,
        reach: impl Fn(usize) -> f64,
    ) -> bool {
        let mut stays = Vec::with_capacity(self.starts.len());
        for rows in self.targets.chunk_by(|a, b| a == b) {
            let target = rows[0];
            let worst = self.worst_wanted(target, rule.wanted);
            let first = stays.len();
            let reach = reach(target);
            stays.extend((first..first + rows.len()).map(|row| {
                let gradient = &evaluation.gradient[row * self.columns..][..self.columns];
                let slope: f64 = gradient.iter().map(|slope| f64::from(slope.abs())).sum();
                let lowest = (f64::from(evaluation.loss[row]) - slope * reach).max(0.0);
                let best = f64::from(self.end.losses[self.starts[row]].min(worst));
                let gain = best - lowest;
                // What is no number does not rest.
                gain > rule.tolerance || gain.is_nan()
            }));
            if rule.together && stays[first..].contains(&true) {
                stays[first..].fill(true);
            }
        }
        if !stays.contains(&false) {
            return false;
        }
        let columns = self.columns;
        for values in [&mut self.x, &mut self.first, &mut self.second, &mut evaluation.gradient] {
            keep(values, columns, &stays);
        }
        keep(&mut evaluation.loss, 1, &stays);
        keep(&mut evaluation.error, 1, &stays);
        keep(&mut self.starts, 1, &stays);
        keep(&mut self.targets, 1, &stays);
        true
    }

    /// The best loss so far of a target's last start that would be looked at; infinite where all are.
    fn worst_wanted(&self, target: usize, wanted: usize) -> f32 {
        let count = self.starts_per_target;
        if wanted >= count || wanted == 0 {
            return f32::INFINITY;
        }
        let mut losses = self.end.losses[target * count..][..count].to_vec();
        *losses.select_nth_unstable_by(wanted - 1, f32::total_cmp).1
    }

    pub(crate) fn into_end(self) -> DescentEnd {
        self.end
    }
}

/// Keeps the rows of `columns` values that stay.
fn keep<T: Copy>(values: &mut Vec<T>, columns: usize, stays: &[bool]) {
    let mut kept = 0;
    for row in (0..stays.len()).filter(|row| stays[*row]) {
        values.copy_within(row * columns..(row + 1) * columns, kept * columns);
        kept += 1;
    }
    values.truncate(kept * columns);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize, targets: usize) -> DescentRows {
        let starts: Vec<f32> = (0..count).map(|index| index as f32).collect();
        DescentRows::new(&Tensor::from_vec(starts, (count, 1), &Device::Cpu).unwrap(), targets).unwrap()
    }

    fn evaluation(loss: &[f32], gradient: &[f32]) -> Evaluation {
        Evaluation { loss: loss.to_vec(), error: loss.to_vec(), gradient: gradient.to_vec() }
    }

    #[test]
    fn who_cannot_gain_more_than_the_tolerance_rests() {
        let rule = |wanted, together| RestRule { wanted, tolerance: 0.1, together };
        // One reach of 1: the lowest losses that could be are 0, 0.55, 0.55, 3, 0 (as no loss is negative).
        let slopes = [0.05, 0.45, 0.05, 1.0, 9.0];
        for (wanted, together, staying) in [
            // The first is as good as it gets, and no other passes it by more than 0.1 but the last, by 0.05 at most.
            (1, false, vec![]),
            // The second best so far is 0.6: the second and third start cannot pass it by more than 0.05.
            (2, false, vec![4]),
            (5, false, vec![1, 3, 4]),
            (5, true, vec![0, 1, 2, 3, 4]),
        ] {
            let mut rows = rows(5, 1);
            let mut evaluation = evaluation(&[0.05, 1.0, 0.6, 4.0, 5.0], &slopes);
            rows.keep_better(&evaluation);
            rows.rest(&mut evaluation, rule(wanted, together), |_| 1.0);
            assert_eq!(rows.starts, staying, "{wanted} {together}");
            assert_eq!(evaluation.loss.len(), staying.len());
            let designs = rows.designs(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
            assert!(designs.iter().zip(&staying).all(|(x, start)| x[0] == *start as f32));
            assert_eq!(rows.into_end().losses, [0.05, 1.0, 0.6, 4.0, 5.0]);
        }
    }

    #[test]
    fn targets_rest_by_themselves_and_keep_their_own_values() {
        let mut rows = rows(4, 2);
        let mut evaluation = evaluation(&[0.0, 0.0, 1.0, 2.0], &[0.0, 0.0, 1.0, f32::NAN]);
        rows.keep_better(&evaluation);
        let rule = RestRule { wanted: 2, tolerance: 0.1, together: false };
        assert!(rows.rest(&mut evaluation, rule, |_| 1.0));
        assert_eq!(rows.targets(), [1, 1]);
        let y = Tensor::new(&[[7.0_f32], [8.0]], &Device::Cpu).unwrap();
        assert_eq!(rows.gather(&y).unwrap().to_vec2::<f32>().unwrap(), [[8.0], [8.0]]);
        // A step of Adam's first is one rate long.
        rows.step(1, &[1.0, -1.0], |target| target as f32 * 0.5);
        let designs = rows.designs(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
        assert!((designs[0][0] - 1.5).abs() < 1e-6 && (designs[1][0] - 3.5).abs() < 1e-6, "{designs:?}");
        assert!(!rows.rest(&mut evaluation, rule, |_| 1.0));
    }
}
