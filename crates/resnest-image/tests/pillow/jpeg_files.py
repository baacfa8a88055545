"""JPEG files of every kind."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

import jpeg_writer
import makers_jpeg
import makers_jpeg_lossless  # noqa: F401 - registers
import registry
from synth import FILES, gray, rgb, save, scene

# Of every kind of makers_jpeg.py, as many that Pillow reads and as many that it refuses, of so many bytes. Fewer
# of those that are longer than what Pillow reads at once.
READ, REFUSED, LONGEST = 6, 2, 6000
UNUSUAL = {"exif": (16, 4, LONGEST), "boundaries": (2, 1, 70000), "damaged_boundaries": (2, 1, 70000),
           "large": (0, 0, 0), "long_rows": (0, 0, 0)}


def read_by_pillow(data):
    try:
        Image.open(io.BytesIO(data)).convert("RGB")
    except Exception:  # noqa: BLE001 - the kind of error is Pillow's affair
        return False
    return True


def odd_jpegs():
    """The kinds that `compare.py` tries at random, a few of each; small ones, so that many fit."""
    for kind, make in registry.MAKERS["jpeg"].items():
        read, refused, longest = UNUSUAL.get(kind, (READ, REFUSED, LONGEST))
        left = {True: read, False: refused}
        for seed in range(60):
            if not any(left.values()):
                break
            data = make(np.random.default_rng([seed, zlib.crc32(kind.encode())]))
            if len(data) > longest or not left[read := read_by_pillow(data)]:
                continue
            left[read] -= 1
            (FILES / f"jpeg_odd_{kind}_{seed + 1}.jpg").write_bytes(data)


def jpegs():
    odd_jpegs()
    for tag, sampling in [("444", 0), ("422", 1), ("420", 2), ("440", "4:4:0"), ("411", "4:1:1")]:
        for w, h in [(61, 47), (64, 32), (17, 90)]:
            for progressive in (False, True):
                kind = "prog" if progressive else "base"
                name = f"jpeg_{tag}_{kind}_{w}x{h}.jpg"
                try:
                    save(name, rgb(w, h, w + h), "JPEG", subsampling=sampling, quality=83,
                         progressive=progressive)
                except (ValueError, TypeError, OSError):
                    write_with_sampling(name, rgb(w, h, w + h), tag, progressive)
    for w, h in [(1, 1), (2, 1), (1, 2), (3, 3), (8, 8), (16, 16), (15, 17), (33, 1), (1, 33)]:
        save(f"jpeg_420_tiny_{w}x{h}.jpg", rgb(w, h, w * h), "JPEG", quality=90)
        save(f"jpeg_422_tiny_{w}x{h}.jpg", rgb(w, h, w * h), "JPEG", quality=90, subsampling=1)
    # Large enough that a crop decodes only its part.
    for tag, sampling in [("444", 0), ("422", 1), ("420", 2)]:
        for kind, more in [("base", {}), ("prog", {"progressive": True}), ("rst", {"restart_marker_blocks": 3})]:
            save(f"jpeg_large_{tag}_{kind}.jpg", rgb(451, 337, 11), "JPEG", subsampling=sampling, quality=40, **more)
    for tag in ("440", "411"):
        write_with_sampling(f"jpeg_large_{tag}.jpg", rgb(351, 337, 12), tag, False)
    save("jpeg_gray.jpg", gray(53, 39, 5), "JPEG", quality=75)
    save("jpeg_gray_progressive.jpg", gray(53, 39, 5), "JPEG", quality=75, progressive=True)
    save("jpeg_restart_blocks.jpg", rgb(70, 50, 6), "JPEG", restart_marker_blocks=2)
    save("jpeg_restart_rows.jpg", rgb(70, 50, 6), "JPEG", restart_marker_rows=1, progressive=True)
    save("jpeg_q1.jpg", rgb(50, 40, 7), "JPEG", quality=1)
    save("jpeg_q100.jpg", rgb(50, 40, 7), "JPEG", quality=100)
    save("jpeg_optimized.jpg", rgb(50, 40, 7), "JPEG", optimize=True)
    save("jpeg_rgb.jpg", rgb(50, 40, 8), "JPEG", keep_rgb=True)
    cmyk = Image.fromarray(scene(45, 37, 9, 4), "CMYK")
    save("jpeg_cmyk_adobe.jpg", cmyk, "JPEG", quality=85)
    save("jpeg_cmyk_adobe_progressive.jpg", cmyk, "JPEG", quality=85, progressive=True)
    data = (FILES / "jpeg_cmyk_adobe.jpg").read_bytes()
    (FILES / "jpeg_cmyk_no_adobe.jpg").write_bytes(without_segment(data, 0xEE))
    # The same coefficients called YCCK, and RGB data called YCbCr and the reverse.
    (FILES / "jpeg_ycck.jpg").write_bytes(with_adobe(data, 2))
    ycc = (FILES / "jpeg_444_base_61x47.jpg").read_bytes()
    (FILES / "jpeg_adobe_rgb.jpg").write_bytes(with_adobe(without_segment(ycc, 0xE0), 0))
    (FILES / "jpeg_adobe_ycc.jpg").write_bytes(with_adobe(without_segment(ycc, 0xE0), 1))
    (FILES / "jpeg_no_jfif.jpg").write_bytes(without_segment(ycc, 0xE0))
    resolutions()
    lost_interval()
    exif = Image.Exif()
    exif[274] = 6
    save("jpeg_exif_orientation6.jpg", rgb(40, 24, 10), "JPEG", exif=exif)
    save("jpeg_icc_comment.jpg", rgb(40, 24, 10), "JPEG", icc_profile=b"\0" * 300, comment="hello")
    base = (FILES / "jpeg_420_base_61x47.jpg").read_bytes()
    (FILES / "jpeg_trailing_garbage.jpg").write_bytes(base + b"trailing garbage \xff\x00\xff")
    (FILES / "jpeg_fill_bytes.jpg").write_bytes(base[:2] + b"\xff\xff\xff" + base[2:])
    (FILES / "bad_jpeg_truncated.jpg").write_bytes(base[: len(base) * 2 // 3])
    (FILES / "bad_jpeg_no_eoi.jpg").write_bytes(base[:-2])
    (FILES / "bad_jpeg_header_only.jpg").write_bytes(base[:200])
    prog = (FILES / "jpeg_420_prog_61x47.jpg").read_bytes()
    (FILES / "bad_jpeg_progressive_truncated.jpg").write_bytes(prog[: len(prog) // 2])


def lost_interval():
    """A scan in which a restart marker two ahead stands where one is due: libjpeg waits for its turn, and its
    smoothing takes the rows in between for rows without data."""
    made = makers_jpeg.picture(np.random.default_rng(1), 1, [(1, 1)], (27, 43))
    parts = jpeg_writer.file(made, [jpeg_writer.Scan([0], 0, 0), jpeg_writer.Scan([0], 1, 7, 0, 2)], marker=0xC2, restart=6)
    second = makers_jpeg.where(parts, "SOS")[1]
    parts[second + 2 :] = [("RST", b"\xff\xd2"), ("EOI", b"\xff\xd9")]
    (FILES / "jpeg_lost_interval.jpg").write_bytes(jpeg_writer.join(parts))


def resolutions():
    """A resolution in the EXIF block that is text or bytes: too short, Pillow fails to open the file."""
    base = (FILES / "jpeg_no_jfif.jpg").read_bytes()
    for name, kind, value in [("bad_jpeg_exif_resolution_digit", 2, b"7\0"), ("jpeg_exif_resolution_letter", 2, b"x\0"),
                              ("jpeg_exif_resolution_text", 2, b"72\0"), ("bad_jpeg_exif_resolution_empty", 2, b"\0"),
                              ("bad_jpeg_exif_resolution_byte", 1, b"7"), ("jpeg_exif_resolution_bytes", 7, b"72")]:
        entries = [makers_jpeg.entry("<", 0x0128, 3, 1, b"\2\0\0\0"),
                   makers_jpeg.entry("<", 0x011A, kind, len(value), value.ljust(4, b"\0"))]
        block = b"Exif\0\0" + makers_jpeg.directory("<", entries)
        (FILES / f"{name}.jpg").write_bytes(base[:2] + makers_jpeg.segment(0xE1, block) + base[2:])


def write_with_sampling(name, image, tag, progressive):
    """4:4:0 and 4:1:1, which some Pillows do not offer by name: through the sampling of 4:2:x."""
    h, v = {"440": (1, 2), "411": (4, 1)}[tag]
    (FILES / name).write_bytes(encode_baseline(np.asarray(image), h, v))


def segments(data):
    at = 2
    while True:
        marker = data[at + 1]
        length = struct.unpack(">H", data[at + 2 : at + 4])[0]
        yield marker, at, at + 2 + length
        if marker == 0xDA:
            return
        at += 2 + length


def without_segment(data, marker):
    for found, start, end in segments(data):
        if found == marker:
            return data[:start] + data[end:]
    return data


def with_adobe(data, transform):
    data = without_segment(data, 0xEE)
    payload = b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform)
    return data[:2] + b"\xff\xee" + struct.pack(">H", len(payload) + 2) + payload + data[2:]


STD_LUMA_DC = ([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], list(range(12)))


def encode_baseline(pixels, hs, vs):
    """A small baseline encoder for the samplings that Pillow cannot write.

    Only DC and a few AC coefficients, with a flat Huffman table of its own: quality is no aim.
    """
    height, width, _ = pixels.shape
    f = pixels.astype(np.float64)
    ycc = np.stack([
        0.299 * f[..., 0] + 0.587 * f[..., 1] + 0.114 * f[..., 2],
        -0.168736 * f[..., 0] - 0.331264 * f[..., 1] + 0.5 * f[..., 2] + 128,
        0.5 * f[..., 0] - 0.418688 * f[..., 1] - 0.081312 * f[..., 2] + 128,
    ])
    mw, mh = 8 * hs, 8 * vs
    pw, ph = -(-width // mw) * mw, -(-height // mh) * mh
    ycc = np.pad(ycc, ((0, 0), (0, ph - height), (0, pw - width)), mode="edge") - 128
    planes = [ycc[0]]
    for c in (1, 2):
        planes.append(ycc[c].reshape(ph // vs, vs, pw // hs, hs).mean((1, 3)))
    n = np.arange(8)
    dct = np.sqrt(2 / 8) * np.cos((2 * n[None] + 1) * n[:, None] * np.pi / 16)
    dct[0] /= np.sqrt(2)
    quant = 4 + 2 * (n[:, None] + n[None])
    zigzag = sorted(((i, j) for i in range(8) for j in range(8)),
                    key=lambda p: (p[0] + p[1], p[0] if (p[0] + p[1]) % 2 else p[1]))
    bits = []

    def put(value, count):
        bits.extend((value >> (count - 1 - i)) & 1 for i in range(count))

    def size_of(v):
        return abs(v).bit_length()

    def put_value(v, s):
        put(v if v >= 0 else v + (1 << s) - 1, s)

    # All symbols get 8-bit codes: DC sizes 0..11; AC run/size as listed.
    ac_symbols = [0x00, 0xF0] + [r << 4 | s for r in range(16) for s in range(1, 11)]
    ac_code = {symbol: i for i, symbol in enumerate(ac_symbols)}
    last = [0, 0, 0]

    def block(c, values):
        q = np.rint(dct @ values @ dct.T / quant).astype(int)
        dc = int(q[0, 0])
        diff = dc - last[c]
        last[c] = dc
        s = size_of(diff)
        put(s, 8)
        if s:
            put_value(diff, s)
        run = 0
        for i, j in zigzag[1:]:
            v = int(q[i, j])
            if v == 0:
                run += 1
                continue
            while run > 15:
                put(ac_code[0xF0], 8)
                run -= 16
            put(ac_code[run << 4 | size_of(v)], 8)
            put_value(v, size_of(v))
            run = 0
        if run:
            put(ac_code[0x00], 8)

    for my in range(ph // mh):
        for mx in range(pw // mw):
            for v in range(vs):
                for h in range(hs):
                    y, x = my * mh + v * 8, mx * mw + h * 8
                    block(0, planes[0][y : y + 8, x : x + 8])
            for c in (1, 2):
                block(c, planes[c][my * 8 : my * 8 + 8, mx * 8 : mx * 8 + 8])
    while len(bits) % 8:
        bits.append(1)
    body = bytearray()
    for i in range(0, len(bits), 8):
        byte = int("".join(map(str, bits[i : i + 8])), 2)
        body.append(byte)
        if byte == 0xFF:
            body.append(0)

    def seg(marker, payload):
        return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload

    def table(kind, symbols):
        counts = [0] * 16
        counts[7] = len(symbols)
        return seg(0xC4, bytes([kind]) + bytes(counts) + bytes(symbols))

    out = b"\xff\xd8" + seg(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0")
    out += seg(0xDB, b"\0" + bytes(int(quant[i, j]) for i, j in zigzag))
    frame = struct.pack(">BHHB", 8, height, width, 3)
    frame += bytes([1, hs << 4 | vs, 0, 2, 0x11, 0, 3, 0x11, 0])
    out += seg(0xC0, frame) + table(0x00, range(12)) + table(0x10, ac_symbols)
    out += seg(0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 0, 63, 0]))
    return out + bytes(body) + b"\xff\xd9"
