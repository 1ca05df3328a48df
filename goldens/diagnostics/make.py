"""Diagnostics by their authors' scripts, at the commits named below, and by scipy, statsmodels and torch-uncertainty.

AUTHORS=FOLDER python make.py: the folder has checkouts of mink-plus-plus, StereoSet and crows-pairs, and semantic_uncertainty and LM_Memorization, and of TensorFlow Privacy the file privacy/exposures.py.
What is not there is copied.
"""

import ast
import contextlib
import importlib.util
import io
import logging
import os
import re
import shutil
import sys
import types
import zlib
from collections import Counter, defaultdict
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, pick, write_json  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
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


def extrapolated(path):
    def fit(values):
        fits.append([float(x) for x in skewnorm.fit(values)])
        return fits[-1]

    # The shape is fitted at scipy's own tolerance, 1e-4.
    fits = []
    spied = types.SimpleNamespace(fit=fit, cdf=skewnorm.cdf)
    scope = pick(path, ["compute_exposure_extrapolation"], {"np": np, "Dict": dict, "List": list, "skewnorm": spied})
    own = np.random.RandomState(2)
    cases = []
    for shape, size in [(-2.0, 64), (3.0, 200), (0.7, 1000)]:
        reference = skewnorm.rvs(shape, loc=50, scale=5, size=size, random_state=own).round(3).tolist()
        canaries = [min(reference) - 4.0, min(reference), 44.0, 50.0, 55.0]
        exposures = scope["compute_exposure_extrapolation"]({1: canaries}, reference)[1]
        likelihood = float(-skewnorm.nnlf(fits[-1], np.array(reference)))
        cases.append({"reference": reference, "canaries": canaries, "exposures": exposures.tolist(), "fit": fits[-1], "logLikelihood": likelihood})
    return {"commit": "0caa10f674c0aef66d07ce996b831eedc1286836", "cases": cases}


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


def semantic_ids(path):
    own = np.random.RandomState(4)
    get = pick(path, ["get_semantic_ids"], {})["get_semantic_ids"]
    cases = []
    for count in (4, 6, 9):
        # 0 contradiction, 1 neutral, 2 entailment, of each ordered pair. Meanings and their shades, so that both relations are transitive: where one is not, the
        # function moves a text from the first cluster that it belongs to on to the last.
        meaning, shade = own.randint(3, size=count), own.randint(2, size=count)

        def relation(i, j):
            if meaning[i] == meaning[j]:
                return 2 if shade[i] == shade[j] or i < j else 1
            return [0, 1][int(meaning[i] + meaning[j] == 3)]

        table = [[relation(i, j) for j in range(count)] for i in range(count)]
        model = types.SimpleNamespace(check_implication=lambda a, b, example: table[int(a)][int(b)])
        texts = [str(i) for i in range(count)]
        cases.append({"table": table, "strict": get(texts, model, strict_entailment=True), "loose": get(texts, model)})
    return {"commit": "a8d9aa8cecd5f3bec09b19ae38ab13552e0846f4", "cases": cases}


def extraction(path):
    """The lines of `main` that make metrics of scores, run on given ones."""
    own = np.random.RandomState(5)
    body = next(node for node in ast.parse(path.read_text()).body if getattr(node, "name", "") == "main").body
    texts = ["a secret of the house", "the the the the the the", "XyZ 1234 AbC"]
    scores = {name: np.exp(own.uniform(0.5, 4, size=3)) for name in ("XL", "S", "Lower")}
    scores["zlib"] = np.array([len(zlib.compress(bytes(text, "utf-8"))) for text in texts])
    found = []
    for node in body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "metric":
            scope = {"np": np, "scores": scores}
            exec(compile(ast.Module([node], []), str(path), "exec"), scope)
            found.append(scope["metric"].tolist())
    logs = {name: np.log(scores[name]).tolist() for name in ("XL", "S", "Lower")}
    names = ["perplexity", "reference", "lowercase", "zlib"]
    return {"commit": "baafa173046978e3d882fbbb9adbc7af5bd2f701", "texts": texts, "logPerplexities": logs, "zlib": scores["zlib"].tolist(), "metrics": dict(zip(names, found))}


made("semantic-ids", "semantic_uncertainty/semantic_uncertainty/uncertainty/uncertainty_measures/semantic_entropy.py", semantic_ids)
made("extraction", "LM_Memorization/extraction.py", extraction)
made("min-k", "mink-plus-plus/run.py", min_k)
made("exposure", "privacy/exposures.py", exposures)
made("exposure-extrapolated", "privacy/exposures.py", extrapolated)
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

# The file alone: the package wants Lightning.
spec = importlib.util.find_spec("torch_uncertainty")
path = Path(spec.submodule_search_locations[0]) / "metrics/classification/risk_coverage.py"
module = importlib.util.module_from_spec(importlib.util.spec_from_file_location("risk_coverage", path))
module.__spec__.loader.exec_module(module)
curves = []
for count in (5, 40):
    own = np.random.RandomState(count)
    confidences = (0.5 + (own.permutation(count) + 1) / (2 * count + 4)).round(4)
    wrong = own.randint(2, size=count)
    metric = module.AURC()
    metric.update(torch.tensor(confidences), torch.tensor(1 - wrong))
    curves.append({"confidences": confidences.tolist(), "losses": wrong.tolist(), "risks": metric.partial_compute().double().tolist(), "aurc": float(metric.compute())})
write_json(out / "risk-coverage.json", curves)
