//! What a study ran on: for reports, never for results.

use std::fs;
use std::thread::available_parallelism;

/// Name and value of each thing that times depend on.
pub(crate) fn machine() -> Vec<(&'static str, String)> {
    let unknown = || "unknown".to_owned();
    let cores = available_parallelism().map_or_else(|_| unknown(), |cores| cores.to_string());
    vec![
        ("operating system", format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH)),
        ("processor", processor().unwrap_or_else(unknown)),
        ("cores", cores),
        ("threads at work", rayon::current_num_threads().to_string()),
    ]
}

/// As Linux tells it; other systems have no file to ask.
fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_a_value() {
        let machine = machine();
        assert!(machine.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()), "{machine:?}");
        let threads = machine.iter().find(|(name, _)| *name == "threads at work").unwrap();
        assert!(threads.1.parse::<usize>().unwrap() >= 1);
    }
}
