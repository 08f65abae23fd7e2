"""How long a folder of many images takes to be indexed, and how much memory.

python benchmarks/index.py                     1.3 million empty files in 1,000 class folders, made for this and removed
python benchmarks/index.py --files 100000 --folder /dev/shm
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLASSES = 1000

PROGRAM = """
import resource, sys, time
from vipnp.data import load_data_set
kilobytes = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, began = kilobytes(), time.perf_counter()
data = load_data_set(sys.argv[1])
seconds, cpu = time.perf_counter() - began, time.process_time()
print(len(data.train) + len(data.validation), len(data.validation), seconds, cpu, before * 1024, kilobytes() * 1024)
"""


def main(files: int, folder: Path | None) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        began = time.perf_counter()
        for label in range(CLASSES):
            kind = Path(place) / f"n{label:08}"
            kind.mkdir()
            for i in range(label, files, CLASSES):
                (kind / f"n{label:08}_{i}.JPEG").touch()
        print(f"{files:,} files made in {time.perf_counter() - began:.0f} s")
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, place], cwd=ROOT, check=True, capture_output=True, text=True
        )
    found, held_out, seconds, cpu, before, most = map(float, done.stdout.split())
    print(
        f"{found:,.0f} indexed in {seconds:.1f} s, {cpu:.1f} s of processor time, {held_out:,.0f} held out; "
        f"{most / 1e6:,.0f} MB at most, {before / 1e6:,.0f} MB before"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_300_000)
    parser.add_argument("--folder", type=Path, help="where the files are made; the system's temporary folder")
    arguments = parser.parse_args()
    main(arguments.files, arguments.folder)
