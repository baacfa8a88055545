"""Whether the pages hold: links lead somewhere, and commands marked `<!-- run -->` end with status 0.

    python3 docs/check.py                    # links and anchors alone
    python3 docs/check.py target/release     # and the commands, with that folder's `resnest`, from the repository's root

Of a marked block the lines after `$ ` are run, one shell each; what they print is not compared.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / name for name in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"]] + sorted((ROOT / "docs").glob("*.md"))
MARKED = re.compile(r"<!-- run -->\n+```console\n(.*?)```", re.S)


def anchors(text):
    """GitHub's names of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(page):
    """Relative links of a page that lead nowhere."""
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
            yield target


def failing_commands(page, folder):
    """Marked commands that end with another status than 0."""
    path = f"{Path(folder).resolve()}{os.pathsep}{os.environ['PATH']}"
    for block in MARKED.findall(page.read_text()):
        for command in re.findall(r"^\$ (.*)$", block, re.M):
            ran = subprocess.run(command, shell=True, cwd=workplace(), env={**os.environ, "PATH": path}, capture_output=True, text=True)
            if ran.returncode:
                yield f"{command}\n{ran.stderr}"


def workplace():
    """A new folder that looks like the repository's root, so that results do not lie about in that."""
    folder = Path(tempfile.mkdtemp())
    for entry in ROOT.iterdir():
        (folder / entry.name).symlink_to(entry)
    return folder


def main(folder=None):
    problems = [f"{page.name}: dead link {link}" for page in PAGES for link in dead_links(page)]
    if folder:
        problems += [f"{page.name}: {failed}" for page in PAGES for failed in failing_commands(page, folder)]
    print("\n".join(problems) or f"{len(PAGES)} pages hold")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main(*sys.argv[1:])
