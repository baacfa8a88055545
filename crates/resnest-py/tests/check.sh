#!/usr/bin/env bash
# The Python package as users get it: built, installed, tested. Called by `just python`; RESNEST_PYTHON says which Python.
#
# The environment is target/ci/python, made again when requirements.txt changes. The wheel is built by the release profile
# from the same target/ as everything else: what `just test` compiled is not compiled again.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$(cd ../.. && pwd)
venv=$root/target/ci/python
if ! cmp --quiet tests/requirements.txt "$venv/requirements.txt"; then
    "$RESNEST_PYTHON" -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement tests/requirements.txt
    cp tests/requirements.txt "$venv/"
fi
export PATH="$venv/bin:$PATH"
# For tests against torch and timm: RESNEST_TORCH is a folder of site-packages that has them.
if [ -n "${RESNEST_TORCH:-}" ]; then
    echo "$RESNEST_TORCH" > "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torch.pth"
fi

start=$SECONDS
part() {
    echo "-- $1: $((SECONDS - start)) s"
    start=$SECONDS
}
wheels=$root/target/wheels
rm -rf "$wheels"
maturin build --quiet --release --locked --interpreter "$venv/bin/python" --out "$wheels"
wheel=$(echo "$wheels"/*.whl)
pip install --quiet --disable-pip-version-check --force-reinstall --no-deps "$wheel"
part "built and installed"
python -m pytest -rs --timeout 300 tests --ignore tests/engines
# Of the engines themselves only what needs none of them: each has an environment of its own.
python -m pytest -rs --timeout 300 tests/engines
part pytest
tests/engines/check.sh "$wheel" daft
part "Daft (Ray and Spark are left out: tests/engines/check.sh WHEEL ray spark)"
# The stubs against the module; the package's own code; a user's, against what is installed.
python -m mypy.stubtest resnest_rs._resnest --mypy-config-file pyproject.toml
python -m mypy python/resnest_rs
python -m mypy tests/typed/usage.py
pyright --pythonpath "$venv/bin/python" --level error python/resnest_rs tests/typed/usage.py
part types
python tests/wheel.py "$wheel"
part wheel
