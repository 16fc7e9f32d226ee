//! The standard output: text for people, or a line of JSON for each thing.

use std::io::{self, ErrorKind, Write};

use serde_json::Value;

/// Where and how a command prints.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    pub(super) json: bool,
}

impl Output {
    /// One line: JSON where that is asked for, else text.
    pub(super) fn line(self, json: impl FnOnce() -> Value, text: impl FnOnce() -> String) -> io::Result<()> {
        let line = if self.json { json().to_string() } else { text() };
        print(&(line + "\n"))
    }
}

/// Prints text as it is. Unlike `print!`, it never panics; and a closed pipe is no error: who reads our output has read
/// enough, as `head` does, but the command goes on and ends as it would have.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}
