"""TRL's PRMTrainer: the tokens and labels of its rows, and the loss of transformers' token classifiers that it trains."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json  # noqa: E402

import numpy  # noqa: E402
import torch  # noqa: E402
from transformers import AutoModelForTokenClassification, AutoTokenizer  # noqa: E402
from trl.experimental.prm import PRMTrainer  # noqa: E402
from trl.experimental.prm.prm_trainer import compute_accuracy  # noqa: E402

torch.set_num_threads(1)

ROWS = [
    {"prompt": "Which number is larger, 9.8 or 9.11?", "completions": ["11 is greater than 8.", "Hence, 9.11 > 9.8."], "labels": [True, False]},
    {"prompt": "What is 2 + 3 * 4?", "completions": ["3 * 4 is 12", "2 + 12 is 14", "So it is 14."], "labels": [1, 1, 1]},
    {"prompt": "Name a prime.", "completions": ["  Ein\u00f6de", "4"], "labels": [1, 0]},
]
SETTINGS = [
    {"step_separator": "\n", "max_length": None, "max_completion_length": None, "train_on_last_step_only": False, "is_eval": False},
    {"step_separator": "\n\n", "max_length": 24, "max_completion_length": None, "train_on_last_step_only": False, "is_eval": False},
    {"step_separator": "\n", "max_length": None, "max_completion_length": 14, "train_on_last_step_only": False, "is_eval": False},
    {"step_separator": " ки", "max_length": None, "max_completion_length": None, "train_on_last_step_only": True, "is_eval": False},
    {"step_separator": " ки", "max_length": None, "max_completion_length": None, "train_on_last_step_only": True, "is_eval": True},
]


def tokens() -> list[dict]:
    found = []
    for name in ("byte-level-bpe", "sentencepiece-bpe"):
        tokenizer = AutoTokenizer.from_pretrained(ROOT / "tokenizers" / name)
        for settings in SETTINGS:
            rows = [PRMTrainer.tokenize_row(row, tokenizer, **settings) for row in ROWS]
            found.append({"tokenizer": name, "settings": settings, "rows": rows})
    return found


def losses() -> list[dict]:
    generator = torch.Generator().manual_seed(47)
    found = []
    for name, count in (("mistral-token", 2), ("qwen3-token", 3)):
        # As PRMTrainer does by default (disable_dropout).
        model = AutoModelForTokenClassification.from_pretrained(ROOT / "heads" / name, dtype=torch.float32).eval()
        rows = [torch.randint(3, 64, (length,), generator=generator).tolist() for length in (9, 5, 12)]
        labels = [[-100] * len(row) for row in rows]
        for row, places in zip(labels, ([3, 8], [4], [2, 6, 7, 11])):
            for at in places:
                row[at] = torch.randint(0, count, (1,), generator=generator).item()
        width = max(map(len, rows))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        padded = torch.tensor([row + [-100] * (width - len(row)) for row in labels])
        output = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=padded)
        output.loss.backward()
        named = dict(model.named_parameters())
        accuracy = compute_accuracy((output.logits.detach().numpy(), numpy.array(padded)))["accuracy"]
        found.append(
            {
                "model": name,
                "rows": [{"input_ids": row, "labels": label} for row, label in zip(rows, labels)],
                "loss": output.loss.item(),
                "accuracy": accuracy,
                "score": named["score.weight"].grad.flatten().tolist(),
                "norm": named["model.norm.weight"].grad.tolist(),
            }
        )
    return found


def main() -> None:
    write_json(output_folder(__file__) / "expected.json", {"rows": ROWS, "tokens": tokens(), "losses": losses()})


if __name__ == "__main__":
    main()
