"""Widths of REBASE's tree (arXiv 2408.00724) as the rule of the authors' code gives them, in exact arithmetic, and Tree of Thoughts'
breadth-first searches by the package of its authors with a table in the place of a model."""

import math
import shutil
import sys
import types
from fractions import Fraction
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import numpy as np  # noqa: E402

out = output_folder(__file__)
generator = np.random.RandomState(0)
# What published.py, authors.py and searches.py take from elsewhere is not made again.
here = Path(__file__).resolve().parent
for name in ("game-of-24", "rest-mcts", "lite-search", "search-and-learn", "rebase-searches", "sc-mcts", "r-star", "process-preferences"):
    if out != here:
        shutil.copy(here / f"{name}.json", out)



def widths(rewards, width, temperature):
    """ceil of the share of what is left, from the highest reward down; weights are rational, so that nothing is rounded but by ceil."""
    weights = [Fraction(math.exp((reward - rewards[0]) / temperature)) for reward in rewards]
    shares = []
    for i, weight in enumerate(weights):
        share = math.ceil(width * weight / sum(weights[i:])) if width > 0 else 0
        shares.append(share)
        width -= share
    return shares


cases = [([0.9, 0.7, 0.5, 0.1], 16, 0.2), ([0.9, 0.9, 0.1, 0.1], 4, 0.2), ([0.5] * 4, 6, 0.2), ([0.5] * 7, 21, 0.2)]
for size in (1, 3, 8, 20):
    for temperature in (0.05, 0.2, 1.0):
        rewards = sorted((float(x) for x in generator.uniform(size=size).round(3)), reverse=True)
        cases.append((rewards, int(generator.randint(1, 33)), temperature))
write_json(
    out / "rebase.json",
    {"cases": [{"rewards": r, "width": w, "temperature": t, "widths": widths(r, w, t)} for r, w, t in cases]},
)


def stand_in(name, **attributes):
    module = types.ModuleType(name)
    for key, value in attributes.items():
        setattr(module, key, value)
    sys.modules[name] = module


# Imported by the package for its calls over the network, which are not made here.
stand_in("openai", error=types.SimpleNamespace(OpenAIError=Exception))
stand_in("backoff", on_exception=lambda *_, **__: lambda function: function, expo=None)
from tot.methods import bfs  # noqa: E402


class Letters:
    """Three letters in a row; what is asked is told by its first word."""

    steps = 3
    stops = ["\n"] * 3

    def __init__(self):
        self.value_cache = {}

    def get_input(self, idx):
        return "letters"

    def standard_prompt_wrap(self, x, y):
        return f"next {y}"

    propose_prompt_wrap = standard_prompt_wrap

    def value_prompt_wrap(self, x, y):
        return f"value {y}"

    def vote_prompt_wrap(self, x, ys):
        return "vote " + " ".join(ys)

    def value_outputs_unwrap(self, x, y, outputs):
        return sum(float(o) for o in outputs) / len(outputs)

    def vote_outputs_unwrap(self, outputs, n):
        return [sum(int(o) == i for o in outputs) for i in range(n)]


def run(generate, evaluate, breadth, seed, distinct):
    table = []
    random = np.random.RandomState(seed)

    def gpt(prompt, n, stop, **_):
        if prompt.startswith("next"):
            letters = [str(c) for c in random.choice(list("abcdef"), size=4, replace=not distinct)]
            outputs = letters if generate == "sample" else ["\n".join(letters)]
        elif prompt.startswith("value"):
            outputs = [str(round(float(v), 3)) for v in random.uniform(0.1, 1, size=n)]
        else:
            outputs = [str(int(v)) for v in random.randint(prompt.count(" "), size=n)]
        table.append({"prompt": prompt, "outputs": outputs})
        return outputs

    bfs.gpt = gpt
    args = types.SimpleNamespace(
        **dict(backend="table", temperature=0.7, method_generate=generate, method_evaluate=evaluate, method_select="greedy"),
        **dict(n_generate_sample=4, n_evaluate_sample=3, n_select_sample=breadth, prompt_sample="standard"),
    )
    states, _ = bfs.solve(args, Letters(), 0, to_print=False)
    given = {"generate": generate, "evaluate": evaluate, "breadth": breadth}
    return {**given, "calls": table, "states": states}


write_json(
    out / "tree-of-thoughts.json",
    {
        "runs": [
            run("sample", "value", 2, 0, False),
            run("sample", "value", 1, 1, False),
            run("propose", "value", 3, 2, True),
            run("sample", "vote", 2, 3, True),
            run("propose", "vote", 1, 4, True),
        ]
    },
)
