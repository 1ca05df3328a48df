"""Pareto-based selection and system-aware merge of GEPA (arXiv 2507.19457) by its authors' package: in how many instances each candidate is among
the best once the dominated ones are out, which ancestors two candidates may be merged over, and the merge itself."""

import random
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

from gepa.gepa_utils import remove_dominated_programs  # noqa: E402
from gepa.proposer.merge import filter_ancestors, sample_and_attempt_merge_programs_by_common_predictors  # noqa: E402

out = output_folder(__file__)
draw = random.Random(0)

# Integers, so that sums are exact and equal totals are met.
selections = []
for _ in range(40):
    candidates, instances, levels = draw.randint(1, 7), draw.randint(1, 6), draw.randint(1, 4)
    scores = [[draw.randint(0, levels) for _ in range(instances)] for _ in range(candidates)]
    best = [max(row[i] for row in scores) for i in range(instances)]
    fronts = {i: {k for k in range(candidates) if scores[k][i] == best[i]} for i in range(instances)}
    kept = remove_dominated_programs(fronts, scores=[sum(row) for row in scores])
    frequencies = [sum(k in front for front in kept.values()) for k in range(candidates)]
    selections.append({"scores": scores, "frequencies": frequencies})

merges = []
for _ in range(12):
    pool = [{"components": {name: f"{name}0" for name in "abc"}, "parents": []}]
    for k in range(1, 7):
        parents = [draw.randrange(k)]
        components = dict(pool[parents[0]]["components"])
        components[draw.choice("abc")] = draw.choice(["x", "y", "z"])
        if k == 5:
            parents = sorted(draw.sample(range(k), 2))
        pool.append({"components": components, "parents": parents})
    # All different: no lot is drawn between the two.
    for candidate, score in zip(pool, draw.sample(range(1, 40), len(pool))):
        candidate["score"] = score
    pool[0]["score"] = 0.5
    programs = [candidate["components"] for candidate in pool]
    parents = [candidate["parents"] or [None] for candidate in pool]
    scores = [candidate["score"] for candidate in pool]

    def ancestors(node):
        found = set()
        for parent in parents[node]:
            if parent is not None:
                found |= {parent} | ancestors(parent)
        return found

    pairs = []
    for i in range(len(pool)):
        for j in range(i + 1, len(pool)):
            common = ancestors(i) & ancestors(j)
            if i in ancestors(j):
                common = set()
            allowed = sorted(filter_ancestors(i, j, common, ([], []), scores, programs))
            pair = {"i": i, "j": j, "ancestors": allowed}
            if allowed:
                merged = sample_and_attempt_merge_programs_by_common_predictors(
                    scores, random.Random(1), [i, j], ([], []), programs, parents
                )
                if merged:
                    pair["merged"], pair["ancestor"] = merged[0], merged[3]
            pairs.append(pair)
    merges.append({"pool": pool, "pairs": [pair for pair in pairs if pair["ancestors"]] + [p for p in pairs if not p["ancestors"]][:2]})

write_json(out / "gepa.json", {"selections": selections, "merges": merges})
