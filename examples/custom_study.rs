//! A task and a method of your own in a study beside the library's: trained several times, the best chosen, every cell
//! kept in a store. Run it twice: the second time nothing is trained.
//!
//! `cargo run --release --example custom_study`

use std::fs;
use std::path::Path;

use inverse::bench::{Study, StudyArguments, score_table};
use inverse::core::{Device, FitError, InvalidArgument, ProposeError, check_request};
use inverse::models::{AnyMethod, ModelFileError, any_method};
use inverse::prelude::*;
use ndarray::{Array3, ArrayView2, Axis, s};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// Training pairs drawn by chance, nearer ones more often: no network at all.
#[derive(Serialize, Deserialize)]
struct KernelDraws {
    /// Distance in y at which a pair is chosen e times less often.
    width: f64,
}

/// The model: pairs one behind the other, x before y.
#[derive(Serialize, Deserialize)]
struct Pairs {
    rows: ndarray::Array2<f64>,
    dim_x: usize,
    width: f64,
}

impl Method for KernelDraws {
    type Model = Pairs;

    fn fit(&self, data: &Dataset, _context: &mut FitContext<'_>) -> Result<Pairs, FitError> {
        let rows = ndarray::concatenate![Axis(1), data.x(), data.y()];
        Ok(Pairs { rows, dim_x: data.x().ncols(), width: self.width })
    }
}

impl InverseModel for Pairs {
    fn name(&self) -> &'static str {
        "kernel-draws"
    }

    fn dim_x(&self) -> usize {
        self.dim_x
    }

    fn dim_y(&self) -> usize {
        self.rows.ncols() - self.dim_x
    }

    fn propose(
        &self,
        y: ArrayView2<'_, f64>,
        n: usize,
        rng: &mut dyn Rng,
    ) -> Result<Proposals, ProposeError> {
        check_request(y, self.dim_y(), n, usize::MAX)?;
        let mut designs = Array3::zeros((y.nrows(), n, self.dim_x));
        for (target, mut designs) in y.rows().into_iter().zip(designs.outer_iter_mut()) {
            let mut sum = 0.0;
            let sums: Vec<f64> = (self.rows.slice(s![.., self.dim_x..]).rows().into_iter())
                .map(|measured| {
                    let distance = (&measured - &target).mapv(|d| d * d).sum().sqrt();
                    sum += (-distance / self.width).exp();
                    sum
                })
                .collect();
            for mut design in designs.rows_mut() {
                let drawn = sum * rng.random::<f64>();
                let row = sums.partition_point(|sum| *sum < drawn).min(sums.len() - 1);
                design.assign(&self.rows.slice(s![row, ..self.dim_x]));
            }
        }
        Ok(Proposals::new(designs)?)
    }
}

// What a study needs beyond a method: a name, the files of its models, and settings for a task.

impl SavedModel for Pairs {
    fn save(&self, folder: &Path) -> Result<(), ModelFileError> {
        let path = folder.join("pairs.json");
        let io = |source: std::io::Error| ModelFileError::Io { path: path.clone(), source };
        let json = serde_json::to_vec(self).map_err(|error| io(error.into()))?;
        fs::create_dir_all(folder).and_then(|()| fs::write(&path, json)).map_err(io)
    }
}

impl PresetMethod for KernelDraws {
    const NAME: &'static str = "kernel-draws";
    const LABEL: &'static str = "kernel draws";

    fn preset(_task: &str, _source: Source) -> Result<Self, InvalidArgument> {
        Ok(Self { width: 0.05 })
    }

    fn parameter_count(&self, _dim_x: usize, _dim_y: usize) -> usize {
        0
    }

    fn load_model(folder: &Path, _device: Device) -> Result<Box<dyn SavedModel>, ModelFileError> {
        let path = folder.join("pairs.json");
        let io = |source: std::io::Error| ModelFileError::Io { path: path.clone(), source };
        let json = fs::read(&path).map_err(io)?;
        let pairs: Pairs = serde_json::from_slice(&json).map_err(|error| io(error.into()))?;
        Ok(Box::new(pairs))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Range and height of a throw, from its angle (rad) and speed (m/s).
    let throw = FnSimulator::new(2, 2, |x, y| {
        let (sine, cosine) = x[0].sin_cos();
        y[0] = 2.0 * x[1] * x[1] * sine * cosine / 9.81;
        y[1] = x[1] * x[1] * sine * sine / (2.0 * 9.81);
    })?;
    let task = SimulatedTask::new("throw", throw, BoxPrior::new(&[0.2, 5.0], &[1.4, 10.0])?)?;

    let arguments = StudyArguments {
        out: Some("results/custom".into()),
        trainings: Some(2),
        targets: Some(50),
        ..StudyArguments::default()
    };
    let study = Study::new(&arguments)?;
    let own: Box<dyn AnyMethod> = any_method(KernelDraws::preset("throw", Source::Quick)?);
    let results = vec![
        study.result(&task, "NA")?,
        study.result(&task, "nearest neighbour")?,
        study.variant(&task, &*own, own.label())?,
    ];
    for proposals in [1, 200] {
        print!("{}", score_table(&study.score_rows(&results, proposals, 3)?).text());
    }
    Ok(())
}
