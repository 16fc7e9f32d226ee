//! Ensembles of surrogates: their files, their loss, and what their disagreement changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use approx::assert_relative_eq;
use inverse_core::{
    BoxPrior, Dataset, Device, FitContext, FnSimulator, InverseModel, Method, RandomStreams, SimulatedTask,
    Simulator, Task,
};
use inverse_metrics::resimulate_search;
use inverse_models::nn::Activation;
use inverse_models::{
    AdaptiveSearchSettings, EnsembleSettings, LevenbergMarquardtSettings, NeuralAdjoint, NeuralAdjointModel,
    SavedModel, Starts,
};
use ndarray::{Array2, Axis, array};

fn spring() -> impl Task {
    let simulator = FnSimulator::new(2, 2, |x, y| {
        y[0] = x[0] * x[1] * x[1];
        y[1] = 3.0 * x[0];
    })
    .unwrap();
    SimulatedTask::new("spring", simulator, BoxPrior::new(&[0.5, -1.0], &[1.5, 1.0]).unwrap()).unwrap()
}

fn method() -> NeuralAdjoint {
    let ensemble = Some(EnsembleSettings { members: 3, disagreement_weight: 1.0 });
    let mut method = NeuralAdjoint { start_count: 40, ensemble, ..NeuralAdjoint::default() };
    method.surrogate.hidden = vec![24];
    method.surrogate.batch_norm = false;
    method.surrogate.activation = Activation::Silu;
    method.surrogate.training.epochs = 40;
    method.surrogate.training.batch_size = 32;
    method.surrogate.training.learning_rate = 5e-3;
    method.descent.steps = 60;
    method
}

fn fit(method: &NeuralAdjoint) -> NeuralAdjointModel {
    let data = Dataset::from_task(&spring(), 400, &mut RandomStreams::new(1).stream("data", 0)).unwrap();
    method.fit(&data, &mut FitContext::new(1)).unwrap()
}

fn targets() -> Array2<f64> {
    array![[0.3, 3.0], [0.7, 3.9], [0.05, 2.1]]
}

#[test]
fn an_ensemble_survives_its_file_and_has_the_single_surrogate_first() {
    let model = fit(&method());
    let single = fit(&NeuralAdjoint { ensemble: None, ..method() });
    assert_eq!(model.members().count(), 3);
    assert_eq!(model.parameter_count(), 3 * single.parameter_count());
    let x = array![[0.7, 0.2], [1.4, -0.9]];
    let predictions: Vec<Array2<f64>> =
        model.members().map(|member| member.predict(x.view()).unwrap()).collect();
    assert_eq!(predictions[0], single.surrogate().predict(x.view()).unwrap());
    assert_ne!(predictions[0], predictions[1]);

    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path()).unwrap();
    let again = NeuralAdjointModel::load(folder.path(), Device::Cpu).unwrap();
    assert_eq!(again.members().count(), 3);
    assert_eq!(again.training_reports().len(), 3);
    let propose = |model: &NeuralAdjointModel| {
        model.propose(targets().view(), 5, &mut RandomStreams::new(2).stream("propose", 0)).unwrap()
    };
    assert_eq!(propose(&again), propose(&model));
}

#[test]
fn predicted_errors_are_those_of_the_mean_and_the_variance() {
    let model = fit(&method());
    for weight in [0.0, 1.0, 4.0] {
        let weighted = model.with_disagreement_weight(weight).unwrap();
        let descended = weighted
            .with_levenberg_marquardt(40, LevenbergMarquardtSettings::default())
            .unwrap()
            .with_starts(Starts::Screened);
        for model in [weighted, descended] {
            let y = targets();
            let proposals =
                model.propose(y.view(), 4, &mut RandomStreams::new(2).stream("propose", 0)).unwrap();
            let errors = proposals.predicted_errors().unwrap();
            for target in 0..y.nrows() {
                let x = proposals.designs().index_axis(Axis(0), target).to_owned();
                let (mean, variance) = model.predict_with_disagreement(x.view()).unwrap();
                let squares = (&mean - &y.row(target)).mapv(|value| value * value) + &variance * weight;
                let expected = squares.mean_axis(Axis(1)).unwrap();
                for (error, expected) in errors.row(target).iter().zip(expected) {
                    // Values of size 3 in `f32`: squared differences are known to some 1e-6 of 3, times the root of them.
                    let tolerance = 1e-5 * expected.sqrt() + 1e-10;
                    assert!((error - expected).abs() <= tolerance, "{weight}: {error} {expected}");
                }
            }
        }
    }
}

#[test]
fn disagreement_keeps_designs_where_members_agree() {
    let model = fit(&method());
    let share_of_variance = |weight: f64| {
        let model = model.with_disagreement_weight(weight).unwrap();
        let y = targets();
        let proposals = model.propose(y.view(), 20, &mut RandomStreams::new(2).stream("propose", 0)).unwrap();
        let designs = proposals.designs();
        let x = designs.to_shape((60, 2)).unwrap().to_owned();
        model.predict_with_disagreement(x.view()).unwrap().1.mean().unwrap()
    };
    assert!(share_of_variance(4.0) < share_of_variance(0.0));
}

#[test]
fn an_adaptive_search_with_an_ensemble_finds_solutions() {
    let (task, model) = (spring(), fit(&method()));
    let mut rng = RandomStreams::new(3).stream("search", 0);
    let y = task.simulate(task.prior().sample(20, &mut rng).view()).unwrap();
    let model = model.with_levenberg_marquardt(40, LevenbergMarquardtSettings::default()).unwrap();
    let curve = |weight: f64| {
        let model = model.with_disagreement_weight(weight).unwrap();
        let mut rng = RandomStreams::new(3).stream("search", 1);
        let settings = AdaptiveSearchSettings::default();
        let mut search = model.adaptive_search(y.view(), 10, &settings, &mut rng).unwrap();
        resimulate_search(&task, &mut search, y.view(), 10, &mut rng).unwrap().curve().mean
    };
    for weight in [0.0, 1.0, 10.0] {
        let curve = curve(weight);
        // Every member is corrected: their doubt must not keep the search from the last digits.
        assert!(curve[9] < 1e-20, "{weight}: {curve:?}");
    }
}

#[test]
fn one_surrogate_agrees_with_itself() {
    let single = fit(&NeuralAdjoint { ensemble: None, ..method() });
    assert_eq!(single.with_disagreement_weight(1.0).unwrap_err().argument, "ensemble");
    let x = array![[0.7, 0.2]];
    let (mean, variance) = single.predict_with_disagreement(x.view()).unwrap();
    assert_relative_eq!(mean, single.surrogate().predict(x.view()).unwrap());
    assert_eq!(variance, array![[0.0, 0.0]]);
    let model = fit(&method());
    assert_eq!(model.with_disagreement_weight(-1.0).unwrap_err().argument, "disagreement_weight");
    let one = NeuralAdjoint {
        ensemble: Some(EnsembleSettings { members: 1, disagreement_weight: 1.0 }),
        ..method()
    };
    let data = Dataset::from_task(&spring(), 50, &mut RandomStreams::new(1).stream("data", 0)).unwrap();
    assert!(one.fit(&data, &mut FitContext::new(1)).is_err());
}

#[test]
fn screened_starts_are_the_designs_nearest_to_the_target() {
    let mut method = NeuralAdjoint { ensemble: None, start_count: 3, starts: Starts::Screened, ..method() };
    // Steps too short to leave a start: what is proposed are the starts.
    method.descent.steps = 1;
    method.descent.learning_rate = 1e-30;
    let data = Dataset::from_task(&spring(), 400, &mut RandomStreams::new(1).stream("data", 0)).unwrap();
    let model = method.fit(&data, &mut FitContext::new(1)).unwrap();
    let y = targets();
    let proposals = model.propose(y.view(), 3, &mut RandomStreams::new(2).stream("propose", 0)).unwrap();
    let predicted = model.surrogate().predict(data.x()).unwrap();
    for target in 0..y.nrows() {
        let squares = (&predicted - &y.row(target)).mapv(|value| value * value);
        let mut errors: Vec<f64> = squares.mean_axis(Axis(1)).unwrap().to_vec();
        errors.sort_by(f64::total_cmp);
        for (rank, error) in proposals.predicted_errors().unwrap().row(target).iter().enumerate() {
            // As above: `f32` on values of size 3.
            let tolerance = 1e-5 * errors[rank].sqrt() + 1e-10;
            assert!((error - errors[rank]).abs() <= tolerance, "{target}, {rank}: {error} {}", errors[rank]);
        }
    }
}
