"""The page of `resnest serve` in Chromium: python3 tests/serve/page.py BASE_URL SCREENSHOT_DIR

BASE_URL is a running `resnest serve --model demo` without an API key. Everything is done as a visitor does it: a file
is dragged in, a picture pasted from the clipboard, a sample taken with the keyboard. What the page shows is held against
the server's own answers, asked for here without the page. Prints a line for each check; exits with 1 and says what was
wrong if one fails.

Needs: pip install playwright==1.65.2 (tried with), and a Chromium (Debian: apt-get install chromium; another place: the
environment variable CHROMIUM). With curl on the path, and the Python packages requests and huggingface_hub, the lines
the page gives for them are run too.
"""

import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from playwright.sync_api import TimeoutError, expect, sync_playwright

PHOTOS = Path(__file__).parents[2] / "crates/resnest/demo/photos"
QUERY = "topk=5&cam=true&splits=true"
DONE = "body[data-stage=answered], body[data-stage=failed]"
# A pixel of the canvas, and a number for all of them together.
PIXEL = "([x, y]) => [...document.querySelector('#canvas').getContext('2d').getImageData(x, y, 1, 1).data]"
DRAWN = """() => { const { width, height } = document.querySelector('#canvas');
  const { data } = document.querySelector('#canvas').getContext('2d').getImageData(0, 0, width, height);
  return [width, height, data.reduce((sum, value, at) => (sum * 31 + value + at) % 4294967291, 7)] }"""


class Wrong(Exception):
    """A check that failed."""


def must(condition, message):
    if not condition:
        raise Wrong(message)


class Visit:
    """A page in a window of its own, and what the browser complained about in it."""

    def __init__(self, browser, base, width=1280, height=900, **options):
        self.base = base
        self.context = browser.new_context(viewport={"width": width, "height": height}, **options)
        self.context.set_default_timeout(20_000)
        self.page = self.context.new_page()
        self.complaints = []
        # The statuses that a check brings about on purpose; Chromium writes each to the console.
        self.expected = set()
        self.page.on("console", self.hear)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation',"
            " e => console.error('CSP: ' + e.violatedDirective + ' ' + e.blockedURI))"
        )

    def hear(self, message):
        expected = any(f"status of {status} " in message.text for status in self.expected)
        # Said of this test, which looks at the canvas's pixels.
        expected |= message.text.startswith("Canvas2D: Multiple readback operations")
        if message.type in ("error", "warning") and not expected:
            self.complaints.append(f"{message.type}: {message.text}")

    def __enter__(self):
        self.page.goto(self.base)
        self.page.wait_for_load_state("networkidle")
        return self

    def __exit__(self, kind, *_):
        self.context.close()
        if kind is None:
            must(not self.complaints, f"the browser complained: {self.complaints}")

    def answered(self):
        try:
            self.page.wait_for_selector("body[data-stage=answered]")
        except TimeoutError:
            raise Wrong(f"no answer came; the page says: {self.page.inner_text('main')}") from None

    def choose(self, name, body):
        """A file by the button; waits for the answer."""
        self.page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": body})
        self.page.wait_for_selector(DONE)

    def drop(self, path):
        """Drags a file from the desktop onto the page: the browser's own event, not one made by a script."""
        session = self.context.new_cdp_session(self.page)
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        send = lambda kind: session.send("Input.dispatchDragEvent", {"type": kind, "x": 180, "y": 300, "data": data})
        send("dragEnter")
        # A drag goes on telling where it is, and the browser skips what comes before its first frame.
        for _ in range(20):
            send("dragOver")
            if self.page.locator("body.dragging").count():
                break
            self.page.wait_for_timeout(100)
        else:
            raise Wrong("the page does not see that a file is dragged over it")
        send("drop")

    def fits(self, where):
        wide, window = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        must(wide <= window, f"{where}: {wide} pixels wide in a window of {window}")


def ask(base, path, body=None):
    """The server's answer without the page: status and JSON."""
    request = urllib.request.Request(base + path, data=body, headers={"Content-Type": "application/octet-stream"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def classify(base, body):
    status, answer = ask(base, f"classify?{QUERY}", body)
    must(status == 200, f"the server answered {status}: {answer}")
    return answer


def percent(score):
    if 0 < score < 0.0005:
        return "< 0.1%"
    return "> 99.9%" if 0.9995 <= score < 1 else f"{score * 100:.1f}%"


def compare(visit, answer):
    """The rows on the page are the predictions of a direct answer, in order, with the same scores."""
    rows = visit.page.locator(".prediction")
    predictions = answer["predictions"]
    must(rows.count() == len(predictions) == 5, f"{rows.count()} rows for {len(predictions)} predictions")
    for place, prediction in enumerate(predictions):
        row = rows.nth(place)
        words = (prediction["description"] or prediction["label"]).split(",")[0]
        shown = row.locator("b").inner_text(), row.locator(".score").inner_text()
        score = float(row.locator(".score").get_attribute("value"))
        must(shown[0] == words, f"row {place} says {shown[0]!r}, the server {words!r}")
        must(abs(score - prediction["score"]) < 1e-5, f"row {place}: {score}, the server {prediction['score']}")
        # A score in the middle of two roundings may fall to either side.
        nearby = {percent(prediction["score"] + move) for move in (-1e-6, 0, 1e-6)}
        must(shown[1] in nearby, f"row {place} says {shown[1]!r} for {prediction['score']}")


def set_opacity(visit, value):
    visit.page.locator("#opacity").fill(str(value))
    expect(visit.page.locator("#opacity-value")).to_have_text(f"{value}%")


def check_map(visit, answer):
    """At full strength the map is darkest red in the middle of its greatest cell, and ends where the window ends."""
    window, image = answer["window"], answer["image"]
    cam = answer["predictions"][0]["cam"]
    peak = max(range(len(cam["values"])), key=cam["values"].__getitem__)
    row, column = divmod(peak, cam["columns"])
    set_opacity(visit, 100)
    scale = visit.page.evaluate("document.querySelector('#canvas').width") / image["width"]
    at = lambda x, y: visit.page.evaluate(PIXEL, [int(x * scale), int(y * scale)])[:3]
    x = window["x"] + window["width"] * (column + 0.5) / cam["columns"]
    y = window["y"] + window["height"] * (row + 0.5) / cam["rows"]
    color = at(x, y)
    must(all(abs(a - b) < 40 for a, b in zip(color, (122, 4, 3))), f"{color} where the map is greatest ({x}, {y})")
    outside = (window["x"] / 2, image["height"] / 2)
    before = at(*outside)
    set_opacity(visit, 0)
    must(before == at(*outside), "the map reaches beyond what the model saw")
    must(color != at(x, y), "the photo does not show without the map")
    set_opacity(visit, 60)


def check_drop(browser, base, shots):
    photo = PHOTOS / "chelsea.png"
    answer = classify(base, photo.read_bytes())
    for scheme, width in (("light", 1280), ("dark", 1280), ("narrow", 360)):
        color = "light" if scheme == "narrow" else scheme
        with Visit(browser, base, width=width, color_scheme=color) as visit:
            visit.page.screenshot(path=shots / f"{scheme}-empty.png", full_page=True)
            visit.fits(f"{scheme}, empty")
            visit.drop(photo)
            visit.answered()
            compare(visit, answer)
            expect(visit.page.locator("#photo-name")).to_have_text("chelsea.png")
            blocks = visit.page.locator("#splits-blocks li")
            must(blocks.count() == len(answer["splits"]), f"{blocks.count()} blocks for {len(answer['splits'])}")
            check_map(visit, answer)
            visit.fits(f"{scheme}, answered")
            for tab in ("tab-requests", "tab-hub", "tab-curl"):
                visit.page.click(f"#{tab}")
                visit.fits(f"{scheme}, {tab}")
            # The pointer away from everything, so that nothing is shown as hovered.
            visit.page.mouse.move(0, 0)
            visit.page.screenshot(path=shots / f"{scheme}.png", full_page=True)


def check_paste(browser, base, _):
    photo = (PHOTOS / "horse.png").read_bytes()
    with Visit(browser, base, permissions=["clipboard-read", "clipboard-write"]) as visit:
        copy = """async (address) => { const blob = await (await fetch(address)).blob();
          await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]) }"""
        visit.page.evaluate(copy, "samples/horse.png")
        visit.page.keyboard.press("Control+V")
        visit.answered()
        best = visit.page.locator(".prediction b").first.inner_text()
        # The clipboard writes the picture anew, so only its pixels are the same, and not those under the alpha.
        must(best, "nothing was recognised")
        expect(visit.page.locator("#photo-size")).to_contain_text("400 × 328")
        # As a file copied in a file manager is pasted: the very bytes.
        paste = """(bytes) => { const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], "horse.png", { type: "image/png" }));
          document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true })) }"""
        visit.page.evaluate(paste, list(photo))
        expect(visit.page.locator("#photo-name")).to_have_text("horse.png")
        visit.answered()
        compare(visit, classify(base, photo))


def focus_by_keyboard(visit, selector):
    for _ in range(40):
        visit.page.keyboard.press("Tab")
        focused = visit.page.locator(f"{selector}:focus-visible")
        if focused.count():
            return focused
    raise Wrong(f"the Tab key never came to {selector}")


def check_keyboard(browser, base, _):
    with Visit(browser, base) as visit:
        page = visit.page
        focus_by_keyboard(visit, "#file")
        focus_by_keyboard(visit, "[data-sample='horse.png']")
        page.keyboard.press("Enter")
        visit.answered()
        answer = classify(base, (PHOTOS / "horse.png").read_bytes())
        compare(visit, answer)
        best = page.locator(".prediction b").first.inner_text()
        must(best in page.inner_text("#status"), f"{best} is not in what is read aloud")
        drawn = page.evaluate(DRAWN)
        focus_by_keyboard(visit, "#opacity")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#opacity-value")).to_have_text("61%")
        must(page.evaluate(DRAWN) != drawn, "the map's strength changes nothing")
        page.keyboard.press("ArrowLeft")
        focus_by_keyboard(visit, "[name=map]")
        page.keyboard.press("ArrowDown")
        second = page.locator(".prediction b").nth(1).inner_text()
        expect(page.locator("#map-class")).to_have_text(second)
        must(second in page.get_attribute("#canvas", "aria-label"), "the canvas does not say whose map it shows")
        must(page.evaluate(DRAWN) != drawn, "the second class has the first one's map")
        focus_by_keyboard(visit, "#tab-curl")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#tab-requests")).to_be_focused()
        expect(page.locator("#code")).to_contain_text("import requests")


def check_broken(browser, base, shots):
    broken = b"\xff\xd8\xff\xe0 this is not a photo"
    status, answer = ask(base, f"classify?{QUERY}", broken)
    must(status == 422, f"the server answers {status} to a broken photo")
    with Visit(browser, base) as visit:
        visit.expected = {422}
        visit.choose("broken.jpg", broken)
        expect(visit.page.locator("#error")).to_be_visible()
        expect(visit.page.locator("#error-title")).to_contain_text("422")
        expect(visit.page.locator("#error-text")).to_contain_text(answer["error"])
        expect(visit.page.locator("#results")).to_be_hidden()
        visit.page.screenshot(path=shots / "broken.png", full_page=True)
        visit.page.click("[data-sample='chelsea.png']")
        visit.answered()
        expect(visit.page.locator("#error")).to_be_hidden()


def check_unshowable(browser, base, _):
    """A file that the server reads and the browser does not."""
    pixels = bytes(value for y in range(48) for x in range(64) for value in (x * 4, y * 5, 90))
    photo = b"P6 64 48 255\n" + pixels
    with Visit(browser, base) as visit:
        visit.choose("photo.ppm", photo)
        visit.answered()
        compare(visit, classify(base, photo))
        expect(visit.page.locator("#no-photo")).to_be_visible()
        expect(visit.page.locator("#photo-size")).to_contain_text("64 × 48")


def exif(orientation):
    """A TIFF header and a directory with the orientation alone."""
    return b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x112, 3, 1, orientation, 0, 0)


def check_turned(browser, base, _):
    """The server leaves photos as they lie in the file, so the page must show them so, or the map would not fit."""
    png = (PHOTOS / "chelsea.png").read_bytes()
    chunk = b"eXIf" + exif(6)
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    jpeg = (PHOTOS.parents[3] / "docs/cam.jpg").read_bytes()
    segment = b"Exif\0\0" + exif(8)
    segment = b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment
    # The PNG's header chunk ends at 33.
    pairs = {"a.png": (png, png[:33] + chunk + png[33:]), "a.jpg": (jpeg, jpeg[:2] + segment + jpeg[2:])}
    for name, (plain, turned) in pairs.items():
        with Visit(browser, base) as visit:
            visit.choose(name, plain)
            set_opacity(visit, 0)
            drawn = visit.page.evaluate(DRAWN)
            expect(visit.page.locator("#photo-note")).to_be_hidden()
            visit.choose(name, turned)
            expect(visit.page.locator("#photo-note")).to_be_visible()
            compare(visit, classify(base, turned))
            must(visit.page.evaluate(DRAWN) == drawn, f"{name}: the photo is turned by its EXIF block")


def check_key(browser, base, _):
    """A server that wants a key, by answering for it where the key is missing."""
    refusal = {"status": 401, "json": {"error": "an API key is needed"}}

    def guard(route):
        right = route.request.headers.get("authorization") == "Bearer sesame"
        route.continue_() if right else route.fulfill(**refusal)

    with Visit(browser, base) as visit:
        page, visit.expected = visit.page, {401}
        page.route("**/classify?*", guard)
        page.route("**/v2/models", guard)
        expect(page.locator("#key-form")).to_be_hidden()
        page.click("[data-sample='chelsea.png']")
        expect(page.locator("#key")).to_be_focused()
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#key-why")).to_contain_text("not accept")
        page.fill("#key", "sesame")
        page.keyboard.press("Enter")
        visit.answered()
        expect(page.locator("#key-form")).to_be_hidden()
        expect(page.locator("#code")).to_contain_text("$RESNEST_API_KEY")
        must("sesame" not in page.inner_text("#code"), "the key itself is in the lines to copy")
        page.reload()
        page.click("[data-sample='horse.png']")
        visit.answered()


def check_models(browser, base, _):
    """Two models, the second without maps and splits, played by the one the server has."""
    models = [{"name": name, "ready": True, "classes": 10, "input_size": [48, 48]} for name in ("demo", "plain one")]
    asked = []

    def play(route):
        address = urlsplit(route.request.url)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        asked.append(dict(query))
        if query.pop("model") == "plain one" and "cam" in query:
            route.fulfill(status=400, json={"error": "the model 'plain one' has no maps"})
            return
        response = route.fetch(url=urlunsplit(address._replace(query=urlencode(query))))
        answer = response.json()
        if "cam" not in query:
            answer["splits"] = []
        route.fulfill(response=response, json=answer)

    with Visit(browser, base) as visit:
        page, visit.expected = visit.page, {400}
        page.route("**/v2/models", lambda route: route.fulfill(json={"models": models}))
        page.route("**/classify?*", play)
        page.reload()
        expect(page.locator("#model")).to_be_visible()
        page.click("[data-sample='chelsea.png']")
        visit.answered()
        expect(page.locator("#map-strength")).to_be_visible()
        page.select_option("#model", "plain one")
        page.wait_for_selector("#splits", state="hidden")
        visit.answered()
        expect(page.locator("#map-strength")).to_be_hidden()
        compare(visit, classify(base, (PHOTOS / "chelsea.png").read_bytes()))
        must([one["model"] for one in asked] == ["demo", "plain one", "plain one"], f"asked for {asked}")
        expect(page.locator("#code")).to_contain_text("model=plain+one")


def check_unreachable(browser, base, _):
    with Visit(browser, base) as visit:
        page = visit.page
        page.route("**/classify?*", lambda route: route.abort())
        page.click("[data-sample='chelsea.png']")
        expect(page.locator("#error-title")).to_have_text("No answer came")
        must(all("ERR_FAILED" in one for one in visit.complaints), f"the browser complained: {visit.complaints}")
        visit.complaints.clear()
        page.unroute("**/classify?*")
        page.click("#again")
        visit.answered()


def run_lines(name, lines, folder):
    """What the lines print, run as a visitor would paste them."""
    command = ["sh", "-ec", lines] if name == "curl" else [sys.executable, "-c", lines]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    must(done.returncode == 0, f"the lines for {name} fail:\n{lines}\n{done.stderr}")
    return done.stdout


def check_lines(browser, base, _):
    """The lines that the page gives are copied and run, for a file whose name needs its quotes."""
    photo = (PHOTOS / "chelsea.png").read_bytes()
    answer = classify(base, photo)
    best = answer["predictions"][0]
    words = best["description"] or best["label"]
    with tempfile.TemporaryDirectory() as folder:
        with Visit(browser, base, permissions=["clipboard-read", "clipboard-write"]) as visit:
            for name in ("it's \"one\".png", "chelsea.png"):
                if name == "chelsea.png":
                    visit.page.click("[data-sample='chelsea.png']")
                    expect(visit.page.locator("#photo-name")).to_have_text(name)
                    visit.answered()
                else:
                    (Path(folder) / name).write_bytes(photo)
                    visit.choose(name, photo)
                for tab, needs in (("curl", "curl"), ("requests", "requests"), ("hub", "huggingface_hub")):
                    has = shutil.which("curl") if needs == "curl" else importlib.util.find_spec(needs)
                    if not has:
                        print(f"     (without {needs} its lines were not run)")
                        continue
                    visit.page.click(f"#tab-{tab}")
                    visit.page.click("#copy")
                    expect(visit.page.locator("#copy")).to_have_text("Copied")
                    lines = visit.page.evaluate("navigator.clipboard.readText()")
                    must(lines == visit.page.inner_text("#code"), "what was copied is not what is shown")
                    printed = run_lines(needs, lines, folder)
                    if tab == "curl":
                        got = json.loads(printed)["predictions"]
                        must(got == answer["predictions"], f"curl's answer differs: {printed[:300]}")
                    else:
                        first = printed.splitlines()[0]
                        must(words in first and f"{best['score']:.2%}" in first, f"{needs} prints {first!r}")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    base = sys.argv[1].rstrip("/") + "/"
    shots = Path(sys.argv[2])
    shots.mkdir(parents=True, exist_ok=True)
    checks = [check_drop, check_paste, check_keyboard, check_broken, check_unshowable, check_turned, check_key]
    checks += [check_models, check_unreachable, check_lines]
    failed = []
    with sync_playwright() as playwright:
        executable = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for check in checks:
            name = check.__name__.removeprefix("check_")
            try:
                check(browser, base, shots)
                print(f"ok   {name}", flush=True)
            except Exception as error:  # an assertion of Playwright's, its time-out, or Wrong
                words = str(error).split("\nAria snapshot")[0].strip()
                print(f"FAIL {name}: {words}", flush=True)
                failed.append(name)
        browser.close()
    if failed:
        sys.exit(f"the page failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
