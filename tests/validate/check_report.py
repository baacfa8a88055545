"""Opens a report of `resnest validate --report` in a headless Chromium: widths, colours, pictures; takes screenshots.

    python tests/validate/check_report.py REPORT.html FOLDER [--chromium chromium]

For wide and narrow windows, light and dark, checks that nothing is wider than the window, that every picture was decoded
and that text stands out from what is behind it, and writes a screenshot to FOLDER. Not part of CI.
"""

import argparse
import json
import re
import subprocess
import tempfile
from pathlib import Path

PROBE = """
<script>
addEventListener("load", () => {
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const shade = ([r, g, b]) => {
    const linear = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const ink = element => shade(numbers(getComputedStyle(element).color));
  const card = shade(numbers(getComputedStyle(document.querySelector(".card")).backgroundColor));
  document.querySelectorAll("img").forEach(image => image.loading = "eager");
  setTimeout(() => {
    document.body.setAttribute("data-probe", JSON.stringify({
      window: innerWidth,
      page: document.documentElement.scrollWidth,
      height: document.documentElement.scrollHeight,
      images: document.images.length,
      broken: [...document.images].filter(image => !image.complete || !image.naturalWidth).length,
      contrast: Math.min(contrast(ink(document.body), card), contrast(ink(document.querySelector(".card .soft")), card)),
      links: [...document.querySelectorAll("[src], link")].filter(e => !(e.src || "").startsWith("data:")).length,
    }));
  }, 1000);
});
</script>
"""


def run(chromium, page, width, height, dark, *more):
    command = [
        chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=8000",
        f"--window-size={width},{height}", f"--blink-settings=preferredColorScheme={0 if dark else 1}", *more, f"file://{page}",
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chromium", default="chromium")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        probed = Path(scratch) / "probed.html"
        probed.write_text(args.report.read_text().replace("</body>", PROBE + "</body>"))
        for width in (1200, 500):
            for dark in (False, True):
                dom = run(args.chromium, probed, width, 900, dark, "--dump-dom")
                probe = json.loads(re.search(r'data-probe="([^"]*)"', dom)[1].replace("&quot;", '"'))
                print(width, "dark" if dark else "light", probe)
                assert probe["page"] <= probe["window"], "wider than the window"
                assert probe["broken"] == 0 and probe["images"] > 0, "a picture that cannot be shown"
                assert probe["contrast"] >= 4.5, "text too faint"
                assert probe["links"] == 0, "something from outside"
                shot = args.folder / f"{width}-{'dark' if dark else 'light'}.png"
                run(args.chromium, args.report.resolve(), width, min(probe["height"], 6000), dark, f"--screenshot={shot}")


if __name__ == "__main__":
    main()
