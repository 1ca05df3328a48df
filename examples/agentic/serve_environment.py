"""Serves an environment of `verifiers`, or a dataset of reasoning-gym, to `servedEnvironment` of @posttrain/rl.

usage: python serve_environment.py reasoning-gym NAME [--size N] [--seed N] [--config JSON] [--http PORT]
       python serve_environment.py verifiers NAME [--config JSON] [--http PORT]

NAME is what `reasoning_gym.create_dataset` or `verifiers.load_environment` takes; --config holds its keyword arguments. Without --http a
question is a line of JSON on standard input and its answer one on standard output. Of verifiers it is the interface up to version 0.3
(`verifiers.legacy`: `SingleTurnEnv`, `MultiTurnEnv`, `ToolEnv` and what stands on them), not `verifiers.v1`, which runs agents of its own: a rollout of theirs runs here, and its model is
whoever asks.
"""

import argparse
import asyncio
import json
import random
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ReasoningGym:
    """One reply to a question, worth what the dataset's own score says."""

    def __init__(self, name: str, size: int, seed: int, config: dict):
        import reasoning_gym

        self.name = f"reasoning-gym/{name}"
        self.dataset = reasoning_gym.create_dataset(name, size=size, seed=seed, **config)
        self.size = size

    def row(self, index: int) -> dict:
        entry = self.dataset[index]
        return {"index": index, "prompt": entry["question"], "answer": str(entry["answer"])}

    def start(self, index: int, seed: int):
        return ReasoningGymEpisode(self.dataset, self.dataset[index])


class ReasoningGymEpisode:
    def __init__(self, dataset, entry: dict):
        self.dataset, self.entry = dataset, entry

    async def begin(self) -> dict:
        return {"messages": [{"role": "user", "content": self.entry["question"]}]}

    async def step(self, reply: dict) -> dict:
        said = reply["content"]
        # What stands within <answer>, as reasoning-gym's own prompts ask for; without it, all of it.
        answer = said.rsplit("<answer>", 1)[1].split("</answer>")[0] if "<answer>" in said else said
        return {"messages": [], "reward": float(self.dataset.score_answer(answer.strip(), self.entry)), "done": True}

    def close(self) -> None:
        pass


class Verifiers:
    def __init__(self, name: str, config: dict):
        import verifiers as vf

        self.environment = vf.load_environment(name, **config)
        self.rows = self.environment.get_dataset()
        self.name, self.size = f"verifiers/{name}", len(self.rows)

    def row(self, index: int) -> dict:
        row = self.rows[index]
        known = {"index": index, "prompt": [plain(message) for message in row["prompt"]]}
        return known | ({"answer": row["answer"]} if isinstance(row.get("answer"), str) else {})

    def start(self, index: int, seed: int):
        return VerifiersEpisode(self.environment, {**self.rows[index], "example_id": index}, seed)


def plain(message) -> dict:
    """A message of theirs as one of the OpenAI API, with arguments of calls as objects."""
    if not isinstance(message, dict):
        message = message.model_dump(exclude_none=True)
    content = message.get("content") or ""
    if not isinstance(content, str):
        content = "".join(part.get("text", "") for part in content)
    made = {"role": message["role"], "content": content}
    if message.get("tool_call_id"):
        made["tool_call_id"] = message["tool_call_id"]
    calls = message.get("tool_calls") or []
    if calls:
        made["tool_calls"] = [
            {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": json.loads(call["arguments"])}}
            for call in calls
        ]
    return made


class VerifiersEpisode:
    """A rollout of theirs that waits for replies: its client hands prompts over and gets them back answered."""

    def __init__(self, environment, row: dict, seed: int):
        self.environment, self.row = environment, row
        self.asked: asyncio.Queue = asyncio.Queue()
        self.replies: asyncio.Queue = asyncio.Queue()
        self.seen = 0
        # Theirs draw from the global generator, where they draw.
        random.seed(seed)

    async def begin(self) -> dict:
        self.task = asyncio.create_task(self.environment.rollout(self.row, client_of(self), "served", {}))
        asked = await self.next()
        if asked is None:
            raise RuntimeError(f"the rollout ended before its first reply: {self.task.result().get('error')}")
        messages, tools = asked
        self.seen = len(messages)
        return {"messages": messages, **({"tools": tools} if tools else {})}

    async def next(self):
        """The next prompt, or None where the rollout has ended."""
        asking = asyncio.create_task(self.asked.get())
        await asyncio.wait([asking, self.task], return_when=asyncio.FIRST_COMPLETED)
        if asking.done():
            return asking.result()
        asking.cancel()
        return None

    async def step(self, reply: dict) -> dict:
        self.replies.put_nowait(reply)
        asked = await self.next()
        if asked is not None:
            # Behind the reply, which the asker has.
            said = asked[0][self.seen + 1 :]
            self.seen = len(asked[0])
            return {"messages": said, "done": False}
        state = self.task.result()
        if state.get("error") is not None:
            raise RuntimeError(f"the rollout failed: {state['error']!r}")
        await self.environment.rubric.score_rollout(state)
        return {"messages": [], "reward": float(state["reward"]), "done": True}

    def close(self) -> None:
        self.task.cancel()


def client_of(episode: VerifiersEpisode):
    from verifiers.clients.client import Client
    from verifiers.types import Response, ResponseMessage, ToolCall

    class Asking(Client):
        def setup_client(self, config):
            return None

        async def close(self):
            pass

        async def to_native_tool(self, tool):
            function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
            return {"type": "function", "function": function}

        async def to_native_prompt(self, messages):
            return [plain(message) for message in messages], {}

        async def get_native_response(self, prompt, model, sampling_args, tools=None, **kwargs):
            episode.asked.put_nowait((prompt, tools))
            return await episode.replies.get()

        async def raise_from_native_response(self, response):
            pass

        async def from_native_response(self, response):
            calls = [
                ToolCall(id=call.get("id") or f"call{i:05}", name=call["function"]["name"], arguments=json.dumps(call["function"]["arguments"]))
                for i, call in enumerate(response.get("tool_calls") or [])
            ]
            message = ResponseMessage(
                content=response["content"], tool_calls=calls or None, finish_reason="tool_calls" if calls else "stop", is_truncated=False
            )
            return Response(id=uuid.uuid4().hex, created=int(time.time()), model="served", message=message)

    return Asking(None)


class Server:
    def __init__(self, environment):
        self.environment = environment
        self.episodes: dict = {}
        self.last = 0

    async def answer(self, line: str) -> dict:
        asked = json.loads(line)
        try:
            return {"id": asked["id"], "result": await getattr(self, f"on_{asked['method']}")(**asked["params"])}
        except Exception as error:
            return {"id": asked["id"], "error": f"{type(error).__name__}: {error}"}

    async def on_describe(self) -> dict:
        return {"name": self.environment.name, "size": self.environment.size}

    async def on_rows(self, **bounds) -> dict:
        return {"rows": [self.environment.row(index) for index in range(bounds["from"], min(bounds["to"], self.environment.size))]}

    async def on_start(self, index: int, seed: int) -> dict:
        if not 0 <= index < self.environment.size:
            raise IndexError(f"there is no row {index}, rows are from 0 to {self.environment.size - 1}")
        self.last += 1
        episode = self.episodes[self.last] = self.environment.start(index, seed)
        return {"episode": self.last, **await episode.begin()}

    async def on_step(self, episode: int, reply: dict) -> dict:
        return await self.episodes[episode].step(reply)

    async def on_close(self, episode: int) -> dict:
        self.episodes.pop(episode).close()
        return {}


async def serve_lines(server: Server, out) -> None:
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, None)

    async def reply(line: str) -> None:
        print(json.dumps(await server.answer(line)), file=out, flush=True)

    threading.Thread(target=read, daemon=True).start()
    pending: set = set()
    while (line := await lines.get()) is not None:
        task = asyncio.create_task(reply(line))
        pending.add(task)
        task.add_done_callback(pending.discard)


async def serve_http(server: Server, port: int, out) -> None:
    loop = asyncio.get_running_loop()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            answer = asyncio.run_coroutine_threadsafe(server.answer(body), loop).result()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print(f"http://127.0.0.1:{http.server_port}", file=out, flush=True)
    await asyncio.to_thread(http.serve_forever)


def main() -> None:
    # What libraries print is no answer.
    out, sys.stdout = sys.stdout, sys.stderr
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["reasoning-gym", "verifiers"])
    parser.add_argument("name")
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", type=json.loads, default={})
    parser.add_argument("--http", type=int)
    given = parser.parse_args()
    if given.kind == "verifiers":
        environment = Verifiers(given.name, given.config)
    else:
        environment = ReasoningGym(given.name, given.size, given.seed, given.config)
    server = Server(environment)
    asyncio.run(serve_lines(server, out) if given.http is None else serve_http(server, given.http, out))


if __name__ == "__main__":
    main()
