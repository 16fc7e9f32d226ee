//! A flow in host memory, without candle's graph: one training step, and its use.

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use super::coupling::CouplingBlock;
use super::flow::Flow;
use super::host_step::{HostStep, values};
use super::kernels::{CouplingPass, GivenRows};
use super::{FrozenMlp, Mlp, Updates};

/// Rows that pass a frozen flow together, on one thread: the kernels' own block.
const BLOCK: usize = 128;

/// What the forward pass of one half leaves for the backward pass.
struct Half<'a> {
    subnet: HostStep<'a>,
    pass: CouplingPass,
    /// What the subnet saw, (rows, other half + condition).
    seen: Vec<f32>,
    /// The half before the change, (rows, columns).
    old: Vec<f64>,
    parameters: Vec<f32>,
}

impl<'a> Half<'a> {
    fn forward(
        block: &CouplingBlock<Mlp>,
        subnet: &'a Mlp,
        changed: &mut [f64],
        other: &[f64],
        condition: &Condition<'_>,
        log: &mut [f64],
    ) -> Result<Self> {
        let rows = log.len();
        let pass = CouplingPass { coupling: block.coupling, columns: changed.len() / rows };
        let seen = condition.beside(other);
        let mut subnet = HostStep::new(subnet)?;
        let parameters = subnet.forward(&seen)?;
        let old = changed.to_vec();
        pass.forward(changed, &parameters, log);
        Ok(Self { subnet, pass, seen, old, parameters })
    }

    /// Pulls the gradient of the changed half back in place and adds the subnet's share to that of the other.
    fn backward(
        mut self,
        changed: &mut [f64],
        other: &mut [f64],
        log_gradient: f64,
        wants_other: bool,
    ) -> Result<Tensor> {
        let given = self.pass.backward(&self.old, &self.parameters, changed, log_gradient);
        let (gradient, seen) = self.subnet.backward(&given, wants_other)?;
        let rows = self.old.len() / self.pass.columns;
        let (width, other_width) = (self.seen.len() / rows, other.len() / rows);
        if let Some(seen) = seen.filter(|_| other_width > 0) {
            for (other, seen) in other.chunks_exact_mut(other_width).zip(seen.chunks_exact(width)) {
                other.iter_mut().zip(seen).for_each(|(other, seen)| *other += f64::from(*seen));
            }
        }
        Ok(gradient)
    }
}

/// What every subnet sees beside its half.
#[derive(Clone, Copy)]
pub(crate) struct Condition<'a> {
    /// (distinct rows, width), row-major.
    values: &'a [f32],
    /// 0 where there is nothing.
    width: usize,
    /// Which of them each row of the flow has.
    of_row: &'a [usize],
}

/// A condition's numbers in host memory.
pub(crate) struct ConditionRows {
    values: Vec<f32>,
    width: usize,
    of_row: Vec<usize>,
}

impl ConditionRows {
    /// Of as many rows as the flow's variables have.
    pub(crate) fn new(rows: usize, condition: Option<&Tensor>) -> Result<Self> {
        Self::shared(condition, (0..rows).collect())
    }

    /// Of which row i of the flow's variables has row `of_row[i]`.
    pub(crate) fn shared(condition: Option<&Tensor>, of_row: Vec<usize>) -> Result<Self> {
        let Some(condition) = condition else { return Ok(Self { values: Vec::new(), width: 0, of_row }) };
        let (rows, width) = condition.dims2()?;
        if of_row.iter().any(|row| *row >= rows) {
            bail!("a condition for each of {} rows, found {rows}", of_row.len())
        }
        Ok(Self { values: values(condition)?, width, of_row })
    }

    pub(crate) fn as_condition(&self) -> Condition<'_> {
        Condition { values: &self.values, width: self.width, of_row: &self.of_row }
    }
}

impl Condition<'_> {
    fn rows(&self, start: usize, count: usize) -> Self {
        Self { of_row: &self.of_row[start..start + count], ..*self }
    }

    /// Each row of a half with the condition behind it.
    fn beside(&self, half: &[f64]) -> Vec<f32> {
        let columns = half.len() / self.of_row.len();
        let mut seen = Vec::with_capacity(self.of_row.len() * (columns + self.width));
        for (row, own) in self.of_row.iter().enumerate() {
            seen.extend(half[row * columns..(row + 1) * columns].iter().map(|value| *value as f32));
            seen.extend_from_slice(&self.values[own * self.width..(own + 1) * self.width]);
        }
        seen
    }

    /// What a subnet says to each row of a half.
    fn given_by(&self, subnet: &FrozenMlp, half: &[f64]) -> Result<Vec<f32>> {
        let half: Vec<f32> = half.iter().map(|value| *value as f32).collect();
        if self.width == 0 {
            return subnet.host_forward(&half);
        }
        let given = GivenRows { values: self.values, width: self.width, of_row: self.of_row };
        subnet.host_forward_beside(&half, &given)
    }
}

/// Splits rows into their first `first` columns and the rest, each lying together.
fn split(x: &[f64], width: usize, first: usize) -> (Vec<f64>, Vec<f64>) {
    let rows = x.len() / width;
    let (mut head, mut tail) = (Vec::with_capacity(rows * first), Vec::with_capacity(rows * (width - first)));
    for row in x.chunks_exact(width) {
        head.extend_from_slice(&row[..first]);
        tail.extend_from_slice(&row[first..]);
    }
    (head, tail)
}

/// Joins what [`split`] has split; `place(column)` is the column of the result that a joined column goes to.
fn join(x: &mut [f64], width: usize, first: (&[f64], usize), second: &[f64], place: impl Fn(usize) -> usize) {
    let (first, first_width) = first;
    let second_width = width - first_width;
    for (row, x) in x.chunks_exact_mut(width).enumerate() {
        for column in 0..width {
            x[place(column)] = if column < first_width {
                first[row * first_width + column]
            } else {
                second[row * second_width + column - first_width]
            };
        }
    }
}

/// For each place before a permutation, its place after it.
fn places(permutation: &[u32]) -> Vec<usize> {
    let mut places = vec![0; permutation.len()];
    for (to, from) in permutation.iter().enumerate() {
        places[*from as usize] = to;
    }
    places
}

impl Flow<Mlp> {
    /// The loss of z; hands over the gradient of each network as soon as it is there.
    ///
    /// * `x`: (rows, width), changed into z; `loss`: from z and the rows' log-determinants, gives the loss and
    ///   turns z into its gradient; the loss falls by the mean of the log-determinants
    /// * `updates`: takes them from the last network of [`Flow::networks`] to the first
    pub(crate) fn host_step(
        &self,
        mut x: Vec<f64>,
        rows: usize,
        condition: Condition<'_>,
        loss: impl FnOnce(&mut [f64], &[f64]) -> f64,
        updates: &mut Updates<'_>,
    ) -> Result<f64> {
        let width = x.len() / rows;
        let mut log = vec![0.0; rows];
        let mut halves = Vec::new();
        for block in &self.blocks {
            let (mut first, mut second) = split(&x, width, block.first_width);
            let changed = block
                .first
                .as_ref()
                .map(|subnet| Half::forward(block, subnet, &mut first, &second, &condition, &mut log));
            let changed = changed.transpose()?;
            let other = Half::forward(block, &block.second, &mut second, &first, &condition, &mut log)?;
            halves.push((changed, other));
            let places = places(&block.permutation);
            join(&mut x, width, (&first, block.first_width), &second, |column| places[column]);
        }
        let loss = loss(&mut x, &log);
        let log_gradient = -1.0 / rows as f64;
        let mut waiting: Vec<(usize, &Mlp)> = self.subnets().enumerate().collect();
        // The one that came last in the step before.
        let mut last = waiting.first().map(|(_, subnet)| *subnet);
        let mut hand_over = |half: Half<'_>, changed: &mut [f64], other: &mut [f64], wants_other| {
            let Some((place, subnet)) = waiting.pop() else { bail!("a half for each subnet") };
            // A flow's subnets have one shape as a rule, and need memory for one gradient at a time.
            if let Some(last) = last.replace(subnet) {
                subnet.take_gradient_memory_of(last);
            }
            updates.apply(place, half.backward(changed, other, log_gradient, wants_other)?)
        };
        for (index, (block, (first_half, second_half))) in self.blocks.iter().zip(halves).enumerate().rev() {
            let mut unmixed = vec![0.0; x.len()];
            for (unmixed, x) in unmixed.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                for (value, from) in x.iter().zip(&block.permutation) {
                    unmixed[*from as usize] = *value;
                }
            }
            let (mut first, mut second) = split(&unmixed, width, block.first_width);
            let has_first = first_half.is_some();
            // What the first block's first subnet sees is data.
            let wants = has_first || index > 0;
            hand_over(second_half, &mut second, &mut first, wants)?;
            if let Some(half) = first_half {
                hand_over(half, &mut first, &mut second, index > 0)?;
            }
            join(&mut x, width, (&first, block.first_width), &second, |column| column);
        }
        Ok(loss)
    }
}

impl Flow<FrozenMlp> {
    /// z, (rows, width), in place of x, and log |det ∂z/∂x| of each row.
    pub(super) fn host_forward(
        &self,
        x: &mut [f64],
        rows: usize,
        condition: Condition<'_>,
    ) -> Result<Vec<f64>> {
        let mut log = vec![0.0; rows];
        let width = x.len() / rows;
        let blocks = x.par_chunks_mut(BLOCK * width).zip(log.par_chunks_mut(BLOCK)).enumerate();
        blocks.try_for_each(|(index, (x, log))| {
            let condition = condition.rows(index * BLOCK, log.len());
            for block in &self.blocks {
                let (mut first, mut second) = split(x, width, block.first_width);
                let pass = |columns| CouplingPass { coupling: block.coupling, columns };
                if let Some(subnet) = &block.first {
                    let given = condition.given_by(subnet, &second)?;
                    pass(block.first_width).forward(&mut first, &given, log);
                }
                let given = condition.given_by(&block.second, &first)?;
                pass(width - block.first_width).forward(&mut second, &given, log);
                let places = places(&block.permutation);
                join(x, width, (&first, block.first_width), &second, |column| places[column]);
            }
            Ok::<(), candle_core::Error>(())
        })?;
        Ok(log)
    }

    /// x, (rows, width), in place of z.
    pub(super) fn host_inverse(&self, z: &mut [f64], rows: usize, condition: Condition<'_>) -> Result<()> {
        let width = z.len() / rows;
        z.par_chunks_mut(BLOCK * width).enumerate().try_for_each(|(index, z)| {
            let rows = z.len() / width;
            let condition = condition.rows(index * BLOCK, rows);
            for block in self.blocks.iter().rev() {
                let mut unmixed = vec![0.0; z.len()];
                for (unmixed, z) in unmixed.chunks_exact_mut(width).zip(z.chunks_exact(width)) {
                    for (value, from) in z.iter().zip(&block.permutation) {
                        unmixed[*from as usize] = *value;
                    }
                }
                let (mut first, mut second) = split(&unmixed, width, block.first_width);
                let pass = |columns| CouplingPass { coupling: block.coupling, columns };
                let given = condition.given_by(&block.second, &first)?;
                pass(width - block.first_width).inverse(&mut second, &given);
                if let Some(subnet) = &block.first {
                    let given = condition.given_by(subnet, &second)?;
                    pass(block.first_width).inverse(&mut first, &given);
                }
                join(z, width, (&first, block.first_width), &second, |column| column);
            }
            Ok(())
        })
    }
}
