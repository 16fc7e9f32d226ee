"""The networks of the six methods, with the sizes that the library's settings give."""

import math

import torch
from torch import nn
from torch.nn import functional

ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}


def mlp(inputs, hidden, outputs, activation, batch_norm=False):
    layers, last = [], inputs
    for width in hidden:
        layers.append(nn.Linear(last, width))
        if batch_norm:
            layers.append(nn.BatchNorm1d(width))
        layers.append(ACTIVATIONS[activation]())
        last = width
    return nn.Sequential(*layers, nn.Linear(last, outputs))


def regression(settings, inputs, outputs):
    return mlp(inputs, settings["hidden"], outputs, settings["activation"], settings["batch_norm"])


class Coupling(nn.Module):
    """One block: each half is changed in turn, given the other and the condition; then a permutation."""

    def __init__(self, width, condition, settings):
        super().__init__()
        self.first, self.second = width // 2, width - width // 2
        kind = settings["coupling"]
        self.spline = kind.get("spline")
        self.clamp = kind.get("affine", {}).get("clamp")
        each = 3 * self.spline["bins"] - 1 if self.spline else 2
        subnet = lambda seen, changed: mlp(
            seen + condition, settings["hidden"], changed * each, settings["activation"]
        )
        self.change_first = subnet(self.second, self.first) if self.first else None
        self.change_second = subnet(self.first, self.second)
        order = torch.randperm(width)
        self.register_buffer("order", order)
        self.register_buffer("inverse_order", torch.argsort(order))

    def change(self, x, parameters, inverse):
        if self.spline:
            parameters = parameters.unflatten(1, (x.shape[1], -1))
            y, log_slope = rational_quadratic(x, parameters, **self.spline, inverse=inverse)
            return y, log_slope.sum(1)
        raw, shift = parameters.chunk(2, 1)
        log_scale = self.clamp * torch.tanh(raw / self.clamp)
        if inverse:
            return (x - shift) * torch.exp(-log_scale), -log_scale.sum(1)
        return x * torch.exp(log_scale) + shift, log_scale.sum(1)

    @staticmethod
    def seen(half, condition):
        return half if condition is None else torch.cat([half, condition], 1)

    def forward(self, x, condition):
        first, second = x[:, : self.first], x[:, self.first :]
        log_determinant = 0.0
        if self.change_first is not None:
            first, log_determinant = self.change(
                first, self.change_first(self.seen(second, condition)), False
            )
        second, log = self.change(second, self.change_second(self.seen(first, condition)), False)
        return torch.cat([first, second], 1)[:, self.order], log_determinant + log

    def inverse(self, y, condition):
        y = y[:, self.inverse_order]
        first, second = y[:, : self.first], y[:, self.first :]
        second, _ = self.change(second, self.change_second(self.seen(first, condition)), True)
        if self.change_first is not None:
            first, _ = self.change(first, self.change_first(self.seen(second, condition)), True)
        return torch.cat([first, second], 1)


class Flow(nn.Module):
    def __init__(self, width, condition, settings):
        super().__init__()
        self.blocks = nn.ModuleList(Coupling(width, condition, settings) for _ in range(settings["blocks"]))

    def forward(self, x, condition=None):
        log_determinant = 0.0
        for block in self.blocks:
            x, log = block(x, condition)
            log_determinant = log_determinant + log
        return x, log_determinant

    def inverse(self, z, condition=None):
        for block in reversed(self.blocks):
            z = block.inverse(z, condition)
        return z


def rational_quadratic(x, parameters, bins, bound, inverse, least=1e-3):
    """The spline of Durkan et al. (2019); outside of its interval the identity.

    x is (rows, n), parameters (rows, n, 3 bins - 1).
    """
    inside = x.abs() < bound
    clamped = x.clamp(-bound, bound)

    def knots(raw):
        shares = least + (1 - least * bins) * torch.softmax(raw, -1)
        return functional.pad(torch.cumsum(shares, -1), (1, 0)) * (2 * bound) - bound

    widths, heights, slopes = parameters.split([bins, bins, bins - 1], -1)
    knots_x, knots_y = knots(widths), knots(heights)
    slopes = least + functional.softplus(slopes + math.log(math.expm1(1 - least)))
    slopes = functional.pad(slopes, (1, 1), value=1.0)
    along = knots_y if inverse else knots_x
    bin_ = (clamped.unsqueeze(-1) >= along[..., 1:-1]).sum(-1, keepdim=True)
    pick = lambda values: values.gather(-1, bin_).squeeze(-1)
    next_ = lambda values: values.gather(-1, bin_ + 1).squeeze(-1)
    left_x, left_y = pick(knots_x), pick(knots_y)
    width, height = next_(knots_x) - left_x, next_(knots_y) - left_y
    left, right = pick(slopes), next_(slopes)
    secant = height / width
    curvature = left + right - 2 * secant
    if inverse:
        offset = clamped - left_y
        a = height * (secant - left) + offset * curvature
        b = height * left - offset * curvature
        c = -secant * offset
        position = 2 * c / (-b - torch.sqrt(torch.relu(b * b - 4 * a * c)))
        result = left_x + position * width
    else:
        position = (clamped - left_x) / width
    mixed = position * (1 - position)
    denominator = secant + curvature * mixed
    if not inverse:
        result = left_y + height * (secant * position**2 + left * mixed) / denominator
    slope = secant**2 * (right * position**2 + 2 * secant * mixed + left * (1 - position) ** 2)
    log_slope = torch.log(slope) - 2 * torch.log(denominator)
    if inverse:
        log_slope = -log_slope
    return torch.where(inside, result, x), torch.where(inside, log_slope, torch.zeros_like(x))
