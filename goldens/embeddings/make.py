"""A tiny BERT in the layout of sentence-transformers, and embeddings by transformers and sentence-transformers' formulas."""

import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT), str(ROOT / "tokenizers")]
from golden import output_folder, write_json, write_tensors  # noqa: E402

import torch  # noqa: E402
from corpus import corpus  # noqa: E402
from tokenizers import normalizers, pre_tokenizers  # noqa: E402
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizer  # noqa: E402
from transformers.utils import logging  # noqa: E402

torch.set_num_threads(1)
logging.disable_progress_bar()

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MAX_TOKENS = 24
WIDTH = 16
TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Café déjà vu – NAÏVE façade, Ångström!",
    "",
    "日本語 text, mixed with English",
    "unaffable tokenization's [MASK] 3.14159",
    "a",
    " two  spaces\tand a tab\n",
    "\u0002control\u200b characters \U0001f600 \u2126",
]


def tokenizer() -> BertTokenizer:
    """Characters, frequent words and frequent endings: training WordPiece breaks ties differently every time."""
    normalize, split = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = Counter(word for text in corpus() for word, _ in split.pre_tokenize_str(normalize.normalize_str(text)))
    characters = sorted({character for word in words for character in word})
    endings = Counter(word[-3:] for word in words.elements() if len(word) > 4)
    frequent = [word for word, _ in sorted(words.items(), key=lambda item: (-item[1], item[0])) if len(word) > 1]
    tails = [ending for ending, _ in sorted(endings.items(), key=lambda item: (-item[1], item[0]))]
    pieces = characters + [f"##{c}" for c in characters] + frequent[:150] + [f"##{ending}" for ending in tails[:40]]
    return BertTokenizer(vocab={piece: index for index, piece in enumerate(SPECIALS + pieces)}, do_lower_case=True)


def pooled(hidden: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """As sentence_transformers' Pooling has them."""
    weights = mask[..., None].expand(hidden.shape).float()
    last = mask.shape[1] - 1 - mask.flip(1).argmax(1)
    return {
        "cls": hidden[:, 0],
        "mean": (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9),
        "max": hidden.masked_fill(weights == 0, -1e9).max(1).values,
        "last": hidden[torch.arange(len(hidden)), last],
    }


def sentence_transformers_files(folder: Path) -> None:
    write_json(
        folder / "modules.json",
        [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
    )
    modes = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
    pooling = {f"pooling_mode_{mode}": mode == "mean_tokens" for mode in modes}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": WIDTH} | pooling | {"include_prompt": True})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": MAX_TOKENS, "do_lower_case": False})
    write_json(folder / "config_sentence_transformers.json", {"prompts": {}, "default_prompt_name": None})


def bert(folder: Path) -> tuple[dict, dict]:
    tokens = tokenizer()
    tokens.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokens) + 3,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=40,
    )
    generator = torch.Generator().manual_seed(3000)
    model = BertModel._from_config(config, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = name.endswith("LayerNorm.weight")
            parameter.copy_(1 + 0.3 * noise if is_norm else noise * (0.3 if parameter.dim() == 2 else 0.2))
    model.save_pretrained(folder)
    sentence_transformers_files(folder)

    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    tokens = AutoTokenizer.from_pretrained(folder)
    batch = tokens(TEXTS, padding=True, return_tensors="pt")
    hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"]
    tensors = {"hidden": hidden.masked_fill(mask[..., None] == 0, 0.0), "mask": mask, "ids": batch["input_ids"]}
    tensors |= {f"pooled.{mode}": vectors for mode, vectors in pooled(hidden, mask).items()}
    tensors["normalized.mean"] = torch.nn.functional.normalize(pooled(hidden, mask)["mean"], p=2, dim=1)
    # The gradient of a sum of embeddings with signs, to see that every part takes part.
    signs = torch.arange(WIDTH).remainder(2).mul(2).sub(1)
    (tensors["pooled.mean"] * signs).square().sum().backward()
    parameters = dict(model.named_parameters())
    for name in ("embeddings.word_embeddings.weight", "encoder.layer.0.attention.self.query.weight", "encoder.layer.1.output.LayerNorm.bias"):
        tensors[f"gradient.{name}"] = parameters[name].grad

    long = " ".join(TEXTS)
    cut = tokens([long], truncation=True, max_length=MAX_TOKENS)["input_ids"][0]
    decoded = [tokens.decode(tokens(text)["input_ids"], skip_special_tokens=True) for text in TEXTS]
    scalars = {
        "texts": TEXTS,
        "ids": [tokens(text)["input_ids"] for text in TEXTS],
        "decoded": decoded,
        "long": long,
        "cut": cut,
    }
    return tensors, scalars


def causal() -> dict:
    """Right-padded rows of a causal model, whose folder is that of goldens/models."""
    model = AutoModel.from_pretrained(ROOT / "models" / "qwen3", dtype=torch.float32, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(3001)
    ids = torch.randint(4, 256, (3, 9), generator=generator)
    mask = torch.tensor([[1] * n + [0] * (9 - n) for n in (9, 4, 1)])
    with torch.no_grad():
        vectors = pooled(model(ids.masked_fill(mask == 0, 0), attention_mask=mask).last_hidden_state, mask)
    return {"causal.ids": ids, "causal.mask": mask} | {f"causal.{mode}": vectors[mode] for mode in ("mean", "last")}


def main() -> None:
    out = output_folder(__file__)
    tensors, scalars = bert(out / "bert")
    write_tensors(out / "expected.safetensors", tensors | causal())
    write_json(out / "expected.json", scalars)
    print(tensors["pooled.mean"].shape, scalars["ids"][0], scalars["decoded"])


if __name__ == "__main__":
    main()
