"""What the chat template goldens render: expressions over values, tags, white space, and whole templates of our own."""

from itertools import product

# Each expression below is rendered once for each of these as `x`, and once without `x`. JSON text.
VALUES = [
    "null", "true", "3", "2.5", '""', '"aXbXc"', '"  hello World-foo\'s\\n\\tend "', '"\\ud83c\\udf63 \\u03a3\\u0391\\u03a3 \\u00df\\"\\\\"',
    '"12"', "[3, 1, 2]", '["b", "A", "a", "b"]', '{"b": 1, "a": [null, 2.0], "2": "two", "1": {}}', "[]", '[{"n": "y", "v": 2}, {"n": "X", "v": 1}, {"n": "y"}]',
]

FILTERS = """abs|attr('n')|batch(2)|list;batch(2, 'f')|list|capitalize|center(9)|count|d('z')|d('z', true)|dictsort|dictsort(true)
dictsort(by='value')|dictsort(reverse=true)|filesizeformat|filesizeformat(true)|first|float|float(1)|forceescape|format(1)|groupby('n')|indent
indent(2, true)|indent('>', blank=true)|int|int(9)|int(base=16)|items|list;join|join(', ')|join('-', attribute='n')|last|length|lower|map('upper')|list
map(attribute='n')|list;map(attribute='n', default='q')|list;max|max(attribute='v')|min|min(true)|pprint|reject('none')|list;rejectattr('v')|list;replace('X', '-')
replace('X', '-', 1)|replace('', '.')|reverse|list;round|round(1)|round(0, 'floor')|round(-1)|round(1, 'ceil')|safe|select|list;select('string')|list
selectattr('v', 'gt', 1)|list;selectattr('n', 'equalto', 'y')|list;slice(2)|list;slice(3, 'f')|list;sort|sort(reverse=true)
sort(attribute='n,v')|string|striptags|sum|sum(attribute='v')|sum(start=10)|title|tojson|tojson(indent=2)|tojson(ensure_ascii=true)|tojson(sort_keys=true)
tojson(separators=(',', ':'))|trim|trim('aX ')|truncate(5)|truncate(7, leeway=0)|unique|list;upper|urlencode|wordcount
wordwrap(7, break_on_hyphens=false)|xmlattr|e|length"""
TESTS = """boolean|callable|defined|divisibleby(3)|eq(3)|escaped|even|odd|false|true|filter|test|float|integer|number|gt(3)|in([3, '12', none])
in('aXbXc')|iterable|le(3)|lessthan('b')|lower|upper|mapping|none|not none|sameas(none)|sameas(true)|sequence|string|undefined|== 3|> 2"""
METHODS = """capitalize()|casefold()|center(9)|center(8, '*')|count('X')|endswith('c')|endswith(('b', 'c'))|expandtabs(4)|find('X')|find('X', 2)|index('X')|isalnum()
isalpha()|isascii()|isdecimal()|isdigit()|isidentifier()|islower()|isnumeric()|isprintable()|isspace()|istitle()|isupper()|join('ab')|ljust(9, '.')|lower()
lstrip()|lstrip('a ')|partition('X')|removeprefix('aX')|removesuffix('c')|replace('X', '')|replace('X', '--', 1)|rfind('X')|rjust(9)|rpartition('X')
rsplit('X', 1)|rsplit()|rsplit(none, 1)|rstrip()|split('X')|split('X', 1)|split()|split(none, 1)|split(maxsplit=1)|splitlines()|splitlines(true)|startswith('a')
startswith('b', 2)|strip()|strip('ac')|swapcase()|title()|upper()|zfill(9)|format(1)|copy()|count(3)|count('b')|index(2)|append(1)|get('b')|get('q')|get('q', 9)|items()
keys()|values()|update({})|pop()|n|b|__class__|nothing()"""
EXPRESSIONS = """x|x ~ 'é'|x + x|x + 'a'|'a' + x|x + 1|1 - x|x * 2|2 * x|x / 2|x // 2|x % 5|-x % 4|x ** 2|-x|+x|not x|x and 1|x or 'o'|x == 3|x != '12'|x < 3|x >= 'a'|x < x
x in ['12', 3, none]|'X' in x|3 in x|none in x|x not in 'aXbXc'|x[0]|x[-1]|x[::-1]|x[:-1]|x[1:9:2]|x[-2:]|x['b']|x.b|x.a[1]|x.0|x.b.c|x['1']|x is string and x|length > 2
'yes' if x else 'no'|'only' if x|[x, (x,), {'k': x}]|{x: 1}|(x, 1) == (x, 1.0)|x()|'%s' % x|'%5.1f|%-4d|%x' % (x, x, 3)|'%r' % (x,)|'{}{:>4}'.format(x, 3)|'{0!r:*^9}'.format(x)
'{:.2f}'.format(x)|range(x)|list|1 < x < 4|x is defined and x is not none|[x] + [1]|x|string + '!'|x|tojson + '!'|(x|string)[0]"""


def split(text: str) -> list[str]:
    """Parts at `|`, where a part that ends in `|list` or has a filter of its own stands before a `;` or a line end."""
    parts = []
    for line in text.strip().split("\n"):
        for group in line.split(";"):
            pieces = group.split("|")
            i = 0
            while i < len(pieces):
                piece = pieces[i]
                # Brackets and quotes that a `|` has parted belong together.
                while i + 1 < len(pieces) and (piece.count("'") % 2 or piece.count("(") != piece.count(")") or piece.count("[") != piece.count("]")):
                    i += 1
                    piece += "|" + pieces[i]
                while i + 1 < len(pieces) and pieces[i + 1] in ("list", "length", "length > 2", "string + '!'", "tojson + '!'", "lower", "string)[0]") and piece not in ("length", "lower", "last"):
                    i += 1
                    piece += "|" + pieces[i]
                parts.append(piece)
                i += 1
    return parts


def expressions() -> list[str]:
    return (
        split(EXPRESSIONS)
        + [f"x|{f}" for f in split(FILTERS)]
        + [f"x is {t}" for t in split(TESTS)]
        + [f"x.{m}" for m in split(METHODS)]
    )


NUMBERS = [
    "7 // 2", "-7 // 2", "7 // -2", "-7 % 3", "7 % -3", "7.5 // 2", "-7.5 % 2", "2 ** 10", "2 ** -1", "2 ** 0.5", "10 / 4", "10 / 5", "1 / 3", "0.1 + 0.2", "1e3", "1e16", "1e-5", "123456789.125", "1.0", "-0.0", "1e22",
    "12345678901234567890 * 98765432109876543210", "2 ** 200", "1_000", "0x1F", "0b101", "0o17", "true + 1", "true * 2.5", "1 == 1.0 == true", "5 / 0", "5 % 0", "5 // 0.0", "-2 ** 2", "2 ** 3 ** 2", "10 - 2 - 3", "1 + 2 * 3",
    "2.675|round(2)", "0.5|round", "1.5|round", "2.5|round|int", "1234.5678|round(-2)", "15|round(-1)", "25|round(-1)", "'%.0f' % 0.5", "'%.0f' % 1.5", "'%e' % 12345.678", "'%g' % 0.0001", "'%g' % 1e-05", "'%g' % 123456789", "'%05d' % -42", "'%+.2f' % 2",
    "'%x %X %o' % (255, 255, 8)", "'%#x' % 255", "'%c%c' % ('a', 98)", "'%%'  % ()", "'%(a)s-%(b)d' % {'a': 1, 'b': 2}", "'%s' % (1, 2)", "'%d' % 'x'", "'%s %s' % 'x'", "'%5s|%-5s|%.2s' % ('ab', 'cd', 'efg')", "'%*d' % (5, 3)",
    "'{:,}'.format(1234567)", "'{:05.1f}'.format(3.14159)", "'{:e}'.format(12345.678)", "'{:g}'.format(1e10)", "'{:%}'.format(0.256)", "'{:x}'.format(255)", "'{:#b}'.format(5)", "'{:+d}'.format(3)", "'{:^9}'.format('mid')", "'{:*<6}'.format('l')",
    "'{a[0]}{b.c}'.format(a=[1], b={'c': 2})", "'{:>{}}'.format('x', 4)", "'{{}}'.format()", "'{'.format()", "'{1}{0}'.format('a', 'b')", "'{}{1}'.format(1, 2)", "'{:.3}'.format('abcdef')", "'{:.3}'.format(2.0)", "'{}'.format(none)", "'{:5}'.format(true)",
    "1000|filesizeformat", "1500000|filesizeformat", "1048576|filesizeformat(true)", "'0x1f'|int(base=16)", "'1_000'|int", "' 12 '|int", "'1e3'|int", "'1e3'|float", "'inf'|float", "'nan'|float", "none|int", "[1]|int(7)", "2.9|int", "-2.9|int",
    "[0.1, 0.2]|sum", "[1, 2.5, true]|sum", "['a']|sum", "[[1], [2]]|sum(start=[])", "3.0 is integer", "3 is float", "'3' is number", "true is integer", "1.0|tojson", "1e100|tojson", "100000000000000000000|tojson", "3.0|string", "'a' 'b' ~ 'c'",
]

TEXTS = [
    r"'a\nb\t\x41\u00e9\U0001f363\101\q\\'", r"'it\'s' ~ \"q\"".replace('\\"', '"'), "'é'.upper()", "'straße'.upper()", "'ﬁn'.title()", "'ΑΣ ΑΣΑ'.lower()", "'ǆ'.title()", "'o\u2019neil they\\'re'.title()", "'aBC'.swapcase()", "'🍣x'|length", "'🍣x'[0]", "'🍣x'[::-1]", "'a🍣b'.find('b')",
    "'a🍣b'.center(7, '.')", "'x'.center(4)", "'xy'.center(5)", "['\\x00\\x7f\\xa0\\u200b', 'é', \"it's\", 'q\"', '\\'\"']", "'a\\r\\nb\\u2028c\\x0bd'.splitlines()", "'\\ufeffa\\x85\\u3000'.strip()|length", "'a\\x1cb'.split()", "'٣'.isdigit()", "'²'.isdigit()", "'²'.isdecimal()", "'½'.isnumeric()", "'三'.isnumeric()",
    "'aaa'.rsplit('aa', 1)", "'aaa'.split('aa')", "'a,b,,c'.split(',', 2)", "'  a  b '.split(none, 1)", "'  a  b '.rsplit(none, 1)", "' a '.split(' ')", "'a'.split('')", "''.split()", "''.split(',')", "'abc'.replace('', '-', 2)", "'%'.join(['a', 'b'])", "','.join([1])", "'abcabc'.rfind('c', 0, 5)",
    "'<a href=\"x\">t &amp; u</a>  v'|striptags", "'<b>' ~ ('<i>'|safe)", "'<b>' + ('<i>'|safe)", "('<i>'|safe) + '<b>'", "('<i>'|e)|upper", "['<'|e, '<'|safe]", "('<'|e)|tojson", "('a'|safe) is string", "('<'|e).replace('&', '<')", "('%s'|safe) % '<'", "'a b&c=d/e?é'|urlencode", "{'a b': 1, 'c': 'd/e'}|urlencode", "[('k', 'v w')]|urlencode",
    "{'class': 'a\"b', 'x': none, 'y': 1}|xmlattr", "'a b c d'|truncate(3)", "'hello big world'|truncate(9)", "'hello big world'|truncate(9, true, '…')", "'the quick brown fox'|wordwrap(10)", "'aaaaaaaaaaaa bb'|wordwrap(5)", "'a\\n\\nb'|indent", "'foo bar'|title", "'foo (bar) <baz [q'|title", "\"it's\"|title", "'x'|center(4) ~ '|'", "'a-b'|wordcount",
    "{'a': 1}.items()", "{'a': 1}.keys()", "{'a': 1}.values()|list", "{'a': 1}|items", "{'b': 1, 'a': 2}|dictsort", "{'b': 1, 'B': 0}|dictsort(true)", "{1: 'i', 1.0: 'f', true: 't'}", "{'a': 1}['a']", "{'items': 5}.items", "{'items': 5}['items']", "{'a': 1}.get('a')", "{'x': 1} == {'x': 1.0}", "{(1, 2): 3}[1, 2]", "dict([('a', 1)], b=2)", "dict.fromkeys('ab')",
    "{'a': 1, 'b': 2}|length", "{'a': 1}|list", "{'a': 1}|first", "{'a': 1}|last", "{'a': 1}|join", "{none: 1, true: 2, 1.5: 3}|tojson", "{[1]: 2}", "[1, 'a']|sort", "[none, 1]|max", "['b', 'A']|sort", "['a', 'A', 'b']|unique|list", "[1, 1.0, true, 2]|unique|list", "['b', 'A']|min", "[]|max", "[3, 1]|sort|first", "[1, 2, 3]|batch(2)", "[1, 2, 3]|map('string')|join('+')",
    "range(3)", "range(3)|list", "range(1, 10, 3)|list", "range(5, 0, -2)|list", "range(0)", "range(3)[1]", "range(10)[2:8:2]", "2 in range(3)", "range(3)|last", "range(100001)", "range(3) == range(0, 3)", "range(1, 2, 0)", "range('a')", "[1, 2] < [1, 3]", "(1, 2) < (1,)", "[1] == (1,)", "'a' < 'B'", "none < 1", "'\\uffff' < '\\U00010000'", "[1, [2, [3]]]|tojson", "(1, (2,))|tojson",
    "{'a': {'b': []}, 'c': {}}|tojson(indent=1)", "[1, 2]|tojson(indent='\\t')", "'</script>&\\x00\\x1f\\x7f\\u2028'|tojson", "'é🍣'|tojson(true)", "namespace(a=1)", "namespace(a=1).a", "namespace(a=1)['a']", "namespace().b is defined", "cycler('a', 'b').next()", "joiner(',')()", "joiner(',') ~ ''", "range", "'a'.upper", "nope.x", "nope['x']", "nope()", "nope + 1", "nope == nope2", "[nope]", "nope|tojson", "nope.x is defined",
    "none.x", "none.x is defined", "none['x']", "none()", "3()", "'a'.nope", "'a'.nope()", "'a'['x']", "[1].append", "[1].append(2)", "{}.update({'a': 1})", "''.__class__", "''.__class__.__mro__", "''['__class__']|string|length", "[]|attr('append')", "{'a': 1}|attr('a') is defined", "'x'|nofilter", "1 is notest", "'a' if nope else 'b'", "('a' if false) is undefined", "'a' if false", "1 if true else 1/0", "false and 1/0", "x.y if false else 'ok'",
    "raise_exception('stop')", "nope|default('z')", "'<'|escape", "-7|int", "[[], {}]|list", "strftime_now('%Y')|length", "'a' is filter", "'upper' is filter", "'odd' is test", "1 in 5", "'a' in none", "1 in 'a'", "[1,2,3][true]", "[1,2,3][1.0]", "[1,2,3][5]", "[1,2,3][-4]", "'abc'[10]", "nope[0:1]", "'abc'[none:2]", "1|upper", "none|upper", "true|lower", "[1]|upper", "1.0|title", "{'a': none}|string",
]

STATEMENTS = [
    "{% if x %}1{% elif y is defined %}2{% else %}3{% endif %}", "{% for i in [1,2,3] %}{{ i }}{{ ',' if not loop.last }}{% endfor %}", "{% for i in [] %}a{% else %}b{% endfor %}", "{% for i in range(5) if i is odd %}{{ loop.index }}:{{ i }} {% else %}none{% endfor %}",
    "{% for i in 'ab' %}{{ [loop.index, loop.index0, loop.revindex, loop.revindex0, loop.first, loop.last, loop.length, loop.depth, loop.depth0] }}{% endfor %}", "{% for i in [1,1,2] %}{{ loop.changed(i) }}{{ loop.previtem }}{{ loop.nextitem }}|{% endfor %}", "{% for i in [1,2,3]|map('string') %}{{ loop.length }}{{ loop.last }}{{ i }}{% endfor %}",
    "{% for i in [1,2,3] if i > 1 %}{{ loop.length }}{{ loop.revindex }}{% endfor %}", "{% for i in [1,2] %}{{ loop }}{% endfor %}", "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %}", "{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for a, b in [[1,2,3]] %}{% endfor %}", "{% for a, b in [[1]] %}{% endfor %}",
    "{% for i in [1,2,3,4] %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% break %}", "{% for i in [1] %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}", "{% for i in [[1,[2]],[3]] recursive %}{{ i[0] }}{{ loop.depth }}{% if i[1] %}({{ loop([i[1]]) }}){% endif %}{% endfor %}", "{% for i in [1] %}{{ loop([2]) }}{% endfor %}",
    "{% for x in [1,2] %}{% for y in [3] %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}", "{% for i in [1,2] %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for i in none %}{% endfor %}", "{% for i in nope %}{% endfor %}ok", "{% for i in 3 %}{% endfor %}", "{{ i }}{% for i in [1] %}{% endfor %}{{ i }}",
    "{% set x = 1 %}{% for i in [1,2] %}{{ x }}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}", "{% set ns = namespace(n=0) %}{% for i in [1,2] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "{% set ns.a = 1 %}", "{% set d = {} %}{% set d.a = 1 %}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% set a %}x{{ 1 }}{% endset %}{{ a }}|{{ a|length }}",
    "{% set a | upper | trim %} x {% endset %}{{ a }}", "{% set a %}{% set b = 1 %}{% endset %}{{ b }}", "{% if true %}{% set a = 1 %}{% endif %}{{ a }}", "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}", "{% set ns = namespace(_a=1) %}", "{% set ns = namespace() %}{% set ns._a = 1 %}", "{% set true = 1 %}", "{% set x.y.z = 1 %}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% set a = 0 %}{% with a = 1, b = a %}{{ b }}{% endwith %}", "{% with %}{% set z = 1 %}{{ z }}{% endwith %}{{ z }}", "{% filter upper %}a{{ 'b' }}{% endfilter %}", "{% filter replace('a', 'b')|upper %}aa{% endfilter %}", "{% filter length %}abc{% endfilter %}",
    "{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c=5) }}{{ m() }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}", "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, k=4) }}", "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
    "{% macro m() %}<{{ caller(1, 2) }}>{% endmacro %}{% call(a, b=9) m() %}{{ a }}{{ b }}{% endcall %}", "{% macro m(x) %}<{{ x }}{{ caller() }}>{% endmacro %}{% call m('q') %}c{% endcall %}", "{% macro m() %}x{% endmacro %}{% call m() %}c{% endcall %}", "{% call 3 %}{% endcall %}", "{% macro m(n) %}{{ n }}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(3) }}",
    "{% macro m() %}{{ v }}{% endmacro %}{% set v = 1 %}{{ m() }}", "{% macro m() %}{{ v }}{% endmacro %}{% for v in [1] %}{{ m() }}{% endfor %}", "{% macro m() %}{% set w = 1 %}{% endmacro %}{{ m() }}{{ w }}", "{% macro m(a, b=1) %}{% endmacro %}{{ m.name }}{{ m.arguments }}{{ m.catch_kwargs }}{{ m }}", "{{ m() }}{% macro m() %}{% endmacro %}", "{% macro m(a=1, b) %}{% endmacro %}", "{% macro m(a, a) %}{% endmacro %}",
    "{% macro m(x) %}{{ x is defined }}{{ x }}{% endmacro %}{{ m() }}", "{% macro m(*a) %}{% endmacro %}", "{% macro m(a, b, c) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(*[1, 2], **{'c': 3}) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}", "{{ [1,2]|map(attribute='x')|list }}", "{% block b %}x{{ 1 }}{% endblock %}", "{% set v = 1 %}{% block b %}{{ v }}{% set v = 2 %}{% endblock %}{{ v }}",
    "{% for i in [1] %}{% block b %}{{ i }}{% endblock %}{% endfor %}", "{% for i in [1] %}{% block b scoped %}{{ i }}{% endblock %}{% endfor %}", "{% block b %}{% endblock %}{% block b %}{% endblock %}", "{% generation %}a{% set g = 1 %}{% endgeneration %}{{ g }}", "{% print 1, 'a' %}", "{% do 1 %}", "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}",
    "{% if 1 %}", "{% endif %}", "{% for %}{% endfor %}", "{% for i in [1] %}{% endif %}", "{{ 1", "{{ }}", "{% %}", "{{ 1 2 }}", "{{ 'a }}", "{# a", "{% raw %}", "{{ (1 }}", "{{ [1) }}", "{{ 1 } }", "{{ a.1b }}", "{{ a..b }}", "{{ a|b.c }}", "{{ @ }}", "{{ a ? b : c }}", "{{ 1 is odd is odd }}", "{{ not }}", "{{ a[] }}", "{{ f(a=1, 2) }}", "{{ f(a=1, a=2) }}",
    "{% raw %}{{ a }}{% if %}{% endraw %}", "{%- raw -%} {{ a }} {%- endraw -%} b", "a{# c #}b", "a {#- c -#} b", "a\n{# c #}\nb", "a\n  {#+ c +#}\nb", "{{ '{{ x }}' }}{{ '{% if %}' }}", "{{ {'a': {'b': 1}}.a.b }}", "{{ {'a': 1}}}", "{% set x = {'a': {'b': 1}} %}{{ x }}", "{{- 1 -}} {{ 2 }} {{- 3 -}}", "{{+ 1 }}", "line\r\n{% if true %}\r\nx\r\n{% endif %}\r\nend\r\n", "a\rb\r\r", "x\n\n", "\n", "",
    "{% if true -%}\n\n  a\n{%- endif %}", "{% if true %} {% endif %}", "  {% set a = 1 %}  \nb", "  {{ 1 }}\n", "x  {% if true %}y{% endif %}", "{% if true %}\r\n\r\ny{% endif %}", "{%set a=1%}{{a}}", "{%if true%}a{%else%}b{%endif%}", "{{1+1}}{{'a'~1}}", "{% if not (1 and 0) %}a{% endif %}", "{% if 1, 2 %}a{% endif %}", "{% for x in 1, 2 %}{{ x }}{% endfor %}", "{% if a is not defined and not b %}ok{% endif %}",
    "{% if 'a' is nosuch %}1{% endif %}", "{% if false %}{{ 1|nosuch }}{% endif %}ok", "{{ 1|nosuch if false else 2 }}", "{% macro m() %}{{ 1|nosuch }}{% endmacro %}ok", "{% if 1 %}{% if 0 %}{% elif 1 %}b{% endif %}{% endif %}", "{% set loop = 1 %}{{ loop }}", "{% for i in [1,2] %}{% set j = i %}{% endfor %}{{ j is defined }}", "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.next() }}",
    "{% set j = joiner('; ') %}{% for i in 'abc' %}{{ j() }}{{ i }}{% endfor %}", "{% set m = 'a,b'|map('upper') %}{{ m|join }}{{ m|join }}|", "{% for g, l in [{'t': 1, 'n': 'a'}, {'t': 1, 'n': 'b'}, {'t': 0, 'n': 'c'}]|groupby('t') %}{{ g }}{{ l|map(attribute='n')|join }};{% endfor %}", "{{ ([{'t': 1}]|groupby('t'))[0].grouper }}", "{{ [{'t': 1}]|groupby('t') }}",
]
STATEMENTS += [
    # `else` of a loop whose body never came to its end.
    "{% for i in [1,2] %}{{ i }}{% break %}{% else %}none{% endfor %}", "{% for i in [1,2] %}{% continue %}{% else %}none{% endfor %}", "{% for i in [1,2] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% else %}none{% endfor %}",
    "{% for i in [1,2] if i > 1 %}{{ i }}{% break %}{% else %}none{% endfor %}", "{% for i in [[1],[2]] recursive %}{{ loop(i) if i is iterable }}{% continue %}{% else %}none{% endfor %}",
    # A name that is assigned first begins as undefined, for what lies inside as well. `raise_exception` is a variable that every template has.
    "{% set raise_exception %}{{ raise_exception is defined }}{% endset %}{{ raise_exception }}", "{{ raise_exception is defined }}{% set raise_exception %}{{ raise_exception is defined }}{% endset %}{{ raise_exception }}",
    "{% for i in [1] %}{{ raise_exception is defined }}{% endfor %}{% set raise_exception = 1 %}{{ raise_exception }}", "{% macro m() %}{{ raise_exception is defined }}{% endmacro %}{{ m() }}{% set raise_exception = 1 %}{{ m() }}",
    "{% if false %}{% set raise_exception = 1 %}{% endif %}{% for i in [1] %}{{ raise_exception is defined }}{% endfor %}", "{% if false %}{% set range = 1 %}{% else %}{% set range = 2 %}{% endif %}{% for i in [1] %}{{ range }}{% endfor %}",
    "{% if true %}{% for i in [1] %}{{ range is defined }}{% endfor %}{% set range = 1 %}{% elif x %}{% set range = 2 %}{% else %}{% set range = 3 %}{% endif %}", "{% for i in [1] %}{% set range %}{{ range is defined }}{% endset %}{{ range }}{% endfor %}{{ range is defined }}",
    "{% for i in [1] %}{% for j in [1] %}{{ range is defined }}{% endfor %}{% set range = 1 %}{% endfor %}", "{% with range = 1 %}{% for i in [1] %}{{ range }}{% endfor %}{% endwith %}", "{% with %}{% set dict %}{{ dict is defined }}{% endset %}{{ dict }}{% endwith %}",
    "{% filter upper %}{% for i in [1] %}{{ dict is defined }}{% endfor %}{% set dict = 1 %}{% endfilter %}", "{% macro m(a=range) %}{% for i in [1] %}{{ range is defined }}{% endfor %}{% set range = 1 %}{% endmacro %}{{ m() }}", "{% macro m() %}{% for i in [1] %}{{ range is defined }}{% endfor %}{% set range = 1 %}{% endmacro %}{{ m() }}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}{% for i in [1] %}{{ range is defined }}{% endfor %}{% set range = 1 %}{% endcall %}", "{% macro range() %}r{% endmacro %}{{ range() }}", "{% for i in [1] %}{% for j in [1] %}{{ dict is defined }}{% endfor %}{% macro dict() %}r{% endmacro %}{{ dict() }}{% endfor %}",
    "{% generation %}{{ kwargs is defined }}{{ varargs }}{{ kwargs }}{{ caller is defined }}{% endgeneration %}", "{% generation %}{{ caller() }}{% endgeneration %}",
]

SIGNS = ("", "-", "+")


def white_space() -> list[str]:
    blocks = [f"A \n {{%{a} if true {b}%}} \n B \n\t{{%{c} endif {d}%}}\n C" for a, b, c, d in product(SIGNS, repeat=4)]
    comments = [f"A\n  {{#{a} c {b}#}}  \n B{{#{b} d {a}#}}\nC" for a, b in product(SIGNS, repeat=2)]
    raws = [f"A\n {{%{a} raw {b}%}}\n x {{%{c} endraw {d}%}} \nB" for a, b, (c, d) in product(SIGNS, ("", "-"), (("", ""), ("-", "+"), ("+", "-")))]
    prints = [f"A \n {{{{{a} 1 {b}}}}} \n B" for a, b in product(SIGNS, ("", "-"))]
    loops = [f"{lead}{{% for i in [1, 2] %}}{after}{{{{ i }}}}{lead}{{% endfor %}}{after}end" for lead, after in product(("", " ", "\n", "\n  "), ("", " ", "\n", "\n\n"))]
    return blocks + comments + raws + prints + loops

# Rendered with the variables below: a block sees what has been set so far, and of frames around it only what it is given.
BLOCK_VARIABLES = {"x": "X", "i": "I", "y": "Y", "q": "Q", "_x": "U"}
BLOCKS = [
    "{% block a %}[{{ x }}]{% endblock %}{% set x = 1 %}{{ x }}",
    "{% set x = 1 %}{% block a %}[{{ x }}]{% endblock %}{% set x = 2 %}{% block b %}[{{ x }}]{% endblock %}",
    "{% block a %}{{ x }}{% set x = 3 %}{{ x }}{% endblock %}{{ x }}",
    "{% for i in [1,2] %}{% block a scoped %}{{ i }}{{ y }}{% endblock %}{% set y = 2 %}{% endfor %}",
    "{% for i in [1] %}{% block a scoped %}{% block b %}{{ i }}{{ x }}{% endblock %}{% endblock %}{% endfor %}",
    "{% for i in [1] %}{% block a %}{% block b %}{{ i }}{{ x }}{% endblock %}{% endblock %}{% endfor %}",
    "{% for i in [1] %}{% block a scoped %}{% set i = 5 %}{% block b scoped %}{{ i }}{% endblock %}{% block c %}{{ i }}{% endblock %}{% endblock %}{% endfor %}",
    "{% with x = 4 %}{% block a %}{{ x }}{% endblock %}{% block b scoped %}{{ x }}{% endblock %}{% endwith %}{% set x = 1 %}",
    "{% if true %}{% set x = 9 %}{% endif %}{% block a %}{{ x }}{% endblock %}",
    "{% if false %}{% set x = 9 %}{% endif %}{% block a %}{{ x }}{% endblock %}{{ x }}",
    "{% macro m(a) %}{{ a }}{{ x }}{% endmacro %}{% block a %}{{ m(1) }}{% endblock %}{% set x = 7 %}{{ m(2) }}",
    "{% block a %}{{ m is defined }}{% endblock %}{% macro m(a) %}{{ a }}{% endmacro %}",
    "{% macro m(x) %}{% block a %}{{ x }}{% endblock %}{% block b scoped %}{{ x }}{% endblock %}{% endmacro %}{{ m(3) }}",
    "{% set ns = namespace(x=1) %}{% block a %}{% set ns.x = 2 %}{{ ns.x }}{% endblock %}{{ ns.x }}",
    "{% block a %}{% set ns.x = 2 %}{% endblock %}{% set ns = namespace(x=1) %}",
    "{% set x %}q{% block a %}{{ x }}{% endblock %}{% endset %}{{ x }}{% block b %}{{ x }}{% endblock %}",
    "{% for x in [1] %}{% endfor %}{% block a %}{{ x }}{% endblock %}",
    "{% for x in [1] %}{% block a %}{{ loop is defined }}{% endblock %}{% block b scoped %}{{ loop is defined }}{{ loop.index }}{% endblock %}{% endfor %}",
    "{% generation %}{% block a %}{{ x }}{% endblock %}{% block b scoped %}{{ x }}{% set x = 2 %}{{ x }}{% endblock %}{% endgeneration %}{% set x = 3 %}",
    "{% filter upper %}{% set x = 'q' %}{% block a %}{{ x }}{% endblock %}{% block b scoped %}{{ x }}{% endblock %}{% endfilter %}",
    "{% call(z) m() %}{% endcall %}{% block a %}{{ x }}{% endblock %}{% macro m() %}{% endmacro %}",
    "{% set _x = 4 %}{% block a %}{{ _x }}{% endblock %}",
    "{% set x, y = 1, 2 %}{% block a %}{{ x }}{{ y }}{{ _z }}{% endblock %}{% set _z, w = 1, 2 %}{% block b %}{{ w }}{{ _z }}{% endblock %}",
    "{% block a %}{{ range }}{% endblock %}{% set range = 1 %}{% block b %}{{ range }}{% endblock %}",
    "{% for i in [1,2] %}{% if loop.first %}{% set q = 1 %}{% endif %}{% block a scoped %}{{ q }}{% endblock %}{% endfor %}",
    "{% block a %}{% for x in [1,2] %}{{ x }}{% endfor %}{{ x }}{% endblock %}{% set x = 3 %}",
    "{% block a %}{% if x %}{% set x = x ~ 'b' %}{% endif %}{{ x }}{% endblock %}{% set x = 3 %}",
]
