"""Number types as backends: the same op source runs on each of them unchanged, without replacements.

complex_step   complex128, where the imaginary part carries a derivative
field          the integers modulo 2^127 - 1, where two different expressions are different numbers
balls          real numbers with a rigorous error bound (python-flint)
rational       rational functions of symbols, where an identity is a proof (sympy)
dual           any of the exact ones with a derivative carried beside each value
"""
