"""Conversations with calls of a tool, as transformers' apply_chat_template tokenizes them."""

from pathlib import Path

from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parents[1]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Adds two numbers.",
            "parameters": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]},
        },
    }
]


def conversations() -> dict[str, list[dict]]:
    call = {"id": "call00000", "type": "function", "function": {"name": "add", "arguments": {"a": 2, "b": 3}}}
    return {
        # As the template writes a call, and with other spaces, as a model may: a reply is then what it wrote.
        "as the template writes it": [
            {"role": "user", "content": "What is 2 + 3?"},
            {"role": "assistant", "content": "Let me add.", "tool_calls": [call]},
            {"role": "tool", "name": "add", "content": "5", "tool_call_id": "call00000"},
            {"role": "assistant", "content": "It is 5."},
        ],
        "in other spaces, behind text": [
            {"role": "user", "content": "Now 12 + 30, please."},
            {"role": "assistant", "content": 'Well: <tool_call>{"name":"add","arguments":{"a":12,"b":30}}</tool_call>'},
            {"role": "tool", "name": "add", "content": "42", "tool_call_id": "call00000"},
            {"role": "assistant", "content": "42"},
        ],
    }


def cases() -> dict:
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "tokenizers/byte-level-bpe")
    results = []
    for name, messages in conversations().items():
        ids = tokenizer.apply_chat_template(messages, tools=TOOLS, tokenize=True, return_dict=False)
        prompt = tokenizer.apply_chat_template(messages[:1], tools=TOOLS, tokenize=True, return_dict=False, add_generation_prompt=True)
        results.append({"name": name, "messages": messages, "prompt_ids": prompt, "ids": ids})
    return {"tools": TOOLS, "cases": results}
