"""Prints reference values of the benchmark tasks, computed with mpmath at 50 digits.

    python3 high_precision_vectors.py > high_precision_vectors.csv

The formulas are those of the paper's sections 5.2, 8.6.1 and 8.6.2, written again from the paper and
solved by another method than the library's: bisection of T2 over time, in seconds.
"""

from mpmath import cos, exp, log, mp, mpf, nstr, pi, sin

mp.dps = 50
G, K, M = mpf("9.81"), mpf("0.25"), mpf("0.2")


def ballistics(x1, x2, x3, x4):
    v1, v2 = x4 * cos(x3), x4 * sin(x3)
    t2 = lambda t: x2 - M / K**2 * ((G * M + v2 * K) * (exp(-K * t / M) - 1) + G * t * K)
    # The ball is highest where T2' = 0; the landing lies after that.
    rise = (G * M + v2 * K) / (G * M)
    low = M / K * log(rise) if rise > 1 else mpf(0)
    if t2(low) < 0:
        return None
    high = low + 1
    while t2(high) > 0:
        high *= 2
    for _ in range(400):
        middle = (low + high) / 2
        low, high = (middle, high) if t2(middle) > 0 else (low, middle)
    return [x1 - v1 * M / K * (exp(-K * high / M) - 1)]


def sine_wave(x1, x2):
    return [sin(3 * pi * x1) + cos(3 * pi * x2)]


def robotic_arm(x1, x2, x3, x4):
    half = mpf("0.5")
    angles = [x2, x3 - x2, x4 - x3 - x2]
    lengths = [half, half, mpf(1)]
    y1 = x1 + sum(l * sin(a) for l, a in zip(lengths, angles))
    return [y1, sum(l * cos(a) for l, a in zip(lengths, angles))]


DESIGNS = {
    ballistics: [
        (0.0, 1.5, 0.5, 15.0),
        (0.25, 1.75, 0.7853981633974483, 12.0),
        (-0.5, 0.5, 1.25, 23.0),
        (1.0, 2.5, 0.15707963267948966, 8.0),
        (0.125, 0.0, 0.5, 15.0),  # on the ground: t = 0 is not the landing
        (0.0, 1.5, 0.5, 0.0),  # dropped
        (0.0, 1.5, -0.75, 10.0),  # thrown down
        (0.0, 1.5, -1.5, 400.0),  # thrown down hard
        (0.0, -0.25, 1.0, 10.0),  # from below the ground, and over it
        (0.0, -0.25, 0.0, 10.0),  # from below the ground, never over it
        (0.0, -5.0, 1.0, 6.0),  # likewise, with a peak below the ground
        (0.0, 1.0, 0.75, 100000.0),
        (0.0, 1e-9, 0.5, 1e-3),
        (2.0, 1.5, 0.5, -9.0),  # backwards and down
    ],
    sine_wave: [
        (0.0, 0.0), (0.5, 0.5), (-0.25, 0.75), (1.0, -1.0), (0.1, 0.2), (-0.9, 0.35),
        (0.123456789, -0.987654321), (1e-9, 1e-9), (12.5, -7.25), (0.16666666666666666, 0.0),
        (-1.0, 1.0), (0.625, -0.375),
    ],
    robotic_arm: [
        (0.0, 0.0, 0.0, 0.0), (0.25, 0.5, -0.5, 0.5), (-0.5, 1.0, 1.0, 1.0), (0.1, -0.2, 0.3, -0.4),
        (1.0, 1.5707963267948966, 0.0, 0.0), (0.0, 0.0, 1.5707963267948966, 0.0),
        (0.0, 0.0, 0.0, 1.5707963267948966), (-0.125, 0.875, -1.25, 0.625), (0.5, -1.5, 1.5, -1.5),
        (2.0, 3.0, 4.0, 5.0), (1e-6, 1e-6, 1e-6, 1e-6), (-0.3, 0.7, 0.2, -0.9),
    ],
}  # fmt: skip


def main():
    print("task,x,y")
    for task, designs in DESIGNS.items():
        for design in designs:
            y = task(*(mpf(value) for value in design))
            x = " ".join(repr(value) for value in design)
            print(f"{task.__name__.replace('_', '-')},{x},{'' if y is None else ' '.join(nstr(v, 20) for v in y)}")


if __name__ == "__main__":
    main()
