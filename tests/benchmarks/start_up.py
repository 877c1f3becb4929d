"""What an app that does not use the plugin pays for having it: paired whole processes, with and without.

The pairs alternate, and the median of their differences counts. Bound: 3 ms.

Run: python tests/benchmarks/start_up.py [--pairs 60]
"""

import argparse
import statistics
import subprocess
import sys
import time

from stress import verdict

BOUND_S = 0.003
COMMON = "import hydra.core.config_store, hydra.plugins.sweeper, hydra.types, omegaconf"


def seconds(code):
    """How long a whole process takes, in seconds of the processor."""
    before = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - before


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=60)
    pairs = parser.parse_args().pairs
    with_it = f"{COMMON}\nimport hydra_plugins.dahps_sweeper.dahps_sweeper"
    seconds(with_it)  # compiles
    found = [(seconds(COMMON), seconds(with_it)) for _ in range(pairs)]
    without, with_plugin = (statistics.median(times) for times in zip(*found, strict=True))
    cost = statistics.median(after - before for before, after in found)
    print(f"without {without * 1e3:.1f} ms, with {with_plugin * 1e3:.1f} ms: medians of {pairs} processes")
    print(f"the plugin costs {cost * 1e3:.1f} ms (median of the pairs): {verdict(cost <= BOUND_S)}")


main()
