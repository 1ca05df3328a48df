import { codeBenchmark, evaluate, metricOf, passAtK } from '@posttrain/eval';
import {
  type Generator,
  type Sandbox,
  SandboxFailureError,
  type SandboxJob,
  type VerifyRequest,
} from '@posttrain/interfaces';
import { describe, expect, it } from 'vitest';
import { bubblewrap, codeBlocks, extractCode, quickjs, sandboxFor, unitTests } from '../src/index.js';
import { runPlain } from './plain.js';

const fence = '```';
const js = quickjs();
const python = bubblewrap();
const hasPython = (await python.probe()).ok && python.languages.includes('python');

describe('code of a completion', () => {
  const block = (language: string, code: string) => `${fence}${language}\n${code}\n${fence}`;
  it.each<[string, string, string, string]>([
    ['the block', `Here:\n${block('python', 'def f(): pass')}\nDone.`, 'python', 'def f(): pass'],
    ['the block without a word', block('', 'def f(): pass'), 'python', 'def f(): pass'],
    ['the last block', `${block('py', 'a = 1')}\n${block('py', 'a = 2')}`, 'python', 'a = 2'],
    [
      'the last that defines the entry point',
      `${block('py', 'def f(): pass')}\n${block('py', 'def f(): return 2')}\n${block('py', 'f()')}`,
      'python',
      'def f(): return 2',
    ],
    [
      'no block of another language',
      `${block('python', 'def f(): pass')}\n${block('bash', 'pip install f')}`,
      'python',
      'def f(): pass',
    ],
    ['a block that is cut off', `Sure.\n${fence}python\ndef f():\n    return 1`, 'python', 'def f():\n    return 1'],
    ['the whole text where there is none', '    return 1\n', 'python', '    return 1\n'],
    ['tildes and longer fences', `~~~~js\nf = ${fence}\n~~~~`, 'javascript', `f = ${fence}`],
    ['windows lines', `${fence}js\r\nconst f = 1;\r\n${fence}\r\n`, 'javascript', 'const f = 1;'],
    [
      'a function in JavaScript',
      `${block('js', 'const f = (a) => a;')}\n${block('js', 'f(1)')}`,
      'javascript',
      'const f = (a) => a;',
    ],
  ])('is %s', (_, text, language, code) => expect(extractCode(text, language, 'f')).toBe(code));

  it('takes linear time', () => {
    expect(codeBlocks(`${fence}\n`.repeat(50_001))).toHaveLength(25_001);
    expect(extractCode(`${'`'.repeat(200_000)}\n`, 'python', '('.repeat(1000))).toBe('');
  });
});

/** What each language calls the parts of one problem: HumanEval's fields. */
const problems = {
  python: {
    row: {
      prompt:
        'from math import floor\n\ndef helper(x):\n    return floor(x)\n\ndef add(a, b):\n    """Adds.\n    >>> add(1, 2)\n    3\n    """\n',
      test: 'def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(-1, 1) == 0\n',
      entry_point: 'add',
    },
    right: '    return helper(a) + b\n',
    whole: 'def add(a, b):\n    return helper(a) + b',
    wrong: '    return a - b\n',
    loops: '    while True: pass\n',
    breaks: '    return a +\n',
    leaves: '    import os; os._exit(0)\n',
    exits: 'import sys\ndef add(a, b): return 0\nsys.exit(0)',
    says: 'print("passed"); print(open("main.py").read())\ndef add(a, b): return 0',
    list: [
      'assert add(1, 2) == 3',
      'assert add(2, 2) == 5',
      'import math\nassert math.isclose(add(1, 0.5), 1.5)',
      'add(1)',
    ],
  },
  javascript: {
    row: {
      prompt: 'const helper = (x) => Math.floor(x);\n\n/** Adds. */\nfunction add(a, b) {\n',
      test: "const assert = require('node:assert');\nfunction check(candidate) {\n  assert.deepEqual(candidate(1, 2), 3);\n  console.assert(candidate(-1, 1) === 0);\n}\n",
      entry_point: 'add',
    },
    right: '  return helper(a) + b;\n}\n',
    whole: 'const add = (a, b) => helper(a) + b;\nmodule.exports = add;',
    wrong: '  return a - b;\n}\n',
    loops: '  for (;;);\n}\n',
    breaks: '  return a +;\n}\n',
    leaves: '  throw 0;\n}\n',
    exits: 'const add = () => 0; throw undefined;',
    says: 'print("passed"); print(globalThis.nonce, readline()); const add = () => 0;',
    list: [
      "require('assert').equal(add(1, 2), 3)",
      'console.assert(add(2, 2) === 5)',
      '(async () => { await 0; if (add(1, 1) !== 2) throw 1; })()',
      '(async () => { await 0; throw new Error("late"); })()',
    ],
  },
} as const;

describe.each(['javascript', 'python'] as const)('unit tests in %s', (language) => {
  const { row, list, ...completions } = problems[language];
  const sandbox = language === 'python' ? python : js;
  const limits = { wallMs: 4000, cpuMs: 4000 };
  const inFence = (code: string) => `I think so:\n${fence}${language}\n${code}\n${fence}\nIt adds.`;
  const grade = async (completion: string, more: object = {}, options: object = {}) => {
    const verifier = unitTests({ sandbox, language, limits, ...options });
    return (await verifier.verify([{ prompt: row.prompt, completion, row: { ...row, ...more } }]))[0]!;
  };
  const ours = it.skipIf(language === 'python' && !hasPython);

  ours.each<[string, string, number, RegExp]>([
    ['a right continuation', completions.right, 1, /all 1 passed/],
    ['a right continuation in a block', inFence(completions.right), 1, /all 1 passed/],
    ['a whole function in a block, with the helpers of its prompt', inFence(completions.whole), 1, /all 1 passed/],
    ['a wrong one', completions.wrong, 0, /AssertionError/],
    ['an endless one', completions.loops, 0, /stopped: (wall|cpu)-time/],
    ['one that does not parse', completions.breaks, 0, /SyntaxError/],
    ['one that leaves in the function', completions.leaves, 0, /0 of 1/],
    ['one that leaves before the tests', inFence(completions.exits), 0, /0 of 1/],
    ['one that says it has passed', inFence(completions.says), 0, /0 of 1/],
    ['no code', 'I cannot do that.', 0, /SyntaxError/],
  ])('grade %s', async (_, completion, score, explanation) => {
    const verdict = await grade(completion);
    expect(verdict.explanation).toMatch(explanation);
    expect(verdict.score).toBe(score);
  });

  ours.each([
    ['all', 0],
    ['fraction', 0.5],
  ] as const)('score %s of a list of tests', async (score, expected) => {
    const verdict = await grade(inFence(completions.whole), { test: list }, { score });
    expect(verdict.score).toBe(expected);
    expect(verdict.explanation).toMatch(/2 of 4 passed/);
  });

  ours('grade many at a time, in order', async () => {
    const requests = [completions.right, completions.wrong, completions.right].map(
      (completion): VerifyRequest => ({ prompt: '', completion, row }),
    );
    const verdicts = await unitTests({ sandbox, language, limits, concurrency: 2 }).verify(requests);
    expect(verdicts.map(({ score }) => score)).toEqual([1, 0, 1]);
  });

  ours('agree with the language itself', async (context) => {
    const code =
      language === 'python'
        ? `${row.prompt}${completions.right}${row.test}check(add)`
        : `${row.prompt}${completions.right}${row.test}check(add)`;
    const { exitCode, stderr } = await runPlain(language, code).catch(() => context.skip(`no ${language}`));
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  });
});

/** What a program may try instead of the task, each with whether it deceives tests that are one program with it. */
const CHEATS: Readonly<Record<string, readonly [code: string, together: boolean]>> = {
  'loops for ever': ['while True: pass', false],
  'sleeps for ever': ['import time\ntime.sleep(1e6)', false],
  'forks without end': ['import os\nwhile True:\n  try: os.fork()\n  except OSError: pass', false],
  'prints gigabytes': ["while True: print('x' * 1000000)", false],
  'leaves before the tests': ['import os, sys\ndef add(a, b): return 0\nos._exit(0)', false],
  'leaves as a success in the function': ['import sys\ndef add(a, b): sys.exit(0)', false],
  'reads the tests from files': [
    `
import glob, os, re
def add(a, b):
    places = glob.glob('/job/*') + glob.glob('/proc/*/fd/*') + glob.glob('/proc/*/cmdline') + glob.glob('/proc/*/environ')
    for place in places:
        if '/fd/' in place and not re.search(r'/fd/[012]$', place): continue
        try:
            text = os.read(os.open(place, os.O_RDONLY | os.O_NONBLOCK), 1 << 20).decode('utf-8', 'replace')
        except OSError: continue
        found = re.search(r'candidate\\(%d, %d\\)+ == (-?\\d+)' % (a, b), text)
        if found: return int(found[1])
    return None`,
    true,
  ],
  'is equal to everything': [
    'class All:\n  def __eq__(self, other): return True\n  __hash__ = None\ndef add(a, b): return All()',
    true,
  ],
  'finds the nonce in the frames and says that it has passed': [
    `
import os, sys
def add(a, b):
    frame = sys._getframe()
    while frame:
        nonce = frame.f_locals.get('nonce')
        if isinstance(nonce, str):
            os.write(1, ('\\n%s 0\\n' % nonce).encode())
            os._exit(0)
        frame = frame.f_back
    return None`,
    true,
  ],
  'replaces the check': [
    `
import builtins, gc, sys, types
def add(a, b):
    for one in gc.get_objects():
        if isinstance(one, types.FunctionType) and one.__name__ in ('check', 'main', 'harness'):
            one.__code__ = (lambda *a: None).__code__
    frame = sys._getframe(1)
    builtins.AssertionError = KeyError
    return 3`,
    false,
  ],
  'is a helper of the tests': [
    'seen = []\ndef helper(x):\n  seen.append(x)\n  return [3, 42][len(seen) - 1]\ndef add(a, b): return 0',
    true,
  ],
  'writes to the checker': [
    `
import os
def add(a, b):
    for place in ['/proc/%d/fd/1' % os.getppid(), '/proc/%d/mem' % os.getppid()]:
        try:
            open(place, 'r+b').write(b'\\nx 0\\n')
            os.write(1, b'ESCAPED')
        except OSError: pass
    return 0`,
    false,
  ],
  'kills the checker': ['import os\ndef add(a, b): os.kill(os.getppid(), 9)', false],
};

describe('programs that cheat', () => {
  const row = {
    prompt: 'def helper(x):\n    return x\n\ndef add(a, b):\n',
    test: 'def check(candidate):\n    assert helper(candidate(1, 2)) == 3\n    assert helper(candidate(40, 2)) == 42\n',
    entry_point: 'add',
  };
  const limits = { wallMs: 3000, cpuMs: 2000, outputBytes: 2 ** 16 };
  /** The scores of all cheats, by name. */
  const graded = async (names: readonly string[], checker: 'apart' | 'together') => {
    const verifier = unitTests({ sandbox: python, language: 'python', limits, checker });
    const requests = names.map((name): VerifyRequest => {
      const code = CHEATS[name]![0];
      const whole = code.includes('def add') ? code : `${code}\ndef add(a, b): return 0`;
      return { prompt: '', completion: `${fence}python\n${whole}\n${fence}`, row };
    });
    const verdicts = await verifier.verify(requests);
    return Object.fromEntries(names.map((name, i) => [name, verdicts[i]!] as const));
  };
  const names = Object.keys(CHEATS);

  it.skipIf(!hasPython)('fail and end', async () => {
    const started = performance.now();
    const verdicts = await graded(names, 'apart');
    expect(Object.entries(verdicts).filter(([, { score }]) => score !== 0)).toEqual([]);
    expect(JSON.stringify(verdicts)).not.toContain('ESCAPED');
    expect(performance.now() - started).toBeLessThan(60_000);
  });

  it.skipIf(!hasPython)('deceive where they are one program with the tests', async () => {
    const deceiving = names.filter((name) => CHEATS[name]![1]);
    const verdicts = await graded(deceiving, 'together');
    expect(Object.entries(verdicts).filter(([, { score }]) => score !== 1)).toEqual([]);
  });

  it.skipIf(!hasPython)('are not those that are right, whatever plain values they take and give', async () => {
    const tests = [
      'assert same([1, (2.5, None)]) == [1, (2.5, None)]',
      "assert same({'a': {1, 2}, 'b': b'x'}) == {'a': {1, 2}, 'b': b'x'}",
      'assert same(float("inf")) == float("inf") and same(2**100) == 2**100 and same(1j) == 1j',
      'import math\nassert math.isnan(same(float("nan")))',
      'assert list(same(iter(range(3)))) == [0, 1, 2] and same(range(3)) == range(3)',
      'x = [3, 1]\nsort(x)\nassert x == [1, 3]',
      'from fractions import Fraction\nassert same(Fraction(1, 3)) * 3 == 1',
      'try:\n  fails()\nexcept ValueError as error:\n  assert "no" in str(error)\nelse:\n  assert False',
      "assert same('\\u00e9\\U0001f600\\ud800') == '\\u00e9\\U0001f600\\ud800'",
      'assert same(True) is True and same(value=1) == 1',
    ];
    const completion = 'def same(value): return value\ndef sort(x): x.sort()\ndef fails(): raise ValueError("no")';
    const [verdict] = await unitTests({ sandbox: python, language: 'python' }).verify([
      { prompt: '', completion, row: { test: tests } },
    ]);
    expect(verdict!.explanation).toBe('all 10 passed');
  });

  it.skipIf(!hasPython)('gain nothing by ending an iteration, or a pipe that they read the output of', async () => {
    const code = `
import os, sys, threading
def steal():
    pipe, line = os.open('/proc/self/fd/1', os.O_RDONLY), b''
    while not line.endswith(b' 1\\n'): line += os.read(pipe, 1)
    nonce = line.split()[-2].decode()
    for i in range(3): os.write(1, ('\\n%s %d\\n' % (nonce, i)).encode())
if not hasattr(sys, 'thief'):
    sys.thief = threading.Thread(target=steal, daemon=True)
    sys.thief.start()
def ends(x): raise StopIteration
def waits(x):
    sys.thief.join(0.3)
    return x`;
    const test = ['assert all(map(lambda x: ends(x) == 7, [1, 2]))', 'assert waits(1) == 1', 'assert waits(1) == 2'];
    // What is in the pipe is read when the program has ended, so that the thief is always first.
    const piped = (job: SandboxJob) => {
      if (!('code' in job)) throw new TypeError('unit tests run code');
      const program = `p = subprocess.Popen([sys.executable, '-c', ${JSON.stringify(job.code)}], stdin=-1, stdout=-1, text=True)`;
      const rest = 'p.stdin.write(sys.stdin.read())\np.stdin.close()\np.wait()\nprint(p.stdout.read())';
      return python.run({ ...job, code: `import subprocess, sys\n${program}\n${rest}` });
    };
    const verifier = unitTests({ sandbox: { ...python, run: piped }, language: 'python', limits, score: 'fraction' });
    const [verdict] = await verifier.verify([{ prompt: '', completion: code, row: { test } }]);
    // The thief has taken the line of the only one that passes, which is not worth another.
    expect(verdict!.explanation).toMatch(/^[01] of 3 passed/);
  });

  it.skipIf(!hasPython)('and what gives no plain value is told so', async () => {
    const given = [{ prompt: '', completion: 'class A: pass\ndef f(): return A()', row: { test: 'assert f()' } }];
    const [verdict] = await unitTests({ sandbox: python, language: 'python' }).verify(given);
    expect(verdict).toMatchObject({
      score: 0,
      explanation: expect.stringMatching(/of type A, which is no plain data/),
    });
    expect(await unitTests({ sandbox: python, language: 'python', checker: 'together' }).verify(given)).toMatchObject([
      { score: 1 },
    ]);
    expect(() => unitTests({ sandbox: js, checker: 'apart' })).toThrow(/checker is "apart"; it must be "together"/);
  });

  it.skipIf(!hasPython)('do not count in pass@k of HumanEval’s and MBPP’s rows, from prompt to score', async () => {
    const humaneval = [{ task_id: 'Own/0', canonical_solution: '    return a + b\n', ...row }];
    const mbpp = [
      {
        task_id: 1,
        text: 'Write a function to add.',
        test_list: ['assert add(1, 2) == 3', 'assert add(2, 2) == 4'],
        test_setup_code: 'import math',
      },
    ];
    const asked: { readonly prompt: unknown; readonly stop: unknown }[] = [];
    const scripted = (answers: readonly string[]): Generator => ({
      name: 'scripted',
      generate: async (requests) =>
        requests.map(({ prompt, n = 1, stop: stops }) => {
          asked.push({ prompt, stop: stops });
          return Array.from({ length: n }, (_, i) => {
            // As an engine does: the text ends before the first that stops it.
            const ends = (stops ?? []).map((stop) => answers[i]!.indexOf(stop)).filter((at) => at >= 0);
            const text = answers[i]!.slice(0, Math.min(answers[i]!.length, ...ends));
            return { text, finishReason: 'stop' as const, usage: { promptTokens: 1, completionTokens: 1 } };
          });
        }),
    });
    const tail = '\nif __name__ == "__main__":\n    while True: pass\n';
    const bodies = ['\n    return a + b', '\n    return a - b', '\n    return b + a', '\n    import os; os._exit(0)'];
    const options = { samples: 4, k: [1, 2], form: 'continuation' } as const;
    const run = async (task: ReturnType<typeof codeBenchmark>, answers: readonly string[]) => {
      const result = await evaluate(task, scripted(answers));
      return [metricOf(result, 'pass@1').value, metricOf(result, 'pass@2').value];
    };
    const grader = unitTests({ sandbox: python, language: 'python', limits });
    const whole = (body: string) => `def add(a, b):${body}`;
    const list = unitTests({
      sandbox: python,
      language: 'python',
      limits,
      testColumn: 'test_list',
      setupColumn: 'test_setup_code',
    });
    // 2 of 4 are right: 1 − C(2, k) / C(4, k).
    for (const got of [
      await run(
        codeBenchmark('humaneval', humaneval, { grader, ...options }),
        bodies.map((body) => body + tail),
      ),
      await run(
        codeBenchmark('mbpp', mbpp, { grader: list, ...options }),
        bodies.map((body) => whole(body) + tail),
      ),
      await run(
        codeBenchmark('mbpp', mbpp, { grader: list, samples: 4, k: [1, 2] }),
        bodies.map((body) => `${fence}python\n${whole(body)}\n${fence}`),
      ),
    ]) {
      expect(got[0]).toBeCloseTo(1 / 2);
      expect(got[1]).toBeCloseTo(5 / 6);
    }
    expect(asked[0]).toEqual({
      prompt: row.prompt.trim(),
      stop: expect.arrayContaining(['\ndef', '\nif', '<file_sep>']),
    });
    expect(asked[1]).toMatchObject({ prompt: '"""\nWrite a function to add.\nassert add(1, 2) == 3\n"""\n' });
    expect(asked[2]).toMatchObject({ stop: undefined });
  });
});

describe('unit tests', () => {
  const request = { prompt: '', completion: 'x', row: { test: 'x' } };
  const fake = (run: Sandbox['run']): Sandbox => ({
    name: 'fake',
    languages: ['python'],
    commands: false,
    run,
    probe: () => Promise.reject(),
  });

  it.each<[string, object | undefined]>([
    ['no row', undefined],
    ['no column', { tests: 'x' }],
    ['no text', { test: 7 }],
    ['an empty list', { test: [] }],
    ['a list of other things', { test: ['x', 7] }],
  ])('are refused to a row with %s', async (_, row) => {
    const given = { ...request, row } as VerifyRequest;
    await expect(unitTests({ sandbox: js }).verify([given])).rejects.toThrow(/a row has no tests in its column "test"/);
  });

  it.each<[object, RegExp]>([
    [{ sandbox: js, language: 'python' }, /language is "python"/],
    [{ sandbox: {} }, /sandbox/],
    [{ sandbox: js, scores: 'all' }, /score/],
  ])('have no options %o', (options, message) => {
    expect(() => unitTests(options as Parameters<typeof unitTests>[0])).toThrow(message);
  });

  it('are no score where the sandbox fails, and end what else runs', async () => {
    const signals: (AbortSignal | undefined)[] = [];
    const sandbox = fake(async ({ signal }: SandboxJob) => {
      signals.push(signal);
      if (signals.length === 1) throw new SandboxFailureError('fake', 'down');
      return new Promise((_, reject) => signal!.addEventListener('abort', () => reject(signal!.reason)));
    });
    const verifier = unitTests({ sandbox, concurrency: 2 });
    await expect(verifier.verify([request, request, request])).rejects.toThrow(/down/);
    expect(signals).toHaveLength(2);
    expect(signals[1]!.aborted).toBe(true);
  });

  it('say what decides their scores', () => {
    const { settings } = unitTests({ sandbox: js, score: 'fraction', concurrency: 9 });
    expect(settings).toMatchObject({ sandbox: 'quickjs', score: 'fraction', testColumn: 'test' });
    expect(settings).not.toHaveProperty('concurrency');
  });

  it('put setup code before the solution', async () => {
    const verifier = unitTests({ sandbox: js, testColumn: 'test_list', setupColumn: 'test_imports' });
    const row = { test_list: ['if (f() !== 3) throw 1'], test_imports: ['const a = 1;', 'const b = 2;'] };
    const verdicts = await verifier.verify([{ prompt: '', completion: 'const f = () => a + b;', row }]);
    expect(verdicts[0]!.score).toBe(1);
  });

  it('grade with what the machine has', async () => {
    const verifier = unitTests({ sandbox: await sandboxFor({ language: 'javascript' }), language: 'javascript' });
    expect(
      await verifier.verify([
        { prompt: '', completion: 'const f = () => 1;', row: { test: 'if (f() !== 1) throw 1' } },
      ]),
    ).toMatchObject([{ score: 1 }]);
  });

  it('are a grader of eval', async () => {
    const answers = ['const f = () => 1;', 'const f = () => 2;', 'const f = () => 1;', 'no code'];
    const usage = { promptTokens: 1, completionTokens: 1 };
    const generator: Generator = {
      name: 'scripted',
      generate: async (requests) =>
        requests.map(({ n = 1 }) =>
          Array.from({ length: n }, (_, i) => ({ text: answers[i]!, finishReason: 'stop' as const, usage })),
        ),
    };
    const result = await evaluate(
      {
        type: 'generate',
        name: 'code',
        dataset: [{ question: 'Write f.', test: 'if (f() !== 1) throw 1' }],
        prompt: (row) => row.question,
        samples: 4,
        graders: [unitTests({ sandbox: js })],
        metrics: [passAtK(1), passAtK(2)],
      },
      generator,
    );
    // 1 - C(2, k) / C(4, k)
    expect(metricOf(result, 'pass@1').value).toBeCloseTo(1 / 2);
    expect(metricOf(result, 'pass@2').value).toBeCloseTo(5 / 6);
  });
});
