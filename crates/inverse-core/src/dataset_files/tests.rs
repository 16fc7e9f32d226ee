use std::fs;
use std::io::Cursor;

use ndarray::{Array1, Array2, ShapeBuilder, array};
use ndarray_npy::WriteNpyExt;
use proptest::prelude::*;

use super::*;

fn data() -> Dataset {
    let x = array![[0.1, -1e-300], [1.0 / 3.0, 2.5e300], [0.0, -0.0]];
    let y = array![[std::f64::consts::PI], [-7.0], [1e-17]];
    let domain = Domain::from_bounds(&[-1.0, 0.1], &[0.3, 1.7]).unwrap();
    Dataset::new(x, y).unwrap().with_domain(domain).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The message of a refusal, which must be a format error that names the file.
fn refused(outcome: Result<Dataset, DataError>, file: &str) -> String {
    match outcome {
        Err(error @ DataError::Format { .. }) => {
            assert!(error.to_string().contains(file), "{error}");
            error.to_string()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_keep_every_bit() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["data.csv", "data", "data.CSV"] {
        let path = folder.path().join(name);
        data().save_csv(&path).unwrap();
        let read = Dataset::load_csv(&path).unwrap();
        assert_eq!((read.content_hash(), read.domain()), (data().content_hash(), data().domain()));
    }
    let npy = folder.path().join("a/b");
    data().save_npy(&npy).unwrap();
    assert_eq!(names(&npy), ["domain.csv", "x.npy", "y.npy"], "no temporary file stays");
    assert_eq!(Dataset::load_npy(&npy).unwrap().content_hash(), data().content_hash());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_dataset_survives_both_formats(
        (rows, dim_x, dim_y) in (1..6_usize, 1..4_usize, 1..4_usize),
        values in prop::collection::vec(prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO, 36),
    ) {
        let x = Array2::from_shape_fn((rows, dim_x), |(row, column)| values[row * 6 + column]);
        let y = Array2::from_shape_fn((rows, dim_y), |(row, column)| values[row * 6 + 3 + column]);
        // The range of huge designs of both signs overflows: that is no dataset.
        if let Ok(data) = Dataset::new(x, y) {
            let domain = Domain::new(Array1::from(values[..dim_x].to_vec()), Array1::ones(dim_x)).unwrap();
            let data = data.with_domain(domain).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("data.csv");
            data.save_csv(&path).unwrap();
            prop_assert_eq!(Dataset::load_csv(&path).unwrap().content_hash(), data.content_hash());
            data.save_npy(folder.path()).unwrap();
            prop_assert_eq!(Dataset::load_npy(folder.path()).unwrap().content_hash(), data.content_hash());
        }
    }

    #[test]
    fn any_bytes_give_a_dataset_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cut in 0..200_usize,
        place in 0..200_usize,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let csv = folder.path().join("data.csv");
        data().save_csv(&csv).unwrap();
        data().save_npy(folder.path()).unwrap();
        for path in [csv.clone(), folder.path().join("data.domain.csv"), folder.path().join("x.npy")] {
            let whole = fs::read(&path).unwrap();
            let mut damaged = whole.clone();
            damaged.truncate(cut.min(whole.len()));
            damaged.extend(&bytes);
            let mut flipped = whole.clone();
            flipped[place % whole.len()] ^= 1 << (place % 8);
            for content in [&bytes, &damaged, &flipped] {
                fs::write(&path, content).unwrap();
                let (table, arrays) = (Dataset::load_csv(&csv), Dataset::load_npy(folder.path()));
                // Whatever is damaged, nothing else is taken for the data: at most its comment differs.
                prop_assert!(table.is_err() || table.unwrap().x() == data().x());
                prop_assert!(arrays.is_err() || arrays.unwrap().x() == data().x());
            }
            fs::write(&path, whole).unwrap();
        }
    }
}

#[test]
fn tables_of_other_people_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.csv");
    // A byte order mark, spaces, comments, Windows line ends, no last line end.
    for text in [
        "x1, x2, y1\n 1, 2e0, 3\n4,5,6\n",
        "\u{feff}x1,x2,y1\r\n1,2,3\r\n4,5,6",
        "# measured in May\nx1,x2,y1\n1,2,3\n# again\n\"4\",5,6\n",
    ] {
        fs::write(&path, text).unwrap();
        let read = Dataset::load_csv(&path).unwrap();
        assert_eq!(read.x(), array![[1.0, 2.0], [4.0, 5.0]]);
        assert_eq!(read.domain().range(), array![3.0, 3.0]);
    }
    fs::write(folder.path().join("data.domain.csv"), "center,range\n0,10\n1,20\n").unwrap();
    assert_eq!(
        Dataset::load_csv(&path).unwrap().domain().range(),
        array![10.0, 20.0],
        "no hash, no comparison"
    );
}

#[test]
fn files_that_are_no_dataset_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.csv");
    for (text, words) in [
        ("", "expected columns x1, x2, … then y1, y2, …, found an empty file"),
        ("# nothing else\n", "expected columns x1, x2, … then y1, y2, …, found an empty file"),
        ("a,b\n1,2\n", "found columns a, b"),
        ("x1,x3,y1\n1,2,3\n", "found columns x1, x3, y1"),
        ("x1,x2\n1,2\n", "found columns x1, x2"),
        ("y1,x1\n1,2\n", "found columns y1, x1"),
        ("x1;y1\n1;2\n", "found columns x1;y1"),
        ("1.0,2.0\n3.0,4.0\n", "found columns 1.0, 2.0"),
        ("x1,y1\n1,2\n3\n", "expected rows of 2 numbers, as the header, found CSV error: record 2 (line: 3"),
        ("x1,y1\n1,2\n3,4,5\n", "expected rows of 2 numbers, as the header"),
        ("x1,y1\n1,2\n3,four\n", "found `four` in row 2, column `y1`"),
        ("x1,y1\n1,2\n\n# c\n,4\n", "found `` in row 2, column `x1`"),
        ("x1,y1\n1,NaN\n", "expected finite numbers, found `NaN` in row 1, column `y1`"),
        ("x1,y1\n-inf,1\n", "found `-inf` in row 1, column `x1`"),
        ("x1,y1\n1e999,1\n", "found `1e999` in row 1"),
        ("x1,y1\n", "expected at least one row, found a header alone"),
    ] {
        fs::write(&path, text).unwrap();
        let message = refused(Dataset::load_csv(&path), "data.csv");
        assert!(message.contains(words), "{text:?}: {message}");
    }
    fs::write(&path, b"x1,y1\n1,\xff\n").unwrap();
    assert!(refused(Dataset::load_csv(&path), "data.csv").contains("UTF-8"));
}

#[test]
fn missing_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (outcome, file) in [
        (Dataset::load_csv(&folder.path().join("data.csv")), "data.csv"),
        (Dataset::load_npy(folder.path()), "x.npy"),
        (Dataset::load_csv(folder.path()), ""),
    ] {
        let error = outcome.unwrap_err();
        assert!(matches!(error, DataError::Io { .. }) && error.to_string().contains(file), "{error}");
    }
    data().save_npy(folder.path()).unwrap();
    fs::remove_file(folder.path().join("y.npy")).unwrap();
    assert!(Dataset::load_npy(folder.path()).unwrap_err().to_string().contains("y.npy"));
}

#[test]
fn domains_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.csv");
    fs::write(&path, "x1,y1\n1,2\n3,4\n").unwrap();
    for (text, words) in [
        ("center,range\n0,1\n0,1\n", "one row for each of the 1 variables of x, found 2 rows"),
        (
            "center,range\n0,-1\n",
            "expected a domain, found invalid `range`: expected finite values of at least 0",
        ),
        ("center,range\n0,NaN\n", "finite numbers"),
        ("center,range\n", "at least one row"),
        ("range,center\n1,0\n", "expected columns center, range, found columns range, center"),
        ("", "an empty file"),
        ("# content_hash 00\ncenter,range\n0,1\n", "that of other data, 00"),
    ] {
        fs::write(folder.path().join("data.domain.csv"), text).unwrap();
        let message = refused(Dataset::load_csv(&path), "data.domain.csv");
        assert!(message.contains(words), "{text:?}: {message}");
    }
    // A domain that cannot be read is not a domain that is absent.
    fs::remove_file(folder.path().join("data.domain.csv")).unwrap();
    fs::create_dir(folder.path().join("data.domain.csv")).unwrap();
    assert!(matches!(Dataset::load_csv(&path), Err(DataError::Io { .. })));
}

#[test]
fn files_of_two_saves_are_not_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("data.csv"), folder.path().join("other.csv"));
    let changed = Dataset::new(data().x().to_owned(), data().y().to_owned() + 1.0).unwrap();
    data().save_csv(&path).unwrap();
    changed.save_csv(&other).unwrap();
    fs::copy(&other, &path).unwrap();
    assert!(refused(Dataset::load_csv(&path), "data.domain.csv").contains("that of other data"));
    changed.save_csv(&path).unwrap();
    assert_eq!(Dataset::load_csv(&path).unwrap(), changed);
    data().save_npy(folder.path()).unwrap();
    let old = fs::read(folder.path().join("y.npy")).unwrap();
    changed.save_npy(folder.path()).unwrap();
    fs::write(folder.path().join("y.npy"), old).unwrap();
    assert!(refused(Dataset::load_npy(folder.path()), "domain.csv").contains("that of other data"));
}

#[test]
fn names_do_not_share_a_domain() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["run.1", "run.2", "run.csv", "run", "run.CSV"].map(|name| folder.path().join(name));
    for path in &paths {
        data().save_csv(path).unwrap();
    }
    assert_eq!(names(folder.path()).len(), 10, "{:?}", names(folder.path()));
}

#[test]
fn damaged_npy_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    data().save_npy(folder.path()).unwrap();
    let path = folder.path().join("x.npy");
    let whole = fs::read(&path).unwrap();
    for length in [0, 5, 60, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        refused(Dataset::load_npy(folder.path()), "x.npy");
    }
    fs::write(&path, [&*whole, b"more"].concat()).unwrap();
    refused(Dataset::load_npy(folder.path()), "x.npy");
    // Headers that claim far more than the file holds, with its data and without any.
    for shape in [
        "(99999999999999999, 2)",
        "(0, 999999999999999999999999)",
        "(4294967296, 4294967296)",
        "(0, 9223372036854775808)",
        "(9223372036854775808, 0)",
        "(0, 4611686018427387904, 4)",
        "(0, 9223372036854775807)",
    ] {
        for data in [&whole[128..], &[]] {
            let header = String::from_utf8_lossy(&whole[10..128]);
            assert!(header.contains("(3, 2)"), "{header}");
            fs::write(&path, npy(header.replacen("(3, 2)", shape, 1).trim_end(), data)).unwrap();
            refused(Dataset::load_npy(folder.path()), "x.npy");
        }
    }
}

/// A npy file with the header and the data, of version 1 of the format.
fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let padding = 63 - (10 + header.len()) % 64;
    let text = format!("{header}{}\n", " ".repeat(padding));
    let length = u16::try_from(text.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], text.as_bytes(), data].concat()
}

#[test]
fn nested_npy_headers_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    data().save_npy(folder.path()).unwrap();
    let path = folder.path().join("x.npy");
    for bracket in ["[", "(", "{"] {
        let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {}", bracket.repeat(60));
        fs::write(&path, npy(&header, &[])).unwrap();
        let message = refused(Dataset::load_npy(folder.path()), "x.npy");
        assert!(message.contains("a header that opens 61 brackets"), "{message}");
    }
}

#[test]
fn npy_files_of_another_kind_are_named() {
    let folder = tempfile::tempdir().unwrap();
    data().save_npy(folder.path()).unwrap();
    let load = |array: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        array(&mut bytes);
        fs::write(folder.path().join("x.npy"), bytes).unwrap();
        Dataset::load_npy(folder.path())
    };
    macro_rules! refuses {
        ($array:expr, $words:expr) => {
            let message = refused(load(&|bytes| $array.write_npy(Cursor::new(bytes)).unwrap()), "npy");
            assert!(message.contains($words), "{message}");
        };
    }
    refuses!(array![[1_i32, 2], [3, 4], [5, 6]], "<i4");
    refuses!(array![[1_f32, 2.0], [3.0, 4.0], [5.0, 6.0]], "<f4");
    refuses!(array![1.0, 2.0, 3.0], "two axes");
    refuses!(array![[[1.0]], [[2.0]], [[3.0]]], "two axes");
    refuses!(Array2::<f64>::zeros((0, 2)), "at least one row");
    refuses!(array![[1.0], [f64::NAN], [2.0]], "found NaN at [1, 0]");
    refuses!(array![[1.0], [2.0]], "y.npy is not a dataset: expected 2 rows, as in x.npy, found 3 rows");
    // NumPy's Fortran order is a layout, not another array.
    let mut columns = Array2::zeros((3, 2).f());
    columns.assign(&data().x());
    let read = load(&|bytes| columns.write_npy(Cursor::new(bytes)).unwrap()).unwrap();
    assert_eq!(read.content_hash(), data().content_hash());
}

#[test]
fn unwritable_places_keep_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    let error = data().save_csv(&file.join("data.csv")).unwrap_err();
    assert!(matches!(error, DataError::Io { .. }) && error.to_string().contains("data.csv"), "{error}");
    assert!(matches!(data().save_npy(&file), Err(DataError::Io { .. })));
    assert!(matches!(data().save_csv(&folder.path().join("absent/data.csv")), Err(DataError::Io { .. })));
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert_eq!(names(folder.path()), ["file"], "no temporary file stays");
}

#[test]
fn a_dataset_that_cannot_be_written_whole_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.csv");
    data().save_csv(&path).unwrap();
    let staged = [(path.clone(), b"new".to_vec()), (path.join("below"), b"never".to_vec())];
    assert!(matches!(replace(&staged), Err(DataError::Io { .. })));
    assert_eq!(Dataset::load_csv(&path).unwrap(), data());
    assert_eq!(names(folder.path()), ["data.csv", "data.domain.csv"]);
}

#[test]
fn data_never_lie_there_without_their_domain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.csv");
    // No file replaces a folder: the domain's step fails, as where the process is killed before it.
    let domains = ["data.domain.csv", "domain.csv"].map(|name| folder.path().join(name));
    for domain in &domains {
        fs::create_dir(domain).unwrap();
    }
    let save = || {
        let outcomes = [data().save_csv(&path), data().save_npy(folder.path())];
        for (outcome, file) in outcomes.into_iter().zip(["data.domain.csv", "domain.csv"]) {
            let error = outcome.unwrap_err();
            assert!(matches!(error, DataError::Io { .. }) && error.to_string().contains(file), "{error}");
        }
    };
    save();
    assert_eq!(names(folder.path()), ["data.domain.csv", "domain.csv"], "no data without their domain");
    // Data of someone else, which have none.
    let other = Dataset::new(array![[1.0], [2.0]], array![[3.0], [4.0]]).unwrap();
    fs::write(&path, "x1,y1\n1,3\n2,4\n").unwrap();
    for (name, array) in [("x.npy", other.x()), ("y.npy", other.y())] {
        let file = fs::File::create(folder.path().join(name)).unwrap();
        array.write_npy(file).unwrap();
    }
    save();
    for domain in &domains {
        fs::remove_dir(domain).unwrap();
    }
    assert_eq!(Dataset::load_csv(&path).unwrap(), other);
    assert_eq!(Dataset::load_npy(folder.path()).unwrap(), other);
}

#[test]
fn a_save_killed_after_the_domain_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.csv");
    let domain = data().domain_file(folder.path().join("data.domain.csv"));
    replace(std::slice::from_ref(&domain)).unwrap();
    assert!(matches!(Dataset::load_csv(&path), Err(DataError::Io { .. })), "no data yet");
    fs::write(&path, "x1,x2,y1\n1,2,3\n4,5,6\n").unwrap();
    assert!(refused(Dataset::load_csv(&path), "data.domain.csv").contains("that of other data"));
}
