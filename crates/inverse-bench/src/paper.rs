//! The paper's tables as data, to print beside ours.

use inverse_core::InvalidArgument;

/// Number, what its figures are, the T of those that are r_T, and the figures as CSV.
const TABLES: &[(usize, &str, Option<usize>, &str)] = &[
    (
        2,
        "inference time for 1,000 solutions, s",
        None,
        include_str!("../data/paper/table2_inference_seconds_1000.csv"),
    ),
    (3, "r_T at T = 200", Some(200), include_str!("../data/paper/table3_r200.csv")),
    (4, "posterior matching, MMD", None, include_str!("../data/paper/table4_mmd.csv")),
    (5, "NA ablation, r_T at T = 200", Some(200), include_str!("../data/paper/table5_na_ablation_r200.csv")),
    (7, "r_T at T = 1", Some(1), include_str!("../data/paper/table7_r1.csv")),
    (8, "trainable parameters, millions", None, include_str!("../data/paper/table8_parameters_millions.csv")),
    (9, "saved model, MB", None, include_str!("../data/paper/table9_saved_megabytes.csv")),
    (10, "training time, s", None, include_str!("../data/paper/table10_training_seconds.csv")),
];

/// The paper's name of each task that the library knows by another.
const TASK_NAMES: &[(&str, &str)] = &[
    ("ballistics", "D1 Ballistics"),
    ("sine-wave", "D2 Sine wave"),
    ("robotic-arm", "D3 Robotic arm"),
    ("metamaterial", "D4 Meta-material"),
];

/// One table of the paper: named rows, named columns, figures.
#[derive(Debug, Clone, PartialEq)]
pub struct PaperTable {
    /// The paper's number of the table.
    pub number: usize,
    /// What the figures are, with their unit.
    pub title: &'static str,
    /// T, where the figures are re-simulation errors r_T.
    pub proposals: Option<usize>,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// The paper's table of that number.
///
/// # Errors
/// [`InvalidArgument`] where the paper has no such table of figures.
pub fn paper_table(number: usize) -> Result<PaperTable, InvalidArgument> {
    let known = || TABLES.iter().map(|(number, ..)| number.to_string()).collect::<Vec<_>>().join(", ");
    let unknown = || InvalidArgument::new("number", format!("one of {}", known()), number);
    let (number, title, proposals, text) =
        TABLES.iter().find(|(table, ..)| *table == number).ok_or_else(unknown)?;
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let columns = lines.next().unwrap_or_default();
    Ok(PaperTable { number: *number, title, proposals: *proposals, columns, rows: lines.collect() })
}

impl PaperTable {
    /// As [`PaperTable::value`], of r_T at that T; `None` where the table's figures are at another T, or no r_T.
    pub fn error(&self, row: &str, column: &str, proposals: usize) -> Option<f64> {
        self.value(row, column).filter(|_| self.proposals == Some(proposals))
    }

    /// The figure in the row of that name (a task's name, or the paper's) and the column of that name.
    pub fn value(&self, row: &str, column: &str) -> Option<f64> {
        let (row, column) = (paper_name(row), paper_name(column));
        let column = self.columns.iter().position(|name| name == column)?;
        let row = self.rows.iter().find(|cells| cells.first().is_some_and(|name| name == row))?;
        row.get(column)?.parse().ok()
    }
}

/// The paper's name of a task; any other name as it is.
pub(crate) fn paper_name(name: &str) -> &str {
    TASK_NAMES.iter().find(|(ours, _)| *ours == name).map_or(name, |(_, theirs)| theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found() {
        let table = paper_table(3).unwrap();
        assert_eq!(table.value("ballistics", "NA"), Some(2.5e-7));
        assert_eq!(table.value("D4 Meta-material", "MDN"), Some(5.15e-4));
        assert_eq!(table.value("my-task", "NA"), None);
        assert_eq!(table.value("ballistics", "my-method"), None);
        assert_eq!(paper_table(5).unwrap().value("E1", "ballistics"), Some(4.78));
        assert_eq!(paper_table(7).unwrap().value("robotic-arm", "NA"), Some(2e-4));
        assert!(paper_table(6).unwrap_err().to_string().contains("2, 3, 4, 5, 7, 8, 9, 10"));
    }

    #[test]
    fn errors_are_those_at_the_tables_own_t() {
        let error = |number, proposals| paper_table(number).unwrap().error("ballistics", "NA", proposals);
        assert_eq!(error(3, 200), Some(2.5e-7));
        assert_eq!(error(3, 50), None);
        assert_eq!(error(7, 200), None);
        assert!(error(7, 1).is_some());
        assert!(paper_table(5).unwrap().error("E1", "ballistics", 200).is_some());
        assert!(paper_table(4).unwrap().value("ballistics", "NA").is_some());
        assert_eq!(error(4, 200), None, "an MMD is no r_T");
        for (number, title, proposals, _) in TABLES {
            assert_eq!(title.contains("r_T"), proposals.is_some(), "table {number}");
        }
    }

    #[test]
    fn every_figure_is_a_number() {
        for (number, ..) in TABLES {
            let table = paper_table(*number).unwrap();
            let first = if *number == 5 { 3 } else { 1 };
            assert!(!table.rows.is_empty());
            for row in &table.rows {
                assert_eq!(row.len(), table.columns.len());
                assert!(
                    row[first..].iter().all(|cell| cell.parse::<f64>().is_ok_and(|v| v > 0.0)),
                    "{row:?}"
                );
            }
        }
    }
}
