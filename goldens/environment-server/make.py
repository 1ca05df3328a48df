"""What real environments of verifiers and reasoning-gym say to scripted replies, through `examples/agentic/serve_environment.py`: `conversations.json`."""

import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent


def say(content: str, **more) -> dict:
    return {"role": "assistant", "content": content, **more}


def call(guess: int) -> dict:
    return say("", tool_calls=[{"id": "call00000", "type": "function", "function": {"name": "higher", "arguments": {"guess": guess}}}])


def converse(arguments: list[str], episodes: list[tuple[int, list[dict]]]) -> dict:
    """Questions in order, each with its answer: describe, rows, and episodes of scripted replies, the first ones side by side."""
    command = [sys.executable, str(ROOT / "examples/agentic/serve_environment.py"), *arguments]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONPATH": str(HERE)}
    )
    exchanges = []

    def ask(method: str, **params):
        request = {"id": len(exchanges) + 1, "method": method, "params": params}
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        answer = json.loads(server.stdout.readline())
        exchanges.append({"method": method, "params": params, **{key: value for key, value in answer.items() if key != "id"}})
        return answer.get("result")

    ask("describe")
    rows = ask("rows", **{"from": 0, "to": 2})["rows"]
    for index, replies in episodes:
        episode = ask("start", index=index, seed=1)["episode"]
        for reply in replies:
            reply = {**reply, "content": reply["content"].replace("RIGHT", rows[index].get("answer", ""))}
            ask("step", episode=episode, reply=reply)
        ask("close", episode=episode)
    ask("start", index=99, seed=1)
    server.stdin.close()
    server.wait(30)
    return {"arguments": arguments, "exchanges": exchanges}


def main() -> None:
    out = output_folder(__file__)
    tools = [(0, [call(3), call(8), say("It is 7.")]), (1, [say("5")])]
    echo = [(0, [say("3"), say("5"), say("9")]), (1, [say("4"), say("7")])]
    sums = ["reasoning-gym", "chain_sum", "--size", "4", "--seed", "3", "--config", '{"max_terms": 3, "max_digits": 1}']
    write_json(
        out / "conversations.json",
        {
            "verifiers tools": converse(["verifiers", "guess_number", "--config", '{"kind": "tools"}'], tools),
            "verifiers turns": converse(["verifiers", "guess_number", "--config", '{"kind": "echo"}'], echo),
            "reasoning-gym": converse(sums, [(0, [say("<answer>RIGHT</answer>")]), (1, [say("It is RIGHT.")]), (1, [say("1000")])]),
        },
    )


if __name__ == "__main__":
    main()
