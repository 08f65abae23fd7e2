"""`python -m vipnp.bench`."""

import sys

from vipnp.bench.command import main

sys.exit(main())
