"""A small, varied text of our own to train the tokenizers on: English, code, digits, accents, other scripts, spaces."""

import random

SUBJECTS = ["the baker", "a small fox", "my neighbour", "the teacher", "an old sailor", "the robot", "our gardener", "she"]
VERBS = ["counts", "carries", "solves", "remembers", "paints", "sells", "repairs", "measures"]
OBJECTS = ["apples", "bridges", "equations", "letters", "two clocks", "the answer", "a wooden boat", "numbers"]
PLACES = ["in the morning", "near the river", "before the rain", "at school", "with great care", "without thinking"]
ACCENTED = [
    "Le café est déjà fermé, où est la clé ?",
    "Die Straße führt über die Brücke zum Schloß.",
    "El niño comió piñas y jugó en el jardín.",
    "Čeština má háčky a čárky.",
    "Smörgåsbord på ön i sjön.",
    "İstanbul'da ılık bir gün, çok güzel.",
]
SCRIPTS = [
    "今日は天気がいいです。",
    "我喜欢数学和音乐。",
    "오늘은 날씨가 좋습니다.",
    "Привет, как дела сегодня?",
    "مرحبا بالعالم، كيف الحال؟",
    "שלום עולם, מה שלומך?",
    "नमस्ते दुनिया",
    "Καλημέρα κόσμε",
]
EMOJI = ["🙂 good work 🎉", "👩‍👩‍👧‍👦 family 🇫🇷 flag", "rockets 🚀🚀🚀", "thumbs 👍🏽 up"]
CODE = [
    "def add(a, b):\n    return a + b\n",
    "for (let i = 0; i < 10; i++) {\n\tconsole.log(i);\n}\n",
    "if x == y and z != 3:\n        print('equal')",
    "const total = items.map((item) => item.price * 2);",
    "SELECT name, age FROM people WHERE age >= 18;",
    "<div class=\"box\">text</div>",
]


def corpus(seed: int = 7, lines: int = 200) -> list[str]:
    random_ = random.Random(seed)
    out = []
    for index in range(lines):
        kind = index % 10
        if kind < 4:
            sentence = f"{random_.choice(SUBJECTS)} {random_.choice(VERBS)} {random_.choice(OBJECTS)} {random_.choice(PLACES)}."
            out.append(sentence[0].upper() + sentence[1:])
        elif kind < 6:
            a, b = random_.randrange(1000), random_.randrange(100)
            out.append(f"{a} + {b} = {a + b}, and {a} * {b} = {a * b}.")
        elif kind == 6:
            out.append(random_.choice(CODE))
        elif kind == 7:
            out.append(random_.choice(ACCENTED))
        elif kind == 8:
            out.append(random_.choice(SCRIPTS))
        else:
            out.append(random_.choice(EMOJI) + " " * random_.randrange(1, 6) + "don't they're I'll WE'VE it's" + "\n" * random_.randrange(3))
    return out
