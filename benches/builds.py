#!/usr/bin/env python3
"""Sets two builds of the example `speed` beside each other: what a change of the kernels has gained.

    benches/builds.py OLD NEW [--cell D1 NA]...

Both programs, copied from two revisions' `target/release/examples/speed`, answer `speed worker` in turn, twice. Each time
the first of four epochs, and of four inferences, is not counted. Prints, a line a cell, the medians of both in ms and their
ratio, and the ratio of the least times.
"""

import argparse
import os
import statistics
import subprocess

CELLS = [("D1", method) for method in ("NA", "Tandem", "cVAE", "INN", "cINN", "MDN")]
CELLS += [("D4", method) for method in ("Tandem", "INN", "cINN", "MDN")]
SITTINGS, TIMES = 2, 4


def seconds(program, task, method):
    """Epochs and inferences of one sitting, the first of each left out."""
    requests = ["train"] * TIMES + ["infer"] * TIMES + ["quit"]
    answers = subprocess.run(
        [program, "worker", task, method],
        input="\n".join(requests) + "\n",
        text=True, check=True, stdout=subprocess.PIPE, env={**os.environ, "CANDLE_NUM_THREADS": "1"},
    ).stdout.split()
    # The first line says `ready`, the last is the peak of memory.
    times = [float(answer) for answer in answers[1:-1]]
    return times[1:TIMES], times[TIMES + 1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", help="the program of before")
    parser.add_argument("new", help="the program of now")
    parser.add_argument("--cell", nargs=2, action="append", metavar=("TASK", "METHOD"), help="these cells alone")
    arguments = parser.parse_args()
    print("| cell | what | before, ms | after, ms | gain | of the least |")
    print("|---|---|--:|--:|--:|--:|")
    for task, method in arguments.cell or CELLS:
        of = {arguments.old: ([], []), arguments.new: ([], [])}
        for _ in range(SITTINGS):
            for program, kept in of.items():
                for own, times in zip(kept, seconds(program, task, method)):
                    own.extend(times)
        for index, what in enumerate(["training, an epoch", "1,000 solutions"]):
            old, new = of[arguments.old][index], of[arguments.new][index]
            before, after = statistics.median(old), statistics.median(new)
            least = min(old) / min(new)
            print(f"| {task}, {method} | {what} | {1e3 * before:.4g} | {1e3 * after:.4g} | {before / after:.2f} | {least:.2f} |", flush=True)


if __name__ == "__main__":
    main()
