"""Episodes of ReAct and trials of Reflexion."""

import contextlib
import io
import json
import os
import sys
import types
from unittest import mock

from stand_ins import module, modules

# Thought and action of each step; a text without a line is both in one.
SCRIPTS = [
    ["I must look.\nSearch[Pisa]", "It is 56 m.\nCalculate[56*2]", "I know.\nFinish[112]"],
    ["I know.\nFinish[a, b]"],
    [f"Again.\nSearch[{i}]" for i in range(9)],
    ["Once.\nSearch[x]", "Twice.\nLookup[y z]", "No more.\nFinish[]"],
]


def react(root):
    notebook = json.loads((root / "hotpotqa.ipynb").read_text())
    (source,) = ["".join(cell["source"]) for cell in notebook["cells"] if "def webthink" in "".join(cell["source"])]
    runs = []
    for script in SCRIPTS:
        calls, asked = [], []

        def llm(prompt, stop, script=script, asked=asked):
            asked.append(prompt)
            thought, action = script[len(asked) - 1].split("\n")
            return f" {thought}\nAction {len(asked)}: {action}"

        class Environment:
            def reset(self, idx):
                return "q"

        def step(env, action, calls=calls):
            calls.append(action)
            return f"saw {action}", 0, action.startswith("finish"), {"answer": action[7:-1]}

        opened = lambda *_: io.StringIO('{"webthink_simple6": ""}')  # noqa: E731
        scope = {"llm": llm, "env": Environment(), "step": step}
        with mock.patch("builtins.open", opened):
            exec(source, scope)
        _, info = scope["webthink"](0, "", to_print=False)
        runs.append({"script": script, "calls": calls, "answer": info["answer"], "trajectory": info["traj"], "asked": len(asked)})
    return {"runs": runs}


# No article: those are nothing to their comparison of answers.
DOORS = "vwxyz"


def reflexion(root):
    class Prompt:
        def __init__(self, input_variables, template):
            self.template = template

        def format(self, **given):
            return " | ".join(f"{name}: {given[name]}" for name in ("reflections", "scratchpad") if name in given)

    class Model:
        def __init__(self, **_):
            pass

    nothing = lambda name: module(name)  # noqa: E731
    encoding = types.SimpleNamespace(encode=lambda text: [])
    present = {
        **{"tiktoken": module("tiktoken", encoding_for_model=lambda _: encoding), "joblib": nothing("joblib")},
        "langchain": module("langchain", Wikipedia=lambda: None, OpenAI=None),
        "langchain__llms__base": module("langchain.llms.base", BaseLLM=object),
        "langchain__chat_models": module("langchain.chat_models", ChatOpenAI=None),
        "langchain__chat_models__base": module("langchain.chat_models.base", BaseChatModel=object),
        "langchain__schema": module("langchain.schema", SystemMessage=None, HumanMessage=None, AIMessage=None),
        "langchain__agents__react__base": module("langchain.agents.react.base", DocstoreExplorer=lambda _: None),
        "langchain__docstore__base": module("langchain.docstore.base", Docstore=object),
        "langchain__prompts": module("langchain.prompts", PromptTemplate=Prompt),
        "llm": module("llm", AnyOpenAILLM=Model),
    }
    folder = root / "hotpotqa_runs"
    sys.path.insert(0, str(folder))
    ours = sys.modules.pop("agents", None)
    try:
        with modules("langchain.llms", "langchain.agents", "langchain.agents.react", "langchain.docstore", **present), mock.patch.dict(os.environ, {"OPENAI_API_KEY": ""}):
            import agents as theirs
    finally:
        sys.path.remove(str(folder))
        if ours:
            sys.modules["agents"] = ours
    runs = []
    for right in DOORS:
        shown = []

        def actor(prompt, shown=shown):
            known = prompt.split(" | scratchpad")[0]
            if prompt.endswith("Thought 1:"):
                shown.append([line[2:] for line in known.split("\n") if line.startswith("- ")])
                return "so"
            return f"Finish[{next(door for door in DOORS if f'not {door}' not in known)}]"

        def critic(prompt):
            (door,) = [line.split("[")[1][0] for line in prompt.split("\n") if "Finish[" in line]
            return f"not {door}"

        agent = theirs.ReactReflectAgent("q", right, react_llm=actor, reflect_llm=critic)
        said = []
        with contextlib.redirect_stdout(io.StringIO()):
            # The loop of their notebook.
            for _ in range(6):
                if not agent.is_correct():
                    agent.run(reflect_strategy=theirs.ReflexionStrategy.REFLEXION)
                    said.append(agent.answer)
        runs.append({"right": right, "answers": said, "shown": shown})
    return {"runs": runs}
