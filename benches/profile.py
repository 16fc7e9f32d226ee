#!/usr/bin/env python3
"""Shows where the time of each method's training and inference goes on the processor, by Linux's `perf`.

    RUSTFLAGS="-C force-frame-pointers=yes" cargo build --release --example speed --target-dir target/profile
    benches/profile.py --out docs/results/performance [--task D1] [--method NA] [--threads 1]

Each method's worker, that of `speed worker`, is sampled while it trains and again while it makes solutions, beside a run
that ends before; what the shorter run has taken is subtracted, so that neither earlier trainings nor data count.
"""

import argparse
import csv
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

METHODS = ["NA", "Tandem", "cVAE", "INN", "cINN", "MDN"]
# The first pattern that a frame of the stack meets, from the innermost outwards, names its share.
SHARES = [
    ("products", r"product::multiply|weight::(Weight::multiply|write_gradient)"),
    ("packing and turning", r"panels::(copy_panel|turn_panel|PanelMatrix)|blocks::"),
    ("activations", r"Activation::(apply|value)_in_place"),
    ("Adam", r"adam::update_block|adam_step"),
    ("normalisation", r"kernels::normalization"),
    ("couplings", r"kernels::(coupling|spline)|flow_step"),
    ("candle", r"candle_core::"),
    ("random numbers", r"rand_chacha|rand_distr|rand_core"),
]
# Of the innermost frame alone: a worker's whole work lies below frames of rayon's.
THREADS = re.compile(r"rayon_core::(registry|sleep)|crossbeam|sched|futex|wait_until|spin_unlock")
MEMORY = re.compile(r"memmove|memcpy|memset|malloc|cfree|realloc|clear_page|page_fault|mmap|madvise")


def share(stack):
    for frame in stack:
        for name, pattern in SHARES:
            if re.search(pattern, frame):
                return name
    for name, pattern in [("threads", THREADS), ("copies, memory", MEMORY)]:
        if pattern.search(stack[0]):
            return name
    return "the rest"


def samples(program, task, method, requests, threads):
    """Samples of the process by share, each worth the same time."""
    environment = {**os.environ, "CANDLE_NUM_THREADS": "1", "RAYON_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "perf.data"
        record = ["perf", "record", "-q", "-F", "999", "--call-graph", "fp", "-o", data]
        subprocess.run(
            [*record, program, "worker", task, method],
            input="\n".join([*requests, "quit"]) + "\n",
            text=True, env=environment, check=True, stdout=subprocess.DEVNULL,
        )
        script = ["perf", "script", "-i", data, "-F", "ip,sym"]
        text = subprocess.run(script, check=True, capture_output=True, text=True).stdout
    counts = Counter()
    for block in text.split("\n\n"):
        stack = [line.split(None, 1)[1] for line in block.splitlines() if len(line.split(None, 1)) > 1]
        if stack:
            counts[share(stack)] += 1
    return counts


def profile(program, task, method, threads, epochs):
    """Shares of training and of inference, each a Counter."""
    before = samples(program, task, method, ["train"], threads)
    trained = samples(program, task, method, ["train"] * (1 + epochs), threads)
    proposed = samples(program, task, method, ["train"] + ["infer"] * 60, threads)
    return {"training": trained - before, "1,000 solutions": proposed - before}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of shares.csv")
    parser.add_argument("--task", default="D1", help="the task")
    parser.add_argument("--method", action="append", help="these methods alone")
    parser.add_argument("--threads", type=int, default=1, help="threads")
    parser.add_argument("--epochs", type=int, default=8, help="epochs that are sampled")
    parser.add_argument("--program", default="target/profile/release/examples/speed", help="the built example")
    arguments = parser.parse_args()
    names = [name for name, _ in SHARES] + ["threads", "copies, memory", "the rest"]
    rows = []
    for method in arguments.method or METHODS:
        shares = profile(arguments.program, arguments.task, method, arguments.threads, arguments.epochs)
        for what, counts in shares.items():
            total = sum(counts.values()) or 1
            rows.append([arguments.task, method, what, *(f"{100 * counts[name] / total:.1f}" for name in names)])
            print(rows[-1], file=sys.stderr)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with open(arguments.out / "shares.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["task", "method", "what", *names])
        writer.writerows(rows)
    print("| method | what | " + " | ".join(names) + " |")
    print("|---|---|" + "--:|" * len(names))
    for _, method, what, *values in rows:
        print(f"| {method} | {what} | " + " | ".join(values) + " |")


if __name__ == "__main__":
    main()
