"""Which vectors SemDeDup keeps (arXiv 2303.09540), by the rule of the authors' code in NumPy: in each planted cluster, sorted by similarity to the
centroid, one is dropped whose largest similarity to those before it is above 1 - epsilon."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import numpy as np  # noqa: E402

out = output_folder(__file__)
generator = np.random.RandomState(0)
DIMENSION, CLUSTERS, SEEDS, COPIES = 6, 4, 6, 3

rows = []
for cluster in range(CLUSTERS):
    for _ in range(SEEDS):
        # Clusters point along axes, and their members are some way off.
        seed = 3 * np.eye(DIMENSION)[cluster] + generator.normal(size=DIMENSION) * 0.6
        for copy in range(COPIES):
            rows.append((cluster, seed + generator.normal(size=DIMENSION) * 0.15 * copy))
rows = [rows[i] for i in generator.permutation(len(rows))]
labels = np.array([label for label, _ in rows])
vectors = np.array([vector for _, vector in rows]).round(4)
unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def kept(labels, keep, epsilon):
    keeps = np.ones(len(unit), dtype=bool)
    for label in set(labels):
        members = np.flatnonzero(labels == label)
        centroid = unit[members].mean(0)
        similarity = unit[members] @ (centroid / np.linalg.norm(centroid))
        order = {"hard": np.argsort(similarity, kind="stable"), "easy": np.argsort(-similarity, kind="stable")}[keep]
        sorted_unit = unit[members[order]]
        before = np.triu(sorted_unit @ sorted_unit.T, 1).max(0)
        keeps[members[order][before > 1 - epsilon]] = False
    return np.flatnonzero(keeps).tolist()


cases = []
for k, given in ((1, np.zeros_like(labels)), (CLUSTERS, labels)):
    for keep in ("hard", "easy"):
        for epsilon in (0.005, 0.02, 0.1):
            cases.append({"clusters": k, "keep": keep, "epsilon": epsilon, "kept": kept(given, keep, epsilon)})
write_json(out / "semdedup.json", {"vectors": vectors.tolist(), "labels": labels.tolist(), "cases": cases})
