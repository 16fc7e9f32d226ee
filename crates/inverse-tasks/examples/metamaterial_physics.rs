//! Prints what docs/metamaterial.md tells about the metamaterial's solver: modes, power, spectra.
//!
//! `cargo run --release -p inverse-tasks --example metamaterial_physics`

use std::error::Error;

use inverse_core::{Prior, RandomStreams, Simulator};
use inverse_tasks::metamaterial::{
    self, Cylinder, DipoleModes, MetamaterialSettings, MetamaterialSolver, SuperCell,
};

const DESIGNS: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    print_modes()?;
    print_power(None)?;
    print_power(Some(40.0))?;
    print_spectrum()
}

fn print_modes() -> Result<(), Box<dyn Error>> {
    println!("| cylinder | height µm | radius µm | magnetic THz | Q | electric THz | Q |");
    println!("|---|---|---|---|---|---|---|");
    for (name, height, radius) in [
        ("small", 30.0, 42.0),
        ("low and wide", 30.0, 52.0),
        ("middle", 42.5, 47.0),
        ("high and slim", 55.0, 42.0),
        ("large", 55.0, 52.0),
    ] {
        let DipoleModes { electric, magnetic } = Cylinder { height, radius }.dipole_modes(11.7)?;
        println!(
            "| {name} | {height} | {radius} | {:.3} | {:.2} | {:.3} | {:.2} |",
            magnetic.frequency, magnetic.radiation_q, electric.frequency, electric.radiation_q
        );
    }
    println!("\n| resonator (mm, GHz) | ε | magnetic | Q | electric | Q |");
    println!("|---|---|---|---|---|---|");
    for (name, height, radius, permittivity) in
        [("Balanis, example 14.9", 6.0, 5.0, 8.9), ("Kajfez, Glisson and James", 4.6, 5.25, 38.0)]
    {
        // c in µm·THz is c in mm·GHz.
        let DipoleModes { electric, magnetic } = Cylinder { height, radius }.dipole_modes(permittivity)?;
        println!(
            "| {name} | {permittivity} | {:.3} | {:.2} | {:.3} | {:.2} |",
            magnetic.frequency, magnetic.radiation_q, electric.frequency, electric.radiation_q
        );
    }
    Ok(())
}

fn print_power(absorption_q: Option<f64>) -> Result<(), Box<dyn Error>> {
    let settings = MetamaterialSettings { absorption_q, ..MetamaterialSettings::default() };
    let solver = MetamaterialSolver::new(settings)?;
    let x = metamaterial::prior().sample(DESIGNS, &mut RandomStreams::new(1).stream("physics", 0));
    let (mut deviation, mut diffracted, mut absorbed) = (0.0_f64, 0.0_f64, 0.0_f64);
    let (mut lowest, mut highest) = (f64::INFINITY, f64::NEG_INFINITY);
    for row in x.rows() {
        let cell = SuperCell::from_design(&std::array::from_fn(|column| row[column]));
        let balance = solver.power_balance(&cell)?;
        deviation = balance.total().iter().fold(deviation, |most, power| most.max((power - 1.0).abs()));
        diffracted = balance.diffracted().iter().fold(diffracted, |most, power| most.max(*power));
        absorbed = balance.absorbed.iter().fold(absorbed, |most, power| most.max(*power));
        lowest = balance.reflected.iter().fold(lowest, |least, power| least.min(*power));
        highest = balance.reflected.iter().fold(highest, |most, power| most.max(*power));
    }
    let loss = absorption_q.map_or("no loss".to_owned(), |q| format!("Q_abs = {q}"));
    println!("\n{DESIGNS} prior designs, {loss}:");
    println!("largest |R + T + orders + absorbed - 1|: {deviation:.1e}");
    println!(
        "R from {lowest:.1e} to {highest:.4}; at most {diffracted:.3} diffracted, {absorbed:.3} absorbed"
    );
    Ok(())
}

fn print_spectrum() -> Result<(), Box<dyn Error>> {
    let solver = MetamaterialSolver::new(MetamaterialSettings::default())?;
    let x = metamaterial::prior().sample(1, &mut RandomStreams::new(2).stream("physics", 0));
    let y = solver.simulate(x.view())?;
    println!("\nreflectance of one prior design, Q_abs = 40, a row for every tenth frequency:");
    for (frequency, reflectance) in solver.settings().frequencies.iter().zip(y.row(0)).step_by(10) {
        println!("{frequency:.3} THz {reflectance:.3} {}", "#".repeat((60.0 * reflectance) as usize));
    }
    Ok(())
}
