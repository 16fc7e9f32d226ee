//! Parity of methods: two epochs of training on both devices, and proposals of one model loaded on both.

use std::error::Error;

use inverse::core::{Dataset, Device, FitContext, RandomStreams, Task};
use inverse::metrics::resimulate;
use inverse::models::nn::Convolutions;
use inverse::models::presets::{PresetMethod, Source};
use inverse::models::{
    AnyMethod, ConditionalVae, MeasurementEncoder, NeuralAdjoint, SavedModel, Tandem, any_method, load,
    method_by_name, method_names,
};

use crate::{Parity, Values, compare};

/// Two epochs of a few dozen steps carry the rounding of each step into the next.
const CURVE_BOUND: f64 = 1e-2;

/// Draws of the starts over which whole descents are compared: the mean over targets of r_10 varies by a factor of two
/// from draw to draw.
const DRAWS: u64 = 6;

/// One pass through the networks, and the way out of standardised units.
const PROPOSAL_BOUND: f64 = 1e-3;

pub(crate) fn check(device: Device) -> Result<Vec<Parity>, Box<dyn Error>> {
    let mut lines = Vec::new();
    for name in ["D2", "D3", "D4"] {
        let task = inverse::tasks::by_name(name)?;
        let data = Dataset::from_task(&*task, 2000, &mut RandomStreams::new(1).stream("data", 0))?;
        for method in method_names() {
            let settings = method_by_name(method, task.name(), Source::Quick)?.with_epochs(2)?;
            let title = format!("{name}, {}", settings.label());
            lines.extend(compare_method(&title, &*settings, &*task, &data, device)?);
        }
        if name == "D4" {
            for settings in encoded(task.name())? {
                let title = format!("{name}, {} with convolutions", settings.label());
                lines.extend(compare_method(&title, &*settings.with_epochs(2)?, &*task, &data, device)?);
            }
        }
    }
    lines.extend(compare_descents(device)?);
    Ok(lines)
}

/// Small networks behind the authors' convolutions along a spectrum.
fn encoded(task: &str) -> Result<[Box<dyn AnyMethod>; 2], Box<dyn Error>> {
    let convolutions = Some(Convolutions::metamaterial_encoder());
    let mut tandem = Tandem::preset(task, Source::Quick)?;
    tandem.inverse.encoder.clone_from(&convolutions);
    let mut vae = ConditionalVae::preset(task, Source::Quick)?;
    vae.measurement_encoder = Some(MeasurementEncoder { convolutions, hidden: vec![96; 2], code: 20 });
    Ok([any_method(tandem), any_method(vae)])
}

fn compare_method(
    title: &str,
    settings: &dyn AnyMethod,
    task: &dyn Task,
    data: &Dataset,
    device: Device,
) -> Result<Vec<Parity>, Box<dyn Error>> {
    let fit = |device: Device| -> Result<Box<dyn SavedModel>, Box<dyn Error>> {
        let mut context = FitContext::new(3);
        context = context.with_device(device);
        Ok(settings.fit(data, &mut context)?)
    };
    let on_host = fit(Device::Cpu)?;
    let on_device = fit(device)?;
    let mut lines = compare(title, &curves(&*on_host), &curves(&*on_device), CURVE_BOUND);
    // The descent of NA goes its own way on every machine after a few hundred steps: it is compared below.
    if settings.label() != NeuralAdjoint::LABEL {
        let folder = tempfile::tempdir()?;
        on_host.save(folder.path())?;
        let loaded = load(folder.path(), device)?;
        let targets = Dataset::from_task(task, 20, &mut RandomStreams::new(1).stream("targets", 0))?;
        let count = if matches!(settings.label(), "DR" | "Tandem") { 1 } else { 50 };
        let propose = |model: &dyn SavedModel| -> Result<Values, Box<dyn Error>> {
            let mut stream = RandomStreams::new(4).stream("proposals", 0);
            let proposals = model.propose(targets.y(), count, &mut stream)?;
            let mut values = vec![("proposals".to_owned(), proposals.designs().iter().copied().collect())];
            if let Some(log) = model.log_density(targets.x(), targets.y())? {
                values.push(("log densities".to_owned(), log.to_vec()));
            }
            Ok(values)
        };
        lines.extend(compare(title, &propose(&*on_host)?, &propose(&*loaded)?, PROPOSAL_BOUND));
    }
    Ok(lines)
}

fn curves(model: &dyn SavedModel) -> Values {
    let reports = model.training_reports();
    let losses = reports.iter().flat_map(|(stage, report)| {
        [
            (format!("{stage}, training losses"), report.curve.iter().map(|epoch| epoch.training).collect()),
            (
                format!("{stage}, validation losses"),
                report.curve.iter().map(|epoch| epoch.validation).collect(),
            ),
        ]
    });
    losses.collect()
}

/// Five steps of the descent number by number, and whole descents by what they are for: the re-simulation error.
fn compare_descents(device: Device) -> Result<Vec<Parity>, Box<dyn Error>> {
    let task = inverse::tasks::by_name("D2")?;
    let data = Dataset::from_task(&*task, 4000, &mut RandomStreams::new(2).stream("data", 0))?;
    let targets = Dataset::from_task(&*task, 200, &mut RandomStreams::new(2).stream("targets", 0))?;
    let method = method_by_name("NA", task.name(), Source::Quick)?.with_epochs(30)?;
    let model = method.fit(&data, &mut FitContext::new(6))?;
    let folder = tempfile::tempdir()?;
    model.save(folder.path())?;
    let mut lines = Vec::new();
    let preset = NeuralAdjoint::preset(task.name(), Source::Quick)?;
    let authors = NeuralAdjoint::preset(task.name(), Source::Authors)?;
    for (title, base) in [("cosine", &preset), ("plateau", &authors)] {
        let mut short = base.descent.clone();
        (short.steps, short.full_precision_share) = (5, 1.0);
        let mut long = base.descent.clone();
        long.steps = 200;
        let run = |device: Device,
                   descent: &inverse::models::InputDescentSettings,
                   draw: u64|
         -> Result<_, Box<dyn Error>> {
            let model = inverse::models::NeuralAdjointModel::load(folder.path(), device)?;
            let model = model.with_inference(100, base.starts, descent.clone())?;
            let mut stream = RandomStreams::new(7).stream("proposals", draw);
            Ok(inverse::core::InverseModel::propose(&model, targets.y(), 10, &mut stream)?)
        };
        let designs = |device: Device| -> Result<Values, Box<dyn Error>> {
            let proposals = run(device, &short, 0)?;
            let errors = proposals.predicted_errors().map(|errors| errors.iter().copied().collect());
            Ok(vec![("five steps, predicted errors".to_owned(), errors.unwrap_or_default())])
        };
        let title = format!("descent, {title}");
        lines.extend(compare(&title, &designs(Device::Cpu)?, &designs(device)?, 1e-2));
        let whole = |device: Device| -> Result<Vec<f64>, Box<dyn Error>> {
            let found = (0..DRAWS).map(|draw| {
                let proposals = run(device, &long, draw)?;
                Ok(resimulate(&*task, &proposals, targets.y())?.mean(10)?)
            });
            found.collect()
        };
        lines.push(compare_means(&title, &whole(Device::Cpu)?, &whole(device)?));
    }
    Ok(lines)
}

/// The difference of two mean r_10, over three times its standard error.
fn compare_means(title: &str, expected: &[f64], found: &[f64]) -> Parity {
    let moments = |values: &[f64]| {
        let (count, mean) = (values.len() as f64, values.iter().sum::<f64>() / values.len() as f64);
        let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        (mean, square / (count - 1.0) / count)
    };
    let ((host, host_square), (device, device_square)) = (moments(expected), moments(found));
    println!(
        "{title}: r_10 {host:.3e} on the processor, {device:.3e} on the device, {DRAWS} draws of the starts"
    );
    Parity {
        check: format!("{title}: 200 steps, r_10, difference over three standard errors"),
        relative_error: (host - device).abs() / (3.0 * (host_square + device_square).sqrt()),
        bound: 1.0,
        numbers: found.len(),
    }
}
