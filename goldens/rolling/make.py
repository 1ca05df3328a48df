"""Windows of lm-evaluation-harness's rolling log-likelihood, as its own functions cut them; likelihoods of a model in the
windows of the guide to perplexity of transformers."""

import importlib.util
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402
from transformers.utils import logging  # noqa: E402

torch.set_num_threads(1)
logging.disable_progress_bar()
# Only this file of the package, which needs nothing that lm-eval depends on beyond transformers' own dependencies.
package = Path(importlib.util.find_spec("lm_eval").submodule_search_locations[0])
spec = importlib.util.spec_from_file_location("lm_eval_utils", package / "utils.py")
utils = importlib.util.module_from_spec(spec)
spec.loader.exec_module(utils)

PREFIX = 0
CASES = [(n, longest, context) for n in (1, 2, 5, 8, 9, 17, 23) for longest in (1, 4, 8) for context in (1, 3, 8) if context <= longest]
THEIRS = [(34, 10, 1), (34, 10, 8), (34, 10, 10), (30, 10, 10), (30, 10, 1), (9, 2, 1)]


LENGTH = 40
STRIDES = [(16, 6), (16, 15), (16, 1), (64, 8)]


def strided(model, ids: torch.Tensor, longest: int, stride: int) -> list[list[float]]:
    """Log-probabilities of the tokens that count in each window: labels -100 mask the others, as in the guide."""
    windows, previous = [], 0
    for begin in range(0, ids.shape[1], stride):
        end = min(begin + longest, ids.shape[1])
        piece, labels = ids[:, begin:end], ids[:, begin:end].clone()
        labels[:, : -(end - previous)] = -100
        with torch.no_grad():
            log_probs = model(piece).logits[0, :-1].log_softmax(-1)
        kept = labels[0, 1:] != -100
        windows.append(log_probs[kept].gather(1, piece[0, 1:][kept][:, None])[:, 0].tolist())
        previous = end
        if end == ids.shape[1]:
            break
    return windows


def main() -> None:
    model = AutoModelForCausalLM.from_pretrained(Path(__file__).resolve().parents[1] / "models" / "smollm2", dtype=torch.float32).eval()
    ids = torch.randint(4, 256, (1, LENGTH), generator=torch.Generator().manual_seed(5))
    stride = [{"max_length": a, "stride": b, "log_probs": strided(model, ids, a, b)} for a, b in STRIDES]
    write_json(output_folder(__file__) / "stride.json", {"ids": ids[0].tolist(), "cases": stride})
    cases = []
    # The vectors of lm-eval's own tests/test_utils.py are of the tokens 0, 1, 2, ... behind -100.
    for first, prefix, count, longest, context in [(100, PREFIX, *case) for case in CASES] + [(0, -100, *case) for case in THEIRS]:
        tokens = list(range(first, first + count))
        windows = utils.get_rolling_token_windows(tokens, prefix, longest, context)
        disjoint = [utils.make_disjoint_window(window) for window in windows]
        cases.append({"prefix": prefix, "tokens": tokens, "max_seq_len": longest, "context_len": context, "windows": disjoint})
    write_json(output_folder(__file__) / "windows.json", {"cases": cases})


if __name__ == "__main__":
    main()
