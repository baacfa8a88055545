"""Damage to JPEG files that knows where their parts are."""

import struct

from registry import mutator, pick


def parts_of(data):
    """(name, start, end) of the segments and of the data between them, as far as they can be told."""
    at, out = 2, []
    while at + 4 <= len(data):
        if data[at] != 0xFF or data[at + 1] in (0, 0xFF):
            end = data.find(b"\xff", at + 1)
            while end >= 0 and data[end + 1 : end + 2] in (b"\0", b"\xff"):
                end = data.find(b"\xff", end + 1)
            end = len(data) if end < 0 else end
            out.append(("data", at, end))
        elif 0xD0 <= data[at + 1] <= 0xD9 or data[at + 1] == 1:
            end = at + 2
            out.append(("marker", at, end))
        else:
            end = at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
            out.append(("segment", at, min(end, len(data))))
        at = max(end, at + 1)
    return out


def choose(rng, data, *names):
    found = [(a, b) for name, a, b in parts_of(data) if name in names and b > a]
    return pick(rng, found) if found else None


@mutator("jpeg")
def header_field(rng, data):
    part = choose(rng, data, "segment")
    if not part or part[1] - part[0] < 5:
        return data
    out = bytearray(data)
    at = int(rng.integers(part[0] + 4, min(part[1], part[0] + 40)))
    out[at] = pick(rng, [0, 1, 2, 0x11, 0x21, 0x22, 0x7F, 0xFF, out[at] ^ 1 << int(rng.integers(8))])
    return bytes(out)


@mutator("jpeg")
def segment_length(rng, data):
    part = choose(rng, data, "segment")
    if not part:
        return data
    length = part[1] - part[0] - 2
    length = pick(rng, [0, 1, 2, 3, max(0, length - 1), length + 1, length + int(rng.integers(100)), 65535])
    return data[: part[0] + 2] + struct.pack(">H", min(length, 65535)) + data[part[0] + 4 :]


@mutator("jpeg")
def marker_code(rng, data):
    part = choose(rng, data, "segment", "marker")
    if not part:
        return data
    return data[: part[0] + 1] + bytes([int(rng.integers(0xC0, 256))]) + data[part[0] + 2 :]


@mutator("jpeg")
def drop_part(rng, data):
    part = choose(rng, data, "segment", "marker", "data")
    return data[: part[0]] + data[part[1] :] if part else data


@mutator("jpeg")
def repeat_part(rng, data):
    part, to = (choose(rng, data, "segment", "marker", "data") for _ in range(2))
    return data[: to[0]] + data[part[0] : part[1]] + data[to[0] :] if part else data


@mutator("jpeg")
def coded_bit(rng, data):
    part = choose(rng, data, "data")
    if not part:
        return data
    out = bytearray(data)
    out[int(rng.integers(*part))] ^= 1 << int(rng.integers(8))
    return bytes(out)


@mutator("jpeg")
def coded_bytes(rng, data):
    part = choose(rng, data, "data")
    if not part:
        return data
    at = int(rng.integers(*part))
    end = min(part[1], at + int(rng.integers(6)))
    return data[:at] + rng.bytes(int(rng.integers(6))) + data[end:]


@mutator("jpeg")
def marker_in_data(rng, data):
    part = choose(rng, data, "data")
    if not part:
        return data
    at = int(rng.integers(*part))
    return data[:at] + bytes([0xFF, pick(rng, [0xD0, 0xD1, 0xD7, 0xD9, 0xC4, 0xDA, 0, 0xFF, 0xE0])]) + data[at:]


@mutator("jpeg")
def end_in_data(rng, data):
    """The data of a scan cut, the rest of the file kept."""
    part = choose(rng, data, "data")
    if not part:
        return data
    at = int(rng.integers(*part))
    return data[:at] + data[part[1] :]
