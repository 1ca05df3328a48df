"""Trees that the code of ReST-MCTS* (arXiv 2406.03816) and LiteSearch (arXiv 2407.00320) grows over a table in the place of models:
python authors.py REST LITE, the folders of THUDM/ReST-MCTS at commit 2d5f488c3d6e24f99d50a9860e818383b1bb5883 and of
DeepLearnXMU/LiteSearch at commit 08ae85e373dfb6328039db7d049137da7a9d6084. Neither is a package; both modules stand alone."""

import random
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

rest, lite = (Path(sys.argv.pop(1)) for _ in range(2))
sys.path += [str(rest), str(lite / "LiteSearch")]
from MCTS import mcts  # noqa: E402
import search_tree  # noqa: E402

out = output_folder(__file__)
DEPTH = 3
LETTERS = "abc"


def table(seed):
    """A value with three decimals for every text of up to three letters, in order of the texts."""
    draw = random.Random(seed)
    texts, level = [], [""]
    for _ in range(DEPTH):
        level = [y + letter for y in level for letter in LETTERS]
        texts += level
    return {y: round(draw.random(), 3) for y in texts}


class Letters:
    """Three letters in a row; of the steps that are asked for together the i-th is letter i."""

    low, INF, sample_value, limit_type, reward_model_type = 0, 1.0, "simple", "iteration", "vm"
    use_reflection, roll_policy, end_gate, branch = "simple", "greedy", 2, 3

    def __init__(self, values, iterations, alpha, exploration, roll_branch, roll_steps):
        self.values, self.iteration_limit, self.alpha = values, iterations, alpha
        self.exploration_constant, self.roll_branch, self.roll_forward_steps = exploration, roll_branch, roll_steps
        self.node_count, self.asked = 0, 0

    def get_next_step(self, y, step):
        self.asked += 1
        return LETTERS[(self.asked - 1) % 3]

    def get_step_value(self, y):
        return self.values[y]

    def get_simple_reflection(self, y, step):
        return "<end>" if len(y) == DEPTH else "<continue>"

    def update_count(self):
        self.node_count += 1


def from_a(function):
    def wrapped(*given):
        given[-1].asked = 0
        return function(*given)

    return wrapped


mcts.get_next_steps_roll = from_a(mcts.get_next_steps_roll)
mcts.get_next_steps_expand = from_a(mcts.get_next_steps_expand)


def grown(node):
    yield {"text": node.y, "visits": node.numVisits, "value": node.V}
    for child in node.children.values():
        yield from grown(child)


def rest_run(seed, **given):
    task = Letters(table(seed), **given)
    _, _, root = mcts.MCTS(task)
    nodes = [n for n in grown(root) if n["visits"] > 0]
    return {**given, "values": task.values, "nodes": nodes}


runs = [
    rest_run(1, iterations=12, alpha=0.5, exploration=0.4, roll_branch=1, roll_steps=3),
    rest_run(2, iterations=20, alpha=0.9, exploration=1.0, roll_branch=2, roll_steps=1),
    rest_run(3, iterations=9, alpha=0.0, exploration=0.1, roll_branch=3, roll_steps=2),
    rest_run(4, iterations=30, alpha=0.3, exploration=0.7, roll_branch=2, roll_steps=3),
]
write_json(out / "rest-mcts.json", {"runs": runs})


def budgets(greedy, most, expected):
    tree = search_tree.Tree("q", "a", {"max_budget": most, "expected": expected, **({} if greedy is None else {"greedy_value": greedy})})
    return [[v, d, tree.calculate_budget(v, d)] for v in (0, 0.005, 0.1, 0.3, 0.5, 0.75, 0.9, 0.95, 1) for d in (1, 2, 3, 4)]


cases = [(None, 10, 0.9), (None, 16, 0.75), (0.2, 10, 0.9), (0.9, 6, 0.95)]
rows = [{"greedy": g, "most": m, "expected": e, "budgets": budgets(g, m, e)} for g, m, e in cases]
write_json(out / "lite-search.json", {"cases": rows})
