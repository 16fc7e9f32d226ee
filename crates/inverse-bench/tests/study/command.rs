//! The command as its users run it, on a study of seconds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// One task, three methods, and as many targets as make two blocks: training, validation, evaluation, matching, timing and a map of D2.
pub(crate) const STUDY: &str = "
profile = \"smoke\"
seed = 5
threads = 1
quiet = true
tasks = [\"D2\"]
methods = [\"NA\", \"mdn\", \"nearest-neighbor\"]
targets = 12
proposals = 20
";

/// Tables of times, and the page that shows them.
const TIMES: [&str; 5] = ["table2.csv", "table2.md", "table10.csv", "table10.md", "report.html"];

/// A folder with the study's file in it.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("study.toml"), STUDY).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command of the study, with its results in the folder of that name.
    pub(crate) fn command(&self, command: &[&str], store: &str) -> Command {
        let mut line = Command::new(env!("CARGO_BIN_EXE_inverse-bench"));
        line.args(command).arg("--study").arg(self.path("study.toml")).arg("--out").arg(self.path(store));
        line
    }

    /// The command's end, which must be that exit code.
    pub(crate) fn ends(&self, command: &[&str], store: &str, code: i32) -> Output {
        let output = self.command(command, store).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{command:?}: {}", words(&output));
        output
    }

    /// Every file of results, by name, but for those of times.
    pub(crate) fn results(&self, store: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = files(&self.path(store));
        files.retain(|name, _| !TIMES.contains(&name.as_str()));
        assert!(files.len() > 10, "{:?}", files.keys());
        files
    }

    /// `compare` of two stores, which must end with that exit code.
    pub(crate) fn compares(&self, first: &str, second: &str, code: i32) -> Output {
        let mut line = Command::new(env!("CARGO_BIN_EXE_inverse-bench"));
        let output = line.arg("compare").args([self.path(first), self.path(second)]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", words(&output));
        output
    }

    /// Names of the study's cells.
    pub(crate) fn cells(&self) -> Vec<String> {
        self.cells_to_do("nothing")
    }

    /// Names of the cells that are not finished in a store.
    pub(crate) fn cells_to_do(&self, store: &str) -> Vec<String> {
        ids(&self.ends(&["plan"], store, 0))
    }

    /// The name that a cell has under another seed.
    pub(crate) fn cell_of_seed(&self, seed: &str, part: &str) -> String {
        let ids = ids(&self.ends(&["plan", "--seed", seed], "nothing", 0));
        ids.into_iter().find(|id| id.contains(part)).unwrap()
    }

    /// The folder of the only cell whose name begins so.
    pub(crate) fn cell(&self, store: &str, beginning: &str) -> PathBuf {
        let cells = fs::read_dir(self.path(store).join("cells")).unwrap().map(|cell| cell.unwrap().path());
        let begins = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(beginning);
        let found: Vec<PathBuf> = cells.filter(begins).collect();
        assert_eq!(found.len(), 1, "{beginning}: {found:?}");
        found[0].clone()
    }
}

fn ids(plan: &Output) -> Vec<String> {
    let text = String::from_utf8(plan.stdout.clone()).unwrap();
    text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

/// What a command printed, for the message of a failed test.
pub(crate) fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The files of a folder, without those of its folders.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    files.map(|path| (name(&path), fs::read(&path).unwrap())).collect()
}
