"""A small environment of verifiers, for the fixture: guess a number with a tool that says higher or lower."""

import verifiers as vf
from datasets import Dataset


def higher(guess: int) -> str:
    """Says whether the number is higher than the guess.

    Args:
        guess: A whole number.
    """
    return "yes" if 7 > guess else "no"


def load_environment(kind: str = "tools"):
    rows = [{"question": "Which number from 1 to 9 do I think of?", "answer": "7"}, {"question": "And again?", "answer": "7"}]

    async def right(completion, answer) -> float:
        return 1.0 if answer in str(completion[-1]["content"]) else 0.0

    async def turns(completion) -> float:
        return float(len(completion))

    rubric = vf.Rubric(funcs=[right, turns], weights=[1.0, 0.0])
    dataset = Dataset.from_list(rows)
    if kind == "tools":
        return vf.ToolEnv(dataset=dataset, rubric=rubric, tools=[higher], max_turns=4)
    return Echo(dataset=dataset, rubric=rubric, max_turns=3)


class Echo(vf.MultiTurnEnv):
    """Says what was said, with a question mark, until the number is said."""

    async def env_response(self, messages, state, **kwargs):
        return [{"role": "user", "content": f"{messages[-1]['content']}?"}]

    @vf.stop
    async def is_said(self, state, **kwargs) -> bool:
        trajectory = state["trajectory"]
        return len(trajectory) > 0 and "7" in str(trajectory[-1]["completion"][-1].content)
