"""Random chat templates, of everything that those of models use: loops over messages, namespaces, macros, blocks, filters."""

from random import Random

VARIABLES = {
    "messages": [
        {"role": "system", "content": "  Be brief.\n"},
        {"role": "user", "content": "What is 2 + 3?"},
        {"role": "assistant", "content": "<think>\nadd\n</think>\n\n5 é", "reasoning_content": None, "tool_calls": [
            {"type": "function", "id": "c1", "function": {"name": "add", "arguments": {"a": 2, "b": [3, 1.5], "c": "x<y>"}}}]},
        {"role": "tool", "content": [{"type": "text", "text": "five"}, {"type": "image"}], "name": "add", "tool_call_id": "c1"},
        {"role": "user", "content": ""},
    ],
    "tools": [{"type": "function", "function": {"name": "add", "description": "Adds \"two\"", "parameters": {
        "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": ["number", "null"]}}, "required": ["a"]}}}],
    "documents": None,
    "bos_token": "<s>",
    "eos_token": "</s>",
    "add_generation_prompt": True,
    "enable_thinking": False,
    "n": 7,
    "f": 2.5,
}

TEXTS = ["", " ", "\n", "a", "  b \n", "<|im_start|>", "é😀", "\n\n", "[INST]", "x\ty", "'q'", "{", "<think>", "\n  ", "\t\n"]
STRINGS = ["user", "assistant", "system", "\\n", "</think>", "a b  c", "", "<|im_end|>", "content", "é", "{}", "7", " x ", "%s"]
# What text, numbers, lists and mappings become by filters and methods that chat templates use.
OF_TEXT = {
    "text": """|trim |upper |lower |title |capitalize |replace('a', 'b') |default('d') |e |indent(2) |indent(2,true) |truncate(9) |center(12) |string |tojson
        |striptags |reverse |urlencode |safe |first |last .strip() .lstrip() .rstrip('\\n') .upper() .title() .replace('\\n',' ') .split('</think>')[-1] .split('\\n')[0]
        .capitalize() .zfill(4) .removeprefix('<') .removesuffix('c') .swapcase() [1:] [:-1] [::-1] [:2] .join(['a','b']) .center(8,'*') .strip('<>') |replace('','-')""",
    "number": "|length |count |int |float |wordcount .find('a') .count('a') .rfind('n') |int(3)",
    "list": "|list .split() .split('\\n') .rsplit(' ',1) .partition('a') .splitlines() .splitlines(true) |batch(3)|list |map('upper')|list |unique|list |sort",
    "boolean": ".startswith('<') .endswith('c') .isdigit() .isalpha() .isspace() .isupper() .istitle()",
}
OF_NUMBER = {
    "text": "|string |tojson |e |string|length|string |filesizeformat",
    "number": "|abs |round |int |float |round(1) |round(0,'ceil') |round(method='floor')|int |default(3)",
    "list": "",
    "boolean": "",
}
OF_LIST = {
    "text": """|join |join(', ') |tojson |string |first|string |last|tojson |map('string')|join('/') |map('tojson')|join |tojson(indent=2) |map(attribute='role')|join(',')
        |tojson(separators=(',',':')) |map(attribute='function.name')|join |join('-',attribute='role')""",
    "number": "|length |count |select|list|length |groupby('role')|list|length |selectattr('role','equalto','user')|list|length |rejectattr('tool_calls')|list|length",
    "list": "|list |reverse|list |select|list |reject|list [1:] [:-1] [::-1] [::2] [:2] [-2:] |batch(2)|list |slice(2)|list |map(attribute='role')|list |selectattr('tool_calls','defined')|list |map('string')|list|sort",
    "boolean": "",
}
OF_MAPPING = {
    "text": "|tojson |string |tojson(indent=4) |items|list|string |dictsort|string .get('role','r')|string |join(',') |list|join(',') |tojson(sort_keys=true) |dictsort(reverse=true)|map('first')|join",
    "number": "|length |items|list|length",
    "list": "|list .keys()|list .values()|list .items()|list |items|list |dictsort |dictsort(by='key')",
    "boolean": "",
}
BY_KIND = {"text": OF_TEXT, "number": OF_NUMBER, "list": OF_LIST, "mapping": OF_MAPPING}
TESTS = ["defined", "not defined", "none", "not none", "string", "mapping", "iterable", "sequence", "number", "integer", "float", "boolean", "true",
         "false", "undefined", "in ['user', 1, none]", "equalto('user')", "eq(7)", "callable", "sameas none", "ne 'x'"]
KNOWN = {
    "text": ["bos_token", "eos_token", "messages[0].role", "messages[1]['content']", "messages[2].content", "messages[-1].content", "tools[0].function.name", "messages[3].name"],
    "number": ["n", "f", "messages|length", "n // 2", "messages[2].tool_calls[0].function.arguments.b[1]"],
    "list": ["messages", "tools", "messages[1:]", "messages[::-1]", "range(4)|list", "messages[3].content", "messages[2].tool_calls"],
    "mapping": ["messages[0]", "messages[2]", "tools[0].function", "tools[0].function.parameters.properties", "messages[2].tool_calls[0].function.arguments", "messages[-2]"],
    "boolean": ["add_generation_prompt", "enable_thinking", "true", "false", "messages[0].role == 'system'", "documents is none"],
}
KINDS = ["text", "number", "list", "mapping", "boolean"]


class Templates:
    def __init__(self, seed: int):
        self.random = Random(seed)

    def one_of(self, options):
        return self.random.choice(options)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def string(self) -> str:
        quote = self.one_of("'\"")
        return quote + self.one_of(STRINGS) + quote

    def known(self, kind: str) -> str:
        names = [name for name, of in self.names if of == kind]
        if names and self.chance(0.6):
            return self.one_of(names)
        return self.one_of(KNOWN[kind])

    def atom(self, kind: str) -> str:
        if self.chance(0.03):
            return self.one_of(["missing", "documents", "item", "x", "ns", "loop", "messages[0].missing"])
        if self.chance(0.65):
            return self.known(kind)
        inner = lambda: self.atom(self.one_of(KINDS))  # noqa: E731
        return {
            "text": self.string,
            "number": lambda: self.one_of(["0", "1", "-3", "2.0", "10", "1e3", "0.1"]),
            "list": lambda: self.one_of([f"[{inner()}, {inner()}]", "['b', 'a', 'C']", "[3, 1, 2]", f"({inner()}, 1)", "[]"]),
            "mapping": lambda: self.one_of([f"{{'role': {inner()}, 'b': {inner()}}}", "{}", f"dict(a={inner()})"]),
            "boolean": lambda: f"{inner()} is {self.one_of(TESTS)}",
        }[kind]()

    def expression(self, kind: str, depth: int = 2) -> str:
        if depth == 0 or self.chance(0.25):
            return self.atom(kind)
        inner = lambda of, less=1: self.postfix(self.expression(of, depth - less))  # noqa: E731
        if self.chance(0.12):
            return f"{inner(kind)} if {inner('boolean')} else {inner(kind)}"
        if kind == "boolean":
            of = self.one_of(KINDS)
            return self.one_of([
                f"{inner(of)} is {self.one_of(TESTS)}", f"not {inner('boolean')}", f"{inner('boolean')} and {inner('boolean')}", f"{inner('boolean')} or {inner('boolean')}",
                f"{inner('number')} {self.one_of(['<', '>', '<=', '>=', '==', '!='])} {inner('number')}", f"{inner('text')} {self.one_of(['in', 'not in', '==', '!=', '<'])} {inner('text')}",
                f"{inner(of)} == {inner(of)}", f"{inner('text')} in {inner('mapping')}", f"{inner('text')}{self.one_of(OF_TEXT['boolean'].split())}",
            ])
        if kind == "text" and self.chance(0.35):
            return self.one_of([f"{inner('text')} ~ {inner(self.one_of(KINDS))}", f"{inner('text')} + {inner('text')}", f"{inner('text')} * 2",
                                f"'%s-%s' % ({inner('text')}, {inner('number')})", f"'{{}}:{{}}'.format({inner('text')}, {inner('number')})"] + ([f"m({inner('text')})", f"m({inner('number')}, b={inner('text')})"] if self.has_macro else []))
        if kind == "number" and self.chance(0.5):
            return f"{inner('number')} {self.one_of(['+', '-', '*', '/', '//', '%'])} {inner('number')}"
        if kind == "list" and self.chance(0.25):
            return f"{inner('list')} + {inner('list')}"
        of, step = self.one_of([(of, step) for of in BY_KIND for step in BY_KIND[of].get(kind, "").split()] or [(kind, "")])
        return inner(of) + step

    def postfix(self, expression: str) -> str:
        return expression if expression.isidentifier() else f"({expression})"

    def any(self, depth: int = 2) -> str:
        return self.expression(self.one_of(["text", "text", *KINDS]), depth)

    def tag(self, body: str) -> str:
        return "{%" + self.one_of(["", "", "-", "+"]) + f" {body} " + self.one_of(["", "", "-"]) + "%}"

    def output(self) -> str:
        return "{{" + self.one_of(["", "", "-"]) + f" {self.any()} " + self.one_of(["", "", "-"]) + "}}"

    def inside(self, depth: int, in_loop: bool, *names) -> str:
        before, self.names = self.names, [*self.names, *names]
        text = "".join(self.part(depth - 1, in_loop) for _ in range(self.random.randint(1, 3)))
        # Names that a body has set are sometimes read behind it as well.
        self.names = before if self.chance(0.8) else [*before, *names]
        return text

    def part(self, depth: int, in_loop: bool) -> str:
        kind = self.random.random()
        if depth <= 0 or kind < 0.3:
            return self.one_of(TEXTS) + (self.output() if self.chance(0.7) else "")
        name = self.one_of(["x", "y", "item", "first", "content"])
        of = self.one_of(KINDS)
        if kind < 0.46:
            target, source, names = self.one_of([
                ("message", "messages", [("message", "mapping"), ("message.content", "text"), ("message['role']", "text")]),
                ("message", f"messages{self.one_of(['[1:]', '[:-1]', '[::-1]'])}", [("message", "mapping"), ("message.role", "text")]),
                ("tool", "tools", [("tool", "mapping"), ("tool.function", "mapping")]), ("i", f"range({self.one_of('0134')})", [("i", "number")]),
                ("key, value", f"{self.postfix(self.expression('mapping', 1))}|items", [("key", "text"), ("value", "text")]),
                ("part", self.expression("list", 1), [("part", "mapping")]), ("c", self.expression("text", 1), [("c", "text")]),
            ])
            loop = [("loop.index", "number"), ("loop.first", "boolean"), ("loop.last", "boolean"), ("loop.length", "number"), ("loop.revindex0", "number"), ("loop.cycle('a', 'b')", "text"),
                    ("loop.previtem is defined", "boolean"), ("loop.nextitem", "mapping"), ("loop.changed(n)", "boolean")]
            condition = f" if {self.one_of([self.expression('boolean', 1), 'message is defined', target.split(',')[0] + ' is not none'])}" if self.chance(0.2) else ""
            otherwise = self.tag("else") + self.inside(depth, in_loop) if self.chance(0.2) else ""
            return self.tag(f"for {target} in {source}{condition}") + self.inside(depth, True, *names, *loop) + otherwise + self.tag("endfor")
        if kind < 0.62:
            text = self.tag(f"if {self.expression('boolean')}") + self.inside(depth, in_loop)
            if self.chance(0.3):
                text += self.tag(f"elif {self.any(1)}") + self.inside(depth, in_loop)
            return text + (self.tag("else") + self.inside(depth, in_loop) if self.chance(0.5) else "") + self.tag("endif")
        if kind < 0.72:
            text = self.tag(f"set {name} = {self.expression(of)}")
            self.names = [*self.names, (name, of)]
            return text
        if kind < 0.77:
            text = self.tag(f"set ns = namespace(k={self.expression(of, 1)})")
            self.names = [*self.names, ("ns.k", of)]
            return text + self.inside(depth, in_loop) + self.tag(f"set ns.k = {self.expression(of)}")
        if kind < 0.81:
            text = self.tag(self.one_of([f"set {name}", f"set {name} | trim"])) + self.inside(depth, False) + self.tag("endset")
            self.names = [*self.names, (name, "text")]
            return text
        if kind < 0.86:
            text = self.tag(self.one_of(["macro m(a)", "macro m(a, b='d')", f"macro m(a, b={self.atom('text')})"])) + self.inside(depth, False, ("a", "text"), ("b", "text"))
            self.has_macro = True
            return text + self.one_of(["", "{{ a }}", "{{ caller() if caller is defined }}"]) + self.tag("endmacro")
        if kind < 0.88:
            return self.tag("generation") + self.inside(depth, False) + self.tag("endgeneration")
        if kind < 0.91:
            return self.tag(f"with {name} = {self.expression(of, 1)}") + self.inside(depth, in_loop, (name, of)) + self.tag("endwith")
        if kind < 0.93:
            return self.tag("filter " + self.one_of(["upper", "trim", "replace('a', 'b')", "indent(2)"])) + self.inside(depth, False) + self.tag("endfilter")
        if kind < 0.96:
            self.blocks += 1
            return self.tag(f"block b{self.blocks}" + self.one_of(["", " scoped"])) + self.inside(depth, False) + self.tag("endblock")
        if kind < 0.97 and self.has_macro:
            return self.tag(self.one_of(["call m(1)", "call m(n, b=2)"])) + self.inside(depth, False) + self.tag("endcall")
        if kind < 0.99 and in_loop:
            return self.tag(f"if {self.expression('boolean', 1)}") + self.tag(self.one_of(["break", "continue"])) + self.tag("endif")
        return self.one_of(["{% raw %}{{ x }}{% endraw %}", "{{ strftime_now('%Y')|length }}", "{{ bos_token }}", "{{- eos_token -}}", "{# c #}\n", "{#- c -#} a"])

    def template(self) -> str:
        self.blocks, self.has_macro, self.names = 0, False, []
        return "".join(self.inside(3, False) for _ in range(self.random.randint(1, 3)))


def random_templates(seed: int, count: int) -> list[str]:
    templates = Templates(seed)
    return [templates.template() for _ in range(count)]
