#!/usr/bin/env python3
"""Posteriors of single measurements in rounds, by this library and by `sbi`, judged by sbi's own test.

    cargo build --release --example posteriors_in_rounds
    benches/sbi/install.sh FOLDER
    FOLDER/bin/python benches/sbi/sequential.py --out docs/results/sbi [--case two-moons] [--rounds 4] [--method snpe]

Each measurement has as many simulations for itself, in as many rounds. The example `posteriors_in_rounds` explains them by
this library's methods; `sbi` then explains the same ones by its sequential neural posterior estimation (`snpe`: NPE with a
proposal, which is NPE-C) and sequential neural likelihood estimation (`snle`: NLE), with default settings, from simulations
of its own by the same simulator. Both are held against exact draws by sbi's classifier two-sample test (C2ST), which is 0.5
where a classifier cannot tell two samples apart, and 1 where it always can. Results that the folder has stay in it, unless
they are measured again.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from compare import CASES, ROOT, NLE, NPE, c2st_mean, load, prior, read, versions, write

OURS = ["mdn", "mdn-ensemble", "cinn", "cinn-ensemble", "likelihood", "surrogate"]
THEIRS = {"snpe": NPE, "snle": NLE}
CSV = "sequential.csv"
COLUMNS = ["case", "simulations", "rounds", "seed", "measurements", "method", "seconds", "c2st", "largest_c2st"]
KEYS = ["case", "simulations", "rounds", "seed", "method"]


def example(*options, threads):
    # candle's own threads wait by spinning: the workspace's .cargo/config.toml sets this too.
    environment = {**os.environ, "CANDLE_NUM_THREADS": "1", "RAYON_NUM_THREADS": str(threads)}
    binary = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release/examples/posteriors_in_rounds"
    subprocess.run([binary, *map(str, options)], check=True, env=environment, stdout=subprocess.DEVNULL)


def measure(case, x, seed, stream):
    """Noisy measurements of designs, by this library's simulator; each stream's noise is drawn anew."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        np.save(folder / "x.npy", x.numpy().astype(np.float64))
        np.save(folder / "y.npy", np.zeros((len(x), 1)))
        example("--case", case, "--measure", folder, "--seed", seed, "--stream", stream, threads=1)
        return load(folder, "y")


def in_rounds(method, case, y, number, draws, arguments):
    """Draws of one measurement's posterior by sbi, (draws, variables)."""
    torch.manual_seed(1000 * arguments.seed + number)
    each = arguments.simulations // arguments.rounds
    inference = THEIRS[method](prior(case), show_progress_bars=False)
    posterior = None
    for index in range(arguments.rounds):
        if posterior is None:
            x = prior(case).sample((each,))
        else:
            x = posterior.sample((each,), x=y, show_progress_bars=False)
        stream = 100 * (100 * number + index) + list(THEIRS).index(method)
        measured = measure(case, x, arguments.seed, stream)
        proposal = {"proposal": posterior} if method == "snpe" and posterior is not None else {}
        inference.append_simulations(x, measured, **proposal).train()
        posterior = inference.build_posterior().set_default_x(y)
    return posterior.sample((draws,), x=y, show_progress_bars=False)


def rows(case, arguments):
    key = {"case": case, "simulations": arguments.simulations, "rounds": arguments.rounds}
    key = {**key, "seed": arguments.seed, "measurements": arguments.measurements}
    with tempfile.TemporaryDirectory() as folder:
        # sbi writes logs of its trainings to the current folder.
        os.chdir(folder)
        ours = [method for method in OURS if method in arguments.method]
        options = ["--case", case, "--out", folder, "--rounds", arguments.rounds, "--seed", arguments.seed]
        options += ["--simulations", arguments.simulations, "--measurements", arguments.measurements]
        # All measurements and exact draws come with any method.
        for method in ours or ["mdn"]:
            options += ["--method", method]
        example(*options, threads=arguments.threads)
        answers = Path(folder) / case
        measured = load(answers / "measurements", "y")
        shape = (len(measured), -1, load(answers / "measurements", "x").shape[1])
        reference = load(answers / "reference", "x", shape)
        with open(Path(folder) / "posteriors_in_rounds.csv", newline="") as file:
            seconds = {row["method"]: float(row["seconds"]) for row in csv.DictReader(file)}
        for method in ours:
            draws = load(answers / method, "x", shape)
            yield {**key, "method": method, "seconds": seconds[method], **scores(draws, reference)}
        for method in [method for method in THEIRS if method in arguments.method]:
            started = time.perf_counter()
            each = reference.shape[1]
            draws = [in_rounds(method, case, y, number, each, arguments) for number, y in enumerate(measured)]
            seconds = (time.perf_counter() - started) / len(measured)
            yield {**key, "method": f"sbi, {method.upper()}", "seconds": seconds, **scores(draws, reference)}
        os.chdir(ROOT)


def scores(draws, reference):
    of_each = [c2st_mean([ours], [exact]) for ours, exact in zip(draws, reference)]
    return {"c2st": float(np.mean(of_each)), "largest_c2st": max(of_each)}


def order(row):
    return CASES.index(row["case"]), int(row["simulations"]), int(row["rounds"]), int(row["seed"])


def table(rows, column, digits):
    """One column of the results as Markdown, a line for each case and number of rounds."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    yield "| " + " | ".join(["case", "simulations", "rounds", *methods]) + " |"
    yield "|---|--:|--:|" + "--:|" * len(methods)
    lines = dict.fromkeys((row["case"], row["simulations"], row["rounds"]) for row in rows)
    for line in lines:
        of_line = [row for row in rows if (row["case"], row["simulations"], row["rounds"]) == line]
        cells = [line[0], f"{int(line[1]):,}", line[2]]
        for method in methods:
            values = [float(row[column]) for row in of_line if row["method"] == method]
            cells.append(f"{np.mean(values):.{digits}f}" if values else "")
        yield "| " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for sequential.csv")
    parser.add_argument("--case", action="append", choices=CASES, help="may be repeated; all, where there is none")
    parser.add_argument("--method", action="append", choices=[*OURS, *THEIRS], help="as --case")
    parser.add_argument("--simulations", type=int, default=1000, help="of a measurement, all rounds together")
    parser.add_argument("--rounds", type=int, default=10, help="that share them, the one of the prior included")
    parser.add_argument("--measurements", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    arguments.method = arguments.method or [*OURS, *THEIRS]
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out.resolve() / CSV
    print(versions(arguments.threads), file=sys.stderr)
    for case in arguments.case or CASES:
        for row in rows(case, arguments):
            key = [str(row[name]) for name in KEYS]
            kept = [old for old in read(path) if [old[name] for name in KEYS] != key]
            write(path, [*kept, row], order, COLUMNS, KEYS)
            print(f"{case}: {row['method']}", file=sys.stderr, flush=True)
    for column, digits in [("seconds", 1), ("c2st", 2), ("largest_c2st", 2)]:
        print(f"\n{column}\n")
        print("\n".join(table(read(path), column, digits)))


if __name__ == "__main__":
    main()
