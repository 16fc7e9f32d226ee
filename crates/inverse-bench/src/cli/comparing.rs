//! `compare`: two stores side by side.

use std::path::PathBuf;

use inverse_bench::{CellComparison, Difference, Store, Table, scientific};
use serde_json::{Value, json};

use super::failure::{Ending, Failure};
use super::output::{Output, print};

/// Prints what differs; quiet about what is the same, but for its number.
pub(super) fn compare(first: PathBuf, second: PathBuf, output: Output) -> Result<Ending, Failure> {
    let open = |path| Store::existing(path).map_err(|error| Failure::Usage(error.to_string()));
    let comparisons = inverse_bench::compare(&open(first)?, &open(second)?)?;
    let same = |comparison: &&CellComparison| comparison.difference == Difference::None;
    let (equal, different): (Vec<_>, Vec<_>) = comparisons.iter().partition(same);
    if output.json {
        for comparison in &comparisons {
            print(&format!("{}\n", json_of(comparison)))?;
        }
    } else {
        if !different.is_empty() {
            print(&table(&different).text())?;
        }
        print(&format!("{} cells are the same, {} differ\n", equal.len(), different.len()))?;
    }
    Ok(if different.is_empty() { Ending::Well } else { Ending::Different })
}

fn words(difference: &Difference) -> String {
    match difference {
        Difference::None => "the same".into(),
        Difference::Files(files) => format!("other bits in {}", files.join(", ")),
        Difference::Identity => "other settings, data, seed or version".into(),
        Difference::OnlyFirst => "only in the first".into(),
        Difference::OnlySecond => "only in the second".into(),
        _ => "different".into(),
    }
}

fn json_of(comparison: &CellComparison) -> Value {
    let CellComparison { cell, difference, one_proposal, all_proposals } = comparison;
    json!({
        "cell": cell,
        "same": *difference == Difference::None,
        "difference": words(difference),
        "r_1": one_proposal,
        "T": all_proposals.map(|(proposals, _)| proposals),
        "r_T": all_proposals.map(|(_, errors)| errors),
    })
}

fn table(different: &[&CellComparison]) -> Table {
    let mut table = Table::new(&[
        "cell",
        "difference",
        "r_1, first",
        "second",
        "T",
        "r_T, first",
        "second",
        "second / first",
    ]);
    for CellComparison { cell, difference, one_proposal, all_proposals } in different {
        let mut row = vec![cell.to_string(), words(difference)];
        if let (Some(one), Some((proposals, all))) = (one_proposal, all_proposals) {
            row.extend(one.map(scientific));
            row.push(proposals.to_string());
            row.extend(all.map(scientific));
            row.push(format!("{:.2e}", all[1] / all[0]));
        }
        table.push(row);
    }
    table
}
