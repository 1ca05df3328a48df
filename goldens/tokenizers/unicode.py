"""Writes what the components of `tokenizers` know of Unicode, asked of the library itself, as a TypeScript table.

Its parts stand on different versions of Unicode (9 to 17), and a JavaScript engine on another: a tokenizer that asked the
engine would change with it. Run: python goldens/tokenizers/unicode.py > packages/lm/src/tokenizer/unicode/unicode-data.ts
"""

import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

POINTS = [point for point in range(0x110000) if not 0xD800 <= point <= 0xDFFF]
EVERYTHING = "".join(map(chr, POINTS))
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()
SCRIPTS = "Arabic Armenian Bengali Bopomofo Common Cyrillic Devanagari Ethiopic Georgian Greek Gujarati Gurmukhi Han Hangul Hebrew Hiragana Inherited Kannada Katakana Khmer Lao Latin Malayalam Myanmar Oriya Sinhala Tamil Telugu Thai Tibetan".split()
ASCII_PUNCTUATION = set(map(ord, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"))


def oniguruma(pattern: str) -> set[int]:
    return set(map(ord, normalizers.Replace(Regex(f"[^{pattern}]"), "").normalize_str(EVERYTHING)))


def isolated(pre_tokenizer) -> set[int]:
    """Code points that stand alone between two letters."""
    text = "a".join(["", *map(chr, POINTS), ""])
    return {ord(piece) for piece, _ in pre_tokenizer.pre_tokenize_str(text) if len(piece) == 1 and piece != "a"}


def each(normalizer, before: str = "", after: str = "") -> dict[int, str]:
    """What becomes of each code point but the newline, in its own context."""
    points = [point for point in POINTS if point != 10]
    text = "\n".join(before + chr(point) + after for point in points)
    return dict(zip(points, normalizer.normalize_str(text).split("\n"), strict=True))


def bert(**options):
    flags = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**flags, **options})


def inert() -> set[int]:
    """What the normal forms leave alone although a later Unicode gives it a decomposition or a combining class."""
    points = {point for point in POINTS if unicodedata.category(chr(point)) == "Cn"}
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        normalizer = getattr(normalizers, form)()
        for before, after in (("", ""), ("q", "\u0323\u0301"), ("q\u0301\u0323", "")):
            for point, text in each(normalizer, before, after).items():
                if text != unicodedata.normalize(form, before + chr(point) + after):
                    points.add(point)
    # The first halves of compositions that came after Unicode 14.
    points.update([0x105D2, 0x105DA, 0x11382, 0x11384, 0x1138B, 0x11390, 0x113C2, 0x1611E, 0x16121, 0x16122, 0x16129])
    points.update([0x16D63, 0x16D67, 0x16D69])
    return points


def scripts_of_pre_tokenizer() -> list[tuple[int, int, int]]:
    """(first, last, class) of UnicodeScripts: code points of one class stay together, those left out are of none."""
    pre = pre_tokenizers.UnicodeScripts()
    has_script = lambda point: len(pre.pre_tokenize_str(chr(point))) > 0  # noqa: E731
    together = lambda a, b: len(pre.pre_tokenize_str(chr(a) + chr(b))) == 1  # noqa: E731
    ranges: list[list[int]] = []
    representatives: list[int] = []
    for point in POINTS:
        if not has_script(point):
            continue
        if ranges and ranges[-1][1] == point - 1 and together(point - 1, point):
            ranges[-1][1] = point
            continue
        number = next((i for i, other in enumerate(representatives) if together(other, point)), len(representatives))
        if number == len(representatives):
            representatives.append(point)
        ranges.append([point, point, number])
    return [tuple(entry) for entry in ranges]


def digits(value: int) -> str:
    text = ""
    while True:
        value, digit = divmod(value, 36)
        text = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + text
        if value == 0:
            return text


def encode(points: set[int]) -> str:
    """Ranges in order, each as its gap from the last and its length less one, in base 36."""
    parts: list[str] = []
    end = 0
    points = sorted(points)
    i = 0
    while i < len(points):
        j = i
        while j + 1 < len(points) and points[j + 1] == points[j] + 1:
            j += 1
        parts += [digits(points[i] - end), digits(points[j] - points[i])]
        end = points[j] + 1
        i = j + 1
    return " ".join(parts)


def record(name: str, comment: str, entries: dict[str, str]) -> None:
    print(f"\n/** {comment} */\nexport const {name} = {{")
    for key, value in entries.items():
        print(f"  {key}:\n    '{value}',")
    print("} as const;")


def main() -> None:
    print("// Made by goldens/tokenizers/unicode.py from tokenizers 0.23.3. Not to be edited.")
    category = {name: oniguruma(rf"\p{{{name}}}") for name in CATEGORIES}
    record("CATEGORIES", "General categories, as Oniguruma has them.", {k: encode(v) for k, v in category.items()})
    scripts = {name: encode(oniguruma(rf"\p{{{name}}}")) for name in SCRIPTS}
    record("SCRIPTS", "Scripts, as Oniguruma has them.", scripts)

    nonspacing = {p for p, text in each(bert(strip_accents=True)).items() if text == ""}
    spaces = {9, 10, 13, *(p for p in POINTS if p > 0x85 and chr(p).isspace())}
    cleaned = set(POINTS) - set(map(ord, bert(clean_text=True).normalize_str(EVERYTHING))) - spaces - {0, 0xFFFD}
    punctuation = isolated(pre_tokenizers.Punctuation("isolated"))
    accents = {p for p, text in each(normalizers.StripAccents()).items() if text == ""}
    alphabetic = oniguruma(r"\p{Alphabetic}")
    properties = {
        "alphabetic": alphabetic,
        "uppercase": oniguruma("[:upper:]"),
        "lowercase": oniguruma("[:lower:]"),
        "numeric": isolated(pre_tokenizers.Digits(individual_digits=True)),
        "punctuation": punctuation,
        "combining": accents,
        "nonspacing": nonspacing,
        "control": cleaned,
        "inert": inert(),
    }
    print("\n/**\n * `alphabetic`, `uppercase`, `lowercase`: of Oniguruma. `numeric`: Digits. `punctuation`: Punctuation and")
    print(" * BertPreTokenizer. `combining`: StripAccents. `nonspacing`, `control`: BertNormalizer's accents (after NFD) and what")
    print(" * it cleans away. `inert`: what NFC, NFD, NFKC and NFKD leave alone.\n */")
    print("export const PROPERTIES = {")
    for key, value in properties.items():
        print(f"  {key}:\n    '{encode(value)}',")
    print("} as const;")

    recent = {p: t for p, t in each(normalizers.Lowercase()).items() if t != chr(p).lower()}
    pairs = " ".join(f"{digits(p)} {digits(ord(t))}" for p, t in sorted(recent.items()))
    print("\n/** Lowercase pairs that came after Unicode 14: code point and lowercase, in base 36. */")
    print(f"export const RECENT_LOWERCASE =\n  '{pairs}';")

    parts: list[str] = []
    end = 0
    for first, last, number in scripts_of_pre_tokenizer():
        parts += [digits(first - end), digits(last - first), digits(number)]
        end = last + 1
    print("\n/** UnicodeScripts: ranges as above, each followed by the number of its class. */")
    print(f"export const SCRIPT_CLASSES =\n  '{' '.join(parts)}';")


if __name__ == "__main__":
    main()
