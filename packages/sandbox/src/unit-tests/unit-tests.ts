import { randomUUID } from 'node:crypto';
import {
  assertArgument,
  custom,
  type Given,
  type HasSettings,
  integer,
  OptionError,
  oneOf,
  options,
  type Read,
  type Sandbox,
  type SandboxLimits,
  type SandboxResult,
  text,
  type Verdict,
  type Verifier,
  type VerifyRequest,
} from '@posttrain/interfaces';
import { definitionOf, extractCode } from '@posttrain/interfaces/answers';
import { countPassed, harnessApart, harnessOf, TESTED_LANGUAGES } from './harness.js';

const isSandbox = (value: unknown) => typeof (value as Partial<Sandbox> | null)?.run === 'function';

const unitTestOptions = options('unitTests', {
  /** What runs completion and tests. */
  sandbox: custom<Sandbox>()('a Sandbox', isSandbox, { settings: ({ name }) => name }),
  /** `python` or `javascript`. Default: the sandbox's first language. */
  language: text({ optional: true }),
  /** Column of the tests: a text (HumanEval's `test`), or a list of texts (MBPP's `test_list`). Default `test`. */
  testColumn: text({ default: 'test' }),
  /** Column of the name that the tests are about; rows need not have it. Default `entry_point`. */
  entryPointColumn: text({ default: 'entry_point' }),
  /** Column of the code that a completion continues; rows need not have it. Default `prompt`. */
  promptColumn: text({ default: 'prompt' }),
  /** Column of code to run before the solution (MBPP's `test_setup_code`, `test_imports`). Default: none. */
  setupColumn: text({ optional: true }),
  /** `all`: 1 when all tests pass, else 0. `fraction`: how many of them pass. Default `all`. */
  score: oneOf(['all', 'fraction'], { default: 'all' }),
  /**
   * `apart`: the solution has a process of its own, which knows nothing of the tests, and only plain values (numbers, texts, lists, dicts, sets, dates and the like) go
   * between it and them, so that it cannot deceive them; a test of other objects fails, which its explanation says. Python only. `together`: tests and solution are one
   * program, as in the reference harnesses; code that sets out to deceive can. Default: `apart` for Python, else `together`.
   */
  checker: oneOf(['apart', 'together'], { optional: true }),
  /** Of one completion with all its tests. Default: the sandbox's. */
  limits: custom<SandboxLimits>()('an object', (value) => typeof value === 'object' && value !== null, { default: {} }),
  /** Completions that run at a time. Default 4. */
  concurrency: integer({ default: 4, min: 1, decisive: false }),
});
/** The options of `unitTests`. */
export type UnitTestsOptions = Given<typeof unitTestOptions>;

/**
 * A verifier that runs a completion's code under the tests of its row: 1 or 0, or the fraction of tests that pass. The code is
 * `extractCode`'s. Where it defines the row's entry point it stands alone, after what the row's prompt has above that (imports,
 * helpers); where it does not, it continues the prompt, as in HumanEval (arXiv 2107.03374). A test that defines `check` and
 * does not call it is called with the entry point. Each test runs with the solution anew.
 *
 * A test counts only when the harness came to its end: an early `exit(0)` is no success. In Python the solution has a process of its own (`checker`), so that an `__eq__` that
 * is always true, a walk through frames, a builtin that is replaced or a read of the tests gains nothing; where tests and solution are one program, it still can.
 *
 * `verify` rejects with what the sandbox throws when it cannot run, with OptionError for a row without tests; both are never a score.
 */
export function unitTests(given: UnitTestsOptions): Verifier & HasSettings & { readonly name: string } {
  const read = unitTestOptions.read(given);
  const { sandbox, language = sandbox.languages[0], concurrency } = read;
  const expects = `one of ${TESTED_LANGUAGES.join(', ')} that the sandbox has`;
  const isKnown = language !== undefined && TESTED_LANGUAGES.includes(language) && sandbox.languages.includes(language);
  assertArgument('unitTests', 'language', language, isKnown, expects);
  const canBeApart = language === 'python';
  const { checker = canBeApart ? 'apart' : 'together' } = read;
  assertArgument('unitTests', 'checker', checker, canBeApart || checker === 'together', `"together" for ${language}`);
  return {
    name: `unit tests (${language})`,
    settings: unitTestOptions.settings(given),
    async verify(requests) {
      const verdicts = new Array<Verdict>(requests.length);
      let next = 0;
      const stop = new AbortController();
      const work = async () => {
        while (next < requests.length && !stop.signal.aborted) {
          const i = next++;
          verdicts[i] = await grade(requests[i]!, { ...read, checker, language: language! }, stop.signal);
        }
      };
      const workers = Array.from({ length: Math.min(concurrency, requests.length) }, () =>
        work().catch((error: unknown) => {
          stop.abort(error);
          throw error;
        }),
      );
      // What runs is killed before the error is thrown, so that nothing outlives the call.
      const failed = (await Promise.allSettled(workers)).some(({ status }) => status === 'rejected');
      if (failed) throw stop.signal.reason;
      return verdicts;
    },
  };
}

type Settings = Read<typeof unitTestOptions> & { readonly language: string; readonly checker: 'apart' | 'together' };

async function grade(request: VerifyRequest, settings: Settings, stop: AbortSignal): Promise<Verdict> {
  const { language, limits, sandbox, score } = settings;
  const { given, solution, tests } = solutionOf(request, settings);
  const nonce = randomUUID();
  const nonces = tests.map(() => (settings.checker === 'apart' ? randomUUID() : nonce));
  const whole = `${given}\n${solution}`;
  const harness =
    settings.checker === 'apart' ? harnessApart(given, whole, tests, nonces) : harnessOf(language, whole, tests, nonce);
  const signal = request.signal ? AbortSignal.any([request.signal, stop]) : stop;
  const result = await sandbox.run({ language, ...harness, limits, signal });
  const passed = countPassed(result.stdout, nonces);
  const all = passed === tests.length;
  return {
    score: score === 'all' ? Number(all) : passed / tests.length,
    explanation: all ? `all ${tests.length} passed` : explain(result, passed, tests.length),
  };
}

/** What the row gives, the code to run behind it, and the tests as they are called. */
function solutionOf({ completion, row = {} }: VerifyRequest, settings: Settings) {
  const { entryPointColumn, language, promptColumn, setupColumn, testColumn } = settings;
  const column = row[testColumn];
  const tests = (Array.isArray(column) ? column : [column]).filter((test) => typeof test === 'string');
  if (tests.length === 0 || (Array.isArray(column) && tests.length < column.length)) {
    const message = `a row has no tests in its column "${testColumn}"; it has ${Object.keys(row).join(', ') || 'no columns'}.`;
    throw new OptionError('INVALID_OPTION', 'unitTests', 'testColumn', message);
  }
  const name = textOf(row[entryPointColumn]);
  const prompt = textOf(row[promptColumn]) ?? '';
  const setup = setupColumn === undefined ? '' : [row[setupColumn] ?? ''].flat().join('\n');
  const code = extractCode(completion, language, name);
  const { above, program } = name === undefined ? { above: '', program: code } : joined(prompt, code, name);
  return {
    given: `${setup}\n${above}`,
    solution: program,
    tests: name === undefined ? tests : tests.map((test) => called(test, name)),
  };
}

const textOf = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined);

/** What a prompt has above the definition, and the code; or the rest of the prompt and its continuation. */
function joined(prompt: string, code: string, name: string): { readonly above: string; readonly program: string } {
  const start = definitionOf(name, prompt);
  // A prompt in words has nothing to do with the program.
  if (start === undefined) return { above: '', program: code };
  const [above, begun] = [prompt.slice(0, start), prompt.slice(start)];
  return { above, program: definitionOf(name, code) === undefined ? begun + code : code };
}

/** HumanEval's tests define `check(candidate)` and leave the call to the harness. */
const called = (test: string, name: string) =>
  /^(?:def|function)\s+check\s*\(/m.test(test) && !/^check\s*\(/m.test(test) ? `${test}\ncheck(${name})` : test;

function explain({ exitCode, signal, stderr, stoppedBy }: SandboxResult, passed: number, tests: number): string {
  const end =
    stoppedBy !== null ? `stopped: ${stoppedBy}` : (signal ?? (exitCode === 0 ? '' : `exit code ${exitCode}`));
  return [`${passed} of ${tests} passed`, end, stderr.trim().slice(-500)].filter((part) => part !== '').join('; ');
}
