"""crates/resnest/data/imagenet21k.tsv.gz: the classes of ImageNet's larger subsets, from timm's `data/_info`.

    python crates/resnest/data/make_labels.py

One line for each of the 21,843 synsets of the largest subset, in its order, which is also the others': the letters of the
smaller subsets it belongs to, synset, lemmas, definition.
"""

import gzip
from pathlib import Path

import timm
from timm.data.imagenet_info import ImageNetInfo

SUBSETS = {"m": "imagenet-21k-miil", "k": "imagenet-12k", "f": "imagenet-22k"}
TARGET = Path(__file__).parent / "imagenet21k.tsv.gz"

if __name__ == "__main__":
    whole = ImageNetInfo("imagenet-21k-goog")
    members = {letter: ImageNetInfo(name).label_names() for letter, name in SUBSETS.items()}
    for names in members.values():
        chosen = set(names)
        assert names == [name for name in whole.label_names() if name in chosen]
    members = {letter: set(names) for letter, names in members.items()}
    lines = [f"# {letter} {name} {len(members[letter])}" for letter, name in SUBSETS.items()]
    lines.append(f"# subsets, synset, lemmas, definition; timm {timm.__version__}, WordNet's text: see WORDNET-LICENSE")
    for name in whole.label_names():
        letters = "".join(letter for letter in SUBSETS if name in members[letter])
        lemmas, definition = whole.label_name_to_description(name), whole._definitions[name]
        assert not any("\t" in text or "\n" in text for text in (lemmas, definition))
        lines.append(f"{letters}\t{name}\t{lemmas}\t{definition}")
    TARGET.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), 9, mtime=0))
    print(f"{len(lines)} lines, {TARGET.stat().st_size} bytes")
