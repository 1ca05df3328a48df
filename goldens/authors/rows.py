"""Rows that RAFT and R-Tuning make, and averages of clients."""

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
