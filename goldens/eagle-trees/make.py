"""EAGLE-2's dynamic draft trees, as the functions of SGLang choose them, over tables of what a head says after each path."""

import ast
import importlib.util
import sys
from pathlib import Path
from typing import List, Optional

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402

torch.set_num_threads(1)
# Only some functions of the package, whose modules need a GPU's kernels to be imported.
package = Path(importlib.util.find_spec("sglang").submodule_search_locations[0]) / "srt" / "speculative"
names = {"torch": torch, "List": List, "Optional": Optional, "maybe_detect_oob": lambda *_: None}


def take(file: str, *wanted: str) -> None:
    for node in ast.parse((package / file).read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name in wanted:
            node.decorator_list = []
            exec(compile(ast.Module([node], []), file, "exec"), names)  # noqa: S102


take("spec_utils.py", "fast_topk", "_select_top_k_tokens_first", "_select_top_k_tokens_later", "select_top_k_tokens")
take("eagle_utils.py", "organize_draft_results")
names.setdefault("fast_topk", lambda values, k, dim: torch.topk(values, k, dim=dim))

VOCABULARY = 7
CASES = [(2, 3, 5), (3, 4, 12), (1, 4, 4), (4, 2, 9), (5, 5, 24)]


def tree(top_k: int, depth: int, total: int, generator: torch.Generator) -> dict:
    said = {}

    def after(path: tuple) -> torch.Tensor:
        """Probabilities after a path of tokens."""
        if path not in said:
            said[path] = [round(x, 3) for x in (1.5 * torch.randn(VOCABULARY, generator=generator)).tolist()]
        return torch.tensor(said[path], dtype=torch.float64).softmax(-1)

    # Every considered token as a path, in SGLang's order of its flattened scores.
    considered, asked = [], [()]
    scores, score_list, token_list, parents_list = None, [], [], []
    for step in range(depth):
        top = [torch.topk(after(path), top_k) for path in asked]
        probabilities = torch.stack([one.values for one in top])
        tokens = torch.stack([one.indices for one in top])
        for path, row in zip(asked, tokens.tolist()):
            considered += [(*path, token) for token in row]
        ids, _, scores, info = names["select_top_k_tokens"](step, probabilities, tokens, torch.zeros(0, 1), scores, top_k)
        score_list.append(info[0])
        token_list.append(info[1])
        parents_list.append(info[2])
        # `info[2]` of the first step begins with the root, and later are places in the flattened scores.
        chosen = range(top_k) if step == 0 else info[2][0].tolist()
        asked = [considered[place] for place in chosen]
        assert [path[-1] for path in asked] == ids.tolist()
    _, kept, tokens = names["organize_draft_results"](score_list, token_list, parents_list, total + 1)
    paths = [considered[place] for place in kept[0].tolist()]
    assert [path[-1] for path in paths] == tokens[0].tolist()
    logits = [[list(path), values] for path, values in said.items()]
    return {"topK": top_k, "depth": depth, "totalTokens": total, "logits": logits, "paths": [list(path) for path in paths]}


generator = torch.Generator().manual_seed(7)
write_json(output_folder(__file__) / "expected.json", {"cases": [tree(*case, generator) for case in CASES for _ in range(2)]})
