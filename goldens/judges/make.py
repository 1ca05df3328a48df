"""Agreement of raters by scikit-learn, statsmodels and krippendorff; trajectories of agents by LangChain's agentevals."""

import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import krippendorff  # noqa: E402
import numpy as np  # noqa: E402
from agentevals.trajectory.match import create_trajectory_match_evaluator  # noqa: E402
from sklearn.metrics import cohen_kappa_score  # noqa: E402
from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa, fleiss_kappa  # noqa: E402

out = output_folder(__file__)
generator = np.random.RandomState(0)


def raters(items, count, categories, error):
    truth = generator.randint(categories, size=items)
    wrong = generator.uniform(size=(items, count)) < error
    return np.where(wrong, generator.randint(categories, size=(items, count)), truth[:, None])


cohen = []
for items, categories, error in [(12, 2, 0.3), (60, 3, 0.4), (200, 5, 0.5)]:
    ratings = raters(items, 2, categories, error)
    table = np.zeros((categories, categories))
    for a, b in ratings:
        table[a, b] += 1
    for name, sk, sm in [("nominal", None, {}), ("linear", "linear", {"wt": "linear"}), ("quadratic", "quadratic", {"wt": "fc"})]:
        result = cohens_kappa(table, **sm)
        value = cohen_kappa_score(ratings[:, 0], ratings[:, 1], weights=sk, labels=range(categories))
        assert abs(value - result.kappa) < 1e-9, (name, value, result.kappa)
        cohen.append(
            {
                "weights": name,
                "labels": [str(i) for i in range(categories)],
                "first": ratings[:, 0].tolist(),
                "second": ratings[:, 1].tolist(),
                "kappa": float(value),
                "standard_error": float(np.sqrt(result.var_kappa)),
            }
        )

fleiss = []
for items, count, categories, error in [(10, 3, 2, 0.3), (40, 5, 4, 0.5)]:
    ratings = raters(items, count, categories, error)
    fleiss.append({"ratings": ratings.tolist(), "kappa": float(fleiss_kappa(aggregate_raters(ratings)[0]))})

alpha = []
for items, count, categories, error in [(15, 3, 3, 0.3), (50, 4, 5, 0.5)]:
    ratings = raters(items, count, categories, error).astype(float) + 1
    ratings[generator.uniform(size=ratings.shape) < 0.25] = np.nan
    alpha.append(
        {
            "ratings": [[None if np.isnan(x) else x for x in row] for row in ratings.tolist()],
            **{
                level: float(krippendorff.alpha(reliability_data=ratings.T, level_of_measurement=level))
                for level in ("nominal", "ordinal", "interval", "ratio")
            },
        }
    )

write_json(out / "agreement.json", {"cohen": cohen, "fleiss": fleiss, "krippendorff": alpha})


def call(name, **args):
    return {"id": name, "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}


def says(*calls, text="so"):
    return {"role": "assistant", "content": text, **({"tool_calls": list(calls)} if calls else {})}


def tool(text):
    return {"role": "tool", "tool_call_id": "t", "content": text}


user = {"role": "user", "content": "What is the weather in Rome?"}
rome = call("weather", city="Rome", unit="C")
rome_bare = call("weather", city="Rome")
oslo = call("weather", city="Oslo", unit="C")
mail = call("mail", to={"name": "Ann", "address": "a@b"}, text="hot")
mail_other = call("mail", to={"name": "Ann", "address": "c@d"}, text="warm")
trajectories = {
    "one": [user, says(rome), tool("30"), says(text="30 degrees")],
    "one, other words": [user, says(rome, text="let me look"), tool("thirty"), says(text="It is hot.")],
    "bare": [user, says(rome_bare), tool("30"), says()],
    "two in one": [user, says(rome, mail), tool("30"), says()],
    "two in one, turned": [user, says(mail, rome), tool("30"), says()],
    "two in turn": [user, says(rome), tool("30"), says(mail), tool("sent"), says()],
    "two, turned": [user, says(mail), tool("sent"), says(rome), tool("30"), says()],
    "twice": [user, says(rome), tool("30"), says(rome), tool("30"), says()],
    "both cities": [user, says(rome, oslo), tool("30"), says()],
    "bare and full": [user, says(rome_bare, rome), tool("30"), says()],
    "full and bare": [user, says(rome, rome_bare), tool("30"), says()],
    "other mail": [user, says(rome, mail_other), tool("30"), says()],
    "no call": [user, says(text="30, I guess")],
}
OVERRIDES = [None, {"mail": ["to.name"]}, {"weather": "superset", "mail": "ignore"}]
cases = []
for mode in ("strict", "unordered", "subset", "superset"):
    for args in ("exact", "ignore", "subset", "superset"):
        for overrides in OVERRIDES:
            evaluator = create_trajectory_match_evaluator(
                trajectory_match_mode=mode, tool_args_match_mode=args, tool_args_match_overrides=overrides
            )
            matches = "".join(
                str(int(evaluator(outputs=outputs, reference_outputs=reference)["score"]))
                for outputs in trajectories.values()
                for reference in trajectories.values()
            )
            cases.append({"mode": mode, "args": args, "overrides": overrides or {}, "matches": matches})
write_json(out / "trajectories.json", {"trajectories": trajectories, "cases": cases})
