"""Makers and mutators of pictures, by format, for `compare.py`.

A maker is a function of a random generator that returns a file's bytes; its name is the kind that the report
shows. A mutator takes the generator and bytes and returns other bytes. Each format has a file
`makers_FORMAT.py` of its own, which `load` imports:

    from registry import maker, mutator, pick

    @maker("png")
    def interlaced(rng): ...

    @mutator("png")
    def chunk_length(rng, data): ...

A maker may return (name, bytes) instead; the name is then the kind. `adopt` takes such functions of a
`random.Random`.
"""

import importlib
import random
from pathlib import Path

MAKERS = {}  # format: {kind: function}
MUTATORS = {}  # format: {name: function}


def maker(fmt):
    def register(function):
        MAKERS.setdefault(fmt, {})[function.__name__] = function
        return function
    return register


def mutator(fmt):
    def register(function):
        MUTATORS.setdefault(fmt, {})[function.__name__] = function
        return function
    return register


def adopt(fmt, function):
    """Registers a function of a `random.Random` that returns (name, bytes)."""
    MAKERS.setdefault(fmt, {})[function.__name__] = lambda rng: function(random.Random(rng.bytes(16)))


def load():
    for path in sorted(Path(__file__).parent.glob("makers_*.py")):
        importlib.import_module(path.stem)


def pick(rng, items):
    """One of the items as it is (numpy's `choice` would turn it into an array's element)."""
    return items[int(rng.integers(len(items)))]


def chance(rng, probability):
    return bool(rng.random() < probability)


def span(rng, length, longest=64):
    """A start and an end inside `length`, often short."""
    at = int(rng.integers(length + 1))
    return at, min(length, at + int(rng.integers(1, longest + 1)))


@mutator("any")
def flip_bit(rng, data):
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        if out:
            out[int(rng.integers(len(out)))] ^= 1 << int(rng.integers(8))
    return bytes(out)


@mutator("any")
def set_byte(rng, data):
    out = bytearray(data)
    if out:
        out[int(rng.integers(len(out)))] = pick(rng, [0, 1, 0x7F, 0x80, 0xFE, 0xFF, int(rng.integers(256))])
    return bytes(out)


@mutator("any")
def early_byte(rng, data):
    """In the first 256 bytes, where the headers are."""
    head = set_byte(rng, data[:256])
    return head + data[256:]


@mutator("any")
def cut(rng, data):
    return data[: int(rng.integers(len(data) + 1))]


@mutator("any")
def cut_a_little(rng, data):
    return data[: max(0, len(data) - int(rng.integers(1, 24)))]


@mutator("any")
def delete(rng, data):
    start, end = span(rng, len(data))
    return data[:start] + data[end:]


@mutator("any")
def duplicate(rng, data):
    start, end = span(rng, len(data), 200)
    return data[:end] + data[start:end] + data[end:]


@mutator("any")
def insert(rng, data):
    at = int(rng.integers(len(data) + 1))
    return data[:at] + rng.bytes(int(rng.integers(1, 9))) + data[at:]


@mutator("any")
def overwrite(rng, data):
    start, end = span(rng, len(data), 32)
    value = pick(rng, [b"\0", b"\xff", rng.bytes(1)])
    return data[:start] + value * (end - start) + data[end:]


@mutator("any")
def scramble(rng, data):
    start, end = span(rng, len(data), 32)
    return data[:start] + rng.bytes(end - start) + data[end:]


@mutator("any")
def append(rng, data):
    return data + pick(rng, [b"\0" * 16, b"\xff" * 4, rng.bytes(9), data[: len(data) // 2]])
