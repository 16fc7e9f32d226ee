//! Seconds of the descents of NA, of Table 2 and of Table 10.

use std::error::Error;
use std::time::Instant;

use inverse::bench::paper_table;
use inverse::core::Method;
use inverse::core::{Dataset, Device, FitContext, InverseModel, RandomStreams};
use inverse::models::presets::{PresetMethod, Source};
use inverse::models::{NeuralAdjoint, NeuralAdjointModel, any_method, method_by_name};
use serde::Serialize;

/// The paper's six methods, in the order of its tables.
const METHODS: [&str; 6] = ["NA", "Tandem", "cVAE", "INN", "cINN", "MDN"];

/// Runs before any is timed, and timed runs.
const WARM_UP: usize = 1;
const REPEATS: usize = 7;

/// Seconds after which no run is repeated more than three times.
const LONGEST: f64 = 2.0;

/// Epochs that are timed: the difference of two trainings leaves out what is done once.
const EPOCHS: (usize, usize) = (2, 12);

/// Epochs of the authors' trainings (Table 6).
const AUTHORS_EPOCHS: f64 = 500.0;

/// Solutions of one inference in Table 2.
const SOLUTIONS: usize = 1000;

/// A median of repeated runs, and their range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seconds {
    median: f64,
    lowest: f64,
    highest: f64,
}

fn repeat(mut run: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<Seconds, Box<dyn Error>> {
    for _ in 0..WARM_UP {
        run()?;
    }
    let mut seconds = Vec::new();
    // Long runs vary little: three of them are enough.
    while seconds.len() < 3 || (seconds.len() < REPEATS && seconds.iter().sum::<f64>() < LONGEST) {
        let start = Instant::now();
        run()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let last = seconds.len() - 1;
    Ok(Seconds { median: seconds[last / 2], lowest: seconds[0], highest: seconds[last] })
}

/// One descent of NA: 300 steps of the authors' network.
#[derive(Debug, Serialize)]
pub(crate) struct Descent {
    task: String,
    targets: usize,
    starts: usize,
    steps: usize,
    /// Share of the steps in all bits of `f32`.
    full_precision_share: f64,
    seconds: f64,
    lowest: f64,
    highest: f64,
}

/// Times whole descents: draws of the starts, every step, the ranking, and the way back to the host.
pub(crate) fn steps(device: Device) -> Result<Vec<Descent>, Box<dyn Error>> {
    let mut rows = Vec::new();
    println!("| descent | targets | starts | full precision | seconds | from | to |");
    println!("|---|---|---|---|---|---|---|");
    for (name, most) in [("D2", 16), ("D4", 8)] {
        let task = inverse::tasks::by_name(name)?;
        let data = Dataset::from_task(&*task, 3000, &mut RandomStreams::new(1).stream("data", 0))?;
        let mut settings = NeuralAdjoint::preset(task.name(), Source::Authors)?;
        settings.surrogate.training.epochs = 1;
        let model = settings.fit(&data, &mut FitContext::new(1).with_device(device))?;
        let targets = Dataset::from_task(&*task, 64, &mut RandomStreams::new(1).stream("targets", 0))?;
        for count in [1, most] {
            for share in [1.0, 0.25] {
                let mut descent = settings.descent.clone();
                descent.full_precision_share = share;
                let steps = descent.steps;
                let model: NeuralAdjointModel =
                    model.with_inference(settings.start_count, settings.starts, descent)?;
                let y = targets.y();
                let y = y.slice(ndarray::s![..count, ..]);
                let seconds = repeat(|| {
                    let mut stream = RandomStreams::new(1).stream("proposals", 0);
                    model.propose(y, SOLUTIONS, &mut stream)?;
                    Ok(())
                })?;
                let Seconds { median, lowest, highest } = seconds;
                println!(
                    "| {name} | {count} | {} | {share} | {median:.4} | {lowest:.4} | {highest:.4} |",
                    settings.start_count
                );
                let (task, starts) = (name.to_owned(), settings.start_count);
                rows.push(Descent {
                    task,
                    targets: count,
                    starts,
                    steps,
                    full_precision_share: share,
                    seconds: median,
                    lowest,
                    highest,
                });
            }
        }
    }
    println!();
    Ok(rows)
}

/// One cell of Table 2 or 10.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    task: String,
    method: &'static str,
    /// The authors' settings, or this library's own.
    settings: &'static str,
    seconds: f64,
    lowest: f64,
    highest: f64,
    /// The paper's seconds, and ours over them.
    paper: Option<f64>,
    ratio: Option<f64>,
}

impl Cell {
    fn new(
        table: usize,
        task: &str,
        (method, settings): (&'static str, &'static str),
        seconds: Seconds,
    ) -> Result<Self, Box<dyn Error>> {
        let paper = paper_table(table)?.value(task, method);
        Ok(Self {
            task: task.to_owned(),
            method,
            settings,
            seconds: seconds.median,
            lowest: seconds.lowest,
            highest: seconds.highest,
            paper,
            ratio: paper.map(|paper| seconds.median / paper),
        })
    }

    fn line(&self) -> String {
        let Self { task, method, settings, seconds, lowest, highest, .. } = self;
        let paper = self.paper.map_or("–".to_owned(), |paper| format!("{paper}"));
        let ratio = self.ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.4}"));
        format!(
            "| {task} | {method} | {settings} | {seconds:.4} | {lowest:.4} | {highest:.4} | {paper} | {ratio} |"
        )
    }
}

/// Table 2, seconds for a thousand solutions of one target, and Table 10, seconds of a training of 500 epochs; the
/// latter from ten epochs, early stopping aside.
pub(crate) fn tables(device: Device, tasks: &[String]) -> Result<(Vec<Cell>, Vec<Cell>), Box<dyn Error>> {
    let (mut inference, mut training) = (Vec::new(), Vec::new());
    for name in tasks {
        let task = inverse::tasks::by_name(name)?;
        let data = Dataset::from_task(&*task, 10_000, &mut RandomStreams::new(1).stream("data", 0))?;
        let target = Dataset::from_task(&*task, 1, &mut RandomStreams::new(1).stream("targets", 0))?;
        for method in METHODS {
            // Its own settings stand in where the authors released none.
            let authors = if method == NeuralAdjoint::LABEL {
                // "We always extract a thousand solutions" (section 3); the authors' code starts from 2,048.
                let preset = NeuralAdjoint::preset(task.name(), Source::Authors);
                preset.map(|preset| any_method(NeuralAdjoint { start_count: SOLUTIONS, ..preset }))
            } else {
                method_by_name(method, task.name(), Source::Authors)
            };
            let (settings, source) = match authors {
                Ok(settings) => (settings, "authors"),
                Err(_) => (method_by_name(method, task.name(), Source::Tuned)?, "own"),
            };
            let fit = |epochs: usize| -> Result<_, Box<dyn Error>> {
                let settings = settings.with_epochs(epochs)?;
                let mut context = FitContext::new(1).with_device(device);
                let start = Instant::now();
                let model = settings.fit(&data, &mut context)?;
                Ok((model, start.elapsed().as_secs_f64()))
            };
            fit(1)?;
            let (model, _) = fit(EPOCHS.0)?;
            let mut epochs = Vec::new();
            for _ in 0..3 {
                let long = fit(EPOCHS.1)?.1 - fit(EPOCHS.0)?.1;
                epochs.push(AUTHORS_EPOCHS * long / (EPOCHS.1 - EPOCHS.0) as f64);
            }
            epochs.sort_by(f64::total_cmp);
            let seconds = Seconds { median: epochs[1], lowest: epochs[0], highest: epochs[2] };
            training.push(Cell::new(10, task.name(), (method, source), seconds)?);
            let count = if method == "Tandem" { 1 } else { SOLUTIONS };
            let y = if count == 1 {
                // One answer a target: a thousand targets.
                Dataset::from_task(&*task, SOLUTIONS, &mut RandomStreams::new(1).stream("targets", 0))?
                    .y()
                    .to_owned()
            } else {
                target.y().to_owned()
            };
            let seconds = repeat(|| {
                let mut stream = RandomStreams::new(1).stream("proposals", 0);
                model.propose(y.view(), count, &mut stream)?;
                Ok(())
            })?;
            inference.push(Cell::new(2, task.name(), (method, source), seconds)?);
        }
    }
    for (title, cells) in
        [("Table 2: a thousand solutions", &inference), ("Table 10: a training of 500 epochs", &training)]
    {
        println!("{title}\n\n| task | method | settings | seconds | from | to | paper | ratio |");
        println!("|---|---|---|---|---|---|---|---|");
        for cell in cells {
            println!("{}", cell.line());
        }
        println!();
    }
    Ok((inference, training))
}
