import { PYTHON_APART } from './python-apart.js';

/** A program that runs one solution under its tests, and what it prints for those that pass. */
export interface Harness {
  readonly code: string;
  /** The nonces that the harness reads before it runs anything, and prints with each test that has passed. */
  readonly stdin: string;
}

/** How the languages run texts; each test gets the solution anew. */
const HARNESSES: Readonly<Record<string, (tests: string) => string>> = {
  python: (tests) => `
def harness():
    import json, sys, traceback
    nonce = sys.stdin.readline().strip()
    out, flush = sys.stdout.write, sys.stdout.flush
    tests = json.loads(${JSON.stringify(tests)})
    for i, test in enumerate(tests):
        try:
            exec(compile(test, 'solution.py', 'exec'), {'__name__': 'solution'})
        except BaseException:
            traceback.print_exc()
            continue
        out('\\n%s %d\\n' % (nonce, i))
        flush()
harness()
`,
  // An indirect eval sees the global scope only, so not the nonce. HumanEval-X asserts with console.assert, which must throw.
  javascript: (tests) => `
(async (tests, nonce, say, report, run) => {
  console.assert = require('assert').ok;
  for (let i = 0; i < tests.length; i++) {
    try {
      await run(tests[i]);
    } catch (error) {
      report(error);
      continue;
    }
    say('\\n' + nonce + ' ' + i);
  }
})(${tests}, readline(), print, console.error, eval);
`,
};

/** The languages that solutions can be tested in. */
export const TESTED_LANGUAGES = Object.keys(HARNESSES);

/**
 * The program that runs the solution in a process of its own, which knows neither the tests nor their nonces, one of each; `given` is what both sides have. Of Python.
 */
export function harnessApart(
  given: string,
  solution: string,
  tests: readonly string[],
  nonces: readonly string[],
): Harness {
  return {
    code: `${PYTHON_APART}\nmain(${pythonText(solution)})\n`,
    stdin: `${JSON.stringify([given, tests, nonces])}\n`,
  };
}

/** JSON's escapes are Python's, but for pairs of surrogates. */
const pythonText = (text: string): string => `json.loads(${JSON.stringify(JSON.stringify(text))})`;

/** The program that runs `solution` before each of `tests`. */
export function harnessOf(language: string, solution: string, tests: readonly string[], nonce: string): Harness {
  const programs = JSON.stringify(tests.map((test) => `${solution}\n${test}\n`));
  return { code: HARNESSES[language]!(programs), stdin: `${nonce}\n` };
}

/** How many different tests the output says have passed, each by its nonce. */
export function countPassed(stdout: string, nonces: readonly string[]): number {
  const passed = new Set<number>();
  for (const line of stdout.split('\n')) {
    const [word, index, ...more] = line.split(' ');
    const i = Number(index);
    if (word !== undefined && word === nonces[i] && more.length === 0) passed.add(i);
  }
  return passed.size;
}
