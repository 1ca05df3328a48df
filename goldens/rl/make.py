"""Losses, gradients and advantages by TRL's own trainer methods; see the README for how they are called without a trainer."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json, write_tensors  # noqa: E402

import torch  # noqa: E402

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

import bond  # noqa: E402
import dpo  # noqa: E402
import gae  # noqa: E402
import grpo  # noqa: E402
import logits  # noqa: E402
import preference  # noqa: E402
import preference_formulas  # noqa: E402
import reinforce_plus_plus  # noqa: E402
import remax  # noqa: E402
import rloo  # noqa: E402
import sdpo  # noqa: E402
import self_distillation  # noqa: E402
import tools  # noqa: E402
import vineppo  # noqa: E402
import with_model  # noqa: E402


def main() -> None:
    out = output_folder(__file__)
    write_json(out / "grpo-loss.json", grpo.losses())
    write_json(out / "grpo-advantages.json", grpo.advantages())
    write_json(out / "rloo-loss.json", rloo.losses())
    write_json(out / "rloo-advantages.json", rloo.advantages())
    write_json(out / "remax-loss.json", remax.cases())
    write_json(out / "reinforce-plus-plus.json", reinforce_plus_plus.cases())
    write_json(out / "vineppo.json", vineppo.cases())
    write_json(out / "dpo-loss.json", dpo.losses())
    write_json(out / "gae.json", gae.cases())
    write_json(out / "preference-pairs.json", preference.pairs())
    write_json(out / "kto-loss.json", preference.kto())
    write_json(out / "online-dpo.json", preference.online())
    write_json(out / "preference-formulas.json", preference_formulas.cases())
    write_json(out / "log-probs.json", logits.cases())
    write_json(out / "tools.json", tools.cases())
    write_json(out / "self-distillation.json", self_distillation.cases())
    write_json(out / "sdpo.json", sdpo.cases())
    write_json(out / "bond.json", {"cases": bond.cases()})

    torch.set_default_dtype(torch.float32)
    tensors, facts = with_model.cases()
    write_tensors(out / "with-model.safetensors", tensors)
    write_json(out / "with-model.json", facts)


if __name__ == "__main__":
    main()
