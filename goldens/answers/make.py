"""What Math-Verify says of completions against reference answers: `expected.json`."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402
from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify  # noqa: E402

KINDS = {
    "boxed": [
        (r"So \boxed{42}.", "42"),
        (r"\boxed{\frac{1}{2}}", "0.5"),
        (r"\boxed{\frac{1}{\frac{2}{3}}}", "1.5"),
        (r"First \boxed{1}. But no: \boxed{2}", "2"),
        (r"First \boxed{1}. But no: \boxed{2}", "1"),
        (r"The answer is 7. So \boxed{8}", "8"),
        (r"\boxed{1} and \boxed{2", "1"),
        (r"\boxed{42", "42"),
        (r"$\boxed{42}$", "42"),
        (r"\[\boxed{42}\]", "42"),
        (r"\boxed{ 42 }", "42"),
        (r"\boxed{\boxed{42}}", "42"),
        (r"\boxed 5", "5"),
        (r"\fbox{5}", "5"),
        (r"\boxed{}", "5"),
        (r"\boxed{x = 5}", "5"),
        (r"\boxed{6 \cdot 7 = 42}", "42"),
    ],
    "marks": [
        ("<answer>42</answer>", "42"),
        ("<answer>1</answer> no, <answer>2</answer>", "2"),
        ("<answer>1</answer> no, <answer>2</answer>", "1"),
        ("<answer>1</answer> and <answer>2", "1"),
        (r"<answer>\boxed{42}</answer>", "42"),
        (r"<answer>\frac{1}{2}</answer>", "1/2"),
        (r"<think>\boxed{3}</think>The answer is 4.", "4"),
        (r"<think>\boxed{3}</think>The answer is 4.", "3"),
        ("6 * 7 = 42\n#### 42", "42"),
        ("#### 42\nmore of 7", "42"),
        ("#### 1,234", "1234"),
        ("#### Step 1: 3 + 4\nThe answer is 7.", "7"),
    ],
    "phrases": [
        ("The answer is 42.\n\nDoes this answer your question?", "42"),
        ("Final Answer: The final answer is $42$. I hope it is correct.", "42"),
        ("The answer is 42. Let me know if you need 7 more.", "42"),
        ("The answer is 42 apples.", "42"),
        ("The answer is 42 because 6 * 7 = 42.", "42"),
        ("The answer is 42, since 6 * 7 is 42 and not 43.", "42"),
        ("I think the answer should be 12", "12"),
        ("The correct answer, then, is 9.", "9"),
        ("**Answer:** 42", "42"),
        ("**Final Answer**\n\n42", "42"),
        ("The answer is: $x = 5$", "5"),
        ("The answer is\n\\[\n\\frac{3}{4}\n\\]", "0.75"),
        ("The answer is 5. Wait. The answer is 6.", "6"),
        ("The answer is 42. I hope this answer is helpful.", "42"),
        ("The answer is approximately 3.14.", "3.14"),
        ("The answer is 42!", "42"),
    ],
    "last number": [
        ("We have 3 boxes, each 4kg, total 12kg.", "12"),
        ("We have 3 boxes, each 4kg, total 12kg.", "3"),
        ("The sum of 40 and 2 is 42.", "42"),
        ("42 is not it; it is 43", "42"),
        ("She sells 18 eggs and earns $36 every day.", "36"),
        ("So he pays $1,234.50 in all.", "1234.5"),
        ("12 + 7 = 19", "19"),
        ("It is .5", "0.5"),
        ("142", "42"),
        ("It is 4.2.", "42"),
        ("no number here", "5"),
        ("", "0"),
        ("The roots are (1, 2).", "2"),
        ("With radius 2 the area is $4\\pi$.", "2"),
        ("It takes GPT-4 and 7 days.", "7"),
    ],
    "units": [
        ("The answer is 12kg.", "12"),
        ("The answer is 12 kg.", "12"),
        ("$5", "5"),
        ("5 dollars", "5"),
        (r"\boxed{\$5}", "5"),
        (r"\boxed{\$1,200.50}", "1200.5"),
        (r"\boxed{42\text{ cm}}", "42"),
        (r"\boxed{42\,\mathrm{cm}}", "42"),
        (r"\boxed{42\text{ cm}^2}", "42"),
        (r"\boxed{3\,\mathrm{m/s}}", "3"),
        (r"\boxed{30^\circ}", "30"),
        (r"\boxed{30^{\circ}}", "30"),
        ("The answer is 18 dollars per day.", "18"),
        ("42 apples", "42 apples"),
        (r"\boxed{2 million}", "2"),
        ("The answer is 2 million.", "2"),
        ("The answer is 2 million.", "2000000"),
        ("The answer is 3 dozen.", "36"),
        (r"\boxed{2x}", "2"),
        (r"\boxed{3i}", "3"),
    ],
    "percent": [
        ("It is 50%.", "50%"),
        (r"\boxed{50\%}", "50%"),
        ("It is 50%.", "0.5"),
        ("It is 50%.", "50"),
        ("The answer is 50 percent.", "50%"),
        (r"\boxed{12.5\%}", "0.125"),
        (r"\boxed{50}", "50%"),
        ("It is 50%.", "5"),
    ],
    "thousands": [
        ("1,234", "1234"),
        ("1,234,567", "1234567"),
        (r"\boxed{1{,}234}", "1234"),
        (r"\boxed{11,\!111}", "11111"),
        (r"\boxed{1\,234}", "1234"),
        ("The answer is 1 234.", "1234"),
        (r"\boxed{1,23}", "123"),
        (r"\boxed{1,23}", "23"),
        (r"\boxed{1,2345}", "12345"),
        (r"\boxed{12,34}", "1234"),
        (r"\boxed{1,234.5}", "1234.5"),
        (r"\boxed{1.234,5}", "1234.5"),
    ],
    "fractions": [
        (r"\boxed{\frac12}", "0.5"),
        (r"\boxed{\dfrac{1}{2}}", "1/2"),
        (r"\boxed{\tfrac{2}{4}}", "1/2"),
        (r"\boxed{\frac1{2}}", "1/2"),
        (r"\boxed{-\frac{1}{2}}", "-0.5"),
        (r"\boxed{\frac{-1}{2}}", "-0.5"),
        (r"\boxed{1\frac{1}{2}}", "1.5"),
        ("The answer is 1 1/2.", "1.5"),
        ("1/2", "0.5"),
        ("1 / 2", "0.5"),
        ("0.50", "1/2"),
        (r"\boxed{0.333333}", "1/3"),
        (r"\boxed{0.33}", "1/3"),
        (r"\boxed{\frac{1}{0}}", "1"),
        (r"\boxed{\frac{6}{3}}", "2"),
        (r"\boxed{3:4}", "0.75"),
    ],
    "powers": [
        (r"\boxed{10^3}", "1000"),
        (r"\boxed{10^{3}}", "1000"),
        (r"\boxed{2^{10}}", "1024"),
        (r"\boxed{10^{-2}}", "0.01"),
        (r"\boxed{-2^2}", "-4"),
        (r"\boxed{1.5\times10^3}", "1500"),
        (r"\boxed{1.5 \cdot 10^{-3}}", "0.0015"),
        ("The answer is 1.5e3.", "1500"),
        (r"\boxed{10^3}", "103"),
        (r"\boxed{x^2}", "2"),
    ],
    "no numbers": [
        (r"\boxed{\sqrt{2}}", "2"),
        (r"\boxed{-\sqrt{3}}", "3"),
        (r"\boxed{2\pi}", "2"),
        (r"\boxed{\frac{\pi}{3}}", "3"),
        (r"\boxed{5!}", "5"),
        (r"\boxed{x \le 5}", "5"),
        (r"\boxed{x > 5}", "5"),
        (r"\boxed{x \ne 5}", "5"),
        (r"\boxed{\pm 5}", "5"),
        (r"\boxed{|x|}", "1"),
        (r"\boxed{2^n}", "2"),
        (r"\boxed{\log 5}", "5"),
        ("<answer>not 7</answer>", "7"),
        ("The answer is not 7.", "7"),
        ("<answer>at most 5</answer>", "5"),
        (r"\boxed{0.\overline{3}}", "0.3"),
        (r"\boxed{2+3}", "5"),
        (r"\boxed{2\cdot 3}", "6"),
        (r"\boxed{6 \div 2}", "3"),
        (r"\boxed{\sqrt{4}}", "2"),
        (r"\boxed{5!}", "120"),
    ],
    "several": [
        (r"\boxed{(1,2)}", "2"),
        (r"\boxed{(1, 2)}", "(1,2)"),
        (r"\boxed{(0.5, 2)}", r"(\frac{1}{2}, 2)"),
        (r"\boxed{[1, 2)}", "2"),
        (r"\boxed{[1, 2)}", "[1,2)"),
        (r"\boxed{[1, 2)}", "(1,2)"),
        (r"\boxed{\{1, 2\}}", r"\{1,2\}"),
        (r"\boxed{3 \text{ or } 4}", "3"),
        (r"\boxed{3, 4}", "4"),
        ("<answer>41 or 42</answer>", "42"),
        ("The answer is 3 and 4.", "4"),
    ],
    "signs": [
        ("x = \u22125", "-5"),
        ("\\boxed{\u22125}", "-5"),
        ("\\boxed{\u20135}", "-5"),
        (r"\boxed{+5}", "5"),
        (r"\boxed{-5}", "5"),
        (r"\boxed{.5}", "0.5"),
        ("The answer is -.5.", "-0.5"),
        ("The answer is 5.", "5"),
        (r"\boxed{-0}", "0"),
        (r"\boxed{007}", "7"),
        (r"\boxed{-(-5)}", "5"),
    ],
    "latex": [
        (r"\boxed{$42$}", "42"),
        ("The answer is \\(42\\).", "42"),
        ("The answer is $42$ apples.", "42"),
        (r"\boxed{\textbf{42}}", "42"),
        (r"\boxed{\mathbf{42}}", "42"),
        (r"\boxed{\left( 1, 2 \right)}", "(1,2)"),
        (r"\boxed{42\,}", "42"),
        (r"\boxed{\dfrac{\pi}{3}}", r"\frac{\pi}{3}"),
        (r"\boxed{\frac\pi3}", r"\frac{\pi}{3}"),
        (r"\boxed{2\sqrt2}", r"2\sqrt{2}"),
        (r"\boxed{x+1}", "x + 1"),
        (r"\boxed{x+1}", "x - 1"),
        (r"\boxed{1+x}", "x+1"),
        (r"\boxed{\frac{a}{b}^2}", "a/b^2"),
        (r"\boxed{2\frac{1}{x}}", r"\frac{21}{x}"),
        (r"\boxed{\frac{1}{2x}}", r"\frac{1}{2}x"),
        (r"\boxed{\text{Paris}}", r"\text{Paris}"),
    ],
}


def read(text: str):
    return parse(text, parsing_timeout=None)


def gold_of(text: str):
    return read(f"${text}$") if any(sign in text for sign in "\\^()[]x") else read(text)


def public(case: dict) -> bool:
    """One of Math-Verify's own test cases, with the settings that its test has."""
    configs = {"latex": LatexExtractionConfig(boxed_match_priority=0), "expr": ExprExtractionConfig()}
    if case["types"] == "default":
        gold, answer = [parse(case[key], parsing_timeout=None) for key in ("gold", "completion")]
        return verify(gold, answer, timeout_seconds=None)
    types = [configs[name] for name in case["types"].split()]
    gold, answer = [parse(case[key], types, parsing_timeout=None) for key in ("gold", "completion")]
    settings = {key: case[key] for key in ("strict", "allow_set_relation_comp") if key in case}
    return verify(gold, answer, float_rounding=case.get("precision", 6), timeout_seconds=None, **settings)


def main() -> None:
    folder = Path(__file__).resolve().parent
    given = json.loads((folder / "math-verify-cases.json").read_text())["cases"]
    cases = [
        {
            "kind": kind,
            "completion": completion,
            "gold": gold,
            "math_verify": verify(gold_of(gold), read(completion), timeout_seconds=None),
        }
        for kind, pairs in KINDS.items()
        for completion, gold in pairs
    ]
    write_json(output_folder(__file__) / "expected.json", {"cases": cases, "public": [public(case) for case in given]})


if __name__ == "__main__":
    main()
