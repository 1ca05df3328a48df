"""Writes metrics.json. Reference: exact rational arithmetic, enumeration, numpy and Python's re (Python 3.11+, numpy 2)."""

import itertools
import json
import math
import re
import string
from fractions import Fraction
from pathlib import Path

import numpy as np

rng = np.random.default_rng(20260101)


def pass_at_k():
    rows = []
    for n, c, k in [(5, 2, 1), (10, 3, 5), (200, 7, 100), (64, 1, 8), (4, 0, 2), (4, 4, 4), (8, 5, 4), (2000, 3, 700)]:
        value = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
        rows.append({"n": n, "c": c, "k": k, "value": float(value)})
    return rows


def majority_of(subset):
    """Expected score of the winner; a tie is shared evenly; None abstains."""
    votes = {}
    for answer, score in subset:
        if answer is not None:
            votes.setdefault(answer, [0, score])[0] += 1
    if not votes:
        return Fraction(0)
    top = max(count for count, _ in votes.values())
    tied = [score for count, score in votes.values() if count == top]
    return Fraction(sum(tied), len(tied))


def majority_at_k():
    cases = [
        [("1", 1)] * 3 + [("2", 0)] * 2,
        [("1", 1), ("2", 0), ("3", 0), ("1", 1), ("2", 0), (None, 0), ("1/2", 1)],
        [("a", 0)] * 4 + [("b", 1)] * 3 + [("c", 0)] * 2 + [(None, 0)],
        [(None, 0)] * 3 + [("x", 1)],
        [(str(i), int(i == 0)) for i in range(6)],
        [(None, 0)] * 3,
    ]
    rows = []
    for case in cases:
        for k in range(1, len(case) + 1):
            subsets = list(itertools.combinations(case, k))
            value = sum(majority_of(s) for s in subsets) / Fraction(len(subsets))
            rows.append({"answers": [a for a, _ in case], "scores": [s for _, s in case], "k": k, "value": float(value)})
    return rows


def best_of(subset):
    # Best-of-N never returns what its verifier could not score; with nothing to return it is wrong.
    ranks = [v for v, _ in subset if v is not None]
    if not ranks:
        return Fraction(0)
    tied = [score for v, score in subset if v == max(ranks)]
    return Fraction(sum(tied), len(tied))


def best_at_k():
    cases = [
        [(4, 0), (3, 1), (2, 1), (1, 0)],
        [(0.5, 1), (0.5, 0), (0.5, 0), (0.9, 0), (0.1, 1)],
        [(None, 1), (0.2, 0), (-3, 1), (None, 0)],
        [(1, 1)] * 2 + [(1, 0)] * 3,
    ]
    rows = []
    for case in cases:
        for k in range(1, len(case) + 1):
            subsets = list(itertools.combinations(case, k))
            value = sum(best_of(s) for s in subsets) / Fraction(len(subsets))
            rows.append({"verifier": [v for v, _ in case], "scores": [s for _, s in case], "k": k, "value": float(value)})
    return rows


def standard_errors():
    rows = []
    for values, clusters in [
        ([1, 1, 0, 0, 1, 0], None),
        ([1, 1, 0, 0, 1, 0], list("aabbcc")),
        (rng.normal(size=30).tolist(), None),
        (rng.normal(size=30).tolist(), [str(c) for c in rng.integers(0, 7, 30)]),
    ]:
        x = np.array(values, dtype=np.float64)
        if clusters is None:
            se = x.std(ddof=1) / math.sqrt(len(x))
        else:
            # The sandwich of a regression on a constant, with the C/(C-1) correction.
            design = np.ones((len(x), 1))
            bread = np.linalg.inv(design.T @ design)
            u = x - x.mean()
            names = sorted(set(clusters))
            meat = sum(np.outer(g, g) for g in (design[np.array(clusters) == c].T @ u[np.array(clusters) == c] for c in names))
            se = math.sqrt((bread @ meat @ bread)[0, 0] * len(names) / (len(names) - 1))
        rows.append({"values": values, "clusters": clusters, "mean": float(x.mean()), "standardError": float(se)})
    return rows


def mcnemar():
    rows = []
    for b, c in [(15, 4), (0, 0), (3, 3), (0, 6), (40, 61), (700, 800)]:
        n = b + c
        tail = sum(Fraction(math.comb(n, i), 2**n) for i in range(min(b, c) + 1))
        rows.append({"b": b, "c": c, "pValue": float(min(Fraction(1), 2 * tail))})
    return rows


def bootstrap():
    """All n^n resamples of small samples."""
    rows = []
    for a, b in [([0.1, 0.4, 0.3, 0.9, 0.6], [0.35, 0.5, 0.25, 1.0, 0.95]), ([1, 1, 0, 1, 0, 1], [1, 0, 1, 1, 1, 1])]:
        d = np.array(b, dtype=np.float64) - np.array(a, dtype=np.float64)
        means = np.array([d[list(pick)].mean() for pick in itertools.product(range(len(d)), repeat=len(d))])
        rows.append({
            "a": a, "b": b, "difference": float(d.mean()), "standardError": float(d.std(ddof=1) / math.sqrt(len(d))),
            "interval": [float(q) for q in np.quantile(means, [0.025, 0.975])],
            "pValue": float(np.mean(np.abs(means - d.mean()) >= abs(d.mean()) - 1e-12)),
        })
    return rows


def regexes():
    """Python's findall, the first group that is not empty, stripped."""
    texts = [
        "So 3 + 4 = 7.\n#### 7", "#### -1,234.5\n#### 8", "no number here", "It costs $18.", "a 12 b 7", "\u00e9t\u00e9 #### 5 ", "",
    ]
    rows = []
    for pattern in [r"#### (\-?[0-9\.\,]+)", r"(-?[$0-9.,]{2,})|(-?[0-9]+)", r"[a-z]+", r"(\w) (\d+)"]:
        for text in texts:
            for match in [0, 1, -1]:
                found = re.findall(pattern, text)
                try:
                    value = found[match]
                    if isinstance(value, tuple):
                        value = next((v for v in value if v), "")
                    value = value.strip()
                except IndexError:
                    value = None
                rows.append({"pattern": pattern, "text": text, "match": match, "value": value})
    return rows


def punctuation():
    text = "It's \u201cfine\u201d: 3,5% of $7 (or so) \u2013 ok_?" + string.punctuation
    return [{"text": text, "value": text.translate(str.maketrans("", "", string.punctuation))}]


def multiple_choice():
    rows = []
    for _ in range(40):
        choices = ["".join(rng.choice(list("ab \u00e9\U0001f44d\u4e2d"), rng.integers(1, 9))) for _ in range(4)]
        logs = (-rng.exponential(5, 4)).round(3)
        logs[3] = logs[0]
        gold = int(rng.integers(0, 4))
        rows.append({
            "choices": choices, "logProbs": logs.tolist(), "gold": gold,
            "acc": int(np.argmax(logs) == gold),
            "acc_norm": int(np.argmax(logs / np.array([len(c) for c in choices])) == gold),
            "acc_bytes": int(np.argmax(logs / np.array([len(c.encode()) for c in choices])) == gold),
        })
    return rows


def ratio_errors(a, b):
    ratio = a.sum() / b.sum()
    return ratio, math.sqrt((((a - ratio * b) ** 2).sum() * len(a) / (len(a) - 1))) / b.sum()


def rolling():
    own = np.random.default_rng(20261129)
    texts = ["one two  three", " starts with a space", "ends with one ", "caf\u00e9 \u4e2d\u6587\nline", "a\u00a0b\x1cc\ufeffd", "x"]
    logs = (-own.exponential(20, len(texts))).round(3)
    nats = -logs
    words = np.array([len(re.split(r"\s+", text)) for text in texts], dtype=float)
    sizes = np.array([len(text.encode("utf-8")) for text in texts], dtype=float)
    per_word, word_error = ratio_errors(nats, words)
    per_byte, byte_error = ratio_errors(nats, sizes)
    return [{
        "texts": texts, "logProbs": logs.tolist(), "words": words.tolist(), "bytes": sizes.tolist(),
        "word_perplexity": [math.exp(per_word), math.exp(per_word) * word_error],
        "byte_perplexity": [math.exp(per_byte), math.exp(per_byte) * byte_error],
        "bits_per_byte": [per_byte / math.log(2), byte_error / math.log(2)],
    }]


def pairwise():
    own = np.random.default_rng(20261130)
    verdicts = [[str(own.choice(["first", "second", "tie"])) for _ in range(2)] for _ in range(40)]
    mirrored = {"first": "second", "second": "first", "tie": "tie"}
    scores = np.array([1.0 if v == ["first", "second"] else 0.0 if v == ["second", "first"] else 0.5 for v in verdicts])
    shares = {
        "win_rate": scores,
        "tie_rate": scores == 0.5,
        "position_consistency": np.array([mirrored[a] == b for a, b in verdicts]),
        "first_position_bias": np.array([v == ["first", "first"] for v in verdicts]),
        "second_position_bias": np.array([v == ["second", "second"] for v in verdicts]),
    }
    measured = {name: [float(x.mean()), float(np.std(x, ddof=1) / math.sqrt(len(x)))] for name, x in shares.items()}
    return [{"verdicts": verdicts, "measured": measured}]


makers = [rolling, pairwise, pass_at_k, majority_at_k, best_at_k, standard_errors, mcnemar, bootstrap, regexes, punctuation, multiple_choice]
goldens = {maker.__name__: maker() for maker in makers}
Path(__file__).with_name("metrics.json").write_text(json.dumps(goldens, indent=1) + "\n")
