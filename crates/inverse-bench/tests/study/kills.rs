//! `kill -9` at random moments.

use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::command::Bench;

const KILLS: usize = 20;

fn start(bench: &Bench, store: &str) -> Child {
    bench.command(&["run"], store).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Whether it was killed, and not ended by itself.
fn kill_after(mut child: Child, pause: Duration) -> bool {
    sleep(pause);
    // On Unix this is SIGKILL.
    let _ = child.kill();
    let status = child.wait().unwrap();
    let errors = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert!(errors.is_empty(), "killed, not failed: {errors}");
    assert!(status.success() || status.code().is_none(), "{status}");
    !status.success()
}

#[test]
fn twenty_kills_change_no_bit_of_any_table() {
    let bench = Bench::new();
    let begun = Instant::now();
    bench.ends(&["run"], "whole", 0);
    let whole = begun.elapsed();
    let expected = bench.results("whole");
    // The moments differ from run to run with the machine's load; what must come out does not.
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    let (mut kills, mut studies) = (0, 0);
    while kills < KILLS {
        studies += 1;
        let store = format!("killed-{studies}");
        let mut sittings = 0;
        // A fifth of a study at most: it takes many sittings.
        while kills < KILLS && kill_after(start(&bench, &store), whole.mul_f64(rng.random_range(0.0..0.2))) {
            kills += 1;
            sittings += 1;
        }
        assert!(sittings > 0 || studies < KILLS, "every run was too fast to be killed");
        bench.ends(&["run"], &store, 0);
        assert_eq!(bench.results(&store), expected, "after {sittings} kills");
        bench.compares(&store, "whole", 0);
    }
}
