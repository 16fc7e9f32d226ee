#!/usr/bin/env python3
"""Posteriors of noisy measurements by this library and by `sbi`, on the same pairs, judged by sbi's own test.

    cargo build --release --example posteriors
    benches/sbi/install.sh FOLDER
    FOLDER/bin/python benches/sbi/compare.py --out docs/results/sbi [--case two-moons] [--pairs 1000] [--seed 1] [--method maf]

For each case, the example `posteriors` trains this library's methods and writes all pairs and draws; `sbi` then trains its
neural posterior estimation with default settings on the same pairs, with as many threads, and draws for the same
measurements; `nle` is its neural likelihood estimation, by a MAF, whose draws are a Markov chain's. All are held against
exact draws by sbi's classifier two-sample test (C2ST), which is 0.5 where a classifier cannot tell two samples apart, and 1
where it always can. Results that the folder has stay in it, unless they are measured again; the tables show means over the
seeds that it has.
"""

import argparse
import csv
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch

warnings.filterwarnings("ignore")
from sbi.inference import NLE, NPE  # noqa: E402
from sbi.utils import BoxUniform  # noqa: E402
from sbi.utils.metrics import c2st  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
CASES = ["two-moons", "gaussian-mixture", "gaussian-linear-uniform", "sine-wave", "robotic-arm", "beam"]
METHODS = ["mdn", "mdn-ensemble", "cinn", "cinn-ensemble", "likelihood", "surrogate"]
ESTIMATORS = ["maf", "nsf", "nle"]
CSV = "comparison.csv"
COLUMNS = ["case", "pairs", "seed", "method", "training_seconds", "draws_seconds", "log_density", "c2st"]
KEYS = COLUMNS[:4]


def prior(case):
    """The case's prior, as sbi wants it."""
    if case == "robotic-arm":
        deviations = torch.tensor([0.25, 0.5, 0.5, 0.5])
        return torch.distributions.MultivariateNormal(torch.zeros(4), torch.diag(deviations**2))
    if case == "beam":
        return BoxUniform(torch.tensor([0.5, 0.02, 0.02]), torch.tensor([1.0, 0.05, 0.05]))
    width, edge = {"gaussian-mixture": (2, 10.0), "gaussian-linear-uniform": (10, 1.0)}.get(case, (2, 1.0))
    return BoxUniform(-edge * torch.ones(width), edge * torch.ones(width))


def check_prior(case, x):
    """Whether training designs can be the prior's: sizes that drift apart would make a comparison of nothing."""
    drawn = prior(case).sample((10_000,))
    deviation = drawn.std(0)
    error = deviation * (1 / len(x) + 1 / len(drawn)) ** 0.5
    assert torch.all((x.mean(0) - drawn.mean(0)).abs() < 5 * error), f"{case}: means {x.mean(0)}"
    assert torch.all((x.std(0) / deviation - 1).abs() < 5 * (1 / len(x)) ** 0.5), f"{case}: {x.std(0)}"


def load(folder, name, shape=None):
    values = torch.tensor(np.load(folder / f"{name}.npy"), dtype=torch.float32)
    return values if shape is None else values.reshape(shape)


def c2st_mean(draws, reference):
    """The mean over the measurements, (measurements, draws, variables) each."""
    return float(np.mean([float(c2st(ours, exact)) for ours, exact in zip(draws, reference)]))


def ours(case, pairs, seed, threads, methods, folder):
    """Rows of this library's methods, whose pairs and draws are in `folder` then, and all pairs where there is no method."""
    # candle's own threads wait by spinning: the workspace's .cargo/config.toml sets this too.
    environment = {**os.environ, "CANDLE_NUM_THREADS": "1", "RAYON_NUM_THREADS": str(threads)}
    binary = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release/examples/posteriors"
    options = ["--case", case, "--pairs", str(pairs), "--seed", str(seed), "--out", str(folder)]
    for method in methods or ["mdn"]:
        options += ["--method", method]
    subprocess.run([binary, *options], check=True, env=environment, stdout=subprocess.DEVNULL)
    with open(folder / "posteriors.csv", newline="") as file:
        for row in csv.DictReader(file) if methods else []:
            yield {**{name: row[name] for name in COLUMNS if name in row}, "seed": seed}


def theirs(estimator, case, folder, pairs, seed, reference):
    """The row of sbi's neural posterior estimation by that density estimator, or of its neural likelihood, and its draws."""
    training = folder / str(pairs) / "training"
    x, y = load(training, "x"), load(training, "y")
    check_prior(case, x)
    torch.manual_seed(seed)
    started = time.perf_counter()
    if estimator == "nle":
        inference = NLE(prior(case), show_progress_bars=False)
    else:
        inference = NPE(prior(case), density_estimator=estimator, show_progress_bars=False)
    density = inference.append_simulations(x, y).train()
    training_seconds = time.perf_counter() - started
    posterior = inference.build_posterior()
    each = reference.shape[1]
    measured = load(folder / "measurements", "y")
    started = time.perf_counter()
    draws = [posterior.sample((each,), x=y, show_progress_bars=False) for y in measured]
    seconds = time.perf_counter() - started
    scored = folder / "scored"
    log = ""
    if estimator != "nle":
        with torch.no_grad():
            log = float(density.log_prob(load(scored, "x")[None], condition=load(scored, "y")).mean())
    row = {
        "case": case,
        "pairs": pairs,
        "seed": seed,
        "method": f"sbi, {estimator.upper()}",
        "training_seconds": training_seconds,
        "draws_seconds": seconds * 1000 / (each * len(measured)),
        "log_density": log,
    }
    return row, torch.stack(draws)


def measure(case, pairs, arguments):
    with tempfile.TemporaryDirectory() as folder:
        # sbi writes logs of its trainings to the current folder.
        os.chdir(folder)
        methods = [method for method in METHODS if method in arguments.method]
        rows = list(ours(case, pairs, arguments.seed, arguments.threads, methods, Path(folder)))
        folder = Path(folder) / case
        measurements = len(load(folder / "measurements", "y"))
        shape = (measurements, -1, load(folder / "measurements", "x").shape[1])
        reference = load(folder / "reference", "x", shape)
        for row in rows:
            row["c2st"] = c2st_mean(load(folder / str(pairs) / row["method"], "x", shape), reference)
            yield row
        for estimator in [estimator for estimator in ESTIMATORS if estimator in arguments.method]:
            row, draws = theirs(estimator, case, folder, pairs, arguments.seed, reference)
            yield {**row, "c2st": c2st_mean(draws, reference)}
        os.chdir(ROOT)


def versions(threads):
    """What a comparison is made with."""
    versions = {name: importlib.metadata.version(name) for name in ["sbi", "torch"]}
    return f"{versions}, {threads} threads, {platform.machine()}"


def read(path):
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def number(value):
    """With four digits; nothing stays nothing."""
    return "" if value == "" else f"{float(value):.4g}"


def write(path, rows, order, columns, keys):
    """Replaces the file in one step.

    `order` is what its lines are sorted by; numbers but those of the keys have four digits.
    """
    beside = path.with_suffix(".new")
    with open(beside, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in sorted(rows, key=order):
            numbers = {name: number(row[name]) for name in columns if name not in keys}
            writer.writerow({**row, **numbers})
    beside.replace(path)


def order(row):
    return int(row["pairs"]), CASES.index(row["case"]), int(row["seed"])


def table(rows, column, digits):
    """One column of the results as Markdown, a line for each case and number of pairs: means over the seeds."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    yield "| " + " | ".join(["case", "pairs", "seeds", *methods]) + " |"
    yield "|---|--:|--:|" + "--:|" * len(methods)
    for pairs, case in sorted({(int(row["pairs"]), CASES.index(row["case"])) for row in rows}):
        of_line = [row for row in rows if int(row["pairs"]) == pairs and row["case"] == CASES[case]]
        seeds = sorted({int(row["seed"]) for row in of_line})
        cells = [CASES[case], f"{pairs:,}", ", ".join(map(str, seeds))]
        for method in methods:
            values = [float(row[column]) for row in of_line if row["method"] == method and row[column] != ""]
            cells.append(f"{np.mean(values):.{digits}f}" if values else "")
        yield "| " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for comparison.csv")
    parser.add_argument("--case", action="append", choices=CASES, help="may be repeated; all, where there is none")
    parser.add_argument("--pairs", action="append", type=int, help="training pairs, may be repeated; 1000")
    parser.add_argument("--method", action="append", choices=METHODS + ESTIMATORS, help="as --case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    arguments.method = arguments.method or METHODS + ESTIMATORS
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out.resolve() / CSV
    print(versions(arguments.threads), file=sys.stderr)
    for pairs in arguments.pairs or [1000]:
        for case in arguments.case or CASES:
            for row in measure(case, pairs, arguments):
                key = [str(row[name]) for name in KEYS]
                kept = [old for old in read(path) if [old[name] for name in KEYS] != key]
                write(path, [*kept, row], order, COLUMNS, KEYS)
                print(f"{case}, {pairs} pairs: {row['method']}", file=sys.stderr, flush=True)
    rows = read(path)
    for column, digits in zip(COLUMNS[4:], [2, 4, 2, 2]):
        print(f"\n{column}\n")
        print("\n".join(table(rows, column, digits)))


if __name__ == "__main__":
    main()
