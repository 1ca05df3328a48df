"""Text metrics, calibration, retrieval, forecasts and statistics by the libraries that people report them with."""

import random
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import numpy as np  # noqa: E402

out = output_folder(__file__)

SENTENCES = [
    "The cat sat on the mat, and the dog barked at it.",
    "In 2026 the price rose by 3.5%, to $1,234.50 (a record).",
    "He said: \"It's not what we've been waiting for!\" and left.",
    "Long-range forecasts of the weather are seldom right; short ones often are.",
    "A quick brown fox jumps over the lazy dog near the river bank.",
    "Die Stra\u00dfe ist heute gesperrt \u2014 bitte fahren Sie langsam.",
    "Nous sommes all\u00e9s \u00e0 la biblioth\u00e8que, puis au caf\u00e9.",
    "x < y &amp; y > z, so x - z is at most 10-5 = 5.",
    "The committees were generalizing their happily conflated relational hypotheses.",
    "\u6771\u4eac\u306f\u65e5\u672c\u306e\u9996\u90fd\u3067\u3059\u3002",
    "Parsing is hard. Parsing well is harder. Nobody parses for fun.",
    "one two three four five six seven eight nine ten eleven twelve",
]


def corrupt(rng, text):
    words = text.split()
    kind = rng.randrange(5)
    if kind == 0:
        start, length = rng.randrange(len(words)), rng.randrange(1, 4)
        run, rest = words[start:start + length], words[:start] + words[start + length:]
        at = rng.randrange(len(rest) + 1)
        words = rest[:at] + run + rest[at:]
    elif kind == 1:
        words = [word for word in words if rng.random() > 0.25] or words[:1]
    elif kind == 2:
        words = [rng.choice(words) if rng.random() < 0.3 else word for word in words]
    elif kind == 3:
        words = [word.upper() if rng.random() < 0.2 else word for word in words] + ["indeed"]
    return " ".join(words)


rng = random.Random(7)
pairs = []
for text in SENTENCES * 3:
    hypothesis = text
    for _ in range(rng.randrange(1, 4)):
        hypothesis = corrupt(rng, hypothesis)
    pairs.append([hypothesis, [text, corrupt(rng, corrupt(rng, text))]])
pairs += [["", ["something was wanted"]], ["something was said", [""]], ["a", ["a"]], ["nothing alike here", ["zzz yyy xxx www"]]]
pairs += [["the the the the", ["the cat the dog", "a the"]]]


def text_metrics():
    from sacrebleu.metrics import BLEU, CHRF, TER

    hypotheses = [hypothesis for hypothesis, references in pairs if len(references) == 2]
    references = [[references[i] for _, references in pairs if len(references) == 2] for i in range(2)]
    ours = {
        "tokenizer": "tokenize",
        "smoothing": "smooth_method",
        "smoothValue": "smooth_value",
        "maxOrder": "max_ngram_order",
        "effectiveOrder": "effective_order",
        "characterOrder": "char_order",
        "wordOrder": "word_order",
        "caseSensitive": "case_sensitive",
        "withoutPunctuation": "no_punct",
    }
    options = {
        "bleu": [{}, {"tokenizer": "intl"}, {"tokenizer": "char"}, {"tokenizer": "none"}, {"lowercase": True},
                 {"smoothing": "floor"}, {"smoothing": "add-k"}, {"smoothing": "none", "maxOrder": 2}, {"maxOrder": 6}],
        "chrf": [{}, {"wordOrder": 2}, {"lowercase": True, "beta": 1}, {"whitespace": True, "characterOrder": 4}],
        "ter": [{}, {"caseSensitive": True}, {"normalized": True}, {"withoutPunctuation": True}],
    }
    classes = {"bleu": BLEU, "chrf": CHRF, "ter": TER}
    cases = []
    for metric, settings in options.items():
        for given in settings:
            named = {ours.get(key, key): value for key, value in given.items()}
            made = classes[metric](**named)
            whole = made.corpus_score(hypotheses, references)
            case = {"metric": metric, "options": given, "corpus": whole.score}
            case["signature"] = made.get_signature().format().rsplit("|version", 1)[0]
            # The effective order that sacrebleu wants of sentences.
            single = classes[metric](**(named | ({"effective_order": True} if metric == "bleu" else {})))
            case["single"] = [single.sentence_score(hypothesis, refs).score for hypothesis, refs in pairs]
            one = made.corpus_score(hypotheses, references[:1])
            case["first_reference"] = one.score
            cases.append(case)
    return cases


WORDS = """caresses ponies ties cats feed agreed plastered bled motoring sing conflated troubled sized hopping tanned falling hissing
fizzed failing filing happy sky skies relational conditional rational valenci digitizer conformabli radicalli differentli vileli
analogousli vietnamization predication operator feudalism decisiveness hopefulness callousness formaliti sensitiviti sensibiliti
triplicate formative formalize electriciti electrical hopeful goodness revival allowance inference airliner gyroscopic adjustable
defensible irritant replacement adjustment dependent adoption homologou communism activate angulariti homologous effective bowdlerize
probate rate cease controll roll dying lying tying news innings outing howe proceed exceed succeed died dies spied cried tie flies
enjoy sky say by geology biology apologi beautifully fatally generically radically totally hesitanci ee a is the oed ying
argument arguments argued arguing generalization generalizations studies studying university universal organization maximum
easily enjoyed happily yes yesterday toy toys cry crying cried agreement eggs possibly bibli mobli trouble bubble size dissolved""".split()


def rouge_meteor():
    from nltk.stem.porter import PorterStemmer
    from nltk.translate.meteor_score import meteor_score
    from rouge_score import rouge_scorer

    types = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    summaries = [
        ["The cat sat. \nIt was fat.\nThe end came", "A fat cat sat on the mat.\nThe end came at last.\nIt was the end"],
        ["one two\nthree four\nfive", "three four five\none two six"],
        ["police killed the gunman\nthe gunman police killed", "the gunman kill police\npolice killed"],
    ]
    texts = [[hypothesis, references[0]] for hypothesis, references in pairs] + summaries
    rouge = []
    for stem in (False, True):
        scorer = rouge_scorer.RougeScorer(types, use_stemmer=stem)
        for hypothesis, reference in texts:
            scores = scorer.score(reference, hypothesis)
            rouge.append([stem, hypothesis, reference, *[x for kind in types for x in scores[kind]]])

    class Lemma:
        def __init__(self, name):
            self._name = name

        def name(self):
            return self._name

    class Synset:
        def __init__(self, names):
            self._names = names

        def lemmas(self):
            return [Lemma(name) for name in self._names]

    class Wordnet:
        groups = [["quick", "fast", "rapid"], ["barked", "yelped"], ["near", "close_to", "by"], ["price", "cost"], ["weather", "climate"]]

        def synsets(self, word):
            return [Synset(group) for group in self.groups if word in group]

    class Nothing:
        def synsets(self, word):
            return []

    synonymous = [["a fast brown fox yelped by the river", ["A quick brown fox barked near the river"]],
                  ["the cost of climate rose quickly", ["the price of weather was rising quick", "costs rose"]]]
    meteor = []
    for hypothesis, references in [*pairs, *synonymous]:
        for known in (False, True):
            for settings in ({}, {"alpha": 0.5, "beta": 1.0, "gamma": 0.2}):
                value = meteor_score([r.split() for r in references], hypothesis.split(), wordnet=Wordnet() if known else Nothing(), **settings)
                meteor.append({"hypothesis": hypothesis, "references": references, "synonyms": known, "options": settings, "score": value})
    # Where synonyms and settings change nothing they need not be said four times.
    kept = [case for i, case in enumerate(meteor) if i % 4 == 0 or case["score"] != meteor[i - 1]["score"]]
    stems = PorterStemmer()
    return {
        "rouge": rouge,
        "meteor": kept,
        "synonyms": Wordnet.groups,
        "stems": [[word, stems.stem(word)] for word in WORDS],
    }


def cider():
    from pycocoevalcap.cider.cider import Cider

    usable = [[h, r] for h, r in pairs if h and all(r)]
    for sigma in (6.0, 2.0):
        score, scores = Cider(sigma=sigma).compute_score({i: r for i, (_, r) in enumerate(usable)}, {i: [h] for i, (h, _) in enumerate(usable)})
        yield {"sigma": sigma, "score": float(score), "scores": [float(x) for x in scores]}


def bert_score():
    import torch
    from bert_score.utils import get_idf_dict, greedy_cos_idf

    generator = np.random.RandomState(3)
    table = np.round(generator.normal(size=(12, 5)), 3)
    special = [0, 1]
    texts = [[int(x) for x in generator.randint(2, 12, size=generator.randint(1, 7))] for _ in range(8)]
    ids = [[0, *text, 1] for text in texts]
    hypotheses, references = ids[:4], ids[4:]

    class Tokenizer:
        cls_token_id, sep_token_id = special

    def padded(rows, weights):
        longest = max(map(len, rows))
        embeddings = torch.zeros(len(rows), longest, 5, dtype=torch.float64)
        mask = torch.zeros(len(rows), longest)
        idf = torch.zeros(len(rows), longest, dtype=torch.float64)
        for i, row in enumerate(rows):
            embeddings[i, :len(row)] = torch.tensor(table[row])
            embeddings[i, len(row):] = 1
            mask[i, :len(row)] = 1
            idf[i, :len(row)] = torch.tensor([weights(x) for x in row], dtype=torch.float64)
        return embeddings, mask, idf

    import bert_score.utils as utils

    utils.process = lambda row, tokenizer=None: set(row)
    idf = get_idf_dict(references, Tokenizer(), nthreads=0)
    result = {"table": table.tolist(), "hypotheses": hypotheses, "references": references}
    for name, weights in (("plain", lambda x: 0.0 if x in special else 1.0), ("idf", lambda x: idf[x])):
        # One by one: with padding it takes 0 where all cosines are negative.
        each = [greedy_cos_idf(*padded([r], weights), *padded([h], weights)) for h, r in zip(hypotheses, references)]
        result[name] = [[float(x[0]) for x in row] for row in each]
    return result


def scores():
    import properscoring
    import pytrec_eval
    import torch
    from scipy import stats
    from sklearn import metrics
    from torchmetrics.functional.classification import binary_calibration_error

    generator = np.random.RandomState(5)
    confidences = np.round(np.round(generator.uniform(size=60), 2) + 0.003, 3) % 1  # off the edges of bins, which belong to one or the other
    correct = (generator.uniform(size=60) < confidences ** 1.5).astype(int)
    calibration = [
        {"bins": bins, **{norm: float(binary_calibration_error(torch.tensor(confidences), torch.tensor(correct), n_bins=bins, norm=norm)) for norm in ("l1", "l2", "max")}}
        for bins in (5, 10, 15)
    ]
    classes = [[str(x) for x in generator.choice(list("abc"), size=30)] for _ in range(2)]
    binary = [[int(x) for x in generator.randint(0, 2, size=30)] for _ in range(2)]
    documents = [f"d{i}" for i in range(12)]
    retrieval = []
    for _ in range(6):
        relevance = {d: int(generator.randint(0, 4)) for d in documents[:8] if generator.uniform() < 0.7}
        ranked = [str(d) for d in generator.permutation(documents)[:9]]
        run = {"q": {d: float(100 - i) for i, d in enumerate(ranked)}}
        measures = {"ndcg", "ndcg_cut.3,5", "recip_rank", "recall.3,5"}
        retrieval.append({"relevance": relevance, "ranked": ranked, **pytrec_eval.RelevanceEvaluator({"q": relevance}, measures).evaluate(run)["q"]})
    ensembles = [{"draws": [round(float(x), 3) for x in generator.normal(size=n)], "value": round(float(generator.normal()), 3)} for n in (1, 2, 5, 12)]
    for case in ensembles:
        case["crps"] = float(properscoring.crps_ensemble(case["value"], case["draws"]))
    normals = [{"mean": 0.5, "deviation": d, "value": v, "crps": float(properscoring.crps_gaussian(v, 0.5, d))} for d in (0.1, 1.0, 3.0) for v in (-2.0, 0.5, 1.3)]
    pinball = [[q, y, p, float(metrics.mean_pinball_loss([y], [q], alpha=p))] for q, y in ((1.0, 2.0), (2.0, -1.0)) for p in (0.1, 0.5, 0.9)]
    gpass = []
    for n, c, k in ((10, 7, 4), (16, 3, 8), (8, 8, 8), (5, 0, 2), (64, 40, 16)):
        law = stats.hypergeom(n, c, k)
        row = {"n": n, "c": c, "k": k, "pass_hat": float(law.sf(k - 1))}
        row["tau"] = {str(t): float(law.sf(max(int(np.ceil(round(k * t, 9))), 1) - 1)) for t in (0.25, 0.5, 0.75, 1.0)}
        row["mean"] = float(2 / k * sum(law.sf(i - 1) for i in range(int(np.ceil(k / 2)) + 1, k + 1)))
        gpass.append(row)
    return {
        "confidences": confidences.tolist(),
        "correct": correct.tolist(),
        "calibration": calibration,
        "brier": float(metrics.brier_score_loss(correct, confidences)),
        "log_loss": float(metrics.log_loss(correct, np.clip(confidences, 0.005, 0.995))),
        "mcc": [[*given, float(metrics.matthews_corrcoef(given[1], given[0]))] for given in (classes, binary, [[1, 1, 1], [1, 0, 1]])],
        "retrieval": retrieval,
        "ensembles": ensembles,
        "normals": normals,
        "pinball": pinball,
        "g_pass": gpass,
    }


def length_control():
    import pandas as pd
    from alpaca_eval.metrics.glm_winrate import fit_LogisticRegressionCV

    generator = np.random.RandomState(11)
    cases = []
    for n, difficult in ((40, False), (120, False), (80, True)):
        length, baseline = generator.randint(100, 2000, size=(2, n))
        difficulty = np.round(generator.normal(size=n), 3)
        logit = 0.4 + 1.2 * np.tanh((length - baseline) / 600) + (0.8 * difficulty if difficult else 0)
        preference = np.where(generator.uniform(size=n) < 0.1, 0.5, (generator.uniform(size=n) < 1 / (1 + np.exp(-logit))).astype(float))
        delta = pd.Series(baseline - length)
        frame = pd.DataFrame({"length": np.tanh(delta / delta.std()), "model": 1.0, **({"difficulty": difficulty} if difficult else {}), "preference": preference})
        case = {"length": length.tolist(), "baselineLength": baseline.tolist(), "preference": preference.tolist(), "fits": []}
        if difficult:
            case["difficulty"] = difficulty.tolist()
        zero = frame.drop(columns=["preference"]).assign(length=0.0)
        for c in (100, 0.1, 0.02):
            model = fit_LogisticRegressionCV(frame, "preference", n_splits=0, C=c, tol=1e-10, max_iter=100_000)
            case["fits"].append({"c": c, "coefficients": model.coef_[0].tolist(), "value": float(model.predict_proba(zero)[:, 1].mean())})
        crossed = fit_LogisticRegressionCV(frame, "preference", n_splits=5)
        case["cross_validated"] = {"c": float(np.ravel(crossed.C_)[0]), "value": float(crossed.predict_proba(zero)[:, 1].mean())}
        cases.append(case)
    return cases


def statistics():
    import statsmodels.api as sm
    from scipy import stats
    from statsmodels.stats.multitest import multipletests
    from statsmodels.stats.power import NormalIndPower
    from statsmodels.stats.proportion import proportion_confint
    from statsmodels.stats.sandwich_covariance import cov_cluster_2groups

    generator = np.random.RandomState(2)
    proportions = [
        [x, n, level, *[float(v) for method in ("wilson", "beta") for v in proportion_confint(x, n, alpha=1 - level, method=method)]]
        for x, n in ((0, 10), (3, 10), (8, 10), (10, 10), (1, 500), (123, 200))
        for level in (0.9, 0.95, 0.99)
    ]
    families = []
    for size in (1, 4, 10):
        p = np.round(generator.uniform(size=size) ** 3, 5)
        families.append({"p": p.tolist(), "holm": multipletests(p, method="holm")[1].tolist(), "bh": multipletests(p, method="fdr_bh")[1].tolist()})
    flips = []
    for n in (4, 8, 11):
        d = np.round(generator.normal(0.4, 1, size=n), 2)
        p = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=False).pvalue
        flips.append({"differences": d.tolist(), "p": float(p)})
    quantiles = {
        "normal": [[p, float(stats.norm.ppf(p)), float(stats.norm.cdf(-3.5 * p))] for p in (1e-9, 0.001, 0.025, 0.3, 0.5, 0.8, 0.999)],
        "student": [[p, df, float(stats.t.ppf(p, df))] for p in (0.005, 0.2, 0.975) for df in (1, 2, 7.5, 100)],
        "beta": [[p, a, b, float(stats.beta.ppf(p, a, b))] for p in (0.025, 0.5, 0.999) for a, b in ((1, 10), (3.5, 2), (400, 300))],
    }
    seeds = []
    for shape in ((3, 20), (5, 12), (4, 50)):
        values = generator.normal(size=(shape[0], 1)) * 0.3 + generator.normal(size=(1, shape[1])) + generator.normal(size=shape) * 0.5
        values = np.round(values, 3)
        fit = sm.OLS(values.ravel(), np.ones(values.size)).fit()
        by_seed, by_problem = [g.ravel() for g in np.indices(shape)]
        both, one, two = cov_cluster_2groups(fit, by_seed, by_problem, use_correction=False)
        # Each clustering with its own C/(C-1), as a mean of clusters has it.
        k1, k2, n = shape[0], shape[1], values.size
        cells = both - one - two
        corrected = one * k1 / (k1 - 1) + two * k2 / (k2 - 1) + cells * n / (n - 1)
        seeds.append({"values": values.tolist(), "seed": float(np.sqrt(one[0, 0] * k1 / (k1 - 1))), "problem": float(np.sqrt(two[0, 0] * k2 / (k2 - 1))), "both": float(np.sqrt(corrected[0, 0]))})
    welch = []
    for first, second in (([3, 4.5, 5.5], [1, 1.5, 2.75, 0.5]), ([0.61, 0.58, 0.66], [0.7, 0.72, 0.69]), ([1, 2, 4, 8, 16], [3, 3.5])):
        test = stats.ttest_ind(second, first, equal_var=False)
        interval = test.confidence_interval(0.95)
        welch.append({"first": first, "second": second, "low": float(interval.low), "high": float(interval.high), "df": float(test.df)})
    power = [
        {"difference": d, "sd": sd, "alpha": a, "power": w, "n": float(NormalIndPower(ddof=0).solve_power(effect_size=d / sd, alpha=a, power=w, ratio=0))}
        for d, sd, a, w in ((0.02, 0.5, 0.05, 0.8), (0.03, 0.7, 0.01, 0.9), (0.1, 0.5, 0.05, 0.5))
    ]
    crossings = []
    for shares, bounds in (([0.5, 1.0], [2.963, 1.969]), ([1 / 3, 2 / 3, 1.0], [3.71, 2.511, 1.993]), ([0.25, 0.6, 1.0], [2.37, 2.3, 2.2])):
        inside = []
        for k in range(1, len(shares) + 1):
            cov = [[np.sqrt(min(s, t) / max(s, t)) for t in shares[:k]] for s in shares[:k]]
            low = [-b for b in bounds[:k]]
            inside.append(float(stats.multivariate_normal.cdf(bounds[:k], np.zeros(k), cov, lower_limit=low, rng=0, abseps=1e-9, releps=1e-9, maxpts=2_000_000)))
        crossings.append({"shares": shares, "bounds": bounds, "spent": [1 - x for x in inside]})
    return {"proportions": proportions, "families": families, "flips": flips, "quantiles": quantiles, "seeds": seeds, "welch": welch, "power": power, "crossings": crossings}


write_json(out / "text.json", {"pairs": pairs, "cases": text_metrics(), "cider": list(cider()), "bert_score": bert_score()})
write_json(out / "rouge-meteor.json", rouge_meteor())
write_json(out / "scores.json", scores() | {"length_control": length_control()})
write_json(out / "statistics.json", statistics())
