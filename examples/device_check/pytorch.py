"""Times in PyTorch what `device_check` times here: the descent of NA, and training steps, eager, compiled and as CUDA
graphs. Prints a table; needs PyTorch and a CUDA device, nothing else.

    python3 examples/device_check/pytorch.py
"""

import statistics
import time

import torch
from torch import nn

DEVICE = "cuda"
STEPS = 300
STARTS = 2048
WARM_UP, REPEATS = 1, 2


class Surrogate(nn.Module):
    """The authors' forward network: Linear, batch norm, ReLU; for D4 with its convolutional head."""

    def __init__(self, inputs, width, layers, outputs, head):
        super().__init__()
        stack, last = [], inputs
        for _ in range(layers):
            stack += [nn.Linear(last, width), nn.BatchNorm1d(width), nn.ReLU()]
            last = width
        stack.append(nn.Linear(last, 150 if head else outputs))
        self.stack = nn.Sequential(*stack)
        self.head = (
            nn.Sequential(
                nn.ConvTranspose1d(1, 4, 8, stride=2, padding=3),
                nn.ConvTranspose1d(4, 4, 5, stride=1, padding=2),
                nn.ConvTranspose1d(4, 4, 5, stride=1, padding=2),
                nn.Conv1d(4, 1, 1),
            )
            if head
            else None
        )

    def forward(self, x):
        y = self.stack(x)
        return y if self.head is None else self.head(y.unsqueeze(1)).squeeze(1)


def timed(run):
    for _ in range(WARM_UP):
        run()
    seconds = []
    for _ in range(REPEATS):
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def descent_step(network, x, y, optimizer):
    """One step of NA as its authors take it: squared error plus boundary loss, Adam on x."""
    optimizer.zero_grad(set_to_none=False)
    error = (network(x) - y).square().mean()
    boundary = torch.relu(x.abs() - 1.7).sum(1).mean()
    (error + boundary).backward()
    optimizer.step()


def report(name, variant, seconds):
    print(f"| {name} | {variant} | {seconds:.4f} |", flush=True)


def graph_of(step):
    """One call of `step` as a CUDA graph."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph


def descents(name, network, inputs, outputs, rows):
    network.eval()
    y = torch.randn(rows, outputs, device=DEVICE)
    for variant in ["eager, as the authors run it", "eager", "compiled", "CUDA graph", "eager, TF32"]:
        for parameter in network.parameters():
            # The authors leave the weights trainable, so each step also computes their gradients.
            parameter.requires_grad_(variant == "eager, as the authors run it")
        torch.backends.cuda.matmul.allow_tf32 = variant == "eager, TF32"
        x = torch.randn(rows, inputs, device=DEVICE, requires_grad=True)
        optimizer = torch.optim.Adam([x], lr=0.01, capturable=variant == "CUDA graph")
        if variant == "compiled":
            compiled = torch.compile(network)
            step = lambda: descent_step(compiled, x, y, optimizer)
        elif variant == "CUDA graph":
            graph = graph_of(lambda: descent_step(network, x, y, optimizer))
            step = graph.replay
        else:
            step = lambda: descent_step(network, x, y, optimizer)
        report(f"{name}, {rows} rows, {STEPS} steps", variant, timed(lambda: [step() for _ in range(STEPS)]))
    torch.backends.cuda.matmul.allow_tf32 = False


def trainings(name, network, inputs, outputs, batch=1024, pairs=8000, epochs=10):
    network.train()
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    x, y = torch.randn(pairs, inputs, device=DEVICE), torch.randn(pairs, outputs, device=DEVICE)
    for variant in ["eager", "compiled", "CUDA graph"]:
        optimizer = torch.optim.Adam(
            network.parameters(), lr=1e-3, weight_decay=1e-4, capturable=variant == "CUDA graph"
        )
        batch_x, batch_y = x[:batch].clone(), y[:batch].clone()
        model = torch.compile(network) if variant == "compiled" else network

        def step():
            optimizer.zero_grad(set_to_none=False)
            (model(batch_x) - batch_y).square().mean().backward()
            optimizer.step()

        replay = graph_of(step).replay if variant == "CUDA graph" else step

        def epoch():
            order = torch.randperm(pairs, device=DEVICE)
            for start in range(0, pairs - batch + 1, batch):
                rows = order[start : start + batch]
                torch.index_select(x, 0, rows, out=batch_x)
                torch.index_select(y, 0, rows, out=batch_y)
                replay()

        seconds = timed(lambda: [epoch() for _ in range(epochs)])
        report(f"{name}, training, 500 epochs", variant, seconds * 500 / epochs)


def main():
    torch.manual_seed(0)
    print(f"PyTorch {torch.__version__}, {torch.cuda.get_device_name()}\n")
    print("| what | how | seconds |\n|---|---|---|")
    shapes = [("D2", 2, 500, 4, 1, False, 16), ("D4", 8, 1000, 4, 300, True, 8)]
    networks = [Surrogate(*shape[1:-1]).to(DEVICE) for shape in shapes]
    for (name, inputs, _, _, outputs, _, _), network in zip(shapes, networks):
        descents(name, network, inputs, outputs, STARTS)
        trainings(name, network, inputs, outputs)
    for (name, inputs, _, _, outputs, _, most), network in zip(shapes, networks):
        descents(name, network, inputs, outputs, most * STARTS)


if __name__ == "__main__":
    main()
