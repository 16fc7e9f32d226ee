//! Where the incident power goes: reflected, transmitted, diffracted, absorbed.

use std::f64::consts::{PI, TAU};

use ndarray::{Array1, Array2};
use num_complex::Complex64;

use super::solver::{Dipoles, site};

/// The power that falls on an array, divided among all that it can become, each as a fraction of 1.
///
/// Arrays are over the solver's frequencies, (n_f). Dipole moments are in units of the period cubed times the
/// incident field: p = p_SI / (ε₀ L³ E₀) and m = m_SI / (L³ H₀), with the time factor e^{−iωt}.
#[derive(Debug, Clone, PartialEq)]
pub struct PowerBalance {
    /// Power that goes straight back, |r|².
    pub reflected: Array1<f64>,
    /// Power that goes straight on, |t|².
    pub transmitted: Array1<f64>,
    /// Power that the cylinders turn into heat, from their moments.
    pub absorbed: Array1<f64>,
    /// The oblique diffraction orders that are open at one frequency at least.
    pub orders: Vec<DiffractionOrder>,
    /// Electric moments along x, (n_f, 4), of the cylinders of [`SuperCell`](super::SuperCell).
    pub electric_dipoles: Array2<Complex64>,
    /// Magnetic moments along y, (n_f, 4).
    pub magnetic_dipoles: Array2<Complex64>,
}

/// The power of one diffraction order, both polarisations together; 0 where the order is closed.
#[derive(Debug, Clone, PartialEq)]
pub struct DiffractionOrder {
    /// (m, n): the wave travels along the plane with G = 2π(m, n)/L. It is open where f·L/c > √(m² + n²).
    pub order: [i32; 2],
    /// Power on the side that the incident wave comes from.
    pub backward: Array1<f64>,
    /// Power on the other side.
    pub forward: Array1<f64>,
}

impl PowerBalance {
    pub(super) fn new(dipoles: &[Dipoles], orders: &[[i32; 2]]) -> Self {
        let per_frequency = |value: &dyn Fn(&Dipoles) -> f64| dipoles.iter().map(value).collect();
        let moments = |of: fn(&Dipoles) -> &[Complex64; 4]| {
            Array2::from_shape_fn((dipoles.len(), 4), |(index, cylinder)| of(&dipoles[index])[cylinder])
        };
        let order_power = |order: &[i32; 2]| DiffractionOrder {
            order: *order,
            backward: per_frequency(&|dipoles| diffracted_power(dipoles, *order, -1.0)),
            forward: per_frequency(&|dipoles| diffracted_power(dipoles, *order, 1.0)),
        };
        Self {
            reflected: per_frequency(&|dipoles| dipoles.reflection().norm_sqr()),
            transmitted: per_frequency(&|dipoles| dipoles.transmission().norm_sqr()),
            absorbed: per_frequency(&|dipoles| dipoles.absorbed),
            orders: orders.iter().map(order_power).collect(),
            electric_dipoles: moments(|dipoles| &dipoles.electric),
            magnetic_dipoles: moments(|dipoles| &dipoles.magnetic),
        }
    }

    /// Power of all oblique orders on both sides, (n_f).
    pub fn diffracted(&self) -> Array1<f64> {
        let closed = Array1::zeros(self.reflected.len());
        self.orders.iter().fold(closed, |sum, order| sum + &order.backward + &order.forward)
    }

    /// All power together, (n_f): 1 to rounding, with loss and without.
    pub fn total(&self) -> Array1<f64> {
        &self.reflected + &self.transmitted + &self.absorbed + self.diffracted()
    }
}

/// The orders (m, n) other than (0, 0) that are open at the wave number k = 2πfL/c, nearest first.
pub(super) fn open_orders(wave_number: f64) -> Vec<[i32; 2]> {
    let reach = (wave_number / TAU).ceil() as i32;
    let squares = |[m, n]: &[i32; 2]| m * m + n * n;
    let mut orders: Vec<_> = (-reach..=reach)
        .flat_map(|m| (-reach..=reach).map(move |n| [m, n]))
        .filter(|order| squares(order) > 0 && f64::from(squares(order)).sqrt() * TAU < wave_number)
        .collect();
    orders.sort_by_key(squares);
    orders
}

/// The power of one order on one side, over the incident power.
///
/// With K = (G_x, G_y, ±κ), κ = √(k² − G²), and p̃ = Σ_j p_j e^{−iG·ρ_j}, m̃ alike, the lattice radiates the plane
/// wave (see `docs/metamaterial.md`)
///
/// ```text
/// E = (i/2κ) [ (k² x̂ − K K_x) p̃ − k (K × ŷ) m̃ ]
/// ```
///
/// which is transverse to K and so holds both polarisations. It carries |E|² κ/k through the cell.
///
/// * `side`: 1 for the wave that goes on, −1 for the one that goes back
fn diffracted_power(dipoles: &Dipoles, order: [i32; 2], side: f64) -> f64 {
    let k = dipoles.wave_number;
    let [gx, gy] = order.map(|number| TAU * f64::from(number));
    let kappa_squared = k * k - gx * gx - gy * gy;
    if kappa_squared <= 0.0 {
        return 0.0;
    }
    let kappa = kappa_squared.sqrt();
    let kz = side * kappa;
    let p = structure_factor(&dipoles.electric, order);
    let m = structure_factor(&dipoles.magnetic, order);
    let field = [p * (k * k - gx * gx) + m * (k * kz), -p * (gx * gy), -p * (gx * kz) - m * (k * gx)];
    let magnitude: f64 = field.iter().map(Complex64::norm_sqr).sum();
    magnitude / (4.0 * kappa_squared) * kappa / k
}

/// Σ_j p_j e^{−iG·ρ_j}; the sites lie on halves of the period, so each phase is a sign.
fn structure_factor(moments: &[Complex64; 4], [m, n]: [i32; 2]) -> Complex64 {
    moments
        .iter()
        .enumerate()
        .map(|(index, moment)| {
            let [x, y] = site(index);
            let phase = PI * (f64::from(m) * x as f64 + f64::from(n) * y as f64);
            // cos(πj) for a whole j is 1 or −1 exactly.
            moment * phase.cos()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_open_one_ring_after_another() {
        assert!(open_orders(6.2).is_empty());
        assert_eq!(open_orders(6.3).len(), 4);
        assert_eq!(open_orders(8.9).len(), 8);
        assert_eq!(open_orders(12.5).len(), 8);
    }

    #[test]
    fn structure_factors_alternate() {
        let moments = [1.0, 10.0, 100.0, 1000.0].map(Complex64::from);
        assert_eq!(structure_factor(&moments, [0, 0]).re, 1111.0);
        assert_eq!(structure_factor(&moments, [1, 0]).re, 101.0 - 1010.0);
        assert_eq!(structure_factor(&moments, [0, -1]).re, 11.0 - 1100.0);
        assert_eq!(structure_factor(&moments, [-1, 1]).re, 1001.0 - 110.0);
    }

    #[test]
    fn the_straight_order_is_reflection_and_transmission() {
        let dipoles = Dipoles {
            wave_number: 5.0,
            electric: [0.1, 0.2, -0.3, 0.5].map(|moment| Complex64::new(moment, 0.3)),
            magnetic: [0.7, -0.2, 0.3, 0.1].map(|moment| Complex64::new(0.2, moment)),
            absorbed: 0.0,
        };
        let backward = diffracted_power(&dipoles, [0, 0], -1.0);
        assert!((backward - dipoles.reflection().norm_sqr()).abs() < 1e-14 * backward);
        let forward = diffracted_power(&dipoles, [0, 0], 1.0);
        // The scattered part alone, without the incident wave.
        assert!((forward - (dipoles.transmission() - 1.0).norm_sqr()).abs() < 1e-14 * forward);
    }
}
