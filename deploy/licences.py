"""Prints the licences of every crate in the command, or in another package, each text once.

    python deploy/licences.py x86_64-unknown-linux-gnu [resnest-py]

The texts are the files in the crates' own packages (LICENSE*, COPYING*, NOTICE* and the like, also of a C library that
they bring along); a crate without any is listed by the name of its licence.
"""
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

NAMES = ("license", "licence", "copying", "notice", "copyright", "unlicense", "patents")
NOT_TEXT = {".rs", ".py", ".sh", ".png", ".h", ".c"}


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments, "--locked"], check=True, stdout=subprocess.PIPE, text=True).stdout


def texts(folder):
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name.lower().startswith(NAMES) and path.suffix.lower() not in NOT_TEXT:
            yield path.read_text(encoding="utf-8", errors="replace").strip()


def main():
    package = sys.argv[2] if len(sys.argv) > 2 else "resnest-cli"
    tree = cargo("tree", f"--package={package}", f"--target={sys.argv[1]}", "--edges=normal", "--prefix=none",
                 "--format={p}")
    used = {tuple(line.split()[:2]) for line in tree.splitlines() if line.strip()}
    packages = json.loads(cargo("metadata", "--format-version=1"))["packages"]
    by_text, listed = defaultdict(list), []
    for package in sorted(packages, key=lambda p: (p["name"], p["version"])):
        # those without a source are this repository's
        if package["source"] is None or (package["name"], "v" + package["version"]) not in used:
            continue
        crate = f"{package['name']} {package['version']}"
        listed.append(f"{crate}: {package['license'] or 'see its text'}, {package['repository'] or 'crates.io'}")
        for text in set(texts(Path(package["manifest_path"]).parent)):
            by_text[text].append(crate)
    print("The resnest command is built from these crates:\n")
    print("\n".join(listed))
    for text, crates in sorted(by_text.items(), key=lambda item: item[1]):
        print("\n" + "=" * 100)
        print("\n".join(crates) + "\n")
        print(text)


if __name__ == "__main__":
    main()
