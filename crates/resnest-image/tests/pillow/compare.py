"""Makes pictures of every kind, damages some, and compares this crate's pixels with Pillow's.

    cargo build --release --locked -p resnest-image --example pixels
    python crates/resnest-image/tests/pillow/compare.py --count 2000 --formats jpeg --seed 1

Picture N of a seed is always the same one: `--first N --count 1 --verbose` makes it again. Files that are
read otherwise than Pillow reads them, and a few of each other disagreement, are kept in `--keep`.
The status is 1 if any picture is quietly different, or the server died or hung.
"""

import argparse
import hashlib
import io
import os
import re
import select
import subprocess
import sys
import tempfile
import warnings
import zlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

import registry

ROOT = Path(__file__).resolve().parents[4]
# Beginnings of the errors that name a kind of file as one that is not read.
BY_NAME = ("unsupported ", "unknown image format", "the image file is empty")
COLUMNS = ["equal", "both refuse", "by name", "only Pillow reads", "only we read", "different", "died"]


class Server:
    """`examples/pixels.rs`, started again when it dies or hangs."""

    def __init__(self, path, patience=60):
        self.path, self.patience, self.process = path, patience, None

    def ask(self, line):
        if self.process is None:
            self.process = subprocess.Popen([self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL)
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def answer(self):
        ready, _, _ = select.select([self.process.stdout], [], [], self.patience)
        line = self.process.stdout.readline().decode(errors="replace").strip() if ready else ""
        if line:
            return line
        self.process.kill()
        status, self.process = self.process.wait(), None
        return f"died with status {status}" if ready else "died: no answer"


TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
         5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}


def turned(image, pixels):
    """As `ImageOps.exif_transpose` turns, which also writes the EXIF block and may fail at that."""
    try:
        turn = TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:  # noqa: BLE001 - no EXIF block to Pillow
        turn = None
    return pixels if turn is None else pixels.transpose(turn)


def of_pillow(data, mode, most, upright=False):
    """(`ok WIDTH HEIGHT SHA256`, None) or (None, error), or None for pictures too large to compare."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > most:
                return None
            pixels = image.convert(mode)
            if upright:
                pixels = turned(image, pixels)
        return f"ok {pixels.width} {pixels.height} {hashlib.sha256(pixels.tobytes()).hexdigest()}", None
    except Exception as error:  # noqa: BLE001 - the kind of error is Pillow's affair
        return None, f"{type(error).__name__}: {error}"


def verdict(ours, pillow, error):
    if ours.startswith("died"):
        return "died"
    read = ours.startswith("ok")
    if read and pillow:
        return "equal" if ours == pillow else "different"
    if read:
        return "only we read"
    if error:
        return "both refuse"
    return "by name" if ours.removeprefix("error ").startswith(BY_NAME) else "only Pillow reads"


def reason(column, ours, error):
    """A line to count by: numbers and names are taken out."""
    text = error if column == "only we read" else ours.removeprefix("error ")
    text = re.sub(r"<[^>]*>|'[^']*'|b\"[^\"]*\"", "_", text.splitlines()[0] if text else "")
    if column == "different":
        return "other size" if ours.split()[1:3] != error.split()[1:3] else "other pixels"
    return re.sub(r"0x[0-9a-f]+|\d+|\b([0-9a-f]{2} )+", "N", text)[:110]


def make(seed, number, formats, kinds, damaged):
    """Picture `number`: its format, its name (the kind and the mutations) and its bytes."""
    fmt = formats[number % len(formats)]
    rng = np.random.default_rng([seed, number, zlib.crc32(fmt.encode())])
    names = [n for n in registry.MAKERS[fmt] if not kinds or n in kinds]
    kind = registry.pick(rng, names)
    data = registry.MAKERS[fmt][kind](rng)
    if isinstance(data, tuple):
        kind, data = data
    if not registry.chance(rng, damaged):
        return fmt, kind, data
    own = registry.MUTATORS.get(fmt, {})
    for _ in range(int(rng.integers(1, 3))):
        mutators = own if own and registry.chance(rng, 0.6) else registry.MUTATORS["any"]
        name = registry.pick(rng, list(mutators))
        data = mutators[name](rng, data)
        kind += f"+{name}"
    return fmt, kind, data


class Report:
    def __init__(self, keep, examples):
        self.keep, self.examples = keep, examples
        self.counts = defaultdict(Counter)
        self.reasons = defaultdict(list)

    def add(self, fmt, kind, number, data, column, why):
        self.counts[fmt][column] += 1
        self.counts[fmt]["made"] += 1
        if column in ("equal", "both refuse"):
            return
        seen = self.reasons[column, fmt, why]
        seen.append(f"{number} {kind}")
        if column in ("different", "died") or len(seen) <= self.examples:
            folder = self.keep / column.replace(" ", "_")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}_{kind[:80]}.{fmt}").write_bytes(data)

    def show(self):
        columns = ["made", *COLUMNS, "too large"]
        print("| format | " + " | ".join(columns) + " |")
        print("|---" * (len(columns) + 1) + "|")
        for fmt, counts in self.counts.items():
            print(f"| {fmt} | " + " | ".join(str(counts[c]) for c in columns) + " |")
        for column in COLUMNS:
            rows = [(len(seen), fmt, why, seen) for (c, fmt, why), seen in self.reasons.items() if c == column]
            for count, fmt, why, seen in sorted(rows, reverse=True):
                kinds = Counter(s.split()[1].split("+")[0] for s in seen).most_common(4)
                print(f"{column}: {count} {fmt}: {why}  [{', '.join(f'{k} {n}' for k, n in kinds)}; e.g. {seen[0]}]")


def run(args, server, folder):
    report = Report(args.keep, args.examples)
    for number in range(args.first, args.first + args.count):
        fmt, kind, data = make(args.seed, number, args.formats, args.kinds, args.damaged)
        path = Path(folder) / f"picture.{fmt}"
        path.write_bytes(data)
        mode = "luma" if number % 5 == 4 else "rgb"
        expected = of_pillow(data, "L" if mode == "luma" else "RGB", args.most_pixels, args.upright)
        if expected is None:
            report.counts[fmt].update({"made": 1, "too large": 1})
            continue
        server.ask(f"{'upright' if args.upright else 'decode'}\t{mode}\t{path}")
        ours = server.answer()
        column = verdict(ours, *expected)
        report.add(fmt, kind, number, data, column, reason(column, ours, expected[1] or expected[0]))
        if args.verbose:
            print(number, kind, len(data), column, ours, *expected, sep="\n  ", flush=True)
    return report


def quiet():
    """C libraries' warnings are not wanted; Python's own errors are."""
    sys.stderr = os.fdopen(os.dup(2), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    warnings.simplefilter("ignore")


def main():
    registry.load()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--formats", type=words, default=list(registry.MAKERS))
    parser.add_argument("--kinds", type=words, default=[], help="makers by name; default all")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--damaged", type=float, default=0.5, help="part of the pictures that are mutated")
    parser.add_argument("--most-pixels", type=int, default=4_000_000, help="larger pictures are left out")
    parser.add_argument("--keep", type=Path, default=ROOT / "target/compare")
    parser.add_argument("--examples", type=int, default=3, help="files kept of each reason")
    parser.add_argument("--server", type=Path, default=ROOT / "target/release/examples/pixels")
    parser.add_argument("--upright", action="store_true", help="turned by the EXIF orientation")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    quiet()
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        report = run(args, Server(args.server), folder)
    report.show()
    sys.exit(any(counts["different"] or counts["died"] for counts in report.counts.values()))


if __name__ == "__main__":
    main()
