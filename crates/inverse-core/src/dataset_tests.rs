use ndarray::{Array1, ShapeBuilder, array};

use super::*;
use crate::{
    BoxPrior, FnSimulator, GaussianNoise, Prior, RandomStreams, SimulatedTask, SimulationError, Simulator,
    Standardizer,
};

fn counted(n: usize) -> Dataset {
    let x = Array2::from_shape_fn((n, 1), |(row, _)| row as f64);
    Dataset::new(x.clone(), x * 2.0).unwrap()
}

#[test]
fn split_keeps_every_pair_once() {
    let data = counted(103);
    let (training, held_out) = data.split(0.2, &mut RandomStreams::new(5).stream("split", 0)).unwrap();
    assert_eq!((training.len(), held_out.len()), (82, 21));
    let mut all: Vec<_> = training.x().iter().chain(held_out.x()).map(|value| *value as usize).collect();
    all.sort_unstable();
    assert_eq!(all, (0..103).collect::<Vec<_>>());
    assert_eq!(training.y(), &training.x() * 2.0);
}

#[test]
fn hash_sees_every_value() {
    let data = counted(4);
    assert_eq!(data.content_hash(), counted(4).content_hash());
    assert_ne!(data.content_hash(), counted(5).content_hash());
    let mut y = data.y().to_owned();
    y[[3, 0]] += 1e-13;
    assert_ne!(Dataset::new(data.x().to_owned(), y).unwrap().content_hash(), data.content_hash());
}

#[test]
fn unanswered_designs_are_drawn_again() {
    let root = FnSimulator::new(1, 1, |x, y| y[0] = x[0].sqrt()).unwrap();
    let prior = BoxPrior::new(&[-1.0], &[1.0]).unwrap();
    let task = SimulatedTask::new("root", root, prior.clone()).unwrap();
    let data = Dataset::from_task(&task, 200, &mut RandomStreams::new(5).stream("data", 0)).unwrap();
    assert_eq!(data.len(), 200);
    assert!(data.redrawn() > 0);
    assert_eq!(data.domain(), prior.domain());
    let never = FnSimulator::new(1, 1, |_, _| ()).unwrap();
    let task = SimulatedTask::new("never", never, prior).unwrap();
    let error = Dataset::from_task(&task, 5, &mut RandomStreams::new(5).stream("data", 0)).unwrap_err();
    assert!(error.to_string().contains("0 of 5"), "{error}");
}

#[test]
fn many_pairs_are_drawn_for_as_long_as_few() {
    // One design in twenty has an answer: 100 rounds leave some of 2,000 pairs without one, however few.
    let rare = FnSimulator::new(1, 1, |x, y| y[0] = (0.05 - x[0]).sqrt()).unwrap();
    let task = SimulatedTask::new("rare", rare, BoxPrior::new(&[0.0], &[1.0]).unwrap()).unwrap();
    let data = Dataset::from_task(&task, 2000, &mut RandomStreams::new(5).stream("data", 0)).unwrap();
    assert_eq!(data.len(), 2000);
    assert!((30_000..50_000).contains(&data.redrawn()), "{}", data.redrawn());
}

#[test]
fn counts_that_no_memory_holds_are_refused() {
    let same = FnSimulator::new(1, 1, |x, y| y[0] = x[0]).unwrap();
    let task = SimulatedTask::new("same", same, BoxPrior::new(&[0.0], &[1.0]).unwrap()).unwrap();
    let mut rng = RandomStreams::new(5).stream("data", 0);
    for n in [0, LARGEST_PAIRS + 1, usize::MAX] {
        let error = Dataset::from_task(&task, n, &mut rng).unwrap_err().to_string();
        assert_eq!(error, format!("invalid `n`: expected 1 to {LARGEST_PAIRS}, found {n}"));
    }
}

/// Claims a width that no memory holds.
struct Wide(BoxPrior, (usize, usize));

impl Simulator for Wide {
    fn dim_x(&self) -> usize {
        self.1.0
    }

    fn dim_y(&self) -> usize {
        self.1.1
    }

    fn simulate(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>, SimulationError> {
        Ok(x.to_owned())
    }
}

impl Task for Wide {
    fn name(&self) -> &'static str {
        "wide"
    }

    fn prior(&self) -> &dyn Prior {
        &self.0
    }
}

#[test]
fn widths_that_no_memory_holds_are_refused() {
    let prior = BoxPrior::new(&[0.0], &[1.0]).unwrap();
    let mut rng = RandomStreams::new(5).stream("data", 0);
    for (dimensions, found) in [((1, usize::MAX), "in y"), ((usize::MAX, 1), "in x"), ((0, 1), "0 in x")] {
        let task = Wide(prior.clone(), dimensions);
        let error = Dataset::from_task(&task, 3, &mut rng).unwrap_err().to_string();
        assert!(error.contains("invalid `task`") && error.contains(found), "{error}");
    }
}

#[test]
fn bits_do_not_depend_on_layout() {
    for columns in [1, 3] {
        let values = |shape| Array2::from_shape_fn(shape, |(row, column)| (row * 3 + column) as f64).sqrt();
        let x = values((1001, columns));
        let mut other = Array2::zeros((1001, columns).f());
        other.assign(&x);
        let of_columns = Dataset::new(other.clone(), other).unwrap();
        let data = Dataset::new(x.clone(), x.clone()).unwrap();
        assert_eq!(data.domain().center(), x.mean_axis(Axis(0)).unwrap());
        assert_eq!(of_columns.content_hash(), data.content_hash());
        for (left, right) in [(data.x(), of_columns.x()), (data.y(), of_columns.y())] {
            assert_eq!(Standardizer::fit(left).unwrap(), Standardizer::fit(right).unwrap());
        }
    }
}

#[test]
fn bad_input_is_refused() {
    assert!(Dataset::new(array![[1.0]], array![[1.0], [2.0]]).is_err());
    assert!(Dataset::new(Array2::zeros((0, 2)), Array2::zeros((0, 1))).is_err());
    assert!(Dataset::new(array![[1.0]], array![[f64::NAN]]).is_err());
    let error = Dataset::new(array![[1e308], [1e308]], array![[1.0], [1.0]]).unwrap_err().to_string();
    assert!(error.contains("invalid `x`") && error.contains("found a center of inf"), "{error}");
    let data = counted(3);
    let mut rng = RandomStreams::new(0).stream("split", 0);
    for share in [0.0, 1.0, -1.0, f64::NAN] {
        assert!(data.split(share, &mut rng).is_err());
    }
    assert!(data.select(&[3]).is_err());
    assert!(data.select(&[]).is_err());
    assert!(data.with_domain(Domain::from_bounds(&[0.0; 2], &[1.0; 2]).unwrap()).is_err());
}

/// Gives the measurements that it holds.
struct Fixed(Array2<f64>);

impl MeasurementNoise for Fixed {
    fn dim_y(&self) -> usize {
        1
    }

    fn measure(&self, _: ArrayView2<'_, f64>, _: &mut dyn Rng) -> Result<Array2<f64>, InvalidArgument> {
        Ok(self.0.clone())
    }

    fn log_likelihood(
        &self,
        exact: ArrayView2<'_, f64>,
        _: ArrayView2<'_, f64>,
    ) -> Result<Array1<f64>, InvalidArgument> {
        Ok(Array1::zeros(exact.nrows()))
    }
}

#[test]
fn measurements_take_the_place_of_outputs() {
    let exact = Dataset::new(array![[1.0], [2.0]], array![[10.0], [20.0]]).unwrap();
    let exact = exact.with_domain(Domain::from_bounds(&[0.0], &[9.0]).unwrap()).unwrap();
    let mut rng = RandomStreams::new(0).stream("noise", 0);
    let measured = exact.measured(&Fixed(array![[11.0], [19.0]]), &mut rng).unwrap();
    assert_eq!((measured.x(), measured.domain()), (exact.x(), exact.domain()));
    assert_eq!(measured.y(), array![[11.0], [19.0]]);
    let refused = |noise: &dyn MeasurementNoise, words: &str| {
        let mut rng = RandomStreams::new(0).stream("noise", 0);
        let error = exact.measured(noise, &mut rng).unwrap_err().to_string();
        assert!(error.contains("invalid `noise`") && error.contains(words), "{error}");
    };
    refused(&GaussianNoise::new(&[1.0, 1.0]).unwrap(), "expected one of 1 measured variables, found 2");
    refused(&Fixed(array![[11.0]]), "measurements of shape (2, 1), found (1, 1)");
    refused(&Fixed(array![[11.0], [f64::NAN]]), "found NaN in row 1, column 0");
}

#[test]
fn pairs_are_joined_in_their_order() {
    let first = Dataset::new(array![[1.0], [2.0]], array![[10.0], [20.0]]).unwrap();
    let second = Dataset::new(array![[5.0]], array![[50.0]]).unwrap();
    let joined = first.joined(&second).unwrap();
    assert_eq!(
        (joined.x(), joined.y()),
        (array![[1.0], [2.0], [5.0]].view(), array![[10.0], [20.0], [50.0]].view())
    );
    assert_eq!(joined.domain(), &Domain::from_samples(joined.x()).unwrap());
    let wide = Dataset::new(array![[1.0]], array![[10.0, 11.0]]).unwrap();
    let error = first.joined(&wide).unwrap_err().to_string();
    assert_eq!(error, "invalid `other`: expected pairs of (1, 1) variables, x and y, found (1, 2)");
}
