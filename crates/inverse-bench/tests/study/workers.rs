//! Several processes on one store.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::Value;

use crate::command::{Bench, words};

#[test]
fn four_workers_run_every_cell_exactly_once() {
    let bench = Bench::new();
    let start = || {
        let mut worker = bench.command(&["worker", "--json"], "shared");
        worker.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let workers: Vec<_> = (0..4).map(|_| start()).collect();
    let mut finished: BTreeMap<String, usize> = BTreeMap::new();
    for worker in workers {
        let output = worker.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", words(&output));
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            if event["event"] == "finished" {
                *finished.entry(event["id"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
    }
    let mut cells = bench.cells();
    cells.sort();
    assert_eq!(finished.keys().collect::<Vec<_>>(), cells.iter().collect::<Vec<_>>());
    assert!(finished.values().all(|times| *times == 1), "{finished:?}");
    // Nothing is left to do, and what four did together is what one does alone.
    let alone = bench.ends(&["run"], "alone", 0);
    let shared = bench.ends(&["run"], "shared", 0);
    assert!(!alone.stdout.is_empty() && !shared.stdout.is_empty());
    assert_eq!(bench.results("shared"), bench.results("alone"));
    bench.compares("shared", "alone", 0);
}

#[test]
fn tensorboard_gets_a_run_for_each_training() {
    let bench = Bench::new();
    let training = bench.cells().into_iter().find(|id| id.contains("mdn-training")).unwrap();
    let events = bench.path("events");
    let output = bench
        .command(&["worker", "--cell", &training], "store")
        .arg("--tensorboard")
        .arg(&events)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let file = std::fs::read(events.join(&training).join("events.out.tfevents.000001")).unwrap();
    let tag = b"mixture density network/training loss";
    assert!(file.windows(tag.len()).any(|window| window == tag), "{}", String::from_utf8_lossy(&file));
    // The same cell in the same store, whatever watches.
    assert_eq!(bench.cells_to_do("store").len(), bench.cells().len() - 1);
}
