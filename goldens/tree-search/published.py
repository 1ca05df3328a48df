"""What the authors of Tree of Thoughts (arXiv 2305.10601) published of their Game of 24: python published.py LOG, where LOG is
logs/game24/gpt-4_0.7_propose1_value3_greedy5_start900_end1000.json of princeton-nlp/tree-of-thought-llm at commit
ab400345c5ea39d28ea6d7d3be0e417b11113c87. Kept are the numbers: of each step the proposed thoughts by the place of the state that they go on
from, their values, and the places of those that were selected. Twelve of the puzzles, so that the file stays small."""

import hashlib
import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

SHA256 = "e08f019024c99e83e540f8feec99acf619f30b0cf047278a03f62ff45888571b"
log = Path(sys.argv.pop(1)).read_bytes()
assert hashlib.sha256(log).hexdigest() == SHA256, "another file than the published log"


def step(s):
    places = {y: i for i, y in enumerate(s["ys"])}
    parents = []
    for y in s["new_ys"]:
        head = "".join(line + "\n" for line in y.split("\n")[:-2])
        parents.append(places[head])
    thoughts = [y.split("\n")[-2] for y in s["new_ys"]]
    selected = [s["new_ys"].index(y) for y in s["select_new_ys"]]
    return {"thoughts": thoughts, "parents": parents, "values": s["values"], "selected": selected}


puzzles = json.loads(log)[:96:8]
runs = [{"numbers": r["steps"][0]["x"], "steps": [step(s) for s in r["steps"]]} for r in puzzles]
write_json(output_folder(__file__) / "game-of-24.json", {"runs": runs})
