"""Goldens of repaired text (ftfy) and of readability (textstat): `python make.py` writes text-repair.json beside this script.

The sentences are our own. Each is spoiled as software spoils it, UTF-8 read as another encoding once or twice, and repaired by ftfy without its curly quotes
and HTML entities; texts that look spoiled and are not are among them.
"""

import json
from pathlib import Path

import ftfy
import textstat
import textstat.backend.counts._count_syllables as syllables_module

SENTENCES = [
    "Das Öl überschüssig zu nennen wäre größtenteils übertrieben.",
    "L’été dernier, la garçonne a été déçue : c’était « trop » cher.",
    "El niño comió piñones mañana; ¿quién lo sabía? ¡Jamás!",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Съешь же ещё этих мягких французских булок.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "“Quotes” — and dashes… for €5, ½ off ™",
    "日本語の文章です。漢字と仮名。",
    "מזג האוויר היום נעים מאוד",
    "Emoji 🎉 and 👍🏽 in a line",
]
LEFT = [
    "NESTLÉ® and CAFÉ™ are names.",
    "voilà » dit-il",
    "Charlotte Brontë…”",
    "Ångström, Århus, Þór, Ñandú",
    "ASCII only, nothing to do.",
    "РґР is no word",
    "Â is a letter of Vietnamese: Âu Cơ",
]
OTHERS = ["ﬁne ﬂow of oﬃce", "ＡＢＣ　１２３", "a\r\nb\rc\u2028d", "tab\tand \x07bell\x1b[31mred\x1b[0m", "e\u0301a\u0308", "\ufeffBOM"]

READ = [
    "The cat sat on the mat. It was warm there. The dog did not like that.",
    "Notwithstanding considerable methodological heterogeneity, subsequent investigations corroborated the preliminary observations. Nevertheless, replication remains indispensable.",
    "We hold these truths to be self-evident, that all men are created equal. They have rights. Among these are life and liberty.",
]


def spoil(text: str, encoding: str) -> str | None:
    try:
        return text.encode("utf-8").decode(encoding)
    except UnicodeDecodeError:
        return None


def main() -> None:
    # The pronouncing dictionary is a download of its own; without it textstat hyphenates words.
    syllables_module.get_cmudict = lambda lang: None
    config = {"uncurl_quotes": False, "unescape_html": False}
    repairs = []
    for sentence in SENTENCES:
        for encoding in ["sloppy-windows-1252", "latin-1", "sloppy-windows-1251", "sloppy-windows-1250", "macroman"]:
            once = spoil(sentence, encoding)
            twice = once and spoil(once, encoding)
            for rounds, text in [(1, once), (2, twice)]:
                if text:
                    repairs.append({"encoding": encoding, "rounds": rounds, "text": text, "meant": sentence, "ftfy": ftfy.fix_text(text, **config)})
    left = [{"text": text, "ftfy": ftfy.fix_text(text, **config)} for text in LEFT + SENTENCES]
    others = [{"text": text, "ftfy": ftfy.fix_text(text, **config)} for text in OTHERS]
    readability = []
    for text in READ:
        words = textstat.lexicon_count(text)
        syllables = textstat.syllable_count(text)
        readability.append(
            {
                "text": text,
                "counts": {
                    "sentences": textstat.sentence_count(text),
                    "words": words,
                    "syllables": syllables,
                    "letters": textstat.letter_count(text),
                    "characters": textstat.char_count(text),
                    "polysyllables": textstat.polysyllabcount(text),
                    "longWords": textstat.long_word_count(text),
                },
                "fleschReadingEase": textstat.flesch_reading_ease(text),
                "fleschKincaidGrade": textstat.flesch_kincaid_grade(text),
                "smog": textstat.smog_index(text),
                "colemanLiau": textstat.coleman_liau_index(text),
                "automatedReadability": textstat.automated_readability_index(text),
                "lix": textstat.lix(text),
            }
        )
    file = Path(__file__).parent / "text-repair.json"
    file.write_text(json.dumps({"repairs": repairs, "left": left, "others": others, "readability": readability}, ensure_ascii=True, indent=1) + "\n")


if __name__ == "__main__":
    main()
