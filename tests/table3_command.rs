//! The main job as its users run it: `cargo run --example table3`, with its options and its mistakes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The example that `cargo test` built beside this test.
fn table3() -> Command {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap().join("examples");
    Command::new(folder.join(format!("table3{}", std::env::consts::EXE_SUFFIX)))
}

fn run(arguments: &[&str], out: &Path) -> Output {
    table3().args(["--profile", "smoke", "--quiet", "--out"]).arg(out).args(arguments).output().unwrap()
}

/// Every file of results, by name: tables, curves, figures.
fn results(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.is_file());
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    files.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
}

#[test]
fn results_are_the_same_bytes_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = |threads: &str| {
        let out = folder.path().join(threads);
        let output = run(&["--threads", threads, "--seed", "3"], &out);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        results(&out)
    };
    let one = outcome("1");
    let names: Vec<&str> = one.keys().map(String::as_str).collect();
    assert_eq!(names, ["curves.csv", "figure3.png", "figure3.svg", "table3.csv", "table3.md"]);
    assert_eq!(outcome("2"), one);
}

#[test]
fn killed_runs_go_on_and_end_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--task", "D2", "--seed", "4"];
    let killed = folder.path().join("killed");
    let mut hits = 0;
    for pause in [300, 900, 1500] {
        let mut child = table3()
            .args(["--profile", "smoke", "--quiet", "--out"])
            .arg(&killed)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        // On Unix this is SIGKILL; a run that was faster has already ended, and well.
        let _ = child.kill();
        hits += usize::from(!child.wait().unwrap().success());
        let errors = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        assert!(errors.is_empty(), "killed, not failed: {errors}");
    }
    assert!(hits > 0, "every run was too fast to be killed");
    assert!(run(&arguments, &killed).status.success());
    let whole = folder.path().join("whole");
    assert!(run(&arguments, &whole).status.success());
    assert_eq!(results(&killed), results(&whole));
}

#[test]
fn mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let out = folder.path().join("out");
    for (arguments, out, words) in [
        (["--task", "D9"], &out, "found `D9`"),
        (["--proposals", "0"], &out, "`--proposals`: expected at least 1, found 0"),
        (["--proposals", "251"], &out, "`--proposals`: expected 1 to 250, found 251 with NA"),
        (["--proposals", "18446744073709551615"], &out, "`--proposals`: expected 1 to 16777216"),
        (["--targets", "0"], &out, "`--targets`"),
        (["--targets", "18446744073709551615"], &out, "`--targets`: expected 1 to 16777216"),
        (["--method", "gan"], &out, "found `gan`"),
        (["--seed", "1"], &file, "cannot write"),
    ] {
        let output = run(&[arguments[0], arguments[1], "--trainings", "1"], out);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {message}");
        assert!(message.starts_with("error: ") && message.contains(words), "{arguments:?}: {message}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    let cells = std::fs::read_dir(out.join("cells")).unwrap();
    assert_eq!(cells.count(), 0, "mistakes are found before any training");
}
