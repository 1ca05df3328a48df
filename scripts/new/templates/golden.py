"""my-method as its reference implementation has it: inputs, values and gradients, for the test that says todo.

Say here which implementation it is, and pin its version in the requirements of this folder. Inside the repository make.py, beside
this file, imports it and writes `my_method()`; on its own it writes my-method.json beside itself.
"""

import json
from pathlib import Path


def my_method() -> dict:
    raise NotImplementedError("call the reference implementation, and give inputs, values and gradients as numbers")


if __name__ == "__main__":
    Path(__file__).with_name("my-method.json").write_text(json.dumps(my_method()) + "\n")
