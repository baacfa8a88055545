"""The examples in docstrings run, and print what they say."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

import resnest_rs
import resnest_rs._classifier
import resnest_rs._results
import resnest_rs._timm
from helpers import DEMO_PHOTOS

MODULES = [resnest_rs, resnest_rs._classifier, resnest_rs._results, resnest_rs._timm]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_docstrings(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DEMO_PHOTOS)
    # Classes say that they are of the package, which is where doctest would then look for them: by name, here.
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    tests = finder.find(module, module.__name__)
    if module is resnest_rs:
        for name in resnest_rs.__all__:
            tests += finder.find(getattr(resnest_rs, name), name, module=False, globs=vars(resnest_rs) | {"resnest_rs": resnest_rs})
    for test in tests:
        test.globs = dict(vars(resnest_rs), resnest_rs=resnest_rs)
        runner.run(test)
    assert runner.failures == 0
    if module is resnest_rs:
        assert runner.tries > 3


def test_everything_public_is_documented() -> None:
    missing = []
    for name in resnest_rs.__all__:
        one = getattr(resnest_rs, name)
        if not one.__doc__:
            missing.append(name)
        if isinstance(one, type):
            for member, value in vars(one).items():
                if not member.startswith("_") and callable(getattr(one, member)) and not value.__doc__:
                    missing.append(f"{name}.{member}")
    assert not missing
