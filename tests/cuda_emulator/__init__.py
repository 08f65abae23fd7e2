"""CUDA kernels without a GPU: `emulator` compiles them with g++ and runs them on the CPU."""
