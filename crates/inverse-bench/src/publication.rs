//! The paper's tables and figures, ours beside the paper's: pure functions of a finished study.

mod ablation;
mod boundary_toy;
mod metamaterial_spectra;
mod model_size;
mod outline;
mod posterior_matching;
mod publish;
mod resimulation;
mod sine_map;
mod tandem_boundary;
mod times;

use std::fmt;

use inverse_core::InvalidArgument;
use serde::Serialize;

pub use ablation::ablation_experiments;
pub use publish::publish;

use crate::result_files::csv_bytes;
use crate::study::Plan;
use crate::{Figure, ResultFileError, ResultFolder, Study, StudyError, Table, scientific};

/// A table or a figure of the paper, by its number there.
///
/// ```
/// use inverse_bench::{PaperItem, Study, StudyArguments};
///
/// let folder = tempfile::tempdir()?;
/// let arguments = StudyArguments { out: Some(folder.path().into()), ..StudyArguments::default() };
/// let study = Study::new(&arguments)?;
/// // Table 1 needs no cells, so it can be made at once.
/// let table = study.item(PaperItem::Table(1))?;
/// assert!(table.text().contains("robotic-arm"));
/// // The paper has no figures in Table 6.
/// assert!(study.item(PaperItem::Table(6)).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PaperItem {
    /// A table.
    Table(usize),
    /// A figure.
    Figure(usize),
}

impl fmt::Display for PaperItem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(number) => write!(formatter, "Table {number}"),
            Self::Figure(number) => write!(formatter, "Figure {number}"),
        }
    }
}

impl PaperItem {
    /// All that this library makes, in the paper's order, none twice: Figures 2 and 13, and 6 and 7, come together.
    pub const ALL: [Self; 15] = [
        Self::Table(1),
        Self::Table(2),
        Self::Table(3),
        Self::Table(4),
        Self::Table(5),
        Self::Table(7),
        Self::Table(8),
        Self::Table(9),
        Self::Table(10),
        Self::Figure(3),
        Self::Figure(4),
        Self::Figure(5),
        Self::Figure(6),
        Self::Figure(8),
        Self::Figure(13),
    ];

    fn unknown(self) -> InvalidArgument {
        let numbers = |tables: bool| {
            let chosen = Self::ALL.iter().filter_map(|item| match item {
                Self::Table(number) => tables.then_some(number),
                Self::Figure(number) => (!tables).then_some(number),
            });
            chosen.map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let expected = format!("Table {}; Figure 2, 7 or {}", numbers(true), numbers(false));
        InvalidArgument::new("number", expected, self)
    }
}

/// One table or figure, ready to be written.
pub struct Publication {
    /// How its files begin, such as `table3`.
    pub name: String,
    /// What it shows, in one line.
    pub title: String,
    /// For people.
    pub table: Option<Table>,
    /// Pictures, by the names of their files.
    pub figures: Vec<(String, Box<dyn Figure>)>,
    /// Rows for programs as CSV, by the names of their files.
    csv: Vec<(String, Vec<u8>)>,
}

impl Publication {
    fn new(name: &str, title: &str) -> Self {
        let (name, title) = (name.into(), title.into());
        Self { name, title, table: None, figures: Vec::new(), csv: Vec::new() }
    }

    fn with_table<R: Serialize>(mut self, rows: &[R], table: Table) -> Result<Self, StudyError> {
        self.csv.push((format!("{}.csv", self.name), csv_bytes(&self.name, rows)?));
        self.table = Some(table);
        Ok(self)
    }

    fn with_rows<R: Serialize>(mut self, file: &str, rows: &[R]) -> Result<Self, StudyError> {
        self.csv.push((file.into(), csv_bytes(file, rows)?));
        Ok(self)
    }

    fn with_figure(mut self, name: &str, figure: impl Figure + 'static) -> Self {
        self.figures.push((name.into(), Box::new(figure)));
        self
    }

    /// The same with a word more in its name and in those of its files, so that a variant lies beside what it varies:
    /// `table5_authors.csv` beside `table5.csv`.
    #[must_use]
    pub fn variant(self, word: &str) -> Self {
        let of = |name: &str| match name.split_once('.') {
            Some((name, extension)) => format!("{name}_{word}.{extension}"),
            None => format!("{name}_{word}"),
        };
        Self {
            name: of(&self.name),
            figures: self.figures.into_iter().map(|(name, figure)| (of(&name), figure)).collect(),
            csv: self.csv.into_iter().map(|(name, bytes)| (of(&name), bytes)).collect(),
            ..self
        }
    }

    /// Writes all files: the table as Markdown, rows as CSV, figures as SVG and PNG.
    ///
    /// # Errors
    /// [`ResultFileError`] where a file cannot be written or a figure cannot be drawn.
    pub fn write(&self, folder: &ResultFolder) -> Result<(), ResultFileError> {
        for (file, bytes) in &self.csv {
            folder.write(file, bytes)?;
        }
        if let Some(table) = &self.table {
            folder.write(&format!("{}.md", self.name), table.markdown().as_bytes())?;
        }
        for (name, figure) in &self.figures {
            folder.write_figure(name, &**figure)?;
        }
        Ok(())
    }

    /// The table as text, where there is one; else the figures' files.
    pub fn text(&self) -> String {
        let files = || {
            let lines: Vec<_> =
                self.figures.iter().map(|(name, _)| format!("{name}.svg, {name}.png")).collect();
            lines.join("\n") + "\n"
        };
        self.table.as_ref().map_or_else(files, Table::text)
    }
}

/// Ours over the paper's; empty where the paper prints none.
fn ratio(ours: f64, paper: Option<f64>) -> String {
    paper.map_or_else(String::new, |paper| scientific(ours / paper))
}

/// The tables and figures of a study.
#[derive(Default)]
pub struct Publications {
    /// Those whose cells are finished, in the paper's order.
    pub finished: Vec<Publication>,
    /// Those whose cells are not.
    pub missing: Vec<PaperItem>,
}

impl Study {
    /// The cells that a table or figure is made of.
    ///
    /// # Errors
    /// [`StudyError::InvalidArgument`] where the paper has no such table or figure, or the study's tasks and methods
    /// have none of it.
    pub fn item_plan(&self, item: PaperItem) -> Result<Plan<'_>, StudyError> {
        match item {
            PaperItem::Table(1 | 8) | PaperItem::Figure(6 | 7) => Ok(Plan::default()),
            PaperItem::Table(2) => self.timing_plan(),
            PaperItem::Table(3 | 7) | PaperItem::Figure(3) => self.score_plan(),
            PaperItem::Table(4) => self.matching_plan(),
            PaperItem::Table(5) | PaperItem::Figure(5) => self.ablation_plan(),
            PaperItem::Table(9 | 10) => self.training_plan(),
            PaperItem::Figure(4) => self.sine_plan(),
            PaperItem::Figure(8) => self.tandem_plan(),
            PaperItem::Figure(2 | 13) => self.metamaterial_plan(),
            PaperItem::Table(_) | PaperItem::Figure(_) => Err(item.unknown().into()),
        }
    }

    /// A table or figure of a finished study.
    ///
    /// # Errors
    /// [`StudyError::Incomplete`] where a cell is not finished; else as [`Study::item_plan`], or where results cannot
    /// be read.
    pub fn item(&self, item: PaperItem) -> Result<Publication, StudyError> {
        let plan = self.item_plan(item)?;
        self.check_complete(&plan)?;
        match item {
            PaperItem::Table(1) => self.outline(),
            PaperItem::Table(2) => self.inference_times(&plan),
            PaperItem::Table(3) => self.resimulation_errors(&plan),
            PaperItem::Table(4) => self.posterior_matching(&plan),
            PaperItem::Table(5) | PaperItem::Figure(5) => self.ablation(&plan),
            PaperItem::Table(7) => self.errors_of_one_proposal(&plan),
            PaperItem::Table(8) => self.parameter_counts(),
            PaperItem::Table(9) => self.model_sizes(&plan),
            PaperItem::Table(10) => self.training_times(&plan),
            PaperItem::Figure(3) => self.error_curves(&plan),
            PaperItem::Figure(4) => self.sine_map(sine_map::TARGET),
            PaperItem::Figure(6 | 7) => Study::boundary_toy(self.arguments().seed(), boundary_toy::NETWORKS),
            PaperItem::Figure(8) => self.tandem_boundary(&plan),
            PaperItem::Figure(2 | 13) => self.metamaterial_spectra(&plan),
            PaperItem::Table(_) | PaperItem::Figure(_) => Err(item.unknown().into()),
        }
    }

    /// All that [`PaperItem::ALL`] names and this study's tasks and methods have.
    ///
    /// # Errors
    /// [`StudyError`] where data cannot be made.
    pub fn whole_plan(&self) -> Result<Plan<'_>, StudyError> {
        let mut whole = Plan::default();
        // Scores lead: they are what most people wait for. Times come last, because they need the machine alone.
        let first = [PaperItem::Table(3)].into_iter().chain(PaperItem::ALL);
        for item in first.filter(|item| *item != PaperItem::Table(2)).chain([PaperItem::Table(2)]) {
            if let Some(plan) = Self::part(self.item_plan(item))? {
                whole.extend(plan);
            }
        }
        Ok(whole)
    }

    /// Every table and figure that the study's tasks and methods have, and those that wait for cells.
    ///
    /// # Errors
    /// [`StudyError`] where results cannot be read.
    pub fn publications(&self) -> Result<Publications, StudyError> {
        let mut publications = Publications::default();
        for item in PaperItem::ALL {
            match Self::part(self.item(item)) {
                Ok(publication) => publications.finished.extend(publication),
                Err(StudyError::Incomplete { .. }) => publications.missing.push(item),
                Err(error) => return Err(error),
            }
        }
        Ok(publications)
    }

    /// `None` where the study's tasks or methods have nothing of an item.
    fn part<T>(outcome: Result<T, StudyError>) -> Result<Option<T>, StudyError> {
        match outcome {
            Ok(part) => Ok(Some(part)),
            Err(StudyError::NothingToShow { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LineFigure;

    #[test]
    fn a_variant_writes_no_file_of_what_it_varies() {
        let figure = || LineFigure { panels: Vec::new() };
        let publication = Publication::new("table5", "a table")
            .with_table(&[("E1", 0.5)], Table::new(&["experiment"]))
            .unwrap()
            .with_rows("figure5_curves.csv", &[(1, 0.5)])
            .unwrap()
            .with_figure("figure5", figure());
        let variant = publication.variant("authors");
        assert_eq!(variant.name, "table5_authors");
        let csv: Vec<&str> = variant.csv.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(csv, ["table5_authors.csv", "figure5_curves_authors.csv"]);
        assert_eq!(variant.figures[0].0, "figure5_authors");
    }
}
