"""Writes configurations as transformers saves them, and checks ours. Run: python make.py [FILE.json of ours ...]."""
import json, pathlib, sys
from transformers import AutoConfig, GPT2Config, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

small = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4, vocab_size=100,
             max_position_embeddings=256)
llama3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}
configs = {
    "llama": LlamaConfig(**small, num_key_value_heads=2, rope_parameters=llama3, eos_token_id=[1, 2], dtype="bfloat16",
                         attention_bias=True, mlp_bias=True, rms_norm_eps=1e-5),
    "llama-linear": LlamaConfig(**small, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0},
                                tie_word_embeddings=True, head_dim=10),
    "mistral": MistralConfig(**small, num_key_value_heads=2, sliding_window=16),
    "mistral-full": MistralConfig(**small, num_key_value_heads=2, sliding_window=None, eos_token_id=None),
    "qwen2": Qwen2Config(**small, num_key_value_heads=2, use_sliding_window=True, sliding_window=16,
                         max_window_layers=3),
    "qwen2-full": Qwen2Config(**small, num_key_value_heads=4, tie_word_embeddings=True, bos_token_id=7,
                              eos_token_id=8, pad_token_id=9),
    "qwen3": Qwen3Config(**small, num_key_value_heads=2, head_dim=16),
    "gpt2": GPT2Config(n_embd=32, n_head=4, n_layer=2, n_positions=64, vocab_size=100, n_inner=40),
}
for name, config in configs.items():
    config.architectures = [type(config).__name__.replace("Config", "ForCausalLM")]
names = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
         "head_dim", "vocab_size", "max_position_embeddings", "hidden_act", "activation_function", "n_inner",
         "rms_norm_eps", "layer_norm_epsilon", "rope_parameters", "sliding_window", "layer_types", "attention_bias",
         "mlp_bias", "tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id", "dtype", "model_type"]
view = lambda config: {n: str(getattr(config, n)) if n == "dtype" else getattr(config, n)
                       for n in names if hasattr(config, n)}
if len(sys.argv) > 1:
    folder = pathlib.Path(sys.argv[1])
    for name, config in configs.items():
        ours = AutoConfig.from_pretrained(folder / name)
        a, b = view(config), view(ours)
        wrong = {k: (a.get(k), b.get(k)) for k in a if a.get(k) != b.get(k)}
        print(name, "equal" if not wrong else f"DIFFERENT {wrong}")
else:
    here = pathlib.Path(__file__).parent
    (here / "configs.json").write_text(json.dumps({n: json.loads(c.to_json_string()) for n, c in configs.items()}, indent=1))
