"""Returns by rlax, one update of A2C by Stable-Baselines3 on a table, and the losses of SeqGAN and MIXER by their formulas."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import gymnasium  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

jax.config.update("jax_enable_x64", True)
torch.set_num_threads(1)

import jax.numpy as jnp  # noqa: E402
import rlax  # noqa: E402
from stable_baselines3 import A2C  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv  # noqa: E402


def returns() -> dict:
    """λ-returns, n-step returns, and the error of TD(λ) with its gradient by the values, of an episode that is cut off and of one that ends."""
    generator = np.random.default_rng(11)
    rewards, values = generator.normal(size=7).round(4), generator.normal(size=8).round(4)
    cases = []
    for gamma, lambda_, n, ends in [(1.0, 0.9, 3, True), (0.9, 0.5, 1, False), (0.95, 0.0, 5, True), (0.8, 1.0, 20, False)]:
        v = jnp.array(values)
        discounts = jnp.full(7, gamma).at[6].set(0.0 if ends else gamma)

        def loss(v_tm1):
            v_t = jnp.concatenate([v_tm1[1:], v[7:]])
            return 0.5 * jnp.sum(rlax.td_lambda(v_tm1, jnp.array(rewards), discounts, v_t, lambda_) ** 2)

        value, gradient = jax.value_and_grad(loss)(v[:7])
        cases.append(
            {
                "gamma": gamma,
                "lambda": lambda_,
                "n": n,
                "ends": ends,
                "lambda_returns": rlax.lambda_returns(jnp.array(rewards), discounts, v[1:], lambda_).tolist(),
                "n_step_returns": rlax.n_step_bootstrapped_returns(jnp.array(rewards), discounts, v[1:], n).tolist(),
                "td_loss": float(value),
                "td_gradient": gradient.tolist(),
            }
        )
    return {"rewards": rewards.tolist(), "values": values.tolist(), "cases": cases}


STATES, ACTIONS = 5, 2


class Corridor(gymnasium.Env):
    """Five places in a row: left and right, 1 behind the right end, -0.1 a step, and -1 behind the left end."""

    observation_space = gymnasium.spaces.Box(0, 1, (STATES,), np.float64)
    action_space = gymnasium.spaces.Discrete(ACTIONS)

    def __init__(self, start):
        self.begin = start

    def seen(self):
        return np.eye(STATES)[min(max(self.place, 0), STATES - 1)]

    def reset(self, *, seed=None, options=None):
        self.place = self.begin
        return self.seen(), {}

    def step(self, action):
        self.place += 1 if action == 1 else -1
        ends = self.place in (-1, STATES)
        reward = {-1: -1.0, STATES: 1.0}.get(self.place, -0.1)
        return self.seen(), reward, ends, False, {}


def a2c() -> dict:
    """What three workers of five steps have met, and the gradients of the tables of logits and values that come of it."""
    torch.manual_seed(5)
    model = A2C(
        "MlpPolicy",
        DummyVecEnv([lambda: Corridor(1), lambda: Corridor(3), lambda: Corridor(2)]),
        n_steps=5,
        gamma=0.9,
        ent_coef=0.02,
        vf_coef=0.5,
        max_grad_norm=1e9,
        use_rms_prop=False,
        policy_kwargs={"net_arch": []},
        seed=3,
        device="cpu",
    )
    policy = model.policy
    with torch.no_grad():
        for layer in (policy.action_net, policy.value_net):
            layer.weight.copy_(torch.randn(layer.weight.shape).round(decimals=3))
            layer.bias.zero_()
    logits, values = policy.action_net.weight.T.tolist(), policy.value_net.weight[0].tolist()
    model.learn(15)
    buffer = model.rollout_buffer
    # What train() has flattened is worker after worker.
    places = buffer.observations.argmax(-1).reshape(3, 5)
    grid = lambda x: np.asarray(x, dtype=np.float64).reshape(3, 5).tolist()  # noqa: E731
    return {
        "gamma": 0.9,
        "ent_coef": 0.02,
        "vf_coef": 0.5,
        "logits": logits,
        "values": values,
        "states": places.tolist(),
        "actions": buffer.actions.reshape(3, 5).astype(int).tolist(),
        "rewards": buffer.rewards.T.tolist() if buffer.rewards.shape == (5, 3) else grid(buffer.rewards),
        "starts": buffer.episode_starts.T.astype(int).tolist(),
        "last_states": model._last_obs.argmax(-1).tolist(),
        "last_dones": model._last_episode_starts.astype(int).tolist(),
        "returns": grid(buffer.returns),
        "advantages": grid(buffer.advantages),
        "logits_gradient": policy.action_net.weight.grad.T.tolist(),
        "values_gradient": policy.value_net.weight.grad[0].tolist(),
    }


def formulas() -> dict:
    """The loss of SeqGAN's generator (arXiv 1609.05473, eq. 8) and MIXER's (arXiv 1511.06732, eq. 9) of given log-probabilities, in float64."""
    generator = torch.Generator().manual_seed(9)
    logps = (-2 * torch.rand(3, 4, generator=generator, dtype=torch.float64)).round(decimals=4)
    q = torch.rand(3, 4, generator=generator, dtype=torch.float64).round(decimals=4)
    rewards = torch.tensor([0.3, -0.6, 1.1], dtype=torch.float64)
    forced = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    x = logps.clone().requires_grad_()
    seqgan = -(x * q).sum() / 3
    seqgan.backward()
    y = logps.clone().requires_grad_()
    mixer = (torch.where(forced == 1, -y, -(rewards - 0.25)[:, None] * y)).sum() / 3
    mixer.backward()
    return {
        "logps": logps.tolist(),
        "q": q.tolist(),
        "rewards": rewards.tolist(),
        "forced": forced.tolist(),
        "baseline": 0.25,
        "seqgan": {"loss": seqgan.item(), "gradient": x.grad.tolist()},
        "mixer": {"loss": mixer.item(), "gradient": y.grad.tolist()},
    }


def main() -> None:
    out = output_folder(__file__)
    write_json(out / "returns.json", returns())
    write_json(out / "a2c.json", a2c())
    write_json(out / "formulas.json", formulas())


if __name__ == "__main__":
    main()
