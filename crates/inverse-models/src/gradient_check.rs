//! For tests: a loss's gradient, by candle and by hand, against finite differences.

use approx::assert_abs_diff_eq;
use candle_core::{Device, Tensor, Var};
use inverse_core::{RandomStreams, Stream};

use crate::latent_sampling::standard_normal;
use crate::nn::{Adam, Objective, Pairs, UpdateRule, Updates, by_adam};

/// Pairs of standard normal numbers.
pub(crate) fn random_pairs(rows: usize, dim_x: usize, dim_y: usize) -> Pairs {
    let mut stream = RandomStreams::new(11).stream("pairs", 0);
    let mut draw = |columns| standard_normal(rows, columns, &Device::Cpu, &mut stream).unwrap();
    Pairs { x: draw(dim_x), y: draw(dim_y) }
}

/// Compares the directional derivative of the training loss along a random direction of each network's
/// parameters with a central difference.
///
/// In f32 a loss of size s is known to 1e-7 s; with a step of 1e-2 along a unit vector that makes 1e-5 s, and
/// curvature adds a share of 1e-4: a tolerance of one percent of the gradient's length, plus 2e-4 s, holds both.
pub(crate) fn check_gradient(objective: &dyn Objective, pairs: &Pairs) {
    let noise = || -> Stream { RandomStreams::new(5).stream("noise", 0) };
    let loss = objective.training_loss(pairs, &mut noise()).unwrap();
    let size = f64::from(loss.to_scalar::<f32>().unwrap()).abs().max(1.0);
    let gradients = loss.backward().unwrap();
    let mut by_hand = vec![None; objective.networks().len()];
    let mut record = |network: usize, gradient: Tensor| {
        by_hand[network] = Some(gradient);
        Ok(())
    };
    let own = objective.step(pairs, &mut noise(), &mut Updates::new(&mut record)).unwrap();
    let own = own.to_scalar::<f32>().unwrap();
    // Sums of the same terms in another order: a few units in the last place for each of the layers they pass.
    assert_abs_diff_eq!(f64::from(own), f64::from(loss.to_scalar::<f32>().unwrap()), epsilon = 1e-5 * size);
    for ((index, network), by_hand) in objective.networks().into_iter().enumerate().zip(&by_hand) {
        let reference = gradients.get(network.parameters()).unwrap();
        let difference = norm(&(by_hand.as_ref().unwrap() - reference).unwrap());
        let allowed = 1e-4 * norm(reference) + 1e-6 * size;
        assert!(difference <= allowed, "network {index}: {difference} above {allowed}");
    }
    check_step(objective, pairs, &by_hand);
    for (index, network) in objective.networks().into_iter().enumerate() {
        let start = network.parameters().copy().unwrap().detach();
        let gradient = gradients.get(network.parameters()).unwrap();
        let mut stream = RandomStreams::new(index as u64).stream("direction", 0);
        let direction = standard_normal(1, start.elem_count(), &Device::Cpu, &mut stream).unwrap();
        let direction = direction.squeeze(0).unwrap();
        let length = norm(&direction);
        let direction = (direction / length).unwrap();
        let slope = (&direction * gradient).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
        let value = |step: f64| {
            network.parameters().set(&(&start + (&direction * step).unwrap()).unwrap()).unwrap();
            let loss = objective.training_loss(pairs, &mut noise()).unwrap();
            f64::from(loss.to_scalar::<f32>().unwrap())
        };
        let difference = (value(1e-2) - value(-1e-2)) / 2e-2;
        network.parameters().set(&start).unwrap();
        let tolerance = 0.01 * norm(gradient) + 2e-4 * size;
        assert_abs_diff_eq!(f64::from(slope), difference, epsilon = tolerance);
        assert!(norm(gradient) > 0.0, "network {index} has a gradient");
    }
}

/// A step moves each network's parameters, bit by bit, as Adam does by these gradients; they are put back.
///
/// The second step writes its gradients into the memory of the first.
fn check_step(objective: &dyn Objective, pairs: &Pairs, gradients: &[Option<Tensor>]) {
    let networks = objective.networks();
    let rule = UpdateRule { rate: 1e-3, l2: 1e-2, limit: Some(0.5) };
    let starts: Vec<Tensor> =
        networks.iter().map(|network| network.parameters().copy().unwrap().detach()).collect();
    for _ in 0..2 {
        let mut adams: Vec<Adam> =
            networks.iter().map(|network| Adam::new(network.parameters()).unwrap()).collect();
        let mut noise = RandomStreams::new(5).stream("noise", 0);
        let mut move_network = by_adam(&networks, &mut adams, rule);
        objective.step(pairs, &mut noise, &mut Updates::new(&mut move_network)).unwrap();
        for ((network, start), gradient) in networks.iter().zip(&starts).zip(gradients) {
            let expected = Var::from_tensor(start).unwrap();
            let mut adam = Adam::new(&expected).unwrap();
            adam.step(&expected, gradient.as_ref().unwrap(), &rule).unwrap();
            let moved = network.parameters().to_vec1::<f32>().unwrap();
            assert_eq!(moved, expected.to_vec1::<f32>().unwrap());
            network.parameters().set(start).unwrap();
        }
    }
}

fn norm(vector: &Tensor) -> f64 {
    f64::from(vector.sqr().unwrap().sum_all().unwrap().sqrt().unwrap().to_scalar::<f32>().unwrap())
}
