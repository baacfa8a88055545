"""TIFF files of every kind, from a writer of our own."""

import struct
import zlib

import numpy as np
from PIL import Image

from synth import FILES, gray, put, rgb, save, scene


# What `mutants_tiff.py` does to each strip or tile.
BROKEN = None


def tiff(name, samples, bits, photometric, endian="<", compression=1, predictor=1, rows_per_strip=None,
         tile=None, planar=1, extra=None, colormap=None, orientation=None, fmt=None, cut=None, xmp=None,
         big=False, change=None):
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
    if BROKEN:
        blocks = [BROKEN(block) for block in blocks]
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
    for tag, value in (change or {}).items():
        if value is None:
            tags.pop(tag, None)
        else:
            tags[tag] = value(tags.get(tag)) if callable(value) else value
    sizes = {1: "B", 2: "B", 3: "H", 4: "I", 5: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 99: "H"}
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
    return put(name, out[:cut] if cut else out)


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
    # Libtiff passes over a predictor that is said thrice.
    tiff("unsupported_tiff_predictors.tif", noise(1, 16), 16, 1, compression=5, change={317: (3, [2, 2, 2])})
