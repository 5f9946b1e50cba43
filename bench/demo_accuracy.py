"""How well the packaged weights contour phantoms they were not trained on, in 3-D per case.

    python bench/demo_accuracy.py [--threads 2]

The same 15 seeds as on the weights' card, through the same predictor as a job.
"""

import argparse

from ml.checkpoint import demo_weights_path, load_checkpoint
from ml.evaluation.evaluate import evaluate_phantoms
from ml.evaluation.statistics import summarize
from ml.experiments.demo_weights import DemoPreset
from ml.structures import CERVIX


def main() -> None:
    """Contour the phantoms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    threads = parser.parse_args().threads
    checkpoint = load_checkpoint(demo_weights_path())
    specs = DemoPreset().test_specs
    summary = summarize(evaluate_phantoms(checkpoint, specs, threads))
    print(f"{checkpoint.card.model_version} on {len(specs)} phantoms, seeds from {specs[0].seed}")
    print(f"{'structure':10} {'Dice':>6} {'worst':>6} {'95HD mm':>8} {'median':>7} {'missed':>7}")
    for name in CERVIX.names:
        dice, hd95 = summary[name]["dice"], summary[name]["hd95_mm"]
        print(
            f"{name:10} {dice['mean']:6.3f} {dice['worst']:6.3f} {hd95['mean']:8.1f}"
            f" {hd95['median']:7.1f} {summary[name]['missed']:7d}"
        )


if __name__ == "__main__":
    main()
