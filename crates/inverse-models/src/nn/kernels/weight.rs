//! The weight of a layer in training as a right factor: each panel is made just before its use.
//!
//! A step moves every weight, so nothing packed outlives it. A packed copy of all weights would go out to memory and come
//! back, several times what the products read; one panel stays in a cache of the core that makes it.

use std::cell::Cell;

use super::panels::{PANEL, PanelRow, copy_panel, turn_panel};

thread_local! {
    /// A panel that an earlier product of this thread has left.
    static PANEL_ROWS: Cell<Vec<PanelRow>> = const { Cell::new(Vec::new()) };
}

/// (outputs, inputs), row-major.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weight<'a> {
    pub(super) values: &'a [f32],
    pub(super) inputs: usize,
}

/// A panel of a right factor, and how many of its columns mean something.
pub(super) type Panel<'a> = (&'a [PanelRow], usize);

impl Weight<'_> {
    /// Lends a panel of the transpose, (inputs, outputs): the right factor of the forward pass.
    pub(super) fn turned<R>(self, panel: usize, multiply: impl FnOnce(Panel<'_>) -> R) -> R {
        let start = (panel * PANEL * self.inputs).min(self.values.len());
        let lines = &self.values[start..self.values.len().min(start + PANEL * self.inputs)];
        lend(self.inputs, |rows| {
            turn_panel(lines, self.inputs, rows);
            multiply((rows, lines.len().checked_div(self.inputs).unwrap_or(0)))
        })
    }

    /// Lends a panel of the weight as it is: the right factor of the backward pass.
    pub(super) fn straight<R>(self, panel: usize, multiply: impl FnOnce(Panel<'_>) -> R) -> R {
        let outputs = self.values.len().checked_div(self.inputs).unwrap_or(0);
        lend(outputs, |rows| {
            copy_panel(self.values, self.inputs, panel, rows);
            multiply((rows, PANEL.min(self.inputs.saturating_sub(panel * PANEL))))
        })
    }
}

fn lend<R>(count: usize, work: impl FnOnce(&mut [PanelRow]) -> R) -> R {
    // Taken and put back: a thread that waits for parts of one panel's product may begin another panel meanwhile.
    let mut rows = PANEL_ROWS.take();
    if rows.len() < count {
        rows.resize(count, PanelRow::ZERO);
    }
    let result = work(&mut rows[..count]);
    PANEL_ROWS.set(rows);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_hold_the_weight_and_its_transpose() {
        for (outputs, inputs) in [(1, 1), (1, 100), (9, 48), (17, 49), (130, 7), (96, 165)] {
            let values: Vec<f32> = (0..outputs * inputs).map(|index| index as f32 + 1.0).collect();
            let weight = Weight { values: &values, inputs };
            for panel in 0..outputs.div_ceil(PANEL) {
                // What a larger panel has left must not shine through.
                lend(300, |rows| rows.fill(PanelRow([-1.0; PANEL])));
                weight.turned(panel, |(rows, width)| {
                    assert_eq!((rows.len(), width), (inputs, PANEL.min(outputs - panel * PANEL)));
                    for (input, row) in rows.iter().enumerate() {
                        for (place, value) in row.0.iter().enumerate() {
                            let output = panel * PANEL + place;
                            let expected = if place < width { values[output * inputs + input] } else { 0.0 };
                            assert_eq!(*value, expected);
                        }
                    }
                });
            }
            for panel in 0..inputs.div_ceil(PANEL) {
                lend(300, |rows| rows.fill(PanelRow([-1.0; PANEL])));
                weight.straight(panel, |(rows, width)| {
                    assert_eq!((rows.len(), width), (outputs, PANEL.min(inputs - panel * PANEL)));
                    for (output, row) in rows.iter().enumerate() {
                        for (place, value) in row.0.iter().enumerate() {
                            let input = panel * PANEL + place;
                            let expected = if place < width { values[output * inputs + input] } else { 0.0 };
                            assert_eq!(*value, expected);
                        }
                    }
                });
            }
        }
    }

    #[test]
    fn a_panel_within_a_panel_has_rows_of_its_own() {
        let (outer, inner) = ([1.0, 2.0], [3.0, 4.0]);
        Weight { values: &outer, inputs: 2 }.turned(0, |(rows, _)| {
            Weight { values: &inner, inputs: 2 }.turned(0, |(rows, _)| assert_eq!(rows[1].0[0], 4.0));
            assert_eq!((rows[0].0[0], rows[1].0[0]), (1.0, 2.0));
        });
    }
}
