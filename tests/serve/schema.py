"""schemathesis over `resnest serve`: what its own description promises, and what the protocol's does.

    python schema.py BASE_URL

Requests are made from the description, good and bad ones, the same ones every time, and every answer must be one that
the description has: the status, the content type, the fields; and none may be a fault of the server. The first
description is /openapi.json; the second the Open Inference Protocol's own, which is
`specification/protocol/open_inference_rest.yaml` of the repository kserve/open-inference-protocol, if RESNEST_OIP_YAML
says where a copy lies. Needs schemathesis, and a server of the demo model as `demo`, started without `--model-control`.
Exit status 1 if anything is found.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

# Whatever the description has, broken images are refused: that a request fits it does not make it a good one.
NOT_OURS = ["positive_data_acceptance"]


# With two, CPython 3.11 now and then fails at what hypothesis asks of it ("AST constructor recursion depth mismatch").
WORKERS = 1


def schemathesis(name, description, url, examples, seconds, exclude):
    command = [
        Path(sys.executable).with_name("schemathesis"), "run", description, "--url", url, "--no-color",
        "--checks", "all", "--exclude-checks", ",".join(exclude), "--continue-on-failure",
        "--generation-deterministic", "--no-shrink",
        "--max-examples", examples, "--request-timeout", 30, "--workers", WORKERS, "--suppress-health-check", "all",
    ]
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, timeout=seconds)
    if run.returncode:
        print(run.stdout, run.stderr, sep="\n", flush=True)
    cases = re.search(r"(\d+) generated", run.stdout)
    print(
        f"{'FAILED' if run.returncode else 'ok'} {name} in {time.monotonic() - start:.0f} s:"
        f" {cases[1] if cases else 'no'} requests",
        flush=True,
    )
    # A run that made next to none would pass too.
    return run.returncode == 0 and cases is not None and int(cases[1]) >= 100


def protocol(text):
    """The protocol's description for the model that there is: its addresses are not as OpenAPI writes them, and it has
    no answer for a model or version that there is not."""
    import yaml

    for name, value in (("MODEL_NAME", "demo"), ("MODEL_VERSION", "1")):
        text = text.replace(f"${{{name}}}", value)
    description = yaml.safe_load(text)
    for path in description["paths"].values():
        path.pop("parameters", None)
    return description


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    url = sys.argv[1].rstrip("/")
    if importlib.util.find_spec("schemathesis") is None:
        print("skipped schema: schemathesis cannot be imported")
        return
    own = schemathesis("our OpenAPI", f"{url}/openapi.json", url, 15, 100, NOT_OURS)
    theirs = True
    if copy := os.environ.get("RESNEST_OIP_YAML"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "protocol.json"
            path.write_text(json.dumps(protocol(Path(copy).read_text())))
            theirs = schemathesis("the protocol's OpenAPI", path, url, 40, 60, NOT_OURS)
    else:
        print("skipped the protocol's OpenAPI: RESNEST_OIP_YAML does not say where a copy lies")
    with urllib.request.urlopen(f"{url}/v2/health/ready", timeout=30) as response:
        assert response.status == 200
    sys.exit(0 if own and theirs else 1)


if __name__ == "__main__":
    main()
