"""The CuPy wheel on a GPU that is none: `install()` before anything touches a device, in a process of its own.

The wheel is the one that users install. What it calls of CUDA is replaced below it: memory is the host's, kernels run
on the CPU emulator, products by NumPy. Every address handed to a kernel or product is held against what is allocated.
"""
