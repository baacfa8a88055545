"""What several checks need: the tools, and the manifests as kustomize builds them."""
import shutil
import subprocess
import sys
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent.parent
REPOSITORY = DEPLOY.parent


class Skipped(Exception):
    """A check that could not be made, and why. `lacking`: a package of requirements.txt, or the built command. Where
    both should be there (`--all`) their absence is a fault, or a check could vanish without anybody noticing."""

    def __init__(self, reason, lacking=False):
        super().__init__(reason)
        self.lacking = lacking


def tool(name):
    """The program's path: from beside this Python (a virtual environment), or from PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise Skipped(f"{name} isn't installed (pip install -r deploy/requirements.txt)", lacking=True)
    return found


def package(name):
    """The module, if it is installed."""
    try:
        return __import__(name)
    except ImportError as error:
        raise Skipped(f"{name} isn't installed (pip install -r deploy/requirements.txt)", lacking=True) from error


def run(*command):
    """Exit status and all output of a command."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout.strip()


def build(folder):
    """The objects that `kubectl apply -k folder` would send, built without any cluster."""
    yaml = package("yaml")
    done = subprocess.run([tool("kubectl"), "kustomize", str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        raise ValueError(f"{folder.name}: kustomize: {done.stderr.strip()}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def by_kind(documents, kind):
    """The objects of a kind."""
    return [document for document in documents if document["kind"] == kind]


def title(document):
    """How a fault names an object: `Service/resnest`."""
    return f"{document['kind']}/{document['metadata']['name']}"


def at(value, path, default=None):
    """The value at a path of keys and indices: `at(pod, "containers.0.image")`."""
    for part in path.split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            return default
    return value
