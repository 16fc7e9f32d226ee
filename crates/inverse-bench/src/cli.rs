//! Commands, what they share, and how they end.

mod comparing;
mod failure;
mod output;
mod publishing;
mod surveying;
mod working;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use inverse_bench::{PaperItem, Study, StudyArguments};

use failure::{Ending, Failure};
use output::{Output, print};

const EXIT_CODES: &str = "Exit codes: 0 all is well; 1 something failed; 2 the command line or the study file is wrong; \
3 cells are not finished, or two stores differ.";

/// Every table and figure of Ren, Padilla and Malof (2020), from one command that can be stopped and resumed.
#[derive(Parser)]
#[command(name = "inverse-bench", version, after_help = EXIT_CODES)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Does what is not finished, then writes every table, every figure and the report.
    Run(Options),
    /// Lists all cells and how they stand, also those in the store that are not this study's.
    List(Options),
    /// Prints the cells that are not finished for a scheduler: name, cells it builds on, what it is; tabs between.
    Plan(Options),
    /// Does cells beside any number of other workers, and writes no tables.
    Worker {
        /// Name of a cell, as `plan` prints it, to do with what it builds on; may be repeated. All, where there is none.
        #[arg(long = "cell", value_name = "ID")]
        cells: Vec<String>,
        #[command(flatten)]
        options: Options,
    },
    /// Writes and prints a table of a finished study.
    Table {
        /// The paper's number.
        number: usize,
        #[command(flatten)]
        options: Options,
    },
    /// Writes a figure of a finished study.
    Figure {
        /// The paper's number.
        number: usize,
        #[command(flatten)]
        options: Options,
    },
    /// Writes all that is finished as one HTML page.
    Report(Options),
    /// Compares the cells of two stores.
    Compare {
        /// The folder of results of a study.
        first: PathBuf,
        /// That of another.
        second: PathBuf,
        /// Prints lines of JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Prints a script that completes commands and options.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// What most commands share.
#[derive(Args)]
struct Options {
    /// A study file (TOML): the options as keys, such as `profile = "paper"`; options on the command line win.
    #[arg(long = "study", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Prints lines of JSON to the standard output instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    study: StudyArguments,
}

impl Options {
    /// The study, and where its output goes.
    fn open(self) -> Result<(Study, Output), Failure> {
        let file = self.file.map_or_else(|| Ok(StudyArguments::default()), |path| read(&path))?;
        let study = Study::new(&self.study.or(file)).map_err(Failure::of_arguments)?;
        Ok((study, Output { json: self.json }))
    }
}

fn read(path: &std::path::Path) -> Result<StudyArguments, Failure> {
    let wrong = |reason: String| Failure::Usage(format!("{}: {reason}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    toml::from_str(&text).map_err(|error| wrong(error.to_string()))
}

fn run(command: Command) -> Result<Ending, Failure> {
    match command {
        Command::Run(options) => {
            let (study, output) = options.open()?;
            working::run(&study, output)
        }
        Command::Worker { cells, options } => {
            let (study, output) = options.open()?;
            working::worker(&study, &cells, output)
        }
        Command::List(options) => {
            let (study, output) = options.open()?;
            surveying::list(&study, output)
        }
        Command::Plan(options) => {
            let (study, output) = options.open()?;
            surveying::plan(&study, output)
        }
        Command::Table { number, options } => {
            let (study, output) = options.open()?;
            publishing::item(&study, PaperItem::Table(number), output)
        }
        Command::Figure { number, options } => {
            let (study, output) = options.open()?;
            publishing::item(&study, PaperItem::Figure(number), output)
        }
        Command::Report(options) => {
            let (study, output) = options.open()?;
            publishing::report(&study, output)
        }
        Command::Compare { first, second, json } => comparing::compare(first, second, Output { json }),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Line::command(), "inverse-bench", &mut script);
            print(&String::from_utf8_lossy(&script))?;
            Ok(Ending::Well)
        }
    }
}

pub(crate) fn main() -> ExitCode {
    match run(Line::parse().command) {
        Ok(ending) => ending.code(),
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn options_win_over_the_study_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("study.toml");
        fs::write(&path, "seed = 5\nprofile = \"smoke\"\nmethods = [\"NA\"]\n").unwrap();
        let file = read(&path).unwrap();
        let line = Line::parse_from(["inverse-bench", "run", "--seed", "6"]);
        let Command::Run(options) = line.command else { panic!("another command") };
        let arguments = options.study.or(file);
        assert_eq!((arguments.seed(), arguments.methods), (6, vec!["NA".to_owned()]));
        fs::write(&path, "sede = 5").unwrap();
        let Err(Failure::Usage(message)) = read(&path) else { panic!("a misspelt key was taken") };
        assert!(message.contains("study.toml") && message.contains("sede"), "{message}");
    }
}
