"""Model folders whose linear layers are FP8, MXFP4 or NVFP4 with scales, as the tools that write such files have them, with the logits of what
transformers and compressed-tensors dequantise; and the fused experts of gpt-oss."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import golden  # noqa: E402

OUT = golden.output_folder(__file__)

import torch  # noqa: E402
from compressed_tensors.compressors.nvfp4.helpers import quantize_and_pack_fp4, unpack_fp4_from_uint8  # noqa: E402
from compressed_tensors.quantization import QuantizationArgs  # noqa: E402
from compressed_tensors.quantization.lifecycle.forward import dequantize  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402
from transformers.integrations.finegrained_fp8 import Fp8Dequantize  # noqa: E402
from transformers.integrations.mxfp4 import _convert_moe_packed_tensors  # noqa: E402

torch.set_num_threads(1)
FP8 = torch.float8_e4m3fn

CONFIG = LlamaConfig(
    vocab_size=40,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=1,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=32,
    initializer_range=0.3,
    tie_word_embeddings=False,
)


def group(**weights) -> dict:
    """One group of compressed-tensors for all linear layers; inputs rounded too, as such files have it."""
    weights = {"num_bits": 8, "type": "float", "symmetric": True, "dynamic": False, "actorder": None} | weights
    inputs = {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True, "symmetric": True}
    return {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": inputs, "output_activations": None}}


def compressed(format_: str, **weights) -> dict:
    shared = {"quant_method": "compressed-tensors", "ignore": ["lm_head"], "kv_cache_scheme": None}
    return shared | {"format": format_, "config_groups": group(**weights)}


# name: quantization_config
CASES = {
    "fp8-blocks": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [16, 16]},
    "fp8-channels": compressed("float-quantized", strategy="channel"),
    "fp8-tensors": compressed("float-quantized", strategy="tensor"),
    "fbgemm-fp8": {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0, "modules_to_not_convert": ["lm_head"]},
    "nvfp4": compressed("nvfp4-pack-quantized", num_bits=4, strategy="tensor_group", group_size=16),
    "modelopt-nvfp4": {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"], "kv_cache_quant_algo": None},
    "mxfp4": compressed("mxfp4-pack-quantized", num_bits=4, strategy="group", group_size=32),
}


def fp8_blocks(weight: torch.Tensor) -> tuple[dict, torch.Tensor]:
    rows, columns = weight.shape
    blocks = weight.reshape(rows // 16, 16, columns // 16, 16)
    scales = blocks.abs().amax((1, 3)) / 448
    codes = (blocks / scales[:, None, :, None]).reshape(weight.shape).to(FP8)
    return {"weight": codes, "weight_scale_inv": scales}, Fp8Dequantize(None)._dequantize_one(codes, scales)


def fp8_rows(weight: torch.Tensor, strategy: str) -> tuple[dict, torch.Tensor]:
    scales = (weight.abs().amax(1, keepdim=True) if strategy == "channel" else weight.abs().amax().reshape(1)) / 448
    codes = (weight / scales).to(FP8)
    args = QuantizationArgs(num_bits=8, type="float", strategy=strategy)
    return {"weight": codes, "weight_scale": scales}, dequantize(codes, scales, args=args, dtype=torch.float32)


def fp4(weight: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """Codes, scales, what the scales are divided by (NVFP4), and the floats."""
    rows, columns = weight.shape
    largest = weight.reshape(rows, columns // size, size).abs().amax(2) / 6
    if size == 16:
        overall = (448 * 6 / weight.abs().max()).reshape(1)
        stored = (largest * overall).to(FP8)
        scales, args = stored.float(), QuantizationArgs(num_bits=4, type="float", strategy="tensor_group", group_size=16)
    else:
        overall = None
        stored = (torch.ceil(torch.log2(largest)) + 127).to(torch.uint8)
        scales, args = torch.exp2(stored.float() - 127), QuantizationArgs(num_bits=4, type="float", strategy="group", group_size=32)
    codes = quantize_and_pack_fp4(weight, scales, global_scale=overall, group_size=size)
    unpacked = unpack_fp4_from_uint8(codes, rows, columns, dtype=torch.float32)
    return codes, stored, overall, dequantize(unpacked, scales, args=args, dtype=torch.float32, global_scale=overall)


def quantized(name: str, weight: torch.Tensor) -> tuple[dict, torch.Tensor]:
    if name == "fp8-blocks":
        return fp8_blocks(weight)
    if name in ("fp8-channels", "fbgemm-fp8"):
        return fp8_rows(weight, "channel")
    if name == "fp8-tensors":
        parts, floats = fp8_rows(weight, "tensor")
        return parts | {"input_scale": torch.tensor([0.01])}, floats
    codes, scales, overall, floats = fp4(weight, 32 if name == "mxfp4" else 16)
    if name == "mxfp4":
        return {"weight_packed": codes, "weight_scale": scales}, floats
    if name == "nvfp4":
        return {"weight_packed": codes, "weight_scale": scales, "weight_global_scale": overall, "input_global_scale": torch.tensor([9.0])}, floats
    second = (1 / overall).reshape(())
    return {"weight": codes, "weight_scale": scales, "weight_scale_2": second, "input_scale": torch.tensor(0.1)}, floats


def make(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    model = LlamaForCausalLM(CONFIG).eval()
    tensors = {}
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if not key.endswith("_proj.weight"):
                parameter.copy_(parameter.bfloat16().float())
                tensors[key] = parameter.bfloat16().clone()
                continue
            parts, floats = quantized(name, parameter.clone())
            layer = key.removesuffix(".weight")
            tensors |= {f"{layer}.{part}": value.contiguous() for part, value in parts.items()}
            parameter.copy_(floats)
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    golden.write_json(folder / "config.json", CONFIG.to_diff_dict() | {"quantization_config": CASES[name]})
    ids = torch.randint(0, CONFIG.vocab_size, (2, 7), generator=torch.Generator().manual_seed(seed))
    attention = model.model.layers[0].self_attn.k_proj.weight
    golden.write_tensors(folder / "expected.safetensors", {"input_ids": ids, "logits": model(ids).logits, "k_proj": attention})


def experts() -> None:
    """A fused tensor of gpt-oss: blocks [experts, out, in / 32, 16] and scales [experts, out, in / 32]; floats [experts, in, out]."""
    generator = torch.Generator().manual_seed(5)
    blocks = torch.randint(0, 256, (2, 6, 2, 16), generator=generator, dtype=torch.uint8)
    scales = torch.randint(118, 130, (2, 6, 2), generator=generator, dtype=torch.uint8)
    floats = _convert_moe_packed_tensors(blocks, scales, dtype=torch.float32, rows_per_chunk=1024)
    tensors = {"experts.gate_up_proj_blocks": blocks, "experts.gate_up_proj_scales": scales, "expected": floats.contiguous()}
    golden.write_tensors(OUT / "gpt-oss-experts.safetensors", tensors)


def main() -> None:
    for seed, name in enumerate(CASES):
        make(name, 4200 + seed)
    experts()
    codes = torch.arange(256, dtype=torch.uint8)
    golden.write_tensors(OUT / "float8.safetensors", {"e4m3": codes.view(FP8).float(), "e5m2": codes.view(torch.float8_e5m2).float()})


if __name__ == "__main__":
    main()
