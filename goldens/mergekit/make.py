"""What mergekit makes of recipes over variants of the tiny Llama: of every tensor its norm and its product with a wave."""

import builtins
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

# Annotations of mergekit name torch, which pydantic looks up.
builtins.torch = torch
from mergekit.config import MergeConfiguration  # noqa: E402
from mergekit.merge import run_merge  # noqa: E402
from mergekit.options import MergeOptions  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402

torch.set_num_threads(1)

M = [
    {"model": "a", "parameters": {"weight": 0.5}},
    {"model": "b", "parameters": {"weight": [0.1, 0.3]}},
    {"model": "c", "parameters": {"weight": -0.2}},
]
P = M[:2] + [{"model": "c", "parameters": {"weight": 0.4}}]
ALL = [{"model": "a"}, {"model": "b"}, {"model": "c"}]
BASE = {"base_model": "base"}


def layers(model, first, last):
    return {"model": model, "layer_range": [first, last]}


RECIPES = [
    {"merge_method": "linear", "models": P},
    {"merge_method": "linear", "models": M, "parameters": {"normalize": False}},
    {
        "merge_method": "slerp",
        "models": [{"model": "base"}, {"model": "a"}],
        "parameters": {"t": [{"filter": "mlp", "value": [0.2, 0.8]}, {"value": 0.4}]},
    }
    | BASE,
    {"merge_method": "task_arithmetic", "models": M, "parameters": {"lambda": 0.7}} | BASE,
    {"merge_method": "ties", "models": M, "parameters": {"density": 0.4}} | BASE,
    {"merge_method": "ties", "models": P, "parameters": {"density": [0.4, 0.7], "normalize": False}} | BASE,
    {"merge_method": "dare_linear", "models": M, "parameters": {"density": 1.0}} | BASE,
    {"merge_method": "dare_ties", "models": M, "parameters": {"density": 1.0}} | BASE,
    {"merge_method": "della", "models": P, "parameters": {"density": 1.0}} | BASE,
    {"merge_method": "della_linear", "models": M, "parameters": {"density": 1.0}} | BASE,
    {"merge_method": "breadcrumbs", "models": M, "parameters": {"density": 0.6, "gamma": 0.1}} | BASE,
    {"merge_method": "breadcrumbs_ties", "models": M, "parameters": {"density": 0.6, "gamma": 0.1}} | BASE,
    {"merge_method": "model_stock", "models": ALL} | BASE,
    {"merge_method": "model_stock", "models": ALL, "parameters": {"filter_wise": True}} | BASE,
    {"merge_method": "karcher", "models": ALL},
    {"merge_method": "passthrough", "slices": [{"sources": [layers("a", 0, 2)]}, {"sources": [layers("b", 1, 2)]}]},
    {"merge_method": "slerp", "slices": [{"sources": [layers("base", 0, 2), layers("a", 0, 2)]}], "parameters": {"t": 0.3}}
    | BASE,
]

out = output_folder(__file__).resolve()
base = load_file(ROOT / "models/llama/model.safetensors")
config = (ROOT / "models/llama/config.json").read_text()
cases = []
with tempfile.TemporaryDirectory() as work:
    os.chdir(work)
    for step, name in enumerate(["base", "a", "b", "c"]):
        folder = Path(name)
        folder.mkdir()
        (folder / "config.json").write_text(config)
        # The variant of a step: v + 0.05 sin(s² j + s), for number j of a tensor; the base is as it is.
        made = {
            key: (
                value.astype(np.float64)
                + (0.05 * np.sin(step**2 * np.arange(value.size) + step)).reshape(value.shape) * (step > 0)
            ).astype(np.float32)
            for key, value in base.items()
        }
        save_file(made, folder / "model.safetensors", metadata={"format": "pt"})

    def local(value):
        if isinstance(value, dict):
            return {k: f"./{v}" if k in ("model", "base_model") else local(v) for k, v in value.items()}
        return [local(v) for v in value] if isinstance(value, list) else value

    for i, recipe in enumerate(RECIPES):
        configuration = MergeConfiguration.model_validate(local(recipe | {"dtype": "float32"}))
        run_merge(configuration, f"out-{i}", MergeOptions(copy_tokenizer=False, quiet=True))
        tensors = {}
        for shard in sorted(Path(f"out-{i}").glob("*.safetensors")):
            tensors |= load_file(shard)
        shown = {}
        for key, value in sorted(tensors.items()):
            flat = value.astype(np.float64).ravel()
            shown[key] = [float(np.linalg.norm(flat)), float(flat @ np.cos(0.7 * np.arange(flat.size)))]
        cases.append({"recipe": recipe, "tensors": shown})
    os.chdir(ROOT)
write_json(out / "expected.json", {"cases": cases})
