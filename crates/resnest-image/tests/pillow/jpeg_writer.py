"""A JPEG writer for the kinds of file that Pillow does not write.

A file is a list of (name, bytes) parts, so that a maker can drop, repeat, exchange or damage any of them
before they are joined: `join(parts)`. Entropy-coded data is one part for each restart interval.

The coefficients are given, not computed (`blocks_of` computes them from pixels), hence may be of any size.
"""

import heapq
import struct
from dataclasses import dataclass, field

import numpy as np

import jpeg_arithmetic

# Natural index of the k-th coefficient.
ZIGZAG = sorted(range(64), key=lambda n: (n // 8 + n % 8, n // 8 if (n // 8 + n % 8) % 2 else n % 8))

# T.81 table K.1, in natural order.
LUMA = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99])


@dataclass
class Component:
    """`blocks`: (rows, columns, 64) quantised coefficients in zigzag order, padded to whole MCUs."""
    ident: int
    h: int
    v: int
    table: int
    blocks: np.ndarray


@dataclass
class Scan:
    """Indices of components, spectral selection and successive approximation."""
    components: list
    ss: int = 0
    se: int = 63
    ah: int = 0
    al: int = 0


@dataclass
class Picture:
    width: int
    height: int
    components: list
    quants: dict = field(default_factory=dict)  # table id: 64 values in natural order

    @property
    def max_h(self):
        return max(c.h for c in self.components)

    @property
    def max_v(self):
        return max(c.v for c in self.components)

    def mcus(self):
        """Across and down, of an interleaved scan."""
        return -(-self.width // (8 * self.max_h)), -(-self.height // (8 * self.max_v))


def segment(marker, payload):
    return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload


JFIF = segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0")


def adobe(transform):
    return segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))


def dqt(number, values, wide=None):
    """`values` in natural order; 16-bit if `wide` or if any needs it."""
    zigzag = [int(values[n]) for n in ZIGZAG]
    wide = max(zigzag) > 255 if wide is None else wide
    body = struct.pack(">64H", *zigzag) if wide else bytes(zigzag)
    return segment(0xDB, bytes([wide << 4 | number]) + body)


def sof(picture, marker, precision=8):
    out = struct.pack(">BHHB", precision, picture.height, picture.width, len(picture.components))
    for c in picture.components:
        out += bytes([c.ident, c.h << 4 | c.v, c.table])
    return segment(marker, out)


def dht(kind, number, lengths, symbols):
    """`kind`: 0 for DC, 1 for AC."""
    return segment(0xC4, bytes([kind << 4 | number]) + bytes(lengths) + bytes(symbols))


def huffman(counts):
    """Counts of symbols to (16 numbers of codes by length, symbols in order); no code is all ones."""
    heap = [(n, i, [s]) for i, (s, n) in enumerate(sorted(counts.items()))]
    heap.append((0, len(heap), [None]))  # takes the code of all ones
    depth = dict.fromkeys([*counts, None], 0)
    heapq.heapify(heap)
    while len(heap) > 1:
        a, b = heapq.heappop(heap), heapq.heappop(heap)
        for s in a[2] + b[2]:
            depth[s] += 1
        heapq.heappush(heap, (a[0] + b[0], b[1], a[2] + b[2]))
    # Codes longer than 16 bits: shorten by the leaf exchanges of T.81 K.2.
    at = [0] * 64
    for d in depth.values():
        at[d] += 1
    for d in range(63, 16, -1):
        while at[d]:
            j = d - 2
            while not at[j]:
                j -= 1
            at[d] -= 2
            at[d - 1] += 1
            at[j + 1] += 2
            at[j] -= 1
    order = sorted(counts, key=lambda s: (depth[s], s))
    at[max(d for d in range(17) if at[d])] -= 1  # the reserved one
    return at[1:17], order


def codes(lengths, symbols):
    """Symbol to its code, as text of 0 and 1."""
    out, code, k = {}, 0, 0
    for length, count in enumerate(lengths, 1):
        for _ in range(count):
            out[symbols[k]] = format(code, f"0{length}b")
            code, k = code + 1, k + 1
        code <<= 1
    return out


def stuffed(bits, fill="1"):
    """Text of 0 and 1 to bytes, filled up, with a zero after every FF."""
    bits += fill * (-len(bits) % 8)
    data = int(bits or "0", 2).to_bytes(len(bits) // 8, "big")
    return data.replace(b"\xff", b"\xff\0")


def magnitude(value):
    """(size, extra bits as text) of a value."""
    size = abs(value).bit_length()
    return size, format(value if value > 0 else value + (1 << size) - 1, f"0{size}b") if size else ""


class Huffman:
    """Collects one scan as (table kind, table number, symbol, extra bits)."""

    def __init__(self, scan, progressive):
        self.scan, self.progressive = scan, progressive
        self.intervals = []

    def start(self):
        self.ops = []
        self.last = {}
        self.run = 0  # blocks that end here, not yet written
        self.pending = ""  # their correction bits
        self.run_table = 0
        self.intervals.append(self.ops)

    def finish(self):
        self.flush()

    def flush(self):
        if self.run:
            size = self.run.bit_length() - 1
            extra = format(self.run - (1 << size), f"0{size}b") if size else ""
            self.ops.append((1, self.run_table, size << 4, extra + self.pending))
        self.run, self.pending = 0, ""

    def block(self, c, dc_table, ac_table, values):
        scan = self.scan
        if not self.progressive:
            self.dc(c, dc_table, values[0])
            self.ac(ac_table, values[1:])
        elif scan.ss == 0:
            if scan.ah:
                self.ops.append((0, None, None, str(values[0] >> scan.al & 1)))
            else:
                self.dc(c, dc_table, values[0] >> scan.al)
        elif scan.ah:
            self.refine(ac_table, values)
        else:
            self.first(ac_table, values)

    def dc(self, c, table, value):
        size, extra = magnitude(value - self.last.get(c, 0))
        self.last[c] = value
        self.ops.append((0, table, size, extra))

    def ac(self, table, values):
        run = 0
        for v in values:
            if v == 0:
                run += 1
                continue
            self.ops.extend([(1, table, 0xF0, "")] * (run // 16))
            size, extra = magnitude(v)
            self.ops.append((1, table, run % 16 << 4 | size, extra))
            run = 0
        if run:
            self.ops.append((1, table, 0, ""))

    def first(self, table, values):
        run = 0
        self.run_table = table
        for v in values[self.scan.ss : self.scan.se + 1]:
            v = (abs(v) >> self.scan.al) * (1 if v > 0 else -1)
            if v == 0:
                run += 1
                continue
            self.flush()
            self.ops.extend([(1, table, 0xF0, "")] * (run // 16))
            size, extra = magnitude(v)
            self.ops.append((1, table, run % 16 << 4 | size, extra))
            run = 0
        if run:
            self.run += 1
            if self.run == 0x7FFF:
                self.flush()

    def refine(self, table, values):
        scan, run, bits = self.scan, 0, ""
        self.run_table = table
        sizes = [abs(v) >> scan.al for v in values]
        ends = max((k for k in range(scan.ss, scan.se + 1) if sizes[k] == 1), default=0)
        for k in range(scan.ss, scan.se + 1):
            if sizes[k] == 0:
                run += 1
                continue
            while run > 15 and k <= ends:
                self.flush()
                self.ops.append((1, table, 0xF0, bits))
                run, bits = run - 16, ""
            if sizes[k] > 1:
                bits += str(sizes[k] & 1)
                continue
            self.flush()
            self.ops.append((1, table, run << 4 | 1, ("1" if values[k] > 0 else "0") + bits))
            run, bits = 0, ""
        if run or bits:
            self.run += 1
            self.pending += bits
            if self.run == 0x7FFF or len(self.pending) > 900:
                self.flush()

    def tables(self):
        """(kind, number) to counts of symbols."""
        out = {}
        for kind, number, symbol, _ in (op for ops in self.intervals for op in ops):
            if symbol is not None:
                counts = out.setdefault((kind, number), {})
                counts[symbol] = counts.get(symbol, 0) + 1
        return out

    def parts(self, given=None, reshape=None, fill="1"):
        """DHT parts and the data of each interval; `given` tables are used and not written."""
        out, coded = [], {}
        tables = self.tables()
        if given is not None:
            coded = {key: codes(*given[key]) for key in tables}
        else:
            for key, counts in sorted(tables.items()):
                lengths, symbols = huffman(reshape(counts) if reshape else counts)
                out.append(("DHT", dht(*key, lengths, symbols)))
                coded[key] = codes(lengths, symbols)
        text = [
            "".join((coded[kind, number][symbol] if symbol is not None else "") + extra
                    for kind, number, symbol, extra in ops)
            for ops in self.intervals
        ]
        return out, [stuffed(t, fill) for t in text]


def visit(picture, scan, restart, coder, tables):
    """Gives the coder the scan's blocks in order, `restart` MCUs in an interval."""
    chosen = [picture.components[i] for i in scan.components]
    if len(chosen) == 1:
        (c,) = chosen
        across = -(-(-(-picture.width * c.h // picture.max_h)) // 8)
        down = -(-(-(-picture.height * c.v // picture.max_v)) // 8)
        units = [(1, 1)]
    else:
        across, down = picture.mcus()
        units = [(c.h, c.v) for c in chosen]
    blocks = [c.blocks.tolist() for c in chosen]
    for n in range(across * down):
        if n == 0 or (restart and n % restart == 0):
            if n:
                coder.finish()
            coder.start()
        my, mx = divmod(n, across)
        for i, (h, v) in zip(scan.components, units):
            rows = blocks[scan.components.index(i)]
            for y in range(my * v, my * v + v):
                for x in range(mx * h, mx * h + h):
                    coder.block(i, *tables[i], rows[y][x])
    coder.finish()


def sos(picture, scan, tables):
    body = bytes([len(scan.components)])
    for i in scan.components:
        body += bytes([picture.components[i].ident, tables[i][0] << 4 | tables[i][1]])
    return segment(0xDA, body + bytes([scan.ss, scan.se, scan.ah << 4 | scan.al]))


def file(picture, scans=None, *, marker=0xC0, restart=0, tables=None, given=None, reshape=None, fill="1",
         jfif=True, adobe_transform=None, conditioning=None):
    """The parts of a whole file. `marker`: of the frame; 0xC2 and 0xCA progressive, 0xC9 and 0xCA arithmetic.

    `tables`: per component its (DC, AC) table numbers; `given`: Huffman tables that are used but not written.
    """
    progressive, arithmetic = marker in (0xC2, 0xCA), marker in (0xC9, 0xCA)
    scans = scans or [Scan(list(range(len(picture.components))))]
    tables = tables or [(min(i, 1), min(i, 1)) for i in range(len(picture.components))]
    parts = [("SOI", b"\xff\xd8")]
    if jfif:
        parts.append(("APP0", JFIF))
    if adobe_transform is not None:
        parts.append(("APP14", adobe(adobe_transform)))
    parts += [("DQT", dqt(number, values)) for number, values in picture.quants.items()]
    parts.append(("SOF", sof(picture, marker)))
    if restart:
        parts.append(("DRI", segment(0xDD, struct.pack(">H", restart))))
    for scan in scans:
        if arithmetic:
            coder = jpeg_arithmetic.Coder(scan, progressive, conditioning)
        else:
            coder = Huffman(scan, progressive)
        visit(picture, scan, restart, coder, tables)
        headers, data = coder.parts() if arithmetic else coder.parts(given, reshape, fill)
        parts += headers
        parts.append(("SOS", sos(picture, scan, tables)))
        for n, interval in enumerate(data):
            if n:
                parts.append(("RST", bytes([0xFF, 0xD0 + (n - 1) % 8])))
            parts.append(("ECS", interval))
    parts.append(("EOI", b"\xff\xd9"))
    return parts


def join(parts):
    return b"".join(data for _, data in parts)


def dct_matrix():
    n = np.arange(8)
    dct = np.sqrt(2 / 8) * np.cos((2 * n[None] + 1) * n[:, None] * np.pi / 16)
    dct[0] /= np.sqrt(2)
    return dct


def blocks_of(plane, quant, rows, columns):
    """A plane of samples to (rows, columns, 64) quantised coefficients; `quant` in natural order."""
    plane = plane.astype(np.float64) - 128
    height, width = plane.shape
    plane = np.pad(plane, ((0, max(rows * 8 - height, 0)), (0, max(columns * 8 - width, 0))), mode="edge")
    blocks = plane[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3)
    dct = dct_matrix()
    values = (dct @ blocks @ dct.T).reshape(rows, columns, 64)
    return np.rint(values / np.maximum(np.asarray(quant), 1)).astype(int)[..., ZIGZAG]


def ycc(pixels):
    r, g, b = (pixels[..., i].astype(np.float64) for i in range(3))
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return np.stack([y, (b - y) / 1.772 + 128, (r - y) / 1.402 + 128], -1)


def picture(planes, factors, quants, idents=None, table_of=None):
    """Full-size planes (height, width, components) to a picture with these sampling factors.

    `quants`: table number to 64 values; `table_of`: the table number of each component.
    """
    height, width, count = planes.shape
    idents = idents or list(range(1, count + 1))
    table_of = table_of or [min(i, len(quants) - 1) for i in range(count)]
    max_h, max_v = max(h for h, _ in factors), max(v for _, v in factors)
    across, down = -(-width // (8 * max_h)), -(-height // (8 * max_v))
    components = []
    for i, (h, v) in enumerate(factors):
        # By picking samples: factors need not divide one another.
        ys = np.minimum(np.arange(-(-height * v // max_v)) * max_v // v, height - 1)
        xs = np.minimum(np.arange(-(-width * h // max_h)) * max_h // h, width - 1)
        blocks = blocks_of(planes[ys][:, xs, i], quants[table_of[i]], down * v, across * h)
        components.append(Component(idents[i], h, v, table_of[i], blocks))
    return Picture(width, height, components, quants)
