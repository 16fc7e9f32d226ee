//! A simulator of your own, inverted with the Neural-Adjoint method.
//!
//! `cargo run --release --example custom_task`

use inverse::prelude::*;
use ndarray::array;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The task: deflection (mm) and first frequency (Hz) of a steel cantilever, from its length, width and
    // height (m). Two lines of physics, and the ranges to design in.
    let beam = FnSimulator::new(3, 2, |x, y| {
        let [length, width, height] = [x[0], x[1], x[2]];
        let stiffness = 210e9 * width * height.powi(3) / 12.0;
        y[0] = 1e3 * 100.0 * length.powi(3) / (3.0 * stiffness);
        y[1] = 0.56 / length.powi(2) * (stiffness / (7850.0 * width * height)).sqrt();
    })?;
    let task = SimulatedTask::new("beam", beam, BoxPrior::new(&[0.5, 0.02, 0.02], &[1.0, 0.05, 0.05])?)?;

    // The data, the method, the model.
    let streams = RandomStreams::new(1);
    let data = Dataset::from_task(&task, 4000, &mut streams.stream("data", 0))?;
    let method = NeuralAdjoint::preset(task.name(), Source::Quick)?;
    let model = method.fit(&data, &mut FitContext::new(1))?;

    // Beams that bend 1 mm under 100 N and sing at 40 Hz.
    let target = array![[1.0, 40.0]];
    let proposals = model.propose(target.view(), 20, &mut streams.stream("propose", 0))?;
    let errors = resimulate(&task, &proposals, target.view())?;
    println!("r_1 = {:.2e}, r_20 = {:.2e}", errors.mean(1)?, errors.mean(20)?);
    for rank in 0..3 {
        let design = proposals.designs().slice(ndarray::s![0, rank, ..]).to_owned();
        let y = task.simulate(design.view().insert_axis(ndarray::Axis(0)))?;
        println!("length, width, height {design:.4} m: {:.4} mm, {:.3} Hz", y[[0, 0]], y[[0, 1]]);
    }
    Ok(())
}
