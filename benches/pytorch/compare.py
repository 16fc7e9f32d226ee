"""Times this library and PyTorch in turn, cell by cell: training (Table 10) and inference (Table 2).

    cargo build --release --example speed
    benches/pytorch/install.sh FOLDER
    FOLDER/bin/python benches/pytorch/compare.py --out docs/results/performance [--task D2] [--method NA]

Each cell has three processes: this library, PyTorch eager, PyTorch compiled, on as many threads each. One works while the
others wait; they take turns within each round, so that whatever else the machine does meets all three alike. Cells that the
folder's grid has from an earlier run, and this one does not measure, stay in it.
"""

import argparse
import csv
import importlib.metadata
import io
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
VARIANTS = ["ours", "eager", "compile"]
REQUESTS = {"train": "training, s an epoch", "infer": "1,000 solutions, s"}
MOST_ROUNDS = 15
CSV = "grid.csv"
# What its columns hold, where not seconds and ratios.
TYPES = {"task": str, "method": str, "what": str, "threads": int, "rounds": int}
# What the rounds of a variant, pairs of seconds and processor seconds, come to.
SUMMARIES = {
    "": lambda pairs: statistics.median(seconds for seconds, _ in pairs),
    "_least": lambda pairs: min(seconds for seconds, _ in pairs),
    "_processor": lambda pairs: statistics.median(used for _, used in pairs),
}


def settings(threads):
    # candle's own threads wait by spinning: the workspace's .cargo/config.toml sets this too.
    own = {"CANDLE_NUM_THREADS": "1", "RAYON_NUM_THREADS": str(threads)}
    return {**own, "OMP_NUM_THREADS": str(threads)}


class Process:
    """A worker that answers each request by a number."""

    def __init__(self, command, settings):
        self.child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **settings}
        )
        if self.line() != "ready":
            raise SystemExit(f"{command} did not start")

    def line(self):
        return self.child.stdout.readline().strip()

    def ask(self, request):
        self.child.stdin.write(request + "\n")
        self.child.stdin.flush()
        answer = self.line()
        if not answer:
            raise SystemExit(f"{self.child.args} did not answer {request}")
        return float(answer)

    def timed(self, request):
        """Seconds on the clock, and of processor time, which others on the machine disturb far less."""
        start, used = time.perf_counter(), self.used()
        seconds = self.ask(request)
        share = (self.used() - used) / (time.perf_counter() - start)
        return seconds, seconds * share

    def used(self):
        """Processor seconds of all threads so far."""
        tasks = Path(f"/proc/{self.child.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def commands(program, cells, data, task, method):
    torch = [sys.executable, str(HERE / "worker.py"), cells, data, task, method]
    return {
        "ours": [program, "worker", task, method],
        "eager": [*torch, "eager"],
        "compile": [*torch, "compile"],
    }


def rounds(processes, request, arguments):
    """(seconds, processor seconds) of each variant, one pair a round; a first round is not counted."""
    seconds = {variant: [] for variant in processes}
    for process in processes.values():
        process.ask(request)
    start, names = time.monotonic(), list(processes)
    while len(seconds[names[0]]) < arguments.rounds or (
        time.monotonic() - start < arguments.budget and len(seconds[names[0]]) < MOST_ROUNDS
    ):
        for name in names:
            seconds[name].append(processes[name].timed(request))
        # Nobody goes first every time.
        names = names[1:] + names[:1]
    return seconds


def measure(program, cells, data, cell, arguments):
    task, method = cell["task"], cell["method"]
    started = commands(program, cells, data, task, method)
    variants = arguments.variants
    processes = {variant: Process(command, settings(arguments.threads)) for variant, command in started.items() if variant in variants}
    rows = []
    floors, peaks = {}, {}
    for request in REQUESTS:
        # The floor is the quicker of the two libraries' products, its best of a few.
        libraries = [name for name in VARIANTS if name in processes][:2]
        asked = [processes[name].ask(f"floor-{request}") for name in libraries for _ in range(3)]
        floors[request] = min(asked)
        # The products' operations at what the cores do at most, memory and all else left out.
        peaks[request] = processes["ours"].ask(f"peak-{request}")
        if request == "train":
            times = {"train": rounds(processes, "train", arguments)}
    # Training is over once a worker has been asked for proposals.
    times["infer"] = rounds(processes, "infer", arguments)
    memory = {name: process.ask("quit") / 1024 for name, process in processes.items()}
    for process in processes.values():
        process.child.stdin.close()
        process.child.wait()
    for request in REQUESTS:
        row = {"task": task, "method": method, "what": request, "threads": arguments.threads}
        row["rounds"] = len(times[request]["ours"])
        for suffix, of in SUMMARIES.items():
            for name in VARIANTS:
                row[f"{name}{suffix}"] = of(times[request][name]) if name in variants else math.nan
        row["floor"] = floors[request]
        for suffix in SUMMARIES:
            others = [row[f"{name}{suffix}"] for name in variants if name != "ours"]
            row[f"ratio{suffix}"] = min(others) / row[f"ours{suffix}"]
        row["floor_ratio"] = row["ours_least"] / row["floor"]
        row["peak"] = peaks[request]
        for name in VARIANTS:
            row[f"{name}_peak_share"] = row["peak"] / row[f"{name}_least"]
        for name in VARIANTS:
            row[f"{name}_mib"] = memory.get(name, math.nan)
        rows.append(row)
        print(line(row), flush=True)
    return rows


def digits(value):
    if math.isnan(value):
        return "–"
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value < 100 else f"{value:.0f}"


HEADER = (
    "| task | method | what | ours | eager | compile | ratio | ratio of the least "
    "| ratio of processor time | ours / products | share of the peak: ours, eager, compile "
    "| MiB: ours, eager, compile |\n"
    "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def line(row):
    seconds = " | ".join(digits(row[name]) for name in VARIANTS)
    peak = ", ".join(digits(row[f"{name}_peak_share"]) for name in VARIANTS)
    memory = ", ".join("–" if math.isnan(row[f"{name}_mib"]) else f"{row[f'{name}_mib']:.0f}" for name in VARIANTS)
    return (
        f"| {row['task']} | {row['method']} | {REQUESTS[row['what']]} | {seconds} | {row['ratio']:.2f} | "
        f"{row['ratio_least']:.2f} | {row['ratio_processor']:.2f} | {row['floor_ratio']:.2f} | {peak} | {memory} |"
    )


def summary(rows):
    lines = []
    for request, title in REQUESTS.items():
        kinds = [("ratio", "medians"), ("ratio_least", "least times"), ("ratio_processor", "processor time")]
        for key, name in kinds:
            ratios = [row[key] for row in rows if row["what"] == request]
            mean = math.exp(statistics.fmean(map(math.log, ratios)))
            quick = sum(ratio >= 1.5 for ratio in ratios)
            lines.append(
                f"{title}, {name}: {mean:.2f} times as fast as PyTorch at its best here, in the geometric mean, "
                f"{min(ratios):.2f} at least, {quick} of {len(ratios)} cells at 1.5 or more"
            )
    return lines


def processor():
    with open("/proc/cpuinfo") as info:
        names = [text.split(":", 1)[1].strip() for text in info if text.startswith("model name")]
    return f"{len(names)} × {names[0] if names else platform.processor()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of grid.csv and grid.md")
    parser.add_argument("--task", action="append", help="these tasks alone")
    parser.add_argument("--method", action="append", help="these methods alone")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds of rounds for one time of a cell")
    parser.add_argument("--rounds", type=int, default=5, help="rounds at least")
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS, help="ours and what to compare")
    parser.add_argument("--threads", type=int, default=2, help="threads of each process")
    target = os.environ.get("CARGO_TARGET_DIR", str(HERE.parent.parent / "target"))
    parser.add_argument("--program", default=f"{target}/release/examples/speed", help="the built example")
    arguments = parser.parse_args()
    if "ours" not in arguments.variants or len(set(arguments.variants)) < 2:
        parser.error("--variants takes `ours` and at least one of PyTorch's")
    printed = subprocess.run([arguments.program, "cells"], capture_output=True, check=True, text=True).stdout
    wanted = [
        cell
        for cell in json.loads(printed)
        if cell["task"] in (arguments.task or [cell["task"]])
        and cell["method"] in (arguments.method or [cell["method"]])
    ]
    if not wanted:
        parser.error("no cell has that --task and --method")
    if any(row["threads"] != arguments.threads for row in read(arguments.out / CSV)):
        parser.error("--out holds a grid of other --threads")
    print(HEADER)
    rows = []
    with tempfile.TemporaryDirectory() as data:
        subprocess.run([arguments.program, "data", data], check=True)
        cells = f"{data}/cells.json"
        Path(cells).write_text(printed)
        for cell in wanted:
            rows += measure(arguments.program, cells, data, cell, arguments)
            write(rows, arguments)
    print("\n".join(["", *summary(rows)]))


def read(path):
    """The rows of an earlier grid; none where there is none."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return [{name: TYPES.get(name, float)(value) for name, value in row.items()} for row in csv.DictReader(file)]


def replace(path, text):
    """Whole or not at all: a run that is killed here leaves what was there."""
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_text(text)
    os.replace(temporary, path)


def merged(rows, earlier):
    """A grid's rows with those measured this time in their places; columns that it had not yet are NaN."""
    grid = {(row["task"], row["method"], row["what"]): row for row in [*earlier, *rows]}
    return [{**dict.fromkeys(rows[0], math.nan), **row} for row in grid.values()]


def write(rows, arguments):
    """The cells so far, and those of an earlier grid: whoever stops the script keeps what it has measured."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = merged(rows, read(arguments.out / CSV))
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace(arguments.out / CSV, text.getvalue())
    load = os.getloadavg()[2]
    where = (
        f"The cells measured last: PyTorch {importlib.metadata.version('torch')}, threads of each: {arguments.threads}, {processor()}, "
        f"load of the last 15 minutes: {load:.1f}."
    )
    lines = (f"- {text}" for text in summary(rows))
    text = "\n".join([where, "", HEADER, *map(line, rows), "", *lines, ""])
    replace(arguments.out / "grid.md", text)


if __name__ == "__main__":
    main()
