"""Files made and damaged at random, a few of each format; `compare.py` tries many more of the same."""

import random

from mutants_gif_bmp import bmp, gif
from mutants_ico import ico
from mutants_png import png
from mutants_pnm import pnm
from mutants_qoi import qoi
from mutants_tga import tga
from mutants_tiff import tiff
from mutants_webp import webp
from synth import FILES

MAKERS = {"png": (png, "png"), "webp": (webp, "webp"), "gif": (gif, "gif"), "bmp": (bmp, "bmp"), "tiff": (tiff, "tif"),
          "pnm": (pnm, "pnm"), "tga": (tga, "tga"), "qoi": (qoi, "qoi"), "ico": (ico, "ico")}

# Files a format, and the most bytes of one.
COUNT, LARGEST = 70, 6000


def made():
    for name, (maker, extension) in MAKERS.items():
        kept, index = 0, 0
        while kept < COUNT:
            what, data = maker(random.Random(f"{name} {index}"))
            index += 1
            if len(data) <= LARGEST:
                (FILES / f"made_{what}_{kept:02}.{extension}").write_bytes(data)
                kept += 1
