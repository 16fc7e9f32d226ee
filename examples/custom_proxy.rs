//! A slow simulator of your own, replaced by a fast proxy whose error is measured.
//!
//! `cargo run --release --example custom_proxy`

use inverse::prelude::*;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The slow one: a damped pendulum, x = (start angle, damping, length in m), integrated in 20,000 steps; y is
    // its angle at ten times. Starting on the other side turns it round, but no two designs have the same y.
    let pendulum = FnSimulator::new(3, 10, |x, y| {
        let (mut angle, mut speed, step) = (x[0], 0.0_f64, 2e-4);
        for count in 0..20_000 {
            if count % 2_000 == 0 {
                y[count / 2_000] = angle;
            }
            speed -= step * (9.81 / x[2] * angle.sin() + x[1] * speed);
            angle += step * speed;
        }
    })?;
    let prior = BoxPrior::new(&[-2.0, 0.2, 0.5], &[2.0, 1.0, 1.5])?;

    let mut recipe = ProxyRecipe { samples: 3000, ..ProxyRecipe::default() };
    recipe.members.iter_mut().for_each(|member| member.training.epochs = 60);
    let proxy = recipe.fit(&pendulum, &prior, None, &mut FitContext::new(1))?;
    let errors = proxy.test_errors().ok_or("a fitted proxy was measured")?;
    println!("mean squared error on held-out designs: {:.1e} rad²", errors.ensemble);
    println!("of each network: {:?}", errors.members);

    let x = prior.sample(1000, &mut RandomStreams::new(2).stream("designs", 0));
    for (name, simulator) in [("pendulum", &pendulum as &dyn Simulator), ("proxy", &proxy)] {
        let start = Instant::now();
        simulator.simulate(x.view())?;
        println!("1,000 designs by the {name}: {:.1} ms", 1e3 * start.elapsed().as_secs_f64());
    }
    Ok(())
}
