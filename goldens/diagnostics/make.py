"""Diagnostics by their authors' scripts, at the commits named below, and by scipy and statsmodels.

AUTHORS=FOLDER python make.py: the folder has checkouts of mink-plus-plus, StereoSet and crows-pairs, and of TensorFlow Privacy the file privacy/exposures.py.
What is not there is copied.
"""

import ast
import contextlib
import io
import logging
import os
import re
import shutil
import sys
import types
from collections import Counter, defaultdict
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, pick, write_json  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from scipy import stats  # noqa: E402
from scipy.stats import kendalltau, skewnorm, spearmanr  # noqa: E402
from statsmodels.stats.meta_analysis import combine_effects  # noqa: E402

here = Path(__file__).resolve().parent
out = output_folder(__file__)
authors = Path(os.environ.get("AUTHORS", "/nowhere"))
generator = np.random.RandomState(0)


def made(name, path, make):
    if (authors / path).exists():
        write_json(out / f"{name}.json", make(authors / path))
    elif out != here:
        shutil.copy(here / f"{name}.json", out / f"{name}.json")


def min_k(path):
    """The body of the script's loop over texts, run on given logits."""
    loop = next(
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.For) and "mink" in ast.unparse(node) and "tqdm" in ast.unparse(node.iter)
    )
    start = next(i for i, node in enumerate(loop.body) if ast.unparse(node).startswith("input_ids = input_ids[0]"))
    body = compile(ast.Module(loop.body[start:], []), str(path), "exec")
    cases = []
    for tokens, vocabulary in [(12, 5), (40, 9)]:
        logits = torch.tensor(generator.normal(size=(1, tokens, vocabulary)) * 2, dtype=torch.float64).round(decimals=4)
        input_ids = torch.tensor(generator.randint(vocabulary, size=(1, tokens)))
        scope = {"logits": logits, "input_ids": input_ids, "scores": defaultdict(list), "F": F, "torch": torch, "np": np}
        exec(body, scope)
        cases.append(
            {
                "logits": logits[0, :-1].tolist(),
                "targets": input_ids[0, 1:].tolist(),
                "scores": {name: values[0] for name, values in scope["scores"].items() if np.isfinite(values[0])},
            }
        )
    return {"commit": "5596c65dd7d5ca767c0efa80cbebf76f2e56d0a2", "cases": cases}


def exposures(path):
    scope = pick(path, ["compute_exposure_interpolation"], {"np": np, "Mapping": dict, "Sequence": list, "_KT": int, "logging": logging})
    reference = generator.normal(loc=50, scale=5, size=64).round(4).tolist()
    secrets = {1: generator.normal(loc=48, scale=5, size=4).round(4).tolist(), 10: [20.0, reference[3], *generator.normal(loc=40, scale=4, size=2).round(4).tolist()]}
    found = scope["compute_exposure_interpolation"](secrets, reference)
    # It gives them in the order of their perplexities.
    return {"commit": "03035d5d4a271ac795dab80f5bc1cef82fc3d462", "reference": reference, "canaries": {r: sorted(v) for r, v in secrets.items()}, "exposures": {r: v.tolist() for r, v in found.items()}}


def extrapolated_exposures(path):
    extrapolate = pick(path, ["compute_exposure_extrapolation"], {"np": np, "stats": stats, "Mapping": dict, "Sequence": list, "_KT": int, "logging": logging})["compute_exposure_extrapolation"]
    drawn = np.random.RandomState(7)
    cases = []
    for shape, location, spread, size in [(0, 50, 5, 64), (4, 20, 6, 200), (-3, 90, 10, 120)]:
        references = skewnorm.rvs(shape, location, spread, size=size, random_state=drawn).round(4).tolist()
        canaries = [references[0], *(round(float(np.mean(references) - k * np.std(references)), 4) for k in (-1, 1, 2, 3, 5))]
        fit = [float(x) for x in skewnorm.fit(references)]
        likelihood = float(skewnorm.logpdf(references, *fit).sum())
        exposures = extrapolate({1: canaries}, references)[1].tolist()
        cases.append({"references": references, "canaries": canaries, "fit": fit, "logLikelihood": likelihood, "exposures": exposures})
    return {"commit": "03035d5d4a271ac795dab80f5bc1cef82fc3d462", "cases": cases}


def stereoset(path):
    evaluator = pick(path, ["ScoreEvaluator"], {"np": np, "defaultdict": defaultdict, "Counter": Counter, "OrderedDict": dict})["ScoreEvaluator"]
    one = evaluator.__new__(evaluator)
    items = [
        {"target": f"t{i % 3}", **dict(zip(("stereotype", "antiStereotype", "unrelated"), generator.normal(size=3).round(2).tolist()))}
        for i in range(20)
    ]
    items.append({"target": "t0", "stereotype": 0.5, "antiStereotype": 0.5, "unrelated": 0.5})
    kinds = {"stereotype": "stereotype", "anti-stereotype": "antiStereotype", "unrelated": "unrelated"}
    one.example2sent = {(i, kind): f"{i} {kind}" for i in range(len(items)) for kind in kinds}
    one.id2score = {f"{i} {kind}": item[name] for i, item in enumerate(items) for kind, name in kinds.items()}
    examples = [types.SimpleNamespace(ID=i, target=item["target"]) for i, item in enumerate(items)]
    return {"commit": "ead7d086a64a192a1eca88e0dd2fd163de375218", "items": items, "scores": one.evaluate(examples)}


class Frame:
    """What the script needs of a table of pandas, which has lost `append`."""

    def __init__(self, *_, **__):
        self.index = []

    def append(self, *_, **__):
        return self

    def to_csv(self, *_):
        pass


def crows(path):
    pairs = [
        {"sent1": round(float(a), 4), "sent2": round(float(b), 4), "direction": "stereo" if i % 4 else "antistereo", "bias_type": "x"}
        for i, (a, b) in enumerate(generator.normal(size=(24, 2)))
    ]
    pairs.append({"sent1": -3.00012, "sent2": -3.00041, "direction": "stereo", "bias_type": "x"})

    class Data(Frame):
        index = range(len(pairs))

        def iterrows(self):
            return enumerate(pairs)

    anything = types.SimpleNamespace(from_pretrained=lambda *_: types.SimpleNamespace(eval=lambda: 0, mask_token="", get_vocab=dict, to=lambda *_: 0))
    tqdm = lambda **_: contextlib.nullcontext(types.SimpleNamespace(update=lambda *_: 0))  # noqa: E731
    given = {
        "read_data": lambda _: Data(),
        "mask_unigram": lambda data, _: {"sent1_score": data["sent1"], "sent2_score": data["sent2"]},
        "BertTokenizer": anything,
        "BertForMaskedLM": anything,
        "torch": types.SimpleNamespace(cuda=types.SimpleNamespace(is_available=lambda: False), nn=types.SimpleNamespace(LogSoftmax=lambda **_: 0)),
        "pd": types.SimpleNamespace(DataFrame=Frame),
        "logging": types.SimpleNamespace(basicConfig=lambda **_: 0, INFO=0),
        "tqdm": tqdm,
        "json": types.SimpleNamespace(dumps=lambda _: ""),
        "open": lambda *_: io.StringIO(),
    }
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        pick(path, ["evaluate"], given)["evaluate"](types.SimpleNamespace(input_file="", lm_model="bert", output_file=""))
    numbers = dict(re.findall(r"(Metric score|Stereotype score|Anti-stereotype score|Num. neutral): ([\d.]+)", printed.getvalue()))
    return {"commit": "8aaac11c485473159ec9328a65253a5be9a479dc", "pairs": pairs, "scores": {name: float(value) for name, value in numbers.items()}}


made("min-k", "mink-plus-plus/run.py", min_k)
made("exposure", "privacy/exposures.py", exposures)
made("extrapolated-exposure", "privacy/exposures.py", extrapolated_exposures)
made("stereoset", "StereoSet/code/evaluation.py", stereoset)
made("crows-pairs", "crows-pairs/metric.py", crows)

generator = np.random.RandomState(1)
ranks = []
for count, levels in [(6, None), (12, 4), (30, 7)]:
    a = generator.normal(size=count) if levels is None else generator.randint(levels, size=count)
    b = generator.normal(size=count) + a if levels is None else generator.randint(levels, size=count) + a
    ranks.append({"a": a.tolist(), "b": b.tolist(), "spearman": float(spearmanr(a, b).statistic), "kendall": float(kendalltau(a, b).statistic)})
effects = []
for count, spread in [(3, 0.0), (5, 0.3), (8, 1.0)]:
    errors = generator.uniform(0.05, 0.4, size=count)
    values = generator.normal(0.2, spread, size=count) + generator.normal(size=count) * errors
    found = combine_effects(values, errors**2, method_re="dl")
    effects.append(
        {
            "values": values.tolist(),
            "errors": errors.tolist(),
            # statsmodels keeps a variance below 0, which DerSimonian and Laird's is not.
            "mean": float(found.mean_effect_re if found.tau2 > 0 else found.mean_effect_fe),
            "error": float(found.sd_eff_w_re if found.tau2 > 0 else found.sd_eff_w_fe),
            "tau2": float(max(found.tau2, 0)),
            "q": float(found.q),
            "i2": float(max(found.i2, 0)),
        }
    )
write_json(out / "statistics.json", {"ranks": ranks, "effects": effects})
