"""Helpers of the makers of random files: `mutants_FORMAT.py` has one function for a format."""


def noise(rng, size):
    """Bytes with runs, so that every compression has something to do."""
    out = bytearray()
    while len(out) < size:
        out += bytes([rng.randrange(256)]) * rng.choice([1, 1, 1, 2, 7]) if rng.random() < 0.7 else rng.randbytes(9)
    return bytes(out[:size])


def flipped(rng, data, most):
    data = bytearray(data)
    for _ in range(rng.randrange(1, most + 1) if data else 0):
        at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(len(data), 64))
        data[at] = rng.choice([rng.randrange(256), data[at] ^ (1 << rng.randrange(8)), 0, 255])
    return bytes(data)


def damaged(rng, name, data, share):
    """One file in 1 / `share` is cut, flipped, has bytes put in or taken out."""
    if rng.random() >= share or len(data) < 2:
        return name, data
    way = rng.choice(["cut", "flip", "flip", "insert", "remove", "tail"])
    at = rng.randrange(len(data))
    if way == "cut":
        at = rng.choice([at, max(len(data) - rng.randrange(1, 30), 0)])
        return name + "_cut", data[:at]
    if way == "flip":
        return name + "_flip", flipped(rng, data, 3)
    if way == "insert":
        return name + "_insert", data[:at] + rng.randbytes(rng.randrange(1, 5)) + data[at:]
    if way == "remove":
        return name + "_remove", data[:at] + data[at + rng.randrange(1, 5):]
    return name + "_tail", data + rng.randbytes(rng.randrange(1, 40))
