"""PNM, TGA, QOI and ICO files of every kind: those that Pillow writes, and others by hand."""

import io
import struct

import numpy as np
from PIL import Image

from synth import gray, put, rgb, save, scene

WIDTH, HEIGHT = 19, 11


def samples(seed, count, most):
    return np.random.default_rng(seed).integers(0, most + 1, count).tolist()


def pnms():
    size = f"{WIDTH} {HEIGHT}\n".encode()
    pixels = WIDTH * HEIGHT
    save("pnm_p6.pnm", rgb(WIDTH, HEIGHT, 60), "PPM")
    save("pnm_p5.pnm", gray(WIDTH, HEIGHT, 61), "PPM")
    save("pnm_p4.pnm", gray(WIDTH, HEIGHT, 62).convert("1"), "PPM")
    save("pnm_p5_16.pnm", gray(WIDTH, HEIGHT, 63).convert("I"), "PPM")
    save("pnm_pfm.pnm", gray(WIDTH, HEIGHT, 64).convert("F"), "PPM")
    for most in (1, 7, 100, 255, 256, 1023, 65535):
        text = " ".join(map(str, samples(most, pixels, most))).encode()
        put(f"pnm_p2_{most}.pnm", b"P2\n" + size + f"{most}\n".encode() + text + b"\n")
        text = "\n".join(map(str, samples(most + 1, 3 * pixels, most))).encode()
        put(f"pnm_p3_{most}.pnm", b"P3\n" + size + f"{most}\n".encode() + text + b"\n")
        kind = ">u2" if most > 255 else "u1"
        for magic, bands in ((b"P5", 1), (b"P6", 3)):
            data = np.array(samples(most + 2, bands * pixels, most), kind).tobytes()
            put(f"pnm_{magic.decode().lower()}_{most}_raw.pnm", magic + b"\n" + size + f"{most}\n".encode() + data)
    bits = "".join(map(str, samples(5, pixels, 1))).encode()
    put("pnm_p1.pnm", b"P1 " + size + bits)
    put("pnm_p1_lines.pnm", b"P1 # a picture\n" + size + b"\n# rows\n".join(bits[i : i + 19] for i in range(0, pixels, 19)))
    put("pnm_comment_in_number.pnm", b"P5 1#this goes on\n9 11 2#\r55\n" + bytes(samples(6, pixels, 255)))
    put("pnm_comment_in_sample.pnm", b"P2 2 1 255\n1#\n2 3#4\n5")
    put("pnm_python_numbers.pnm", b"P2 +1_9 0011 2_55\n" + b" ".join(b"+%03d" % v for v in samples(7, pixels, 255)))
    put("pnm_over_maxval.pnm", b"P6 3 1 9\n" + bytes(range(5, 14)))
    put("pnm_pfm_big.pnm", b"Pf 4 2 3.5\n" + struct.pack(">8f", -1, 0.9, 1, 254.99, 255, 1e9, float("nan"), float("-inf")))
    put("pnm_cmyk.pnm", b"P0CMYK" + size + b"255\n" + bytes(samples(8, 4 * pixels, 255)))
    put("pnm_rgba.pnm", b"PyRGBA " + size + b"255\n" + bytes(samples(9, 4 * pixels, 255)))
    put("pnm_indices.pnm", b"PyP " + size + b"255\n" + bytes(samples(10, pixels, 255)))
    put("bad_pnm_truncated.pnm", b"P6 4 4 255\n" + bytes(47))
    put("bad_pnm_plain_truncated.pnm", b"P3 2 2 255\n" + b"1 " * 11)
    put("bad_pnm_sample.pnm", b"P2 2 1 9\n3 10\n")
    put("bad_pnm_bits.pnm", b"P1 4 1\n0101 x")
    put("bad_pnm_long_number.pnm", b"P5 00000000001 1 255\n\0")
    put("bad_pnm_after_the_last.pnm", b"P2 1 1 255\n7 12345678901")
    put("bad_pnm_maxval.pnm", b"P5 1 1 65536\n\0\0\0")
    put("bad_pnm_pam.pnm", b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nENDHDR\n\0")


def blocks():
    """A PGM whose sample and comment go on in the next of the blocks that Pillow reads: tests/pillow.rs makes the same."""
    out = b"P2 300000 2 255\n"
    start = len(out)
    out += b"7 " * 200_000
    out = out.ljust(start + (1 << 20) - 2) + b"123 "
    out += b"8 " * 200_000
    # The line of the comment ends where the block begins, and Pillow looks for the other kind of end.
    out = out.ljust(start + (2 << 20) - 3) + b"# a" + b"\n 77 \r"
    return out + b"9 " * 199_999


def tga(name, kind, depth, rows, width=WIDTH, palette=(0, b"", 0), flags=0, identification=b"", end=b""):
    """`palette`: first entry, entries, bits of one."""
    first, entries, bits = palette
    count = len(entries) * 8 // bits if bits else 0
    head = struct.pack("<BBBHHBHHHHBB", len(identification), int(bits > 0), kind, first, count, bits, 0, 0, width,
                       len(rows) if isinstance(rows, list) else HEIGHT, depth, flags)
    data = b"".join(rows) if isinstance(rows, list) else rows
    return put(name, head + identification + entries + data + end)


def tgas():
    picture = rgb(WIDTH, HEIGHT, 70)
    for rle in (False, True):
        options = {"compression": "tga_rle"} if rle else {}
        end = "_rle" if rle else ""
        save(f"tga_24{end}.tga", picture, "TGA", **options)
        save(f"tga_32{end}.tga", picture.convert("RGBA"), "TGA", **options)
        save(f"tga_gray{end}.tga", gray(WIDTH, HEIGHT, 71), "TGA", **options)
        save(f"tga_gray_alpha{end}.tga", gray(WIDTH, HEIGHT, 72).convert("LA"), "TGA", **options)
        save(f"tga_palette{end}.tga", picture.quantize(40), "TGA", **options)
        save(f"tga_palette_alpha{end}.tga", picture.convert("RGBA").quantize(40), "TGA", **options)
        save(f"tga_24_top_down{end}.tga", picture, "TGA", orientation=1, id_section=b"a name", **options)
    save("tga_bits.tga", gray(WIDTH, HEIGHT, 73).convert("1"), "TGA")
    rows = lambda seed, size: [bytes(samples(seed + y, WIDTH * size, 255)) for y in range(HEIGHT)]  # noqa: E731
    entries = lambda seed, size, count: bytes(samples(seed, size * count, 255))  # noqa: E731
    for flags in (0, 0x10, 0x20, 0x30):
        tga(f"tga_16_origin_{flags:02x}.tga", 2, 16, rows(flags, 2), flags=flags)
        tga(f"tga_24_origin_{flags:02x}.tga", 2, 24, rows(flags, 3), flags=flags)
        tga(f"tga_palette_origin_{flags:02x}.tga", 1, 8, rows(flags, 1), palette=(0, entries(1, 3, 256), 24), flags=flags)
    tga("tga_palette_16.tga", 1, 8, rows(4, 1), palette=(0, entries(2, 2, 256), 16))
    tga("tga_palette_32.tga", 1, 8, rows(5, 1), palette=(0, entries(3, 4, 256), 32))
    tga("tga_palette_first.tga", 1, 8, rows(6, 1), palette=(100, entries(4, 3, 90), 24))
    tga("tga_palette_short.tga", 1, 8, rows(7, 1), palette=(0, entries(5, 3, 9), 24))
    tga("tga_gray_with_palette.tga", 3, 8, rows(8, 1), palette=(0, entries(6, 3, 256), 24))
    tga("tga_gray_alpha_with_palette.tga", 3, 16, rows(9, 2), palette=(0, entries(7, 3, 256), 24))
    tga("tga_identified.tga", 2, 24, rows(10, 3), identification=b"x" * 255)
    tga("tga_footer.tga", 2, 32, rows(11, 4), end=struct.pack("<II", 2, 0) + b"TRUEVISION-XFILE.\0")
    # A literal packet of three rows and a half, and a run up to the end of one.
    packet = bytes([69]) + bytes(samples(12, 70 * 3, 255)) + bytes([0x80 | 5]) + b"abc"
    tga("tga_rle_across_rows.tga", 10, 24, [packet], width=WIDTH)
    tga("tga_rle_across_rows_whole.tga", 10, 24, packet * 2 + bytes([127]) * 1 + bytes(samples(13, 128 * 3, 255)))
    tga("bad_tga_rle_run_too_long.tga", 10, 24, (bytes([0x80 | 19]) + b"abc") * 11)
    tga("bad_tga_truncated.tga", 2, 24, bytes(WIDTH * HEIGHT * 3 - 1))
    tga("bad_tga_rle_truncated.tga", 10, 24, (bytes([0x80 | 18]) + b"abc") * 10 + bytes([0x80 | 18]) + b"ab")
    tga("bad_tga_no_room_for_footer.tga", 2, 32, [b"abcd"], width=1)
    tga("bad_tga_colour_with_palette.tga", 2, 24, rows(14, 3), palette=(0, entries(8, 3, 256), 24))
    tga("bad_tga_large_palette.tga", 1, 8, rows(15, 1), palette=(1, entries(9, 3, 256), 24))
    tga("bad_tga_as_pcx.tga", 2, 24, rows(16, 3), identification=b"0123456789")
    tga("bad_tga_depth.tga", 2, 8, rows(17, 1))


def qois():
    picture = rgb(WIDTH, HEIGHT, 80)
    save("qoi_rgb.qoi", picture, "QOI")
    alpha = np.dstack([scene(WIDTH, HEIGHT, 81), scene(WIDTH, HEIGHT, 82, 1)])
    save("qoi_rgba.qoi", Image.fromarray(alpha), "QOI")
    flat = np.full((40, 50, 3), 200, np.uint8)
    flat[10:20, 3:40] = (1, 2, 3)
    save("qoi_runs.qoi", Image.fromarray(flat), "QOI")
    head = b"qoif" + struct.pack(">IIBB", 5, 1, 3, 0)
    # Whether the first pixel, that of a run, is remembered: Pillow does not, where the definition does.
    put("qoi_run_not_remembered.qoi", head + b"\xc0" + b"\xfe\7\7\7" + bytes([(255 * 11) % 64]) + b"\xc1")
    put("qoi_run_past_the_end.qoi", head + b"\xfe\1\2\3" + b"\xfd")
    put("qoi_no_end_marker.qoi", head + b"\xfe\1\2\3\x6a\x7f\xa0\x88\0")
    put("bad_qoi_truncated.qoi", head + b"\xfe\1\2\3\xfe\1")
    put("bad_qoi_no_pixels.qoi", b"qoif" + struct.pack(">IIBB", 0, 1, 3, 0) + bytes(9))


def icon(name, pictures, cut=None):
    """`pictures`: width, height, colours and bits as the directory has them, and the bytes."""
    at = 6 + 16 * len(pictures)
    lines = data = b""
    for width, height, colors, bits, picture in pictures:
        lines += struct.pack("<BBBBHHII", width & 255, height & 255, colors, 0, 1, bits, len(picture), at + len(data))
        data += picture
    return put(name, (b"\0\0\1\0" + struct.pack("<H", len(pictures)) + lines + data)[:cut])


def dib(image, bits):
    """An icon's bitmap: of an image in a mode that Pillow writes, and a mask."""
    stream = io.BytesIO()
    image.save(stream, "DIB")
    data = bytearray(stream.getvalue())
    struct.pack_into("<i", data, 8, 2 * image.height)
    mask = b"" if bits == 32 else bytes((image.width + 31) // 32 * 4 * image.height)
    return image.width, image.height, 0, bits, bytes(data) + mask


def icos():
    def png(image):
        stream = io.BytesIO()
        image.save(stream, "PNG")
        return image.width, image.height, 0, 32, stream.getvalue()

    picture = rgb(64, 64, 90)
    save("ico_pngs.ico", picture.convert("RGBA"), "ICO", sizes=[(16, 16), (48, 48), (64, 64)])
    save("ico_bitmaps.ico", picture.convert("RGBA"), "ICO", sizes=[(16, 16), (32, 32)], bitmap_format="bmp")
    save("ico_256.ico", rgb(256, 256, 91).quantize(20).convert("RGB"), "ICO", sizes=[(256, 256)])
    small = picture.crop((0, 0, 21, 13))
    icon("ico_24.ico", [dib(small, 24)])
    icon("ico_8.ico", [dib(small.quantize(30), 8)])
    icon("ico_gray.ico", [dib(small.convert("L"), 8)])
    icon("ico_bits.ico", [dib(small.convert("1"), 1)])
    icon("ico_32.ico", [dib(small.convert("RGBA"), 32)])
    icon("ico_png_gray16.ico", [png(gray(21, 13, 92).convert("I;16"))])
    icon("ico_png_palette.ico", [png(small.quantize(30))])
    icon("ico_other_size.ico", [(99, 99, 0, 32, png(small)[4])])
    # Of two as large the one of fewer bits; of those the first.
    other = rgb(21, 13, 93)
    icon("ico_fewest_bits.ico", [dib(small.convert("RGBA"), 32), dib(other, 24), dib(small, 24)])
    icon("ico_fewest_colours.ico", [(21, 13, 17, 0, dib(small, 24)[4]), (21, 13, 16, 0, dib(other, 24)[4])])
    icon("ico_largest.ico", [dib(small, 24), png(picture), dib(other, 24)])
    icon("bad_ico_no_pictures.ico", [])
    icon("bad_ico_directory.ico", [dib(small, 24)], cut=20)
    icon("bad_ico_truncated.ico", [dib(small, 24)], cut=400)
    # The mask is at the end of the entry, wherever that is, and its last padding may be missing.
    icon("ico_mask_among_pixels.ico", [(*dib(small, 24)[:4], dib(small, 32)[4])])
    icon("ico_mask_without_padding.ico", [dib(small, 24)], cut=-1)
    icon("bad_ico_mask_truncated.ico", [dib(small, 24)], cut=-2)
    icon("bad_ico_png_truncated.ico", [png(small)], cut=-40)


if __name__ == "__main__":
    import hashlib
    print(hashlib.sha256(Image.open(io.BytesIO(blocks())).convert("RGB").tobytes()).hexdigest())
