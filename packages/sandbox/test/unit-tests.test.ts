import { evaluate, metricOf, passAtK } from '@posttrain/eval';
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
