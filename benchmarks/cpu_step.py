"""A training step and inference on the CPU beside PyTorch.

python benchmarks/cpu_step.py                  vip_s7, batch 8: every contender that is installed
python benchmarks/cpu_step.py --full           vip_s7 and vip_s14 at batch 1, 8, 32
python benchmarks/cpu_step.py --scaling        over batch, resolution and depth
python benchmarks/cpu_step.py --profile        where the time of the fused step goes, kernel by kernel
python benchmarks/cpu_step.py --json F --png F everything measured, and a picture
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.cpu import main

if __name__ == "__main__":
    sys.exit(main())
