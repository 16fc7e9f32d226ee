"""Writes faddeeva_vectors.csv and lattice_sum_vectors.csv to 25 digits, computed in another way than the solver.

Run with Python 3 and mpmath 1.3.0 in this folder: python3 metamaterial_vectors.py

* w(z) = exp(-z^2) erfc(-iz) from mpmath's complex erfc with 80 digits, where the solver has a trapezoidal rule.
* Lattice sums by Ewald's method with 60 digits, another splitting parameter, and numerical second derivatives
  where the solver has closed forms.
"""

from pathlib import Path

from mpmath import cos, diff, erfc, exp, hypot, inf, mp, mpc, mpf, nstr, pi, sqrt


def digits(value):
    return nstr(value, 25, min_fixed=-inf, max_fixed=-inf)


def faddeeva():
    mp.dps = 80
    axis = [0.0, 1e-9, 0.01, 0.2558, 0.3, 0.5117, 0.7, 1.0, 1.88, 2.5, 3.3, 4.0, 6.0, 6.2, 7.5]
    lines = ["x,y,real,imaginary"]
    for x in axis:
        for y in axis:
            z = mpc(x, y)
            w = exp(-z * z) * erfc(mpc(y, -x))
            lines.append(f"{x!r},{y!r},{digits(w.real)},{digits(w.imag)}")
    Path("faddeeva_vectors.csv").write_text("\n".join(lines) + "\n")


def screened(k, splitting, r):
    """The part of exp(ikr)/4 pi r that Ewald's method sums in real space."""
    kappa = k / (2 * splitting)
    grow = exp(mpc(0, k * r)) * erfc(mpc(r * splitting, kappa))
    fall = exp(mpc(0, -k * r)) * erfc(mpc(r * splitting, -kappa))
    return (grow + fall) / (8 * pi * r)


def second_derivative(function):
    """Of an even function at 0, from values beside it."""
    step = mpf(10) ** -10
    return 2 * (function(2 * step) - function(step)) / (3 * step * step)


def lattice_sum(k, offset, splitting, reach=5):
    """Sum over the unit square lattice of (k^2 + d^2/dx^2) exp(ikr)/4 pi r without the term r = 0."""
    total = mpc(0)
    for m in range(-reach, reach + 1):
        for n in range(-reach, reach + 1):
            gx, gy = 2 * pi * m, 2 * pi * n
            gamma = sqrt(mpc(gx * gx + gy * gy - k * k))
            if gamma.real == 0:
                gamma = -mpc(0, 1) * abs(gamma.imag)
            phase = cos(gx * offset[0] + gy * offset[1])
            total += phase * (k * k - gx * gx) / gamma * erfc(gamma / (2 * splitting)) / 2
            x, y = offset[0] + m, offset[1] + n
            if x == 0 and y == 0:
                rest = lambda r: screened(k, splitting, r) - exp(mpc(0, k * r)) / (4 * pi * r)
                curvature = second_derivative(rest)
                total += k * k * (rest(mpf(10) ** -20)) + curvature
            elif hypot(x, y) < 4:
                value = screened(k, splitting, hypot(x, y))
                total += k * k * value + diff(lambda s: screened(k, splitting, hypot(s, y)), x, 2)
    return total


def lattice_sums():
    mp.dps = 60
    half = mpf(1) / 2
    lines = ["k,offset_x,offset_y,real,imaginary"]
    # 0.8 and 1.2 THz at a period of 212 um, then beyond the first diffraction order (2 pi) and the second (8.886).
    for k in [3.5, 5.25, 6.6, 9.5]:
        for offset in [(mpf(0), mpf(0)), (half, mpf(0)), (mpf(0), half), (half, half)]:
            value = lattice_sum(mpf(k), offset, mpf("2.1"))
            if k == 6.6:
                check = lattice_sum(mpf(k), offset, mpf("2.3"))
                assert abs(value - check) < mpf(10) ** -17 * abs(value), (k, offset, value, check)
            lines.append(f"{k!r},{float(offset[0])!r},{float(offset[1])!r},{digits(value.real)},{digits(value.imag)}")
    Path("lattice_sum_vectors.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    faddeeva()
    lattice_sums()
