"""The arithmetic coder of T.81 (annex D, F.1.4 and G.1.3), whose files Pillow's libjpeg-turbo reads.

The code is kept as one big integer, so carries need no care; it is slow, and the pictures are small.
"""

import struct

# T.81 table D.3: probability of the less probable symbol, next state after it, next state after the more
# probable one, whether the sense switches.
STATES = [
    (0x5a1d, 1, 1, 1), (0x2586, 14, 2, 0), (0x1114, 16, 3, 0), (0x080b, 18, 4, 0), (0x03d8, 20, 5, 0),
    (0x01da, 23, 6, 0), (0x00e5, 25, 7, 0), (0x006f, 28, 8, 0), (0x0036, 30, 9, 0), (0x001a, 33, 10, 0),
    (0x000d, 35, 11, 0), (0x0006, 9, 12, 0), (0x0003, 10, 13, 0), (0x0001, 12, 13, 0), (0x5a7f, 15, 15, 1),
    (0x3f25, 36, 16, 0), (0x2cf2, 38, 17, 0), (0x207c, 39, 18, 0), (0x17b9, 40, 19, 0), (0x1182, 42, 20, 0),
    (0x0cef, 43, 21, 0), (0x09a1, 45, 22, 0), (0x072f, 46, 23, 0), (0x055c, 48, 24, 0), (0x0406, 49, 25, 0),
    (0x0303, 51, 26, 0), (0x0240, 52, 27, 0), (0x01b1, 54, 28, 0), (0x0144, 56, 29, 0), (0x00f5, 57, 30, 0),
    (0x00b7, 59, 31, 0), (0x008a, 60, 32, 0), (0x0068, 62, 33, 0), (0x004e, 63, 34, 0), (0x003b, 32, 35, 0),
    (0x002c, 33, 9, 0), (0x5ae1, 37, 37, 1), (0x484c, 64, 38, 0), (0x3a0d, 65, 39, 0), (0x2ef1, 67, 40, 0),
    (0x261f, 68, 41, 0), (0x1f33, 69, 42, 0), (0x19a8, 70, 43, 0), (0x1518, 72, 44, 0), (0x1177, 73, 45, 0),
    (0x0e74, 74, 46, 0), (0x0bfb, 75, 47, 0), (0x09f8, 77, 48, 0), (0x0861, 78, 49, 0), (0x0706, 79, 50, 0),
    (0x05cd, 48, 51, 0), (0x04de, 50, 52, 0), (0x040f, 50, 53, 0), (0x0363, 51, 54, 0), (0x02d4, 52, 55, 0),
    (0x025c, 53, 56, 0), (0x01f8, 54, 57, 0), (0x01a4, 55, 58, 0), (0x0160, 56, 59, 0), (0x0125, 57, 60, 0),
    (0x00f6, 58, 61, 0), (0x00cb, 59, 62, 0), (0x00ab, 61, 63, 0), (0x008f, 61, 32, 0), (0x5b12, 65, 65, 1),
    (0x4d04, 80, 66, 0), (0x412c, 81, 67, 0), (0x37d8, 82, 68, 0), (0x2fe8, 83, 69, 0), (0x293c, 84, 70, 0),
    (0x2379, 86, 71, 0), (0x1edf, 87, 72, 0), (0x1aa9, 87, 73, 0), (0x174e, 72, 74, 0), (0x1424, 72, 75, 0),
    (0x119c, 74, 76, 0), (0x0f6b, 74, 77, 0), (0x0d51, 75, 78, 0), (0x0bb6, 77, 79, 0), (0x0a40, 77, 48, 0),
    (0x5832, 80, 81, 1), (0x4d1c, 88, 82, 0), (0x438e, 89, 83, 0), (0x3bdd, 90, 84, 0), (0x34ee, 91, 85, 0),
    (0x2eae, 92, 86, 0), (0x299a, 93, 87, 0), (0x2516, 86, 71, 0), (0x5570, 88, 89, 1), (0x4ca9, 95, 90, 0),
    (0x44d9, 96, 91, 0), (0x3e22, 97, 92, 0), (0x3824, 99, 93, 0), (0x32b4, 99, 94, 0), (0x2e17, 93, 86, 0),
    (0x56a8, 95, 96, 1), (0x4f46, 101, 97, 0), (0x47e5, 102, 98, 0), (0x41cf, 103, 99, 0), (0x3c3d, 104, 100, 0),
    (0x375e, 99, 93, 0), (0x5231, 105, 102, 0), (0x4c0f, 106, 103, 0), (0x4639, 107, 104, 0), (0x415e, 103, 99, 0),
    (0x5627, 105, 106, 1), (0x50e7, 108, 107, 0), (0x4b85, 109, 103, 0), (0x5597, 110, 109, 0),
    (0x504f, 111, 107, 0), (0x5a10, 110, 111, 1), (0x5522, 112, 109, 0), (0x59eb, 112, 111, 1),
]


class Interval:
    """The code of one restart interval (T.81 D.1)."""

    def __init__(self):
        self.code, self.width, self.shifts = 0, 0x10000, 0

    def encode(self, bins, at, bit):
        """`bins`: states, each index * 2 + sense; `at` None: an even chance that does not adapt."""
        state, sense = (0, 0) if at is None else divmod(bins.get(at, 0), 2)
        less, after_less, after_more, switch = STATES[state]
        self.width -= less
        improbable = bit != sense
        # The upper part is the less probable symbol's, unless it has become the wider one.
        if improbable == (self.width >= less):
            self.code += self.width
            self.width = less
        elif not improbable and self.width >= 0x8000:
            return
        if at is not None:
            bins[at] = after_less * 2 + (sense ^ switch) if improbable else after_more * 2 + sense
        while self.width < 0x8000:
            self.width <<= 1
            self.code <<= 1
            self.shifts += 1

    def data(self, keep_zeros=False):
        bits = 16 + self.shifts
        top = self.code + self.width - 1
        # The value inside the interval with the most zeros at its end.
        zeros = max(z for z in range(17) if top >> z << z >= self.code)
        value = (top >> zeros << zeros) << -bits % 8
        data = value.to_bytes((bits + 7) // 8, "big")
        if not keep_zeros:
            data = data.rstrip(b"\0")
        return data.replace(b"\xff", b"\xff\0")


class Coder:
    """One scan, with the interface of `jpeg_writer.Huffman`."""

    def __init__(self, scan, progressive, conditioning=None):
        """`conditioning`: per table number (DC L, DC U, AC K); the standard's are (0, 1, 5)."""
        self.scan, self.progressive = scan, progressive
        self.conditioning = conditioning or {}
        self.intervals = []

    def start(self):
        self.interval = Interval()
        self.intervals.append(self.interval)
        self.bins = {}
        self.last, self.context = {}, {}

    def finish(self):
        pass

    def put(self, key, bit):
        self.interval.encode(self.bins, key, int(bit))

    def block(self, c, dc_table, ac_table, values):
        scan = self.scan
        if self.progressive and scan.ss == 0 and scan.ah:
            self.put(None, values[0] >> scan.al & 1)
            return
        if not self.progressive or scan.ss == 0:
            self.dc(c, dc_table, values[0] >> (scan.al if self.progressive else 0))
        if not self.progressive:
            self.ac(ac_table, values, 1, 63, 0, 0)
        elif scan.ss:
            self.ac(ac_table, values, scan.ss, scan.se, scan.ah, scan.al)

    def dc(self, c, table, value):
        low, high, _ = self.conditioning.get(table, (0, 1, 5))
        context = self.context.get(c, 0)
        difference = value - self.last.get(c, 0)
        self.last[c] = value
        self.put(("dc", table, context), difference != 0)
        if not difference:
            self.context[c] = 0
            return
        self.put(("dc", table, context + 1), difference < 0)
        rest = abs(difference) - 1
        first = ("dc", table, context + (3 if difference < 0 else 2))
        self.magnitude(rest, first, None, ("dc", table, 20))
        leading = 1 << rest.bit_length() - 1 if rest else 0
        if leading < 1 << low >> 1:
            self.context[c] = 0
        else:
            self.context[c] = (8 if difference < 0 else 4) + (8 if leading > 1 << high >> 1 else 0)

    def magnitude(self, rest, first, second, others):
        """`rest`: magnitude - 1, by categories (figure F.8) and then its lower bits (F.9)."""
        kind, table, at = others
        keys = [first] + ([second] if second else []) + [(kind, table, at + i) for i in range(16)]
        size = rest.bit_length()
        for key in keys[:size]:
            self.put(key, 1)
        self.put(keys[size], 0)
        kind, table, at = keys[size]
        for i in reversed(range(size - 1)):
            self.put((kind, table, at + 14), rest >> i & 1)

    def ac(self, table, values, ss, se, ah, al):
        sizes = [abs(v) >> al for v in values]
        end = max((k for k in range(1, se + 1) if sizes[k]), default=0)
        seen = max((k for k in range(1, end + 1) if ah and sizes[k] >> (ah - al)), default=0)
        limit = self.conditioning.get(table, (0, 1, 5))[2]
        fresh = True  # a decision whether the block ends here comes first
        for k in range(ss, end + 1):
            at = 3 * (k - 1)
            if fresh and (not ah or k > seen):
                self.put(("ac", table, at), 0)
            fresh = sizes[k] != 0
            if ah and sizes[k] > 1:
                self.put(("ac", table, at + 2), sizes[k] & 1)
                continue
            self.put(("ac", table, at + 1), fresh)
            if not fresh:
                continue
            self.put(None, values[k] < 0)
            if not ah:
                key = ("ac", table, at + 2)
                # The second category has the same bin as the first.
                self.magnitude(sizes[k] - 1, key, key, ("ac", table, 189 if k <= limit else 217))
        if max(end, ss - 1) < se:
            self.put(("ac", table, 3 * max(end, ss - 1)), 1)

    def parts(self, keep_zeros=False):
        """The DAC part, if the conditioning is not the standard's, and the data of each interval."""
        body = b""
        for table, (low, high, limit) in sorted(self.conditioning.items()):
            body += bytes([table, high << 4 | low, 0x10 | table, limit])
        headers = [("DAC", b"\xff\xcc" + struct.pack(">H", len(body) + 2) + body)] if body else []
        return headers, [interval.data(keep_zeros) for interval in self.intervals]
