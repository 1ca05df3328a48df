"""Repeated substrings of texts (ExactSubstr, arXiv 2107.06499), found with a suffix array as the paper does; what is left when all but the first
occurrence of each is cut out."""

import random
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

LENGTH = 12
random.seed(0)
WORDS = "the of and to in is for on with as by at from it an be this that are was".split()


def sentence(count):
    return " ".join(random.choice(WORDS) for _ in range(count))


shared = [sentence(6) for _ in range(5)]
texts = []
for _ in range(24):
    parts = [sentence(random.randint(1, 4)) if random.random() < 0.6 else random.choice(shared) for _ in range(4)]
    texts.append(". ".join(parts))
texts += ["abababababababababababababababababab", "zz" * 20, texts[3], "short", "short"]

# A separator of its own behind each text, so that no repetition goes over the end of one.
joined, places = [], []
for row, text in enumerate(texts):
    joined += [*map(ord, text), 0x110000 + row]
    places += [(row, i) for i in range(len(text) + 1)]
suffixes = sorted(range(len(joined)), key=lambda i: joined[i:])


def common(a, b):
    n = 0
    while a + n < len(joined) and b + n < len(joined) and joined[a + n] == joined[b + n]:
        n += 1
    return n


removed = [[False] * len(text) for text in texts]
group = [suffixes[0]]
for before, suffix in [*zip(suffixes, suffixes[1:]), (suffixes[-1], None)]:
    if suffix is not None and common(before, suffix) >= LENGTH:
        group.append(suffix)
        continue
    first = min(group)
    for it in group:
        if it >= first + LENGTH:
            row, start = places[it]
            removed[row][start : start + LENGTH] = [True] * LENGTH
    group = [suffix]
left = ["".join(c for c, gone in zip(text, flags) if not gone) for text, flags in zip(texts, removed)]
write_json(output_folder(__file__) / "exact-substring.json", {"length": LENGTH, "texts": texts, "left": left})
