"""JPEG files of every kind for `compare.py`, from Pillow's own writer and from `jpeg_writer.py`."""

import io
import struct

import numpy as np
from PIL import Image, ImageFile

import jpeg_writer as jw
from jpeg_writer import LUMA, Scan, adobe, dht, dqt, file, join, segment
from registry import chance, maker, pick
from synth import scene

COMMON = [[(1, 1)] * 3, [(2, 2), (1, 1), (1, 1)], [(2, 1), (1, 1), (1, 1)], [(1, 2), (1, 1), (1, 1)],
          [(4, 1), (1, 1), (1, 1)], [(4, 2), (1, 1), (1, 1)], [(2, 2), (2, 1), (2, 1)], [(2, 2), (1, 2), (1, 2)]]


def size(rng):
    if chance(rng, 0.2):
        return int(rng.integers(1, 10)), int(rng.integers(1, 10))
    return int(rng.integers(1, 90)), int(rng.integers(1, 70))


def pixels(rng, channels=3, at=None):
    width, height = at or size(rng)
    return scene(width, height, int(rng.integers(1 << 31)), channels)


def quants(rng, count=2):
    out = {}
    for number in range(count):
        out[number] = np.clip(LUMA * rng.uniform(0.1, 3), 1, 255).astype(int)
    return out


def factors_of(rng, count):
    """Sampling factors: often the usual ones."""
    if count == 1:
        return [(int(rng.integers(1, 5)), int(rng.integers(1, 5))) if chance(rng, 0.3) else (1, 1)]
    if count == 3 and chance(rng, 0.6):
        return pick(rng, COMMON)
    if count == 4 and chance(rng, 0.7):
        return pick(rng, [[(1, 1)] * 4, [(2, 2), (1, 1), (1, 1), (2, 2)], [(2, 1), (1, 1), (1, 1), (2, 1)],
                          [(2, 2), (1, 1), (1, 1), (1, 1)], [(1, 2), (1, 1), (1, 1), (1, 2)]])
    choices = [1, 2, 4] if chance(rng, 0.6) else [1, 2, 3, 4]
    return [(pick(rng, choices), pick(rng, choices)) for _ in range(count)]


def picture(rng, count=3, factors=None, at=None, **more):
    planes = pixels(rng, count, at)
    if count == 3:
        planes = jw.ycc(planes)
    return jw.picture(planes, factors or factors_of(rng, count), more.pop("quants", None) or quants(rng), **more)


def partition(rng, count):
    """Component numbers in one to `count` groups."""
    order = list(map(int, rng.permutation(count))) if chance(rng, 0.2) else list(range(count))
    groups = []
    for i in order:
        if groups and chance(rng, 0.5):
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def script(rng, count, successive=True):
    """A valid progressive script."""
    al = int(rng.integers(0, 3)) if successive else 0
    scans = [Scan(group, 0, 0, 0, al) for group in partition(rng, count)]
    later = [[Scan(group, 0, 0, a, a - 1) for group in partition(rng, count)] for a in range(al, 0, -1)]
    for c in range(count):
        al = int(rng.integers(0, 3)) if successive else 0
        cuts = [0, *sorted(set(map(int, rng.integers(1, 63, int(rng.integers(0, 4)))))), 63]
        scans += [Scan([c], a + 1, b, 0, al) for a, b in zip(cuts, cuts[1:])]
        later += [[Scan([c], 1, 63, a, a - 1)] for a in range(al, 0, -1)]
    if chance(rng, 0.5):
        later = [later[i] for i in np.argsort([-group[0].ah for group in later], kind="stable")] if later else []
    return scans + [scan for group in later for scan in group]


def write(rng, made, **more):
    """Any coding of the picture."""
    count = len(made.components)
    marker = more.pop("marker", None) or pick(rng, [0xC0, 0xC0, 0xC0, 0xC1, 0xC2, 0xC2, 0xC9, 0xCA])
    scans = more.pop("scans", None)
    if scans is None:
        progressive = marker in (0xC2, 0xCA)
        scans = script(rng, count) if progressive else [Scan(g) for g in partition(rng, count)]
        if not progressive and chance(rng, 0.5):
            scans = [Scan(list(range(count)))]
    restart = more.pop("restart", None)
    if restart is None:
        restart = int(rng.integers(1, 9)) if chance(rng, 0.25) else 0
    return file(made, scans, marker=marker, restart=restart, **more)


def where(parts, *names):
    return [i for i, (name, _) in enumerate(parts) if name in names]


def scan_starts(parts):
    """Where each scan begins, with the tables before it."""
    out = []
    for i in where(parts, "SOS"):
        while parts[i - 1][0] in ("DHT", "DAC"):
            i -= 1
        out.append(i)
    return out


def saved(image, options):
    """By Pillow, which must have room for the whole of a progressive file; reading keeps its usual pieces."""
    out, room = io.BytesIO(), ImageFile.MAXBLOCK
    ImageFile.MAXBLOCK = 1 << 23
    try:
        image.save(out, "JPEG", **options)
    finally:
        ImageFile.MAXBLOCK = room
    return out.getvalue()


@maker("jpeg")
def saved_by_pillow(rng):
    mode = pick(rng, ["RGB"] * 5 + ["L", "CMYK"])
    data = pixels(rng, {"RGB": 3, "L": 1, "CMYK": 4}[mode])
    image = Image.fromarray(data[..., 0] if mode == "L" else data, mode)
    options = {"quality": int(rng.integers(1, 101)), "progressive": chance(rng, 0.4),
               "optimize": chance(rng, 0.3)}
    if mode == "RGB" and chance(rng, 0.7):
        options["subsampling"] = pick(rng, [0, 1, 2, "4:1:1"])
    if chance(rng, 0.3):
        options[pick(rng, ["restart_marker_blocks", "restart_marker_rows"])] = int(rng.integers(1, 5))
    if mode == "RGB" and chance(rng, 0.1):
        options.update(keep_rgb=True, subsampling=0)
    if chance(rng, 0.1):
        options["icc_profile"] = rng.bytes(300)
    if chance(rng, 0.1):
        exif = Image.Exif()
        exif[274] = int(rng.integers(0, 10))
        options["exif"] = exif
    return saved(image, options)


@maker("jpeg")
def sampling(rng):
    return join(write(rng, picture(rng, pick(rng, [1, 3, 3, 3, 4]))))


@maker("jpeg")
def several_scans(rng):
    made = picture(rng, pick(rng, [3, 3, 4]))
    groups = partition(rng, len(made.components))
    if chance(rng, 0.2):
        groups.append(pick(rng, groups))
    if chance(rng, 0.2):
        del groups[int(rng.integers(len(groups)))]
    scans = [Scan(group) for group in groups] or None
    return join(write(rng, made, marker=pick(rng, [0xC0, 0xC1, 0xC9]), scans=scans))


@maker("jpeg")
def unfinished_progressive(rng):
    """Some or all of the scans that refine the picture are missing: libjpeg smooths the blocks."""
    made = picture(rng, pick(rng, [1, 3, 3, 3, 4]))
    scans = script(rng, len(made.components))
    if chance(rng, 0.7):
        scans = scans[: int(rng.integers(1, len(scans) + 1))]
    else:
        scans = [s for s in scans if s.ss == 0 or chance(rng, 0.6)]
    return join(write(rng, made, marker=pick(rng, [0xC2, 0xC2, 0xC2, 0xCA]), scans=scans))


@maker("jpeg")
def dc_only(rng):
    """The DC alone, or with few AC coefficients: every context that smoothing distinguishes."""
    at = int(rng.integers(1, 60)), int(rng.integers(1, 60))
    made = picture(rng, pick(rng, [1, 3]), at=at)
    count, al = len(made.components), int(rng.integers(0, 3))
    scans = [Scan(list(range(count)), 0, 0, 0, al)]
    for c in range(count):
        if chance(rng, 0.4):
            scans.append(Scan([c], 1, int(rng.integers(1, 12)), 0, int(rng.integers(0, 3))))
    return join(write(rng, made, marker=0xC2, scans=scans))


@maker("jpeg")
def odd_progression(rng):
    """Scans repeated, out of order, or with parameters that T.81 does not allow."""
    made = picture(rng, pick(rng, [1, 3]))
    scans = script(rng, len(made.components))
    for _ in range(int(rng.integers(1, 3))):
        i = int(rng.integers(len(scans)))
        change = int(rng.integers(4))
        if change == 0:
            scans.append(scans[i])
        elif change == 1:
            j = int(rng.integers(len(scans)))
            scans[i], scans[j] = scans[j], scans[i]
        elif len(scans) > 1:
            del scans[i]
    parts = write(rng, made, marker=0xC2, scans=scans)
    if chance(rng, 0.5):
        i = pick(rng, where(parts, "SOS"))
        header = bytearray(parts[i][1])
        header[pick(rng, [-1, -2, -3])] = pick(rng, [0, 1, 5, 13, 14, 63, 64, 0x10, 0x21, 0xD0, int(rng.integers(256))])
        parts[i] = "SOS", bytes(header)
    return join(parts)


@maker("jpeg")
def baseline_parameters(rng):
    """A sequential scan whose spectral selection is not 0, 63, 0, 0."""
    parts = write(rng, picture(rng), marker=pick(rng, [0xC0, 0xC1, 0xC9]))
    i = pick(rng, where(parts, "SOS"))
    header = bytearray(parts[i][1])
    header[pick(rng, [-1, -2, -3])] = int(rng.integers(256))
    parts[i] = "SOS", bytes(header)
    return join(parts)


@maker("jpeg")
def tables_between_scans(rng):
    """DQT redefined between scans; what counts is the table at a component's first scan."""
    made = picture(rng, quants=quants(rng, 3), table_of=[0, 1, pick(rng, [1, 2])])
    parts = write(rng, made, marker=pick(rng, [0xC0, 0xC2, 0xC9]),
                  scans=None if chance(rng, 0.3) else [Scan([0]), Scan([1]), Scan([2])]
                  if chance(rng, 0.5) else [Scan([0]), Scan([1, 2])])
    for start in reversed(scan_starts(parts)):
        if chance(rng, 0.6):
            values = np.clip(LUMA * rng.uniform(0.1, 6), 1, 255).astype(int)
            parts.insert(start, ("DQT", dqt(int(rng.integers(4)), values)))
    if chance(rng, 0.2):
        del parts[pick(rng, where(parts, "DQT"))]
    return join(parts)


@maker("jpeg")
def identifiers(rng):
    """Component ids, JFIF and Adobe segments: who says what the colours are."""
    count = pick(rng, [3, 3, 3, 4])
    idents = pick(rng, [[1, 2, 3, 4], [0, 1, 2, 3], [82, 71, 66, 65], [1, 1, 1, 1], [1, 2, 2, 3], [1, 1, 2, 3],
                        [3, 2, 1, 0], [1, 34, 35, 36], [67, 77, 89, 75], [255, 0, 255, 0], [89, 67, 99, 75],
                        list(map(int, rng.integers(0, 256, 4)))])[:count]
    made = picture(rng, count, idents=idents)
    return join(write(rng, made, jfif=chance(rng, 0.5),
                      adobe_transform=pick(rng, [None, None, 0, 1, 2, int(rng.integers(256))])))


@maker("jpeg")
def four(rng):
    return join(write(rng, picture(rng, 4), jfif=chance(rng, 0.3), adobe_transform=pick(rng, [None, 0, 1, 2, 2])))


def damage_restarts(rng, parts):
    """Restart markers of other numbers, too few, too many, elsewhere, or a lying interval."""
    for _ in range(int(rng.integers(1, 4))):
        at = where(parts, "RST")
        change = int(rng.integers(7))
        if change == 0 and at:
            parts[pick(rng, at)] = "RST", bytes([0xFF, 0xD0 + int(rng.integers(8))])
        elif change == 1 and at:
            del parts[pick(rng, at)]
        elif change == 2 and at:
            parts.insert(pick(rng, at), ("RST", bytes([0xFF, 0xD0 + int(rng.integers(8))])))
        elif change == 3 and at:  # a whole interval lost
            i = pick(rng, at)
            del parts[i : i + 2]
        elif change == 4:
            i = pick(rng, where(parts, "DRI"))
            parts[i] = "DRI", segment(0xDD, struct.pack(">H", pick(rng, [0, 1, 2, 3, 7, 1000, 65535])))
        elif change == 5:
            i = pick(rng, where(parts, "ECS"))
            data = parts[i][1]
            parts[i] = "ECS", data[: int(rng.integers(len(data) + 1))] + rng.bytes(int(rng.integers(4)))
        elif at:
            i = pick(rng, at)
            parts[i] = "RST", pick(rng, [b"\xff" * int(rng.integers(2, 5)) + parts[i][1][1:], b"\0" + parts[i][1],
                                         b"\xff\xd9", b"\xff\xc4", b"\xff\x01", b"\xff\0"])
    return parts


@maker("jpeg")
def restarts(rng):
    return join(damage_restarts(rng, write(rng, picture(rng, pick(rng, [1, 3])), restart=int(rng.integers(1, 5)))))


@maker("jpeg")
def restarts_unfinished(rng):
    """The same where libjpeg smooths: which rows had data then counts."""
    made = picture(rng, pick(rng, [1, 1, 3]), at=(int(rng.integers(1, 60)), int(rng.integers(1, 60))))
    scans = script(rng, len(made.components))
    scans = scans[: int(rng.integers(1, len(scans) + 1))]
    parts = write(rng, made, marker=0xC2, scans=scans, restart=int(rng.integers(1, 12)))
    parts = damage_restarts(rng, parts)
    if chance(rng, 0.3):
        last = where(parts, "SOS")[-1]
        del parts[int(rng.integers(last + 1, len(parts))) : -1]
    return join(parts)


@maker("jpeg")
def interval_changes(rng):
    """DRI between the scans."""
    made = picture(rng)
    parts = write(rng, made, scans=[Scan([0]), Scan([1]), Scan([2])], marker=pick(rng, [0xC0, 0xC9]))
    for start in reversed(scan_starts(parts)):
        if chance(rng, 0.5):
            parts.insert(start, ("DRI", segment(0xDD, struct.pack(">H", pick(rng, [0, 1, 2, 4])))))
    return join(parts)


@maker("jpeg")
def stray_bytes(rng):
    """Bytes between the segments, fill bytes before markers, bytes after the data."""
    parts = write(rng, picture(rng, pick(rng, [1, 3])))
    for _ in range(int(rng.integers(1, 3))):
        i = int(rng.integers(1, len(parts) + 1))
        junk = pick(rng, [b"\0", b"\xff", b"\xff\xff", b"\xff\0", b"abc", b"\0\0\0", b"\xff\x01", b"\xff\xd3",
                          b"\xff\xd8", b"\xff\xd9", rng.bytes(int(rng.integers(1, 9)))])
        parts.insert(i, ("junk", junk))
    return join(parts)


@maker("jpeg")
def ends(rng):
    """No end marker, an early one, several, data missing before it, or rubbish after it."""
    parts = write(rng, picture(rng, pick(rng, [1, 3])))
    change = int(rng.integers(6))
    if change == 0:
        parts.pop()
        parts.append(("tail", pick(rng, [b"", b"\0" * int(rng.integers(40)), rng.bytes(int(rng.integers(40))),
                                         b"\xff", b"\xff" * 7])))
    elif change == 1:
        i = pick(rng, where(parts, "ECS"))
        data = parts[i][1]
        parts[i] = "ECS", data[: int(rng.integers(len(data) + 1))]
    elif change == 2:
        i = pick(rng, where(parts, "ECS"))
        data = parts[i][1]
        parts[i:] = [("ECS", data[: int(rng.integers(len(data) + 1))]), ("EOI", b"\xff\xd9")]
    elif change == 3:
        parts.append(pick(rng, parts))
    elif change == 4:
        parts += parts
    else:
        i = pick(rng, where(parts, "ECS"))
        parts[i] = "ECS", parts[i][1] + rng.bytes(int(rng.integers(1, 20)))
    return join(parts)


@maker("jpeg")
def extremes(rng):
    """Coefficients and tables of any size."""
    made = picture(rng, pick(rng, [1, 3]))
    for c in made.components:
        mask = rng.random(c.blocks.shape) < 10.0 ** -rng.uniform(0.3, 3)
        largest = pick(rng, [300, 1023, 2047, 16383])
        c.blocks[mask] = rng.integers(-largest, largest + 1, int(mask.sum()))
        if chance(rng, 0.3):
            c.blocks[..., 10:] = 0
        c.blocks[..., 0] = np.clip(c.blocks[..., 0], -8000, 8000)
    if chance(rng, 0.6):
        for number in made.quants:
            made.quants[number] = pick(rng, [np.full(64, 255), rng.integers(0, 256, 64), np.full(64, 65535),
                                             rng.integers(1, 65536, 64), np.zeros(64, int), np.full(64, 32768)])
    return join(write(rng, made))


@maker("jpeg")
def wide_tables(rng):
    """16-bit tables, with values that 8 bits would hold too."""
    parts = write(rng, picture(rng, pick(rng, [1, 3])))
    for i in where(parts, "DQT"):
        parts[i] = "DQT", dqt(parts[i][1][4] & 15, np.clip(LUMA * rng.uniform(0.5, 20), 1, 65535).astype(int), True)
    return join(parts)


@maker("jpeg")
def arithmetic(rng):
    conditioning = None
    if chance(rng, 0.4):
        low = int(rng.integers(0, 8))
        conditioning = {n: (low, int(rng.integers(low, 16)), int(rng.integers(1, 64))) for n in range(2)}
    return join(write(rng, picture(rng, pick(rng, [1, 3, 3, 4])), marker=pick(rng, [0xC9, 0xCA]),
                      conditioning=conditioning))


def standard_tables():
    """T.81's tables K.3 to K.6, as Pillow writes them."""
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG")
    data, at, tables = out.getvalue(), 2, {}
    while data[at + 1] != 0xDA:
        end = at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
        body = data[at + 4 : end] if data[at + 1] == 0xC4 else b""
        while body:
            count = sum(body[1:17])
            tables[body[0] >> 4, body[0] & 15] = list(body[1:17]), list(body[17 : 17 + count])
            body = body[17 + count :]
        at = end
    return tables


STANDARD = standard_tables()


@maker("jpeg")
def tables_left_out(rng):
    """DHT missing: motion JPEG leaves the standard tables out."""
    made = picture(rng, pick(rng, [1, 3]))
    for c in made.components:
        c.blocks[...] = np.clip(c.blocks, -500, 500)
    if chance(rng, 0.7):
        parts = write(rng, made, marker=pick(rng, [0xC0, 0xC1]), given=STANDARD)
        if chance(rng, 0.3):
            key = pick(rng, list(STANDARD))
            parts.insert(2, ("DHT", dht(*key, *STANDARD[key])))
    else:
        parts = write(rng, made)
        if where(parts, "DHT"):
            del parts[pick(rng, where(parts, "DHT"))]
    return join(parts)


@maker("jpeg")
def table_numbers(rng):
    """Tables of other numbers, several in a segment, defined twice, of odd shapes."""
    made = picture(rng, pick(rng, [1, 3]))
    numbers = [(int(rng.integers(4)), int(rng.integers(4))) for _ in made.components]
    shape = pick(rng, [None, lambda counts: {s: int(2 ** rng.uniform(0, 18)) for s in counts},
                       lambda counts: dict.fromkeys(counts, 1),
                       lambda counts: {**dict.fromkeys(map(int, rng.integers(0, 12, 6)), 1), **counts}])
    parts = write(rng, made, tables=numbers, reshape=shape, fill=pick(rng, ["1", "0"]))
    if parts[-2][0] == "ECS" and chance(rng, 0.4):
        i = where(parts, "SOS")[0]
        bodies = b"".join(p[1][4:] for p in parts[:i] if p[0] == "DHT")
        parts = [p for p in parts[:i] if p[0] != "DHT"] + [("DHT", segment(0xC4, bodies))] + parts[i:]
    return join(parts)


@maker("jpeg")
def bad_tables(rng):
    """DHT, DQT and DAC that contradict themselves."""
    parts = write(rng, picture(rng, pick(rng, [1, 3])))
    at = where(parts, "DHT", "DQT", "DAC")
    i = pick(rng, at)
    body = bytearray(parts[i][1][4:])
    change = int(rng.integers(4))
    if change == 0 and parts[i][0] == "DHT":
        body[1 + int(rng.integers(16))] = int(rng.integers(256))
    elif change == 1:
        body[0] = int(rng.integers(256))
    elif change == 2:
        del body[int(rng.integers(len(body))) :]
    else:
        body += rng.bytes(int(rng.integers(1, 30)))
    parts[i] = parts[i][0], segment(parts[i][1][1], bytes(body))
    return join(parts)


@maker("jpeg")
def number_of_lines(rng):
    """DNL, and heights that are not the data's."""
    made = picture(rng, pick(rng, [1, 3]))
    parts = write(rng, made)
    lines = pick(rng, [made.height, max(1, made.height - 9), made.height + 20, 0])
    if chance(rng, 0.6):
        i = where(parts, "ECS")[0] + 1
        while parts[i][0] in ("RST", "ECS"):
            i += 1
        parts.insert(i, ("DNL", segment(0xDC, struct.pack(">H", made.height))))
    i = where(parts, "SOF")[0]
    frame = parts[i][1]
    parts[i] = "SOF", frame[:5] + struct.pack(">H", lines) + frame[7:]
    return join(parts)


@maker("jpeg")
def frames(rng):
    """Frame headers of other kinds, and with other numbers."""
    count = pick(rng, [1, 2, 3, 3, 3, 4, 5])
    made = picture(rng, count, factors=[(1, 1)] * count if chance(rng, 0.5) else None)
    parts = write(rng, made, marker=pick(rng, [0xC0, 0xC1, 0xC2, 0xC9]))
    i = where(parts, "SOF")[0]
    frame = bytearray(parts[i][1])
    change = int(rng.integers(7))
    if change == 0:
        frame[1] = pick(rng, [0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF])
    elif change == 1:
        frame[4] = int(rng.integers(17))
    elif change == 2:
        frame[9] = int(rng.integers(6))
    elif change == 3:
        frame[10 + int(rng.integers(len(frame) - 10))] = int(rng.integers(256))
    elif change == 4:
        parts.insert(int(rng.integers(i, len(parts))), parts[i])
    elif change == 5:
        frame += rng.bytes(int(rng.integers(1, 5)))
        frame[3] = (len(frame) - 2) & 255
    else:
        parts.insert(i, (pick(rng, ["DHP", "EXP"]), segment(pick(rng, [0xDE, 0xDF]), bytes(frame[4:]))))
        i += 1
    parts[i] = "SOF", bytes(frame)
    return join(parts)


@maker("jpeg")
def scan_headers(rng):
    """Components of a scan: twice, unknown, in another order, with other tables."""
    parts = write(rng, picture(rng, pick(rng, [1, 3, 3, 4])))
    i = pick(rng, where(parts, "SOS"))
    header = bytearray(parts[i][1])
    change = int(rng.integers(5))
    n = header[4]
    k = 5 + 2 * int(rng.integers(n))
    if change == 0:
        header[k] = pick(rng, [0, 1, 2, 3, 4, 9])
    elif change == 1:
        header[k + 1] = pick(rng, [0x00, 0x01, 0x10, 0x11, 0x22, 0x33, 0x44])
    elif change == 2 and n > 1:
        header[5:9] = header[7:9] + header[5:7]
    elif change == 3:
        header[4] = int(rng.integers(6))
    else:
        header += rng.bytes(2)
        header[3] += 2
    parts[i] = "SOS", bytes(header)
    return join(parts)


@maker("jpeg")
def applications(rng):
    """APPn and COM: short, long, empty, of lying lengths, with what Pillow's own parser looks at."""
    parts = write(rng, picture(rng, pick(rng, [1, 3, 3, 4])), jfif=chance(rng, 0.5),
                  adobe_transform=pick(rng, [None, None, 0, 1, 2]))
    bodies = [b"", b"J", b"JFIF", b"JFIF\0", b"JFIF\0\x01", b"JFIF\0\x02\x01\0\0\x01\0\x01\0\0",
              b"JFXX\0\x10", b"Adobe", b"Adobe\0\x64\0\0\0\0", b"Adobe\0\x64\0\0\0\0\x01", b"Adobe\0\x64\0\0\0\0\0xx",
              b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08", b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0",
              b"ICC_PROFILE\0\x01\x02abc", b"ICC_PROFILE\0", b"http://ns.adobe.com/xap/1.0/\0<x/>",
              b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0\0\0\0\x10\0\x48\0\0\0\x01\0\x01\0\x48\0\0\0\x01\0\x01",
              b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0\0\x04ab", b"MPF\0MM\0*\0\0\0\x08\0\0", b"FPXR\0",
              rng.bytes(int(rng.integers(1, 40)))]
    for _ in range(int(rng.integers(1, 4))):
        marker = pick(rng, [0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE, int(rng.integers(0xE0, 0xF0))])
        data = segment(marker, pick(rng, bodies))
        if chance(rng, 0.15):
            data = data[:2] + struct.pack(">H", int(rng.integers(0, 40))) + data[4:]
        i = 1 if chance(rng, 0.6) else int(rng.integers(1, len(parts)))
        parts.insert(i, ("APP", data))
    return join(parts)


@maker("jpeg")
def other_markers(rng):
    """Reserved and parameterless markers among the segments and inside the data."""
    parts = write(rng, picture(rng, pick(rng, [1, 3])))
    marker = pick(rng, [0x01, 0x02, 0x4F, 0xBF, 0xC8, 0xD0, 0xD7, 0xDC, 0xDE, 0xDF, 0xF0, 0xF7, 0xFD, 0xE5,
                        int(rng.integers(1, 256))])
    data = pick(rng, [bytes([0xFF, marker]), segment(marker, rng.bytes(int(rng.integers(6))))])
    if chance(rng, 0.6):
        parts.insert(int(rng.integers(1, len(parts) + 1)), ("other", data))
    else:
        i = pick(rng, where(parts, "ECS"))
        body = parts[i][1]
        at = int(rng.integers(len(body) + 1))
        parts[i] = "ECS", body[:at] + data + body[at:]
    return join(parts)


def at_a_boundary(rng, parts):
    """Padded so that a boundary of the 64 KiB pieces in which Pillow reads falls somewhere in the parts."""
    length = len(join(parts)) - 2
    target = 65536 * int(rng.integers(1, 3)) - 2 - int(rng.integers(length + 1)) if length < 60000 else 65536
    at = pick(rng, [1, 1, *range(1, len(parts))])
    while target > 4:
        body = min(target - 4, 65533)
        if 0 < target - 4 - body < 4:
            body -= 8
        parts.insert(at, ("COM", segment(0xFE, b"\0" * body)))
        target -= body + 4
    return parts


@maker("jpeg")
def boundaries(rng):
    """What Pillow reads in several pieces."""
    made = picture(rng, pick(rng, [1, 3, 3]))
    return join(at_a_boundary(rng, write(rng, made)))


@maker("jpeg")
def damaged_boundaries(rng):
    """The same with damage: where the piece ends decides what libjpeg sees of it."""
    kinds = [restarts, ends, stray_bytes, other_markers, baseline_parameters, scan_headers]
    data = pick(rng, kinds)(rng)
    padding = 65536 * int(rng.integers(1, 3)) - int(rng.integers(len(data) + 1))
    segments = b""
    while len(segments) < padding - 4:
        segments += segment(0xFE, b"\0" * min(padding - 4 - len(segments), 65533))
    return data[:2] + segments + data[2:]


@maker("jpeg")
def large(rng):
    """Several hundred kilobytes, as photos have; mostly from Pillow's writer, for that is quick."""
    width, height = int(rng.integers(200, 700)), int(rng.integers(200, 500))
    noise = rng.integers(0, 100, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels(rng, 3, (width, height)) // 2 + noise)
    options = {"quality": int(rng.integers(50, 93)), "subsampling": pick(rng, [0, 1, 2]),
               "progressive": chance(rng, 0.4), "optimize": chance(rng, 0.3)}
    if chance(rng, 0.4):
        options["restart_marker_blocks"] = int(rng.integers(1, 40))
    return saved(image, options)


def entry(order, tag, kind, count, value):
    """One entry of a TIFF directory; `value`: the four bytes of the field."""
    return struct.pack(order + "HHL", tag, kind, count) + value


def directory(order, entries, data=b"", after=0):
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", 8)
    return head + struct.pack(order + "H", len(entries)) + b"".join(entries) + struct.pack(order + "L", after) + data


@maker("jpeg")
def multi_picture(rng):
    """An MP index, right and wrong: Pillow makes an MPO of it, a JPEG, or fails."""
    order = pick(rng, "<>")
    count = pick(rng, [0, 1, 2, 2, 3])
    number = lambda n: struct.pack(order + "L", n)  # noqa: E731
    offset = 8 + 2 + 12 * 3 + 4
    kind = pick(rng, [0x030000, 0x020001, 0x01000000, 0, int(rng.integers(1 << 32))])
    pictures = b"".join(struct.pack(order + "LLLHH", kind if i == 0 else 0, 100, 0 if i == 0 else 200, 0, 0)
                        for i in range(count))
    entries = [entry(order, 0xB000, 7, 4, b"0100"),
               entry(order, 0xB001, pick(rng, [4, 4, 4, 3, 2, 7, 5]), pick(rng, [1, 1, 1, 0, 2]), number(count)),
               entry(order, 0xB002, pick(rng, [7, 7, 7, 1, 4]), pick(rng, [16 * count, 16 * count, 4, 1000]),
                     number(offset))]
    if chance(rng, 0.3):
        del entries[int(rng.integers(3))]
    body = bytearray(directory(order, entries, pictures))
    if chance(rng, 0.3):
        body[int(rng.integers(len(body)))] = int(rng.integers(256))
    parts = write(rng, picture(rng, pick(rng, [1, 3])))
    extra = [("APP2", segment(0xE2, b"MPF\0" + bytes(body)))]
    if chance(rng, 0.2):
        extra.append(("APP1", segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x hdrgm:Version="1.0"/>')))
    parts[2:2] = extra
    return join(parts) + (join(parts) if chance(rng, 0.3) else b"")


@maker("jpeg")
def exif(rng):
    """An EXIF directory, right and wrong: Pillow looks there for the resolution as it opens the file."""
    order = pick(rng, "<>")
    entries = [entry(order, 0x0112, pick(rng, [3, 3, 1, 4]), 1, struct.pack(order + "HH", int(rng.integers(10)), 0)),
               entry(order, 0x0128, pick(rng, [3, 3, 2, 5]), 1, struct.pack(order + "HH", pick(rng, [1, 2, 3, 0]), 0)),
               entry(order, 0x011A, pick(rng, [5, 5, 2, 3, 4, 10, 12, int(rng.integers(20))]), pick(rng, [1, 1, 0, 2, 9999]),
                     struct.pack(order + "L", pick(rng, [50, 50, 0, 70000])))]
    if chance(rng, 0.3):
        del entries[int(rng.integers(3))]
    data = struct.pack(order + "LL", int(rng.integers(300)), pick(rng, [1, 1, 0, 7]))
    body = bytearray(directory(order, entries, data, pick(rng, [0, 0, 8, 9999])))
    if chance(rng, 0.4):
        body[int(rng.integers(len(body)))] = int(rng.integers(256))
    parts = write(rng, picture(rng, pick(rng, [1, 3])), jfif=chance(rng, 0.4))
    parts.insert(1, ("APP1", segment(0xE1, pick(rng, [b"Exif\0\0"] * 8 + [b"Exif\0\0" * 2, b"Exif\0"]) + bytes(body))))
    if chance(rng, 0.2):
        xmp = b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="%d"/>' % int(rng.integers(10))
        parts.insert(1, ("APP1", segment(0xE1, xmp)))
    if chance(rng, 0.2):
        parts.insert(2, ("APP1", segment(0xE1, b"Exif\0\0" + bytes(body[: int(rng.integers(len(body)))]))))
    return join(parts)


@maker("jpeg")
def lossless(rng):
    """SOF3, which Pillow's libjpeg-turbo reads: predictor 1, every difference by Huffman."""
    made = picture(rng, pick(rng, [1, 3]), at=(int(rng.integers(1, 30)), int(rng.integers(1, 20))))
    count = len(made.components)
    planes = pixels(rng, count, (made.width, made.height)).astype(int)
    coder = jw.Huffman(None, False)
    coder.start()
    for y in range(made.height):
        for x in range(made.width):
            for c in range(count):
                left = 128 if x == y == 0 else planes[y, x - 1, c] if x else planes[y - 1, 0, c]
                size, extra = jw.magnitude(int(planes[y, x, c] - left))
                coder.ops.append((0, min(c, 1), size, extra))
    headers, data = coder.parts()
    made.components = [jw.Component(c.ident, 1, 1, 0, c.blocks) for c in made.components]
    scan = Scan(list(range(count)), 1, 0)
    parts = [("SOI", b"\xff\xd8"), ("APP0", jw.JFIF), ("SOF", jw.sof(made, 0xC3)), *headers,
             ("SOS", jw.sos(made, scan, [(min(c, 1), 0) for c in range(count)])),
             *(("ECS", d) for d in data), ("EOI", b"\xff\xd9")]
    return join(parts)


@maker("jpeg")
def long_rows(rng):
    """As wide or as high as the format goes (libjpeg stops at 65,500) and a little over."""
    length = pick(rng, [65500, 65500, 65501, 65535, int(rng.integers(3000, 65500))])
    short = int(rng.integers(1, 9))
    at = (length, short) if chance(rng, 0.5) else (short, length)
    plane = np.full((at[1], at[0], 1), 128)
    made = jw.picture(plane, [(1, 1)], {0: np.full(64, 8)})
    if chance(rng, 0.3):
        made = jw.picture(plane.repeat(3, 2), pick(rng, COMMON[:3]), {0: np.full(64, 8)})
    for c in made.components:
        c.blocks[..., 0] = rng.integers(-100, 100, c.blocks.shape[:2])
        c.blocks[..., 1 + int(rng.integers(8))] = rng.integers(-9, 10, c.blocks.shape[:2])
    count = len(made.components)
    return join(write(rng, made, marker=0xC0, scans=[Scan(list(range(count)))]))
