"""Writes the synthetic image files of every kind, and what Pillow and timm make of them.

    python tests/image/make_fixtures.py [--photos ../shared/data/photos]
    PYTHONPATH=<pillow 12> python tests/image/make_fixtures.py --order-only

Output, next to this script:
- files/*           encoded files, small
- decode.json       per file: size and sha256 of the RGB and L pixels, or Pillow's error
- crops.json        per case: sha256 of timm's u8 crop
- tensors.json      a few normalised tensors' sha256 (f32, little endian)
- crops_pillow12.json  crops of tall portraits by an older Pillow (the second command)
- photos.json       the same for the photos in ../shared (which are not redistributed)

Every JSON records the versions that made it.
"""

import argparse
import hashlib
import io
import json
import platform
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL
import timm
import torch
import torchvision
from PIL import Image, ImageOps, features
from timm.data import create_transform

HERE = Path(__file__).parent
FILES = HERE / "files"
VERSIONS = {
    "pillow": PIL.__version__,
    "libjpeg_turbo": features.version_feature("libjpeg_turbo"),
    "libwebp": features.version_module("webp"),
    "libtiff": features.version_codec("libtiff"),
    "timm": timm.__version__,
    "torch": torch.__version__,
    "torchvision": torchvision.__version__,
    "python": platform.python_version(),
}


def sha(data):
    return hashlib.sha256(data).hexdigest()


def scene(width, height, seed, channels=3):
    """Gradients, edges and noise: something for every part of a codec."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    out = np.empty((height, width, channels))
    for c in range(channels):
        fx, fy, p = rng.uniform(0.02, 0.5), rng.uniform(0.02, 0.5), rng.uniform(0, 6)
        out[..., c] = 127 + 90 * np.sin(fx * x + fy * y + p)
        out[..., c] += np.where((x // 7 + y // 5 + c) % 3 == 0, 50, -20)
    out += rng.normal(0, 12, out.shape)
    return np.clip(out, 0, 255).astype(np.uint8)


def rgb(width, height, seed):
    return Image.fromarray(scene(width, height, seed))


def gray(width, height, seed):
    return Image.fromarray(scene(width, height, seed, 1)[..., 0])


def save(name, image, fmt, **options):
    image.save(FILES / name, fmt, **options)


# --- JPEG ---------------------------------------------------------------------------------------

def jpegs():
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


# --- PNG ----------------------------------------------------------------------------------------

ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(name, samples, bits, color, palette=None, extra=(), interlaced=False, cut=None):
    """`samples`: (height, width, channels) integers."""
    height, width, channels = samples.shape

    def pack(rows):
        raw = bytearray()
        for row in rows:
            raw.append(0)
            if bits == 16:
                raw += row.astype(">u2").tobytes()
            elif bits == 8:
                raw += row.astype(np.uint8).tobytes()
            else:
                flat = row.reshape(-1)
                packed = np.zeros(-(-len(flat) * bits // 8), np.uint8)
                for i, v in enumerate(flat):
                    packed[i * bits // 8] |= int(v) << (8 - bits - i * bits % 8)
                raw += packed.tobytes()
        return bytes(raw)

    if interlaced:
        raw = b""
        for x0, y0, dx, dy in ADAM7:
            part = samples[y0::dy, x0::dx]
            if part.size:
                raw += pack(part)
    else:
        raw = pack(samples)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    out = b"\x89PNG\r\n\x1a\n"
    out += chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, int(interlaced)))
    for kind, data in extra:
        if kind == b"gAMA":
            out += chunk(kind, data)
    if palette is not None:
        out += chunk(b"PLTE", palette)
    for kind, data in extra:
        if kind != b"gAMA":
            out += chunk(kind, data)
    out += chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")
    (FILES / name).write_bytes(out[:cut] if cut else out)


def pngs():
    rng = np.random.default_rng(20)
    gamma = (b"gAMA", struct.pack(">I", 100000))
    for inter in (False, True):
        tag = "_interlaced" if inter else ""
        for bits in (1, 2, 4, 8, 16):
            s = rng.integers(0, 1 << bits, (21, 19, 1))
            png(f"png_gray{bits}{tag}.png", s, bits, 0, interlaced=inter)
        low = rng.integers(0, 400, (21, 19, 1))
        png(f"png_gray16_low{tag}.png", low, 16, 0, interlaced=inter)
        for bits in (1, 2, 4, 8):
            s = rng.integers(0, 1 << bits, (21, 19, 1))
            colors = rng.integers(0, 256, 3 << bits, dtype=np.uint8).tobytes()
            png(f"png_palette{bits}{tag}.png", s, bits, 3, colors, interlaced=inter)
            alpha = rng.integers(0, 256, 1 << bits, dtype=np.uint8).tobytes()
            png(f"png_palette{bits}_trns{tag}.png", s, bits, 3, colors, [(b"tRNS", alpha)], inter)
        for bits in (8, 16):
            top = 1 << bits
            png(f"png_rgb{bits}{tag}.png", rng.integers(0, top, (21, 19, 3)), bits, 2, interlaced=inter)
            png(f"png_la{bits}{tag}.png", rng.integers(0, top, (21, 19, 2)), bits, 4, interlaced=inter)
            png(f"png_rgba{bits}{tag}.png", rng.integers(0, top, (21, 19, 4)), bits, 6, interlaced=inter)
    s = rng.integers(0, 16, (21, 19, 1))
    png("png_palette4_short.png", s, 4, 3, rng.integers(0, 256, 15, dtype=np.uint8).tobytes())
    png("png_gray8_trns.png", rng.integers(0, 256, (9, 9, 1)), 8, 0, extra=[(b"tRNS", b"\0\x10")])
    png("png_gray16_trns.png", rng.integers(0, 300, (9, 9, 1)), 16, 0, extra=[(b"tRNS", b"\0\x10")])
    png("png_gray1_trns.png", rng.integers(0, 2, (9, 9, 1)), 1, 0, extra=[(b"tRNS", b"\0\1")])
    png("png_rgb8_trns.png", rng.integers(0, 2, (9, 9, 3)), 8, 2, extra=[(b"tRNS", b"\0\1\0\0\0\1")])
    png("png_rgb8_gamma.png", rng.integers(0, 256, (9, 9, 3)), 8, 2, extra=[gamma])
    png("png_gray8_gamma.png", rng.integers(0, 256, (9, 9, 1)), 8, 0, extra=[gamma])
    png("png_one_pixel.png", rng.integers(0, 256, (1, 1, 3)), 8, 2)
    png("png_one_pixel_interlaced.png", rng.integers(0, 256, (1, 1, 3)), 8, 2, interlaced=True)
    png("bad_png_truncated.png", rng.integers(0, 256, (30, 30, 3)), 8, 2, cut=900)
    png("bad_png_header_only.png", rng.integers(0, 256, (30, 30, 3)), 8, 2, cut=33)
    png("unsupported_png_no_palette.png", rng.integers(0, 4, (9, 9, 1)), 2, 3)
    frames = [rgb(24, 18, i) for i in range(3)]
    frames[0].save(FILES / "png_animated.png", save_all=True, append_images=frames[1:])
    frames[0].save(FILES / "png_animated_default.png", save_all=True, append_images=frames[1:], default_image=True)
    save("png_filters.png", rgb(64, 48, 21), "PNG")
    exif = Image.Exif()
    exif[274] = 8
    save("png_exif_orientation8.png", rgb(20, 13, 10), "PNG", exif=exif)


# --- WebP ---------------------------------------------------------------------------------------

def webps():
    photo = rgb(75, 53, 30)
    alpha = photo.copy()
    alpha.putalpha(gray(75, 53, 31))
    for q in (5, 50, 90, 100):
        save(f"webp_lossy_q{q}.webp", photo, "WEBP", quality=q)
    save("webp_lossy_alpha.webp", alpha, "WEBP", quality=70)
    save("webp_lossy_alpha_q.webp", alpha, "WEBP", quality=70, alpha_quality=30)
    save("webp_lossless.webp", photo, "WEBP", lossless=True)
    save("webp_lossless_alpha.webp", alpha, "WEBP", lossless=True)
    save("webp_lossless_exact.webp", alpha, "WEBP", lossless=True, exact=True)
    few = photo.quantize(6).convert("RGB")
    save("webp_lossless_palette.webp", few, "WEBP", lossless=True)
    for w, h in [(1, 1), (2, 3), (17, 16), (16, 17), (33, 15)]:
        save(f"webp_lossy_{w}x{h}.webp", rgb(w, h, 32), "WEBP", quality=60)
        save(f"webp_lossless_{w}x{h}.webp", rgb(w, h, 32), "WEBP", lossless=True)
    frames = [rgb(40, 30, i) for i in (33, 34)]
    frames[0].save(FILES / "webp_animated.webp", save_all=True, append_images=frames[1:], quality=70)
    clear = [alpha.resize((40, 30)), alpha.transpose(0).resize((40, 30))]
    clear[0].save(FILES / "webp_animated_alpha.webp", save_all=True, append_images=clear[1:], lossless=True)
    clear[0].save(FILES / "webp_animated_background.webp", save_all=True, append_images=clear[1:],
                  lossless=True, background=(200, 10, 90, 255))
    small = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    small.paste(photo.resize((15, 11)), (12, 9))
    small.save(FILES / "webp_animated_small_first.webp", save_all=True, append_images=[clear[1]], lossless=True)
    save("webp_exif.webp", photo, "WEBP", quality=70, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0")
    data = (FILES / "webp_lossy_q90.webp").read_bytes()
    (FILES / "bad_webp_truncated.webp").write_bytes(data[: len(data) // 2])
    data = (FILES / "webp_lossless.webp").read_bytes()
    (FILES / "bad_webp_lossless_truncated.webp").write_bytes(data[: len(data) // 2])


# --- GIF ----------------------------------------------------------------------------------------

def gif(name, screen, frame, indices, colors=None, local=None, transparent=None, background=0,
        interlaced=False, bits=8, cut=None):
    left, top, width, height = frame

    def size_bits(table):
        return max((len(table) // 3 - 1).bit_length(), 1) - 1

    out = b"GIF89a" + struct.pack("<HH", *screen)
    out += bytes([(0x80 | size_bits(colors)) if colors else 0, background, 0]) + (colors or b"")
    if transparent is not None:
        out += b"!\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0"
    flags = (0x80 | size_bits(local) if local else 0) | (0x40 if interlaced else 0)
    out += b"," + struct.pack("<HHHHB", left, top, width, height, flags) + (local or b"")
    order = range(height)
    if interlaced:
        order = [y for s, d in ((0, 8), (4, 8), (2, 4), (1, 2)) for y in range(s, height, d)]
    flat = [int(v) for y in order for v in indices[y]]
    # Uncompressed LZW: a clear code often enough that codes never grow.
    codes, clear = [], 1 << bits
    for i, v in enumerate(flat):
        if i % (clear - 2) == 0:
            codes.append(clear)
        codes.append(v)
    codes.append(clear + 1)
    acc = n = 0
    data = bytearray()
    for code in codes:
        acc |= code << n
        n += bits + 1
        while n >= 8:
            data.append(acc & 255)
            acc >>= 8
            n -= 8
    if n:
        data.append(acc & 255)
    out += bytes([bits])
    for i in range(0, len(data), 255):
        part = bytes(data[i : i + 255])
        out += bytes([len(part)]) + part
    out += b"\0;"
    (FILES / name).write_bytes(out[:cut] if cut else out)


def gifs():
    rng = np.random.default_rng(40)
    colors = rng.integers(0, 256, 768, dtype=np.uint8).tobytes()
    four = rng.integers(0, 256, 12, dtype=np.uint8).tobytes()
    whole = rng.integers(0, 256, (23, 31))
    gif("gif_plain.gif", (31, 23), (0, 0, 31, 23), whole, colors)
    gif("gif_interlaced.gif", (31, 23), (0, 0, 31, 23), whole, colors, interlaced=True)
    gif("gif_local.gif", (31, 23), (0, 0, 31, 23), whole, four, local=colors)
    gif("gif_no_palette.gif", (31, 23), (0, 0, 31, 23), whole)
    gif("gif_transparent.gif", (31, 23), (0, 0, 31, 23), whole, colors, transparent=9)
    part = rng.integers(0, 256, (10, 12))
    gif("gif_small_frame.gif", (31, 23), (5, 7, 12, 10), part, colors, background=77)
    gif("gif_small_frame_transparent.gif", (31, 23), (5, 7, 12, 10), part, colors, transparent=200, background=77)
    gif("gif_small_frame_no_palette.gif", (31, 23), (5, 7, 12, 10), part, background=77)
    gif("gif_small_frame_local.gif", (31, 23), (5, 7, 12, 10), part, colors, local=colors[::-1], background=77)
    gif("gif_frame_outside.gif", (15, 10), (5, 7, 12, 10), part, colors)
    gif("gif_2bit.gif", (31, 23), (0, 0, 31, 23), whole % 4, four, bits=2)
    gif("gif_index_past_palette.gif", (31, 23), (0, 0, 31, 23), whole % 16, four, bits=4)
    ramp = bytes(v for i in range(4) for v in (i, i, i))
    gif("gif_ramp_palette.gif", (31, 23), (0, 0, 31, 23), whole % 4, ramp, bits=2)
    gif("bad_gif_truncated.gif", (31, 23), (0, 0, 31, 23), whole, colors, cut=1100)
    gif("bad_gif_too_few_pixels.gif", (31, 43), (0, 0, 31, 43), np.zeros((20, 31), int).repeat(1, 0)
        if False else np.vstack([whole, whole])[:43], colors, cut=1500)
    rgb(60, 45, 41).quantize(100).save(FILES / "gif_pillow.gif")
    gray(60, 45, 41).save(FILES / "gif_pillow_gray.gif")
    frames = [rgb(60, 45, i).quantize(64) for i in range(42, 45)]
    frames[0].save(FILES / "gif_animated.gif", save_all=True, append_images=frames[1:], loop=0)


# --- BMP ----------------------------------------------------------------------------------------

def bmp(name, bits, rows, width, palette=b"", compression=0, masks=b"", header=40, top_down=False,
        colors=0, cut=None):
    """`rows`: stored rows (or run-length data) as bytes, in the order of the file."""
    height = len(rows) if isinstance(rows, list) else rows[1]
    data = b"".join(r + b"\0" * (-len(r) % 4) for r in rows) if isinstance(rows, list) else rows[0]
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, width, -height if top_down else height, 1, bits,
                           compression, len(data), 2835, 2835, colors, 0)
        if header > 40:
            info += masks.ljust(16, b"\0")[: header - 40] if header <= 56 else masks.ljust(16, b"\0")
            info = info.ljust(header, b"\0")
            masks = b""
    offset = 14 + len(info) + len(masks) + len(palette)
    out = b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + masks + palette + data
    (FILES / name).write_bytes(out[:cut] if cut else out)


def bmps():
    rng = np.random.default_rng(50)

    def table(n, entry=4):
        t = rng.integers(0, 256, (n, entry), dtype=np.uint8)
        return t.tobytes()

    def rows(nbytes, n=11):
        return [rng.integers(0, 256, nbytes, dtype=np.uint8).tobytes() for _ in range(n)]

    bmp("bmp_1.bmp", 1, rows(3), 19, table(2))
    bmp("bmp_1_bw.bmp", 1, rows(3), 19, b"\0\0\0\0\xff\xff\xff\0")
    bmp("bmp_1_wb.bmp", 1, rows(3), 19, b"\xff\xff\xff\0\0\0\0\0")
    bmp("bmp_4.bmp", 4, rows(10), 19, table(16))
    bmp("bmp_8.bmp", 8, rows(19), 19, table(256))
    bmp("bmp_8_gray.bmp", 8, rows(19), 19, bytes(v for i in range(256) for v in (i, i, i, 0)))
    bmp("bmp_8_short_palette.bmp", 8, rows(19), 19, table(20), colors=20)
    bmp("bmp_8_top_down.bmp", 8, rows(19), 19, table(256), top_down=True)
    bmp("bmp_16.bmp", 16, rows(38), 19)
    bmp("bmp_24.bmp", 24, rows(57), 19)
    bmp("bmp_24_top_down.bmp", 24, rows(57), 19, top_down=True)
    bmp("bmp_32.bmp", 32, rows(76), 19)
    bmp("bmp_core_24.bmp", 24, rows(57), 19, header=12)
    bmp("bmp_core_8.bmp", 8, rows(19), 19, table(256, 3), header=12)
    m = struct.pack
    bmp("bmp_16_565.bmp", 16, rows(38), 19, compression=3, masks=m("<3I", 0xF800, 0x7E0, 0x1F))
    bmp("bmp_16_555.bmp", 16, rows(38), 19, compression=3, masks=m("<3I", 0x7C00, 0x3E0, 0x1F))
    for name, masks in {
        "bgrx": (0xFF0000, 0xFF00, 0xFF, 0), "xbgr": (0xFF000000, 0xFF0000, 0xFF00, 0),
        "bgxr": (0xFF000000, 0xFF00, 0xFF, 0), "abgr": (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        "rgba": (0xFF, 0xFF00, 0xFF0000, 0xFF000000), "bgra": (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
        "bgar": (0xFF000000, 0xFF00, 0xFF, 0xFF0000), "none": (0, 0, 0, 0),
    }.items():
        bmp(f"bmp_32_{name}.bmp", 32, rows(76), 19, compression=3, masks=m("<4I", *masks), header=124)
    bmp("bmp_32_v2.bmp", 32, rows(76), 19, compression=3, masks=m("<3I", 0xFF0000, 0xFF00, 0xFF), header=52)
    bmp("bmp_32_v3.bmp", 32, rows(76), 19, compression=3, masks=m("<4I", 0xFF, 0xFF00, 0xFF0000, 0xFF000000), header=56)
    bmp("bad_bmp_32_masks.bmp", 32, rows(76), 19, compression=3, masks=m("<4I", 0xF, 0xF0, 0xF00, 0), header=124)
    runs = bytes([5, 7, 3, 2, 0, 4, 1, 2, 3, 4, 7, 9, 0, 0, 19, 3, 0, 0, 0, 2, 4, 1, 0, 3, 8, 7, 6, 0,
                  8, 5, 0, 0, 19, 11, 0, 0, 10, 12, 9, 13, 0, 1])
    bmp("bmp_rle8.bmp", 8, (runs, 5), 19, table(256), compression=1)
    bmp("bmp_rle8_top_down.bmp", 8, (runs, 5), 19, table(256), compression=1, top_down=True)
    bmp("bmp_rle8_gray.bmp", 8, (runs, 5), 19, bytes(v for i in range(256) for v in (i, i, i, 0)), compression=1)
    runs4 = bytes([5, 0x7A, 3, 0x21, 0, 4, 0x12, 0x34, 7, 0x9C, 0, 0, 19, 0x3D, 0, 0, 0, 2, 4, 0, 0, 3, 0x87, 0x60,
                   12, 0x51, 0, 0, 19, 0xB0, 0, 1])
    bmp("bmp_rle4.bmp", 4, (runs4, 4), 19, table(16), compression=2)
    bmp("bad_bmp_rle8_short.bmp", 8, (runs[:18], 5), 19, table(256), compression=1)
    bmp("bad_bmp_truncated.bmp", 24, rows(57), 19, cut=400)


# --- TIFF ---------------------------------------------------------------------------------------

def tiff(name, samples, bits, photometric, endian="<", compression=1, predictor=1, rows_per_strip=None,
         tile=None, planar=1, extra=None, colormap=None, orientation=None, fmt=None, cut=None, xmp=None,
         big=False):
    height, width, channels = samples.shape

    def pack(block):
        out = bytearray()
        for row in block:
            if bits >= 8:
                out += row.astype(f"{endian}u{bits // 8}").tobytes()
            else:
                flat = row.reshape(-1)
                packed = np.zeros(-(-len(flat) * bits // 8), np.uint8)
                for i, v in enumerate(flat):
                    packed[i * bits // 8] |= int(v) << (8 - bits - i * bits % 8)
                out += packed.tobytes()
        return bytes(out)

    def predict(block):
        if predictor != 2:
            return block
        block = block.astype(np.int64)
        diff = block.copy()
        diff[:, 1:] -= block[:, :-1]
        return diff % (1 << bits)

    def compress(data):
        if compression == 1:
            return data
        if compression in (8, 32946):
            return zlib.compress(data)
        if compression == 32773:
            out = bytearray()
            for i in range(0, len(data), 100):
                part = data[i : i + 100]
                if len(set(part)) == 1 and len(part) > 1:
                    out += bytes([257 - len(part), part[0]])
                else:
                    out += bytes([len(part) - 1]) + part
            return bytes(out)
        if compression == 5:
            return lzw(data)
        raise ValueError(compression)

    blocks = []
    for plane in range(channels if planar == 2 else 1):
        s = samples[..., plane : plane + 1] if planar == 2 else samples
        if tile:
            for y in range(0, height, tile):
                for x in range(0, width, tile):
                    block = np.zeros((tile, tile, s.shape[2]), s.dtype)
                    part = s[y : y + tile, x : x + tile]
                    block[: part.shape[0], : part.shape[1]] = part
                    blocks.append(compress(pack(predict(block))))
        else:
            step = rows_per_strip or height
            for y in range(0, height, step):
                blocks.append(compress(pack(predict(s[y : y + step]))))
    header = 16 if big else 8
    offsets, body = [], b""
    for block in blocks:
        offsets.append(header + len(body))
        body += block + b"\0" * (len(block) % 2)
    tags = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * channels), 259: (3, [compression]),
            262: (3, [photometric]), 277: (3, [channels])}
    if tile:
        tags |= {322: (4, [tile]), 323: (4, [tile]), 324: (4, offsets), 325: (4, [len(b) for b in blocks])}
    else:
        tags |= {273: (4, offsets), 278: (4, [rows_per_strip or height]), 279: (4, [len(b) for b in blocks])}
    if planar != 1:
        tags[284] = (3, [planar])
    if predictor != 1:
        tags[317] = (3, [predictor])
    if extra:
        tags[338] = (3, extra)
    if colormap is not None:
        tags[320] = (3, colormap)
    if orientation:
        tags[274] = (3, [orientation])
    if fmt:
        tags[339] = (3, [fmt] * channels)
    if xmp:
        tags[700] = (1, list(xmp))
    sizes = {1: "B", 3: "H", 4: "I"}
    out = (b"II" if endian == "<" else b"MM")
    ifd_at = header + len(body)
    if big:
        out += struct.pack(endian + "HHHQ", 43, 8, 0, ifd_at) + body
        entry, room, off, count_at = 20, 8, "Q", struct.pack(endian + "Q", len(tags))
    else:
        out += struct.pack(endian + "HI", 42, ifd_at) + body
        entry, room, off, count_at = 12, 4, "I", struct.pack(endian + "H", len(tags))
    data_at = ifd_at + len(count_at) + entry * len(tags) + struct.calcsize(off)
    ifd, tail = count_at, b""
    for tag, (kind, values) in sorted(tags.items()):
        payload = struct.pack(f"{endian}{len(values)}{sizes[kind]}", *values)
        ifd += struct.pack(f"{endian}HH{off}", tag, kind, len(values))
        if len(payload) <= room:
            ifd += payload.ljust(room, b"\0")
        else:
            ifd += struct.pack(endian + off, data_at + len(tail))
            tail += payload + b"\0" * (len(payload) % 2)
    out += ifd + struct.pack(endian + off, 0) + tail
    (FILES / name).write_bytes(out[:cut] if cut else out)


def lzw(data):
    """TIFF's LZW: most significant bit first, early change."""
    out, acc, n = bytearray(), 0, 0

    def put(code, width):
        nonlocal acc, n
        acc = acc << width | code
        n += width
        while n >= 8:
            out.append(acc >> (n - 8) & 255)
            n -= 8
        acc &= (1 << n) - 1

    table = {bytes([i]): i for i in range(256)}
    next_code, width = 258, 9
    put(256, 9)
    word = b""
    for byte in data:
        longer = word + bytes([byte])
        if longer in table:
            word = longer
            continue
        put(table[word], width)
        table[longer] = next_code
        next_code += 1
        if next_code == 1 << width and width < 12:
            width += 1
        if next_code == 4094:
            put(256, width)
            table = {bytes([i]): i for i in range(256)}
            next_code, width = 258, 9
        word = bytes([byte])
    if word:
        put(table[word], width)
        next_code += 1
        if next_code == 1 << width and width < 12:
            width += 1
    put(257, width)
    if n:
        out.append(acc << (8 - n) & 255)
    return bytes(out)


def tiffs():
    rng = np.random.default_rng(60)

    def noise(channels, bits, h=23, w=29):
        return rng.integers(0, 1 << bits, (h, w, channels))

    picture = scene(61, 47, 61).astype(np.int64)
    for e, tag in (("<", "le"), (">", "be")):
        for bits in (1, 2, 4, 8):
            tiff(f"tiff_{tag}_gray{bits}.tif", noise(1, bits), bits, 1, e)
            tiff(f"tiff_{tag}_white0_{bits}.tif", noise(1, bits), bits, 0, e)
            cmap = rng.integers(0, 65536, 3 << bits).tolist()
            tiff(f"tiff_{tag}_palette{bits}.tif", noise(1, bits), bits, 3, e, colormap=cmap)
        tiff(f"tiff_{tag}_gray16.tif", noise(1, 16) % 600, 16, 1, e)
        for bits in (8, 16):
            tiff(f"tiff_{tag}_rgb{bits}.tif", noise(3, bits), bits, 2, e)
            tiff(f"tiff_{tag}_rgba{bits}.tif", noise(4, bits), bits, 2, e, extra=[2])
            tiff(f"tiff_{tag}_rgbx{bits}.tif", noise(4, bits), bits, 2, e, extra=[0])
            tiff(f"tiff_{tag}_cmyk{bits}.tif", noise(4, bits), bits, 5, e)
        for comp, cname in ((5, "lzw"), (8, "deflate"), (32946, "deflate_old"), (32773, "packbits")):
            tiff(f"tiff_{tag}_rgb8_{cname}.tif", picture, 8, 2, e, compression=comp, rows_per_strip=10)
            tiff(f"tiff_{tag}_gray16_{cname}.tif", noise(1, 16) % 600, 16, 1, e, compression=comp)
            tiff(f"tiff_{tag}_rgb16_{cname}.tif", noise(3, 16), 16, 2, e, compression=comp)
            if comp != 32773:
                tiff(f"tiff_{tag}_rgb8_{cname}_predictor.tif", picture, 8, 2, e, comp, 2, 10)
                tiff(f"tiff_{tag}_rgb16_{cname}_predictor.tif", picture * 257, 16, 2, e, comp, 2, 10)
    tiff("tiff_gray1_lzw.tif", noise(1, 1), 1, 1, compression=5)
    tiff("tiff_white0_1_packbits.tif", noise(1, 1), 1, 0, compression=32773)
    tiff("tiff_white0_8_deflate.tif", noise(1, 8), 8, 0, compression=8)
    tiff("tiff_palette8_lzw.tif", noise(1, 8), 8, 3, compression=5, colormap=rng.integers(0, 65536, 768).tolist())
    tiff("tiff_white0_16.tif", noise(1, 16) % 600, 16, 0)
    tiff("tiff_la8.tif", noise(2, 8), 8, 1, extra=[2])
    tiff("tiff_lx8.tif", noise(2, 8), 8, 1, extra=[0])
    tiff("tiff_pa8.tif", noise(2, 8), 8, 3, extra=[2], colormap=rng.integers(0, 65536, 768).tolist())
    tiff("tiff_rgba8_no_extra.tif", noise(4, 8), 8, 2)
    tiff("tiff_rgb_premultiplied.tif", noise(4, 8), 8, 2, extra=[1])
    tiff("tiff_rgb_premultiplied_lzw.tif", noise(4, 8), 8, 2, extra=[1], compression=5)
    tiff("tiff_rgbxx8.tif", noise(5, 8), 8, 2, extra=[0, 0])
    tiff("tiff_rgbax8.tif", noise(5, 8), 8, 2, extra=[2, 0])
    tiff("tiff_cmykx8.tif", noise(5, 8), 8, 5, extra=[0])
    tiff("tiff_cmyk8_lzw.tif", noise(4, 8), 8, 5, compression=5)
    tiff("tiff_strips.tif", picture, 8, 2, rows_per_strip=7)
    tiff("tiff_tiles.tif", picture, 8, 2, tile=16)
    tiff("tiff_tiles_lzw.tif", picture, 8, 2, tile=32, compression=5, predictor=2)
    tiff("tiff_tiles_gray.tif", noise(1, 8, 40, 50), 8, 1, tile=16)
    tiff("tiff_tiles_one.tif", noise(3, 8, 10, 12), 8, 2, tile=16)
    tiff("tiff_tiles_gray1.tif", noise(1, 1, 40, 50), 1, 1, tile=16)
    tiff("tiff_planar.tif", picture, 8, 2, planar=2, rows_per_strip=20)
    tiff("tiff_planar_deflate.tif", picture, 8, 2, planar=2, compression=8, predictor=2)
    tiff("tiff_planar_tiles.tif", picture, 8, 2, planar=2, tile=16, compression=5)
    tiff("tiff_planar_rgba_deflate.tif", noise(4, 8), 8, 2, planar=2, extra=[2], compression=8)
    for o in range(1, 10):
        tiff(f"tiff_orientation{o}.tif", noise(3, 8, 9, 14), 8, 2, orientation=o)
    tiff("tiff_orientation6_lzw_gray.tif", noise(1, 8, 9, 14), 8, 1, orientation=6, compression=5)
    tiff("tiff_orientation_xmp.tif", noise(3, 8, 9, 14), 8, 2,
         xmp=b'<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>')
    tiff("tiff_big.tif", picture, 8, 2, big=True, rows_per_strip=9, compression=8)
    tiff("tiff_big_be.tif", picture, 8, 2, ">", big=True)
    tiff("tiff_signed8.tif", noise(1, 8), 8, 1, fmt=2)
    tiff("tiff_one_pixel.tif", noise(3, 8, 1, 1), 8, 2)
    tiff("bad_tiff_truncated_directory.tif", picture, 8, 2, cut=8000)
    tiff("unsupported_tiff_gray32.tif", noise(1, 16), 32, 1)
    save("tiff_pillow_lzw.tif", rgb(61, 47, 62), "TIFF", compression="tiff_lzw")
    save("tiff_pillow_deflate.tif", rgb(61, 47, 62), "TIFF", compression="tiff_adobe_deflate")
    save("tiff_pillow_1bit.tif", gray(61, 47, 62).convert("1"), "TIFF")
    pages = [rgb(20, 15, 63), rgb(30, 25, 64)]
    pages[0].save(FILES / "tiff_pages.tif", save_all=True, append_images=pages[1:])
    # Kinds that are refused by name here, whatever Pillow makes of them.
    save("unsupported_tiff_jpeg.tif", rgb(61, 47, 62), "TIFF", compression="jpeg")
    save("unsupported_tiff_group4.tif", gray(61, 47, 62).convert("1"), "TIFF", compression="group4")
    save("unsupported_tiff_zstd.tif", rgb(61, 47, 62), "TIFF", compression="zstd")
    Image.fromarray(rng.random((9, 9)).astype(np.float32)).save(FILES / "unsupported_tiff_float.tif")
    tiff("unsupported_tiff_premultiplied16.tif", noise(4, 16), 16, 2, extra=[1])
    tiff("unsupported_tiff_lab.tif", noise(3, 8), 8, 8)


def others():
    (FILES / "bad_empty.jpg").write_bytes(b"")
    (FILES / "bad_text.jpg").write_bytes(b"this is not an image")
    (FILES / "bad_magic_only.png").write_bytes(b"\x89PNG\r\n\x1a\n")


# --- What Pillow and timm say -------------------------------------------------------------------

def decoded(path):
    out = {}
    if "_exif" in path.name:
        with Image.open(path) as image:
            out["upright"] = sha(ImageOps.exif_transpose(image).convert("RGB").tobytes())
    for key, mode in (("rgb", "RGB"), ("luma", "L")):
        try:
            with Image.open(path) as image:
                pixels = image.convert(mode)
            out["width"], out["height"] = pixels.size
            out[key] = sha(pixels.tobytes())
        except Exception as error:  # noqa: BLE001 - the kind of error is Pillow's affair
            return {"error": f"{type(error).__name__}: {error}"[:120].replace(str(HERE), "")}
    return out


GEOMETRY = ("Resize", "CenterCrop", "ResizeKeepRatio", "CenterCropOrPad")


def transform(size, crop_pct, mode, interpolation, mean, std):
    return create_transform((3, *size), interpolation=interpolation, crop_pct=crop_pct, crop_mode=mode,
                            mean=mean, std=std)


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def crop(image, size, crop_pct, mode, interpolation):
    mean, std = ((0.5,), (0.25,)) if image.mode == "L" else IMAGENET
    steps = transform(size, crop_pct, mode, interpolation, mean, std).transforms
    for step in steps:
        if type(step).__name__ in GEOMETRY:
            image = step(image)
    return image


SOURCES = [(61, 47), (47, 61), (200, 90), (90, 200), (33, 140), (300, 300), (1, 1), (1, 50), (50, 1),
           (2, 3), (511, 257), (257, 640), (640, 100), (224, 224), (5, 1000)]
TARGETS = [((32, 32), 0.875), ((32, 32), 1.0), ((31, 33), 0.9), ((48, 20), 0.95), ((20, 48), 0.875),
           ((64, 64), 1.3), ((17, 17), 0.4), ((96, 80), 2.5), ((224, 224), 0.875), ((1, 1), 1.0)]
FILTERS = ["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"]


def synthetic(width, height, channels):
    """The source of a crop case; tests/image.rs makes the same from the same formula."""
    out = bytearray()
    state = width * 7919 + height * 104729 + channels
    for _ in range(width * height * channels):
        state = (state * 1664525 + 1013904223) % (1 << 32)
        out.append(state >> 24)
    image = Image.frombytes("RGB" if channels == 3 else "L", (width, height), bytes(out))
    return image


PORTRAITS = [(47, 61), (90, 200), (33, 140), (257, 640), (5, 1000), (1, 50)]


def crops(sources=SOURCES):
    cases = []
    for w, h in sources:
        for channels in (3, 1):
            image = synthetic(w, h, channels)
            for size, pct in TARGETS:
                for mode in ("center", "squash", "border"):
                    for interpolation in FILTERS:
                        if channels == 1 and interpolation not in ("bilinear", "bicubic", "nearest"):
                            continue
                        case = {"source": [w, h, channels], "size": size, "crop_pct": pct,
                                "crop_mode": mode, "interpolation": interpolation}
                        try:
                            case["sha"] = sha(crop(image, size, pct, mode, interpolation).tobytes())[:16]
                        except Exception as error:  # noqa: BLE001
                            case["error"] = f"{type(error).__name__}: {error}"[:80]
                        cases.append(case)
    return cases


def tensors():
    cases = []
    for w, h, channels, mean, std in [(61, 47, 3, *IMAGENET), (300, 300, 3, (0.5,) * 3, (0.5,) * 3),
                                      (200, 90, 3, (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
                                      (90, 200, 1, (0.5,), (0.25,)), (90, 200, 1, (0.4468,), (0.2259,))]:
        for mode in ("center", "border"):
            t = transform((32, 40), 0.875, mode, "bicubic", mean, std)
            tensor = t(synthetic(w, h, channels)).contiguous()
            cases.append({"source": [w, h, channels], "size": [32, 40], "crop_pct": 0.875, "crop_mode": mode,
                          "interpolation": "bicubic", "mean": mean, "std": std,
                          "sha": sha(tensor.numpy().astype("<f4").tobytes())})
    return cases


PHOTO_CROPS = [((224, 224), 0.875, "center", "bilinear"), ((224, 224), 0.875, "center", "bicubic"),
               ((256, 256), 0.875, "center", "bilinear"), ((320, 320), 0.909, "center", "bicubic"),
               ((416, 416), 0.928, "center", "bicubic"), ((224, 224), 0.875, "squash", "bicubic"),
               ((224, 224), 0.9, "border", "bilinear"), ((192, 288), 0.95, "center", "lanczos")]


def photos(folder):
    out = {}
    for path in sorted(folder.glob("*.JPEG")):
        entry = decoded(path)
        image = Image.open(path).convert("RGB")
        entry["crops"] = [sha(crop(image, *c).tobytes())[:16] for c in PHOTO_CROPS]
        tensor = transform((224, 224), 0.875, "center", "bilinear", *IMAGENET)(image)
        entry["tensor"] = sha(tensor.contiguous().numpy().astype("<f4").tobytes())[:16]
        out[path.name] = entry
    return out


def write(name, key, value):
    lines = ",\n".join(json.dumps(v) if not isinstance(value, dict) else f"{json.dumps(v)}: {json.dumps(value[v])}"
                       for v in value)
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    (HERE / name).write_text(
        f'{{"versions": {json.dumps(VERSIONS)},\n"{key}": {opening}\n{lines}\n{closing}}}\n')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path, default=HERE / "../../../shared/data/photos")
    parser.add_argument("--order-only", action="store_true")
    args = parser.parse_args()
    if args.order_only:
        assert int(PIL.__version__.split(".")[0]) <= 12, PIL.__version__
        write("crops_pillow12.json", "cases", crops(PORTRAITS))
        return
    FILES.mkdir(exist_ok=True)
    for old in FILES.iterdir():
        old.unlink()
    for make in (jpegs, pngs, webps, gifs, bmps, tiffs, others):
        make()
    write("decode.json", "files", {p.name: decoded(p) for p in sorted(FILES.iterdir())})
    write("crops.json", "cases", crops())
    write("tensors.json", "cases", tensors())
    if args.photos.is_dir():
        write("photos.json", "photos", photos(args.photos))
    total = sum(p.stat().st_size for p in FILES.iterdir())
    print(f"{len(list(FILES.iterdir()))} files, {total} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
