//! One cell, timed when asked: so that another program can let this library and PyTorch take turns.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::time::Instant;

use inverse::core::{EpochReport, Observer, Signal, Stream};
use inverse::models::SavedModel;
use inverse::prelude::*;
use ndarray::{Array2, s};

use crate::cells::{self, SOLUTIONS};
use crate::peak;
use crate::products::{self, Product, Products};

/// What is quicker than this is repeated, and the mean is given.
const LEAST_SECONDS: f64 = 0.1;

/// Seconds of work before what is timed: a process that has waited for its turn finds its threads asleep, perhaps two of
/// them on one core.
const SETTLING_SECONDS: f64 = 0.05;

/// Answers each line of standard input by one line, until `quit` or its end.
pub(crate) fn serve(task: &str, method: &str) -> Result<(), Box<dyn Error>> {
    let known = inverse::tasks::by_name(task)?;
    let products = Products::new(method, known.name(), (known.dim_x(), known.dim_y()))?;
    let (settings, earlier) = cells::endless(task, method)?;
    let data = cells::data(task)?;
    let mut desk = Desk { earlier, products, asked: None, started: None, waited: None };
    let mut context = FitContext::new(1).with_observer(&mut desk);
    let model = settings.fit(&data, &mut context)?;
    let target = data.y().slice(s![..1, ..]).to_owned();
    while let Some(request) = desk.next_request()? {
        match request.as_str() {
            "infer" => answer(infer(&*model, &target)?)?,
            "quit" => return answer(peak_memory()?),
            other => return Err(format!("`infer` or `quit` after training, found `{other}`").into()),
        }
    }
    Ok(())
}

/// Between the epochs of the last training, waits for what is asked next.
struct Desk {
    /// Trainings before the last that are still to come.
    earlier: usize,
    products: Products,
    /// A request that training has left for the time after it.
    asked: Option<String>,
    /// When the epoch that was asked for began.
    started: Option<Instant>,
    waited: Option<String>,
}

impl Desk {
    fn next_request(&mut self) -> Result<Option<String>, Box<dyn Error>> {
        if let Some(request) = self.asked.take() {
            return Ok(Some(request));
        }
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line)?;
        Ok((read > 0).then(|| line.trim().to_owned()))
    }

    /// Whether to go on training.
    fn between_epochs(&mut self) -> Result<bool, Box<dyn Error>> {
        if let Some(started) = self.started.take() {
            answer(started.elapsed().as_secs_f64())?;
        } else if self.waited.is_none() {
            self.waited = Some("ready".to_owned());
            println!("ready");
            io::stdout().flush()?;
        }
        loop {
            match self.next_request()?.as_deref() {
                Some("train") => {
                    self.started = Some(Instant::now());
                    return Ok(true);
                }
                Some("floor-train") => answer(products::seconds(&self.products.epoch)?)?,
                Some("floor-infer") => answer(products::seconds(&self.products.inference)?)?,
                Some("peak-train") => answer(at_peak(&self.products.epoch))?,
                Some("peak-infer") => answer(at_peak(&self.products.inference))?,
                other => {
                    self.asked = other.map(str::to_owned);
                    return Ok(false);
                }
            }
        }
    }
}

impl Observer for Desk {
    fn epoch(&mut self, _report: &EpochReport) -> Signal {
        if self.earlier > 0 {
            return Signal::Continue;
        }
        match self.between_epochs() {
            Ok(true) => Signal::Continue,
            Ok(false) => Signal::Stop,
            Err(error) => {
                eprintln!("{error}");
                Signal::Stop
            }
        }
    }

    fn finished(&mut self, _stage: &str, _epochs: usize, _best_epoch: usize) {
        self.earlier = self.earlier.saturating_sub(1);
    }
}

/// Seconds of a thousand solutions of one target.
fn infer(model: &dyn SavedModel, target: &Array2<f64>) -> Result<f64, Box<dyn Error>> {
    let mut stream: Stream = RandomStreams::new(1).stream("timed proposals", 0);
    let mut mean_of = |least: f64| -> Result<f64, Box<dyn Error>> {
        let (start, mut count) = (Instant::now(), 0_u32);
        while count == 0 || start.elapsed().as_secs_f64() < least {
            std::hint::black_box(model.propose(target.view(), SOLUTIONS, &mut stream)?);
            count += 1;
        }
        Ok(start.elapsed().as_secs_f64() / f64::from(count))
    };
    mean_of(SETTLING_SECONDS)?;
    mean_of(LEAST_SECONDS)
}

/// Seconds that the products' multiplications and additions take where every core does nothing else, at its most.
fn at_peak(products: &[Product]) -> f64 {
    products.iter().map(Product::operations).sum::<f64>() / peak::operations_a_second()
}

fn answer(value: f64) -> Result<(), Box<dyn Error>> {
    println!("{value:e}");
    Ok(io::stdout().flush()?)
}

/// The most memory that this process has held, KiB; not a number where the system does not say.
fn peak_memory() -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).map(str::parse::<f64>);
    Ok(kib.transpose()?.unwrap_or(f64::NAN))
}
