"""What a training step and inference cost on the CPU, beside PyTorch: `python benchmarks/cpu_step.py`.

Every contender runs in a process of its own, pinned to the same cores; the processes take turns step by step, so that a
disturbance of the machine falls on all of them, and the ratios are taken turn by turn.
"""

from benchmarks.cpu.command import main, run_bench

__all__ = ["main", "run_bench"]
