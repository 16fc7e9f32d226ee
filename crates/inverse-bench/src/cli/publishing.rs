//! `table`, `figure` and `report`: what comes of finished cells.

use inverse_bench::{PaperItem, Publication, Publications, Study, StudyError, Table};
use serde_json::{Value, json};

use super::failure::{Ending, Failure};
use super::output::Output;

const REPORT: &str = "report.html";

/// Writes and prints one table or figure.
pub(super) fn item(study: &Study, item: PaperItem, output: Output) -> Result<Ending, Failure> {
    study.item_plan(item).map_err(Failure::of_arguments)?;
    let publication = study.item(item)?;
    publication.write(study.results()).map_err(StudyError::from)?;
    show(&publication, output)?;
    Ok(Ending::Well)
}

/// Writes the page; says where it is.
pub(super) fn report(study: &Study, output: Output) -> Result<Ending, Failure> {
    let publications = study.publications()?;
    write_report(study, &publications)?;
    tell_report(study, &publications, output)
}

/// Writes every table and figure that can be made, and the page.
pub(super) fn everything(study: &Study, output: Output) -> Result<Ending, Failure> {
    let publications = study.publications()?;
    // The files are what counts: all are there before a word is printed.
    for publication in &publications.finished {
        publication.write(study.results()).map_err(StudyError::from)?;
    }
    write_report(study, &publications)?;
    for publication in publications.finished.iter().filter(|publication| publication.table.is_some()) {
        show(publication, output)?;
    }
    tell_report(study, &publications, output)
}

fn write_report(study: &Study, publications: &Publications) -> Result<(), StudyError> {
    let page = inverse_bench::report(study, publications)?;
    Ok(study.results().write(REPORT, page.as_bytes())?)
}

/// Says where the page is, and what it waits for.
fn tell_report(study: &Study, publications: &Publications, output: Output) -> Result<Ending, Failure> {
    let path = study.results().path().join(REPORT);
    let missing: Vec<String> = publications.missing.iter().map(ToString::to_string).collect();
    output.line(
        || json!({"event": "report", "path": path.display().to_string(), "missing": missing}),
        || format!("report in {}", path.display()),
    )?;
    if missing.is_empty() {
        return Ok(Ending::Well);
    }
    eprintln!("not finished: {}", missing.join(", "));
    Ok(Ending::Different)
}

fn show(publication: &Publication, output: Output) -> Result<(), Failure> {
    output.line(|| json_of(publication), || format!("{}\n{}", publication.title, publication.text()))?;
    Ok(())
}

fn json_of(publication: &Publication) -> Value {
    let table = publication.table.as_ref();
    json!({
        "event": "publication",
        "name": publication.name,
        "title": publication.title,
        "header": table.map(Table::header),
        "rows": table.map(Table::rows),
        "figures": publication.figures.iter().map(|(name, _)| name).collect::<Vec<_>>(),
    })
}
