"""GAE as TRL's PPOTrainer computes it (0.x to 1.x; removed later): written here in numpy from its definition, with its whitening."""

import numpy as np

COUNT, LENGTH = 4, 6


def whiten(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    chosen = values[mask]
    return (values - chosen.mean()) / np.sqrt(chosen.var(ddof=1) + 1e-8)


def advantages_of(rewards: np.ndarray, values: np.ndarray, gamma: float, lam: float) -> np.ndarray:
    """Of one completion without padding: TRL's loop from the end, where the value behind the last token is 0."""
    last, result = 0.0, []
    for t in reversed(range(len(rewards))):
        next_value = values[t + 1] if t < len(rewards) - 1 else 0.0
        delta = rewards[t] + gamma * next_value - values[t]
        last = delta + gamma * lam * last
        result.append(last)
    return np.array(result[::-1])


def cases() -> dict:
    rng = np.random.default_rng(31)
    lengths = [6, 3, 1, 5]
    mask = np.arange(LENGTH)[None, :] < np.array(lengths)[:, None]
    values = np.where(mask, rng.normal(size=(COUNT, LENGTH)).round(4), 0.0)
    # -beta * (log pi_old - log pi_ref) of each token, and the score, which is paid with the last one.
    token_rewards = np.where(mask, (0.05 * rng.normal(size=(COUNT, LENGTH))).round(4), 0.0)
    scores = rng.normal(size=COUNT).round(4)
    rewards = token_rewards.copy()
    for i, length in enumerate(lengths):
        rewards[i, length - 1] += scores[i]
    results = []
    for gamma, lam in [(1.0, 0.95), (0.9, 0.8), (1.0, 1.0), (0.99, 0.0)]:
        plain = np.zeros((COUNT, LENGTH))
        for i, length in enumerate(lengths):
            plain[i, :length] = advantages_of(rewards[i, :length], values[i, :length], gamma, lam)
        whitened = np.where(mask, whiten(plain, mask), 0.0)
        results.append(
            {
                "gamma": gamma,
                "lambda": lam,
                "advantages": plain.tolist(),
                "returns": np.where(mask, plain + values, 0.0).tolist(),
                "whitened": whitened.tolist(),
            }
        )
    return {
        "lengths": lengths,
        "values": values.tolist(),
        "token_rewards": token_rewards.tolist(),
        "scores": scores.tolist(),
        "cases": results,
    }
