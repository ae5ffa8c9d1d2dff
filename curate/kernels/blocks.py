"""Loads, copies and masks of up to 64 bytes at an address, for numba kernels that go through text.

A caller sees to it that the bytes are there: the kernels copy the end of a text to a place with room behind it.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_BYTES64 = ir.VectorType(ir.IntType(8), 64)


@intrinsic
def load(typingctx, address):  # type: ignore[no-untyped-def]
    """The little-endian uint64 at an address."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.load(builder.inttoptr(arguments[0], ir.IntType(64).as_pointer()), align=1)

    return types.uint64(types.int64), generate


@intrinsic
def store(typingctx, address, value):  # type: ignore[no-untyped-def]
    """Write a uint64, little-endian, at an address."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        builder.store(arguments[1], builder.inttoptr(arguments[0], ir.IntType(64).as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.uint64), generate


@intrinsic
def copy_block(typingctx, source, target):  # type: ignore[no-untyped-def]
    """Copy 64 bytes from one address to another."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        block = builder.load(builder.inttoptr(arguments[0], _BYTES64.as_pointer()), align=1)
        builder.store(block, builder.inttoptr(arguments[1], _BYTES64.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def copy_bytes(typingctx, source, target, size):  # type: ignore[no-untyped-def]
    """Copy `size` bytes from one address to another."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        source, target = (builder.inttoptr(one, ir.IntType(8).as_pointer()) for one in arguments[:2])
        cgutils.raw_memcpy(builder, target, source, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def copy_spaced(typingctx, source, target):  # type: ignore[no-untyped-def]
    """Copy 64 bytes, white space as spaces; bit k of the uint64 given says whether byte k is white space."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        block = builder.load(builder.inttoptr(arguments[0], _BYTES64.as_pointer()), align=1)
        control = builder.icmp_unsigned("<", builder.sub(block, _every(9)), _every(5))
        space = builder.or_(control, builder.icmp_unsigned("==", block, _every(32)))
        spaced = builder.select(control, _every(32), block)
        builder.store(spaced, builder.inttoptr(arguments[1], _BYTES64.as_pointer()), align=1)
        return builder.bitcast(space, ir.IntType(64))

    return types.uint64(types.int64, types.int64), generate


@intrinsic
def spaces(typingctx, address):  # type: ignore[no-untyped-def]
    """Bit k of the uint64 given says whether byte k is a space or a control character (below 33)."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        block = builder.load(builder.inttoptr(arguments[0], _BYTES64.as_pointer()), align=1)
        return builder.bitcast(builder.icmp_unsigned("<", block, _every(33)), ir.IntType(64))

    return types.uint64(types.int64), generate


@intrinsic
def trailing_zeros(typingctx, value):  # type: ignore[no-untyped-def]
    """Zero bits below the lowest one of a uint64, 64 of 0."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@intrinsic
def multiply_fold(typingctx, one, other):  # type: ignore[no-untyped-def]
    """Both halves of the 128-bit product of two uint64, xored."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))
        return builder.xor(builder.trunc(product, ir.IntType(64)), high)

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic
def accumulate(typingctx, state, stripe, secret):  # type: ignore[no-untyped-def]
    """XXH3_accumulate_512: eight uint64 at address `state` take in the 64 bytes at `stripe`."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        lanes = ir.VectorType(ir.IntType(64), 8)
        state, data, key = (builder.inttoptr(one, lanes.as_pointer()) for one in arguments)
        data = builder.load(data, align=1)
        keyed = builder.xor(data, builder.load(key, align=1))
        low = builder.and_(keyed, ir.Constant(lanes, [0xFFFFFFFF] * 8))
        high = builder.lshr(keyed, ir.Constant(lanes, [32] * 8))
        swap = ir.Constant(ir.VectorType(ir.IntType(32), 8), [1, 0, 3, 2, 5, 4, 7, 6])
        swapped = builder.shuffle_vector(data, data, swap)
        before = builder.load(state, align=1)
        builder.store(builder.add(builder.add(before, swapped), builder.mul(low, high)), state, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def _every(value: int) -> ir.Constant:
    return ir.Constant(_BYTES64, [value] * 64)
