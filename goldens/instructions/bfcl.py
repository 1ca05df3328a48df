"""What BFCL's check of syntax trees (bfcl-eval 2026.3.23) says of calls of our own. Run with that package's wheel unpacked: BFCL=FOLDER."""

import ast
import importlib.util
import json
import os
import sys
import types
from enum import Enum
from pathlib import Path

ROOT = Path(os.environ["BFCL"])
HERE = Path(__file__).parent


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


# Its list of models imports clients of every provider; only whether dots stay in names is read of it.
for name in ["bfcl_eval", "bfcl_eval.constants", "bfcl_eval.eval_checker", "bfcl_eval.eval_checker.ast_eval", "bfcl_eval.eval_checker.ast_eval.type_convertor"]:
    sys.modules[name] = types.ModuleType(name)
config = types.ModuleType("config")
config.MODEL_CONFIG_MAPPING = {"m": types.SimpleNamespace(underscore_to_dot=False)}
sys.modules["bfcl_eval.constants.model_config"] = config
for name in ["java", "js"]:
    stub = types.ModuleType(name)
    setattr(stub, f"{name}_type_converter", None)
    sys.modules[f"bfcl_eval.eval_checker.ast_eval.type_convertor.{name}_type_converter"] = stub
enums = load("bfcl_eval.constants.enums", "bfcl_eval/constants/enums.py")
load("bfcl_eval.constants.type_mappings", "bfcl_eval/constants/type_mappings.py")
checker = load("checker", "bfcl_eval/eval_checker/ast_eval/ast_checker.py")
source = (ROOT / "bfcl_eval/model_handler/utils.py").read_text()
tree = ast.parse(source)
wanted = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in ("resolve_ast_call", "resolve_ast_by_type")]
scope = {"ast": ast}
exec(compile(ast.Module(wanted, []), "utils", "exec"), scope)


def calls(text):
    parsed = ast.parse(text.strip().strip("'"), mode="eval").body
    nodes = [parsed] if isinstance(parsed, ast.Call) else parsed.elts
    assert all(isinstance(node, ast.Call) for node in nodes)
    return [scope["resolve_ast_call"](node) for node in nodes]


def function(name, required, **types):
    return {"name": name, "parameters": {"type": "dict", "properties": types, "required": required}}


TRIP = function(
    "trip.plan", ["city"], city={"type": "string"}, days={"type": "integer"}, budget={"type": "float"}, guided={"type": "boolean"},
    stops={"type": "array", "items": {"type": "string"}}, box={"type": "tuple", "items": {"type": "float"}}, who={"type": "dict"},
    rooms={"type": "array", "items": {"type": "dict"}}, note={"type": "any"},
)
SUM = function("add", ["a", "b"], a={"type": "integer"}, b={"type": "integer"})
TRIP_ANSWER = {
    "trip.plan": {
        "city": ["San José, CA", "San Jose"], "days": [3, ""], "budget": [99.5, 100, ""], "guided": [True, ""], "stops": [["Old Town", "Museum"], ""],
        "box": [[1.5, 2.0], ""], "who": [{"name": ["Ann"], "age": [40, ""]}, ""], "rooms": [[{"beds": [2]}, {"beds": [1]}], ""], "note": ["soft bed", "user_note", ""],
    }
}
ADD = lambda a, b: {"add": {"a": [a], "b": [b]}}
SIMPLE = [
    "trip.plan(city='San José, CA')", "[trip.plan(city='san jose', days=3)]", "trip.plan(city='SanJose', days=3.0)", "trip.plan(city='San Jose', days='3')", "plan(city='San Jose')",
    "trip.plan(days=3)", "trip.plan('San Jose')", "trip.plan(city='San Jose', budget=100)", "trip.plan(city='San Jose', budget=99.5)", "trip.plan(city='San Jose', budget=1)",
    "trip.plan(city='San Jose', budget='100')", "trip.plan(city='San Jose', guided=True)", "trip.plan(city='San Jose', guided=False)", "trip.plan(city='San Jose', guided=1)",
    "trip.plan(city='San Jose', stops=['old town', 'museum'])", "trip.plan(city='San Jose', stops=['museum', 'old town'])", "trip.plan(city='San Jose', stops=('Old Town', 'Museum'))",
    "trip.plan(city='San Jose', stops=[1])", "trip.plan(city='San Jose', stops='Old Town')", "trip.plan(city='San Jose', box=(1.5, 2.0))", "trip.plan(city='San Jose', box=[1.5, 2.0])", "trip.plan(city='San Jose', box=(1.5, 2))",
    "trip.plan(city='San Jose', who={'name': 'ann'})", "trip.plan(city='San Jose', who={'name': 'Ann', 'age': 40})", "trip.plan(city='San Jose', who={'age': 40})", "trip.plan(city='San Jose', who={'name': 'Ann', 'x': 1})",
    "trip.plan(city='San Jose', rooms=[{'beds': 2}, {'beds': 1}])", "trip.plan(city='San Jose', rooms=[{'beds': 1}, {'beds': 2}])", "trip.plan(city='San Jose', rooms=[{'beds': 2}])", "trip.plan(city='San Jose', note='SOFT-BED')",
    "trip.plan(city='San Jose', note=user_note)", "trip.plan(city='San Jose', note=5)", "trip.plan(city='San Jose', extra=1)", "[trip.plan(city='San Jose'), trip.plan(city='San Jose')]", "[]", "'trip.plan(city=\"San Jose\")'", "trip.plan(city=None)", "trip.plan(city=-1)",
]
PARALLEL = ["[add(a=1, b=2), add(a=3, b=4)]", "[add(a=3, b=4), add(a=1, b=2)]", "[add(a=1, b=2), add(a=1, b=2)]", "[add(a=1, b=2)]", "[add(a=True, b=2), add(a=3, b=4)]"]
MULTIPLE = ["add(a=1, b=2)", "add(a=2, b=1)", "trip.plan(city='San Jose')", "[add(a=1, b=2), add(a=1, b=2)]"]
GROUPS = [("simple_python", [TRIP], [TRIP_ANSWER], SIMPLE), ("parallel", [SUM], [ADD(1, 2), ADD(3, 4)], PARALLEL), ("multiple", [TRIP, SUM], [ADD(1, 2)], MULTIPLE)]

if __name__ == "__main__":
    groups = []
    for category, functions, answers, texts in GROUPS:
        verdicts = [int(checker.ast_checker(functions, calls(text), answers, enums.Language.PYTHON, category, "m")["valid"]) for text in texts]
        groups.append({"id": f"{category}_0", "function": functions, "ground_truth": answers, "calls": texts, "valid": verdicts})
    (HERE / "bfcl.json").write_text(json.dumps(groups, indent=1) + "\n")
