//! Tables 2 and 10: how long inference and training take.

use serde::Serialize;

use super::{Publication, ratio};
use crate::study::{InferenceTimes, Plan, Repeats, TIMES, TRAINING_TIME, TrainingTime, Work, read_json};
use crate::{Study, StudyError, Table, paper_table};

/// One line of `table2.csv`.
#[derive(Serialize)]
struct InferenceRow {
    task: String,
    method: String,
    one_median: f64,
    one_shortest: f64,
    one_longest: f64,
    thousand_median: f64,
    thousand_shortest: f64,
    thousand_longest: f64,
    threads: usize,
    device: String,
    paper_thousand: Option<f64>,
}

/// One line of `table10.csv`.
#[derive(Serialize)]
struct TrainingRow {
    task: String,
    method: String,
    seconds: f64,
    sittings: usize,
    threads: usize,
    device: String,
    paper: Option<f64>,
}

impl Study {
    pub(super) fn timing_plan(&self) -> Result<Plan<'_>, StudyError> {
        let mut planner = self.planner();
        for (task, method) in self.pairs() {
            planner.timing(task, method)?;
        }
        Ok(planner.plan())
    }

    /// The first training of every method on every task.
    pub(super) fn training_plan(&self) -> Result<Plan<'_>, StudyError> {
        let mut planner = self.planner();
        for (task, method) in self.pairs() {
            planner.training(task, method, 0)?;
        }
        Ok(planner.plan())
    }

    pub(super) fn inference_times(&self, plan: &Plan<'_>) -> Result<Publication, StudyError> {
        let paper = paper_table(2)?;
        let header = [
            "task",
            "method",
            "one solution, s",
            "1,000 solutions, s",
            "shortest to longest",
            "paper",
            "ours / paper",
        ];
        let (mut rows, mut table) = (Vec::new(), Table::new(&header));
        for planned in plan.cells().iter().filter(|planned| matches!(planned.work, Work::Time { .. })) {
            let InferenceTimes { one, thousand, threads, device } =
                read_json(&self.store().folder(&planned.id), TIMES)?;
            let (task, method) = (planned.cell.task.clone(), planned.cell.label.clone());
            let printed = paper.value(&task, &method);
            table.push(vec![
                task.clone(),
                method.clone(),
                seconds(one.median),
                seconds(thousand.median),
                spread(&thousand),
                printed.map_or_else(String::new, |value| value.to_string()),
                ratio(thousand.median, printed),
            ]);
            rows.push(InferenceRow {
                task,
                method,
                one_median: one.median,
                one_shortest: one.shortest,
                one_longest: one.longest,
                thousand_median: thousand.median,
                thousand_shortest: thousand.shortest,
                thousand_longest: thousand.longest,
                threads,
                device,
                paper_thousand: printed,
            });
        }
        let title = "time of inference for one target; the paper's on an NVIDIA GTX 1080";
        Publication::new("table2", title).with_table(&rows, table)
    }

    pub(super) fn training_times(&self, plan: &Plan<'_>) -> Result<Publication, StudyError> {
        let paper = paper_table(10)?;
        let mut rows = Vec::new();
        let mut table = Table::new(&["task", "method", "training, s", "sittings", "paper", "ours / paper"]);
        for planned in plan.cells() {
            let TrainingTime { seconds: time, sittings, threads } =
                read_json(&self.store().folder(&planned.id), TRAINING_TIME)?;
            let (task, method) = (planned.cell.task.clone(), planned.cell.label.clone());
            let printed = paper.value(&task, &method);
            table.push(vec![
                task.clone(),
                method.clone(),
                seconds(time),
                sittings.to_string(),
                printed.map_or_else(String::new, |value| value.to_string()),
                ratio(time, printed),
            ]);
            let device = self.arguments().device().to_string();
            rows.push(TrainingRow { task, method, seconds: time, sittings, threads, device, paper: printed });
        }
        let title = "time of one training; the paper's on an NVIDIA GTX 1080";
        Publication::new("table10", title).with_table(&rows, table)
    }
}

/// Seconds with three digits that count, down to a microsecond.
fn seconds(time: f64) -> String {
    let places = (2.0 - time.max(1e-6).log10().floor()).clamp(0.0, 6.0);
    format!("{time:.0$}", places as usize)
}

fn spread(repeats: &Repeats) -> String {
    format!("{} to {} of {}", seconds(repeats.shortest), seconds(repeats.longest), repeats.count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_three_digits() {
        let written = [0.0, 0.000_123_4, 0.012_34, 1.234, 12.34, 123.4, 1234.0].map(seconds);
        assert_eq!(written, ["0.000000", "0.000123", "0.0123", "1.23", "12.3", "123", "1234"]);
    }
}
