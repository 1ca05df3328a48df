"""Confidences and votes of DeepConf (arXiv 2508.15260) by its authors' package, and how many completions its_hub's adaptive self-consistency
draws of scripted answers before it stops, by its Beta rule and by its supermajority; its particle filter over a table in the place of models. By the papers' formulas in float64: the steps that
MUR (2507.14958) scales, Borda votes of self-certainty (2502.18581), softmax votes of CISC (2502.06233), where ESC's windows (2401.10480) end, and
what speculative rejection (2410.20290) spares."""

import asyncio
import sys
import types
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import numpy as np  # noqa: E402

out = output_folder(__file__)
generator = np.random.RandomState(0)


def stand_in(name, **attributes):
    module = types.ModuleType(name)
    for key, value in attributes.items():
        setattr(module, key, value)
    sys.modules[name] = module


# Imported for generation, which is not done here.
stand_in("deepconf.wrapper", DeepThinkLLM=None)
from deepconf import utils as deepconf  # noqa: E402
from its_hub.core.algorithms.adaptive_self_consistency import AdaptiveSelfConsistency  # noqa: E402
from its_hub.core.algorithms.beta_self_consistency import BetaSelfConsistency  # noqa: E402
from its_hub.core.algorithms import particle_gibbs  # noqa: E402
from its_hub.core.lms.step_generation import StepGeneration  # noqa: E402

# Log-probabilities are multiples of 1/1024 and k is a power of two, so that the package's rounding to three decimals is the only one.
WINDOW, TOP_K, TRACES = 4, 4, 12
traces = []
for i in range(TRACES):
    length = int(generator.randint(3, 14))
    top = -np.sort(generator.randint(1, 8192, size=(length, TOP_K)), axis=1) / 1024
    # Unrounded: what compute_confidence rounds to three decimals.
    confs = [float(-row.mean()) for row in top]
    answer = [None, "1", "2", "3", "2"][int(generator.randint(5))]
    traces.append({"top": top.tolist(), "confs": confs, "extracted_answer": answer})
valid = [trace for trace in traces if trace["extracted_answer"]]
measures = {
    "mean": lambda trace: deepconf.calculate_mean_confidence(trace),
    "tail": lambda trace: deepconf.calculate_tail_confidence(trace, WINDOW),
    "bottom-window": lambda trace: deepconf.calculate_bottom_window_confidence(trace, WINDOW),
    "min-window": lambda trace: deepconf.calculate_bottom_window_confidence(trace, WINDOW, -1),
}
votes = []
for name, measure in measures.items():
    values = [float(measure(trace)) for trace in valid]
    for keep in (1, 0.5, 0.25, 0.1):
        bar = float(np.percentile(values, (1 - keep) * 100))
        kept = [i for i, value in enumerate(values) if value >= bar]
        winner = deepconf.weighted_majority_vote([valid[i]["extracted_answer"] for i in kept], [values[i] for i in kept])
        votes.append({"confidence": name, "keep": keep, "kept": len(kept), "answer": winner})
long = generator.randint(1, 8192, size=60) / 1024
write_json(
    out / "deep-conf.json",
    {
        "window": WINDOW,
        "topK": TOP_K,
        "traces": [
            {
                "top": trace["top"],
                "answer": trace["extracted_answer"],
                "values": {name: float(measure(trace)) for name, measure in measures.items()},
            }
            for trace in traces
        ],
        "votes": votes,
        # Of many windows, where a tenth is more than one.
        "long": {
            "confs": long.tolist(),
            "bottom": float(deepconf.calculate_bottom_window_confidence({"confs": long.tolist()}, WINDOW)),
            "groups": [round(float(x), 3) for x in deepconf.compute_least_grouped(long.tolist(), WINDOW)],
        },
    },
)


class Scripted:
    """Gives out answers in their order."""

    def __init__(self, answers):
        self.left = list(answers)

    async def agenerate(self, lm, batch, **_):
        return [{"role": "assistant", "content": self.left.pop(0)} for _ in batch]


def drawn(algorithm, answers):
    result = asyncio.run(algorithm.ainfer(None, "?", len(answers), return_response_only=False))
    return len(result.responses), result.the_one["content"]


cases = []
for size in (1, 2, 5, 12, 24):
    for choices in (1, 2, 4):
        for threshold in (0.6, 0.75, 0.9):
            answers = [str(int(x)) for x in generator.randint(choices, size=size)]
            count, _ = drawn(AdaptiveSelfConsistency(threshold, orchestrator=Scripted(answers)), answers)
            cases.append({"answers": answers, "threshold": threshold, "drawn": count})
write_json(
    out / "adaptive-consistency.json",
    {
        "supermajority": cases,
        "beta": [[a, b, BetaSelfConsistency.beta_stopping_probability(a, b)] for a in range(0, 13, 2) for b in range(0, a + 1)],
    },
)

walks = []
for beta in (0.0, 0.5, 0.9):
    for gamma in (0.6, 0.9, 1.0):
        first, again = -generator.gamma(1.0, 0.4, size=12), -generator.gamma(1.0, 0.2, size=12)
        momentum, scaled = 0.0, []
        for step in range(12):
            signal = first[step]
            scaled.append(bool(step > 0 and np.exp(signal) < np.exp(momentum) * gamma))
            if scaled[-1]:
                signal = again[step]
            momentum = beta * momentum + (1 - beta) * signal
        walks.append(
            {
                "momentum": beta,
                "gamma": gamma,
                "first": first.tolist(),
                "again": again.tolist(),
                "scaled": scaled,
                "end": float(momentum),
            }
        )


def totals(answers, weights):
    sums = {answer: sum(w for a, w in zip(answers, weights) if a == answer) for answer in dict.fromkeys(answers)}
    return sorted(sums.items(), key=lambda item: -item[1])


votes = []
for size in (3, 8, 20):
    answers = [str(x) for x in generator.randint(3, size=size)]
    confidences = generator.uniform(0.0, 3.0, size=size)
    ranks = np.empty(size)
    ranks[np.argsort(-confidences)] = np.arange(1, size + 1)
    for power in (0.0, 0.3, 1.2):
        for temperature in (0.2, 1.0):
            soft = np.exp(confidences / temperature) / np.exp(confidences / temperature).sum()
            votes.append(
                {
                    "answers": answers,
                    "confidences": confidences.tolist(),
                    "power": power,
                    "temperature": temperature,
                    "borda": totals(answers, ((size - ranks + 1) ** power).tolist()),
                    "cisc": totals(answers, soft.tolist()),
                    "weighted": totals(answers, confidences.tolist()),
                }
            )
windows = []
for size, choices in ((1, 2), (6, 2), (20, 2), (20, 3), (24, 2)):
    for width in (1, 2, 3, 5):
        answers = [str(x) for x in generator.randint(choices, size=size)]
        starts = range(0, size, width)
        agreed = [start for start in starts if len(set(answers[start : start + width])) == 1 and start + width <= size]
        windows.append({"answers": answers, "window": width, "drawn": agreed[0] + width if agreed else size})

rejections = []
for count, pieces in ((4, 3), (9, 5), (12, 2)):
    for alpha in (0.0, 0.3, 0.5, 0.8):
        scores = generator.uniform(size=(count, pieces)).round(3)
        alive, tokens = list(range(count)), 0
        for piece in range(pieces):
            tokens += len(alive)
            if piece < pieces - 1:
                cut = np.quantile(scores[alive, piece], alpha)
                alive = [i for i in alive if scores[i, piece] >= cut]
        best = max(alive, key=lambda i: scores[i, -1])
        rejections.append({"alpha": alpha, "scores": scores.tolist(), "tokens": tokens, "best": best})
write_json(out / "rules.json", {"mur": walks, "votes": votes, "windows": windows, "rejections": rejections})

# Where systematic resampling begins: the first numbers of the stream that the tests' search draws from.
STARTS = [0.39200805941848627, 0.048035719980492164, 0.9757265603464027, 0.9996310639256044, 0.11327989584606069, 0.5806294327100864]


class Letters:
    """Steps of one letter: of those that are drawn from one text the i-th is letter i. The last of `depth` has a full stop; some texts end early."""

    def __init__(self, seed, depth):
        self.seed, self.depth, self.asked, self.ends = seed, depth, {}, set()

    async def agenerate(self, conversations, **_):
        steps = []
        for messages in conversations:
            text = messages[-1].content.replace("\n", "") if messages[-1].role == "assistant" else ""
            letter = "abcdefghijklmnop"[self.asked.get(text, 0)]
            self.asked[text] = self.asked.get(text, 0) + 1
            is_early = np.random.RandomState([self.seed, *map(ord, text + letter)]).uniform() < 0.2
            is_end = len(text) + 1 == self.depth or (len(text) > 0 and is_early)
            if is_end:
                self.ends.add(text + letter)
            steps.append({"role": "assistant", "content": letter + "." * is_end})
        return steps


class Scores:
    def __init__(self, seed):
        self.seed, self.known = seed, {}

    async def ascore(self, _, texts):
        found = []
        for text in texts:
            key = text.replace("\n", "").replace(".", "")
            self.known[key] = round(float(np.random.RandomState([self.seed + 1, *map(ord, key)]).uniform(0.02, 0.98)), 6)
            found.append(self.known[key])
        return found


def filtered(seed, n, depth, annealing):
    starts = list(STARTS)
    particle_gibbs.np.random.uniform, kept = lambda *_: starts.pop(0), particle_gibbs.np.random.uniform
    letters, scores = Letters(seed, depth), Scores(seed)
    method = {"none": "ess"}.get(annealing, annealing)
    algorithm = particle_gibbs.ParticleGibbs(
        StepGeneration(10, step_token="\n", stop_token="."),
        scores,
        num_ref_particles=0,
        does_entropic_annealing=annealing != "none",
        resampling_method="systematic",
        temperature_method=method,
    )
    result = asyncio.run(algorithm.ainfer(letters, "q", n, return_response_only=False))
    particle_gibbs.np.random.uniform = kept
    texts = [r["content"].replace("\n", "").replace(".", "") for r in result.responses_lst[0]]
    given = {"n": n, "annealing": annealing, "ends": sorted(letters.ends), "scores": dict(sorted(scores.known.items()))}
    return {**given, "particles": texts, "chosen": texts[result.selected_index]}


rules = particle_gibbs.ParticleGibbs(StepGeneration(10, step_token="\n"), None)
temperatures = []
for size in (3, 4, 8):
    for sharpness in (1.0, 4.0, 9.0):
        weights = particle_gibbs._softmax(sharpness * generator.normal(size=size))
        for step in (1, 3, 4, 7):
            row = {"weights": weights.tolist(), "progress": step / 10, "ess": float(rules._effective_sample_size(weights))}
            for method in ("ess", "entropy"):
                rules.temperature_method = particle_gibbs.TemperatureMethod(method)
                row[f"{method}Temperature"] = float(rules._temperature_annealing(weights, step, size))
            temperatures.append(row)
write_json(
    out / "particles.json",
    {
        "starts": STARTS,
        "odds": [[p, float(particle_gibbs._inv_sigmoid(p))] for p in (0.0, 1e-9, 0.1, 0.5, 0.73, 1.0)],
        "temperatures": temperatures,
        "runs": [filtered(1, 4, 4, "none"), filtered(2, 8, 4, "none"), filtered(3, 8, 4, "ess"), filtered(4, 6, 5, "ess")],
    },
)
