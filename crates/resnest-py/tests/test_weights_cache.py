"""Packed weights that processes share: a folder by argument, by the environment, or none."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import resnest_rs

PHOTO = pathlib.Path(__file__).resolve().parents[2] / "resnest/demo/photos/chelsea.png"


def logits(cache: object) -> np.ndarray:
    return resnest_rs.Classifier("demo", threads=1, weights_cache=cache).logits(PHOTO)


def entries(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.glob("*.weights"))


def test_the_same_bits_made_found_and_without(tmp_path: pathlib.Path) -> None:
    without = logits(False)
    made = logits(tmp_path / "cache")
    (file,) = entries(tmp_path / "cache")
    before = file.stat()
    found = logits(str(tmp_path / "cache"))
    assert (without == made).all() and (made == found).all()
    after = file.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_damaged_file_is_noticed_and_made_anew(tmp_path: pathlib.Path) -> None:
    made = logits(tmp_path)
    (file,) = entries(tmp_path)
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    # As another file: one that is mapped must not be written to.
    file.unlink()
    file.write_bytes(damaged)
    file.chmod(0o600)
    assert (logits(tmp_path) == made).all()
    assert entries(tmp_path)[0].read_bytes() != bytes(damaged)


def test_create_model_has_it_too(tmp_path: pathlib.Path) -> None:
    x = resnest_rs.Classifier("demo", weights_cache=False).preprocess([PHOTO])
    plain = resnest_rs.create_model("demo", threads=1, weights_cache=False)(x)
    assert not entries(tmp_path)
    for _ in range(2):
        assert (resnest_rs.create_model("demo", threads=1, weights_cache=tmp_path)(x) == plain).all()
    assert len(entries(tmp_path)) == 1


@pytest.mark.parametrize("value", ["folder", "off"])
def test_the_environment_says_where(tmp_path: pathlib.Path, value: str) -> None:
    setting = str(tmp_path / "cache") if value == "folder" else "off"
    environment = {**os.environ, "RESNEST_WEIGHTS_CACHE": setting, "HOME": str(tmp_path)}
    code = "import resnest_rs; resnest_rs.Classifier('demo'); resnest_rs.Classifier('demo', weights_cache=False)"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert len(entries(tmp_path / "cache")) == (value == "folder")
    assert not (tmp_path / ".cache").exists()
