"""Kill a training run by SIGKILL at random moments, take it up again, and compare with a run that nothing stopped.

python -m tools.kills                 20 kills, each resumed with another number of loader threads
python -m tools.kills --kills 5 --seed 1
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from vipnp.checkpoint import load_weights
from vipnp.data import load_data_set
from vipnp.train.folder import states

PROGRAM = (sys.executable, "-c", "from vipnp.cli import app; app()")
OPTIONS = ("--epochs", "12", "--img-size", "16", "16", "--mixup", "0.3", "--cutmix", "0.5", "--drop-path", "0.1",
           "--aa", "rand-m9-mstd0.5-inc1", "--reprob", "0.3", "--ema", "0.9", "--save-every", "3")  # fmt: skip


def make_photos(folder: Path) -> Path:
    """240 digits as PNG and JPEG files, a folder a class."""
    digits = load_data_set("digits").train
    for i in range(240):
        kind = folder / str(digits.labels[i])
        kind.mkdir(parents=True, exist_ok=True)
        digits.picture(i, 3).resize((20, 22)).save(kind / f"{i}.{'png' if i % 2 else 'jpg'}")
    return folder


def check_readable(folder: Path) -> None:
    """Every file under its last name is whole; what is half written has another."""
    for path in folder.rglob("*.safetensors"):
        load_weights(path)
    for path in folder.rglob("*.png"):
        with Image.open(path) as picture:
            picture.load()
    for path in folder.glob("*.csv"):
        list(csv.reader(path.read_text(encoding="utf-8").splitlines(), strict=True))


def outcome(folder: Path) -> tuple[dict[str, bytes], bytes, list[list[str]]]:
    """Weights, moments and mean of the last state, the best weights, and the figures without the seconds."""
    rows = csv.reader((folder / "metrics.csv").read_text(encoding="utf-8").splitlines())
    last = {name: value.tobytes() for name, value in load_weights(states(folder)[-1]).items()}
    return last, (folder / "best.safetensors").read_bytes(), [row[:-1] for row in rows]


def main(kills: int, seed: int) -> int:
    """0 where the killed run ends as the other."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place:
        photos = make_photos(Path(place) / "photos")
        whole, killed = Path(place) / "whole", Path(place) / "killed"
        began = time.perf_counter()
        subprocess.run([*PROGRAM, "train", photos, "-o", whole, *OPTIONS, "-j", "0"], check=True, capture_output=True)
        longest = time.perf_counter() - began
        done = 0
        while True:
            given = ["--resume", killed] if (killed / "split.csv").exists() else [photos, "-o", killed, *OPTIONS]
            if (killed / "config.toml").exists() and "--resume" not in given:
                given.append("--overwrite")
            child = subprocess.Popen(
                [*PROGRAM, "train", *map(str, given), "-j", str(rng.integers(0, 5))],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            try:
                _, error = child.communicate(timeout=rng.uniform(0, longest) if done < kills else None)
            except subprocess.TimeoutExpired:
                child.kill()
                child.communicate()
                done += 1
                check_readable(killed)
                last = states(killed)[-1].stem if states(killed) else "the beginning"
                print(f"kill {done}: goes on from {last}", flush=True)
                continue
            if child.returncode:
                raise SystemExit(f"after {done} kills: {error.decode()}")
            if done >= kills:
                break
            killed.rename(killed.with_name(f"early-{done}"))  # it ended before its kills were spent: once more
            compare(whole, killed.with_name(f"early-{done}"))
        compare(whole, killed)
        print(f"{done} kills: every file was readable each time, and the bits at the end are the same")
    return 0


def compare(whole: Path, killed: Path) -> None:
    """Raise SystemExit where the runs ended differently."""
    if outcome(whole) != outcome(killed):
        raise SystemExit("the run that was killed ended otherwise than the whole one")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sys.exit(main(arguments.kills, arguments.seed))
