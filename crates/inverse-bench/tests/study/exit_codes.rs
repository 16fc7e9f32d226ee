//! Exit codes that scripts can trust.

use std::fs;
use std::process::{Command, Stdio};

use crate::command::{Bench, words};

#[test]
fn mistakes_are_named_and_end_with_two() {
    let bench = Bench::new();
    for (line, expected) in [
        (&["run", "--task", "D9"][..], "found `D9`"),
        (&["worker", "--cell", "nothing"], "`--cell`"),
        (&["table", "6"], "Table 6"),
        (&["figure", "1"], "Figure 1"),
        (&["table", "5"], "Table 5 needs"),
        (&["run", "--proposals", "251"], "`--proposals`: expected 1 to 250"),
        (&["figure", "4", "--proposals", "251"], "`--proposals`: expected 1 to 250"),
        (&["run", "--seed", "one"], "--seed"),
        (&["dance"], "dance"),
    ] {
        let said = words(&bench.ends(line, "store", 2));
        assert!(said.contains(expected), "{line:?}: {said}");
    }
    fs::write(bench.path("study.toml"), "profil = \"smoke\"").unwrap();
    assert!(words(&bench.ends(&["list"], "store", 2)).contains("profil"));
    fs::remove_file(bench.path("study.toml")).unwrap();
    assert!(words(&bench.ends(&["list"], "store", 2)).contains("study.toml"));
}

#[test]
fn what_is_not_finished_ends_with_three() {
    let bench = Bench::new();
    for line in [&["table", "3"][..], &["figure", "4"], &["report"], &["list"]] {
        bench.ends(line, "store", 3);
    }
    assert!(bench.path("store").join("report.html").exists(), "a report tells what is missing");
    bench.ends(&["table", "1"], "store", 0);
    bench.compares("store", "nowhere", 2);
    assert!(!bench.path("nowhere").exists(), "comparing makes no store");
}

#[test]
fn one_cell_brings_what_it_builds_on() {
    let bench = Bench::new();
    let cells = bench.cells();
    let wanted = cells.iter().find(|id| id.contains("nearest-neighbor-evaluation")).unwrap();
    bench.ends(&["worker", "--cell", wanted], "store", 0);
    let listed = words(&bench.ends(&["list"], "store", 3));
    let finished: Vec<&str> = listed.lines().filter(|line| line.starts_with("finished")).collect();
    assert_eq!(finished.len(), 3, "training, validation, evaluation: {listed}");
    assert_eq!(bench.cells_to_do("store").len(), cells.len() - 3);
    // The same cells under another seed differ, and are only there.
    bench.ends(
        &["worker", "--cell", &bench.cell_of_seed("6", "nearest-neighbor-evaluation"), "--seed", "6"],
        "other",
        0,
    );
    let compared = words(&bench.compares("store", "other", 3));
    assert!(compared.contains("other settings, data, seed or version"), "{compared}");
}

#[test]
fn completions_are_scripts() {
    let bench = || Command::new(env!("CARGO_BIN_EXE_inverse-bench"));
    let output = bench().args(["completions", "bash"]).output().unwrap();
    assert!(output.status.success() && words(&output).contains("inverse-bench"));
    assert_eq!(bench().args(["completions", "pigeon"]).output().unwrap().status.code(), Some(2));
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_changes_no_ending() {
    let bench = Bench::new();
    let unread = |command: &[&str]| {
        let mut line = bench.command(command, "store");
        let mut line = line.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        drop(line.stdout.take());
        line.wait().unwrap().code()
    };
    assert_eq!(unread(&["list"]), Some(3), "cells are not finished");
    // A folder in the place of a result: that cell fails; the rest is done, and what can be made of it written.
    let cells = bench.cells();
    let evaluation = cells.iter().find(|id| id.contains("nearest-neighbor-evaluation")).unwrap();
    fs::create_dir_all(bench.path("store").join("cells").join(evaluation).join("errors.csv")).unwrap();
    assert_eq!(unread(&["worker", "--json"]), Some(1), "a cell failed");
    for command in [&["run"][..], &["run", "--json"]] {
        assert_eq!(unread(command), Some(1), "{command:?}: a cell failed");
        for file in ["table1.csv", "table8.csv", "figure4.csv", "report.html"] {
            let path = bench.path("store").join(file);
            assert!(path.exists(), "{command:?} wrote no {file}");
            fs::remove_file(path).unwrap();
        }
    }
}
