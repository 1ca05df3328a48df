"""Rows that RAFT, R-Tuning, Constitutional AI and OmegaPRM make, and averages of clients."""

import ast
import asyncio
import contextlib
import io
import json
import types

import numpy as np
import torch
from golden import pick
from stand_in import rounded
from stand_ins import module, modules, read_json, run_script

# Of each row, what our step draws with seed 4: the place of its oracle (-1: left out) and its documents, in order.
DRAWS = [[-1, [3, 1, 5]], [0, [1, 5, 0]], [0, [2, 4, 1]], [0, [3, 2, 4]], [-1, [2, 5, 0]], [-1, [1, 3, 2]]]


class Draws:
    """In the place of `random`: the draws above, as generate_question_cot_answer asks for them."""

    def __init__(self, own, at, documents):
        self.order, self.at, self.calls = documents, at, 0
        self.others = [i for i in documents if i != own]

    def sample(self, indices, count):
        assert set(self.others) <= set(indices)
        self.calls += 1
        # First the distractors, then one more where the oracle is left out.
        return self.others[:count] if self.calls == 1 else self.others[-count:]

    def uniform(self, low, high):
        return high if self.at < 0 else low

    def shuffle(self, documents):
        documents.sort(key=lambda text: self.order.index(int(text[5:])))


def raft(root):
    documents = [f"fact {i}" for i in range(len(DRAWS))]
    made = []
    for own, (at, order) in enumerate(DRAWS):
        given = {
            **{"ChatCompleter": object, "DocType": str, "Any": object, "uuid": types.SimpleNamespace(uuid4=lambda: 0)},
            **{"random": Draws(own, at, order), "generate_label": lambda _, question, chunk, *__, own=own, **___: f"It is {own}."},
        }
        function = pick(root / "raft/raft.py", ["generate_question_cot_answer"], given)["generate_question_cot_answer"]
        point = function(None, documents, documents[own], own, f"What is {own}?", "general", num_distract=2, p=0.5)
        made.append({"documents": point["context"]["sentences"][0], "prompt": point["instruction"], "completion": point["cot_answer"]})
    return {"draws": DRAWS, "rows": made}


# Question, right answer, and what the model says.
ASKED = [
    ("Where is Pisa?", "Italy", " Italy. It has a tower."),
    ("Where is Lyon?", "France", " Italy. France is near."),
    ("Who wrote Emma?", "Jane Austen", " It was Jane Austen."),
    ("What is 2 + 2?", "4", " 5."),
    ("What is 3 + 4?", "7", " It is 7, not 8."),
]


def r_tuning(root):
    class Tokens(list):
        def to(self, _):
            return self

    class Tokenizer:
        @classmethod
        def from_pretrained(cls, *_, **__):
            return cls()

        def __call__(self, text, **_):
            return types.SimpleNamespace(to=lambda _: {"input_ids": [[text]]})

        def decode(self, ids):
            return ids[0]

    class Model:
        @classmethod
        def from_pretrained(cls, *_, **__):
            return cls()

        def generate(self, ids, **_):
            (said,) = [said for question, _, said in ASKED if question in ids[0][0]]
            return [[ids[0][0], said]]

    scipy = module("scipy.stats", entropy=None)
    tqdm = module("tqdm.auto", tqdm=lambda rows: rows)
    # Refusals are the fourth of theirs, and rows stay in their order.
    draws = module("random", randint=lambda low, high: 4, shuffle=lambda rows: None)
    found = {}
    data = json.dumps([[question, answer] for question, answer, _ in ASKED])
    with modules("scipy", "tqdm", transformers=module("transformers", AutoTokenizer=Tokenizer, AutoModelForCausalLM=Model), scipy__stats=scipy, tqdm__auto=tqdm, random=draws):
        for method in ("unsure", "unknown"):
            script = root / "training/pararel/run_pararel.py"
            written = run_script(script, ["--model", "m", "--method", method], {"../../R-Tuning-data/pararel/training_data.json": data})
            found[method] = [row["text"] for row in read_json(written, f"pararel_{method}.json")["instances"]]
    return {"asked": ASKED, **found}


def federated(root):
    path = root / "framework/py/flwr/server/strategy/aggregate.py"
    given = {"np": np, "reduce": __import__("functools").reduce, "NDArrays": list}
    aggregate = pick(path, ["aggregate"], given)["aggregate"]
    draw = np.random.default_rng(21)
    rounds = []
    for counts in ([1, 1], [5, 3, 2], [40, 1, 7, 12]):
        clients = [[draw.normal(size=3).round(3), draw.normal(size=(2, 2)).round(3)] for _ in counts]
        mean = aggregate(list(zip(clients, counts, strict=True)))
        rounds.append({"examples": counts, "clients": [[x.tolist() for x in one] for one in clients], "mean": [x.tolist() for x in mean]})

    names = {"torch": torch, "nn": torch.nn, "Parameter": torch.nn.Parameter, "DataLoader": object}
    client = pick(root / "baselines/fedprox/fedprox/model.py", ["_train_one_epoch"], names)["_train_one_epoch"]
    torch.manual_seed(22)
    net = torch.nn.Linear(3, 2).double()
    begun = [rounded(torch.randn_like(p)) for p in net.parameters()]
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(rounded(torch.randn_like(p)))
    local = [p.detach().clone() for p in net.parameters()]

    def gradient(mu):
        """By one step of SGD at rate 1 of their epoch of one batch, whose criterion is no function of the net."""
        with torch.no_grad():
            for p, value in zip(net.parameters(), local, strict=True):
                p.copy_(value)
        batch = {"image": torch.zeros(1, 3).double(), "label": torch.zeros(1)}
        client(net, begun, [batch], "cpu", lambda *_: torch.zeros((), dtype=torch.float64), torch.optim.SGD(net.parameters(), lr=1.0), mu)
        return [(value - p.detach()).tolist() for value, p in zip(local, net.parameters(), strict=True)]

    prox = {"begun": [p.tolist() for p in begun], "local": [p.tolist() for p in local], "gradients": [[mu, gradient(mu)] for mu in (0.01, 0.5, 2.0)]}
    return {"rounds": rounds, "prox": prox}


def nested(path, names, given):
    """Functions that a file has inside of others or of a block, run with what they are given."""
    found = [node for node in ast.walk(ast.parse(path.read_text())) if getattr(node, "name", None) in names]
    scope = dict(given)
    exec(compile(ast.Module(found, []), str(path), "exec"), scope)
    return scope


CONSTITUTION = [{"critic": f"what is rude {i}?", "revision": f"again {i}"} for i in range(3)]
# Of each row the principle that our step draws with seed 0.
PRINCIPLES = [0, 2, 2, 0]


def constitution(root):
    asked = []

    async def say(prompt, **_):
        asked.append(prompt)
        said = {1: "rude rude", 3: "it is rude"}
        return said.get(len(prompt)) or prompt[1][1].replace(" rude", "")

    waiting = [CONSTITUTION[i] for i in PRINCIPLES]
    given = {
        **{"system_chat": [], "constitutions": CONSTITUTION, "STOP_SEQ": ["User:"], "semaphore": contextlib.nullcontext()},
        "random": types.SimpleNamespace(choice=lambda _: waiting.pop(0)),
        "client": types.SimpleNamespace(text_generation=say),
        "tokenizer": types.SimpleNamespace(apply_chat_template=lambda chat, tokenize: [[one["role"], one["content"]] for one in chat], encode=list),
        "args": types.SimpleNamespace(max_new_tokens=9, temperature=1),
    }

    class Turn:
        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            return None

    scope = nested(root / "examples/constitutional-ai/generate_dataset.py", ["process_text", "process"], given | {"semaphore": Turn()})
    rows = []
    for i in range(len(PRINCIPLES)):
        begun = len(asked)
        _, _, _, row = asyncio.run(scope["process_text"]("train", i, f"q{i}"))
        pair = scope["process"](row)
        rows.append({"prompt": f"q{i}", "principle": PRINCIPLES[i], "asked": asked[begun:], "critique": row["critic_response"], "chosen": pair["chosen"][-1]["content"], "rejected": pair["rejected"][-1]["content"]})
    return {"constitution": CONSTITUTION, "rows": rows}


def omega_prm(root):
    """openr's OmegaPRM, which is not of the paper's authors: values of states, and the first error of solutions whose later states have none that is right."""
    names = ["separate_steps", "check_correctness", "State", "SearchTree", "CandidatePool", "OmegaPRM"]
    given = {"re": __import__("re"), "math": __import__("math"), "heapq": __import__("heapq"), "itertools": __import__("itertools")}
    typing = {name: getattr(__import__("typing"), name) for name in ("List", "Tuple", "Dict", "Any", "Optional")}
    scope = pick(root / "data/omegaPRM_v2/omegaprm.py", names, given | typing | {"LanguageModel": object})
    errors = []
    for steps in range(2, 10):
        for error in range(1, steps + 1):
            # From a state whose last step is before the error half of the rollouts are right.
            alive = lambda prefix, error=error: all(int(step[1:]) < error for step in prefix.split("\n\n")[1:])  # noqa: E731
            model = types.SimpleNamespace(
                generate_rollout=lambda prefix, k, alive=alive: [f"so {k * 0 + (1 if i % 2 == 0 and alive(prefix) else 0)}" for i in range(k)],
                evaluate_correctness=lambda text, answer: text.endswith(f"so {answer}"),
            )
            search = scope["OmegaPRM"](model, 0.125, 0.5, 0.9, 500, 4, 1, 100, False)
            search.reset()
            search.expected_answer = "1"
            root_state = scope["State"]("q")
            search.T.add_state(root_state)
            with contextlib.redirect_stdout(io.StringIO()):
                search.expansion_phase_binary_search(root_state, "\n\n".join(f"s{i + 1}" for i in range(steps)))
            dead = [state.solution_prefix.count("\n\n") for state in search.T.nodes if state.MC == 0]
            errors.append([steps, error, min(dead)])
    values = []
    for right in ([1, 0, 0, 1], [0, 0, 0], [1, 1], [1, 0, 0, 0, 0, 0, 0]):
        model = types.SimpleNamespace(generate_rollout=lambda *_, right=right: [f"so {x}" for x in right], evaluate_correctness=lambda text, answer: text.endswith(answer))
        search = scope["OmegaPRM"](model, 0.125, 0.5, 0.9, 500, len(right), 1, 100, False)
        search.reset()
        search.expected_answer = "1"
        state = scope["State"]("q")
        search.T.add_state(state)
        search.monte_carlo_estimation(state)
        values.append([right, state.MC])
    return {"errors": errors, "values": values}
