"""Model folders as GPTQModel's linear layers pack GPTQ (formats `gptq` and `gptq_v2`) and AWQ (`gemm`) in 4 bits, with the logits of what it unpacks."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import golden  # noqa: E402

OUT = golden.output_folder(__file__)

import torch  # noqa: E402
from gptqmodel import QuantizeConfig  # noqa: E402
from gptqmodel.nn_modules.qlinear.torch import TorchLinear  # noqa: E402
from gptqmodel.nn_modules.qlinear.torch_awq import AwqTorchLinear  # noqa: E402
from gptqmodel.utils.model import convert_gptq_v2_to_v1_format_module  # noqa: E402
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


def packed(floats, scales, zeros, groups, quantization: dict) -> tuple[dict, torch.Tensor]:
    """The tensors of GPTQModel's layer for floats [out, in] that are exact products of codes, and the floats that it unpacks."""
    with torch.random.fork_rng():
        linear = torch.nn.Linear(floats.shape[1], floats.shape[0], bias=False)
    linear.weight.data = floats.clone()
    is_awq, size = quantization["quant_method"] == "awq", quantization["group_size"]
    kind = AwqTorchLinear if is_awq else TorchLinear
    size, sym, desc_act = size, quantization.get("sym", False), quantization.get("desc_act", False)
    layer = kind(4, size, sym, desc_act, linear.in_features, linear.out_features, pack_dtype=torch.int32)
    if is_awq:
        layer.pack(linear, scales.T, zeros.T)
        unpacked = layer._dequantize_weight_for_inference(floats, dtype=torch.float16).T.float()
        return {name: getattr(layer, name) for name in ("qweight", "qzeros", "scales")}, unpacked
    # In numpy; `pack` compiles the same.
    layer.pack_original(linear, scales.T.contiguous(), zeros.T.contiguous(), groups.to(torch.int32))
    unpacked = layer.dequantize_weight().T.float()
    if quantization.get("checkpoint_format", "gptq") == "gptq":
        convert_gptq_v2_to_v1_format_module(layer, QuantizeConfig(bits=4, group_size=size))
    return {name: getattr(layer, name) for name in ("qweight", "qzeros", "scales", "g_idx")}, unpacked


def make(name: str, seed: int) -> None:
    quantization = CASES[name]
    torch.manual_seed(seed)
    model = LlamaForCausalLM(CONFIG).eval()
    size, tensors = quantization["group_size"], {}
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if not key.endswith("_proj.weight"):
                parameter.copy_(parameter.half().float())
                tensors[key] = parameter.half().clone()
                continue
            layer, inputs = key.removesuffix(".weight"), parameter.shape[1]
            # Outputs without a negative weight have the zero 0, which the format `gptq` stores as less than nothing.
            parameter[::3] = parameter[::3].abs()
            groups = torch.arange(inputs) // (inputs if size == -1 else size)
            if quantization.get("desc_act") and "o_proj" not in key:
                groups = groups[torch.randperm(inputs)]
            codes, scales, zeros = quantized(parameter, groups, quantization.get("sym", False))
            floats = (codes - zeros[groups].T) * scales[groups].T
            parts, unpacked = packed(floats, scales, zeros, groups, quantization)
            # Its arithmetic has half precision.
            assert torch.allclose(unpacked, floats, rtol=2e-3, atol=1e-6), f"GPTQModel unpacks {layer} as it was packed"
            tensors |= {f"{layer}.{part}": value.contiguous() for part, value in parts.items()}
            parameter.copy_(floats)
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
