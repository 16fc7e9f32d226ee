//! What the cores could do at most: fused multiply-adds that wait for no memory and for no other, on all threads.
#![allow(clippy::inline_always, reason = "the vector unit holds only for what is inlined into its function")]

use std::time::Instant;

use pulp::{Arch, Simd, WithSimd};

/// Enough sums side by side for a unit that starts two a cycle and takes up to six cycles for one.
const SUMS: usize = 12;

/// Long enough for the clock, short enough for a core to keep its speed.
const ROUNDS: u32 = 1 << 21;

struct MultiplyAdd;

impl WithSimd for MultiplyAdd {
    /// Operations, two a multiply-add.
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let factor = simd.splat_f32s(std::hint::black_box(0.5));
        let mut sums = [factor; SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = simd.mul_add_f32s(factor, *sum, factor);
            }
        }
        std::hint::black_box(sums);
        let lanes = size_of::<S::f32s>() / size_of::<f32>();
        2.0 * f64::from(ROUNDS) * (SUMS * lanes) as f64
    }
}

/// 32-bit operations a second of all threads together, the most of a few tries.
pub(crate) fn operations_a_second() -> f64 {
    let once = || {
        let start = Instant::now();
        let operations = rayon::broadcast(|_| Arch::new().dispatch(MultiplyAdd));
        operations.iter().sum::<f64>() / start.elapsed().as_secs_f64()
    };
    (0..5).map(|_| once()).fold(0.0, f64::max)
}
