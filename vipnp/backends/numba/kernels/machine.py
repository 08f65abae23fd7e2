"""What Numba has no words for: a tile of a matrix product, a sum of vectors and a square turned, all in vector
registers, and counters that threads share.

All are written as LLVM's instructions. They hold for every processor: a vector wider than the machine's is split by
LLVM, and a multiply-add that the machine lacks is a product and a sum.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from vipnp.backends.numba.kernels.compiler import part

declared: Any = cgutils.get_or_insert_function
"""declared(module, type, name): a function of LLVM or of the process."""


def instruction(function: Callable[..., Any]) -> Any:
    """What kernels call and `function` writes in LLVM's instructions; its first argument is Numba's own."""
    return intrinsic(function)


REAL = ir.FloatType()
INDEX = ir.IntType(32)
ROWS_PER_BASE = 3
"""Rows of a tile that are found from one address: a processor adds once or twice a stride for nothing, and there are
not enough registers for an address a row."""


def vector_of(features: Mapping[str, bool], machine: str) -> tuple[int, int]:
    """(float32 numbers in a vector register, rows of the largest tile, two vectors wide, that the registers hold).

    features : LLVM's names of what the processor can do.
    """
    if features.get("avx512f"):
        return 16, 12
    if features.get("avx"):
        return 8, 6
    return 4, 12 if machine in ("aarch64", "arm64") else 6


LANES, TALL = vector_of(binding.get_host_cpu_features(), platform.machine())
WIDTH = 2 * LANES
"""Columns of a tile, and of a panel: the matrices that tiles are made of stand in panels (P, K, WIDTH)."""


def tile_of(rows: int, lanes: int = LANES) -> Any:
    """The function that makes a tile of `rows` rows and two vectors of `lanes` columns.

    tile(w, stride, x, terms, out, add): out = w @ x, or out += w @ x where `add` is not 0; float32 at the addresses
    w (rows, terms), its rows `stride` entries apart, x (terms, 2 * lanes) and out (rows, 2 * lanes). Every entry is the
    sum of its products in their order. terms >= 1.
    """

    @instruction
    def tile(typing: Any, w: Any, stride: Any, x: Any, terms: Any, out: Any, add: Any) -> Any:
        signature = types.void(*[types.intp] * 6)

        def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
            w, stride, x, terms, out, add = arguments
            integer, vector = w.type, ir.VectorType(REAL, lanes)
            fma = declared(builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{lanes}f32")
            undefined, zero = ir.Constant(vector, ir.Undefined), ir.Constant(vector, [0.0] * lanes)
            everywhere = ir.Constant(ir.VectorType(INDEX, lanes), [0] * lanes)

            def plus(address: Any, offset: int) -> Any:
                return builder.add(address, integer(offset))

            def load(address: Any, kind: Any) -> Any:
                value = builder.load(builder.inttoptr(address, kind.as_pointer()))
                value.align = 4
                return value

            step = builder.mul(stride, integer(4))
            starts = [builder.add(w, builder.mul(step, integer(row))) for row in range(0, rows, ROWS_PER_BASE)]
            before, loop, end = builder.block, builder.append_basic_block(), builder.append_basic_block()
            adding, storing, done = (builder.append_basic_block() for _ in range(3))
            builder.branch(loop)

            builder.position_at_end(loop)
            count, at = builder.phi(integer), builder.phi(integer)
            bases = [builder.phi(integer) for _ in starts]
            sums = [[builder.phi(vector) for _ in range(2)] for _ in range(rows)]
            columns = [load(plus(at, 4 * lanes * half), vector) for half in range(2)]
            totals: list[list[Any]] = []
            for row in range(rows):
                base, further = bases[row // ROWS_PER_BASE], row % ROWS_PER_BASE
                address = builder.add(base, builder.mul(step, integer(further))) if further else base
                entry = builder.insert_element(undefined, load(address, REAL), INDEX(0))
                entry = builder.shuffle_vector(entry, undefined, everywhere)
                totals.append([builder.call(fma, [entry, columns[half], sums[row][half]]) for half in range(2)])
            following = plus(count, 1)
            for variable, first, after in (
                (count, integer(0), following),
                (at, x, plus(at, 8 * lanes)),
                *((base, start, plus(base, 4)) for base, start in zip(bases, starts, strict=True)),
                *((sums[row][half], zero, totals[row][half]) for row in range(rows) for half in range(2)),
            ):
                variable.add_incoming(first, before)
                variable.add_incoming(after, loop)
            builder.cbranch(builder.icmp_signed("<", following, terms), loop, end)

            builder.position_at_end(end)
            builder.cbranch(builder.icmp_signed("!=", add, integer(0)), adding, storing)
            for block in (adding, storing):
                builder.position_at_end(block)
                for row in range(rows):
                    for half in range(2):
                        address, value = plus(out, 4 * lanes * (2 * row + half)), totals[row][half]
                        if block is adding:
                            value = builder.fadd(load(address, vector), value)
                        builder.store(value, builder.inttoptr(address, vector.as_pointer())).align = 4
                builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return signature, generate

    return tile


tall_tile, low_tile, row_tile = tile_of(TALL), tile_of(2), tile_of(1)


def load_vector(builder: Any, address: Any, lanes: int) -> Any:
    """`lanes` float32 numbers from any address."""
    value = builder.load(builder.inttoptr(address, ir.VectorType(REAL, lanes).as_pointer()))
    value.align = 4
    return value


def store_vector(builder: Any, value: Any, address: Any) -> None:
    """A vector of float32 numbers to any address."""
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = 4


@instruction
def move(typing: Any, source: Any, target: Any) -> Any:
    """LANES float32 numbers from one address to another."""

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        source, target = arguments
        store_vector(builder, load_vector(builder, source, LANES), target)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


def sum_of_rows(power: int, lanes: int = LANES) -> Any:
    """The function that adds vectors, or for `power` 2 the squares of their differences from one.

    add(x, stride, rows, centre, out): out += sum of x_r, or of (x_r - centre)^2; x_r float32 (lanes,) at the address
    x + r * stride, r < rows; centre, out addresses of (lanes,). In the order of the rows. rows >= 1.
    """

    @instruction
    def add(typing: Any, x: Any, stride: Any, rows: Any, centre: Any, out: Any) -> Any:
        def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
            x, stride, rows, centre, out = arguments
            integer, vector = x.type, ir.VectorType(REAL, lanes)
            fma = declared(builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{lanes}f32")
            subtracted = load_vector(builder, centre, lanes)
            before, loop, end = builder.block, builder.append_basic_block(), builder.append_basic_block()
            builder.branch(loop)

            builder.position_at_end(loop)
            row, at, total = builder.phi(integer), builder.phi(integer), builder.phi(vector)
            value = load_vector(builder, at, lanes)
            if power == 2:
                value = builder.fsub(value, subtracted)
                after = builder.call(fma, [value, value, total])
            else:
                after = builder.fadd(total, value)
            following = builder.add(row, integer(1))
            for variable, first, then in (
                (row, integer(0), following),
                (at, x, builder.add(at, stride)),
                (total, ir.Constant(vector, [0.0] * lanes), after),
            ):
                variable.add_incoming(first, before)
                variable.add_incoming(then, loop)
            builder.cbranch(builder.icmp_signed("<", following, rows), loop, end)

            builder.position_at_end(end)
            store_vector(builder, builder.fadd(load_vector(builder, out, lanes), after), out)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5), generate

    return add


add_rows, add_squares = sum_of_rows(1), sum_of_rows(2)


def transpose_of(lanes: int = LANES) -> Any:
    """The function that turns a square of `lanes` rows and columns.

    transpose(source, stride, target, target_stride): float32 at two addresses, rows so many bytes apart. Halves of rows
    change places, then quarters, and so on: log2(lanes) shuffles a row.
    """

    @instruction
    def transpose(typing: Any, source: Any, stride: Any, target: Any, target_stride: Any) -> Any:
        def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
            source, stride, target, target_stride = arguments
            rows = []
            for _ in range(lanes):
                rows.append(load_vector(builder, source, lanes))
                source = builder.add(source, stride)
            apart = lanes // 2
            while apart:
                kept = [lanes + lane - apart if lane & apart else lane for lane in range(lanes)]
                taken = [lanes + lane if lane & apart else lane + apart for lane in range(lanes)]
                masks = [ir.Constant(ir.VectorType(INDEX, lanes), mask) for mask in (kept, taken)]
                for row in range(lanes):
                    if not row & apart:
                        pair = rows[row], rows[row + apart]
                        rows[row], rows[row + apart] = (builder.shuffle_vector(*pair, mask) for mask in masks)
                apart //= 2
            for row in rows:
                store_vector(builder, row, target)
                target = builder.add(target, target_stride)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4), generate

    return transpose


transpose = transpose_of()


@instruction
def ask_for(typing: Any, address: Any) -> Any:
    """Have the numbers at an address brought to the first cache; nothing happens where there are none."""

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        prefetch = ir.FunctionType(ir.VoidType(), [byte, *[INDEX] * 3])
        reading, soon_again, data = INDEX(0), INDEX(3), INDEX(1)
        function = declared(builder.module, prefetch, "llvm.prefetch.p0i8")
        builder.call(function, [builder.inttoptr(arguments[0], byte), reading, soon_again, data])
        return context.get_dummy_value()

    return types.void(types.intp), generate


@instruction
def whole_registers(typing: Any) -> Any:
    """Nothing, but the loops of the function that says it are vectorised for the widest registers. LLVM takes half of
    them on some processors with AVX-512, since an instruction on the whole can make them slower for a while: here the
    tiles of products do so anyhow."""

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')  # whose own `add` knows no such attribute
        return context.get_dummy_value()

    return types.void(), generate


@instruction
def fetch_add(typing: Any, counter: Any) -> Any:
    """Add 1 to the integer at an address, as one act among threads; what it was before."""

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        (address,) = arguments
        pointer = builder.inttoptr(address, address.type.as_pointer())
        return builder.atomic_rmw("add", pointer, address.type(1), "acq_rel")

    return types.intp(types.intp), generate


@instruction
def fetch(typing: Any, counter: Any) -> Any:
    """The integer at an address, and with it all that was written before it was counted."""

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        (address,) = arguments
        return builder.load_atomic(
            builder.inttoptr(address, address.type.as_pointer()), "acquire", address.type.width // 8
        )

    return types.intp(types.intp), generate


@instruction
def pause(typing: Any) -> Any:
    """Tell the processor that this thread waits in a loop, where it is one that listens."""

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        if platform.machine() in ("x86_64", "AMD64"):
            nothing = ir.FunctionType(ir.VoidType(), [])
            builder.call(declared(builder.module, nothing, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), generate


@instruction
def give_way(typing: Any) -> Any:
    """Let the system run another thread on this core, where it has a function for it."""

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        if sys.platform != "win32":
            function = declared(builder.module, ir.FunctionType(INDEX, []), "sched_yield")
            builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), generate


@instruction
def pointer(typing: Any, address: Any) -> Any:
    """The float32 numbers at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    kind: Any = types.CPointer  # which is not typed
    return kind(types.float32)(types.intp), generate


SPINS = 20_000
"""Looks at a counter before the core is offered to others, some hundred microseconds."""


@part
def wait_for(counter: int, value: int) -> None:
    """Wait until the integer at an address is `value`."""
    spins = 0
    while fetch(counter) != value:
        spins += 1
        if spins < SPINS:
            pause()
        else:
            give_way()
