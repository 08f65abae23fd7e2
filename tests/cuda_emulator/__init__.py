"""CUDA kernels and CuPy code without a GPU: `emulator` runs the kernels on the CPU, `stand_in` takes CuPy's place."""
