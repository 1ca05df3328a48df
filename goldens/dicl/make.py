"""Series as digits and whole predictions by the code of DICL's authors, PCA by scikit-learn, the pendulum by Gymnasium, updates of SAC by Stable-Baselines3, the KS distance by scipy.

DICL: the folder of a checkout of github.com/abenechehab/dicl at the commit below. Without it, the file of it is copied as it is.
"""

import os
import shutil
import sys
import types
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import gymnasium  # noqa: E402
import numpy as np  # noqa: E402
import scipy.stats  # noqa: E402
import torch  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from stable_baselines3 import SAC  # noqa: E402
from stable_baselines3.common.logger import Logger  # noqa: E402
from stable_baselines3.common.type_aliases import ReplayBufferSamples  # noqa: E402

torch.set_num_threads(1)
HERE = Path(__file__).resolve().parent
COMMIT = "e12d02d5edd637773fb89c62268b44f57a0a3839"


def authors(root: Path) -> types.SimpleNamespace:
    """Their modules, by path: nothing that draws plots is needed."""
    for name in ["matplotlib", "matplotlib.pyplot", "matplotlib.axes", "seaborn"]:
        sys.modules[name] = types.ModuleType(name)
    sys.modules["matplotlib"].pyplot = sys.modules["matplotlib.pyplot"]
    sys.modules["matplotlib.axes"].Axes = object
    sys.path.insert(0, str(root / "src"))
    from dicl.dicl import DICL_PCA, vICL
    from dicl.utils.icl import MultiResolutionPDF, SerializerSettings, serialize_arr

    return types.SimpleNamespace(DICL_PCA=DICL_PCA, vICL=vICL, PDF=MultiResolutionPDF, Settings=SerializerSettings, serialize=serialize_arr)


class Tokens:
    """Every number up to 999 is a token, as in Llama 3; the comma is 1000 and the first token 1001."""

    def __call__(self, texts, **_):
        ids = [1001]
        for number in texts[0].split(",")[:-1]:
            ids += [int(number), 1000]
        return {"input_ids": torch.tensor([ids])}

    def convert_tokens_to_ids(self, token):
        return int(token)


class Model:
    """A bell of logits about 0.9 x + 40 behind the number x, narrower the longer the series."""

    def __call__(self, ids, **_):
        logits = torch.full((1, ids.shape[1], 1002), -1e9, dtype=torch.float64)
        for i in range(2, ids.shape[1], 2):
            spread = 20 + 60 / (i / 2)
            logits[0, i, :1000] = -(((torch.arange(1000, dtype=torch.float64) - (0.9 * ids[0, i - 1] + 40)) / spread) ** 2) / 2
        return {"logits": logits, "past_key_values": None}


def dicl(root: Path) -> dict:
    code = authors(root)
    torch.Tensor.cuda = lambda self, *_: self
    rng = np.random.default_rng(3)
    settings = code.Settings(base=10, prec=2, signed=True, time_sep=",", bit_sep="", minus_sign="-", fixed_length=False, max_val=10)
    values = rng.uniform(1.5, 8.5, size=12).round(6)
    text = code.serialize(values.copy(), settings)

    hierarchies = []
    for number, depth in [("437", 3), ("905", 2), ("081", 1)]:
        probs = rng.dirichlet(np.ones(10) * 0.7, size=depth).round(6)
        probs /= probs.sum(1, keepdims=True)
        pdf = code.PDF()
        pdf.load_from_num_prob(number[:depth], probs)
        pdf.compute_stats()
        points = [0.005 + 0.01 * k for k in (0, 37, 437, 436, 430, 499, 905, 909, 81, 999)]
        density = [float(next(h for c, w, h in zip(pdf.bin_center_arr, pdf.bin_width_arr, pdf.bin_height_arr) if c - w / 2 <= x <= c + w / 2)) for x in points]
        hierarchies.append({"number": number, "probabilities": probs.tolist(), "mean": float(pdf.mean), "points": points, "density": density})

    steps = 24
    states = np.zeros((steps, 3))
    states[0] = [0.3, -1.0, 2.0]
    turn = np.array([[0.9, 0.3, 0.0], [-0.3, 0.9, 0.1], [0.0, -0.1, 0.95]])
    for t in range(1, steps):
        states[t] = turn @ states[t - 1] + 0.05 * rng.normal(size=3)
    states = states.round(6)
    predictions = []
    for method, count in [("vicl", 3), ("dicl", 3), ("dicl", 2)]:
        shared = {"n_features": 3, "model": Model(), "tokenizer": Tokens()}
        made = code.vICL(**shared) if method == "vicl" else code.DICL_PCA(n_components=count, **shared)
        made.fit_disentangler(states[:-1])
        mean, mode, low, high = made.predict_single_step(states)
        components = [made.icl_object[c] for c in range(count)]
        predictions.append(
            {
                "method": method,
                "components": count,
                "mean": mean.tolist(),
                "mode": mode.tolist(),
                "low": low.tolist(),
                "rescaled_means": [own.mean_arr.tolist() for own in components],
                "rescaled_stds": [own.sigma_arr.tolist() for own in components],
                "texts": [own.str_series for own in components],
            }
        )
    return {"commit": COMMIT, "values": values.tolist(), "text": text, "hierarchies": hierarchies, "states": states.tolist(), "predictions": predictions}


def pca() -> dict:
    rng = np.random.default_rng(5)
    rows = (rng.normal(size=(30, 4)) @ rng.normal(size=(4, 4))).round(6)
    cases = []
    for count in (4, 2):
        fitted = PCA(n_components=count).fit(rows)
        own = fitted.transform(rows)
        cases.append(
            {
                "components": count,
                "directions": fitted.components_.tolist(),
                "variances": fitted.explained_variance_.tolist(),
                "transformed": own[:5].tolist(),
                "restored": fitted.inverse_transform(own)[:5].tolist(),
            }
        )
    return {"rows": rows.tolist(), "cases": cases}


def pendulum() -> list[dict]:
    rng = np.random.default_rng(7)
    episodes = []
    for start in ([3.0, 0.5], [-0.2, -1.0], [0.05, 0.0]):
        env = gymnasium.make("Pendulum-v1")
        env.reset(seed=0)
        env.unwrapped.state = np.array(start)
        actions = (rng.uniform(-2.5, 2.5, size=200)).astype(np.float32)
        observations, rewards, truncations = [], [], []
        for action in actions:
            observation, reward, terminated, truncated, _ = env.step(np.array([action]))
            assert not terminated
            observations.append([float(x) for x in observation])
            rewards.append(float(reward))
            truncations.append(bool(truncated))
        kept = [*range(0, 200, 13), 199]
        episodes.append(
            {
                "start": start,
                "actions": [float(a) for a in actions],
                "steps": kept,
                "observations": [observations[t] for t in kept],
                "rewards": [rewards[t] for t in kept],
                "return": sum(rewards),
                "truncated": truncations.index(True),
            }
        )
    return episodes


class Quiet(Logger):
    def __init__(self):
        super().__init__(folder=None, output_formats=[])


def soft_actor_critic() -> dict:
    """Three gradient steps of SAC on batches and normal numbers that are given, of networks with two layers of eight."""
    torch.manual_seed(0)
    rng = np.random.default_rng(11)
    b, updates = 6, 3
    model = SAC("MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [8, 8]}, learning_rate=0.01, gamma=0.97, tau=0.05, batch_size=b, ent_coef="auto_0.5", device="cpu", seed=1)
    model.set_logger(Quiet())
    # The formula's logarithm: 1e-6 in it would be all that the gradients of small networks differ by.
    model.actor.action_dist.epsilon = 0.0

    def parameters(target=False):
        parts = {"actor": model.actor, ("target" if target else "critic"): model.critic_target if target else model.critic}
        named = {f"{part}.{name}": value.detach().clone().tolist() for part, net in parts.items() for name, value in net.named_parameters()}
        return {name: value for name, value in named.items() if not (target and name.startswith("actor"))}

    first = parameters() | {"log_ent_coef": model.log_ent_coef.detach().tolist()}
    batches, noises, gradients = [], [], []
    for _ in range(updates):
        batches.append(
            {
                "observations": rng.normal(size=(b, 3)).round(4),
                "actions": rng.uniform(-1, 1, size=(b, 1)).round(4),
                "next_observations": rng.normal(size=(b, 3)).round(4),
                "dones": np.array([[0.0], [1.0], [0.0], [0.0], [1.0], [0.0]]),
                "rewards": rng.normal(size=(b, 1)).round(4),
            }
        )
        noises.append(rng.normal(size=(2, b, 1)).round(4))
    flat = iter([torch.tensor(one, dtype=torch.float32) for noise in noises for one in noise])
    torch.distributions.normal._standard_normal = lambda shape, dtype, device: next(flat).reshape(shape)
    given = iter(batches)
    model.replay_buffer.sample = lambda *_, **__: ReplayBufferSamples(**{name: torch.tensor(value, dtype=torch.float32) for name, value in next(given).items()})

    def record(name, net, optimizer):
        step = optimizer.step

        def recording(*args, **kwargs):
            gradients.append({f"{name}.{key}": value.grad.detach().clone().tolist() for key, value in net.named_parameters()})
            return step(*args, **kwargs)

        optimizer.step = recording

    record("critic", model.critic, model.critic.optimizer)
    record("actor", model.actor, model.actor.optimizer)
    results = []
    for _ in range(updates):
        model.train(gradient_steps=1, batch_size=b)
        logged = model.logger.name_to_value
        results.append({name: float(logged[f"train/{name}"]) for name in ("actor_loss", "critic_loss", "ent_coef", "ent_coef_loss")})
        model.logger.name_to_value.clear()
    return {
        **{"gamma": 0.97, "tau": 0.05, "learning_rate": 0.01, "target_entropy": float(model.target_entropy), "first": first},
        "batches": [{name: value.tolist() for name, value in batch.items()} for batch in batches],
        "noises": [noise.tolist() for noise in noises],
        "results": results,
        "gradients": gradients[0] | gradients[1],
        "last": parameters() | parameters(target=True) | {"log_ent_coef": model.log_ent_coef.detach().tolist()},
    }


def calibration() -> list[dict]:
    rng = np.random.default_rng(13)
    cases = []
    for values in (rng.uniform(size=40), rng.beta(2, 2, size=25), np.array([0.5]), rng.uniform(size=200) ** 2):
        found = scipy.stats.ks_1samp(values.round(6), scipy.stats.uniform.cdf, method="asymp")
        exact = scipy.stats.ks_1samp(values.round(6), scipy.stats.uniform.cdf, method="exact")
        cases.append({"values": values.round(6).tolist(), "ks": float(found.statistic), "p": float(found.pvalue), "exact": float(exact.pvalue)})
    return cases


def main() -> None:
    out = output_folder(__file__)
    root = os.environ.get("DICL")
    if root:
        write_json(out / "authors.json", dicl(Path(root)))
    elif (HERE / "authors.json").resolve() != (out / "authors.json").resolve():
        shutil.copy(HERE / "authors.json", out / "authors.json")
    write_json(out / "pca.json", pca())
    write_json(out / "pendulum.json", pendulum())
    write_json(out / "sac.json", soft_actor_critic())
    write_json(out / "calibration.json", calibration())


if __name__ == "__main__":
    main()
