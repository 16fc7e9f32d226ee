//! How a figure's panels are arranged: few in a row, so that a page shows them large enough to read.

/// Most panels beside each other.
const MOST_COLUMNS: usize = 3;

/// Rows for which a figure grows; more share the height.
const MOST_ROWS: usize = 16;

/// Rows and columns for a number of panels.
pub(crate) fn arrange(panels: usize) -> (usize, usize) {
    let columns = match panels {
        0 => 1,
        // Two rows of two, no row of three over a lonely one.
        4 => 2,
        _ => panels.min(MOST_COLUMNS),
    };
    (panels.div_ceil(columns).max(1), columns)
}

/// Width and height of all panels together, where each is of that width and height.
pub(crate) fn size_of_all(panels: usize, (width, height): (u32, u32)) -> (u32, u32) {
    let (rows, columns) = arrange(panels);
    (width * columns as u32, height * rows.min(MOST_ROWS) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_panel_has_a_place() {
        let arranged = [0, 1, 2, 3, 4, 5, 6, 7].map(arrange);
        assert_eq!(arranged, [(1, 1), (1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (2, 3), (3, 3)]);
        assert_eq!(size_of_all(6, (10, 7)), (30, 14));
        assert_eq!(size_of_all(1_000_000, (10, 7)), (30, 112));
    }
}
