"""A tiny Qwen3-Embedding folder as the published ones are (a trunk without an output layer, left padding, an end token behind every text), and the vectors of sentence-transformers."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import torch  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors  # noqa: E402
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model  # noqa: E402

torch.set_num_threads(1)
END = "<|endoftext|>"
TASK = "Given a web search query, retrieve relevant passages that answer the query"
QUERIES = ["What is the capital of China?", " Explain gravity"]
DOCUMENTS = ["The capital of China is Beijing.", "Gravity attracts.", "日本語", ""]


def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes with a few merges, in the parts that Qwen's tokenizer.json has."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("Ġ", "th"), ("i", "n"), ("Ġ", "c")]
    vocab = {piece: index for index, piece in enumerate(alphabet + [a + b for a, b in merges])}
    inner = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    inner.normalizer = normalizers.NFC()
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(END, special=True)])
    end = inner.token_to_id(END)
    template = processors.TemplateProcessing(single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=[(END, end)])
    inner.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=END, pad_token=END, padding_side="left", model_max_length=512)


def main() -> None:
    out = output_folder(__file__)
    folder = out / "model"
    tokens = tokenizer()
    tokens.save_pretrained(folder)
    config = Qwen3Config(
        vocab_size=len(tokens) + 2, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        max_position_embeddings=256, tie_word_embeddings=False, bos_token_id=tokens.eos_token_id, eos_token_id=tokens.eos_token_id,
    )
    generator = torch.Generator().manual_seed(3100)
    model = Qwen3Model._from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.3 * noise if "norm" in name else 0.4 * noise)
    model.save_pretrained(folder)
    # As the published folders have it: the class of a causal model, over tensors of the trunk.
    written = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", written | {"architectures": ["Qwen3ForCausalLM"]})
    types = ["Transformer", "Pooling", "Normalize"]
    paths = ["", "1_Pooling", "2_Normalize"]
    write_json(folder / "modules.json", [{"idx": i, "name": str(i), "path": paths[i], "type": f"sentence_transformers.models.{types[i]}"} for i in range(3)])
    modes = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
    pooling = {f"pooling_mode_{mode}": mode == "lasttoken" for mode in modes}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 16} | pooling | {"include_prompt": True})
    prompts = {"query": f"Instruct: {TASK}\nQuery:", "document": ""}
    write_json(folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"})

    embedder = SentenceTransformer(str(folder), device="cpu")
    vectors = {
        "queries": embedder.encode(QUERIES, prompt_name="query"),
        "documents": embedder.encode(DOCUMENTS, prompt_name="document"),
        "plain": embedder.encode(QUERIES),
        "own": embedder.encode(QUERIES, prompt="Instruct: Classify\nQuery:"),
    }
    write_tensors(out / "expected.safetensors", {key: torch.from_numpy(rows) for key, rows in vectors.items()})
    ids = [tokens(prompts["query"] + text)["input_ids"] for text in QUERIES]
    write_json(out / "expected.json", {"task": TASK, "queries": QUERIES, "documents": DOCUMENTS, "ids": ids})
    print({key: rows.shape for key, rows in vectors.items()}, ids[0][-3:])


if __name__ == "__main__":
    main()
