"""Goldens of quantised weights: bitsandbytes (NF4, FP4, LLM.int8()), ONNX Runtime (MatMulNBits), llm-compressor (GPTQ, SparseGPT)."""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import golden  # noqa: E402

OUT = golden.output_folder(__file__)

import bitsandbytes.functional as bnb  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from bitsandbytes.autograd import _functions as functions  # noqa: E402
from bitsandbytes.backends.default import ops as default_ops  # noqa: E402
from compressed_tensors.quantization import QuantizationArgs  # noqa: E402
from compressed_tensors.quantization.utils import calculate_qparams  # noqa: E402
from llmcompressor.modifiers.gptq.gptq_quantize import quantize_weight  # noqa: E402
from llmcompressor.modifiers.pruning.sparsegpt.sgpt_sparsify import sparsify_weight  # noqa: E402
from onnxruntime.capi._pybind_state import quantize_matmul_4bits  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM  # noqa: E402
from transformers.pytorch_utils import Conv1D  # noqa: E402

torch.set_num_threads(1)

MODELS = Path(__file__).resolve().parents[1] / "models"


def matrix(rows: int, columns: int, seed: int) -> torch.Tensor:
    """Normal numbers with a few large ones, a row of zeros and one of equal magnitudes."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator) * 0.05
    weight[torch.rand(rows, columns, generator=generator) > 0.995] *= 20
    weight[rows // 2] = 0
    weight[rows // 3] = weight[rows // 3].sign() * 0.125
    return weight


def dequantized(codes: torch.Tensor, state) -> torch.Tensor:
    """bitsandbytes' own definition. Its native CPU kernel takes other scales where a row is not whole blocks."""
    absmax = state.absmax
    if state.nested:
        absmax = bnb.dequantize_blockwise(absmax, state.state2) + state.offset
    define = default_ops._dequantize_4bit_compute.__wrapped__
    return define(codes.reshape(-1), absmax, state.code, state.blocksize, state.shape, torch.float32)


def four_bit() -> None:
    tensors, weights, cases = {"nf4": {}, "fp4": {}}, {}, []
    # The second has 260 blocks, so two blocks of scales; the last element of the others is without a block or a partner.
    sizes = [(8, 96, 64), (13, 640, 32), (7, 13, 64), (4, 384, 256), (3, 3, 64)]
    for rows, columns, block in sizes:
        for levels in ("nf4", "fp4"):
            for nested in (False, True):
                name = f"{levels}-{rows}x{columns}-{block}{'-nested' if nested else ''}"
                weight = matrix(rows, columns, rows * columns)
                codes, state = bnb.quantize_4bit(weight, blocksize=block, quant_type=levels, compress_statistics=nested)
                weights[f"weight.{rows}x{columns}"] = weight
                tensors[levels][f"{name}.weight"] = codes
                for key, value in state.as_dict(packed=True).items():
                    tensors[levels][f"{name}.weight.{key}"] = value
                # Its last eight rows, in which there are scales of every block of them.
                tensors[levels][f"{name}.dequantized"] = dequantized(codes, state)[-8:]
                cases.append(
                    {
                        "name": name,
                        "weight": f"weight.{rows}x{columns}",
                        "levels": levels,
                        "block_size": block,
                        "double_quantization": nested,
                    }
                )
    golden.write_tensors(OUT / "four-bit-weights.safetensors", weights)
    for levels, written in tensors.items():
        golden.write_tensors(OUT / f"four-bit-{levels}.safetensors", written)
    golden.write_json(OUT / "four-bit.json", {"cases": cases})


def int8() -> None:
    """LLM.int8(): the operators of bitsandbytes' CPU path, and MatMul8bitLt's own gradient."""
    rows, inputs, outputs = 6, 40, 9
    weight = matrix(outputs, inputs, 5)
    generator = torch.Generator().manual_seed(6)
    # Numbers that float16 has, since MatMul8bitLt rounds its input to it.
    x = torch.randn(rows, inputs, generator=generator).half().float()
    x[1, 7], x[4, 7], x[2, 30], x[5] = 9.5, -6.0, 6.25, 0
    dy = torch.randn(rows, outputs, generator=generator)
    codes, scales, _ = bnb.int8_vectorwise_quant(weight.half())
    tensors = {"weight": weight, "weight.codes": codes, "weight.SCB": scales, "x": x, "dy": dy}
    for name, threshold in (("outliers", 6.0), ("all", 0.0)):
        codes_x, scales_x, columns = torch.ops.bitsandbytes.int8_vectorwise_quant.default(x.clone(), threshold)
        y, _ = torch.ops.bitsandbytes.int8_mixed_scaled_mm.default(x, codes_x, codes, scales_x, scales, columns, None)
        if columns is not None:
            assert columns.tolist() == [7, 30]
        variable = x.clone().requires_grad_()
        state = functions.MatmulLtState(CB=codes, SCB=scales)
        state.threshold, state.has_fp16_weights = threshold, False
        functions.MatMul8bitLt.apply(variable, codes, None, None, state).backward(dy)
        tensors |= {f"{name}.y": y, f"{name}.dx": variable.grad}
    golden.write_tensors(OUT / "int8.safetensors", tensors)


def int4() -> None:
    """ONNX Runtime's own quantiser for MatMulNBits, which takes the weight as [in, out] (and with an odd in reads past its end)."""
    tensors, cases = {}, []
    for outputs, inputs, block in [(12, 64, 32), (9, 200, 64), (5, 30, 16), (4, 256, 128), (3, 74, 32)]:
        weight = matrix(outputs, inputs, inputs)
        tensors[f"weight.{outputs}x{inputs}"] = weight
        blocks = -(-inputs // block)
        for symmetric in (False, True):
            name = f"{outputs}x{inputs}-{block}{'-symmetric' if symmetric else ''}"
            codes = np.zeros((outputs, blocks, block // 2), np.uint8)
            scales = np.zeros(outputs * blocks, np.float32)
            zeros = np.zeros(outputs * -(-blocks // 2), np.uint8)
            source = np.ascontiguousarray(weight.numpy().T)
            quantize_matmul_4bits(codes, source, scales, zeros, block, outputs, inputs, symmetric)
            tensors[f"{name}.codes"] = torch.from_numpy(codes)
            tensors[f"{name}.scales"] = torch.from_numpy(scales)
            if not symmetric:
                tensors[f"{name}.zero_points"] = torch.from_numpy(zeros.reshape(outputs, -1))
            cases.append(
                {"name": name, "weight": f"weight.{outputs}x{inputs}", "block_size": block, "symmetric": symmetric}
            )
    golden.write_tensors(OUT / "int4.safetensors", tensors)
    golden.write_json(OUT / "int4.json", {"cases": cases})


def correlated(rows: int, columns: int, seed: int) -> torch.Tensor:
    """Inputs of a layer that depend on each other, one of which is always zero."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns // 3, generator=generator) @ torch.randn(columns // 3, columns, generator=generator)
    x = x + 0.3 * torch.randn(rows, columns, generator=generator)
    x[:, 11] = 0
    return x


def one_shot() -> None:
    """GPTQ and SparseGPT of llm-compressor, which works in float32."""
    rows, columns = 10, 48
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(1)) * 0.1
    x = correlated(200, columns, 2)
    hessian = 2 / len(x) * x.T @ x
    tensors, cases = {"weight": weight, "x": x}, []
    for group in (None, 16):
        for symmetric in (False, True):
            for order in (None, "weight"):
                name = f"gptq-{group or 'row'}{'-symmetric' if symmetric else ''}{'-act-order' if order else ''}"
                strategy = {"strategy": "group", "group_size": group} if group else {"strategy": "channel"}
                args = QuantizationArgs(num_bits=4, symmetric=symmetric, actorder=order, **strategy)
                # The column that no input reaches is zero before the grids are found.
                alive = weight.clone()
                alive[:, 11] = 0
                groups = alive.reshape(rows, -1, group or columns)
                scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), args)
                quantized, loss, failed = quantize_weight(
                    weight[None].clone(), hessian[None].clone(), scale[None], zero[None], None, args
                )
                assert not failed.any()
                tensors |= {f"{name}.weight": quantized[0], f"{name}.scale": scale, f"{name}.zero": zero.int()}
                cases.append({"name": name, "group_size": group, "symmetric": symmetric, "act_order": order is not None})
    # It prunes one weight a block more than the part that it is asked for.
    block = 16
    for name, sparsity, pattern in (("half", 0.5, (0, 0)), ("most", 0.75, (0, 0)), ("2-4", 0.5, (2, 4))):
        layer = torch.nn.Linear(columns, rows, bias=False)
        layer.weight.data = weight.clone()
        asked = sparsity - 1 / (rows * block) if pattern == (0, 0) else sparsity
        _, pruned = sparsify_weight(layer, {layer: hessian.clone()}, asked, *pattern, block, 0.01, False)
        tensors[f"sparse-{name}.weight"] = pruned.detach()
    golden.write_tensors(OUT / "one-shot.safetensors", tensors)
    golden.write_json(OUT / "one-shot.json", {"gptq": cases})


FOLDERS = {
    "llama-nf4": ("llama", {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}),
    "llama-fp4": ("llama", {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}),
    "llama-int8": ("llama", {"load_in_8bit": True}),
    "gpt2-nf4": ("gpt2", {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}),
}


def folders() -> None:
    """Models that transformers quantised and saved, and the logits of the float model with what their codes stand for."""
    for name, (base, options) in FOLDERS.items():
        source = MODELS / base
        config = BitsAndBytesConfig(**options)
        model = AutoModelForCausalLM.from_pretrained(source, quantization_config=config, device_map="cpu")
        folder = OUT / name
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink()
        plain = AutoModelForCausalLM.from_pretrained(source)
        quantized = load_file(folder / "model.safetensors")
        for module, layer in plain.named_modules():
            stored = quantized.get(f"{module}.weight")
            if not module or stored is None or stored.dtype not in (torch.uint8, torch.int8):
                continue
            if stored.dtype == torch.int8:
                weight = stored.float() * (quantized[f"{module}.SCB"] / 127).unsqueeze(1)
            else:
                items = {k: v for k, v in quantized.items() if k.startswith(f"{module}.weight.")}
                weight = dequantized(stored, bnb.QuantState.from_dict(items, "cpu"))
            layer.weight.data = (weight.T if isinstance(layer, Conv1D) else weight).contiguous()
        tokens = load_file(source / "expected.safetensors")["batch.input_ids"]
        with torch.no_grad():
            logits = plain(tokens).logits
        golden.write_tensors(folder / "expected.safetensors", {"input_ids": tokens, "logits": logits})


def qlora() -> None:
    """LoRA over an NF4 base, as PEFT and bitsandbytes compute it. Every row is whole blocks: see `dequantized`."""
    folder = OUT / "qlora"
    torch.manual_seed(3)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 64}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    config = LlamaConfig(**sizes, **heads, tie_word_embeddings=True, initializer_range=0.2)
    with tempfile.TemporaryDirectory() as plain:
        LlamaForCausalLM(config).save_pretrained(plain)
        options = BitsAndBytesConfig(**FOLDERS["llama-nf4"][1], bnb_4bit_compute_dtype=torch.float32)
        base = AutoModelForCausalLM.from_pretrained(plain, quantization_config=options, device_map="cpu")
    base.save_pretrained(folder / "base")
    (folder / "base" / "generation_config.json").unlink()
    model = get_peft_model(
        base, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    )
    model.peft_config["default"].base_model_name_or_path = "base"
    model.save_pretrained(folder / "adapter")
    (folder / "adapter" / "README.md").unlink()
    tokens = torch.randint(64, (2, 10), generator=torch.Generator().manual_seed(4))
    # In evaluation bitsandbytes multiplies in bfloat16 on some CPUs.
    output = model.train()(tokens, labels=tokens)
    output.loss.backward()
    tensors = {"input_ids": tokens, "logits": output.logits, "loss": output.loss}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            tensors[f"gradient.{name.replace('.default', '')}"] = parameter.grad
    golden.write_tensors(folder / "expected.safetensors", tensors)


four_bit()
int8()
int4()
one_shot()
folders()
qlora()
