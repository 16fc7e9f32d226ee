//! Stores and study files of random content: an answer or an error, no panic, and no trust.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use std::fs;

use inverse_bench::{Cell, EntryState, PaperItem, Stage, Store, Study, StudyArguments, compare};
use proptest::prelude::*;
use serde_json::json;

const ID: &str = "task-method-evaluation-00";

fn finished(folder: &std::path::Path) -> (Store, serde_json::Value) {
    let store = Store::open(folder).unwrap();
    let identity = json!({"seed": 1});
    fs::create_dir_all(store.folder(ID)).unwrap();
    fs::write(store.folder(ID).join("errors.csv"), "target,proposal,squared_error\n1,1,0.5\n").unwrap();
    let cell = Cell {
        task: "task".into(),
        method: "method".into(),
        label: "Method".into(),
        stage: Stage::Evaluation,
        trial: None,
        profile: "smoke".into(),
        seed: 1,
    };
    store.finish(ID, &cell, &identity).unwrap();
    (store, identity)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn one_changed_byte_is_never_trusted(in_entry in any::<bool>(), place in any::<prop::sample::Index>(), change in 1..=255_u8) {
        let folder = tempfile::tempdir().unwrap();
        let (store, identity) = finished(folder.path());
        let EntryState::Finished(before) = store.state(ID, &identity).unwrap() else { panic!("unfinished") };
        let file = store.folder(ID).join(if in_entry { "entry.json" } else { "errors.csv" });
        let mut bytes = fs::read(&file).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        fs::write(&file, &bytes).unwrap();
        let other = Store::existing(folder.path()).unwrap();
        match other.state(ID, &identity).unwrap() {
            EntryState::Damaged(reason) => prop_assert!(!reason.is_empty()),
            // White space, or words about the cell that its bits do not depend on; its files and identity are whole.
            EntryState::Finished(entry) => {
                prop_assert!(in_entry);
                prop_assert_eq!((entry.files, entry.identity), (before.files, before.identity));
            }
            EntryState::Unfinished => prop_assert!(false, "a damaged entry counts as none"),
        }
        let _ = compare(&store, &other);
        let place = other.set_aside(ID).unwrap();
        prop_assert!(place.join("errors.csv").exists());
    }

    #[test]
    fn entries_of_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64), text in ".{0,40}") {
        let folder = tempfile::tempdir().unwrap();
        let (store, identity) = finished(folder.path());
        for bytes in [&bytes[..], text.as_bytes()] {
            fs::write(store.folder(ID).join("entry.json"), bytes).unwrap();
            prop_assert!(matches!(store.state(ID, &identity).unwrap(), EntryState::Damaged(_)));
            prop_assert_eq!(store.entries().unwrap().len(), 1);
        }
    }

    #[test]
    fn study_files_of_any_text(text in ".{0,60}", number in any::<i64>(), key in 0..6_usize) {
        let _ = toml::from_str::<StudyArguments>(&text);
        let key = ["seed", "threads", "trainings", "targets", "proposals", "quiet"][key];
        if let Ok(arguments) = toml::from_str::<StudyArguments>(&format!("{key} = {number}")) {
            let _ = arguments.validate();
        }
    }
}

#[test]
fn numbers_of_no_table_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let study =
        Study::new(&StudyArguments { out: Some(folder.path().into()), ..StudyArguments::default() }).unwrap();
    for number in [0, 6, 11, 12, 14, usize::MAX] {
        for item in [PaperItem::Table(number), PaperItem::Figure(number)] {
            let known = item == PaperItem::Figure(6);
            assert_eq!(study.item_plan(item).is_ok(), known, "{item}");
            assert_eq!(study.item(item).is_ok(), known, "{item}");
        }
    }
}
