"""BM25 by bm25s with Lucene's formula."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import bm25s  # noqa: E402

out = output_folder(__file__)
passages = [
    "the cat sat on the mat",
    "a dog chased the cat and the cat ran",
    "river banks flood in spring when snow melts",
    "the bank of the river is steep",
    "cats and dogs",
    "snow",
    "the the the the river",
]
words = [p.split() for p in passages]
cases = []
for k1, b in ((1.5, 0.75), (0.9, 0.4), (2.0, 0.0), (1.2, 1.0)):
    retriever = bm25s.BM25(method="lucene", k1=k1, b=b, dtype="float64")
    retriever.index(words, show_progress=False)
    for query in ("the cat", "river snow", "cat cat dog", "nothing here", "the river bank in spring"):
        known = [w for w in query.split() if any(w in p for p in words)]
        scores = [float(s) for s in retriever.get_scores(known)] if known else [0.0] * len(passages)
        cases.append({"k1": k1, "b": b, "query": query, "scores": scores})
write_json(out / "bm25.json", {"passages": passages, "cases": cases})
