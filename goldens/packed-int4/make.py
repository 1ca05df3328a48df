"""Model folders as GPTQ's and AWQ's own tools lay them out in 4 bits, with the logits of the floats that the codes stand for, W = s (c - z).

The layout is that of AutoGPTQ's and GPTQModel's linear layers and of AutoAWQ's `gemm`; their packages are not run here.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import golden  # noqa: E402

OUT = golden.output_folder(__file__)

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

torch.set_num_threads(1)

CONFIG = LlamaConfig(
    vocab_size=80,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=32,
    initializer_range=0.3,
    tie_word_embeddings=False,
)

# name: quantization_config
CASES = {
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": False, "desc_act": False},
    "gptq-rows": {"quant_method": "gptq", "bits": 4, "group_size": -1, "sym": True, "checkpoint_format": "gptq_v2"},
    "gptq-act-order": {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": True, "desc_act": True},
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"},
}


def quantized(weight: torch.Tensor, groups: torch.Tensor, symmetric: bool):
    """Codes [out, in], scales and zeros [groups, out] of round-to-nearest: the numbers do not matter, their places do."""
    count = int(groups.max()) + 1
    scales, zeros = torch.zeros(count, len(weight)), torch.zeros(count, len(weight), dtype=torch.int32)
    for group in range(count):
        own = weight[:, groups == group]
        if symmetric:
            scales[group] = own.abs().amax(1) / 7.5
            zeros[group] = 8
        else:
            low, high = own.amin(1).clamp(max=0), own.amax(1).clamp(min=0)
            scales[group] = (high - low) / 15
            zeros[group] = torch.round(-low / scales[group]).to(torch.int32)
    # As float16 has them, in files.
    scales = scales.half().float()
    codes = torch.round(weight / scales[groups].T + zeros[groups].T).clamp(0, 15).to(torch.int32)
    return codes, scales, zeros


def packed(values: torch.Tensor, order=range(8)) -> torch.Tensor:
    """Eight numbers of the last axis in an int32; place i of a word has the number order[i]."""
    words = values.reshape(*values.shape[:-1], -1, 8).long()
    total = sum(words[..., column] << (4 * place) for place, column in enumerate(order))
    return (total & 0xFFFFFFFF).to(torch.int64).where(total < 2**31, total - 2**32).to(torch.int32)


def gptq_tensors(codes, scales, zeros, groups, first_format: bool) -> dict:
    stored = (zeros - 1) & 15 if first_format else zeros
    return {
        "qweight": packed(codes).T.contiguous(),
        "qzeros": packed(stored),
        "scales": scales.half(),
        "g_idx": groups.to(torch.int32),
    }


def awq_tensors(codes, scales, zeros) -> dict:
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    return {"qweight": packed(codes.T.contiguous(), order), "qzeros": packed(zeros, order), "scales": scales.half()}


def make(name: str, seed: int) -> None:
    quantization = CASES[name]
    torch.manual_seed(seed)
    model = LlamaForCausalLM(CONFIG).eval()
    size, is_awq = quantization["group_size"], quantization["quant_method"] == "awq"
    first_format = quantization.get("checkpoint_format", "gptq") == "gptq"
    tensors = {}
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if not key.endswith("_proj.weight"):
                parameter.copy_(parameter.half().float())
                tensors[key] = parameter.half().clone()
                continue
            layer, inputs = key.removesuffix(".weight"), parameter.shape[1]
            groups = torch.arange(inputs) // (inputs if size == -1 else size)
            if quantization.get("desc_act") and "o_proj" not in key:
                groups = groups[torch.randperm(inputs)]
            codes, scales, zeros = quantized(parameter, groups, quantization.get("sym", False))
            parts = awq_tensors(codes, scales, zeros) if is_awq else gptq_tensors(codes, scales, zeros, groups, first_format)
            tensors |= {f"{layer}.{part}": value.contiguous() for part, value in parts.items()}
            parameter.copy_((codes - zeros[groups].T) * scales[groups].T)
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    golden.write_json(folder / "config.json", CONFIG.to_diff_dict() | {"quantization_config": quantization})
    ids = torch.randint(0, CONFIG.vocab_size, (2, 7), generator=torch.Generator().manual_seed(seed))
    logits = model(ids).logits
    attention = model.model.layers[1].self_attn.k_proj.weight
    golden.write_tensors(folder / "expected.safetensors", {"input_ids": ids, "logits": logits, "k_proj": attention})
    print(f"{name}: {sum(value.numel() * value.element_size() for value in tensors.values())} bytes")


def main() -> None:
    for seed, name in enumerate(CASES):
        make(name, 4100 + seed)


if __name__ == "__main__":
    main()
