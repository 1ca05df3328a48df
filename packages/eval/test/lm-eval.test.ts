import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ChatMessage, ContinuationScore, Generator, Prompt, RollingScorer, Scorer } from '@posttrain/interfaces';
import { afterAll, describe, expect, it } from 'vitest';
import { evalCommand } from '../src/command/eval-command.js';
import {
  type EvalResult,
  evaluate,
  LmEvalFunction,
  type LmEvalGroupConfig,
  type LmEvalProblem,
  type LmEvalTaskConfig,
  type LmEvalTaskOptions,
  lmEvalGroupMetrics,
  lmEvalKind,
  lmEvalTask,
  readLmEvalConfig,
  readLog,
  resolveLmEvalTasks,
} from '../src/index.js';
import { literalEval, parsePython } from '../src/python/expression.js';
import { findAll, pythonPattern } from '../src/python/pattern.js';
import { testTaskKind } from '../src/testing/index.js';

const folder = new URL('../../../goldens/lm-eval/', import.meta.url);
const read = (name: string): unknown => JSON.parse(readFileSync(new URL(name, folder), 'utf8'));
interface Run {
  readonly task: string;
  readonly num_fewshot?: number;
  readonly fewshot_random_seed?: number;
  readonly system_instruction?: string;
  readonly apply_chat_template?: boolean;
  readonly fewshot_as_multiturn?: boolean;
  readonly samples: Readonly<
    Record<string, readonly { doc: number; filter: string; arguments: unknown[][]; values: Record<string, unknown> }[]>
  >;
  readonly results: Readonly<Record<string, Readonly<Record<string, number | string>>>>;
}
const runs = read('expected.json') as readonly Run[];
const data = read('data.json') as Readonly<Record<string, Readonly<Record<string, readonly object[]>>>>;

const draw = (...texts: readonly string[]): number =>
  createHash('sha256').update(texts.join('\0')).digest().readUInt32LE(0);

const rendered = (prompt: Prompt, prefix?: string): string => {
  if (typeof prompt === 'string') return prompt;
  const turns = prefix === undefined ? prompt : [...prompt, { role: 'assistant', content: prefix }];
  return (
    turns.map(({ role, content }: ChatMessage) => `<${role}>${content}`).join('') +
    (prefix === undefined ? '<assistant>' : '')
  );
};

/** The stand-in of `goldens/lm-eval/make.py`: a function of what it is asked. */
function standIn(asked: string[][] = []): Generator & Scorer & RollingScorer {
  const score = (context: string, continuation: string): ContinuationScore => {
    const number = draw(context, continuation);
    return { logProb: -(number % 10007) / 1000 - 0.5, tokens: 1, isGreedy: number % 3 === 0 };
  };
  const answer = (context: string, place: number): string => {
    const number = draw(context, String(place));
    const numbers = (context.match(/\d+/g) ?? []).map(Number);
    const total = numbers.slice(-2).reduce((sum, one) => sum + one, 0) + (number % 2 ? 0 : Math.floor(number / 2) % 3);
    const forms = [
      `Let me see.\n#### ${total}`,
      `It is $${total.toLocaleString('en-US')}.`,
      ` (B), or ${total}.`,
      'The answer: Salt',
      `blue ${total}`,
    ];
    return forms[Math.floor(number / 7) % forms.length]!;
  };
  return {
    name: 'stand-in',
    async generate(requests) {
      return requests.map(({ prompt, prefix, n = 1 }) => {
        const context = rendered(prompt, prefix);
        asked.push([context]);
        return Array.from({ length: n }, (_, i) => ({
          text: answer(context, i),
          finishReason: 'stop',
          usage: { promptTokens: 1, completionTokens: 1 },
        }));
      });
    },
    async score(requests) {
      return requests.map(({ prompt, continuation }) => {
        const context = prompt === '' ? '' : rendered(prompt);
        asked.push([context, continuation]);
        return score(context, continuation);
      });
    },
    async scoreRolling(texts) {
      return texts.map((text) => {
        asked.push([text]);
        return score('', text);
      });
    },
  };
}

type Docs = readonly { readonly question: string; readonly answer: string }[];
const functions = {
  'utils.process_docs': (docs: Docs) => docs.map((doc) => ({ ...doc, question: doc.question.toUpperCase() })),
  'utils.doc_to_text': ({ question }: Docs[number]) => `${question} =`,
  'utils.process_results': ({ answer }: Docs[number], [said]: readonly string[]) => {
    const found = said!.match(/\d+/g);
    const distance = found ? Math.abs(Number(found.at(-1)) - Number(answer.split('#### ')[1])) : 100;
    return { distance, near: Number(distance < 3) };
  },
  'utils.largest': (values: readonly number[]) => Math.max(...values),
};

const files = readdirSync(new URL('tasks/', folder)).filter((name) => name.endsWith('.yaml') && name !== 'base.yaml');
const readAll = () =>
  Promise.all(files.map((name) => readLmEvalConfig(fileURLToPath(new URL(`tasks/${name}`, folder)))));
const optionsOf = (config: LmEvalTaskConfig, run: Partial<Run> = {}): LmEvalTaskOptions => ({
  splits: data[config.dataset_path!]!,
  functions,
  bootstrapIterations: 100,
  ...(run.num_fewshot !== undefined && { numFewshot: run.num_fewshot }),
  ...(run.fewshot_random_seed !== undefined && { fewshotSeed: run.fewshot_random_seed }),
  ...(run.system_instruction !== undefined && { systemInstruction: run.system_instruction }),
  ...(run.apply_chat_template && { chat: run.fewshot_as_multiturn ? ('multiturn' as const) : ('turn' as const) }),
});

describe('tasks of lm-evaluation-harness: the same prompts, values and results', () => {
  it.each(
    runs.map(
      (run) =>
        [
          `${run.task} ${JSON.stringify({ ...run, task: undefined, samples: undefined, results: undefined })}`,
          run,
        ] as const,
    ),
  )('%s', async (_, run) => {
    const { tasks, groups } = resolveLmEvalTasks(run.task, await readAll());
    const results: Record<string, EvalResult<LmEvalProblem>> = {};
    for (const config of tasks) {
      const asked: string[][] = [];
      const result = await evaluate(lmEvalTask(config, optionsOf(config, run)), standIn(asked), { batchSize: 3 });
      results[config.task] = result;
      const samples = run.samples[config.task] ?? [];
      const filters = [...new Set(samples.map(({ filter }) => filter))];
      if (samples.length > 0) {
        const prompts = samples.filter(({ filter }) => filter === filters[0]).flatMap((sample) => sample.arguments);
        expect(asked).toEqual(prompts);
      }
      for (const { doc, filter, values } of samples) {
        const ours = result.problems[doc]!.values[filter]!;
        expect(Object.keys(ours).sort(), `${doc} ${filter}`).toEqual(Object.keys(values).sort());
        for (const [name, value] of Object.entries(values)) expectClose(ours[name], value);
      }
      const expected = run.results[config.task]!;
      for (const { metric, grader, value, standardError } of result.metrics) {
        expect(value).toBeCloseTo(expected[`${metric},${grader}`] as number, 10);
        const theirs = expected[`${metric}_stderr,${grader}`];
        if (theirs === 'N/A') expect(standardError).toBeNull();
        else expect(standardError).toBeCloseTo(theirs as number, 10);
      }
      expect(result.metrics).toHaveLength(Object.keys(expected).length / 2);
    }
    for (const group of groups) {
      const expected = run.results[group.group]!;
      const ours = lmEvalGroupMetrics(group, results);
      expect(ours).toHaveLength(Object.keys(expected).length / 2);
      for (const { metric, filter, value, standardError } of ours) {
        expect(value).toBeCloseTo(expected[`${metric},${filter}`] as number, 10);
        expect(standardError).toBeCloseTo(expected[`${metric}_stderr,${filter}`] as number, 10);
      }
    }
  });

  function expectClose(ours: unknown, theirs: unknown): void {
    if (Array.isArray(theirs)) {
      expect(ours).toHaveLength(theirs.length);
      theirs.forEach((one, i) => {
        expectClose((ours as unknown[])[i], one);
      });
    } else if (typeof theirs === 'number') expect(ours).toBeCloseTo(theirs, 10);
    else expect(ours).toEqual(theirs);
  }
});

const sums: LmEvalTaskConfig = { task: 'sums', test_split: 'test', doc_to_text: 'question', doc_to_target: 'answer' };
testTaskKind(it, lmEvalKind, {
  task: () => lmEvalTask(sums, { splits: data.sums! }),
  model: () => standIn(),
});

describe('what is not carried over is refused by name', () => {
  const base: LmEvalTaskConfig = { task: 't', test_split: 'test', doc_to_text: 'question', doc_to_target: 'answer' };
  const splits = {
    test: [{ question: 'q', answer: 'a', choices: ['a', 'b'] }],
    short: [{ question: 'p', answer: 'b' }],
  };
  const cases: readonly [string, object, RegExp][] = [
    ['a key that is not known', { docs_to_text: 'x' }, /unknown option "docs_to_text".*Did you mean "doc_to_text"/s],
    ['a Python class', { class: 'x' }, /Python class is not run/],
    ['programs', { unsafe_code: true }, /sandbox/],
    ['an output type', { output_type: 'guess' }, /output_type is "guess"/],
    ['a split that is not given', { test_split: 'valid' }, /test_split is "valid".*test, short/s],
    ['no split', { test_split: undefined }, /neither a test_split/],
    ['a function', { doc_to_text: new LmEvalFunction('utils.f') }, /utils\.f, which is not run/],
    ['a metric', { metric_list: [{ metric: 'rouge' }] }, /the metric "rouge" of generate_until/],
    [
      'an argument of a metric',
      { metric_list: [{ metric: 'exact_match', hf_evaluate: true }] },
      /no argument "hf_evaluate"/,
    ],
    ['an aggregation', { metric_list: [{ metric: 'exact_match', aggregation: 'mode' }] }, /the aggregation "mode"/],
    ['a filter', { filter_list: [{ name: 'f', filter: [{ function: 'spacy' }] }] }, /"spacy" is no filter/],
    [
      'an argument of a filter',
      { filter_list: [{ name: 'f', filter: [{ function: 'regex', pattern: 'x' }] }] },
      /unknown option "pattern"/,
    ],
    ['a sampler', { fewshot_config: { sampler: 'balanced' } }, /sampler "balanced"/],
    ['more examples than rows', { num_fewshot: 3, fewshot_split: 'short' }, /shows 3 examples, and there are 1 rows/],
    ['a setting of generation', { generation_kwargs: { num_beams: 4 } }, /generation_kwargs\.num_beams/],
    ['an undefined variable', { doc_to_text: '{{nothing}}' }, /'nothing' is undefined/],
    [
      'filters of scores',
      { output_type: 'multiple_choice', doc_to_choice: 'choices', repeats: 2 },
      /what is generated/,
    ],
  ];
  it.each(cases)('%s', (_, change, message) => {
    expect(() => lmEvalTask({ ...base, ...change }, { splits })).toThrow(message);
  });

  it.each([
    [
      'filters that end in a list',
      { filter_list: [{ name: 'f', filter: [{ function: 'lowercase' }] }] },
      /add take_first/,
    ],
    [
      'a match that is not there',
      {
        filter_list: [
          {
            name: 'f',
            filter: [{ function: 'regex', regex_pattern: '.', group_select: 900 }, { function: 'take_first' }],
          },
        ],
      },
      /group_select is 900/,
    ],
    [
      'a choice that is not there',
      { output_type: 'multiple_choice', doc_to_choice: 'choices', doc_to_target: 'question' },
      /the right choice is "q"/,
    ],
  ] as const)('%s', async (_, change, message) => {
    await expect(
      evaluate(lmEvalTask({ ...base, ...change } as LmEvalTaskConfig, { splits }), standIn()),
    ).rejects.toThrow(message);
  });

  it('a name that is nowhere, a group that holds itself', () => {
    const group = (name: string, task: string): LmEvalGroupConfig => ({ group: name, task: [task] });
    expect(() => resolveLmEvalTasks('x', [])).toThrow(/no task, group or tag "x"/);
    expect(() => resolveLmEvalTasks('a', [group('a', 'b'), group('b', 'a')])).toThrow(/holds itself/);
  });
});

describe("Python's patterns and expressions", () => {
  it.each([
    ['(?s).*#### ', 'a\nb #### 4', ['a\nb #### ']],
    ['(?i)answer\\s*:\\s*([^\\n]+)', 'ANSWER: B\nx', ['B']],
    ['\\bno\\b', 'no, noé no', ['no', 'no']],
    ['x{,2}$', 'axx\n', ['xx', '', '']],
    ['[]\\-a]+', 'b]-a', [']-a']],
    ['(?P<q>[\'"]).*?(?P=q)', `"it's" 'x'`, ['"', "'"]],
    ['(a)|(b)', 'ab', ['a', 'b']],
    ['\\d+', '४2', ['४2']],
  ] as const)('%s', (pattern, text, found) => {
    expect(findAll(pythonPattern(pattern), text)).toEqual(found);
  });

  it.each(['a++', '(?>a)', '(?x)a', '(?(1)a)', '\\q', '[a', '(?i:a)'])('refuses %s', (pattern) => {
    expect(() => pythonPattern(pattern)).toThrow(/of Python/);
  });

  it('reads literals and calls, and nothing that runs', () => {
    expect(literalEval(`['a', "it's", 1_0, -2.5, None, True, ('x',), {'k': [0x10]}, 'a' r'\\n']`)).toEqual([
      'a',
      "it's",
      10,
      -2.5,
      null,
      true,
      ['x'],
      { k: [16] },
      'a\\n',
    ]);
    expect(parsePython('f(1, b=g.h())')).toMatchObject({ kind: 'call', name: 'f', named: [['b', { name: 'g.h' }]] });
    for (const text of ['1 + 1', '[x for x in y]', 'f(a=1, 2)', "f'x'", '[1 2]', '(', '"a', "'\\Uffffffff'"])
      expect(() => literalEval(text), text).toThrow(/expression of Python/);
  });
});

describe('posttrain-eval run with task files of lm-evaluation-harness', () => {
  const place = mkdtempSync(join(tmpdir(), 'posttrain-run-yaml-'));
  afterAll(() => rmSync(place, { recursive: true }));
  const tasks = fileURLToPath(new URL('tasks', folder));
  const command = async (...given: string[]) => {
    let [out, err] = ['', ''];
    const context = {
      print: (text: string) => {
        out += text;
      },
      complain: (text: string) => {
        err += text;
      },
      ...{ environment: {}, folder: place },
    };
    return { code: await evalCommand(['run', ...given], context), out, err };
  };
  const write = (name: string, text: string) => {
    mkdirSync(dirname(join(place, name)), { recursive: true });
    writeFileSync(join(place, name), text);
  };
  for (const split of ['train', 'test'])
    write(`${split}.jsonl`, data.sums![split]!.map((row) => `${JSON.stringify(row)}\n`).join(''));
  (globalThis as { standIn?: unknown }).standIn = standIn();
  write('model.mjs', 'export const model = globalThis.standIn;');
  const splits = ['--split', 'train=train.jsonl', '--split', 'test=test.jsonl'];
  const metricsOf = async (log: string) => (await readLog(join(place, log))).metrics;

  it('asks a file, or a task of a folder, what lmEvalTask asks', async () => {
    const configs = await readAll();
    const wanted = async (name: string, given: Partial<Run> = {}) => {
      const config = configs.find((one) => one.task === name) as LmEvalTaskConfig;
      const { bootstrapIterations: _, ...options } = optionsOf(config, given);
      return (await evaluate(lmEvalTask(config, options), standIn())).metrics;
    };
    const sums = await command(join(tasks, 'sums.yaml'), ...splits, '--module', 'model.mjs', '--log', 'sums.jsonl');
    expect(sums).toMatchObject({ code: 0, err: '' });
    expect(await metricsOf('sums.jsonl')).toEqual(await wanted('sums'));
    const one = [
      '--task',
      'sums_vote',
      ...splits,
      '--num-fewshot',
      '1',
      '--module',
      'model.mjs',
      '--log',
      'vote.jsonl',
    ];
    expect(await command(tasks, ...one)).toMatchObject({ code: 0, err: '' });
    expect(await metricsOf('vote.jsonl')).toEqual(await wanted('sums_vote', { num_fewshot: 1 }));
  });

  it('runs a group whose rows are files of its own, with a model folder', async () => {
    const body =
      'dataset_path: json\noutput_type: multiple_choice\ntest_split: test\ndoc_to_text: "{{q}}"\ndoc_to_choice: ["yes", "no"]\ndoc_to_target: a\n';
    for (const name of ['one', 'two'])
      write(`own/${name}.yaml`, `task: ${name}\n${body}dataset_kwargs: { data_files: { test: ${name}.json } }\n`);
    write(
      'own/group.yaml',
      'group: both\ntask: [one, two]\naggregate_metric_list: { metric: acc, weight_by_size: true }\n',
    );
    write(
      'one.json',
      JSON.stringify([
        { q: 'x', a: 0 },
        { q: 'y', a: 1 },
        { q: 'z', a: 0 },
      ]),
    );
    write('two.json', JSON.stringify([{ q: 'x', a: 1 }]));
    write('node_modules/@posttrain/lm/package.json', '{"name":"@posttrain/lm","type":"module","exports":"./index.js"}');
    write(
      'node_modules/@posttrain/lm/index.js',
      `export const CausalLM = { load: async (folder) => ({ folder }) };
       export class LocalGenerator { constructor(model) { this.model = model; } }
       export class LocalScorer {
         name = 'local';
         async score(all) { return all.map(({ continuation }) => ({ logProb: continuation === ' yes' ? -1 : -2, tokens: 1, isGreedy: false })); }
       }`,
    );
    const { code, out, err } = await command(join('own', 'group.yaml'), '--folder', 'some-model');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    // "yes" is right for 2 of 3, and for none of 1.
    expect(out).toMatch(/both: acc \(none\) 0\.5/);
    expect((await metricsOf('logs/one-some-model.jsonl'))[0]!.value).toBeCloseTo(2 / 3, 12);
  });

  it('says what is missing, and where', async () => {
    const model = ['--module', 'model.mjs'];
    const says = async (wanted: RegExp, code: number, ...given: string[]) => {
      const found = await command(...given);
      expect(found.err).toMatch(wanted);
      expect(found.code).toBe(code);
    };
    const sums = join(tasks, 'sums.yaml');
    await says(
      /no rows of its split "test" of sums; nothing is downloaded: give them with --split test=/,
      1,
      sums,
      ...model,
    );
    await says(/--split takes NAME=FILE/, 2, sums, ...model, '--split', 'test.jsonl');
    await says(/own is a folder; name one of its tasks with --task/, 2, 'own', ...splits, ...model);
    await says(/neither a task nor a group/, 1, join(tasks, 'base.yaml'), ...splits, ...model);
    await says(/--split is for task files/, 2, 'model.mjs', ...splits, ...model);
    await says(/utils\.process_docs/, 1, join(tasks, 'own.yaml'), ...splits, ...model);
    write('bad.jsonl', '{"q": 1}\n{"q": \n');
    await says(/bad\.jsonl:2 is no JSON/, 1, sums, ...model, '--split', 'test=bad.jsonl');
    await says(/one of --folder FOLDER, --endpoint/, 2, sums, ...splits, ...model, '--folder', 'x');
  });
});

it('YAML whose aliases lead nowhere or multiply is refused by its file', async () => {
  const place = mkdtempSync(join(tmpdir(), 'posttrain-lm-eval-'));
  try {
    const file = join(place, 'task.yaml');
    const levels = ['b', 'c', 'd'].map((name, i) => `${name}: &${name} [${Array(10).fill(`*${'abc'[i]}`)}]`);
    for (const text of ['task: *nothing', ['a: &a [1, 1]', ...levels].join('\n')]) {
      writeFileSync(file, text);
      await expect(readLmEvalConfig(file)).rejects.toMatchObject({ code: 'LM_EVAL_TASK' });
    }
  } finally {
    rmSync(place, { recursive: true });
  }
});
