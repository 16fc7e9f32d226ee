//! The tables of methods: all methods on all tasks, the metamaterial too.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use inverse_bench::{PaperItem, Profile, Stage, Study, StudyArguments};

/// Tables whose rows are methods on tasks, and the cells that fill them; Table 8 counts parameters and needs none.
const TABLES: [(usize, Option<Stage>); 6] = [
    (2, Some(Stage::Timing)),
    (3, Some(Stage::Evaluation)),
    (7, Some(Stage::Evaluation)),
    (8, None),
    (9, Some(Stage::Training)),
    (10, Some(Stage::Training)),
];

#[test]
fn tables_have_every_method_on_every_task() {
    let folder = tempfile::tempdir().unwrap();
    // Which rows there are does not depend on the profile.
    let out = Some(folder.path().to_owned());
    let arguments = StudyArguments { profile: Some(Profile::Smoke), out, ..StudyArguments::default() };
    let study = Study::new(&arguments).unwrap();
    assert_eq!((study.tasks().len(), study.methods().len()), (4, 8));
    for (number, stage) in TABLES {
        let plan = study.item_plan(PaperItem::Table(number)).unwrap();
        let Some(stage) = stage else {
            assert!(plan.cells().is_empty());
            let text = study.item(PaperItem::Table(number)).unwrap().text();
            for task in study.tasks() {
                let rows = text.lines().filter(|line| line.starts_with(task.name())).count();
                assert_eq!(rows, study.methods().len(), "Table {number}: {}", task.name());
            }
            continue;
        };
        for task in study.tasks() {
            for method in study.methods() {
                let fills = |cell: &inverse_bench::Cell| {
                    cell.task == task.name() && cell.method == *method && cell.stage == stage
                };
                let filled = plan.cells().iter().any(|planned| fills(&planned.cell));
                assert!(filled, "Table {number}: {method} on {}", task.name());
            }
        }
    }
}
