"""The nearest neighbour among pixels."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT
from tools.nearest_neighbour import accuracy


def test_it_is_the_nearest_by_distance_and_not_by_product() -> None:
    train = np.array([[1.0, 0.0], [9.0, 9.0], [0.0, 2.0]], np.float32)
    held_out = np.array([[1.0, 1.0], [0.0, 1.9], [8.0, 8.0], [2.0, 0.1]], np.float32)
    distances = np.linalg.norm(held_out[:, None] - train, axis=2)
    labels = np.array([4, 5, 6])
    truth = np.array([4, 6, 5, 6])  # the last is not what its neighbour is
    np.testing.assert_array_equal(distances.argmin(axis=1), [0, 2, 1, 0])
    assert accuracy(train, labels, held_out, truth) == 0.75


@pytest.mark.parametrize("arguments", [[], ["phototile"]])
def test_a_missing_or_unknown_data_set_is_one_line_with_the_known_ones(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "tools.nearest_neighbour", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "phototiles" in done.stderr
