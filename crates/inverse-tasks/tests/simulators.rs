//! The simulators against the equations themselves, and designs in any memory layout.

use inverse_core::{Dataset, RandomStreams, Simulator};
use inverse_tasks::{Ballistics, RoboticArm, by_name, names};
use ndarray::{ArrayView2, array};

#[test]
fn a_landed_ball_is_on_the_ground() {
    let (gravity, drag, mass) = (9.81, 0.25, 0.2);
    let mut rng = RandomStreams::new(4).stream("landing", 0);
    let data = Dataset::from_task(&Ballistics::new(), 2000, &mut rng).unwrap();
    for (x, y) in data.x().rows().into_iter().zip(data.y()) {
        let (v1, v2) = (x[3] * x[2].cos(), x[3] * x[2].sin());
        if v1 == 0.0 {
            continue;
        }
        // T₁ solved for the time of landing, then T₂ at that time.
        let decay = 1.0 - (y - x[0]) * drag / (v1 * mass);
        let time = -decay.ln() * mass / drag;
        let fall = (gravity * mass + v2 * drag) * (decay - 1.0) + gravity * time * drag;
        let height = x[1] - mass / (drag * drag) * fall;
        // ln amplifies the rounding of y: e^(−kt/m) is at least e⁻⁵ under this prior.
        assert!(height.abs() < 1e-10, "{x}: {height}");
    }
}

#[test]
fn priors_give_designs_of_finite_density() {
    for name in names() {
        let task = by_name(name).unwrap();
        let x = task.prior().sample(50, &mut RandomStreams::new(1).stream("prior", 0));
        assert!(task.prior().log_density(x.view()).unwrap().iter().all(|density| density.is_finite()));
    }
}

#[test]
fn any_memory_layout_gives_the_same_answers() {
    let arm = RoboticArm::new();
    let x = array![[0.1, 0.2, 0.3, 0.4], [-0.5, 0.6, -0.7, 0.8]];
    let transposed = x.t().to_owned();
    let reversed: ArrayView2<'_, f64> = x.slice(ndarray::s![..;-1, ..]);
    let y = arm.simulate(x.view()).unwrap();
    assert_eq!(arm.simulate(transposed.t()).unwrap(), y);
    assert_eq!(arm.simulate(reversed).unwrap().row(0), y.row(1));
}
