"""Trees that the MCTS of LLM Reasoners, by the authors of RAP (arXiv 2305.14992), grows over a table in the place of models: python reasoners.py FOLDER,
the folder of maitrix-org/llm-reasoners at commit f94e5ac2cb9788c3d7d7dbf2173884ed4088e4b2, which needs torch and transformers to be imported.

Its simulation goes down to an end, and what it meets becomes part of the tree. Here a child that a simulation comes to has no actions until it is expanded again: the
simulation ends there and is worth its value, as with a process verifier."""

import random
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

sys.path.insert(0, str(Path(sys.argv.pop(1)).resolve()))
from reasoners import SearchConfig, WorldModel  # noqa: E402
from reasoners.algorithm import MCTS  # noqa: E402

out = output_folder(__file__)
DEPTH = 3
LETTERS = "abc"


def table(seed):
    """A value with three decimals for every text of up to three letters."""
    draw = random.Random(seed)
    texts, level = [], [""]
    for _ in range(DEPTH):
        level = [y + letter for y in level for letter in LETTERS]
        texts += level
    return {y: round(draw.random(), 3) for y in texts}


class World(WorldModel):
    simulating = False

    def init_state(self):
        return ""

    def step(self, state, action):
        return state + action, {}

    def is_terminal(self, state):
        self.simulating = self.simulating and len(state) < DEPTH
        return len(state) == DEPTH

    def first(self, rewards):
        """The child that a simulation goes to."""
        self.simulating = True
        return 0


class Values(SearchConfig):
    def __init__(self, values, world):
        super().__init__()
        self.values, self.world = values, world

    def get_actions(self, state):
        ends, self.world.simulating = self.world.simulating, False
        return [] if ends else list(LETTERS)

    def fast_reward(self, state, action):
        return 0.0, {}

    def reward(self, state, action, **_):
        return self.values[state + action], {}


def grown(node):
    if node.cum_rewards:
        yield [node.state, len(node.cum_rewards), float(node.Q)]
    for child in node.children or []:
        yield from grown(child)


def run(seed, iterations, exploration):
    values, world = table(seed), World()
    # A value is backed up as it is: the last reward of a path.
    search = MCTS(
        w_exp=exploration,
        depth_limit=DEPTH + 1,
        n_iters=iterations,
        cum_reward=lambda rewards: rewards[-1],
        simulate_strategy=world.first,
        output_strategy="max_iter",
        uct_with_fast_reward=False,
    )
    found = search(world, Values(values, world))
    nodes = [[text, visits, round(q, 9)] for text, visits, q in grown(found.tree_state)]
    return {"iterations": iterations, "exploration": exploration, "values": values, "nodes": nodes, "chosen": found.terminal_state}


runs = [run(1, 12, 0.4), run(2, 30, 1.0), run(3, 60, 0.2), run(4, 45, 2.0), run(5, 25, 0.0)]
write_json(out / "mcts.json", {"runs": runs})
