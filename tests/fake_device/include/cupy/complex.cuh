// In the place of CuPy's own, which g++ does not take: no kernel run here has complex numbers.
#pragma once
using std::isfinite;
using std::isinf;
using std::isnan;
