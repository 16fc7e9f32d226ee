"""One cell in PyTorch, timed when asked: worker.py CELLS DATA TASK METHOD eager|compile

Answers `train`, `infer`, `floor-train`, `floor-infer` and `quit` on standard input by one line each: seconds, or KiB.
"""

import json
import math
import os
import sys
import time

import torch

from methods import METHODS, Data

# What is quicker than this is repeated, and the mean is given.
LEAST_SECONDS = 0.1
# Work before what is timed: a process that has waited for its turn finds its threads asleep.
SETTLING_SECONDS = 0.05


class Worker:
    def __init__(self, cell, folder, compiled):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        torch.manual_seed(1)
        self.cell, self.data = cell, Data(folder, cell)
        self.method = METHODS[cell["method"]](cell, self.data)
        counted = self.method.parameters_as_counted()
        if counted != cell["parameters"]:
            raise SystemExit(f"{counted} parameters here, {cell['parameters']} there")
        # Sizes never change, so neither does what is compiled for them.
        self.quick = (lambda function: torch.compile(function, dynamic=False)) if compiled else lambda f: f
        self.training = self.method.training_settings
        self.loss, self.training_loss = map(self.quick, (self.method.loss, self.method.training_loss))
        # The fused Adam is the quickest of PyTorch's on the processor.
        self.optimizer = torch.optim.Adam(
            self.method.trained(), lr=self.training["learning_rate"], weight_decay=self.training["l2"], fused=True
        )
        self.best, self.best_loss = None, math.inf
        self.prepared = False

    def train(self):
        """One epoch: steps, the loss of held-out pairs, and a copy of the best parameters, as in the library."""
        data, size = self.data, self.training["batch_size"]
        parameters, limit = self.method.trained(), self.training["gradient_limit"]
        self.method.train()
        losses = []
        order = torch.randperm(len(data.x))
        for start in range(0, len(order) - size + 1, size):
            rows = order[start : start + size]
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.training_loss(data.x[rows], data.y[rows])
            loss.backward()
            if limit is not None:
                torch.nn.utils.clip_grad_value_(parameters, limit)
            self.optimizer.step()
            losses.append(loss.detach())
        self.method.eval()
        with torch.no_grad():
            held_out = self.loss(data.held_out_x, data.held_out_y).item()
        if held_out < self.best_loss:
            self.best = [parameter.detach().clone() for parameter in parameters]
            self.best_loss = held_out
        return torch.stack(losses).mean().item()

    def infer(self):
        if not self.prepared:
            self.method.prepare(self.quick)
            self.prepared = True
        return self.method.propose()

    def timed(self, what, least):
        start, count = time.perf_counter(), 0
        while count == 0 or time.perf_counter() - start < least:
            what()
            count += 1
        return (time.perf_counter() - start) / count

    def floor(self, products):
        """Seconds of the matrix products alone."""
        total = 0.0
        for product in products:
            a = torch.randn(product["rows"], product["inner"])
            b = torch.randn(product["inner"], product["columns"])
            out = a @ b
            start = time.perf_counter()
            for _ in range(product["count"]):
                torch.mm(a, b, out=out)
            total += time.perf_counter() - start
        return total

    def answer(self, request):
        if request == "train":
            return self.timed(self.train, 0.0)
        if request == "infer":
            self.timed(self.infer, SETTLING_SECONDS)
            return self.timed(self.infer, LEAST_SECONDS)
        if request == "floor-train":
            return self.floor(self.cell["training_products"])
        if request == "floor-infer":
            return self.floor(self.cell["inference_products"])
        raise SystemExit(f"unknown request: {request}")


def peak_memory():
    """The most memory that this process has held, KiB. Not ru_maxrss, which counts the parent's before exec."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def main():
    cells, folder, task, method, variant = sys.argv[1:]
    with open(cells) as file:
        cell = next(cell for cell in json.load(file) if (cell["task"], cell["method"]) == (task, method))
    worker = Worker(cell, folder, variant == "compile")
    worker.train()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "quit":
            print(peak_memory(), flush=True)
            return
        print(repr(worker.answer(line.strip())), flush=True)


if __name__ == "__main__":
    main()
