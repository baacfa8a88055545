"""The programs of docs/python.md and of the README, as they stand there, print what they say."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from helpers import DEMO_PHOTOS, REPOSITORY


def blocks(page: Path, language: str) -> list[str]:
    """What a page has between fences of this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def said(program: str) -> list[str]:
    """What the comments behind `print` say that it prints; of one with an ellipsis what is before that."""
    return re.findall(r"^print\(.*\)  +# (.*?)(?:\.\.\..*)?$", program, re.MULTILINE)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the pages' files are."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    os.symlink(REPOSITORY / "crates", tmp_path / "crates")
    photos = [(DEMO_PHOTOS / name).read_bytes() for name in ("chelsea.png", "horse.png")]
    pq.write_table(pa.table({"bytes": pa.array([*photos, photos[0][:5000]], pa.binary())}), tmp_path / "photos.parquet")
    (tmp_path / "cut.png").write_bytes(photos[0][:5000])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_on_python(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    programs = blocks(REPOSITORY / "docs" / "python.md", "python")
    assert len(programs) >= 3
    names: dict[str, Any] = {"files": [str(DEMO_PHOTOS / "horse.png"), "cut.png"]}
    printed: list[str] = []
    for program in programs:
        exec(compile(program, "docs/python.md", "exec"), names)
        lines = capsys.readouterr().out.splitlines()
        for line, start in zip(lines, said(program)):
            assert line.startswith(start), f"{line!r} is not {start!r}"
        printed += lines
    assert printed[0] == "cat 73.8%, frog 10.3%"
    assert printed[-1].startswith("cut.png image 1 (cut.png): "), printed[-1]
    answers = names["predictions"].to_arrow()
    assert [error is None for error in answers.column("error").to_pylist()] == [True, True, False]


def test_the_readme(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = REPOSITORY / "README.md"
    [program] = blocks(page, "python")
    exec(compile(program, "README.md", "exec"), {})
    assert capsys.readouterr().out in blocks(page, "text")
