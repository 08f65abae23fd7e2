"""One contender in a process of its own: `python -m benchmarks.cpu.child SPEC`.

SPEC is a JSON object: contender, work (the fields of `Work`), cores. The process builds the step, runs it twice to warm
up, prints {"ready": seconds of the first call}, and from then on runs one step for each line it reads, printing
{"seconds": ...}. At the end of its input it prints {"peak_bytes": ...}, the largest resident memory it ever had.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time

from benchmarks.cpu.contenders import CONTENDERS
from benchmarks.cpu.work import Work


def peak_bytes() -> int:
    """The largest resident memory this process ever had."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    """Serve one contender; see the head of this file."""
    spec = json.loads(sys.argv[1])
    cores: list[int] = spec["cores"]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    started = time.perf_counter()
    step = CONTENDERS[spec["contender"]](Work(**spec["work"]), len(cores))
    step()
    print(json.dumps({"ready": time.perf_counter() - started}), flush=True)
    step()
    gc.collect()
    gc.disable()
    for _ in sys.stdin:
        begin = time.perf_counter()
        step()
        print(json.dumps({"seconds": time.perf_counter() - begin}), flush=True)
    print(json.dumps({"peak_bytes": peak_bytes()}), flush=True)


if __name__ == "__main__":
    main()
