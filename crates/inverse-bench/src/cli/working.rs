//! `run` and `worker`: doing cells.

use std::io;

use inverse_bench::{Cell, Event, Plan, Study};
use serde_json::{Value, json};

use super::failure::{Ending, Failure};
use super::output::{Output, print};
use super::publishing;

/// Does all cells, then writes all that comes of them.
pub(super) fn run(study: &Study, output: Output) -> Result<Ending, Failure> {
    let plan = study.whole_plan().map_err(Failure::of_arguments)?;
    let ending = work(study, &plan, output)?;
    let written = publishing::everything(study, output)?;
    Ok(if ending == Ending::Well { written } else { ending })
}

/// Does all cells, or those of some names and what they build on.
pub(super) fn worker(study: &Study, cells: &[String], output: Output) -> Result<Ending, Failure> {
    let whole = study.whole_plan().map_err(Failure::of_arguments)?;
    if cells.is_empty() {
        return work(study, &whole, output);
    }
    let mut plan = Plan::default();
    for id in cells {
        plan.extend(whole.clone().only(id).map_err(|error| Failure::Usage(error.to_string()))?);
    }
    work(study, &plan, output)
}

fn work(study: &Study, plan: &Plan<'_>, output: Output) -> Result<Ending, Failure> {
    let mut printed: io::Result<()> = Ok(());
    let quiet = study.arguments().quiet;
    let outcome = study.work(plan, &mut |event| {
        if printed.is_ok() && output.json {
            printed = print(&format!("{}\n", json_of(event)));
        } else if !output.json {
            tell(event, quiet);
        }
    })?;
    printed?;
    let (worked, failed, blocked) = (outcome.worked, outcome.failed.len(), outcome.blocked);
    if output.json {
        let line = json!({"event": "ended", "worked": worked, "failed": failed, "blocked": blocked});
        print(&format!("{line}\n"))?;
    } else if failed > 0 {
        eprintln!("error: {failed} cells failed, and {blocked} build on them");
    }
    Ok(if failed > 0 { Ending::CellsFailed } else { Ending::Well })
}

/// What goes wrong is said on the error stream, however quiet it should be; the rest is the progress bar's.
fn tell(event: &Event<'_>, quiet: bool) {
    match event {
        Event::SetAside { cell, reason, place } if !quiet => {
            eprintln!("{cell}: {reason}; set aside as {}", place.display());
        }
        Event::Failed { cell, error } => eprintln!("error: {cell}: {error}"),
        _ => {}
    }
}

fn json_of(event: &Event<'_>) -> Value {
    let of = |name: &str, cell: &Cell, more: Value| {
        let mut line = json!({"event": name, "cell": cell});
        if let (Value::Object(line), Value::Object(more)) = (&mut line, more) {
            line.extend(more);
        }
        line
    };
    match event {
        Event::Started { cell, id } => of("started", cell, json!({"id": id})),
        Event::Finished { cell, id, seconds, done, all } => {
            of("finished", cell, json!({"id": id, "seconds": seconds, "done": done, "all": all}))
        }
        Event::SetAside { cell, reason, place } => {
            of("set-aside", cell, json!({"reason": reason, "place": place.display().to_string()}))
        }
        Event::Failed { cell, error } => of("failed", cell, json!({"error": error.to_string()})),
        _ => json!({"event": "other"}),
    }
}
