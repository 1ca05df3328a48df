"""Problems of reasoning-gym in our shapes, with its answers and what it scores of answers that are wrong: tasks.json.

A wrong answer is the answer with its first digit or letter exchanged. Where the shapes differ the problem is read out of the question.
"""

import json
import sys
import re
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from golden import output_folder  # noqa: E402

import reasoning_gym as rg

SIZE = 4


def bits(entry):
    return {"text": re.findall(r"alternating: ([01]+)", entry["question"])[-1]}


def path_grid(entry):
    names = {"O": 0, "X": 1, "*": 2, "#": 3}
    return {"grid": [[names[one] for one in row] for row in entry["metadata"]["matrix"]]}


def jug_moves(m):
    return {"capacities": m["puzzle"]["jug_capacities"], "target": m["puzzle"]["target"], "solution": ["fill A"]}


# Ours: the name of theirs, settings, and our problem of one of their entries.
TASKS = {
    "chainSum": ("chain_sum", {}, lambda e, m: {"terms": [int(t.replace(" ", "")) for t in re.findall(r"[-+]? ?\d+", m["expression"])]}),
    "gcd": ("gcd", {}, lambda e, m: {"numbers": m["numbers"]}),
    "lcm": ("lcm", {}, lambda e, m: {"numbers": m["numbers"]}),
    "primeFactorization": ("prime_factorization", {}, lambda e, m: {"number": m["number"]}),
    "fractionSimplification": ("fraction_simplification", {"styles": ("plain",)}, lambda e, m: {"numerator": m["numerator"], "denominator": m["denominator"]}),
    "countBits": ("count_bits", {}, lambda e, m: {"number": m["number"]}),
    "countPrimes": ("count_primes", {"max_n": 2000}, lambda e, m: {"start": m["start"], "end": m["end"]}),
    "baseConversion": ("base_conversion", {}, lambda e, m: {"value": m["decimal_value"], "from": m["source_base"], "to": m["target_base"]}),
    "complexArithmetic": ("complex_arithmetic", {"operations": ("+", "-", "*"), "operations_weights": [0.4, 0.3, 0.3]}, lambda e, m: {"left": [int(x) for x in m["num1"]], "right": [int(x) for x in m["num2"]], "operation": m["operation"]}),
    "brainfuck": ("bf", {}, lambda e, m: {"program": m["bf_program"]}),
    "letterCounting": ("letter_counting", {}, lambda e, m: {"words": m["span"], "letter": m["target_letter"]}),
    "caesarCipher": ("caesar_cipher", {}, lambda e, m: {"cipher": m["cipher_text"], "rotation": m["rotation"]}),
    "wordSorting": ("word_sorting", {}, lambda e, m: {"words": m["transformed_words"], "isRising": m["direction"] == "ascending"}),
    "wordSequenceReversal": ("word_sequence_reversal", {}, lambda e, m: {"words": m["words"]}),
    "ransomNote": ("ransom_note", {}, lambda e, m: {"note": m["ransom_note"], "magazine": m["magazine"]}),
    "isomorphicStrings": ("isomorphic_strings", {}, lambda e, m: {"first": m["words"][0], "second": m["words"][1]}),
    "groupAnagrams": ("group_anagrams", {}, lambda e, m: {"words": m["words"]}),
    "binaryAlternation": ("binary_alternation", {}, lambda e, m: bits(e)),
    "palindromeGeneration": ("palindrome_generation", {}, lambda e, m: {"letters": m["letters"], "solution": ""}),
    "abRewriting": ("ab", {}, lambda e, m: {"program": e["question"].split("following program:\n\n")[1].split("\n")[0].split()}),
    "rotateMatrix": ("rotate_matrix", {}, lambda e, m: {"matrix": m["matrix"], "turns": m["num_rotations"]}),
    "spiralMatrix": ("spiral_matrix", {}, lambda e, m: {"matrix": m["matrix"]}),
    "binaryMatrix": ("binary_matrix", {}, lambda e, m: {"matrix": m["matrix"]}),
    "gameOfLife": ("game_of_life", {"grid_size_x": 6, "grid_size_y": 6, "filled_cells_weights": 0.4, "simulation_steps": 2}, lambda e, m: {"board": json.loads(e["question"].split("\n\n")[-1].strip().rstrip(".")), "steps": 2}),
    "rottenOranges": ("rotten_oranges", {}, lambda e, m: {"matrix": m["matrix"]}),
    "largestIsland": ("largest_island", {}, lambda e, m: {"grid": m["grid"]}),
    "poolMatrix": ("pool_matrix", {}, lambda e, m: {"matrix": m["matrix"], "pool": m["pool_size"]} if m["pool_type"] == "max" else None),
    "shortestPath": ("shortest_path", {}, lambda e, m: path_grid(e)),
    "nQueens": ("n_queens", {}, lambda e, m: {"puzzle": [" ".join(row) for row in m["puzzle"]], "solution": []}),
    "miniSudoku": ("mini_sudoku", {}, lambda e, m: {"puzzle": m["puzzle"], "solution": m["solution"]}),
    "survo": ("survo", {}, lambda e, m: {"puzzle": m["puzzle"], "candidates": m["candidate_numbers"], "solution": m["solution"]}),
    "kakurasu": ("kakurasu", {}, lambda e, m: {"rows": m["row_sums"], "columns": m["col_sums"], "solution": m["solution"]}),
    "towerOfHanoi": ("tower_of_hanoi", {"min_disks": 2, "max_disks": 4, "min_pegs": 3, "max_pegs": 3}, lambda e, m: {"disks": m["num_disks"], "from": m["start_peg"], "to": m["target_peg"], "names": [str(i + 1) for i in range(m["num_disks"])]}),
    "jugs": ("jugs", {}, lambda e, m: jug_moves(m)),
    "puzzle24": ("puzzle24", {}, lambda e, m: {"numbers": m["numbers"], "target": 24, "solution": ""}),
    "courseSchedule": ("course_schedule", {}, lambda e, m: {"courses": len(m["courses"]), "needs": m["prerequisites"]}),
    "quantumLock": ("quantum_lock", {}, lambda e, m: {"buttons": [{"name": b["name"], "type": b["type"], "value": b["value"], "active": b["active_state"]} for b in m["buttons"]], "target": m["target_value"], "solution": m["solution_path"]} if m["initial_value"] == 0 and m["initial_state"] == "red" else None),
}


def mutant(answer):
    for place, letter in enumerate(answer):
        if letter.isdigit():
            return answer[:place] + str((int(letter) + 1) % 10) + answer[place + 1 :]
    for place, letter in enumerate(answer):
        if letter.isalpha():
            return answer[:place] + ("x" if letter != "x" else "y") + answer[place + 1 :]
    return answer + "1"


def main():
    found = {}
    for ours, (theirs, settings, problem_of) in TASKS.items():
        dataset = rg.create_dataset(theirs, seed=7, size=5 * SIZE, **settings)
        cases = []
        for entry in dataset:
            problem = problem_of(entry, entry["metadata"])
            if problem is None or len(cases) == SIZE:
                continue
            answer = str(entry["answer"])
            wrong = mutant(answer)
            cases.append(
                {
                    "problem": problem,
                    "answer": answer,
                    "score": dataset.score_answer(answer, entry),
                    "wrong": wrong,
                    "wrongScore": dataset.score_answer(wrong, entry),
                }
            )
        found[ours] = cases
    text = json.dumps(found, ensure_ascii=True, separators=(",", ":"))
    (output_folder(__file__) / "tasks.json").write_text(text + "\n")


main()
