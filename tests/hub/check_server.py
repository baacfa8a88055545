"""Python's huggingface_hub as the judge of tests/hub/server.rs and of our cache.

    check_server.py download         fetch from HF_ENDPOINT into HF_HUB_CACHE, report hashes
    check_server.py read             read HF_HUB_CACHE without and with the network
    check_server.py hold SECONDS F   hold the lock F as a download does

Run by tests/hub/python.rs. Checked with huggingface_hub 2.4.0 (2026-11-24).
"""

import hashlib
import sys
import time

import huggingface_hub as hub
from huggingface_hub.utils import WeakFileLock

REPO = "timm/resnest"
WEIGHTS = "model.safetensors"


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def refusal(**where):
    try:
        hub.hf_hub_download(**where)
    except Exception as error:  # the name is what is reported
        return type(error).__name__
    return "no error"


def download():
    for name in ["config.json", "sub dir/labels.txt", WEIGHTS]:
        print(name, sha256(hub.hf_hub_download(REPO, name)))
    hub.hf_hub_download(REPO, WEIGHTS, revision="refs/pr/1")
    print("absent.bin", refusal(repo_id=REPO, filename="absent.bin"))
    print("revision v9", refusal(repo_id=REPO, filename=WEIGHTS, revision="v9"))
    print("repository no/body", refusal(repo_id="no/body", filename=WEIGHTS))
    found = hub.get_hf_file_metadata(hub.hf_hub_url(REPO, WEIGHTS))
    print("size", WEIGHTS, found.size)
    print("etag", WEIGHTS, found.etag)


def read():
    local = {"local_files_only": True}
    for name in ["config.json", "sub dir/labels.txt", WEIGHTS]:
        print(name, sha256(hub.hf_hub_download(REPO, name, **local)))
    path = hub.hf_hub_download(REPO, WEIGHTS, revision="refs/pr/1", **local)
    print("refs/pr/1", sha256(path))
    if hub.try_to_load_from_cache(REPO, "absent.bin") is hub._CACHED_NO_EXIST:
        print("absent.bin known not to exist")
    scan = hub.scan_cache_dir()
    revisions = [revision for repo in scan.repos for revision in repo.revisions]
    commits = " ".join(sorted(revision.commit_hash for revision in revisions))
    refs = " ".join(sorted(ref for revision in revisions for ref in revision.refs))
    print(f"scan {len(scan.repos)} repositories, commits {commits}, refs {refs},", end=" ")
    print(f"{len(scan.warnings)} warnings")
    if hub.hf_hub_download(REPO, WEIGHTS) == hub.hf_hub_download(REPO, WEIGHTS, **local):
        print("online download reuses the blob")


def hold(seconds, path):
    with WeakFileLock(path):
        print("held", flush=True)
        time.sleep(float(seconds))


if __name__ == "__main__":
    {"download": download, "read": read, "hold": hold}[sys.argv[1]](*sys.argv[2:])
