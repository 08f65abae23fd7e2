"""Run train_tiny.py on all five splits and hold the held-out accuracy against its goal.

    python examples/five_splits.py

Exits with 1 if the mean is below 98.5 % or the lowest below 98 %.
"""

from __future__ import annotations

import sys

from train_tiny import main as train_tiny

from vipnp.data import SPLITS

MEAN_GOAL = 0.985
LOWEST_GOAL = 0.98


def main() -> int:
    """Print accuracy and seconds of every split, mean and lowest; returns the exit status."""
    results = [train_tiny(["--split", str(split)]) for split in range(SPLITS)]
    accuracies = [result["test_accuracy"] for result in results]
    mean, lowest = sum(accuracies) / SPLITS, min(accuracies)
    print("split  test accuracy  seconds")
    for result in results:
        print(f"{result['split']:5}  {result['test_accuracy']:13.2%}  {result['train_seconds']:7.1f}")
    print(f"mean {mean:.2%} (goal {MEAN_GOAL:.1%}), lowest {lowest:.2%} (goal {LOWEST_GOAL:.1%})")
    return 0 if mean >= MEAN_GOAL and lowest >= LOWEST_GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
