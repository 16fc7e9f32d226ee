use std::fs;

use approx::assert_relative_eq;
use inverse_core::testing::check_model;
use inverse_core::{
    BoxPrior, CheckpointPolicy, EpochReport, FnSimulator, GaussianNoise, Signal, SimulatedTask, Stream,
    check_pairs,
};
use ndarray::{Axis, array};

use super::*;
use crate::presets::{PresetMethod, Source};
use crate::{
    ConditionalInvertibleNetwork, MixtureDensityNetwork, ModelFileError, NearestNeighbor, SavedModel, load,
};

/// Uniform draws from `low` to `low + 1` whatever the target, of which those below 0.25 are said to be moved.
#[derive(Debug, Clone, PartialEq)]
struct Uniform {
    low: f64,
    dim_x: usize,
    density: bool,
    missing: usize,
}

const fn uniform(low: f64) -> Uniform {
    Uniform { low, dim_x: 1, density: true, missing: 0 }
}

impl InverseModel for Uniform {
    fn name(&self) -> &'static str {
        "uniform"
    }

    fn dim_x(&self) -> usize {
        self.dim_x
    }

    fn dim_y(&self) -> usize {
        1
    }

    fn parameter_count(&self) -> usize {
        2
    }

    fn propose(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        rng: &mut dyn Rng,
    ) -> Result<Proposals, ProposeError> {
        check_request(y, 1, n, 1 << 20)?;
        let shape = (y.nrows(), n - self.missing, self.dim_x);
        let mut designs = Array3::zeros(shape);
        for (mut designs, mut stream) in designs.outer_iter_mut().zip(target_streams(y.nrows(), rng)) {
            designs.mapv_inplace(|_: f64| self.low + rand::RngExt::random::<f64>(&mut stream));
        }
        let moved = designs.index_axis(Axis(2), 0).mapv(|x| x < 0.25);
        Ok(Proposals::new(designs)?.with_moved_inside(moved)?)
    }

    fn log_density(
        &self,
        x: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
    ) -> Result<Option<Array1<f64>>, ProposeError> {
        check_pairs(x, y, (self.dim_x, 1))?;
        let log = |x: f64| if (0.0..=1.0).contains(&(x - self.low)) { 0.0 } else { f64::NEG_INFINITY };
        let logs = x.column(0).iter().skip(self.missing).map(|x| log(*x)).collect();
        Ok(self.density.then_some(logs))
    }
}

fn stream() -> Stream {
    RandomStreams::new(1).stream("propose", 0)
}

fn noisy_product(pairs: usize) -> Dataset {
    let product = FnSimulator::new(2, 1, |x, y| y[0] = x[0] * x[1]).unwrap();
    let prior = BoxPrior::new(&[0.0; 2], &[1.0; 2]).unwrap();
    let task = SimulatedTask::new("product", product, prior).unwrap();
    let data = Dataset::from_task(&task, pairs, &mut RandomStreams::new(1).stream("data", 0)).unwrap();
    let noise = GaussianNoise::new(&[0.05]).unwrap();
    data.measured(&noise, &mut RandomStreams::new(1).stream("noise", 0)).unwrap()
}

fn small_mdn() -> MixtureDensityNetwork {
    let mut method = MixtureDensityNetwork::preset("product", Source::Quick).unwrap();
    (method.hidden, method.training.epochs) = (vec![16], 6);
    method
}

#[test]
fn a_mixture_draws_from_each_member_as_often() {
    let model = DensityEnsembleModel::new(vec![uniform(0.0), uniform(10.0), uniform(20.0)]).unwrap();
    let y = array![[0.2], [0.7]];
    let draws = model.propose(y.view(), 3000, &mut stream()).unwrap();
    let tens = draws.designs().mapv(|x| (x / 10.0).floor());
    for of_target in tens.outer_iter() {
        for member in 0..3 {
            assert_eq!(of_target.iter().filter(|ten| **ten == f64::from(member)).count(), 1000);
        }
        // In an order of chance: among the first 300 about a third of each, to five deviations of √(300 · 2/9 · 0.9).
        let first = of_target.iter().take(300).filter(|ten| **ten == 0.0).count();
        assert!((first as f64 - 100.0).abs() < 5.0 * 60.0_f64.sqrt(), "{first}");
    }
    // What a member has moved is said of the same draw.
    let moved = draws.designs().index_axis(Axis(2), 0).mapv(|x| x < 0.25);
    assert_eq!(draws.moved_inside(), Some(moved.view()));
    assert_eq!((model.name(), model.parameter_count()), ("ensemble of 3 uniform", 6));
    check_model(&model, y.view(), 1).unwrap();
}

#[test]
fn a_rest_of_draws_falls_to_members_by_chance() {
    let model = DensityEnsembleModel::new(vec![uniform(0.0), uniform(10.0), uniform(20.0)]).unwrap();
    let targets = 900;
    let draws = model.propose(Array2::zeros((targets, 1)).view(), 4, &mut stream()).unwrap();
    let mut twice = [0.0_f64; 3];
    for of_target in draws.designs().outer_iter() {
        let count = |low: f64| of_target.iter().filter(|x| (**x / 10.0).floor() == low).count();
        let counts = [count(0.0), count(1.0), count(2.0)];
        assert!(counts.iter().all(|count| (1..=2).contains(count)), "{counts:?}");
        for (member, count) in counts.iter().enumerate() {
            twice[member] += f64::from(*count == 2);
        }
    }
    // A third of the targets each, to five deviations.
    let deviation = (targets as f64 * 2.0 / 9.0).sqrt();
    assert!(twice.iter().all(|twice| (twice - 300.0).abs() < 5.0 * deviation), "{twice:?}");
}

#[test]
fn the_density_is_the_mean_of_the_members_densities() {
    let model = DensityEnsembleModel::new(vec![uniform(0.0), uniform(0.5), uniform(0.5)]).unwrap();
    let x = array![[0.2], [0.7], [1.2], [5.0]];
    let log = model.log_density(x.view(), Array2::zeros((4, 1)).view()).unwrap().unwrap();
    assert_relative_eq!(log[0], (1.0_f64 / 3.0).ln(), epsilon = 1e-12);
    assert_relative_eq!(log[1], 0.0, epsilon = 1e-12);
    assert_relative_eq!(log[2], (2.0_f64 / 3.0).ln(), epsilon = 1e-12);
    assert_eq!(log[3], f64::NEG_INFINITY);
    for (logs, expected) in [
        ([-1e5, -1e5], -1e5),
        ([f64::INFINITY, 0.0], f64::INFINITY),
        ([f64::NEG_INFINITY, 1.0], 1.0 - 2.0_f64.ln()),
    ] {
        assert_eq!(log_mean(logs.into_iter()), expected);
    }
    for logs in [[f64::NAN, 0.0], [f64::NAN, f64::INFINITY], [f64::NAN, f64::NEG_INFINITY]] {
        assert!(log_mean(logs.into_iter()).is_nan());
    }
}

#[test]
fn members_that_cannot_be_mixed_are_named() {
    let new = |members: Vec<Uniform>| DensityEnsembleModel::new(members).unwrap_err().to_string();
    assert_eq!(new(vec![]), "invalid `members`: expected 1 to 64, found 0");
    let other = Uniform { dim_x: 2, ..uniform(0.0) };
    let error = new(vec![uniform(0.0), other]);
    assert!(error.contains("invalid `members`: expected models of (1, 1) variables"), "{error}");
    let error = new(vec![uniform(0.0), Uniform { density: false, ..uniform(0.0) }]);
    assert_eq!(error, "invalid `model`: expected one with a density, found uniform");
    let short =
        DensityEnsembleModel::new(vec![uniform(0.0), Uniform { missing: 1, ..uniform(0.0) }]).unwrap();
    let y = array![[0.5]];
    let error = short.propose(y.view(), 10, &mut stream()).unwrap_err().to_string();
    assert_eq!(error, "invalid `members`: expected proposals of shape (1, 5, 1), found (1, 4, 1)");
    let error = short.log_density(y.view(), y.view()).unwrap_err().to_string();
    assert_eq!(error, "invalid `members`: expected log-densities of 1 pairs, found 0");

    let data = noisy_product(60);
    let fit = |members| DensityEnsemble { method: small_mdn(), members }.fit(&data, &mut FitContext::new(1));
    for members in [0, 65] {
        let error = fit(members).unwrap_err().to_string();
        assert!(error.contains("`members`: expected 1 to 64"), "{error}");
    }
    let error =
        DensityEnsemble { method: NearestNeighbor {}, members: 2 }.fit(&data, &mut FitContext::new(1));
    assert!(error.unwrap_err().to_string().contains("`model`: expected one with a density"));
}

#[test]
fn the_mixture_scores_above_the_mean_of_its_members() {
    let (data, fresh) = (noisy_product(300), noisy_product(2000));
    let fresh = fresh.select(&(300..2000).collect::<Vec<_>>()).unwrap();
    let model =
        DensityEnsemble { method: small_mdn(), members: 3 }.fit(&data, &mut FitContext::new(1)).unwrap();
    let mean = |log: Array1<f64>| log.mean().unwrap();
    let whole = mean(model.log_density(fresh.x(), fresh.y()).unwrap().unwrap());
    let own: Vec<f64> = model
        .members()
        .iter()
        .map(|member| mean(member.log_density(fresh.x(), fresh.y()).unwrap().unwrap()))
        .collect();
    // Jensen's inequality, pair by pair; strict, for no two members are alike.
    assert!(whole > own.iter().sum::<f64>() / 3.0, "{whole} {own:?}");
    assert!(own[0] != own[1] && own[1] != own[2]);
    // Of one seed the same, of another not.
    let again =
        |seed| DensityEnsemble { method: small_mdn(), members: 3 }.fit(&data, &mut FitContext::new(seed));
    let draw =
        |model: &DensityEnsembleModel<_>| model.propose(array![[0.3]].view(), 7, &mut stream()).unwrap();
    assert_eq!(draw(&again(1).unwrap()), draw(&model));
    assert_ne!(draw(&again(2).unwrap()), draw(&model));
}

#[test]
fn an_ensemble_comes_back_from_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let data = noisy_product(100);
    let fit = |seed, members| {
        DensityEnsemble { method: small_mdn(), members }.fit(&data, &mut FitContext::new(seed)).unwrap()
    };
    let draw = |model: &dyn InverseModel| model.propose(array![[0.3]].view(), 7, &mut stream()).unwrap();
    let first = fit(1, 3);
    first.save(path).unwrap();
    let loaded = load(path, Device::Cpu).unwrap();
    assert_eq!((draw(&loaded), loaded.name()), (draw(&first), "ensemble of 3 MDN"));

    // Another, smaller one in its place, then a single model, and back.
    let second = fit(2, 2);
    second.save(path).unwrap();
    assert_eq!(draw(&load(path, Device::Cpu).unwrap()), draw(&second));
    assert!(!path.join("generation-0").exists());
    let single = &second.members()[0];
    single.save(path).unwrap();
    assert_eq!(draw(&load(path, Device::Cpu).unwrap()), draw(single));
    assert!(!path.join("ensemble.json").exists() && !path.join("generation-1").exists());
    first.save(path).unwrap();
    assert_eq!(draw(&load(path, Device::Cpu).unwrap()), draw(&first));

    // Ensembles of ensembles, and of different methods.
    let mut flow = ConditionalInvertibleNetwork::preset("product", Source::Quick).unwrap();
    flow.training.epochs = 1;
    let flow = flow.fit(&data, &mut FitContext::new(1)).unwrap();
    let members: Vec<Box<dyn SavedModel>> = vec![Box::new(first), Box::new(flow)];
    let both = DensityEnsembleModel::new(members).unwrap();
    both.save(path).unwrap();
    let loaded = load(path, Device::Cpu).unwrap();
    assert_eq!((draw(&loaded), loaded.name()), (draw(&both), "ensemble of 2 ensemble of 3 MDN, cINN"));
}

#[test]
fn damaged_and_foreign_ensembles_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let data = noisy_product(60);
    let model = DensityEnsemble { method: small_mdn(), members: 2 };
    let model = model.fit(&data, &mut FitContext::new(1)).unwrap();
    let list = path.join("ensemble.json");
    let refused = |words: &str| {
        let error = load(path, Device::Cpu).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    model.save(path).unwrap();
    let good = fs::read_to_string(&list).unwrap();
    for (text, words) in [
        (&good[..20], "a list of an ensemble's members"),
        (&good.replace("inverse density", "some other"), "found the format \"some other ensemble\""),
        (&good.replace("\"members\": 2", "\"members\": 0"), "found 0 members"),
        (&good.replace("\"members\": 2", "\"members\": 1000000"), "found 1000000 members"),
        (&good.replace("\"members\": 2", "\"members\": 3"), "member-2"),
        (&good.replace("\"generation\": 0", "\"generation\": 7"), "generation-7"),
    ] {
        fs::write(&list, text).unwrap();
        refused(words);
    }
    // A list that cannot be read is replaced; a folder that no list names stays as it is.
    fs::write(&list, "{").unwrap();
    model.save(path).unwrap();
    let foreign = path.join("generation-2/member-0/ensemble.json");
    fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    fs::write(&foreign, &good).unwrap();
    model.save(path).unwrap();
    assert_eq!(fs::read_to_string(&foreign).unwrap(), good);
    assert!(path.join("generation-3").exists() && !path.join("generation-1").exists());
    let loaded = load(path, Device::Cpu).unwrap();
    let draw = |model: &dyn InverseModel| model.propose(array![[0.3]].view(), 3, &mut stream()).unwrap();
    assert_eq!(draw(&loaded), draw(&model));

    fs::write(path.join("model.safetensors"), "").unwrap();
    refused("both, of a save that was cut off");
    let neighbor = NearestNeighbor {}.fit(&data, &mut FitContext::new(1)).unwrap();
    model.save(path).unwrap();
    neighbor.save(&path.join("generation-4/member-1")).unwrap();
    refused("expected members of one width that have a density");
    assert!(matches!(load(&path.join("none"), Device::Cpu), Err(ModelFileError::Io { .. })));
}

#[test]
fn watched_members_are_those_that_fit_at_once() {
    let data = noisy_product(80);
    let method = DensityEnsemble { method: small_mdn(), members: 3 };
    let mut epochs = Vec::new();
    let mut watch = |report: &EpochReport| {
        epochs.push(report.epoch);
        Signal::Continue
    };
    let watched = method.fit(&data, &mut FitContext::new(1).with_observer(&mut watch)).unwrap();
    assert_eq!(epochs, [1, 2, 3, 4, 5, 6].repeat(3), "one after the other");
    let draw = |model: &dyn InverseModel| model.propose(array![[0.3]].view(), 9, &mut stream()).unwrap();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let silent = pool.install(|| method.fit(&data, &mut FitContext::new(1)).unwrap());
        assert_eq!(draw(&silent), draw(&watched));
    }
}

#[test]
fn members_resume_from_checkpoints_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let data = noisy_product(80);
    let method = DensityEnsemble { method: small_mdn(), members: 2 };
    let policy = CheckpointPolicy { folder: folder.path().into(), every: std::time::Duration::ZERO };
    let whole = method.fit(&data, &mut FitContext::new(1)).unwrap();
    let mut context = FitContext::new(1).with_checkpoints(policy.clone());
    let kept = method.fit(&data, &mut context).unwrap();
    assert!(folder.path().join("member-0").exists() && folder.path().join("member-1").exists());
    let resumed = method.fit(&data, &mut FitContext::new(1).with_checkpoints(policy)).unwrap();
    let draw = |model: &dyn InverseModel| model.propose(array![[0.3]].view(), 3, &mut stream()).unwrap();
    assert_eq!(draw(&kept), draw(&whole));
    assert_eq!(draw(&resumed), draw(&whole));
}
