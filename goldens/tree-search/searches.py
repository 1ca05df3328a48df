"""What searches over steps find over a table in the place of models, by the code of their authors: python searches.py SAL REBASE SC RSTAR MATH, the
folders of huggingface/search-and-learn at commit 6f81cac8b1ca4c4be9fabefc27a856c928f3ae7f (beam search and DVTS over steps, votes), of
thu-wyz/inference_scaling at commit 0fe7da96f406bfad57381228329a507e2397bdea (REBASE, arXiv 2408.00724), of zitian-gao/SC-MCTS at commit
62afe6a1c5a85f00e0d2cba8e8db341bfe0a861b (SC-MCTS*, arXiv 2410.01707) of zhentingqi/rStar at commit
cab41df656bddc4d4b61ac87721315dd48b45b48 (rStar, arXiv 2408.06195) and of microsoft/rStar at commit b3c1846185f4af877e1e441a67c4c5fcfed9d442 (the
pairs of rStar-Math's process preference model, arXiv 2501.04519). None is a package; of each only the modules of its search are loaded."""

import contextlib
import importlib.util
import io
import random
import sys
import tempfile
import types
from collections import Counter
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

folders = [Path(sys.argv.pop(1)) for _ in range(5)]
sal, rebase_folder, sc, rstar, star_math = folders
out = output_folder(__file__)


def stand_in(name, **attributes):
    module = types.ModuleType(name)
    module.__path__ = []
    for key, value in attributes.items():
        setattr(module, key, value)
    sys.modules[name] = module


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Table:
    """Steps of one letter: of those that are drawn from one text the i-th is letter i (a greedy one is z). Some texts end early, all at `depth`."""

    def __init__(self, seed, depth, early=0.2):
        self.seed, self.depth, self.early = seed, depth, early
        self.asked, self.scores, self.ends = Counter(), {}, set()

    def step(self, text, greedy=False):
        letter = "z" if greedy else "abcdefghijklmnop"[self.asked[text]]
        self.asked[text] += 0 if greedy else 1
        drawn = random.Random(f"end {self.seed} {text}{letter}").random()
        is_end = len(text) + 1 >= self.depth or (len(text) > 0 and drawn < self.early)
        if is_end:
            self.ends.add(text + letter)
        return letter, is_end

    def score(self, text):
        self.scores[text] = round(random.Random(f"score {self.seed} {text}").random(), 6)
        return self.scores[text]

    def step_scores(self, text):
        return [self.score(text[: i + 1]) for i in range(len(text))]

    def known(self):
        return {"ends": sorted(self.ends), "scores": dict(sorted(self.scores.items()))}


# search-and-learn


class Params:
    def __init__(self, **given):
        self.__dict__.update(given)


def no_latex(_):
    raise ValueError("answers here are words")


stand_in("vllm", LLM=object, SamplingParams=Params)
stand_in("datasets", Dataset=object)
stand_in("latex2sympy2", latex2sympy=no_latex)
stand_in("sal")
stand_in("sal.config", Config=object)
stand_in("sal.models")
stand_in("sal.models.reward_models", PRM=object)
stand_in("sal.utils")
stand_in("sal.utils.qwen_math_parser", extract_answer=None, strip_string=lambda text: text)
stand_in("sal.search")
votes = load("sal.utils.math", sal / "src/sal/utils/math.py")
load("sal.utils.score", sal / "src/sal/utils/score.py")
load("sal.search.utils", sal / "src/sal/search/utils.py")
beams = load("sal.search.beam_search", sal / "src/sal/search/beam_search.py")
dvts = load("sal.search.diverse_verifier_tree_search", sal / "src/sal/search/diverse_verifier_tree_search.py")


def letters(text):
    return text.replace("\n", "")


class Llm:
    def __init__(self, table):
        self.table = table

    def get_tokenizer(self):
        def template(convs, **_):
            return [conv[-1]["content"] if conv[-1]["role"] == "assistant" else "" for conv in convs]

        return types.SimpleNamespace(apply_chat_template=template)

    def generate(self, prompts, params, **_):
        outputs = []
        for prompt in prompts:
            letter, is_end = self.table.step(letters(prompt), greedy=params.temperature == 0)
            text, reason = (letter, None) if is_end else (letter + "\n\n", "\n\n")
            outputs.append(types.SimpleNamespace(outputs=[types.SimpleNamespace(text=text, stop_reason=reason)]))
        return outputs


def steps_run(kind, seed, n, width, depth, aggregation, lookahead=0):
    table = Table(seed, depth)
    config = types.SimpleNamespace(
        **dict(n=n, beam_width=width, n_beams=n // width, num_iterations=depth + 2, lookahead=lookahead, temperature=1.0, top_p=1.0),
        **dict(agg_strategy=aggregation, max_tokens=9, system_prompt="", custom_chat_template=None, filter_duplicates=False),
        sort_completed=True,
    )
    prm = types.SimpleNamespace(
        score=lambda _, completions: [[table.step_scores(letters(text)) for text in row] for row in completions]
    )
    search = beams.beam_search if kind == "beams" else dvts.dvts
    found = search({"problem": ["q"]}, config, Llm(table), prm)
    given = {"kind": kind, "n": n, "width": width, "aggregation": aggregation, "lookahead": lookahead}
    return {
        **given,
        **table.known(),
        "completions": sorted({letters(text) for text in found["completions"][0]} & table.ends),
        "prediction": letters(found["pred"][0]),
    }


def vote(seed, size):
    draw = random.Random(f"vote {seed}")
    answers = [draw.choice("pqr") for _ in range(size)]
    scores = [round(draw.random(), 6) for _ in answers]
    given = {"answers": answers, "scores": scores}
    weighted, majority = votes.find_answer_with_largest_sum(answers, scores), votes.find_majority_answer(answers)
    best = votes.compute_naive_pred({f"preds@{size}": answers, f"agg_scores@{size}": scores}, size)
    return {**given, "weighted": weighted, "majority": majority, "best": best[f"pred_naive@{size}"][len("\\boxed{") : -1]}


with contextlib.redirect_stderr(io.StringIO()):
    runs = [
        steps_run("beams", 1, 8, 4, 4, "last"),
        steps_run("beams", 2, 8, 2, 4, "min"),
        steps_run("beams", 3, 6, 3, 5, "prod"),
        steps_run("dvts", 4, 8, 4, 4, "last"),
        steps_run("dvts", 5, 6, 3, 4, "min"),
        steps_run("dvts", 6, 8, 2, 5, "prod"),
        steps_run("dvts", 7, 8, 4, 4, "last", lookahead=1),
        steps_run("dvts", 8, 6, 2, 5, "last", lookahead=2),
    ]
    cast = [vote(seed, size) for seed, size in enumerate((1, 3, 5, 8, 13, 21))]
write_json(out / "search-and-learn.json", {"runs": runs, "votes": cast})

# REBASE

stand_in("sglang", function=lambda body: body, gen=lambda name, *_, **__: name, RuntimeEndpoint=None)
if importlib.util.find_spec("yaml") is None:
    stand_in("yaml")
rebase = load("rebase", rebase_folder / "rebase.py")


class State:
    """What sglang's state is to the search: it is forked, and what is added to it is generated."""

    def __init__(self, table, text=""):
        self.table, self.so_far, self.is_end, self.scored = table, text, False, []

    def fork(self, n):
        return [State(self.table, self.so_far) for _ in range(n)]

    def set_score_backend(self, _):
        pass

    def __iadd__(self, what):
        if what == "step":
            letter, self.is_end = self.table.step(self.so_far)
            self.so_far += letter
        elif what == "score":
            self.scored.append(self.table.score(self.so_far))
        return self

    def text(self):
        return "The answer is" if self.is_end else ""

    def scores(self):
        return self.scored

    def get_meta_info(self, _):
        return {"completion_tokens": 1}


def rebase_run(seed, width, temperature, depth):
    table = Table(seed, depth)
    with tempfile.TemporaryDirectory() as folder:
        paras = {
            **dict(width=width, softmax_temperature=temperature, select_method="softmax", policy_model_type="mistral"),
            **dict(max_step_tokens=1, temperature=1.0, max_tokens=10**9, store_path=f"{folder}/"),
        }
        found = rebase.reward_guided_search(State(table), 0, "", {"answer": ""}, paras, None)
    drawn = sorted(text for text in table.scores)
    solutions = len(found["model_answer"])
    return {"width": width, "temperature": temperature, **table.known(), "drawn": drawn, "solutions": solutions}


write_json(
    out / "rebase-searches.json",
    {"runs": [rebase_run(11, 8, 0.2, 4), rebase_run(12, 16, 0.1, 4), rebase_run(13, 5, 1.0, 5), rebase_run(14, 12, 0.02, 3)]},
)

# SC-MCTS*


class Subscriptable:
    def __class_getitem__(cls, _):
        return cls


stand_in("reasoners", SearchAlgorithm=Subscriptable, WorldModel=Subscriptable, SearchConfig=Subscriptable, Example=None, Trace=None)
sys.modules["reasoners"].__dict__.update(State=__import__("typing").TypeVar("State"), Action=__import__("typing").TypeVar("Action"))
sys.modules["reasoners"].Example = __import__("typing").TypeVar("Example")
sc_mcts = load("reasoners.mcts", sc / "reasoners/mcts.py")


class World:
    def __init__(self, table):
        self.table = table

    def init_state(self):
        return ""

    def step(self, state, action):
        return state + action, {}

    def is_terminal(self, state):
        return state in self.table.ends


class Rewards:
    """Of two children one has each reward 1 and the other -1, so that the running mean is 0 and the deviation 1 whenever they are looked at."""

    def __init__(self, table, weights):
        self.table, self.weights, self.given = table, weights, {}

    def get_actions(self, state):
        return [self.table.step(state)[0] for _ in range(2)]

    def fast_reward(self, state, action, node_id):
        text = state + action
        signs = [random.Random(f"{role} {self.table.seed} {state}").choice((1, -1)) for role in self.weights]
        self.given[text] = [sign if action == "a" else -sign for sign in signs]
        return sum(w * x for w, x in zip(self.weights.values(), self.given[text])), {}

    def reward(self, state, action, reward_dict, **_):
        return self.fast_reward(state, action, None)


def sc_run(seed, iterations, depth, mode, weights):
    table = Table(seed, depth)
    world, rewards = World(table), Rewards(table, weights)
    search = sc_mcts.MCTS(depth_limit=depth, n_iters=iterations, mode=mode, output_trace_in_each_iter=False)
    with contextlib.redirect_stdout(io.StringIO()):
        result = search(world, rewards)

    def grown(node, text):
        if node.cum_rewards:
            yield [text, len(node.cum_rewards), float(node.Q)]
        for child in node.children or []:
            yield from grown(child, text + child.action)

    nodes = list(grown(result.tree_state, ""))
    exploration = 50 if mode == "sc" else 1
    given = {"iterations": iterations, "depth": depth, "exploration": exploration, "weights": weights}
    return {**given, "ends": sorted(table.ends), "rewards": rewards.given, "nodes": nodes}


write_json(
    out / "sc-mcts.json",
    {
        "runs": [
            sc_run(25, 16, 4, "baseline", {"a": 1.0, "b": 0.3}),
            sc_run(22, 20, 4, "baseline", {"a": 0.5, "b": -0.2}),
            sc_run(23, 15, 3, "sc", {"a": 1.0, "b": 0.3}),
        ]
    },
)

# rStar

backbone = load("MCTS_backbone", rstar / "run_src/MCTS_backbone.py")
# The first numbers of the stream that the tests' search draws from: one for every choice.
DRAWS = [
    797275338, 2561055772, 2796157562, 1061539753, 949148625, 1308756549, 42038110, 2191099551,
    931414563, 801586792, 879193429, 3714352811, 3104688496, 718542559, 4079915885, 2685461029,
    3317206461, 3381557156, 713096154, 2703705479, 3223823723, 138511747, 3978274721, 2638830027,
    1516472742, 621867730, 2333924957, 415199029, 3543469133, 2288808962, 805424980, 1315315584,
    300773893, 594186865, 4012543223, 381617168, 692867958, 1162888757, 3452351803, 3711482635,
    3311974025, 1069809586, 2055405768, 3566894586, 1472216828, 3933134826, 4090835643, 348271143,
    1128359658, 1997127753, 3477359966, 3130674684, 2063010830, 2761622499, 160304084, 744748208,
    4111625937, 1058104582, 1746033696, 3417358536, 2974008905, 3410662332, 2083331461, 1909886150,
    3011732696, 819420350, 3848267141, 371398789, 297040754, 532826917, 2370832481, 2422606504,
    150470499, 160108983, 2703698292, 3110524054, 3291055896, 1661808449, 2434609125, 1986637669,
    9534713, 716092605, 2363371549, 2573687121, 2948704562, 1527982189, 449857309, 2339478949,
    984838774, 1302224191, 3557317159, 2011172313, 1499963004, 2208981895, 3589017253, 3912608827,
]
ACTIONS = {"question": ("s", "r", "q"), "q": ("s", "r", "q"), "s": ("s", "r"), "r": ()}


class Step(backbone.MCTS_Node):
    """s a step, r the rest (a child for every answer, worth its share of the votes), q a sub-question; two children of each but the rest."""

    def __init__(self, tree, path="", last="question", value=None):
        super().__init__()
        self.tree, self.path, self.last, self.value = tree, path, last, value
        self.depth = path.count("/")
        tree["nodes"].append(self)

    def find_children(self, _):
        children = []
        for action in ACTIONS[self.last]:
            if action == "r":
                draw = random.Random(f"votes {self.tree['seed']} {self.path}")
                drawn = [draw.choice("123") for _ in range(5)]
                self.tree["votes"][self.path] = drawn
                counts = Counter(drawn)
                children += [Step(self.tree, f"{self.path}/r{x}", "r", counts[x] / 5) for x in dict.fromkeys(drawn)]
            else:
                children += [Step(self.tree, f"{self.path}/{action}{i}", action) for i in range(2)]
        return children

    def is_terminal(self):
        return self.depth >= self.tree["depth"] or self.last == "r"

    def calculate_reward(self):
        return self.value if self.last == "r" else 0

    def skip_backprop(self):
        return False


def rstar_run(seed, rollouts, depth, exploration, schedule):
    draws = list(DRAWS)

    def choice(items):
        drawn = draws.pop(0)
        assert drawn < 2**32 // len(items) * len(items), "a draw that would be drawn again"
        return items[drawn % len(items)]

    backbone.random = types.SimpleNamespace(choice=choice)
    tree = {"seed": seed, "depth": depth, "votes": {}, "nodes": []}
    searcher = backbone.MCTS_Searcher(exploration, schedule, rollouts, 1.0)
    root = Step(tree)
    for i in range(rollouts):
        searcher.do_rollout(root, i)
    nodes = [[n.path, searcher.N[n], searcher.Q[n] / searcher.N[n]] for n in tree["nodes"] if searcher.N[n] > 0]
    given = {"rollouts": rollouts, "depth": depth, "exploration": exploration, "schedule": schedule}
    return {**given, "votes": tree["votes"], "nodes": nodes}


class Same:
    def check_answers_equiv(self, a, b):
        return a == b


stand_in("common")
stand_in("common.utils", fix_seeds=None, read_json=None, read_txt=None)
stand_in("eval_src")
stand_in("eval_src.Evaluator")
stand_in("run_src")
stand_in("run_src.rstar_utils", concat_solution_trace=None, mask_solution_trace=None)
stand_in("models")
stand_in("models.vLLM_API", load_vLLM_model=None, generate_with_vLLM_model=None)
discriminate = load("do_discriminate", rstar / "run_src/do_discriminate.py")
judge = object.__new__(discriminate.Discriminator)
judge.args, judge.evaluator = types.SimpleNamespace(rc_criteria="reward"), Same()


def scored(seed, size):
    draw = random.Random(f"trajectories {seed}")
    # Sixteenths, so that the code's check of sums holds exactly.
    rows = [[draw.choice("123"), draw.randint(1, 16) / 16, draw.random() < 0.6] for _ in range(size)]
    every = [discriminate.Candidate("", [], "", answer, i, 1, reward) for i, (answer, reward, _) in enumerate(rows)]
    kept = [c for c, (_, _, is_kept) in zip(every, rows) if is_kept]
    with contextlib.redirect_stdout(io.StringIO()):
        scores = judge._calculate_scores(every, kept) if kept else discriminate.group_candidates_by_answer(every, Same(), "reward")[1]
    return {"trajectories": rows, "scores": {str(answer): score for answer, score in scores.items()}}


write_json(
    out / "r-star.json",
    {
        "draws": DRAWS,
        "runs": [
            rstar_run(31, 12, 3, 2.0, "const"),
            rstar_run(32, 16, 4, 1.0, "lin"),
            rstar_run(33, 16, 3, 0.5, "exp"),
        ],
        "scores": [scored(seed, size) for seed, size in enumerate((1, 3, 4, 6, 9))] + [scored(99, 2)],
    },
)

# The process preference model of rStar-Math

stand_in("pebble", ProcessPool=None)
stand_in("rstar_deepthink")
stand_in("rstar_deepthink.agents")
stand_in("rstar_deepthink.agents.utils")
stand_in("eval_output", InferNode=object, TOO_MANY_CODE_ERRORS="errors", is_valid_final_answer_node=lambda node: node.is_solution)
sys.modules["eval_output"].__dict__.update(argparse=__import__("argparse"), Dict=dict, Any=object, Optional=__import__("typing").Optional)
preferences = load("extra_rm_file", star_math / "extra_rm_file.py")


def preference_run(seed, depth, width):
    draw = random.Random(f"preferences {seed}")
    nodes = []

    def grown(parent, text, level):
        node = types.SimpleNamespace(
            **dict(parent=parent, text=text, children=[], final_correct=0, final_wrong=0, final_answer="", extra_info="", visit_count=1),
        )
        row = {"parent": -1 if parent is None else parent.id, "text": text}
        node.id = len(nodes)
        nodes.append(row)
        node.is_solution = level == depth or (level > 1 and draw.random() < 0.2)
        if node.is_solution:
            node.q_value = draw.choice((1, -1))
            row["score"] = node.q_value
        else:
            for i in range(width if level == 0 else draw.randint(1, width)):
                node.children.append(grown(node, "abcdef"[i], level + 1))
            node.q_value = round(draw.uniform(-1, 1), 6)
        row["q"] = node.q_value
        return node

    root = grown(None, "", 0)
    found = preferences.search_all_traces(root)
    pairs = [[row["prefix"].split("with code.")[-1], row["chosen_step"], row["rejected_step"], row["step_margin"]] for row in found]
    return {"nodes": nodes, "pairs": pairs}


write_json(
    out / "process-preferences.json",
    {"runs": [preference_run(41, 3, 3), preference_run(42, 3, 5), preference_run(43, 4, 4)]},
)
