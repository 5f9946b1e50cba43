"""Fuzzes the API: `python -m tests.fuzz --count 20000 --seed 1`.

Every input is made from the seed and its number alone; `--first N --count 1` sends it again and
`--show N` writes it to standard output.
"""

import argparse
import asyncio
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from tests.fuzz.campaign import Campaign, Tally
from tests.fuzz.inputs import Samples, make_input


def main() -> int:
    """Run, print the summary as Markdown, and fail where a promise was broken."""
    parser = argparse.ArgumentParser(description="Send mutated DICOM files to the API.")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--record", type=Path, help="folder for inputs.jsonl and bad inputs")
    parser.add_argument("--show", type=int, help="write this input instead of sending any")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.show is not None:
        sys.stdout.buffer.write(make_input(Samples(), options.seed, options.show).body)
        return 0
    start = time.perf_counter()
    if options.record is None:
        tally = asyncio.run(Campaign(options.seed).run(options.first, options.count))
    else:
        options.record.mkdir(parents=True, exist_ok=True)
        with (options.record / "inputs.jsonl").open("a") as record:
            campaign = Campaign(options.seed, record, options.record)
            tally = asyncio.run(campaign.run(options.first, options.count))
    _print(tally, options.seed, time.perf_counter() - start)
    return 1 if tally.findings else 0


def _print(tally: Tally, seed: int, seconds: float) -> None:
    times = np.array(tally.seconds)
    print(f"{len(times)} inputs, seed {seed}, {seconds:.0f} s\n")
    print(f"answers: median {np.median(times) * 1e3:.0f} ms, longest {times.max():.2f} s\n")
    for title, counts in (("answer", tally.answers), ("worker", tally.readings)):
        print(f"| target | {title} | inputs |\n| --- | --- | ---: |")
        for (target, outcome), count in sorted(counts.items(), key=lambda item: item[0]):
            print(f"| {target} | {outcome} | {count} |")
        print()
    promises = Counter(finding.promise for finding in tally.findings)
    print("broken promises:", dict(promises) or "none")
    for finding in tally.findings[:50]:
        print(f"- input {finding.number}, {finding.promise}: {finding.detail[:1500]}")


if __name__ == "__main__":
    sys.exit(main())
