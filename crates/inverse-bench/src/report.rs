//! One page that holds a whole study: readable without a network, and by itself.

use std::collections::BTreeSet;

use inverse_models::nn::TRAINING_VERSION;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::machine::machine;
use crate::store::EntryState;
use crate::{Publication, Publications, Study, StudyError, Table};

const STYLE: &str = "
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; }
h2 { margin-top: 3rem; border-bottom: 1px solid #ccc; }
nav a { margin-right: 1rem; white-space: nowrap; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, .text td, .text th { text-align: left; }
thead { border-top: 2px solid; border-bottom: 1px solid; }
tbody { border-bottom: 2px solid; }
svg { max-width: 100%; height: auto; }
pre { overflow-x: auto; background: #f5f5f5; padding: .7rem; }
.warning { background: #fff3cd; padding: .7rem; }
@media print { nav { display: none; } figure, table { break-inside: avoid; } }
";

/// A study as one HTML page: tables, figures, settings, versions, machine. It needs no other file and no network.
///
/// * `publications`: the study's, from [`Study::publications`]; what is missing there is named on the page
///
/// ```no_run
/// use inverse_bench::{Profile, Study, StudyArguments, report};
///
/// let arguments = StudyArguments { profile: Some(Profile::Smoke), ..StudyArguments::default() };
/// let study = Study::new(&arguments)?;
/// let page = report(&study, &study.publications()?)?;
/// study.results().write("report.html", page.as_bytes())?;
/// # Ok::<(), inverse_bench::StudyError>(())
/// ```
///
/// # Errors
/// [`StudyError`] where the store cannot be read or a figure cannot be drawn.
pub fn report(study: &Study, publications: &Publications) -> Result<String, StudyError> {
    let mut shown = BTreeSet::new();
    let mut sections = Vec::new();
    for publication in &publications.finished {
        sections.extend(section(publication, &mut shown)?);
    }
    let title =
        format!("Inverse models, {} profile, seed {}", study.arguments().profile(), study.arguments().seed());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                p {
                    "The tables and figures of Ren, Padilla and Malof, "
                    em { "Benchmarking Deep Inverse Models over time, and the Neural-Adjoint method" }
                    " (2020), ours beside the paper's where the paper prints figures."
                }
                nav { @for (name, title, _) in &sections { a href={ "#" (name) } { (title) } " " } }
                @if !publications.missing.is_empty() {
                    p.warning {
                        "Not here, because cells are not finished: "
                        (publications.missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")) "."
                    }
                }
                @for (name, title, body) in &sections { h2 id=(name) { (title) } (body) }
                h2 { "How it was made" }
                (origin(study)?)
            }
        }
    };
    Ok(page.into_string())
}

/// Name, title and body of a table or figure; `None` where all of it was shown before.
fn section(
    publication: &Publication,
    shown: &mut BTreeSet<String>,
) -> Result<Option<(String, String, Markup)>, StudyError> {
    let Publication { name, title, table, figures, .. } = publication;
    let new: Vec<_> = figures.iter().filter(|(figure, _)| !shown.contains(figure)).collect();
    if shown.contains(name) || (table.is_none() && new.is_empty()) {
        return Ok(None);
    }
    let mut pictures = Vec::new();
    for (figure, picture) in new {
        pictures.push((figure, picture.svg()?));
        shown.insert(figure.clone());
    }
    shown.insert(name.clone());
    let body = html! {
        @if let Some(table) = table { (table_markup(table)) }
        @for (figure, svg) in &pictures {
            figure id={ "picture-" (figure) } { (PreEscaped(svg)) figcaption { (heading(std::slice::from_ref(figure))) } }
        }
    };
    // What is of another name is known by its figures.
    let names: Vec<String> = if name.starts_with("table") || name.starts_with("figure") {
        vec![name.clone()]
    } else {
        figures.iter().map(|(figure, _)| figure.clone()).collect()
    };
    Ok(Some((name.clone(), format!("{}: {title}", heading(&names)), body)))
}

/// `Table 3` of `table3`, `Figures 6 and 7` of `figure6_7` or of `figure6` and `figure7`.
fn heading(names: &[String]) -> String {
    let numbers: Vec<&str> = names
        .iter()
        .flat_map(|name| name.split(|c: char| !c.is_ascii_digit()))
        .filter(|part| !part.is_empty())
        .collect();
    let kind = if names.iter().any(|name| name.starts_with("table")) { "Table" } else { "Figure" };
    let plural = if numbers.len() > 1 { "s" } else { "" };
    format!("{kind}{plural} {}", numbers.join(" and "))
}

fn table_markup(table: &Table) -> Markup {
    html! {
        div.wide {
            table {
                thead { tr { @for name in table.header() { th scope="col" { (name) } } } }
                tbody { @for row in table.rows() { tr { @for cell in row { td { (cell) } } } } }
            }
        }
    }
}

/// Settings, versions and the machine.
fn origin(study: &Study) -> Result<Markup, StudyError> {
    let plan = study.whole_plan()?;
    let (mut finished, mut versions) = (0, BTreeSet::new());
    for planned in plan.cells() {
        if let EntryState::Finished(entry) = study.store().state(&planned.id, &planned.identity)? {
            finished += 1;
            versions.insert(entry.library_version);
        }
    }
    let versions = versions.into_iter().collect::<Vec<_>>().join(", ");
    let mut facts = settings(study);
    facts.push(("cells finished", format!("{finished} of {}", plan.cells().len())));
    facts.push(("library", format!("inverse {versions}, training version {TRAINING_VERSION}")));
    facts.extend(machine());
    Ok(html! {
        p { "The machine is that of this report; times in the tables are of the machine that took them." }
        table.text { tbody { @for (name, value) in &facts { tr { th scope="row" { (name) } td { (value) } } } } }
        details {
            summary { "Settings of every method on every task" }
            @for (task, method) in study.pairs() {
                h3 { (task.name()) ", " (method.label()) }
                pre { (method.settings()?) }
            }
        }
    })
}

fn settings(study: &Study) -> Vec<(&'static str, String)> {
    let arguments = study.arguments();
    let tasks: Vec<&str> = study.tasks().iter().map(|task| task.name()).collect();
    vec![
        ("profile", arguments.profile().to_string()),
        ("seed", arguments.seed().to_string()),
        ("tasks", tasks.join(", ")),
        ("methods", study.methods().join(", ")),
        ("device", arguments.device().to_string()),
        ("pairs for training", arguments.profile().pairs().to_string()),
        ("trainings, the best is chosen", arguments.trainings().to_string()),
        ("held-out targets", arguments.targets().to_string()),
        ("proposals for each", arguments.proposals().to_string()),
        ("targets of the posterior matching", arguments.posterior_targets().to_string()),
        ("proposals for each of those", arguments.posterior_samples().to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_the_papers() {
        let of = |names: &[&str]| heading(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["table10"]), "Table 10");
        assert_eq!(of(&["figure6_7"]), "Figures 6 and 7");
        assert_eq!(of(&["figure2", "figure13"]), "Figures 2 and 13");
    }

    #[test]
    fn what_users_name_is_text_and_no_markup() {
        let mut table = Table::new(&["<task>"]);
        table.push(vec!["a & <b>".into()]);
        let markup = table_markup(&table).into_string();
        assert!(markup.contains("&lt;task&gt;") && markup.contains("a &amp; &lt;b&gt;"), "{markup}");
    }
}
