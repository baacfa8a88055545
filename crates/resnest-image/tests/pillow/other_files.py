"""PNG, WebP, GIF and BMP files of every kind, and no images at all."""

import struct
import zlib

import numpy as np
from PIL import Image

from synth import FILES, gray, put, rgb, save


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
    return put(name, out[:cut] if cut else out)


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
    return put(name, out[:cut] if cut else out)


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
    return put(name, out[:cut] if cut else out)


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


def others():
    (FILES / "bad_empty.jpg").write_bytes(b"")
    (FILES / "bad_text.jpg").write_bytes(b"this is not an image")
    (FILES / "bad_magic_only.png").write_bytes(b"\x89PNG\r\n\x1a\n")
