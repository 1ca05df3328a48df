import { readFileSync } from 'node:fs';
import type {
  Completion,
  Entailer,
  GenerateRequest,
  Generator,
  RollingScorer,
  Scorer,
  Verifier,
} from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { describe, expect, it } from 'vitest';
import { letterIs, textIs } from '../src/benchmarks/graders.js';
import { zeta } from '../src/generated/ruler/frequent-words.js';
import {
  arenaBattles,
  type BenchmarkName,
  babiInText,
  babiTasks,
  benchmarks,
  benchmarkTask,
  bradleyTerry,
  checkFunctionCalls,
  codeBenchmark,
  type EvalResult,
  evaluate,
  factScore,
  firstWrongStep,
  functionCalls,
  type GenerateTask,
  graphWalks,
  ifeval,
  ifevalChecks,
  instructionsFollowed,
  looseVersions,
  metricOf,
  needleInHaystack,
  type PreferenceProblem,
  parseFunctionCalls,
  preferenceKind,
  prmScore,
  processBench,
  processBenchF1,
  type RulerRow,
  type RulerTaskName,
  rewardBenchScore,
  rewardBenchSections,
  ruler,
  rulerTasks,
  SHOP_POLICY,
  shopTask,
  shopTools,
  stringMatch,
  toolAgent,
  toolCallsOf,
} from '../src/index.js';
import { testTaskKind } from '../src/testing/index.js';
import { fixtures } from './benchmark-fixtures.js';

/** Says what a function makes of the request. */
const scripted = (say: (request: GenerateRequest) => string): Generator => ({
  name: 'scripted',
  generate: async (requests) =>
    requests.map((request): Completion[] =>
      Array.from({ length: request.n ?? 1 }, () => ({
        text: say(request),
        finishReason: 'stop',
        usage: { promptTokens: 1, completionTokens: 1 },
      })),
    ),
});
const score = async <R extends object>(task: GenerateTask<R>, say: (request: GenerateRequest) => string) =>
  metricOf(await evaluate(task, scripted(say)), 'mean').value;

/** Tokens of a made-up tokenizer: words and marks. */
const countTokens = (text: string): number => text.match(/\w+|[^\w\s]/g)?.length ?? 0;

/** Answers RULER's questions by reading them, as somebody would who knows the forms. */
const RULER_SOLVERS: Readonly<Record<string, (text: string) => string>> = {
  niah: (text) => {
    const [, query] = /for (.+) mentioned in the provided text\?$/.exec(text)!;
    return query!
      .split(/, and |, /)
      .flatMap((key) => [...text.matchAll(new RegExp(`for ${key} is: (\\S+)\\.`, 'g'))].map(([, value]) => value))
      .join(', ');
  },
  vt: (text) => {
    const problem = text.slice(text.lastIndexOf('Memorize and track'));
    const [, value] = /assigned the value (\d+) in/.exec(problem)!;
    const found = new Set<string>();
    for (const [, name, of] of problem.matchAll(/VAR ([A-Z]+) = (?:VAR )?(\w+)/g))
      if (of === value || found.has(of!)) found.add(name!);
    return [...found].join(' ');
  },
  cwe: (text) => mostFrequent(text.slice(text.lastIndexOf('Below is')).match(/(?<=\d\. )\w+/g)!, 10),
  fwe: (text) =>
    mostFrequent(
      text
        .match(/\b[a-z]{6}\b(?=.*\nQuestion)/g)!
        .filter((word) => /^[a-z]{6}$/.test(word))
        .filter((_, __, all) => all.length > 0),
      3,
    ),
  qa: (text) => {
    const [, name] = /the founder of (\w+) Works/.exec(text) ?? [];
    const person = name
      ? new RegExp(`${name} Works is [\\s\\S]*?founded by (\\w+)`).exec(text)![1]!
      : /was (\w+) born\?/.exec(text)![1]!;
    return new RegExp(`${person} was born in (\\w+) in`).exec(text)![1]!;
  },
};
function mostFrequent(words: readonly string[], count: number): string {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([word]) => word)
    .join(' ');
}

describe('RULER', () => {
  const names = Object.keys(rulerTasks) as RulerTaskName[];
  it('has the 13 tasks of the paper', () => expect(names).toHaveLength(13));

  it.each(names)('%s: fills its length, is answered by reading, and not by a word', async (name) => {
    for (const length of [1024, 6000]) {
      const task = ruler(name, { length, countTokens, count: 4 });
      const rows = task.dataset as readonly RulerRow[];
      for (const { tokens, input, prefix } of rows) {
        expect(countTokens(input + prefix) + rulerTasks[name].tokens).toBe(tokens);
        expect(tokens).toBeLessThanOrEqual(length);
        expect(tokens).toBeGreaterThan(length * 0.88);
      }
      const solver = RULER_SOLVERS[name.split('_')[0]!]!;
      expect(await score(task, ({ prompt }) => solver(String(prompt)))).toBe(1);
      expect(await score(task, () => 'nothing')).toBe(0);
    }
  });

  it('is the same again for a seed, and another for another', () => {
    const of = (seed: number) => ruler('niah_multiquery', { length: 500, countTokens, count: 2, seed }).dataset;
    expect(of(1)).toEqual(of(1));
    expect(of(1)).not.toEqual(of(2));
  });

  it('takes an essay and questions of the user', async () => {
    const essay = ruler('niah_single_2', {
      length: 400,
      countTokens,
      count: 1,
      essay: 'One swallow came. Two more came!',
    });
    expect((essay.dataset as RulerRow[])[0]!.input).toContain('One swallow came. Two more came!');
    const questions = ['red', 'blue'].map((colour) => ({
      question: `Which one is ${colour}?`,
      answers: [colour],
      documents: [`It is ${colour}.`],
    }));
    const rows = ruler('qa_1', { length: 300, countTokens, count: 2, questions }).dataset as RulerRow[];
    expect(rows.map(({ outputs }) => outputs)).toEqual([['red'], ['blue']]);
  });

  it('string_match_all is a share, string_match_part any of them', async () => {
    const row = { outputs: ['Alpha', 'beta', 'gamma', 'delta'] };
    const request = { prompt: '', completion: 'ALPHA and gamma', row };
    expect((await stringMatch().verify([request]))[0]!.score).toBe(0.5);
    expect((await stringMatch({ mode: 'part' }).verify([request]))[0]!.score).toBe(1);
    await expect(stringMatch({ column: 'x' }).verify([request])).rejects.toThrow(/list of texts/);
  });

  it('ζ(2) is π²/6, and ζ(4) is π⁴/90', () => {
    expect(zeta(2)).toBeCloseTo(Math.PI ** 2 / 6, 12);
    expect(zeta(4)).toBeCloseTo(Math.PI ** 4 / 90, 12);
  });

  it('refuses a length that holds no problem', () => {
    expect(() => ruler('cwe', { length: 128, countTokens })).toThrow(
      /shortest problem has \d+ tokens, and "length" is 128/,
    );
  });
});

describe('other long texts', () => {
  it('needle in a haystack: at its depth, by length and depth', async () => {
    const task = needleInHaystack({ lengths: [300, 600], depths: [0, 0.5, 1], count: 2, countTokens });
    for (const { input, depth, tokens, length, outputs } of task.dataset as {
      input: string;
      depth: number;
      tokens: number;
      length: number;
      outputs: string[];
    }[]) {
      const context = input.split('\n\n')[1]!;
      expect(context.indexOf(outputs[0]!) / context.length).toBeCloseTo(depth, 0.7);
      expect(tokens).toBeLessThanOrEqual(length);
    }
    expect(await score(task, ({ prompt }) => /is (\d{7})\./.exec(String(prompt))![1]!)).toBe(1);
    const result = await evaluate(
      task,
      scripted(({ prompt }) => (String(prompt).length > 2200 ? '' : /\d{7}/.exec(String(prompt))![0])),
    );
    expect(metricOf(result, 'mean').value).toBe(0.5);
  });

  it("bAbI's stories: answers agree with a simulation that reads them", async () => {
    for (const task of ['qa1', 'qa2', 'qa3'] as const) {
      for (let i = 0; i < 200; i++) {
        const { facts, question, answer } = babiTasks[task](createRandom(5, task, i), 12);
        expect(readStory(facts, question), `${facts.join(' ')} ${question}`).toBe(answer);
      }
      const hidden = babiInText({ task, length: 700, countTokens, count: 3 });
      expect(
        await score(hidden, ({ prompt }) =>
          readStory(
            String(prompt)
              .split('\n\n')[1]!
              .split(/(?<=\.) /),
            /Question: (.*)/.exec(String(prompt))![1]!,
          ),
        ),
      ).toBe(1);
      expect(await score(hidden, () => 'the garden or the office')).toBe(0);
    }
  });

  /** Reads a story backwards from its sentences alone. */
  function readStory(facts: readonly string[], question: string): string {
    const at = new Map<string, string>();
    const holder = new Map<string, string>();
    const been = new Map<string, string[]>();
    const note = (thing: string, place: string) => {
      const places = been.get(thing) ?? [];
      if (places.at(-1) !== place) been.set(thing, [...places, place]);
    };
    for (const fact of facts) {
      const move = /^(Mary|John|Daniel|Sandra) (?:moved|went|journeyed|travelled) to the (\w+)\.$/.exec(fact);
      const take = /^(Mary|John|Daniel|Sandra) picked up the (\w+) there\.$/.exec(fact);
      const drop = /^(Mary|John|Daniel|Sandra) left the (\w+) there\.$/.exec(fact);
      if (move) {
        at.set(move[1]!, move[2]!);
        for (const [thing, person] of holder) if (person === move[1]) note(thing, move[2]!);
      } else if (take) {
        holder.set(take[2]!, take[1]!);
        note(take[2]!, at.get(take[1]!)!);
      } else if (drop) holder.delete(drop[2]!);
    }
    const before = /Where was the (\w+) before the (\w+)\?/.exec(question);
    if (before) {
      const places = been.get(before[1]!)!;
      return places[places.lastIndexOf(before[2]!) - 1]!;
    }
    const [, what] = /Where is (?:the )?(\w+)\?/.exec(question)!;
    return at.get(what!) ?? been.get(what!)!.at(-1)!;
  }

  it('GraphWalks: answers agree with powers of the adjacency matrix; F1 of sets', async () => {
    for (const problem of ['bfs', 'parents'] as const) {
      const task = graphWalks({ problem, length: 700, depth: 2, countTokens, count: 5 });
      for (const { edges, start, answer } of task.dataset as {
        edges: [string, string][];
        start: string;
        answer: string[];
      }[]) {
        const step = (from: ReadonlySet<string>) => new Set(edges.filter(([a]) => from.has(a)).map(([, b]) => b));
        const one = step(new Set([start]));
        const two = step(one);
        const expected =
          problem === 'parents'
            ? edges.filter(([, b]) => b === start).map(([a]) => a)
            : [...two].filter((node) => node !== start && !one.has(node));
        expect(new Set(answer)).toEqual(new Set(expected));
      }
      expect(await score(task, () => 'Final Answer: [x]')).toBe(0);
    }
    const [grader] = graphWalks({ length: 500, countTokens, count: 1 }).graders;
    const f1 = async (completion: string, answer: string[]) =>
      (await grader!.verify([{ prompt: '', completion, row: { answer } }]))[0]!.score;
    expect(await f1('So:\nFinal Answer: [a, b, c]', ['a', 'd'])).toBeCloseTo(2 / 5, 12);
    expect(await f1('Final Answer: []', ['a'])).toBe(0);
    expect(await f1('Final Answer: [a]\nThat is it.', ['a'])).toBe(0);
  });
});

const golden = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../../goldens/instructions/${name}`, import.meta.url), 'utf8'));

describe('IFEval', () => {
  const { answers, cases } = golden('ifeval.json') as {
    readonly answers: readonly string[];
    readonly cases: readonly { id: string; kwargs: Record<string, unknown>; strict: number[]; loose: number[] }[];
  };
  /** The stand-ins of `goldens/instructions/make.py`. */
  const tools = {
    sentences: (text: string) =>
      text
        .trim()
        .split(/(?<=[.!?])\s+/)
        .filter((one) => one !== ''),
    language: (text: string) => (!/[a-zA-Z]/.test(text) ? null : /\b(der|und|ist)\b/i.test(text) ? 'de' : 'en'),
  };

  it("says what its authors' checkers say, strict and loose, of all 25 kinds", async () => {
    expect(new Set(cases.map(({ id }) => id))).toEqual(new Set(Object.keys(ifevalChecks)));
    expect(new Set(cases.map(({ id }) => id)).size).toBe(25);
    const wrong: unknown[] = [];
    for (const { id, kwargs, ...expected } of cases) {
      const row = { prompt: 'Write a poem.', instruction_id_list: [id], kwargs: [kwargs] };
      for (const mode of ['strict', 'loose'] as const) {
        const verdicts = await instructionsFollowed(mode, tools).verify(
          answers.map((completion) => ({ prompt: '', completion, row })),
        );
        verdicts.forEach(({ score: ours }, i) => {
          if (ours !== expected[mode][i]) wrong.push({ id, kwargs, mode, answer: answers[i], ours });
        });
      }
    }
    expect(wrong).toEqual([]);
  });

  it('counts by prompt and by instruction', async () => {
    const rows = [
      { key: 1, prompt: 'a', instruction_id_list: ['punctuation:no_comma', 'startend:quotation'], kwargs: [{}, {}] },
      { key: 2, prompt: 'b', instruction_id_list: ['punctuation:no_comma'], kwargs: [{}] },
    ];
    const result = await evaluate(
      ifeval(rows),
      scripted(() => '*\nNo marks.'),
    );
    const of = (metric: string, grader: string) => metricOf(result, metric, grader).value;
    expect([of('prompt_level_acc', 'strict'), of('inst_level_acc', 'strict')]).toEqual([1 / 2, 2 / 3]);
    const quoted = await evaluate(
      ifeval(rows),
      scripted(() => 'Sure, here:\n"No marks."'),
    );
    expect(metricOf(quoted, 'prompt_level_acc', 'strict').value).toBe(0);
    expect(metricOf(quoted, 'prompt_level_acc', 'loose').value).toBe(1);
    expect(metricOf(quoted, 'inst_level_acc', 'loose').value).toBe(1);
  });

  it('strict never follows what loose does not; versions are eight', () => {
    expect(looseVersions('a\n*b*\nc')).toEqual([
      'a\n*b*\nc',
      'a\nb\nc',
      '*b*\nc',
      'b\nc',
      'a\n*b*',
      'a\nb',
      '*b*',
      'b',
    ]);
    for (const { strict, loose } of cases) expect(strict.every((one, i) => one <= loose[i]!)).toBe(true);
  });

  it.each([
    [
      'an instruction that is not known',
      { instruction_id_list: ['punctuation:no_commas'], kwargs: [{}] },
      /did you mean "punctuation:no_comma"/,
    ],
    [
      'a missing argument',
      { instruction_id_list: ['keywords:existence'], kwargs: [{ keyword: 'x' }] },
      /keywords must be a list/,
    ],
    [
      'a relation',
      { instruction_id_list: ['length_constraints:number_words'], kwargs: [{ num_words: 2, relation: 'more than' }] },
      /"less than" or "at least"/,
    ],
    [
      'a tool that is not given',
      {
        instruction_id_list: ['length_constraints:number_sentences'],
        kwargs: [{ num_sentences: 2, relation: 'at least' }],
      },
      /splitter of sentences/,
    ],
    [
      'a detector that is not given',
      { instruction_id_list: ['language:response_language'], kwargs: [{ language: 'de' }] },
      /detector of languages/,
    ],
    ['no arguments', { instruction_id_list: ['startend:quotation'] }, /"kwargs" with an object for each/],
  ])('refuses %s', async (_, row, message) => {
    await expect(instructionsFollowed('strict').verify([{ prompt: '', completion: 'x', row }])).rejects.toThrow(
      message,
    );
  });
});

describe('BFCL: calls by their syntax tree', () => {
  const groups = golden('bfcl.json') as readonly {
    id: string;
    function: object[];
    ground_truth: object[];
    calls: string[];
    valid: number[];
  }[];
  it("says what the leaderboard's checker says", async () => {
    for (const { calls, valid, ...row } of groups) {
      const verdicts = await functionCalls().verify(calls.map((completion) => ({ prompt: '', completion, row })));
      expect(calls.map((call, i) => [call, verdicts[i]!.score, verdicts[i]!.explanation])).toEqual(
        calls.map((call, i) => [call, valid[i], verdicts[i]!.explanation]),
      );
    }
  });

  it('the order of parallel calls and of arguments does not matter, and what is no call is wrong', async () => {
    const add = {
      name: 'add',
      parameters: { properties: { a: { type: 'integer' }, b: { type: 'integer' } }, required: ['a', 'b'] },
    };
    const answers = [1, 2, 3].map((a) => ({ add: { a: [a], b: [a + 1] } }));
    for (const order of [
      [0, 1, 2],
      [2, 0, 1],
      [1, 2, 0],
    ]) {
      const text = `[${order.map((i) => `add(b=${i + 2}, a=${i + 1})`).join(', ')}]`;
      expect(checkFunctionCalls('parallel', [add], parseFunctionCalls(text), answers)).toBeNull();
    }
    const row = { id: 'simple', function: [add], ground_truth: answers.slice(0, 1) };
    const scores = await functionCalls().verify(
      ['I would add them.', 'add(a=1, b=2', '{"a": 1}'].map((completion) => ({ prompt: '', completion, row })),
    );
    expect(scores.map(({ score: given }) => given)).toEqual([0, 0, 0]);
    await expect(functionCalls().verify([{ prompt: '', completion: 'f()', row: {} }])).rejects.toThrow(
      /"function" and "ground_truth"/,
    );
  });
});

/** Likes texts with one word, and choices of one place. */
const fond = (word: string): Verifier => ({
  name: 'fond',
  verify: async (requests) => requests.map(({ completion }) => ({ score: completion.includes(word) ? 1 : 0 })),
});
const choosing = (texts: ReadonlySet<string>): Scorer & RollingScorer => ({
  name: 'choosing',
  score: async (requests) =>
    requests.map(({ continuation }) => ({
      logProb: texts.has(continuation.trim()) ? -1 : -9,
      tokens: 1,
      isGreedy: false,
    })),
  scoreRolling: async (texts) => texts.map((text) => ({ logProb: -text.length, tokens: 1, isGreedy: false })),
});

describe('families of benchmarks', () => {
  const names = Object.keys(benchmarks) as BenchmarkName[];

  it.each(names)('%s: a row of its schema is asked, a right answer is right and a wrong one wrong', async (name) => {
    const { row, right, wrong } = fixtures[name];
    const task = benchmarkTask(name, [row]);
    if (task.type === 'generate') {
      expect(await score(task, () => right!)).toBe(1);
      expect(await score(task, () => wrong!)).toBeLessThan(0.5);
    } else if (task.type === 'multiple_choice') {
      const choices = task.choices(row);
      const best = await evaluate(task, choosing(new Set([choices[task.gold(row)]!])));
      const [metric] = best.metrics;
      expect(metric!.value).toBeGreaterThan(0.49);
      const worst = await evaluate(
        task,
        choosing(new Set([choices[choices.length - 1 === task.gold(row) ? 0 : choices.length - 1]!])),
      );
      expect(worst.metrics[0]!.value).toBeLessThan(0.01);
    } else if (task.type === 'preference_pairs') {
      expect(metricOf(await evaluate(task, fond('better')), 'pair_accuracy').value).toBe(1);
      expect(metricOf(await evaluate(task, fond('worse')), 'pair_accuracy').value).toBe(0);
      expect(metricOf(await evaluate(task, fond('e')), 'pair_accuracy').value).toBe(0);
    } else {
      expect(metricOf(await evaluate(task, choosing(new Set())), 'byte_perplexity').value).toBeCloseTo(Math.E, 10);
    }
  });

  it.each(names)('%s: each column that it needs is asked for by name', (name) => {
    const { row } = fixtures[name];
    for (const column of benchmarks[name].columns) {
      const { [column]: _, ...rest } = row;
      expect(() => benchmarkTask(name, [row, rest])).toThrow(`benchmark ${name}: row 1 has no column "${column}"`);
    }
  });

  testTaskKind(it, preferenceKind, {
    task: () =>
      benchmarkTask(
        'rewardbench',
        Array.from({ length: 5 }, (_, i) => ({ ...fixtures.rewardbench.row, prompt: `Hi ${i}` })),
      ),
    model: () => fond('better'),
  });

  it("RewardBench's score weighs subsets by their examples, and sections alike", async () => {
    const subsets = Object.values(rewardBenchSections).flatMap((section) => Object.keys(section));
    const rows = subsets.map((subset) => ({
      prompt: '',
      chosen: ['math-prm', 'donotanswer'].includes(subset) ? 'worse' : 'better',
      rejected: 'bad',
      subset,
    }));
    const result = (await evaluate(
      benchmarkTask('rewardbench', rows),
      fond('better'),
    )) as EvalResult<PreferenceProblem>;
    const { sections, score: total } = rewardBenchScore(result);
    expect(sections).toEqual({ chat: 1, chatHard: 1, safety: 604 / 740, reasoning: 0.5 });
    expect(total).toBeCloseTo((2 + 604 / 740 + 0.5) / 4, 12);
    const some = (await evaluate(
      benchmarkTask('rewardbench', rows.slice(0, 3)),
      fond('better'),
    )) as EvalResult<PreferenceProblem>;
    expect(rewardBenchScore(some)).toMatchObject({ sections: { chat: 1, safety: null }, score: null });
  });

  it('the page about benchmarks has them all', () => {
    const page = readFileSync(new URL('../../../docs/eval/benchmarks.md', import.meta.url), 'utf8');
    for (const [name, { row, source, columns, metric }] of Object.entries(benchmarks)) {
      const shown = columns.map((column) => `\`${column}\``).join(', ');
      expect(page).toContain(`| \`${name}\` | ${row} | ${source} | ${shown} | ${metric} |`);
    }
  });

  it('votes of an arena are battles', () => {
    const vote = (winner: string) => ({ model_a: 'a', model_b: 'b', winner, question_id: winner });
    const battles = arenaBattles(['model_a', 'model_a', 'model_b', 'tie', 'tie (bothbad)'].map(vote));
    expect(battles.map(({ score: given }) => given)).toEqual([1, 1, 0, 0.5, 0.5]);
    const [first, second] = bradleyTerry(battles);
    expect(first!.rating - second!.rating).toBeCloseTo(400 * Math.log10(3 / 2), 4);
    expect(() => arenaBattles([vote('nobody')])).toThrow(/winner of row 0 is "nobody"/);
  });

  it('programs are graded by what runs them', async () => {
    const rows = [
      { task_id: 'own/0', prompt: 'def one():\n', test: 'def check(f): assert f() == 1', entry_point: 'one' },
    ];
    const task = codeBenchmark('humaneval', rows, { grader: fond('return 1'), samples: 2, k: [1, 2] });
    const result = await evaluate(
      task,
      scripted(() => '    return 1'),
    );
    expect(result.metrics.map(({ metric, value }) => [metric, value])).toEqual([
      ['pass@1', 1],
      ['pass@2', 1],
    ]);
    expect(result.problems[0]!.id).toBe('own/0');
    expect(() => codeBenchmark('mbpp', rows, { grader: fond('x') })).toThrow(/no column "text"/);
  });
});

describe('process reward models and facts', () => {
  it("ProcessBench's F1 is the harmonic mean of both accuracies", async () => {
    const rows = [
      { problem: 'p', steps: ['a', 'b', 'c'], label: 1 },
      { problem: 'p', steps: ['a', 'b'], label: 0 },
      { problem: 'p', steps: ['a', 'b'], label: 1 },
      { problem: 'p', steps: ['a', 'b'], label: -1 },
      { problem: 'p', steps: ['a'], label: -1 },
    ];
    const scores = [[0.9, 0.2, 0.1], [0.6, 0.4], [0.9, 0.9], [0.8, 0.7], [0.3]];
    const model: Verifier = {
      name: 'prm',
      verify: async (requests) => requests.map((_, i) => ({ score: 1, stepScores: scores[i]! })),
    };
    const { f1, wrong, correct } = await processBench(model, rows);
    expect([wrong.value, correct.value]).toEqual([1 / 3, 1 / 2]);
    expect(f1.value).toBeCloseTo(2 / (3 + 2), 12);
    // By simulation: the spread of the F1 of resampled halves is its standard error.
    const random = createRandom(3);
    const draw = (p: number, n: number) => Array.from({ length: n }, () => Number(random.float() < p));
    const values = Array.from({ length: 2000 }, () => {
      const problems = [
        ...draw(0.6, 200).map((hit) => ({ label: 1, predicted: hit ? 1 : null })),
        ...draw(0.8, 100).map((hit) => ({ label: -1, predicted: hit ? -1 : 0 })),
      ];
      return processBenchF1(problems).f1;
    });
    const mean = values.reduce((sum, { value }) => sum + value!, 0) / values.length;
    const spread = Math.sqrt(values.reduce((sum, { value }) => sum + (value! - mean) ** 2, 0) / values.length);
    const claimed = values.reduce((sum, { standardError }) => sum + standardError!, 0) / values.length;
    expect(claimed / spread).toBeGreaterThan(0.93);
    expect(claimed / spread).toBeLessThan(1.07);
  });

  it('a threshold, one kind only, scores that do not fit', async () => {
    expect(firstWrongStep([0.9, 0.5, 0.4])).toBe(2);
    expect(firstWrongStep([0.9, 0.5], 0.6)).toBe(1);
    expect(processBenchF1([{ label: -1, predicted: -1 }]).f1.value).toBeNull();
    expect(
      processBenchF1([
        { label: -1, predicted: 0 },
        { label: 0, predicted: null },
      ]).f1.value,
    ).toBe(0);
    const silent: Verifier = { name: 'silent', verify: async (requests) => requests.map(() => ({ score: 1 })) };
    await expect(processBench(silent, [{ problem: '', steps: ['a'], label: 0 }])).rejects.toThrow(
      /no step scores for 1 steps/,
    );
    await expect(processBench(silent, [{ problem: '', steps: ['a'], label: 1 }])).rejects.toThrow(/row 0 needs/);
  });

  it("PRMBench's score is between the F1 of right and of wrong steps", () => {
    // 3 right steps of which 2 are seen, 2 wrong ones of which 1 is: F1 = 2·2/(3+3) and 2·1/(2+2).
    const steps = [
      [true, true],
      [true, true],
      [true, false],
      [false, false],
      [false, true],
    ] as const;
    expect(prmScore(steps)).toBeCloseTo((4 / 6 + 1 / 2) / 2, 12);
    expect(prmScore(steps, 1)).toBeCloseTo(4 / 6, 12);
    expect(prmScore([[true, true]])).toBeNull();
  });

  it('FActScore: supported claims, and the penalty of short texts', async () => {
    const words: Entailer = {
      name: 'words',
      entail: async (requests) =>
        requests.map(({ premise, hypothesis }) =>
          premise.includes(hypothesis)
            ? { entailment: 0.8, neutral: 0.1, contradiction: 0.1 }
            : { entailment: 0.2, neutral: 0.7, contradiction: 0.1 },
        ),
    };
    const evidence = ['the sea is salt and deep', 'the moon is far'];
    const [some, none, many] = await factScore(
      [
        { claims: ['sea is salt', 'moon is near'], evidence },
        { claims: [], evidence: [] },
        { claims: Array(12).fill('far'), evidence },
      ],
      { entailer: words },
    );
    expect(some).toEqual({ precision: 0.5, score: 0.5 * Math.exp(1 - 10 / 2), supported: [true, false] });
    expect(none).toEqual({ precision: null, score: null, supported: [] });
    expect(many!.score).toBe(1);
    await expect(factScore([{ claims: ['x'], evidence: [] }], { entailer: words })).rejects.toThrow(
      /claims and no evidence/,
    );
  });

  it('MC1 is the likeliest choice, MC2 the mass of the true ones', async () => {
    const logProbs: Readonly<Record<string, number>> = { No: -1, 'They sink': -2, Yes: -0.5 };
    const scorer: Scorer = {
      name: 's',
      score: async (requests) =>
        requests.map(({ continuation }) => ({ logProb: logProbs[continuation.trim()]!, tokens: 1, isGreedy: false })),
    };
    const mc2 = await evaluate(benchmarkTask('truthfulqa_mc2', [fixtures.truthfulqa_mc2.row]), scorer);
    const mass = (x: number) => Math.exp(x);
    expect(mc2.metrics[0]!.value).toBeCloseTo((mass(-1) + mass(-2)) / (mass(-1) + mass(-2) + mass(-0.5)), 12);
    const mc1 = await evaluate(benchmarkTask('truthfulqa_mc1', [fixtures.truthfulqa_mc1.row]), scorer);
    expect(mc1.metrics[0]!.value).toBe(0);
  });
});

describe('tasks with tools and a state', () => {
  /** Does what the request says, one call a turn, as a person who reads it would. */
  const agent = (generator: Generator, maxTurns = 20) =>
    toolAgent({ generator, tools: shopTools, policy: SHOP_POLICY, maxTurns });
  const keeper = (isLazy: boolean) =>
    agent(
      scripted(({ prompt }) => {
        const messages = prompt as readonly { role: string; content: string }[];
        const done = messages.filter(({ role }) => role === 'tool').length;
        const request = messages.find(({ role }) => role === 'user')!.content;
        const calls = [
          ...request.matchAll(/order (\d+): (cancel it|send it to (\w+)|change the (\w+) for the (\w+))/g),
        ].map(([, order, what, place, old, item]) =>
          what === 'cancel it'
            ? `cancel_order(order="${order}")`
            : place
              ? `change_address(order="${order}", town="${place}")`
              : `exchange_item(order="${order}", old="${old}", new="${item}")`,
        );
        return done < calls.length - Number(isLazy) ? calls[done]! : 'All is done.';
      }),
    );

  it('success is the state at the end, whatever was said', async () => {
    const task = shopTask({ count: 12, seed: 4 });
    const success = (result: EvalResult) => metricOf(result, 'state_success').value;
    const good = await evaluate(task, keeper(false));
    expect(success(good)).toBe(1);
    expect(good.problems.every(({ modelCalls, messages }) => messages.length === 2 * modelCalls! - 1)).toBe(true);
    expect(success(await evaluate(task, keeper(true)))).toBe(0);
    expect(success(await evaluate(task, agent(scripted(() => 'All is done.'))))).toBe(0);
  });

  it('refused calls change nothing and are told to the model; turns end', async () => {
    const task = shopTask({ count: 2 });
    const result = await evaluate(
      task,
      agent(
        scripted(() => 'cancel_order(order="none")'),
        3,
      ),
    );
    for (const { messages, modelCalls, state, row } of result.problems) {
      expect(modelCalls).toBe(3);
      expect(state).toEqual((row as { state: unknown }).state);
      const told = messages.filter(({ role }) => role === 'tool').map(({ content }) => content);
      expect(told).toEqual(Array(3).fill('Error: there is no order none.'));
      expect(messages.flatMap(toolCallsOf)[0]).toEqual({ name: 'cancel_order', args: { order: 'none' } });
    }
    const unknown = await evaluate(
      task,
      agent(
        scripted(() => '[refund(order="1")]'),
        1,
      ),
    );
    expect(unknown.problems[0]!.messages.at(-1)!.content).toMatch(/no tool refund/);
    expect(() =>
      agent(
        scripted(() => ''),
        0,
      ),
    ).toThrow(/maxTurns is 0/);
  });
});

it('JSON is what Python reads as JSON, and soon told where a string does not end', () => {
  const isJson = (text: string) => ifevalChecks['detectable_format:json_format'](text);
  for (const text of ['NaN', '-Infinity', '{"a": [NaN, Infinity, "-NaN \\" Infinity"]}', '```json\n{}\n```'])
    expect(isJson(text), text).toBe(true);
  for (const text of ['-NaN', '1.NaN', 'NaN.5', '{NaN: 1}', '"a', '{"a": "NaN}', '["\\"]'])
    expect(isJson(text), text).toBe(false);
  const start = performance.now();
  expect(isJson('\\"'.repeat(200_000))).toBe(false);
  expect(performance.now() - start).toBeLessThan(5000);
});

it('letters are found behind any marks, and soon where there is none', async () => {
  const grader = letterIs((row) => String(row.letter));
  const scoreOf = async (completion: string) =>
    (await grader.verify([{ prompt: '', completion, row: { letter: 'B' } }]))[0]!.score;
  for (const text of ['Answer: B', 'the answer is  (B)', 'answer : ** [ B ]', '\n\n (B).', 'Answer\nB'])
    expect(await scoreOf(text), text).toBe(1);
  for (const text of [
    'ANSWER: b',
    'the answer is b.',
    'the answer is (b), since',
    '**answer: b**',
    'Answer is B since',
  ])
    expect(await scoreOf(text), text).toBe(1);
  const unsaid = ['The answer is b bit unclear', 'the answer is b.c.d.', 'answer b question', 'the answer is between'];
  for (const text of unsaid) expect(await scoreOf(text), text).toBe(0);
  // What only looks like a letter does not stand before one that is said.
  expect(await scoreOf('Answer: B. The answer is a bit unclear')).toBe(1);
  const start = performance.now();
  for (const mark of ['answer', '']) expect(await scoreOf(`${mark}${'\n'.repeat(20_000)}1`)).toBe(0);
  const texts = [`x${'*'.repeat(100_000)}y`, `x${' '.repeat(100_000)}y `, 'The answer is: **"B".** '];
  const said = await textIs('letter').verify(
    texts.map((completion) => ({ prompt: '', completion, row: { letter: 'B' } })),
  );
  expect(said.map(({ score }) => score)).toEqual([0, 0, 1]);
  expect(performance.now() - start).toBeLessThan(5000);
});
