use proptest::prelude::*;

use super::*;

/// Numbers between −1 and 1.
fn numbers(count: usize, salt: u32) -> Vec<f32> {
    (0..count as u32).map(|i| (((i * 37 + salt * 101) % 97) as f32 - 48.0) / 48.0).collect()
}

/// The sum of one entry in the order that the kernels promise.
fn in_order(start: f32, terms: impl Iterator<Item = (f32, f32)>) -> f32 {
    terms.fold(start, |sum, (left, right)| left.mul_add(right, sum))
}

/// (lines are rows, lines are features).
fn blocks(values: &[f32], columns: usize) -> (Blocks, Blocks) {
    let (mut rows, mut features) = (Blocks::default(), Blocks::default());
    rows.copy_rows(values, columns);
    features.turn(&rows);
    (rows, features)
}

/// Runs a product on one vector unit.
type Dispatch<'a> = &'a dyn Fn(Product<'_>);

/// Runs what products are checked by for every vector unit that the machine has.
fn on_every_unit(run: &dyn Fn(Dispatch<'_>)) {
    run(&|product| product.run(pulp::Scalar::new()));
    run(&|product| Arch::new().dispatch(product));
    #[cfg(target_arch = "x86_64")]
    if let Some(unit) = pulp::x86::V3::try_new() {
        run(&|product| Simd::vectorize(unit, product));
    }
}

enum Product<'a> {
    Forward(Forward<'a>),
    Backward(Backward<'a>),
    Gradient(Gradient<'a>),
}

impl Product<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self {
            Self::Forward(product) => product.with_simd(simd),
            Self::Backward(product) => product.with_simd(simd),
            Self::Gradient(product) => product.with_simd(simd),
        }
    }
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.run(simd);
    }
}

/// A layer's numbers: its weight and bias, what it reads, and the gradient of what it writes.
struct Case {
    rows: usize,
    inputs: usize,
    outputs: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
    x: Vec<f32>,
    gradient: Vec<f32>,
}

impl Case {
    fn new((rows, inputs, outputs): (usize, usize, usize), salt: u32) -> Self {
        let (weight, bias) = (numbers(outputs * inputs, salt), numbers(outputs, salt + 1));
        let (x, gradient) = (numbers(rows * inputs, salt + 2), numbers(rows * outputs, salt + 3));
        Self { rows, inputs, outputs, weight, bias, x, gradient }
    }

    fn weight(&self) -> Weight<'_> {
        Weight { values: &self.weight, inputs: self.inputs }
    }

    /// Runs `check` with the places of all blocks: the chunk of features, and the block among the rows.
    fn each_block(&self, features: usize, mut check: impl FnMut(usize, usize)) {
        for chunk in 0..features.div_ceil(PANEL) {
            (0..self.rows.div_ceil(PANEL)).for_each(|beside| check(chunk, beside));
        }
    }

    fn check_forward(&self, dispatch: Dispatch<'_>) {
        let (_, x) = blocks(&self.x, self.inputs);
        self.each_block(self.outputs, |chunk, beside| {
            let bias = &self.bias[chunk * PANEL..self.outputs.min((chunk + 1) * PANEL)];
            let (right, mut out) = ((x.over_features(beside), x.rows_of(beside)), [PanelRow::ZERO; PANEL]);
            dispatch(Product::Forward(self.weight().forward(chunk, bias, right, &mut out)));
            for (line, (sums, bias)) in out.iter().zip(bias).enumerate() {
                let weight = &self.weight[(chunk * PANEL + line) * self.inputs..][..self.inputs];
                for (sum, x) in sums.0.iter().zip(self.x.chunks(self.inputs).skip(beside * PANEL)) {
                    assert_eq!(*sum, in_order(*bias, weight.iter().copied().zip(x.iter().copied())));
                }
            }
        });
    }

    fn check_backward(&self, dispatch: Dispatch<'_>) {
        let (_, right) = blocks(&self.gradient, self.outputs);
        let each = self.rows.div_ceil(PANEL);
        // From each block on, up to the last one.
        for (first, beside) in
            (0..self.inputs).step_by(PANEL).flat_map(|first| (0..each).map(move |b| (first, b)))
        {
            let mut out = vec![PanelRow::ZERO; (each - beside) * PANEL];
            let (weight, right) = (self.weight(), &right);
            dispatch(Product::Backward(Backward { weight, first, right, beside, out: &mut out }));
            for (out, rows) in out.chunks(PANEL).zip(self.gradient.chunks(PANEL * self.outputs).skip(beside))
            {
                for (input, sums) in (first..self.inputs).zip(out) {
                    for (sum, gradient) in sums.0.iter().zip(rows.chunks(self.outputs)) {
                        let weight = self.weight.iter().skip(input).step_by(self.inputs);
                        assert_eq!(*sum, in_order(0.0, weight.copied().zip(gradient.iter().copied())));
                    }
                }
            }
        }
    }

    fn check_gradient(&self, dispatch: Dispatch<'_>) {
        let ((input, _), (_, gradient)) =
            (blocks(&self.x, self.inputs), blocks(&self.gradient, self.outputs));
        for start in (0..self.outputs).step_by(3 * TILE) {
            let gradient = &gradient.chunk(start / PANEL)[start % PANEL..];
            let mut of_weight = vec![f32::NAN; (3 * TILE).min(self.outputs - start) * self.inputs];
            let product = Gradient { given: gradient, input: &input, chunk: 0, of_weight: &mut of_weight };
            dispatch(Product::Gradient(product));
            for (line, of_weight) in of_weight.chunks(self.inputs).enumerate() {
                let own = || self.gradient.iter().skip(start + line).step_by(self.outputs).copied();
                let sum = line_sums(&gradient[line / TILE * TILE..], self.rows)[line % TILE];
                assert_eq!(sum, own().fold(0.0, |sum, value| sum + value));
                for (input, value) in of_weight.iter().enumerate() {
                    let x = self.x.iter().skip(input).step_by(self.inputs);
                    assert_eq!(*value, in_order(0.0, own().zip(x.copied())));
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn every_sum_has_its_order_on_every_vector_unit(
        rows in 1..110_usize,
        inputs in 1..110_usize,
        outputs in 1..110_usize,
        salt in 0..1000_u32,
    ) {
        let case = Case::new((rows, inputs, outputs), salt);
        on_every_unit(&|dispatch| {
            case.check_forward(dispatch);
            case.check_backward(dispatch);
            case.check_gradient(dispatch);
        });
    }
}
