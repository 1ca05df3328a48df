"""What Jinja2 renders in the environment that transformers makes for chat templates; null where Python raises."""

import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

from transformers.utils.chat_template_utils import _compile_jinja_template  # noqa: E402

from families import CONVERSATIONS, TEMPLATES  # noqa: E402
from random_templates import VARIABLES, random_templates  # noqa: E402
from snippets import BLOCK_VARIABLES, BLOCKS, NUMBERS, STATEMENTS, TEXTS, VALUES, expressions, white_space  # noqa: E402


def render(template: str, variables: dict) -> str | None:
    try:
        text = _compile_jinja_template(template).render(**variables)
        text.encode()
    except Exception:
        return None
    # An address in memory is no value that anything could be compared with.
    return None if " at 0x" in text else text


def row(template: str, variables: dict = {}) -> list:
    return [template, render(template, variables)]


def random_rows(seed: int, count: int, longest: int = 400) -> list[list]:
    """Random templates that render something short; one in eight that fails, since most failures are alike."""
    rows = [row(template, json.loads(json.dumps(VARIABLES))) for template in random_templates(seed, 20 * count) if len(template) <= longest]
    rendered = [one for one in rows if one[1] and len(one[1]) <= longest]
    failed = [one for one in rows if one[1] is None]
    return rendered[:count] + failed[: count // 8]


def main() -> None:
    folder = output_folder(__file__)
    # Anew for each rendering: the filter `indent` changes lists.
    values = [lambda value=value: {"x": json.loads(value)} for value in VALUES] + [dict]
    defaults = {"bos_token": "<s>", "eos_token": "</s>", "tools": None, "documents": None, "add_generation_prompt": False}
    write_json(
        folder / "expected.json",
        {
            "values": VALUES,
            "expressions": {e: [render("{{ " + e + " }}", value()) for value in values] for e in expressions()},
            "constants": [row("{{ " + e + " }}") for e in NUMBERS + TEXTS],
            "statements": [row(s) for s in STATEMENTS],
            "white_space": [row(s) for s in white_space()],
        },
    )
    write_json(
        folder / "families.json",
        {
            "templates": TEMPLATES,
            # As JSON text: the order of keys and the kinds of numbers count.
            "conversations": {name: json.dumps(defaults | variables) for name, variables in CONVERSATIONS.items()},
            "rendered": {t: {c: render(template, defaults | variables) for c, variables in CONVERSATIONS.items()} for t, template in TEMPLATES.items()},
        },
    )
    write_json(folder / "blocks.json", {"templates": [row(b, BLOCK_VARIABLES) for b in BLOCKS], "variables": BLOCK_VARIABLES})
    write_json(folder / "random.json", {"templates": random_rows(1, 160), "variables": json.dumps(VARIABLES)})


main()
