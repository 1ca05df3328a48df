"""ListMLE, the Plackett-Luce likelihood of a ranking, by allRank: python authors.py FOLDER, that of allegro/allRank at commit
c88475661cb72db292d13283fdbc4f2ae6498ee4. Its package wants a torch that is no longer to be had; the module of the loss is loaded by its file."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import torch  # noqa: E402

torch.set_num_threads(1)

# As allrank.data.dataset_loading and allrank.models.losses have them.
PADDED, EPSILON = -1, 1e-10
# No ties, which allRank breaks at random.
RANKINGS = [[3.0, 2.0, 1.0, 4.0], [2.0, 5.0], [1.0, 4.0, 3.0]]


def list_mle(folder: Path):
    for name in ("allrank", "allrank.data", "allrank.data.dataset_loading", "allrank.models", "allrank.models.losses"):
        sys.modules[name] = ModuleType(name)
    sys.modules["allrank.data.dataset_loading"].PADDED_Y_VALUE = PADDED
    sys.modules["allrank.models.losses"].DEFAULT_EPS = EPSILON
    spec = importlib.util.spec_from_file_location("list_mle", folder / "allrank/models/losses/listMLE.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.listMLE


def main() -> None:
    loss_of = list_mle(Path(sys.argv.pop(1)))
    generator = torch.Generator().manual_seed(11)
    rewards = torch.randn(sum(map(len, RANKINGS)), generator=generator, dtype=torch.float64).mul(1.5).requires_grad_()
    width = max(map(len, RANKINGS))

    def padded(rows: list) -> torch.Tensor:
        return torch.stack([torch.cat([row, torch.full((width - len(row),), float(PADDED)).double()]) for row in rows])

    own = padded(list(rewards.split([len(scores) for scores in RANKINGS])))
    loss = loss_of(own, padded([torch.tensor(scores).double() for scores in RANKINGS]))
    loss.backward()
    found = {"scores": RANKINGS, "logits": rewards.tolist(), "loss": loss.item(), "gradient": rewards.grad.tolist()}
    write_json(output_folder(__file__) / "list-mle.json", found)


if __name__ == "__main__":
    main()
