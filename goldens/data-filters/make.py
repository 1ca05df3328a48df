"""Verdicts of datatrove's filters, formatters, sentence deduplication and decontamination on texts that are made here, words and sentences of spaCy's rules for
English, and label errors by cleanlab."""

import random
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

import numpy as np  # noqa: E402
from datatrove.data import Document  # noqa: E402
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter, NGramsDecontIndexer  # noqa: E402
from datatrove.pipeline.dedup.sentence_dedup import SentDedupConfig, SentenceDedupFilter, SentenceDedupSignature  # noqa: E402
from datatrove.pipeline.filters import (  # noqa: E402
    C4ParagraphFilter,
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    URLFilter,
)
from datatrove.pipeline.formatters import PIIFormatter  # noqa: E402
from datatrove.utils.word_tokenizers import load_word_tokenizer  # noqa: E402

rng = random.Random(0)
english = load_word_tokenizer("eng")

NOUNS = "river house teacher song winter question machine garden window letter number answer village engine market story".split()
VERBS = "shows finds keeps opens carries asks answers builds moves counts".split()
ADJECTIVES = "old quiet small bright careful northern strange simple heavy new".split()


def sentence(words=None):
    parts = ["The", rng.choice(ADJECTIVES), rng.choice(NOUNS), rng.choice(VERBS), "the", rng.choice(NOUNS), "of", "the", rng.choice(NOUNS)]
    if rng.random() < 0.4:
        parts += ["and", "it", rng.choice(VERBS), "to", "be", rng.choice(ADJECTIVES)]
    text = " ".join(parts[:words])
    return text + rng.choice([".", ".", ".", "!", "?", '."'])


def paragraph(n):
    return " ".join(sentence() for _ in range(n))


good = lambda: "\n".join(paragraph(rng.randint(2, 4)) for _ in range(rng.randint(3, 5)))  # noqa: E731
texts = [good() for _ in range(10)]
texts += [paragraph(n) for n in (1, 2, 5, 6)]
texts += ["", " \n ", "...", "a", "# # # " + paragraph(5), paragraph(6).replace(" ", " # ")]
texts += ["\n".join("- " + sentence() for _ in range(10)), "\n".join("\u2022 " + sentence() for _ in range(9)) + "\n" + sentence()]
texts += ["\n".join(sentence()[:-1] + "..." for _ in range(8)), "\n".join(sentence()[:-1] + "\u2026" for _ in range(3)) + "\n" + good()]
texts += [" ".join(str(rng.randint(0, 999)) for _ in range(60)) + " " + paragraph(2), "z " * 60 + paragraph(2)]
texts += [" ".join("incomprehensibilities" for _ in range(60)), " ".join(rng.choice(NOUNS) for _ in range(70))]
line = sentence()
texts += ["\n".join([line] * 6) + "\n" + good(), "\n\n".join([paragraph(2)] * 4), "\n\n".join([paragraph(2)] * 2 + [good()])]
phrase = "the old river of the north"
texts += [" ".join([phrase] * 12) + " " + good(), (phrase + " ") * 4 + good(), good() + "\n" + good()[:200] * 2]
texts += [good() + "\nLorem ipsum dolor sit amet.\n" + good(), good() + "\nfunction f() { return 1; } is here.\n", good() + "\nPlease enable Javascript now.\n" + good()]
texts += [good().replace(".", "", 2) + "\nRead our privacy policy for more of it.", good() + "\nThis is known.[12] [edit]\nIt is so.[citation needed]\n" + good()]
texts += ["x" * 1200 + " is a word here.\n" + good(), "\n".join(sentence(3) for _ in range(30)), "\n".join(good() for _ in range(2)).replace("\n", "\n\n\n")]
texts += ["\n".join(paragraph(4) for _ in range(3)), "\r\n".join(paragraph(3) for _ in range(4)), "\u2028".join(paragraph(3) for _ in range(4))]
texts += ["\U0001f600 " * 20 + good(), "\n".join(rng.choice(NOUNS) for _ in range(80)) + "\n" + good()]

GOPHER = GopherQualityFilter(language="eng")
REPETITION = GopherRepetitionFilter(language="eng")
C4 = C4QualityFilter(language="eng")
PARAGRAPHS = C4ParagraphFilter()
FINEWEB = FineWebQualityFilter(language="eng")


def verdict(step, text):
    doc = Document(text=text, id="0")
    try:
        found = step.filter(doc)
    except ZeroDivisionError:
        return "ZeroDivisionError"
    if isinstance(found, tuple):
        return found[1]
    return {"text": doc.text} if doc.text != text else bool(found)


filters = [
    {
        "text": text,
        "gopherQuality": verdict(GOPHER, text),
        "gopherRepetition": verdict(REPETITION, text),
        "c4Quality": verdict(C4, text),
        "c4Paragraphs": verdict(PARAGRAPHS, text),
        "finewebQuality": verdict(FINEWEB, text),
    }
    for text in texts
]

WORDS = [
    "I can't say we'll go; they've been there, hasn't she? It's John's (and he'd know).",
    "Dr. Smith, e.g. of the U.S. and the E.U., came at 9a.m. on Jan. 3 with $5.50 and 20% of it.",
    "A well-known state-of-the-art re-entry, and/or http://example.com/a?b=c#d or me@example.org.",
    'He said: "Stop!" -- then... nothing happened\u2026 "Why?" she asked.',
    "10km/h isn't 10 km/h, 3+4=7, x=y, f(x):g<y> and 1,000,000.00 or 5-6.",
    "Let's see, cannot, gonna, C'mon! I'm, you\u2019re, don\u2019t, who's, whats, its, well, ill",
    ":) that's it :-( and (see this): fine. ^_^ <3",
    "a. b. A.B. Ph.D. etc. i.e. vs. St. Louis, Mr. X.",
    "\u00a310 \u20ac20 #tag @name 'quoted' \u201cso\u201d \u00abici\u00bb \u2013 \u2014 -dash word-",
    "One.Two three.four 5.6 v1.2.3 don't've should've shouldn't've",
    "What! No? Yes. (Indeed.) End\n\nNew one here. 3.5 is a number. Mr. Y came.",
]
words = [
    {"text": text, "words": english.word_tokenize(text), "sentences": english.sent_tokenize(text)} for text in WORDS + texts[:3]
]

PII = [
    "Write to jane.doe+x@mail.example.co.uk or bob@example.com, and not @nobody or a@b.",
    "Servers 8.8.8.8, 10.0.0.1, 192.168.1.1, 1.2.3.400, 100.64.0.1, 198.51.100.7, 203.0.112.255 and 255.255.255.255.",
    "1.1.1.1 2.2.2.2 3.3.3.3 4.4.4.4 5.5.5.5 6.6.6.6 7.7.7.7 08.8.8.8",
    "x@[127.0.0.1] a!b@c.d _u@v.w e@f.g h@i.j",
    "nothing here",
]
pii = [{"text": text, "scrubbed": PIIFormatter().format(text), "all": PIIFormatter(only_remove_public_ips=False).format(text)} for text in PII]

URLS = [
    "https://www.example.com/a", "http://blog.bad.co.uk/x", "http://bad.co.uk", "https://sub.host.org/p", "https://other.host.org/p",
    "https://good.org/exact?page=1", "https://good.org/casino-night", "https://good.org/mild/words-and-soft", "https://good.org/only-mild",
    "https://so-ft.good.org/EvIl-ways", "http://127.0.0.1/evil", "https://good.org/",
]
url_filter = URLFilter(
    use_integrated_lists=False, extra_domains=["bad.co.uk", "sub.host.org"], extra_urls=["https://good.org/exact?page=1"],
    banned_words=["casino"], soft_banned_words=["mild", "soft"], banned_subwords=["evilways"],
)
from tldextract import TLDExtract  # noqa: E402

url_filter.tldextractor = TLDExtract(suffix_list_urls=())  # the list that comes with it
urls = []
for url in URLS:
    found = url_filter.filter(Document(text="", id="0", metadata={"url": url}))
    urls.append({"url": url, "verdict": found if found is True else found[1]})

# Sentence deduplication: signatures of the documents, duplicates as the second step marks them, texts as the third one leaves them.
shared = [paragraph(4), paragraph(5)]
documents = [good(), good() + " " + shared[0], shared[0] + " " + good(), shared[1], paragraph(3) + " " + shared[1] + " " + paragraph(4), good() + " " + shared[1]]
dedup = []
for config in (SentDedupConfig(min_doc_words=10, min_num_sentences=3), SentDedupConfig(n_sentences=2, min_doc_words=50)):
    signature = SentenceDedupSignature("memory://x", config=config, language="eng")
    found, seen = [], set()
    for i, text in enumerate(documents):
        places = []
        for value, _, place in signature.get_hashes(Document(text=text, id=str(i)), i):
            if value in seen:
                places.append(place)
            seen.add(value)
        found.append(places)
    step = SentenceDedupFilter("memory://x", config=config, language="eng")
    kept = []
    for text, places in zip(documents, found):
        left = step.remove_dup_sentences(Document(text=text, id="0"), np.array(places))[0] if places else text
        enough = left == text or (
            len(english.word_tokenize(left)) >= config.min_doc_words and len(english.sent_tokenize(left)) >= config.min_num_sentences
        )
        kept.append(left if left and enough else None)
    dedup.append({"nSentences": config.n_sentences, "minDocWords": config.min_doc_words, "kept": kept})

# Decontamination. The indexer wants lighteval, which only its run() reads.
label, query = "Seventeen plus four is twenty one and that is the whole of the answer to it.", "How much is seventeen plus four, asked the old teacher of the village in the winter?"
indexer = object.__new__(NGramsDecontIndexer)
cases = [
    "They say that seventeen plus four is twenty-one and that is the whole of the answer to it, always.",
    "asked the old teacher of the village in the winter? Seventeen plus four is what he meant.",
    "How much is seventeen plus four, asked the old teacher of the village in the summer?",
    "Something else that has nothing to do with the question, or with what somebody answered to it then.",
]
decontamination = []
for options in ({}, {"find_query_ngrams": True}, {"n_grams": 6, "find_overlap_ngrams": False}):
    config = NGramsDecontConfig(**options)
    indexer.config, indexer.tokenizer = config, english
    from datatrove.utils.hashing import create_hash_func

    indexer.hash_func = create_hash_func(config.hash_config)
    step = NGramsDecontFilter("memory://x", config=config, language="eng")
    step._index_hashes = {value: "sums" for value in indexer.compute_hashes(label, query)}
    verdicts = [step.filter(Document(text=text, id="0")) is not True for text in cases]
    decontamination.append({"options": options, "dropped": verdicts})

folder = output_folder(__file__)
write_json(folder / "filters.json", {"filters": filters, "words": words, "pii": pii, "urls": urls})
write_json(
    folder / "deduplication.json",
    {"documents": documents, "sentences": dedup, "label": label, "query": query, "texts": cases, "decontamination": decontamination},
)

# Label errors.
from cleanlab.count import compute_confident_joint, get_confident_thresholds  # noqa: E402
from cleanlab.filter import find_label_issues  # noqa: E402

cases = []
for seed, (n, classes, noise) in enumerate([(60, 2, 0.2), (90, 3, 0.25), (40, 4, 0.4), (12, 3, 0.1), (80, 5, 0.0)]):
    generator = np.random.default_rng(seed)
    true = generator.integers(0, classes, n)
    labels = np.where(generator.random(n) < noise, generator.integers(0, classes, n), true)
    logits = generator.normal(size=(n, classes)) + 2.0 * np.eye(classes)[true]
    probabilities = np.round(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), 4)
    cases.append(
        {
            "labels": labels.tolist(),
            "probabilities": probabilities.tolist(),
            "thresholds": [float(x) for x in get_confident_thresholds(labels, probabilities)],
            "joint": compute_confident_joint(labels, probabilities, calibrate=False).tolist(),
            "calibrated": compute_confident_joint(labels, probabilities).tolist(),
            "issues": {
                by: np.flatnonzero(find_label_issues(labels, probabilities, filter_by=by, n_jobs=1)).tolist()
                for by in ("prune_by_noise_rate", "prune_by_class", "both", "confident_learning")
            },
        }
    )
write_json(folder / "label-errors.json", {"cases": cases})
