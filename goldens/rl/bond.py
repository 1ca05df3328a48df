"""BOND's advantages (arXiv 2407.14622) by NumPy in float64, from the divergence's gradient as it is written down: no public reference exists."""

import numpy as np


def cases() -> list[dict]:
    generator = np.random.default_rng(5)
    found = []
    for n, beta, gamma, baseline in [(2, 0.5, 0.0, "leave-one-out"), (2, 1.0, 0.3, "none"), (4, 0.25, 0.1, "leave-one-out")]:
        drawn, best = 5, 2
        rewards = np.round(-generator.exponential(size=drawn), 4)
        policy = np.round(-generator.exponential(size=(drawn + best, 3)), 4)
        anchor = np.round(-generator.exponential(size=(drawn + best, 3)), 4)
        advantages = []
        for i in range(drawn):
            log_ratio = policy[i].sum() - anchor[i].sum()
            b = 0.0 if baseline == "none" else np.delete(rewards, i).mean()
            # -d/dθ of β KL(π ‖ π_N) + γ KL(π ‖ π_a) is E[∇log π (β (log π_N - log π) - γ log(π / π_a))].
            log_target_over_anchor = (n - 1) * (rewards[i] - b)
            advantages.append(beta * (log_target_over_anchor - log_ratio) - gamma * log_ratio)
        # Means of each kind, written as one mean over all rows.
        total = drawn + best
        advantages = [a * total / drawn for a in advantages] + [(1 - beta) * total / best] * best
        found.append(
            {
                "options": {"n": n, "beta": beta, "gamma": gamma, "baseline": baseline},
                "rewards": rewards.tolist(),
                "policy": policy.tolist(),
                "anchor": anchor.tolist(),
                "advantages": [float(a) for a in advantages],
            }
        )
    return found
