//! The library's own tasks pass the checks that other people's tasks are given.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use inverse_core::testing::check_task;

#[test]
fn every_task_conforms() {
    for name in inverse_tasks::names() {
        for seed in 0..5 {
            check_task(&*inverse_tasks::by_name(name).unwrap(), seed).unwrap();
        }
    }
}
