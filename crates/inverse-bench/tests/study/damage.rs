//! Damaged and foreign entries: set aside, reported, not trusted, not deleted.

use std::fs;

use crate::command::{Bench, files, words};

#[test]
fn what_cannot_be_trusted_is_set_aside_and_done_again() {
    let bench = Bench::new();
    bench.ends(&["run"], "store", 0);
    let expected = bench.results("store");

    // A bit of a result flips.
    let evaluation = bench.cell("store", "sine-wave-mdn-evaluation");
    let mut errors = fs::read(evaluation.join("errors.csv")).unwrap();
    let last = errors.len() - 2;
    errors[last] ^= 1;
    fs::write(evaluation.join("errors.csv"), &errors).unwrap();
    // A cell has the entry of another one, with good digests.
    let (one, other) = (
        bench.cell("store", "sine-wave-neural-adjoint-training"),
        bench.cell("store", "sine-wave-mdn-training"),
    );
    fs::remove_dir_all(&one).unwrap();
    fs::create_dir(&one).unwrap();
    let foreign = files(&other);
    for (name, bytes) in &foreign {
        fs::write(one.join(name), bytes).unwrap();
    }
    // Something lies there that no study has made.
    let stranger = bench.path("store").join("cells/stranger");
    fs::create_dir(&stranger).unwrap();
    fs::write(stranger.join("note.txt"), "precious").unwrap();

    let listed = words(&bench.ends(&["list"], "store", 3));
    let line = |name: &str| listed.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(line("mdn-evaluation").starts_with("damaged"), "{listed}");
    assert!(line("neural-adjoint-training").starts_with("damaged"), "{listed}");
    assert!(line("stranger").starts_with("unknown"), "{listed}");
    bench.ends(&["table", "3"], "store", 3);

    let output = bench.command(&["run", "--json"], "store").output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let said = words(&output);
    assert_eq!(said.matches("\"event\":\"set-aside\"").count(), 2, "{said}");
    assert_eq!(bench.results("store"), expected);
    let aside = bench.path("store").join("aside");
    let name = |path: &std::path::Path| format!("{}-1", path.file_name().unwrap().to_string_lossy());
    assert_eq!(fs::read(aside.join(name(&evaluation)).join("errors.csv")).unwrap(), errors);
    assert_eq!(files(&aside.join(name(&one))), foreign);
    assert_eq!(fs::read_to_string(stranger.join("note.txt")).unwrap(), "precious");
    bench.ends(&["list"], "store", 0);
}

#[test]
fn what_a_kill_left_is_trusted_only_where_it_belongs() {
    let bench = Bench::new();
    bench.ends(&["run"], "whole", 0);
    bench.ends(&["worker", "--seed", "6"], "other", 0);
    // Unfinished cells that hold what another seed's training and a bad sector left.
    let of = |store: &str, name: &str| bench.cell(store, name);
    let training = of("whole", "sine-wave-mdn-training");
    let evaluation = of("whole", "sine-wave-nearest-neighbor-evaluation");
    let cells = bench.path("store").join("cells");
    for (cell, file, bytes) in [
        (
            &training,
            "model.safetensors",
            fs::read(of("other", "sine-wave-mdn-training").join("model.safetensors")).unwrap(),
        ),
        (&evaluation, "partial.json", b"{\"designs\": 3".to_vec()),
    ] {
        let folder = cells.join(cell.file_name().unwrap());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file), bytes).unwrap();
    }
    let output = bench.command(&["run", "--json"], "store").output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    assert!(words(&output).contains("partial.json"), "the damage is reported");
    assert_eq!(bench.results("store"), bench.results("whole"));
    bench.compares("store", "whole", 0);
}
