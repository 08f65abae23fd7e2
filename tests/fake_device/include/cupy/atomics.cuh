// In the place of CuPy's own: no kernel run here has atomics.
#pragma once
