"""PNG, WebP, GIF, BMP and TIFF for `compare.py`: the makers of `mutants_*.py`."""

from mutants_gif_bmp import bmp, gif
from mutants_png import png
from mutants_tiff import tiff
from mutants_webp import webp
from registry import adopt

for function in (png, webp, gif, bmp, tiff):
    adopt(function.__name__, function)
