"""Writes high_precision_vectors.csv: measurements of chosen designs to 25 digits.

Run with Python 3 and mpmath 1.3.0 in this folder: python3 high_precision_vectors.py

Each line is: task, design x (separated by spaces, exactly the f64 that the test reads), measurement y,
scale. The scale is the sum of the magnitudes that y is made of, where rounding errors come from.
The impact of D1 is bracketed and bisected in the paper's own units; where the numbers stay moderate it is
compared with the closed form in Lambert's W.
"""

import random
from pathlib import Path

from mpmath import cos, exp, expm1, inf, lambertw, log, mp, mpf, nan, nstr, pi, sin

mp.dps = 60
GRAVITY, DRAG, MASS = mpf("9.81"), mpf("0.25"), mpf("0.2")


def last_root(height, v2):
    """The last t >= 0 with T2(t) = 0, in seconds; None where there is none."""

    def t2(t):
        gone = expm1(-DRAG * t / MASS)
        return height - MASS / DRAG**2 * ((GRAVITY * MASS + v2 * DRAG) * gone + GRAVITY * t * DRAG)

    # T2 rises up to the apex, where the vertical velocity is 0, and falls after it.
    apex = MASS / DRAG * log(1 + v2 * DRAG / (GRAVITY * MASS)) if v2 > 0 else mpf(0)
    if t2(apex) < 0:
        return None
    if t2(apex) == 0:
        return apex
    lower, step = apex, mpf("1e-30")
    while t2(apex + step) > 0:
        lower, step = apex + step, 2 * step
    upper = apex + step
    for _ in range(220):
        middle = (lower + upper) / 2
        if t2(middle) > 0:
            lower = middle
        else:
            upper = middle
    check_closed_form(height, v2, lower)
    return lower


def check_closed_form(height, v2, t):
    a = 1 + v2 * DRAG / (GRAVITY * MASS)
    s = a + height * DRAG**2 / (GRAVITY * MASS**2)
    if max(abs(a), abs(s)) < 30:
        tau = s + lambertw(-a * exp(-s), 0).real
        assert abs(tau * MASS / DRAG - t) < mpf("1e-25") * max(t, 1), (tau, t)


def ballistics(x1, x2, x3, x4):
    v1, v2 = x4 * cos(x3), x4 * sin(x3)
    t = last_root(x2, v2)
    if t is None:
        return [(nan, nan)]
    distance = -v1 * MASS / DRAG * expm1(-DRAG * t / MASS)
    return [(x1 + distance, abs(x1) + abs(distance))]


def sine_wave(x1, x2):
    # The rounding of the phase 3πx counts as much as the values themselves.
    return [(sin(3 * pi * x1) + cos(3 * pi * x2), 2 + 3 * pi * (abs(x1) + abs(x2)))]


def robotic_arm(x1, x2, x3, x4):
    angles = [x2, x3 - x2, x4 - x3 - x2]
    lengths = [mpf("0.5"), mpf("0.5"), mpf(1)]
    y1 = sum(length * sin(angle) for length, angle in zip(lengths, angles)) + x1
    y2 = sum(length * cos(angle) for length, angle in zip(lengths, angles))
    scale = 2 + abs(x1) + 3 * (abs(x2) + abs(x3) + abs(x4))
    return [(y1, scale), (y2, scale)]


def designs():
    draw = random.Random(20)
    yield from (
        (ballistics, design)
        for design in [
            (0.0, 1.5, 0.7, 15.0),
            (0.3, 1.2, 0.2, 0.0),  # zero speed: falls straight down
            (0.3, 0.0, 0.2, 0.0),  # lies on the ground
            (-0.2, 0.0, 0.9, 12.0),  # from the ground: t = 0 is a root too, and the wrong one
            (0.0, 0.0, 1e-9, 12.0),  # the same, hardly leaving it
            (0.0, 0.0, 0.5, 1e-7),
            (0.0, 0.0, -0.5, 10.0),  # thrown into the ground it lies on
            (0.1, -1.0, 0.9, 15.0),  # from a hole, out of it
            (0.1, -1.0, 0.9, 2.0),  # from a hole, not out of it
            (0.1, -1.0, -0.9, 15.0),
            (0.1, -1e-9, 0.9, 1e-3),
            (0.1, -50.0, 1.4, 100.0),
            (0.1, 1.4, -0.9, 15.0),  # downward
            (0.1, 1.4, -1.5, 7.848),
            (0.1, 1.4, -1.2, 1e5),
            (0.1, 1e4, -1.2, 1e5),
            (0.1, 7e4, -1.2, 1e5),
            (0.1, 8e8, -1.5, 1e9),
            (0.1, 1e-12, -0.4, 3.0),
            (0.1, 1.5, 1.5707963267948966, 15.0),  # straight up
            (0.1, 1.5, 3.0, 15.0),  # backwards
            (0.1, 1.5, 100.0, 15.0),
            (0.1, 1.5, 0.7, -15.0),  # negative speed: backwards and down
            (0.1, 1.5, -0.7, -15.0),
            (0.1, 1.5, 0.7, 1e6),
            (0.1, 1.5, 0.7, 1e30),
            (0.1, 1e30, 0.7, 1e3),
            (0.1, 1e-9, 0.0, 1.0),  # a tiny fall
            (1e3, 1.5, 0.7, 15.0),
        ]
        + [
            (draw.gauss(0, 0.5), draw.gauss(1.5, 0.5), draw.uniform(0.157, 1.257), float(draw.randint(4, 26)))
            for _ in range(16)
        ]
    )
    yield from (
        (sine_wave, design)
        for design in [(0.0, 0.0), (0.5, 1.0), (-1.0, -1.0), (1.0, 1.0), (1 / 6, 0.0), (1 / 3, 0.5), (2.0, -3.0)]
        + [(draw.uniform(-1, 1), draw.uniform(-1, 1)) for _ in range(12)]
    )
    yield from (
        (robotic_arm, design)
        for design in [
            (0.0, 0.0, 0.0, 0.0),
            (0.25, 0.0, 0.0, 0.0),
            (0.0, 1.5707963267948966, 0.0, 0.0),
            (0.0, 3.141592653589793, 3.141592653589793, 3.141592653589793),
            (-0.5, 10.0, -20.0, 30.0),
        ]
        + [(draw.gauss(0, 0.25), *(draw.gauss(0, 0.5) for _ in range(3))) for _ in range(12)]
    )


def main():
    lines = ["task,x,y,scale"]
    for task, design in designs():
        values = task(*(mpf(value) for value in design))
        name = task.__name__.replace("_", "-")
        columns = [" ".join(repr(value) for value in design)]
        columns += [" ".join(nstr(value, 25, min_fixed=-inf, max_fixed=-inf) for value in part) for part in zip(*values)]
        lines.append(",".join([name, *columns]))
    Path("high_precision_vectors.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
