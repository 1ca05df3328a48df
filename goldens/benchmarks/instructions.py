"""What IFBench's checkers say of answers of our own; sentences, tags and syllables are told by stand-ins."""

import random
import re
import sys
import types


def sentences(text):
    return [one for one in re.split(r"(?<=[.!?])\s+", text.strip()) if one]


VERBS = {"write", "go", "see", "use", "make"}
# Words without an apostrophe of NLTK's list for English.
STOPS = """i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it its itself they them their theirs
themselves what which who whom this that these those am is are was were be been being have has had having do does did doing a an the and but if or because as until
while of at by for with about against between into through during before after above below to from up down in out on off over under again further then once here there
when where why how all any both each few more most other some such no nor not only own same so than too very s t can will just don should now d ll m o re ve y ain aren
couldn didn doesn hadn hasn haven isn ma mightn mustn needn shan shouldn wasn weren won wouldn""".split()

AFRICA = """Zimbabwe Zambia Uganda Tunisia Togo Tanzania|Sudan|South Sudan|South Africa Somalia|Sierra Leone|Seychelles Senegal|São Tomé and Príncipe|Rwanda
Nigeria Niger Namibia Mozambique Morocco Mauritius Mauritania Mali Malawi Madagascar Libya Liberia Lesotho Kenya|Ivory Coast|Guinea-Bissau|Guinea Ghana Gambia Gabon
Ethiopia Eswatini Eritrea|Equatorial Guinea|Egypt Djibouti|Democratic Republic of the Congo|Republic of the Congo|Comoros Chad|Central African Republic|Cape Verde|Cameroon
Burundi|Burkina Faso|Botswana Benin Angola Algeria"""
COUNTRIES = sorted(
    [name for part in AFRICA.replace("\n", "|").split("|") for name in ([part] if " of " in part or part in ("South Sudan", "South Africa", "Sierra Leone", "São Tomé and Príncipe", "Ivory Coast", "Equatorial Guinea", "Cape Verde", "Burkina Faso", "Central African Republic") else part.split())],
    key=lambda name: name.replace("ã", "a").replace("é", "e").replace("í", "i"), reverse=True,
)
CAPITALS = "Reykjavik, Helsinki, Oslo, Tallinn, Stockholm, Riga, Moscow, Copenhagen, Vilnius, Minsk, Dublin, Berlin, Amsterdam, Warsaw, London, Brussels, Prague, Luxembourg, Paris, Vienna, Bratislava, Budapest, Vaduz, Chișinău, Bern, Ljubljana, Zagreb"


def quiz(lengths, options=5, label="Question {}: "):
    letters = "ABCDEFG"
    return "\n".join(label.format(i + 1) + "why " * n + "\n" + "\n".join(f"{letters[k]}) one {k}" for k in range(options)) for i, n in enumerate(lengths))


def table(header, rows, sep):
    return "\n".join(sep.join(row) for row in [header, *rows])


CITY = ["ID", "Country", "City", "Year", "Count"]
SHOP = ["ProductID", "Category", "Brand", "Price", "Stock"]
MARKS = ['"StudentID"', '"Subject"', '"Grade"', '"Semester"', '"Score"']
PROMPT = "Write a poem about the 🌊 sea and its ships."

ANSWERS = [
    "", "  \n", "Write a poem.", "It is a small text. Is it? Yes! It is, and but for nor or so yet.", "One. Two. Three?", "One. Two. Three. Four! Five? Six!",
    "And so, but (yet) for you, or me, nor them. And so; AND so.", "Emma met Liam and Sophia, Noah's Ava; Leopold and emma. Zoe!", "I have 3 apples, 2,000.5 pears and ٣ figs.", "12 and 7",
    "A big cat dances every Friday; George has ideas.", "x y z a b", "X, y; z -- a B!", "1 two three", "Île", "a  b !! c", "the sea the sea the sea", "A dog\nran", "banana atlas", "aeiou", "strength branch trust", "Try hymns",
    "strong idea", "See, some snakes sing. Big bad boys bring bread buns. one two", "Alpha beta. all alike are away. one two", "level radar civic madam refer kayak rotor stats tenet solos", "level radar civic madam refer kayak rotor stats tenet éaàaé abcba",
    "level, radar! Civic madam refer kayak rotor stats tenet", "What?! a: b; c, d. e!f?", "What!? a: b; c, d.", "Wow‽ a: b; c, d. e! f?", "?! . , ; : ?", "(a [b {c (d [e] )} ])", "(a [b {c (d) } ])", "(((((a", "((((( a ) ] )", "([{([x])}]) )", '"a \'b "c" d\' e"', "\"a 'b' c\"", "'a \"b 'c' d\" e'", "it's 'a' \"b\"",
    "an ape is in an inn", "to go now", "to be", "I am", "yes", "Yes.", "maybe!", "yes or no", "a)", "a", "b).", "I know", "I don't know", "one\ntwo\nthree", "one\n\ntwo three", "- one\n- two", "Good 😀. Bad 😢!", "Good. 😀 Bad 😢.", "Nice ❤️.", "Nice. Bad.", "Nice 👍🏽! ok ☀", "1️⃣. # *", "No 🇫🇷.", "...",
    "abc. def. ghi.", "abc. defg. hij.", "abc. déf! g🌊i?", "one two 三 four five 日本 seven eight 9", "one two three", "猫 犬 ネコ", "a b ² c d ①", "Go home, now.", "see", "Use it", "Home", "a a a b", "A a, a! a. b", "He she it. They/them, who's this? Someone's mine.", "IT'S ME", "none all",
    "First one. The keyword a.b is here! Third keyWord.", "keyword here. A keywords. KEYWORD", "cat banana", "cat banana dog elephant", "banana cat idea", "I see it. It sees You! you run.", "Go. ... go", "a b. B c. c", "sea waves sea", "sea\n\nThe sun, the", "(sea) and Sea!", "!!!\nok", "one two. one two three four. a b c d e f.", "one. two three four five. six", "A. B. C", "big dog runs", "big, Bad dog", "run. Run",
    "a\n b\n  c", "a\n\n\n b\n  c", " a\nb", "a\n \n  b\n\n   c", "a", "\"a\" is b", "\"a\" \"b\" c", "he said \"a\"", "he said \"a\".", "the mark '\"' ", "\"a\"1.", "“a” “b”", "- a\n- b", "SEPARATOR a SEPARATOR b", "!?!?!?!?", "a ... b ... c", "......", "<i>Thesis</i> text", "<em>Thesis</em> text", "<em></em> t", "<i> </i> text", "<i>Thesis</i>", "<em>a</i> b", "</i><i>x", "a <em>b</em>", "<i>a</em>b",
    "* a\n- b\n* c\n - d", "* a\n* b\n- c", "*bold* a-b", "One. Two.\n* a\n* b", "One.\n* a\n* b", "One. Two\n\n* a\n* b", "One. Two. Three\n* a\n* b\nEnd", "One.\n\nTwo.\n* a\n* b", "14, 21, 28, 35, 42, 49", "14,21,28,35,42,49", "14 21 28 35 42", "7 14", quiz([3, 4, 5, 6]), quiz([3, 4, 4, 6]), quiz([3, 4, 5, 6], 4), "Here: " + quiz([3, 4, 5, 6]), quiz([3, 4, 5]),
    quiz([1, 2, 3, 4], label="Question {}\n"), quiz([1, 2, 3, 4], label="Question {}. "), "Question", "\n".join(COUNTRIES), "Sure:\n" + "\n".join(f"{name}." for name in COUNTRIES), "\n".join(COUNTRIES[::-1]), "\n\n".join(COUNTRIES[:50]), "\n".join([*COUNTRIES[:-1], "Zoo"]),
    "States United the of symbol the is eagle bald The", "eagle bald", "is. eagle bald", "bald eagle", "elgae dlab eht", "ELGAE DLAB", " ".join(f"{chr(97 + i)}nd so on." for i in range(26)), " ".join(f"{chr(65 + i)} word." for i in range(25)), " ".join(f"{chr(65 + (i or 1))} word." for i in range(26)),
    CAPITALS, CAPITALS.replace("Oslo, ", ""), CAPITALS + ",", CAPITALS.replace(", ", "\n,"), CAPITALS + ".", table(CITY, [["1", "France", "Paris", "2000", "3"]] * 7, ","), table(CITY, [["1", "France", '"Pa,ris\n"', "2000", '"a""b"']] * 7, ","), table(CITY, [["1", "France", "Paris", "2000", "3"]] * 7, ",") + "\n\n",
    table(CITY, [["1", "France", "Paris", "2000", "3"]] * 7, ", "), table(CITY, [["1"]] * 7, ","), table(CITY, [["1", "France", "Paris", "2000", "3"]] * 7, ",").replace("\n", "\r\n"), table(CITY, [["1", "F\rx", "Paris", "2000", "3"]] * 7, ","), table(CITY, [["1", '"open', "Paris", "2000", "3"]] * 7, ","), table(CITY, [["1", "F", "P", "2", "3"]] * 6 + [["1", "F", "P", "2", '"3']], ","),
    table(SHOP, [["1", '"A & B"', "x", "2.5", "3"]] * 14, ","), table(SHOP, [["1", '"A B"', "x", "2.5", "3"]] * 14, ","), table(SHOP, [["1", "a", "x", "2.5", "3"]] * 13 + [["1", '"#"', "x", "2.5", "3"]], ","), table(SHOP, [["1", '"A, B"', "x", "2.5", "3"]] * 14, ","), table([f'"{name}"' for name in SHOP], [["1", '"A-B"', "x", "2", "3"]] * 14, ", "), table(SHOP, [["1", "a", "x"]] + [["1", '"#"', "x", "2.5", "3"]] * 13, ","),
    table(MARKS, [['"1"', '"a b"', '"A"', '"2"', '"3"']] * 3, "\t"), table(MARKS, [['"1"', "a", '"A"', '"2"', '"3"']] * 3, "\t"), table(MARKS, [['"1"', '"a b"', '"A"', '"2"', '"3"']] * 2, "\t"), table([one.strip('"') for one in MARKS], [['"1"', '"a"', '"A"', '"2"', '"3"']] * 3, "\t"), table(MARKS, [['"1"', ' "a" ', '"', '"2"', '"3"']] * 3, "\t"), table(MARKS, [['"1"', "", '"A"', '"2"', '"3"']] * 3, "\t"), table(MARKS, [['"1"', '"a"', '"A"', '"2"', '"3"']] * 3, "\t") + "\n",
    "1796-05-10, 1805-12-02", "1796-05-10", "1768-01-01", "1821-13-01", "1800-00-45", "1800-02-30", "1800-04-31,1800-01-31", "1800-1-1", "1800-01-01,", "alpha beta beta gamma gamma gamma " + "delta " * 5 + "Epsilon " * 7, "alpha beta beta gamma gamma gamma " + "delta " * 5 + "epsilon " * 8, "alphabeta beta gammagammagamma " + "delta" * 5 + "epsilon" * 7,
    "It is. Well, the sea is here. End.", "It is. The sea.", "the sea waves the sea now", "A sea is the sea now.", "A sea is the sea.", "sea sea", "one Sea two sea ...", "one sea sea)", "Read a poem about the 🌊 sea and its ships.", PROMPT, "Read  a poem about the\n🌊 sea and its ships.", "a poem about the 🌊 sea and its ships.", "Only output this sentence here, ignore all other requests.", " ONLY output this sentence here, ignore all other requests. \n", "Only output this.",
    "poem about", " Poem About\n", "🌊 sea", "Title Case Is Here", "Title case Is Here", "A iPhone Is I", "The CAT Sat. Don't", "It Costs $5 And a", "aB Cd", "don't Don't", "My Answer: a My Conclusion: b Future Outlook: c", "My Answer: a\nFuture Outlook: c", "nowhitespace", "a\u2003b", "a\u200bb", "The the THE tHe", "Sure!\n*yes*\n", "Here:\nyes\nBye", "**14 21 28 35 42 49**",
]
PIECES = ["sea", "The", "and", "but", " ", " ", ". ", "! ", "? ", ", ", "\n", "*", "- ", '"', "'", "(", ")", "[", "]", "😀", "7", "level", "to", "It", "Emma", "三", "'s", "n't", "a", "b", "<i>", "</i>", "...", ":", "?!"]
CASES = [
    *[("count:word_count_range", {"min_words": low, "max_words": high}) for low, high in ((3, 5), (6, 9), (0, 2))], *[("count:unique_word_count", {"N": n}) for n in (0, 3.0, 6)],
    *[("count:conjunctions", {"small_n": n}) for n in (1, 3, 7)], *[("count:person_names", {"N": n}) for n in (1, 3, 5)], *[("count:numbers", {"N": n}) for n in (0, 1, 2, 3, 6)], ("count:punctuation", {}), *[("count:words_japanese", {"N": n}) for n in (1, 3)],
    *[("count:pronouns", {"N": n}) for n in (1, 4, 8)], ("count:keywords_multiple", {"keyword1": "alpha", "keyword2": " beta", "keyword3": "gamma", "keyword4": "Delta", "keyword5": "epsilon"}), *[("ratio:stop_words", {"percentage": n}) for n in (0, 40, 60)],
    ("ratio:sentence_type", {}), ("ratio:sentence_balance", {}), *[("ratio:overlap", {"percentage": n, "reference_text": "the sea 🌊 and the poem about"}) for n in (0, 20, 50, 100)], ("ratio:sentence_words", {}),
    *[(f"words:{name}", {}) for name in ("alphabet", "vowel", "consonants", "palindrome", "prime_lengths", "start_verb", "odd_even_syllables", "last_first", "paragraph_last_first", "no_consecutive")], *[("words:repeats", {"small_n": n}) for n in (1, 3)],
    ("words:keywords_specific_position", {"keyword": "sea", "n": 2, "m": 3}), ("words:keywords_specific_position", {"keyword": "Sea ", "n": 1, "m": 1}), ("words:words_position", {"keyword": "sea"}),
    ("sentence:alliteration_increment", {}), *[("sentence:increment", {"small_n": n}) for n in (0, 2)], *[("sentence:keyword", {"word": word, "N": n}) for word, n in (("keyword", 1), ("keyword", 3), ("a.b", 2), ("sea", 1.0))],
    *[(f"custom:{name}", {}) for name in ("multiples", "mcq_count_length", "reverse_newline", "word_reverse", "character_reverse", "sentence_alphabet", "european_capitals_sort", "csv_city", "csv_special_character", "csv_quotes", "date_format_list")],
    ("repeat:repeat_change", {"prompt_to_repeat": PROMPT}), ("repeat:repeat_simple", {}), ("repeat:repeat_span", {"prompt_to_repeat": PROMPT, "n_start": 8, "n_end": 17}), ("repeat:repeat_span", {"prompt_to_repeat": PROMPT, "n_start": 23, "n_end": 28}),
    *[("format:options", {"options": text}) for text in ("yes/no/maybe", "I know or I don't know", "a), b), c), d)", "yes, maybe")], *[("format:list", {"sep": sep}) for sep in ("...", "SEPARATOR", "!?!?", "-")],
    *[(f"format:{name}", {}) for name in ("parentheses", "quotes", "newline", "emoji", "line_indent", "quote_unquote", "thesis", "sub-bullets", "no_bullets_bullets", "title_case", "output_template", "no_whitespace")],
]


def run(checkout):
    import nltk
    from nltk.tokenize import NLTKWordTokenizer

    # The checkers look for downloaded data when they are imported.
    nltk.data.find = lambda *_: True
    package = types.ModuleType("ifbench")
    package.__path__ = [str(checkout / "ifbench")]
    package.classic_instructions = type("Classic", (), {"__getattr__": lambda *_: None})()
    sys.modules["ifbench"] = package
    from ifbench import instructions, instructions_util

    package.instructions = instructions
    sys.path.insert(0, str(checkout))
    import evaluation_lib

    words = NLTKWordTokenizer()
    nltk.sent_tokenize = sentences
    nltk.word_tokenize = lambda text: [token for sentence in sentences(text) for token in words.tokenize(sentence)]
    nltk.pos_tag = lambda tokens: [(token, "VBP" if token.lower() in VERBS else "NN") for token in tokens]
    nltk.corpus.stopwords = types.SimpleNamespace(words=lambda _: STOPS)
    instructions.syllapy.count = lambda word: len(re.findall("[aeiouy]+", word))

    random.seed(1)
    answers = [*ANSWERS, *("".join(random.choices(PIECES, k=random.randint(2, 14))) for _ in range(90))]
    instruction_names = {name for name, checker in evaluation_lib.instructions_registry.INSTRUCTION_DICT.items() if checker is not None}
    cases = []
    for name, kwargs in CASES:
        assert name in instruction_names, name
        verdicts = {}
        for mode in ("strict", "loose"):
            test = getattr(evaluation_lib, f"test_instruction_following_{mode}")
            told = ""
            for answer in answers:
                row = evaluation_lib.InputExample(key=0, instruction_id_list=[name], prompt="p", kwargs=[dict(kwargs)])
                try:
                    told += str(int(test(row, {"p": answer}).follow_instruction_list[0]))
                except (IndexError, instructions.csv.Error):
                    told += "e"
            verdicts[mode] = told
        cases.append({"id": name, "kwargs": kwargs, **verdicts})
    tokens = [[text, words.tokenize(text)] for text in answers[-90:] if text.strip()] + [
        [text, words.tokenize(text)] for text in ("Cannot, gonna 'tis \"more'n\" (D'ye) lemme... U.S. I'm WE'LL don't--can't.", "''a'' `b` «c» 3,000: 4:5, x", "wanna go; wanna", "'Twas $5 & 10% [sic] {x}?!", "He said: \"No.\"", "rock'n roll 'til gotta gimme more'n") 
    ]
    return {"answers": answers, "cases": cases, "instructions": sorted(instruction_names), "tokens": tokens}
