//! Table 5 and Figure 5: what Ω and the boundary loss do for the Neural-Adjoint method, on D1 and D3.
//!
//! `cargo run --release --example table5 [-- --authors] [-- --profile paper]`
//!
//! With `--authors` the surrogate is trained and searched with the authors' released settings (ReLU, batch
//! normalisation, 500 epochs, L2; 300 steps of Adam from a rate of 0.5, a boundary weight of 0.1): what such a
//! network says outside its data, and a search that gets there, are what the paper's ablation is about. The
//! profile then chooses the number of starts alone, 250 or the authors' 2,048. Its files are `table5_authors.md` and so
//! on, beside those of the tuned settings.
//!
//! The four experiments share one surrogate a task; only the search differs. Without Ω, starts are uniform
//! over the domain, μ_x ± R_x / 2; the paper says "a uniform sampling distribution" and no more.

use std::process::ExitCode;

use clap::Parser;
use inverse::bench::{
    PaperItem, Profile, Study, StudyArguments, StudyError, ablation_experiments, exit_code,
};
use inverse::core::InvalidArgument;
use inverse::models::NeuralAdjoint;
use inverse::models::presets::{PresetMethod, Source};

/// Runs the paper's ablation E1 to E4 of NA.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    study: StudyArguments,
    /// Trains and searches with the authors' released settings instead of the tuned ones.
    #[arg(long)]
    authors: bool,
}

fn run(Arguments { mut study, authors }: Arguments) -> Result<(), StudyError> {
    if study.tasks.is_empty() {
        study.tasks = vec!["ballistics".into(), "robotic-arm".into()];
    }
    if !authors {
        return Study::new(&study)?.publish(PaperItem::Table(5));
    }
    if let Some(method) = study.methods.first() {
        let expected = "no such option with `--authors`, which is of NA alone";
        return Err(InvalidArgument::new("--method", expected, format!("`{method}`")).into());
    }
    let study = Study::new(&study)?;
    let profile = study.arguments().profile();
    let mut results = Vec::new();
    for task in study.tasks() {
        let mut method = NeuralAdjoint::preset(task.name(), Source::Authors)?;
        if profile != Profile::Paper {
            method.start_count = NeuralAdjoint::preset(task.name(), profile.source())?.start_count;
        }
        let experiments = ablation_experiments(&method.descent);
        results.extend(study.neural_adjoint_variants(&**task, &method, &experiments)?);
    }
    study.show(&study.publish_ablation(&results)?.variant("authors"))
}

fn main() -> ExitCode {
    exit_code(run(Arguments::parse()))
}
