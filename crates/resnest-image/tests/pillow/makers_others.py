"""PNG, WebP, GIF, BMP, TIFF, PNM, TGA, QOI and ICO for `compare.py`: the makers of `mutants_*.py`."""

from mutants_gif_bmp import bmp, gif
from mutants_ico import ico
from mutants_png import png
from mutants_pnm import pnm
from mutants_qoi import qoi
from mutants_tga import tga
from mutants_tiff import tiff
from mutants_webp import webp
from registry import adopt

for function in (png, webp, gif, bmp, tiff, pnm, tga, qoi, ico):
    adopt(function.__name__, function)
