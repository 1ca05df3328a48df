"""Tiny GGUF files written by the gguf package, with what gguf and transformers make of them."""

import json
import math
import re
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_tensors  # noqa: E402

import gguf  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from llama_cpp import q4_k  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, Qwen3Config  # noqa: E402
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS  # noqa: E402
from transformers.utils import logging  # noqa: E402

torch.set_num_threads(1)
logging.disable_progress_bar()
logging.set_verbosity_error()
GOLDENS = Path(__file__).resolve().parents[1]
Type = gguf.GGMLQuantizationType
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

# Folders of goldens/models whose GGUF files transformers loads with the same logits. It has no rope_freqs, no linear
# scaling and no Llama biases.
LOADED_BY_TRANSFORMERS = ["llama", "qwen2", "qwen3", "gpt2", "smollm2", "gemma2", "gemma3-text", "phi3", "phi3-longrope"]
# In goldens/mixture-of-experts.
MIXTURES = ["mixtral", "qwen3-moe"]
FLOAT_MODELS = [*LOADED_BY_TRANSFORMERS, "llama3-rope", "llama-bias-linear-rope", "olmo2"]
KINDS = {"gemma3_text": "gemma3", "mixtral": "llama", "qwen3_moe": "qwen3moe"}
TRANSPOSED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")


def interleave(weight: np.ndarray, heads: int) -> np.ndarray:
    """What llama.cpp's converter does to Llama's q and k: rows that rotate together become neighbours."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def write_config(writer: gguf.GGUFWriter, config) -> None:
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    if config.model_type == "gpt2":
        writer.add_feed_forward_length(4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    rope = config.rope_parameters
    if config.model_type == "gemma3_text":
        rope = rope["full_attention"]
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_rope_dimension_count(int(head_dim * rope.get("partial_rotary_factor", 1)))
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    write_windows(writer, config)
    if config.model_type in ("mixtral", "qwen3_moe"):
        writer.add_expert_count(config.num_local_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
    if config.model_type == "qwen3_moe":
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "llama3":
        plain = 1 / rope["rope_theta"] ** (torch.arange(0, head_dim, 2).float() / head_dim)
        scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
        writer.add_tensor("rope_freqs.weight", (plain / scaled).numpy().astype(np.float32))


def stacked_experts(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The matrices of all experts of a layer as one tensor, under the name that the package's map knows."""
    result, experts = {}, {}
    for name, array in tensors.items():
        match = re.fullmatch(r"(.*)\.experts\.(\d+)\.(\w+)\.weight", name)
        if match:
            experts.setdefault(f"{match[1]}.experts.{match[3]}.weight", {})[int(match[2])] = array
        else:
            result[name] = array
    return result | {name: np.stack([parts[i] for i in range(len(parts))]) for name, parts in experts.items()}


def write_windows(writer: gguf.GGUFWriter, config) -> None:
    """Windows and caps of Gemma, windows and long positions of Phi-3."""
    if config.model_type in ("gemma2", "gemma3_text", "phi3"):
        writer.add_sliding_window(config.sliding_window or 0)
    if config.model_type == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if config.model_type == "gemma3_text":
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in config.layer_types])
    if config.model_type == "phi3":
        writer.add_rope_scaling_orig_ctx_len(config.original_max_position_embeddings)
        if config.rope_parameters["rope_type"] == "longrope":
            stretch = config.max_position_embeddings / config.original_max_position_embeddings
            attention = math.sqrt(1 + math.log(stretch) / math.log(config.original_max_position_embeddings))
            writer.add_rope_scaling_attn_factors(attention)
            for kind in ("long", "short"):
                factors = np.array(config.rope_parameters[f"{kind}_factor"], dtype=np.float32)
                writer.add_tensor(f"rope_factors_{kind}.weight", factors)


def write_model(path: Path, config, tensors: dict[str, np.ndarray], tokenizer, quantize) -> None:
    """`quantize(name, array)` gives the stored array and its type."""
    kind = KINDS.get(config.model_type, config.model_type)
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == kind)
    # The package's map of Qwen3-MoE has no layers without experts.
    maps = [gguf.get_tensor_name_map(key, config.num_hidden_layers) for key in (arch, gguf.MODEL_ARCH.QWEN3)]
    writer = gguf.GGUFWriter(path, kind)
    writer.add_name(path.stem)
    write_config(writer, config)
    tokenizer(writer)
    for name, array in stacked_experts(tensors).items():
        if name.endswith(TRANSPOSED):
            array = array.T
        if kind.startswith("gemma") and name.endswith("norm.weight"):
            array = array + 1
        if kind == "llama" and ".q_proj." in name:
            array = interleave(array, config.num_attention_heads)
        if kind == "llama" and ".k_proj." in name:
            array = interleave(array, config.num_key_value_heads)
        stem, suffix = name.rsplit(".", 1)
        stored, dtype = quantize(name, np.ascontiguousarray(array, dtype=np.float32))
        name = next(filter(None, (names.get_name(stem) for names in maps)))
        writer.add_tensor(f"{name}.{suffix}", stored, raw_dtype=dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def as_float32(_, array):
    return array, Type.F32


def quantizer(matrices: Type, output: Type = Type.F32):
    def quantize(name: str, array: np.ndarray):
        if array.ndim == 1:
            return array, Type.F32
        dtype = output if "embed" in name or "lm_head" in name else matrices
        return gguf.quants.quantize(array, dtype), dtype

    return quantize


def byte_alphabet() -> list[str]:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def plain_tokenizer(vocab: int):
    """Byte-level BPE with a single merge: these models are there for their numbers."""

    def write(writer: gguf.GGUFWriter) -> None:
        tokens = ["<pad>", "<s>", "</s>", "th", *byte_alphabet()[: min(vocab, 256) - 4]]
        tokens += [f"[PAD{index}]" for index in range(len(tokens), vocab)]
        types = [CONTROL] * 3 + [NORMAL] * (min(vocab, 256) - 3)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(tokens)
        writer.add_token_types(types + [UNUSED] * (vocab - len(types)))
        writer.add_token_merges(["t h"])
        writer.add_pad_token_id(0)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)

    return write


def golden_tokenizer(kind: str):
    """A tokenizer of goldens/tokenizers as llama.cpp's converter writes it."""
    folder = GOLDENS / "tokenizers" / kind
    state = json.loads((folder / "tokenizer.json").read_text())
    config = json.loads((folder / "tokenizer_config.json").read_text())
    vocab = dict(state["model"]["vocab"])
    added = {token["content"]: token for token in state["added_tokens"]}
    ids = vocab | {content: token["id"] for content, token in added.items()}
    by_id = sorted(ids, key=ids.get)
    assert [ids[token] for token in by_id] == list(range(len(by_id)))
    merges = [pair if isinstance(pair, list) else pair.split(" ") for pair in state["model"]["merges"]]

    def type_of(token: str) -> int:
        if token == "<unk>":
            return UNKNOWN
        if token in added:
            return CONTROL if added[token]["special"] else USER_DEFINED
        return BYTE if token.startswith("<0x") and kind == "sentencepiece-bpe" else NORMAL

    def write(writer: gguf.GGUFWriter) -> None:
        spm = kind == "sentencepiece-bpe"
        writer.add_tokenizer_model("llama" if spm else "gpt2")
        writer.add_tokenizer_pre("default" if spm else "llama-bpe")
        writer.add_token_list(by_id)
        writer.add_token_types([type_of(token) for token in by_id])
        if spm:
            first = {left + right: -float(rank) for rank, (left, right) in reversed(list(enumerate(merges)))}
            # Pieces of one character have the lowest scores, as SentencePiece gives them.
            writer.add_token_scores([first.get(token, -1000.0 - ids[token]) if type_of(token) == NORMAL else 0.0 for token in by_id])
            writer.add_unk_token_id(ids["<unk>"])
        else:
            writer.add_token_merges([" ".join(pair) for pair in merges])
        for role in ("bos", "eos", "pad"):
            getattr(writer, f"add_{role}_token_id")(ids[config[f"{role}_token"]])
        writer.add_add_bos_token(True)
        writer.add_add_eos_token(False)
        if not spm:
            writer.add_eot_token_id(ids["<|eot_id|>"])
        writer.add_chat_template((folder / "chat_template.jinja").read_text())

    return write, len(by_id)


def float_models(out: Path) -> None:
    for kind in [*FLOAT_MODELS, *MIXTURES]:
        folder = GOLDENS / ("mixture-of-experts" if kind in MIXTURES else "models") / kind
        config = AutoConfig.from_pretrained(folder)
        stored = load_file(folder / "model.safetensors")
        bfloat16 = any(tensor.dtype == torch.bfloat16 for tensor in stored.values())
        tensors = {name: tensor.float().numpy() for name, tensor in stored.items()}
        quantize = quantizer(Type.BF16, Type.BF16) if bfloat16 else as_float32
        write_model(out / f"{kind}.gguf", config, tensors, plain_tokenizer(config.vocab_size), quantize)
        if kind in LOADED_BY_TRANSFORMERS:
            expected = load_file(folder / "expected.safetensors")
            with torch.no_grad():
                logits = load(out / f"{kind}.gguf", config)(expected["batch.input_ids"]).logits
            difference = (logits - expected["batch.logits"]).abs().max().item()
            print(kind, "transformers loads it; largest difference of a logit", difference)
            assert difference < 1e-4


def load(path: Path, config):
    """The config is given: transformers reads no head size of Qwen3 and no context of GPT-2."""
    options = {"config": config, "gguf_file": path.name, "dtype": torch.float32, "attn_implementation": "eager"}
    model = AutoModelForCausalLM.from_pretrained(path.parent, **options)
    return model.eval()


def random_tensors(config, generator: torch.Generator) -> dict[str, np.ndarray]:
    model = AutoModelForCausalLM.from_config(config)
    tensors = {}
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        tensors[name] = ((1 + 0.3 * noise) if parameter.dim() == 1 else 0.2 * noise).numpy()
    return tensors


def random_blocks(rows: int, columns: int, dtype: Type, generator: torch.Generator, scale: float) -> np.ndarray:
    """Bytes of any value, with float16 scales of a sane size (as the types have them)."""
    size, length = gguf.GGML_QUANT_SIZES[dtype]
    bytes_ = torch.randint(0, 256, (rows * columns // size, length), generator=generator, dtype=torch.uint8).numpy()
    halves = {Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q6_K: [208]}.get(dtype, [0, 2])
    if dtype in (Type.Q4_0, Type.Q5_0, Type.Q8_0):
        halves = [0]
    for at in halves:
        values = scale * torch.randn((len(bytes_), 1), generator=generator)
        bytes_[:, at : at + 2] = values.half().numpy().view(np.uint8)
    return bytes_.reshape(rows, -1)


BLOCK_TYPES = [Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0, Type.Q2_K, Type.Q3_K, Type.Q4_K, Type.Q5_K, Type.Q6_K]


def blocks(out: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for dtype in BLOCK_TYPES:
        stored = random_blocks(3, 512, dtype, generator, 0.5)
        if dtype in (Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0):
            stored[1:] = gguf.quants.quantize(torch.randn((2, 512), generator=generator).numpy(), dtype)
        tensors[f"{dtype.name}.bytes"] = torch.from_numpy(stored)
        tensors[f"{dtype.name}.values"] = torch.from_numpy(gguf.quants.dequantize(stored, dtype))
    write_tensors(out / "blocks.safetensors", tensors)


def encoded(out: Path) -> None:
    """Numbers and the blocks that they are written as: of usual size, tiny, of one sign, all equal, zero, and with ties."""
    generator = torch.Generator().manual_seed(3)
    values = torch.randn((12, 64), generator=generator)
    values[1] *= 1e-6
    values[2] *= 1e3
    values[3] = values[3].abs()
    values[4] = -values[4].abs()
    values[5] = 0.75
    values[6] = 0
    values[7] = torch.round(values[7] * 4) / 8
    values[8, 32:] = 0
    tensors = {"values": values}
    for dtype in (Type.F16, Type.BF16, Type.Q8_0, Type.Q5_0, Type.Q4_0):
        stored = np.ascontiguousarray(gguf.quants.quantize(values.numpy(), dtype))
        tensors[f"{dtype.name}.bytes"] = torch.from_numpy(stored.view(np.uint8))
    write_tensors(out / "encoded.safetensors", tensors)


def quantized_models(out: Path) -> None:
    expected = {}
    common = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "rms_norm_eps": 1e-5}
    generator = torch.Generator().manual_seed(2)
    for name, kind, dtype in [("bpe-q4_0", "byte-level-bpe", Type.Q4_0), ("spm-q8_0", "sentencepiece-bpe", Type.Q8_0)]:
        tokenizer, vocab = golden_tokenizer(kind)
        rope = {"rope_type": "default", "rope_theta": 10000.0}
        config = LlamaConfig(
            **common, hidden_size=32, intermediate_size=64, num_hidden_layers=2, vocab_size=vocab, tie_word_embeddings=False, rope_parameters=rope
        )
        output = Type.F16 if name == "bpe-q4_0" else Type.Q8_0
        write_model(out / f"{name}.gguf", config, random_tensors(config, generator), tokenizer, quantizer(dtype, output))
        expected |= logits_of(out / f"{name}.gguf", config, generator)
    config = Qwen3Config(
        **common,
        hidden_size=256,
        intermediate_size=32,
        head_dim=8,
        num_hidden_layers=1,
        vocab_size=96,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
    )
    # k-quants have rows of 256. o_proj and down_proj have rows of 32.
    types = {"q_proj": Type.Q2_K, "k_proj": Type.Q3_K, "v_proj": Type.Q4_K, "gate_proj": Type.Q5_K, "up_proj": Type.Q4_K, "embed_tokens": Type.Q6_K}
    types |= {"o_proj": Type.Q5_0, "down_proj": Type.Q8_0}
    # About the standard deviation 0.05 of a weight, whatever range the codes of a type have.
    scales = {Type.Q2_K: 0.004, Type.Q3_K: 0.0012, Type.Q4_K: 0.0002, Type.Q5_K: 0.0001, Type.Q6_K: 0.00004, Type.Q5_0: 0.005, Type.Q8_0: 0.0007}

    def k_quants(name: str, array: np.ndarray):
        dtype = next((dtype for part, dtype in types.items() if part in name), Type.F32)
        if dtype == Type.F32:
            return array, dtype
        return random_blocks(*array.shape, dtype, generator, scales[dtype]), dtype

    write_model(out / "k-quants.gguf", config, random_tensors(config, generator), plain_tokenizer(config.vocab_size), k_quants)
    expected |= logits_of(out / "k-quants.gguf", config, generator)
    write_tensors(out / "expected.safetensors", expected)


def logits_of(path: Path, config, generator: torch.Generator) -> dict[str, torch.Tensor]:
    ids = torch.randint(4, config.vocab_size, (2, 8), generator=generator)
    with torch.no_grad():
        logits = load(path, config)(ids).logits
    print(path.stem, "logits", logits.std().item(), path.stat().st_size, "bytes")
    return {f"{path.stem}.input_ids": ids, f"{path.stem}.logits": logits}


def main() -> None:
    out = output_folder(__file__)
    blocks(out)
    encoded(out)
    q4_k(out)
    float_models(out)
    quantized_models(out)


if __name__ == "__main__":
    main()
