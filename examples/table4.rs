//! Table 4: how well each method's proposals match the true posterior p(x | y), by MMD.
//!
//! `cargo run --release --example table4 [-- --profile paper]`
//!
//! The trainings are those of `table3`. The reference is drawn by rejection (section 8.1): prior draws whose
//! measurement lies within a hundredth of its standard deviation of the target. Designs are compared in units
//! of the prior's standard deviations, as many proposals as reference draws, and the figure is the mean over
//! targets of the biased MMD² under the paper's three kernels. A target whose reference is not complete is
//! left out, and counted; only a number of draws ends the search for one, so that no result depends on the speed of
//! the machine. The numbers of targets (`--targets`) and proposals, and the width of the band, are ours: the paper
//! prints none. The last row of a task is the floor: two halves of the reference against each other.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use inverse::bench::{Profile, Progress, Study, StudyArguments, StudyError, Table, exit_code, paper_table};
use inverse::core::{Dataset, InvalidArgument, RandomStreams, Standardizer, Task};
use inverse::metrics::{Mmd, PosteriorSample, ReferencePosterior};
use inverse::models::{SavedModel, method_by_name};
use ndarray::{Axis, s};
use serde::Serialize;

/// Targets of the comparison.
const TARGETS: usize = 50;

/// Proposals for each target, and reference draws to hold them against: what the profile's NA can give and rank
/// (1,000 starts in the paper profile, 250 in the others), with some to spare.
fn proposal_count(profile: Profile) -> usize {
    if profile == Profile::Paper { 500 } else { 200 }
}

/// Compares each method's proposals with the true posterior.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
}

/// One cell of the table.
#[derive(Serialize)]
struct Row {
    task: String,
    method: String,
    mmd: f64,
    paper: Option<f64>,
    targets: usize,
    incomplete: usize,
}

/// What one task's methods are compared with.
struct Reference {
    targets: Dataset,
    samples: Vec<PosteriorSample>,
    units: Standardizer,
    proposals: usize,
}

impl Reference {
    fn draw(study: &Study, task: &dyn Task) -> Result<Self, StudyError> {
        let streams = RandomStreams::new(study.arguments().seed).family(task.name(), 0);
        let count = study.arguments().targets.unwrap_or(TARGETS);
        let targets = Dataset::from_task(task, count, &mut streams.stream("posterior targets", 0))?;
        let proposals = proposal_count(study.arguments().profile);
        // Only the number of draws may end it: a limit of time would make the results those of one machine.
        let time_limit = Duration::MAX;
        let sampler =
            ReferencePosterior { samples: 2 * proposals, time_limit, ..ReferencePosterior::default() };
        let path = study.results().path().join(format!("posterior_{}.json", task.name()));
        let samples = sampler.draw_cached(&path, task, targets.y(), streams)?;
        let mut stream = streams.stream("posterior units", 0);
        let units = Standardizer::fit(Dataset::from_task(task, 10_000, &mut stream)?.x())?;
        Ok(Self { targets, samples, units, proposals })
    }

    fn complete(&self) -> impl Iterator<Item = (usize, &PosteriorSample)> {
        self.samples.iter().enumerate().filter(|(_, sample)| sample.complete)
    }

    /// Mean over targets of the MMD between a half of the reference and what `designs` gives.
    fn mean_mmd(
        &self,
        designs: impl Fn(usize, &PosteriorSample) -> ndarray::Array2<f64>,
    ) -> Result<f64, StudyError> {
        let mmd = Mmd::default();
        let mut sum = 0.0;
        for (target, sample) in self.complete() {
            let reference = self.units.transform(sample.designs.slice(s![..self.proposals, ..]))?;
            let designs = self.units.transform(designs(target, sample).view())?;
            sum += mmd.squared(reference.view(), designs.view())?;
        }
        Ok(sum / self.complete().count().max(1) as f64)
    }

    fn model(&self, model: &dyn SavedModel, streams: RandomStreams) -> Result<f64, StudyError> {
        let mut rng = streams.stream("posterior proposals", 0);
        let proposals = model.propose(self.targets.y(), self.proposals, &mut rng)?;
        self.mean_mmd(|target, _| proposals.designs().index_axis(Axis(0), target).to_owned())
    }

    fn floor(&self) -> Result<f64, StudyError> {
        self.mean_mmd(|_, sample| sample.designs.slice(s![self.proposals.., ..]).to_owned())
    }
}

fn run(arguments: &StudyArguments) -> Result<(), StudyError> {
    let count = proposal_count(arguments.profile);
    if ![count, StudyArguments::default().proposals].contains(&arguments.proposals) {
        let expected = format!("{count}, as many as there are reference draws: leave the option out");
        return Err(InvalidArgument::new("--proposals", expected, arguments.proposals).into());
    }
    let mut arguments = arguments.clone();
    if arguments.tasks.is_empty() {
        // The paper's: rejection finds no design with the 300 measurements of D4.
        arguments.tasks = vec!["D1".into(), "D2".into(), "D3".into()];
    }
    let study = Study::new(&arguments, "results/table3")?;
    let paper = paper_table(4)?;
    let mut rows = Vec::new();
    for task in study.tasks() {
        let reference = Reference::draw(&study, &**task)?;
        let (complete, all) = (reference.complete().count(), reference.samples.len());
        let mut add = |method: &str, mmd: f64| {
            let (task, method) = (task.name().to_owned(), method.to_owned());
            let paper = paper.value(&task, &method);
            rows.push(Row { task, method, mmd, paper, targets: complete, incomplete: all - complete });
        };
        let streams = RandomStreams::new(arguments.seed).family(task.name(), 0);
        for name in study.methods() {
            let method = method_by_name(name, task.name(), arguments.profile.source())?;
            let progress = Progress::new(task.name(), arguments.quiet);
            let (model, _) = study.best_model(&**task, &*method, &progress)?;
            progress.finish();
            add(method.label(), reference.model(&*model, streams)?);
        }
        add("reference, other half", reference.floor()?);
    }
    let mut table = Table::new(&["task", "method", "MMD", "paper", "targets", "left out"]);
    for row in &rows {
        table.push(vec![
            row.task.clone(),
            row.method.clone(),
            format!("{:.3}", row.mmd),
            row.paper.map_or_else(String::new, |paper| paper.to_string()),
            row.targets.to_string(),
            row.incomplete.to_string(),
        ]);
    }
    study.results().write_table("table4", &rows, &table)?;
    print!("{}", table.text());
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse().study))
}
