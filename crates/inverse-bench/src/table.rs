//! Tables for the terminal and for Markdown.

/// A table of text; the first column is aligned left, the others right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table under a header.
    pub fn new(header: &[&str]) -> Self {
        Self { header: header.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row; missing cells stay empty, surplus ones are left out.
    pub fn push(&mut self, mut row: Vec<String>) {
        row.resize(self.header.len(), String::new());
        self.rows.push(row);
    }

    /// Names of the columns.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// The rows, each as long as the header.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    fn widths(&self) -> Vec<usize> {
        let column =
            |index: usize| std::iter::once(&self.header).chain(&self.rows).map(move |row| &row[index]);
        (0..self.header.len())
            .map(|index| column(index).map(|cell| cell.chars().count()).max().unwrap_or(0).max(3))
            .collect()
    }

    fn line(row: &[String], widths: &[usize]) -> Vec<String> {
        let cells = row.iter().zip(widths).enumerate();
        cells
            .map(
                |(index, (cell, width))| {
                    if index == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect()
    }

    /// Columns aligned with spaces.
    pub fn text(&self) -> String {
        let widths = self.widths();
        let lines = std::iter::once(&self.header).chain(&self.rows);
        lines.map(|row| Self::line(row, &widths).join("  ").trim_end().to_owned() + "\n").collect()
    }

    /// A Markdown table; `|` in a cell is escaped.
    pub fn markdown(&self) -> String {
        let escape = |row: &Vec<String>| row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        Self { header: escape(&self.header), rows: self.rows.iter().map(escape).collect() }.escaped_markdown()
    }

    fn escaped_markdown(&self) -> String {
        let widths = self.widths();
        let render = |row: &[String]| format!("| {} |\n", Self::line(row, &widths).join(" | "));
        let rules = widths.iter().enumerate().map(|(index, width)| {
            if index == 0 { "-".repeat(*width) } else { format!("{}:", "-".repeat(width - 1)) }
        });
        let mut text = render(&self.header);
        text += &render(&rules.collect::<Vec<_>>());
        text += &self.rows.iter().map(|row| render(row)).collect::<String>();
        text
    }
}

/// A number as the paper prints it: 2.50e-7.
pub fn scientific(value: f64) -> String {
    if value.is_finite() { format!("{value:.2e}") } else { format!("{value}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["task", "r_200"]);
        table.push(vec!["D1".into(), scientific(2.5e-7)]);
        table.push(vec!["a longer name".into()]);
        assert_eq!(table.text(), "task             r_200\nD1             2.50e-7\na longer name\n");
        assert_eq!(
            table.markdown(),
            "| task          |   r_200 |\n| ------------- | ------: |\n\
             | D1            | 2.50e-7 |\n| a longer name |         |\n"
        );
        let mut bars = Table::new(&["|r|", "n"]);
        bars.push(vec!["a".into(), "1".into()]);
        assert!(bars.markdown().starts_with("| \\|r\\| |   n |\n"));
        assert_eq!(scientific(f64::INFINITY), "inf");
        assert_eq!(scientific(f64::NAN), "NaN");
    }
}
