"""The six methods: a loss to train by and a way to propose designs, as the library's settings describe them."""

import math

import numpy
import torch
from torch import nn

from networks import Flow, mlp, regression


class Data:
    """Standardised pairs, and the way back to the task's units."""

    def __init__(self, folder, cell):
        read = lambda side, width: numpy.fromfile(f"{folder}/{cell['task']}.{side}", numpy.float32).reshape(
            cell["pairs"], width
        )
        x, y = read("x", cell["dim_x"]), read("y", cell["dim_y"])
        order = numpy.random.default_rng(0).permutation(len(x))
        held_out = len(x) // 5
        training = order[held_out:]
        self.x_mean, self.x_scale = x[training].mean(0), x[training].std(0)
        self.y_mean, self.y_scale = y[training].mean(0), y[training].std(0)
        self.target = y[:1].astype(numpy.float64)
        x = torch.from_numpy((x - self.x_mean) / self.x_scale)
        y = torch.from_numpy((y - self.y_mean) / self.y_scale)
        self.x, self.y = x[order[held_out:]], y[order[held_out:]]
        self.held_out_x, self.held_out_y = x[order[:held_out]], y[order[:held_out]]
        self.low, self.high = self.x.amin(0), self.x.amax(0)
        # Of all pairs, as proposals are kept inside.
        self.least, self.largest = x.amin(0), x.amax(0)

    def standard_target(self):
        return torch.from_numpy(((self.target - self.y_mean) / self.y_scale).astype(numpy.float32))

    def outside(self, x):
        """Which designs lie outside the range of the training designs."""
        return ((x < self.least) | (x > self.largest)).any(1)

    def designs(self, x):
        """In the task's units, inside the range of the training designs, as numbers of 64 bits."""
        x = torch.minimum(torch.maximum(x, self.least), self.largest)
        return x.numpy().astype(numpy.float64) * self.x_scale + self.x_mean


def normal(rows, columns):
    return torch.randn(rows, columns)


class Method(nn.Module):
    """Trained by `loss`; `propose` gives designs for the data's target.

    `quick` wraps what a variant compiles; it gives the function back as it is where nothing is compiled.
    """

    def __init__(self, cell, data):
        super().__init__()
        self.settings, self.data = cell["settings"], data
        self.dim_x, self.dim_y, self.solutions = cell["dim_x"], cell["dim_y"], cell["solutions"]
        self.training_settings = self.settings.get("training")
        relabelling = self.settings.get("relabelling")
        self.renewed_by = None
        if relabelling:
            self.renewed_by = regression(relabelling["surrogate"], self.dim_x, self.dim_y)
            self.renewed_by.requires_grad_(False)
            self.jitter = relabelling["jitter"]

    def sample(self, draw):
        """Designs from `draw`, which makes so many, quickly or not; those outside the range of the training designs are drawn
        again, a quarter as many as there are solutions at most. Few at a time, and never as many: not worth compiling for."""
        x = draw(self.solutions, True)
        rows, left = self.data.outside(x).nonzero()[:, 0], math.ceil(self.solutions / 4)
        while len(rows) and left:
            # Where they are too many it is chance that chooses.
            rows = rows[torch.randperm(len(rows))[:left]]
            left -= len(rows)
            x[rows] = draw(len(rows), False)
            rows = rows[self.data.outside(x[rows])]
        return self.data.designs(x)

    def trained(self):
        """The parameters that move."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def renew(self, x, y):
        if self.renewed_by is None:
            return x, y
        with torch.no_grad():
            moved = x + self.jitter * torch.randn_like(x)
            moved = self.data.high - (self.data.high - moved).abs()
            moved = (moved - self.data.low).abs() + self.data.low
            moved = torch.minimum(torch.maximum(moved, self.data.low), self.data.high)
            return moved, self.renewed_by(moved)

    def training_loss(self, x, y):
        return self.loss(*self.renew(x, y))

    def parameters_as_counted(self):
        return sum(parameter.numel() for parameter in self.trained())


class NeuralAdjoint(Method):
    def __init__(self, cell, data):
        super().__init__(cell, data)
        self.surrogate = regression(self.settings["surrogate"], self.dim_x, self.dim_y)
        self.training_settings = self.settings["surrogate"]["training"]
        self.half_range = (data.high - data.low) / 2
        self.center = (data.high + data.low) / 2
        variance = torch.from_numpy(data.y_scale) ** 2
        self.weights = variance / variance.mean() / self.dim_y

    def loss(self, x, y):
        return (self.surrogate(x) - y).square().mean()

    def misfit(self, x, y):
        """Loss of each row, and the gradient of their sum."""
        error = ((self.surrogate(x) - y).square() * self.weights).sum(1)
        excess = torch.relu((x - self.center).abs() - self.half_range).sum(1)
        return error + self.settings["descent"]["boundary_weight"] * excess

    def prepare(self, quick):
        self.surrogate.eval().requires_grad_(False)
        self.quick_misfit = quick(self.misfit)

    def propose(self):
        descent, y = self.settings["descent"], self.data.standard_target()
        chosen = torch.randperm(len(self.data.x))[: self.settings["start_count"]]
        x = self.data.x[chosen].clone().requires_grad_(True)
        first, last = descent["learning_rate"], descent["schedule"]["cosine"]["last"]
        optimizer = torch.optim.Adam([x], lr=first, fused=True)
        best = best_loss = None
        for step in range(descent["steps"] + 1):
            loss = self.quick_misfit(x, y)
            (x.grad,) = torch.autograd.grad(loss.sum(), x)
            with torch.no_grad():
                if best is None:
                    best, best_loss = x.detach().clone(), loss.detach()
                else:
                    better = loss < best_loss
                    best = torch.where(better.unsqueeze(1), x, best)
                    best_loss = torch.where(better, loss, best_loss)
            if step < descent["steps"]:
                height = 0.5 * (1 + math.cos(math.pi * step / descent["steps"]))
                optimizer.param_groups[0]["lr"] = last + (first - last) * height
                optimizer.step()
        order = torch.argsort(best_loss)[: self.solutions]
        return self.data.designs(best[order])


class Tandem(Method):
    def __init__(self, cell, data):
        super().__init__(cell, data)
        self.surrogate = regression(self.settings["surrogate"], self.dim_x, self.dim_y)
        self.inverse = regression(self.settings["inverse"], self.dim_y, self.dim_x)
        self.training_settings = self.settings["inverse"]["training"]
        self.surrogate.requires_grad_(False)
        self.half_range = (data.high - data.low) / 2
        self.center = (data.high + data.low) / 2
        variance = torch.from_numpy(data.y_scale) ** 2
        self.weights = variance / variance.mean() / self.dim_y

    def parameters_as_counted(self):
        return sum(parameter.numel() for parameter in self.parameters())

    def loss(self, x, y):
        designs = self.inverse(y)
        error = ((self.surrogate(designs) - y).square() * self.weights).sum(1)
        excess = torch.relu((designs - self.center).abs() - self.half_range).sum(1)
        return (error + self.settings["boundary_weight"] * excess).mean()

    def prepare(self, quick):
        self.quick_inverse = quick(self.inverse.eval())

    @torch.no_grad()
    def propose(self):
        designs = self.data.designs(self.quick_inverse(self.data.standard_target()))
        return numpy.repeat(designs, self.solutions, 0)


class ConditionalVae(Method):
    def __init__(self, cell, data):
        super().__init__(cell, data)
        self.latent = self.settings["latent"] or self.dim_x
        network = lambda inputs, outputs: mlp(
            inputs, self.settings["hidden"], outputs, self.settings["activation"], self.settings["batch_norm"]
        )
        self.encoder = network(self.dim_x + self.dim_y, 2 * self.latent)
        self.decoder = network(self.latent + self.dim_y, self.dim_x)

    def loss(self, x, y):
        mean, log_variance = self.encoder(torch.cat([x, y], 1)).chunk(2, 1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        decoded = self.decoder(torch.cat([z, y], 1))
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean()
        return (decoded - x).square().mean() + self.settings["divergence_weight"] * divergence

    def decode(self, z, y):
        return self.decoder(torch.cat([z, y.expand(len(z), -1)], 1))

    def prepare(self, quick):
        self.decoder.eval()
        self.quick_decode = quick(self.decode)

    @torch.no_grad()
    def propose(self):
        y = self.data.standard_target()

        def draw(count, quick):
            return (self.quick_decode if quick else self.decode)(normal(count, self.latent), y)

        return self.sample(draw)


class InvertibleNetwork(Method):
    def __init__(self, cell, data):
        super().__init__(cell, data)
        settings = self.settings
        self.latent = settings["latent"] or max(self.dim_x - self.dim_y, 1)
        self.width = settings["width"] or max(self.dim_x, self.dim_y + self.latent)
        self.flow = Flow(self.width, 0, settings["flow"])

    def loss(self, x, y):
        settings = self.settings
        if self.width > self.dim_x:
            padding = settings["padding_noise"] * x.new_empty(len(x), self.width - self.dim_x).normal_()
            x = torch.cat([x, padding], 1)
        if settings["measurement_noise"] > 0:
            y = y + settings["measurement_noise"] * torch.randn_like(y)
        output, log_determinant = self.flow(x)
        measured, latent = self.dim_y, self.dim_y + self.latent
        likelihood = (output[:, :measured] - y).square().sum(1) / settings["misfit_variance"]
        likelihood = likelihood + output[:, measured:latent].square().sum(1)
        if self.width > latent:
            padding = output[:, latent:].square().sum(1)
            likelihood = likelihood + padding / settings["padding_noise"] ** 2
        return (0.5 * likelihood - log_determinant).mean()

    def decode(self, z, y):
        return self.flow.inverse(torch.cat([y.expand(len(z), -1), z], 1))[:, : self.dim_x]

    def prepare(self, quick):
        self.quick_decode = quick(self.decode)

    @torch.no_grad()
    def propose(self):
        settings, y = self.settings, self.data.standard_target()
        padding = self.width - self.dim_y - self.latent

        def draw(count, quick):
            z = normal(count, self.latent) * settings["temperature"]
            if padding:
                z = torch.cat([z, normal(count, padding) * settings["padding_noise"]], 1)
            return (self.quick_decode if quick else self.decode)(z, y)

        return self.sample(draw)


class ConditionalInvertibleNetwork(Method):
    def __init__(self, cell, data):
        super().__init__(cell, data)
        self.flow = Flow(self.dim_x, self.dim_y, self.settings["flow"])

    def loss(self, x, y):
        z, log_determinant = self.flow(x, y)
        return (0.5 * z.square().sum(1) - log_determinant).mean()

    def decode(self, z, y):
        return self.flow.inverse(z, y.expand(len(z), -1))

    def prepare(self, quick):
        self.quick_decode = quick(self.decode)

    @torch.no_grad()
    def propose(self):
        y = self.data.standard_target()

        def draw(count, quick):
            z = normal(count, self.dim_x) * self.settings["temperature"]
            return (self.quick_decode if quick else self.decode)(z, y)

        return self.sample(draw)


class MixtureDensityNetwork(Method):
    LARGEST_LOG_DIAGONAL = 7.0

    def __init__(self, cell, data):
        super().__init__(cell, data)
        settings, d = self.settings, self.dim_x
        self.components = settings["components"]
        self.sizes = [self.components * each for each in (1, d, d, d * (d - 1) // 2)]
        self.network = mlp(
            self.dim_y, settings["hidden"], sum(self.sizes), settings["activation"], settings["batch_norm"]
        )
        self.register_buffer("below", torch.tril_indices(d, d, -1))

    def mixture(self, y):
        """Logits, means, log diagonals and lower triangular factors of the precisions."""
        logits, means, diagonals, below = self.network(y).split(self.sizes, 1)
        shape = (len(y), self.components, self.dim_x)
        limit = self.LARGEST_LOG_DIAGONAL
        log_diagonal = limit * torch.tanh(diagonals.reshape(shape) / limit)
        factor = torch.diag_embed(log_diagonal.exp())
        if self.dim_x > 1:
            factor = factor.clone()
            factor[:, :, self.below[0], self.below[1]] = below.reshape(*shape[:2], -1)
        return logits, means.reshape(shape), log_diagonal, factor

    def loss(self, x, y):
        logits, means, log_diagonal, factor = self.mixture(y)
        whitened = ((x.unsqueeze(1) - means).unsqueeze(2) @ factor).squeeze(2)
        component = log_diagonal.sum(2) - 0.5 * whitened.square().sum(2)
        return -torch.logsumexp(torch.log_softmax(logits, 1) + component, 1).mean()

    def prepare(self, quick):
        self.network.eval()
        self.quick_mixture = quick(self.mixture)

    @torch.no_grad()
    def propose(self):
        logits, means, _, factor = self.quick_mixture(self.data.standard_target())
        weights = torch.softmax(logits[0], 0)

        def draw(count, quick):
            chosen = torch.multinomial(weights, count, replacement=True)
            noise = normal(count, self.dim_x).unsqueeze(2)
            # x = mean + L^-T noise has the covariance (L L^T)^-1.
            offset = torch.linalg.solve_triangular(factor[0].mT[chosen], noise, upper=True)
            return means[0][chosen] + offset.squeeze(2)

        return self.sample(draw)


METHODS = {
    "NA": NeuralAdjoint,
    "Tandem": Tandem,
    "cVAE": ConditionalVae,
    "INN": InvertibleNetwork,
    "cINN": ConditionalInvertibleNetwork,
    "MDN": MixtureDensityNetwork,
}
