"""Starts the `tritonserver` of pytriton's wheel: `python launch.py MODEL.onnx PORT THREADS INSTANCES FOLDER`.

Run with the Python of the environment that holds nvidia-pytriton. FOLDER gets the model repository and the backend's
folder, which needs the stub for this Python beside its library. The instances share the threads.
"""

from __future__ import annotations

import os
import shutil
import string
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent


def backends(package: Path, folder: Path) -> Path:
    """A copy of the Python backend with this Python's stub."""
    made = folder / "backends"
    shutil.copytree(package / "tritonserver" / "backends", made, dirs_exist_ok=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = package / "tritonserver" / "python_backend_stubs" / version / "triton_python_backend_stub"
    target = made / "python" / stub.name
    shutil.copy(stub, target)
    target.chmod(0o755)
    return made


def repository(folder: Path, model: str, threads: int, instances: int) -> Path:
    """The model repository with this run's settings in its config."""
    made = folder / "models"
    shutil.copytree(HERE / "models", made, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    config = made / "resnest50d" / "config.pbtxt"
    values = {"MODEL": model, "THREADS": max(threads // instances, 1), "INSTANCES": instances}
    config.write_text(string.Template(config.read_text()).substitute(values))
    return made


def main() -> None:
    model, port, threads, instances = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    folder = Path(sys.argv[5])
    packages = Path(sysconfig.get_path("purelib"))
    triton = packages / "pytriton"
    command = [str(triton / "tritonserver" / "bin" / "tritonserver")]
    command += ["--model-repository", str(repository(folder, model, threads, instances))]
    command += ["--backend-directory", str(backends(triton, folder))]
    command += [
        "--http-address",
        "127.0.0.1",
        "--http-port",
        str(port),
        "--allow-grpc",
        "false",
        "--allow-metrics",
        "false",
    ]
    command += ["--log-info", "false", "--disable-auto-complete-config"]
    libraries = f"{packages / 'nvidia_pytriton.libs'}:{sysconfig.get_config_var('LIBDIR')}"
    env = os.environ | {"LD_LIBRARY_PATH": libraries, "PYTHONHOME": sys.base_prefix}
    env["TRITON_MODEL_PATH"] = f"{packages}:{HERE.parent}"
    os.execve(command[0], command, env)


if __name__ == "__main__":
    main()
