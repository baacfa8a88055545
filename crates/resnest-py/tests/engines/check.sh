#!/usr/bin/env bash
# The tests of the engines, each in an environment of its own in target/ci/engines: `check.sh WHEEL [ray|spark|daft]…`.
# RESNEST_PYTHON says which Python. Installing takes some 20 s for Ray, as much for Daft, two minutes for Spark.
set -euo pipefail
wheel=$(realpath "$1")
shift
cd "$(dirname "$0")/../../../.."
declare -A needs=(
    [ray]="ray[data]==2.60.0 aiohttp pyarrow==26.0.1"
    [spark]="pyspark==4.3.0 pandas<3 pyarrow==26.0.1"
    [daft]="daft==0.7.26 pyarrow<26"
)
for engine in "${@:-ray daft}"; do
    for name in $engine; do
        venv=target/ci/engines/$name
        if [ "$name" = spark ] && ! command -v java > /dev/null; then
            echo "skipped: spark needs Java 17, which is not installed"
            continue
        fi
        read -ra packages <<< "${needs[$name]}"
        if [ ! -x "$venv/bin/pytest" ]; then
            "${RESNEST_PYTHON:-python3}" -m venv "$venv"
            "$venv/bin/pip" install --quiet --disable-pip-version-check pytest==9.2.0 numpy==2.4.6 "${packages[@]}"
        fi
        "$venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps "$wheel"
        "$venv/bin/python" -m pytest -rs "crates/resnest-py/tests/engines/test_${name}.py"
    done
done
