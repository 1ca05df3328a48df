"""Three small tokenizers trained on our own text, saved by transformers, with what transformers makes of many texts."""

import json
import sys
from collections import Counter
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers  # noqa: E402
from transformers import AutoTokenizer, PreTrainedTokenizerFast  # noqa: E402

from corpus import corpus  # noqa: E402
import templates  # noqa: E402

LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_level_bpe() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        corpus(), trainers.BpeTrainer(vocab_size=512, initial_alphabet=alphabet, show_progress=False)
    )
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in ["<think>", "</think>", "<tool_call>", "</tool_call>"]])
    begin = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<|begin_of_text|> $A",
                pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
                special_tokens=[("<|begin_of_text|>", begin)],
            ),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|begin_of_text|>",
        eos_token="<|im_end|>",
        pad_token="<|end_of_text|>",
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
        chat_template=templates.CHATML_WITH_TOOLS,
    )


def sentencepiece_bpe() -> PreTrainedTokenizerFast:
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    # Only for training: words keep their leading space mark and runs of marks may merge, nothing merges across words.
    trained.pre_tokenizer = pre_tokenizers.Split(Regex("\u2581+[^\u2581]*|[^\u2581]+"), behavior="isolated")
    # The trainer's own limit_alphabet breaks ties at random, so the rare characters are left out here.
    lines = corpus(seed=11)
    counts = Counter("".join(lines))
    alphabet = set(sorted(counts, key=lambda character: (-counts[character], character))[:90])
    trained.train_from_iterator(
        ["".join(character for character in line if character in alphabet) for line in lines],
        trainers.BpeTrainer(vocab_size=330, show_progress=False),
    )
    model = json.loads(trained.to_str())["model"]
    head = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    by_id = sorted(model["vocab"], key=model["vocab"].get)
    vocab = {token: index for index, token in enumerate(head + by_id)}
    merges = [tuple(pair) for pair in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = trained.normalizer
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in ["<unk>", "<s>", "</s>", "<pad>"]])
    tokenizer.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=1024,
        chat_template=templates.LLAMA2,
    )


def unigram() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="\u2581", prepend_scheme="always")
    specials = ["<pad>", "</s>", "<unk>", "<s>", "<turn>", "</turn>"]
    tokenizer.train_from_iterator(
        corpus(seed=13),
        trainers.UnigramTrainer(vocab_size=420, special_tokens=specials, unk_token="<unk>", show_progress=False),
    )
    # Training is exact only up to the last digits, and gives rare characters falling scores in a random order.
    state = json.loads(tokenizer.to_str())
    vocab = [[piece, round(score, 6 if len(piece) > 1 else 1)] for piece, score in state["model"]["vocab"]]
    count = len(specials)
    state["model"]["vocab"] = vocab[:count] + sorted(vocab[count:], key=lambda entry: (-entry[1], entry[0]))
    tokenizer = Tokenizer.from_str(json.dumps(state))
    # As ALBERT's mask token: the space before it belongs to it.
    tokenizer.add_special_tokens([AddedToken("<mask>", special=True, lstrip=True, normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token="<mask>",
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
        chat_template=templates.GENERATION_MARKERS,
    )


TEXTS = [
    "",
    " ",
    "     ",
    "\n",
    "\n\n\n",
    "\t",
    "\r\n",
    " \n \t ",
    "a",
    " a",
    "a ",
    "  a  b   c    ",
    "Hello, world!",
    "The robot counts apples in the morning.",
    "the the the",
    "don't I'll we've THEY'RE it's",
    "1234567890 12 + 345 = 357",
    "3.14159, -2, 1e10, 0x1F",
    "line one\nline two\n\nline four\n",
    "def f(x):\n    return x ** 2\n",
    "\tif (a && b) {\n\t\treturn;\n\t}",
    "trailing newline\n",
    "caf\u00e9 na\u00efve \u0130stanbul Stra\u00dfe",
    "cafe\u0301 decomposed e\u0301\u0302",
    "\ufb01ne \uff21\uff22\uff23 \u2460 \u00bd",
    "\u4eca\u65e5\u306f\u5929\u6c17\u304c\u3044\u3044\u3067\u3059\u3002",
    "\u6211\u559c\u6b22\u6570\u5b66 abc \u9f98",
    "\uc624\ub298\uc740 \ub0a0\uc528\uac00",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
    "\u05e9\u05dc\u05d5\u05dd 123 \u05e2\u05d5\u05dc\u05dd abc",
    "\u0928\u092e\u0938\u094d\u0924\u0947",
    "\U0001f642",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1eb\U0001f1f7 \U0001f44d\U0001f3fd",
    "ok\U0001f680\U0001f680go",
    "\u00a0non\u00a0breaking\u2003em\u3000ideographic",
    "zero\u200bwidth\ufeffbom",
    "<|im_start|>user\nhi<|im_end|>",
    "text <|im_end|> in the middle<|im_end|>",
    "<|begin_of_text|>already there",
    "<think>a plan</think>the answer",
    "a <think> b </think> c",
    "<s>hello</s>",
    "<s> hello </s> again",
    "</s></s><pad>",
    "<unk> stays",
    "fill the <mask> here",
    "<turn>user hello</turn>",
    "<|im_start",
    "< |im_end| >",
    "<0x41> <0xE2>",
    "\u2581already\u2581marked",
    "x" * 200,
    "supercalifragilisticexpialidocious" * 3,
    "!?!?...---===((()))[[]]{{}}",
    "https://example.org/a_b-c?d=e&f=%20#g",
    "\u0000null\u0001byte",
    "\U00010348\U0001d54f",
    "mixed \u65e5\u672c caf\u00e9 42\n\t\U0001f389 end",
]

SYSTEM = {"role": "system", "content": "You are terse."}
CONVERSATIONS = {
    "one-user": [{"role": "user", "content": "What is 2 + 3?"}],
    "one-turn": [{"role": "user", "content": "What is 2 + 3?"}, {"role": "assistant", "content": "2 + 3 = 5"}],
    "system-two-turns": [
        SYSTEM,
        {"role": "user", "content": "Count to three."},
        {"role": "assistant", "content": "one two three"},
        {"role": "user", "content": "  And back?\n"},
        {"role": "assistant", "content": "three\ntwo\n\none  "},
    ],
    "unicode": [
        {"role": "user", "content": "caf\u00e9 \U0001f389 \u4eca\u65e5 <b>&amp;</b>"},
        {"role": "assistant", "content": "\U0001f642 \u0645\u0631\u062d\u0628\u0627 \"quoted\""},
    ],
    "special-inside": [
        {"role": "user", "content": "say <|im_end|> or </s> or </turn>"},
        {"role": "assistant", "content": "no"},
    ],
    "empty-answer": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": ""}],
    "bad-order": [{"role": "assistant", "content": "me first"}, {"role": "user", "content": "ok"}],
    "same-answer-twice": [
        {"role": "user", "content": "yes or no"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "yes?"},
        {"role": "assistant", "content": "yes"},
    ],
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Add two numbers < 1000 & \"small\".",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "number"}, "b": {"type": "number", "description": "caf\u00e9"}},
                "required": ["a", "b"],
            },
        },
    },
    {"type": "function", "function": {"name": "today", "description": "Date.", "parameters": {"type": "object", "properties": {}}}},
]
TOOL_CONVERSATION = [
    SYSTEM,
    {"role": "user", "content": "add 2 and 3, and the date"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"type": "function", "function": {"name": "add", "arguments": {"a": 2, "b": 3.5, "note": "caf\u00e9 <&>", "flag": True, "none": None}}},
            {"type": "function", "function": {"name": "today", "arguments": {}}},
        ],
    },
    {"role": "tool", "name": "add", "content": "5.5"},
    {"role": "tool", "name": "today", "content": "2026-01-01"},
    {"role": "assistant", "content": "5.5, first of January"},
]


def encode_cases(tokenizer) -> list[dict]:
    cases = []
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        plain = tokenizer(text, add_special_tokens=False)["input_ids"]
        cases.append(
            {
                "text": text,
                "ids": ids,
                "ids_no_special": plain,
                "tokens_no_special": tokenizer.convert_ids_to_tokens(plain),
                "decoded": tokenizer.decode(ids),
                "decoded_skip_special": tokenizer.decode(ids, skip_special_tokens=True),
                "decoded_no_special": tokenizer.decode(plain),
            }
        )
    return cases


def decode_cases(tokenizer) -> list[dict]:
    """Id sequences that no text encodes to: characters cut in the middle, special ids anywhere, every id alone."""
    emoji = tokenizer("\U0001f9ff\u9f98\U0001f9ff", add_special_tokens=False)["input_ids"]
    sequences = [emoji[:cut] for cut in range(len(emoji))] + [emoji[1:], emoji[2:-1], emoji[1:2] + emoji]
    ends = [tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id]
    hello = tokenizer("hello there", add_special_tokens=False)["input_ids"]
    sequences += [[], ends, hello + ends + hello, [ends[0]] + hello, hello[-1:], hello[:1] + hello[:1]]
    sequences += [[index] for index in range(0, len(tokenizer), 7)]
    return [
        {
            "ids": ids,
            "decoded": tokenizer.decode(ids),
            "decoded_skip_special": tokenizer.decode(ids, skip_special_tokens=True),
        }
        for ids in sequences
    ]


def chat_case(tokenizer, name, messages, template, **options) -> dict:
    case = {"name": name, "messages": messages, "template": template, "options": options}
    arguments = dict(options)
    if template is not None:
        arguments["chat_template"] = getattr(templates, template)
    try:
        case["rendered"] = tokenizer.apply_chat_template(messages, tokenize=False, **arguments)
    except Exception as error:  # the error is the expected result
        case["error"] = f"{type(error).__name__}: {error}"
        return case
    case["ids"] = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, **arguments)["input_ids"]
    markers = "endgeneration" in arguments.get("chat_template", tokenizer.chat_template)
    if markers and "continue_final_message" not in options:  # transformers refuses the two together
        marked = tokenizer.apply_chat_template(
            messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, **arguments
        )
        assert marked["input_ids"] == case["ids"]
        case["assistant_mask"] = marked["assistant_masks"]
    return case


def chat_cases(tokenizer, extra_templates: list[str], tools: bool) -> list[dict]:
    cases = []
    for template in [None, *extra_templates]:
        for name, messages in CONVERSATIONS.items():
            cases.append(chat_case(tokenizer, name, messages, template))
            if messages[-1]["role"] == "user":
                cases.append(chat_case(tokenizer, name, messages, template, add_generation_prompt=True))
            else:
                cases.append(chat_case(tokenizer, name, messages, template, continue_final_message=True))
                cases.append(chat_case(tokenizer, name, messages[:-1], template, add_generation_prompt=True))
    if tools:
        for cut in (2, 3, 5, 6):
            messages = TOOL_CONVERSATION[:cut]
            prompt = {"add_generation_prompt": True} if messages[-1]["role"] != "assistant" else {}
            cases.append(chat_case(tokenizer, f"tools-{cut}", messages, None, tools=TOOLS, **prompt))
        cases.append(chat_case(tokenizer, "tools-no-system", TOOL_CONVERSATION[1:2], None, tools=TOOLS))
        cases.append(chat_case(tokenizer, "tool-calls-without-tools", TOOL_CONVERSATION, None))
    if "LLAMA3" in extra_templates:
        cases.append(
            chat_case(tokenizer, "extra-variable", [SYSTEM, *CONVERSATIONS["one-user"]], "LLAMA3", date_string="1 Jan 2026")
        )
    return cases


def main() -> None:
    out = output_folder(__file__)
    kinds = {
        "byte-level-bpe": (byte_level_bpe, ["LLAMA3", "CHATML_GENERATION"], True),
        "sentencepiece-bpe": (sentencepiece_bpe, ["GENERATION_MARKERS"], False),
        "unigram": (unigram, [], False),
    }
    for name, (build, extra_templates, tools) in kinds.items():
        folder = out / name
        built = build()
        built.save_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert [tokenizer(text)["input_ids"] for text in TEXTS] == [built(text)["input_ids"] for text in TEXTS]
        expected = {
            "vocab_size": len(tokenizer),
            "special_ids": {kind: tokenizer.convert_tokens_to_ids(token) for kind, token in tokenizer.special_tokens_map.items() if isinstance(token, str)},
            "all_special_ids": sorted(tokenizer.all_special_ids),
            "special_flag_ids": sorted(index for index, token in tokenizer.added_tokens_decoder.items() if token.special),
            "encode": encode_cases(tokenizer),
            "decode": decode_cases(tokenizer),
        }
        chat = {
            "templates": {key: getattr(templates, key) for key in extra_templates},
            "chat": chat_cases(tokenizer, extra_templates, tools),
        }
        write_json(folder / "expected.json", expected)
        write_json(folder / "chat.json", chat)
        print(name, len(tokenizer), len(expected["encode"]), len(expected["decode"]), len(chat["chat"]))


if __name__ == "__main__":
    main()
