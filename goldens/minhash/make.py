"""MinHash signatures by datatrove's formulas (MinhashConfig: 5-grams, 14 buckets of 8 hashes, seed 1; sha1, 64 and 32 bits) and the
clusters of its buckets, written with NumPy and hashlib; near-duplicates are planted."""

import hashlib
import random
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import numpy as np  # noqa: E402

N, BUCKETS, HASHES, SEED = 5, 14, 8, 1
PRIME = np.uint64((1 << 61) - 1)

generator = np.random.RandomState(SEED)
A = generator.randint(1, PRIME, dtype=np.uint64, size=(1, BUCKETS * HASHES))
B = generator.randint(0, PRIME, dtype=np.uint64, size=(1, BUCKETS * HASHES))


def signature(text, precision):
    words = text.split(" ")
    shingles = [" ".join(words[i : i + N]) for i in range(len(words) - N + 1)]
    if not shingles:
        return None
    hashed = np.array([int.from_bytes(hashlib.sha1(s.encode()).digest()[:8], "little") for s in shingles], dtype=np.uint64)
    values = (hashed[:, None] * A + B) % PRIME
    if precision == 32:
        values = values & np.uint64(0xFFFFFFFF)
    return [int(v) for v in values.min(axis=0)]


def clusters(texts):
    """Clusters of texts that agree in a bucket, by repeated relabelling with the least label."""
    signatures = [signature(text, 64) for text in texts]
    label = list(range(len(texts)))
    changed = True
    while changed:
        changed = False
        for bucket in range(BUCKETS):
            least = {}
            for i, s in enumerate(signatures):
                if s is None:
                    continue
                key = tuple(s[bucket * HASHES : (bucket + 1) * HASHES])
                least[key] = min(least.get(key, label[i]), label[i])
            for i, s in enumerate(signatures):
                if s is None:
                    continue
                low = least[tuple(s[bucket * HASHES : (bucket + 1) * HASHES])]
                if low < label[i]:
                    label[i], changed = low, True
    return label


rng = random.Random(0)
vocabulary = ["".join(rng.choice("abcdefghijklmnop") for _ in range(rng.randint(2, 6))) for _ in range(400)]
texts = []
for i in range(120):
    if texts and rng.random() < 0.45:
        words = rng.choice(texts).split(" ")
        for _ in range(rng.randint(0, max(1, len(words) // 12))):
            words[rng.randrange(len(words))] = rng.choice(vocabulary)
    else:
        words = [rng.choice(vocabulary) for _ in range(rng.choice([3, 30, 40, 60]))]
    texts.append(" ".join(words))

SIGNED = ["the quick brown fox jumps over the lazy dog and runs away", texts[1], texts[2]]
write_json(
    output_folder(__file__) / "minhash.json",
    {
        "signatures": [
            # 64-bit integers as texts: JSON's numbers cannot hold them.
            {"text": text, "bits64": [str(v) for v in signature(text, 64)], "bits32": signature(text, 32)}
            for text in SIGNED
            if signature(text, 64)
        ],
        "texts": texts,
        "clusters": clusters(texts),
    },
)
