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
    for profile in [Profile::Smoke, Profile::Quick, Profile::Paper] {
        let out = Some(folder.path().to_owned());
        let arguments = StudyArguments { profile: Some(profile), out, ..StudyArguments::default() };
        let study = Study::new(&arguments).unwrap();
        assert_eq!((study.tasks().len(), study.methods().len()), (4, 8));
        for (number, stage) in TABLES {
            let plan = study.item_plan(PaperItem::Table(number)).unwrap();
            let Some(stage) = stage else {
                // Its rows are there at once: two lines of head, and one for each method and task.
                assert!(plan.cells().is_empty());
                assert_eq!(
                    study.item(PaperItem::Table(number)).unwrap().text().trim().lines().count(),
                    2 + 32
                );
                continue;
            };
            for task in study.tasks() {
                for method in study.methods() {
                    let fills = |cell: &inverse_bench::Cell| {
                        cell.task == task.name() && cell.method == *method && cell.stage == stage
                    };
                    let filled = plan.cells().iter().any(|planned| fills(&planned.cell));
                    assert!(filled, "Table {number}, {profile}: {method} on {}", task.name());
                }
            }
        }
    }
}
