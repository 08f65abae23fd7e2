"""Weight files that are damaged or forged, as a program: python hostile_files.py COUNT SEED.

Every file starts from a good one, of safetensors or of PyTorch in either format and several containers, and is spoilt
in one to four places; half of the zip archives are spoilt inside and packed again, so that their checksums hold.
Reading one gives tensors, or a ValueError of one line that begins with the name of the file. It must not import,
compile, run or open anything else, take five seconds, or allocate more than twice the file and a few megabytes. Prints
how many were refused, how many were read, and the most memory in bytes beyond twice a file.
"""

from __future__ import annotations

import codecs
import io
import signal
import sys
import tempfile
import tracemalloc
import zipfile
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import safetensors.numpy
import torch

from vipnp.checkpoint import load_metadata, load_weights

FORBIDDEN = ("import", "compile", "exec", "open", "pickle.find_class", "os.", "subprocess.", "ctypes.", "socket.")
"""The interpreter's audit events that reading a file has no use for, apart from opening it."""

MOST_SECONDS = 5
MOST_BYTES = 8_000_000

EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**48, 2**63 - 1, 2**63, 2**64 - 1)
OPERATIONS = b"(.0123FGIJKLMNPQRSTUVX])}abcdeghijloqrstu" + bytes(range(0x80, 0x98))
NAMES = (b"cposix\nsystem\n", b"cbuiltins\neval\n", b"ctorch\nload\n", b"ctorch._utils\n_rebuild_tensor_v2\n")


def good_files() -> list[bytes]:
    """One of every kind."""
    rng = np.random.default_rng(0)
    arrays = {f"layer.{i}.weight": rng.standard_normal((3 + i, 4), dtype=np.float32) for i in range(4)}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    contents = [safetensors.numpy.save(arrays, {"vipnp": '{"classes": ["a", "b"]}'})]
    for content in (
        tensors,
        {"state_dict": {f"module.{name}": torch.nn.Parameter(tensor) for name, tensor in tensors.items()}, "epoch": 3},
        {"model": tensors, "optimizer": {"state": {0: {"exp_avg": torch.ones(3).half(), "step": 7}}}},
    ):
        for in_zip in (True, False):
            stream = io.BytesIO()
            torch.save(content, stream, _use_new_zipfile_serialization=in_zip)
            contents.append(stream.getvalue())
    return contents


def spoilt(rng: np.random.Generator, contents: bytes, others: list[bytes]) -> bytes:
    """`contents` with one thing wrong."""
    found = bytearray(contents)
    place = int(rng.integers(len(found) + 1)) if rng.random() < 0.5 else int(rng.integers(min(len(found), 700) + 1))
    length = int(rng.integers(1, 33))
    match rng.integers(9):
        case 0:
            found[place : place + 1] = bytes([rng.integers(256)])
        case 1:
            found[place : place + length] = rng.bytes(length)
        case 2:
            del found[place:]
        case 3:
            del found[place : place + length]
        case 4:
            start = int(rng.integers(len(found) + 1))
            found[place:place] = found[start : start + length * int(rng.integers(1, 30))]
        case 5:
            size = int(rng.choice([1, 2, 4, 8]))
            number = EXTREMES[int(rng.integers(len(EXTREMES)))] % 256**size
            found[place : place + size] = number.to_bytes(size, "little")
        case 6:
            other = others[int(rng.integers(len(others)))]
            start = int(rng.integers(len(other)))
            found[place : place + length] = other[start : start + length]
        case 7:
            found[place : place + 1] = OPERATIONS[(i := int(rng.integers(len(OPERATIONS)))) : i + 1]
        case _:
            found[place:place] = NAMES[int(rng.integers(len(NAMES)))]
    return bytes(found)


def forged(rng: np.random.Generator, contents: bytes, others: list[bytes]) -> bytes:
    """A zip archive with one of its records spoilt, most often the pickle, and packed again."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(contents)) as old, zipfile.ZipFile(stream, "w") as new:
        names = old.namelist()
        target = names[0] if rng.random() < 0.8 else names[int(rng.integers(len(names)))]
        for name in names:
            content = old.read(name)
            new.writestr(name, spoilt(rng, content, others) if name == target else content)
    return stream.getvalue()


class Watch:
    """Notes what the interpreter reports while `on`."""

    def __init__(self) -> None:
        self.on = False
        self.path = ""
        self.seen: list[str] = []
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event.startswith(FORBIDDEN) and not (event == "open" and str(arguments[0]) == self.path):
            self.seen.append(f"{event} {arguments!r:.200}")


def alarm(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"reading took more than {MOST_SECONDS} s")


def main(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    goods, outcomes, most = good_files(), Counter[str](), 0
    watch = Watch()
    signal.signal(signal.SIGALRM, alarm)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "w.pth")
        watch.path = str(path)
        for codec in ("cp437", "raw_unicode_escape"):  # imported when a name in an archive or a pickle first needs it
            codecs.lookup(codec)
        for good in goods:
            path.write_bytes(good)
            load_weights(path)
        for number in range(count):
            contents = goods[int(rng.integers(len(goods)))]
            if contents[:2] == b"PK" and rng.random() < 0.5:
                contents = forged(rng, contents, goods)
            else:
                for _ in range(int(rng.integers(1, 5))):
                    contents = spoilt(rng, contents, goods)
            path.write_bytes(contents)
            tracemalloc.start()
            signal.alarm(MOST_SECONDS)
            watch.on = True
            try:
                load_metadata(path)
                found = load_weights(path)
                assert all(type(name) is str and array.size >= 0 for name, array in found.items())
                outcomes["read"] += 1
            except ValueError as error:
                text = str(error)
                assert text.startswith(f"path: '{path}' "), text
                assert "\n" not in text, text
                assert len(text) < 400, text
                outcomes["refused"] += 1
            except BaseException:
                Path("spoilt.pth").write_bytes(contents)
                print(f"file {number}, kept as spoilt.pth", file=sys.stderr)
                raise
            finally:
                watch.on = False
                signal.alarm(0)
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
            assert not watch.seen, watch.seen
            most = max(most, peak - 2 * len(contents))
            assert most < MOST_BYTES, f"file {number} of {len(contents)} bytes took {peak}"
    print(outcomes["refused"], outcomes["read"], most)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
