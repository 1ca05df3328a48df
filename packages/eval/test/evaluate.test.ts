import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { GenerateRequest, Generator, ProgressEvent, VerifyRequest } from '@posttrain/interfaces';
import { OptionError } from '@posttrain/interfaces';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  accuracy,
  accuracyPerCharacter,
  bestAtK,
  compare,
  type EvalResult,
  evaluate,
  exactMatch,
  extractFinalAnswer,
  fitScalingLaw,
  type GenerateTask,
  type MultipleChoiceTask,
  majorityAtK,
  meanScore,
  metricOf,
  normalizeAnswer,
  pairedBootstrap,
  passAtK,
  readLog,
  renderTable,
  sampleMetrics,
  samplesCurve,
} from '../src/index.js';
import { brevityScorer, noisyAdder, type SumRow, sumRows, sumTask } from './models.js';

let folder: string;
let log: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'posttrain-eval-'));
  log = join(folder, 'logs', 'sums.jsonl');
});
afterEach(() => rmSync(folder, { recursive: true }));

/** All that does not depend on the clock. */
const timeless = (result: EvalResult) => ({
  config: result.config,
  metrics: result.metrics,
  usage: result.usage,
  warnings: result.warnings,
  problems: result.problems.map(({ seconds: _, ...problem }) => problem),
});

describe('evaluate with a generator', () => {
  it('asks, grades and aggregates, with a standard error on every number', async () => {
    const seen: GenerateRequest[] = [];
    const result = await evaluate(sumTask(sumRows(50)), noisyAdder(0.45, seen), { seed: 1 });
    expect(seen).toHaveLength(50);
    expect(seen[7]).toMatchObject({ prompt: '7 + 14 =', n: 4, temperature: 0.7, maxTokens: 16 });
    expect(new Set(seen.map(({ seed }) => seed)).size).toBe(50);

    const right = result.problems.flatMap(({ completions }) =>
      completions.map(({ grades }) => grades.exact_match!.score!),
    );
    const mean = metricOf(result, 'mean');
    expect(mean.value).toBeCloseTo(right.reduce((a, b) => a + b) / right.length, 12);
    expect(mean.value).toBe(metricOf(result, 'pass@1').value);
    expect(metricOf(result, 'pass@4').value!).toBeGreaterThan(metricOf(result, 'maj@4').value!);
    expect(metricOf(result, 'maj@4').value!).toBeGreaterThan(mean.value!);
    for (const { standardError, count } of result.metrics) {
      expect(standardError).toBeGreaterThan(0);
      expect(count).toBe(50);
    }
    expect(result.usage).toEqual({ promptTokens: 1000, completionTokens: 1200 });
    expect(result.warnings).toEqual([]);
    expect(() => metricOf(result, 'pass@2')).toThrow(/There is: mean \(exact_match\), pass@1/);
  });

  it('asks for completions that continue a text, of all or of a row, and notices when a log had another', async () => {
    const seen: GenerateRequest[] = [];
    const run = (prefix: GenerateTask<SumRow>['prefix']) =>
      evaluate({ ...sumTask(sumRows(2)), prefix: prefix! }, noisyAdder(0, seen), { log });
    await run(({ a }) => `${a}:`);
    expect(seen.map(({ prefix }) => prefix)).toEqual(['0:', '1:']);
    await expect(run(({ b }) => `${b};`)).rejects.toThrow(/was asked with another prompt, choices or sampling/);
    await expect(run('so')).rejects.toThrow(/was written with prefix undefined, but this run has "so"/);
  });

  it('does not depend on batch size, and depends on the seed', async () => {
    const run = (options: object) => evaluate(sumTask(sumRows(20)), noisyAdder(0.5), options);
    const one = timeless(await run({ batchSize: 1 }));
    expect(timeless(await run({ batchSize: 7 }))).toEqual(one);
    expect(timeless(await run({ seed: 1 })).metrics).not.toEqual(one.metrics);
  });

  it('streams an async dataset up to a limit, and reports progress with an ETA', async () => {
    async function* rows(): AsyncGenerator<SumRow> {
      yield* sumRows(1000);
    }
    const limited = await evaluate({ ...sumTask([]), dataset: rows() }, noisyAdder(0), { limit: 5, batchSize: 2 });
    expect(limited.problems.map(({ id }) => id)).toEqual(['0', '1', '2', '3', '4']);

    const events: ProgressEvent[] = [];
    await evaluate(sumTask(sumRows(6)), noisyAdder(0), { batchSize: 4, onProgress: (event) => events.push(event) });
    expect(events.map(({ done, total }) => [done, total])).toEqual([
      [4, 6],
      [6, 6],
    ]);
    expect(events[0]!.etaSeconds).toBeGreaterThan(0);
    expect(events[1]!.etaSeconds).toBe(0);
  });

  it('ranks by a verifier, and draws the curve over samples from one run', async () => {
    const task: GenerateTask<SumRow> = {
      ...sumTask(sumRows(40), 8),
      verifiers: [{ ...exactMatch({ target: (row) => `Let me see. #### ${row.answer}` }), name: 'oracle' }],
      metrics: [bestAtK(8, { by: 'oracle' }), passAtK(8)],
    };
    const result = await evaluate(task, noisyAdder(0.5));
    expect(metricOf(result, 'best@8 by oracle').value).toBeCloseTo(metricOf(result, 'pass@8').value!, 12);
    const curve = samplesCurve(result, passAtK);
    expect(curve.map(({ k, tokens }) => [k, tokens])).toEqual([
      [1, 6],
      [2, 12],
      [4, 24],
      [8, 48],
    ]);
    expect(curve[3]!.value).toBe(metricOf(result, 'pass@8').value);
    const values = curve.map(({ value }) => value!);
    expect(values).toEqual([...values].sort());
    expect(() => sampleMetrics(result.problems, [majorityAtK(2)], 'judge')).toThrow(/not graded by "judge"/);
  });

  it('clusters standard errors by the source of a row', async () => {
    const task = sumTask(sumRows(40), 1);
    const plain = await evaluate({ ...task, metrics: [meanScore()] }, noisyAdder(0.5));
    const clustered = await evaluate(
      { ...task, metrics: [meanScore()], cluster: ({ a }) => String(a % 2) },
      noisyAdder(0.5),
    );
    expect(metricOf(clustered, 'mean').value).toBe(metricOf(plain, 'mean').value);
    expect(metricOf(clustered, 'mean').standardError).not.toBeCloseTo(metricOf(plain, 'mean').standardError!, 6);
  });

  it('refuses metrics of more samples than are drawn before it asks, and of logs that hold fewer', async () => {
    const asked: unknown[] = [];
    const adder = noisyAdder(0);
    const generator: Generator = {
      name: 'counted',
      generate: async (requests) => {
        asked.push(...requests);
        return adder.generate(requests);
      },
    };
    const task = { ...sumTask(sumRows(2)), samples: 2 };
    for (const metric of [passAtK(3), majorityAtK(3), bestAtK(3, { by: 'v' })]) {
      await expect(evaluate({ ...task, metrics: [metric] }, generator)).rejects.toThrow(
        /task ".*": .*@3.* needs 3 samples of every problem, but "samples" is 2\. Nothing has been asked yet/,
      );
    }
    expect(asked).toEqual([]);
    const { problems } = await evaluate({ ...task, metrics: [passAtK(2)] }, generator);
    expect(() => sampleMetrics(problems, [passAtK(3)])).toThrow(/pass@3 needs 3 samples .* problem "0" has 2/);
  });

  it('tells graders and verifiers what is known of a completion, and counts the tokens that judges take', async () => {
    const seen: VerifyRequest[] = [];
    const judge = (name: string, completionTokens?: number) => ({
      name,
      verify: async (requests: readonly VerifyRequest[]) => {
        seen.push(...requests);
        const usage = completionTokens === undefined ? {} : { usage: { promptTokens: 2, completionTokens } };
        return requests.map(() => ({ score: 1, ...usage }));
      },
    });
    const generator: Generator = {
      name: 'g',
      generate: async (requests) =>
        requests.map(() => [
          { text: 'x', finishReason: 'length', tokenIds: [7], usage: { promptTokens: 1, completionTokens: 1 } },
        ]),
    };
    const { signal } = new AbortController();
    const task = { ...sumTask(sumRows(2), 1), metrics: [meanScore()] };
    const graders = [judge('free'), judge('dear', 3)];
    const result = await evaluate({ ...task, graders, verifiers: [judge('dearer', 5)] }, generator, { log, signal });
    expect(seen).toHaveLength(6);
    expect(seen[0]).toMatchObject({ completion: 'x', finishReason: 'length', tokenIds: [7], row: { answer: '0' } });
    expect(seen[0]!.signal).toBe(signal);
    expect(result.gradingUsage).toEqual({ promptTokens: 8, completionTokens: 16 });
    expect((await readLog(log)).gradingUsage).toEqual(result.gradingUsage);
    expect((await evaluate({ ...task, graders: [judge('free')] }, generator)).gradingUsage).toBeUndefined();
  });

  it('warns of answers it could not find, of cut completions and of what has no score', async () => {
    const task: GenerateTask<SumRow> = {
      ...sumTask(sumRows(10), 1),
      metrics: [meanScore()],
      verifiers: [{ name: 'moody', verify: async (requests) => requests.map(() => ({ score: null })) }],
    };
    const mute: Generator = {
      name: 'mute',
      generate: async (requests) =>
        requests.map(() => [{ text: 'hm', finishReason: 'length', usage: { promptTokens: 1, completionTokens: 1 } }]),
    };
    const { warnings, metrics } = await evaluate(task, mute);
    expect(warnings).toEqual([
      'exact_match found no answer in 10 of 10 completions (100.0 %).',
      '10 of 10 completions (100.0 %) ran into the token limit.',
    ]);
    expect(metrics[0]!.value).toBe(0);
    const unscorable = await evaluate({ ...task, graders: task.verifiers!, verifiers: [] }, mute);
    expect(unscorable.metrics[0]).toMatchObject({ value: null, standardError: null, count: 0 });
    expect(unscorable.warnings).toContain('mean (moody) leaves out 10 of 10 problems.');
  });

  it.each([
    [{ dataset: [] }, /the dataset has no rows/],
    [{ samples: 0 }, /samples must be a whole number/],
    [{ graders: [] }, /no grader/],
    [{ graders: [exactMatch(), exactMatch()] }, /two graders or verifiers are called "exact_match"/],
    [{ sample: 3 }, /Did you mean "samples"/],
    [{ id: () => 'x' }, /row 1 has the id "x"/],
  ])('rejects the task with %j', async (change, message) => {
    await expect(evaluate({ ...sumTask(sumRows(3)), ...change }, noisyAdder(0))).rejects.toThrow(message);
  });

  it('rejects models and graders that answer out of shape', async () => {
    const short: Generator = { name: 'short', generate: async (requests) => requests.map(() => []) };
    await expect(evaluate(sumTask(sumRows(3)), short)).rejects.toThrow(
      /short returned 0 completions for 4 samples of "0"/,
    );
    const broken = {
      name: 'broken',
      verify: async (requests: readonly unknown[]) => requests.map(() => ({ score: Number.NaN })),
    };
    await expect(evaluate({ ...sumTask(sumRows(3)), graders: [broken] }, noisyAdder(0))).rejects.toThrow(
      /broken gave the score NaN/,
    );
    const silent = { name: 'silent', verify: async () => [] };
    await expect(evaluate({ ...sumTask(sumRows(3)), verifiers: [silent] }, noisyAdder(0))).rejects.toThrow(
      /silent returned 0 grades for 12 completions/,
    );
  });
});

describe('what is given to evaluate', () => {
  const rows = [{ question: 'one?', answer: '1' }];
  const right = {
    type: 'generate',
    name: 'sums',
    dataset: rows,
    prompt: (row: (typeof rows)[number]) => row.question,
    graders: [exactMatch()],
    metrics: [passAtK(1)],
  };
  const generator: Generator = { name: 'g', generate: async () => [] };
  it.each([
    [{ dataset: 'rows.jsonl' }, /dataset is "rows.jsonl"; give it the rows, such as those of readRows/],
    [{ dataset: undefined }, /dataset is undefined/],
    [{ prompt: 'question' }, /prompt is "question"; give it a function of a row/],
    [{ prompt: () => undefined }, /the prompt of problem "0" is undefined.*columns are question, answer/],
    [{ graders: undefined }, /graders is undefined; it must be a list/],
    [{ graders: [() => 1] }, /graders\[0\] is the function .*; it must be an object with a name and verify/],
    [{ verifiers: [null] }, /verifiers\[0\] is null/],
    [{ metrics: ['pass@1'] }, /metrics\[0\] is "pass@1"; it must be a metric, such as passAtK\(1\)/],
  ])('is refused by name where it cannot be meant: %j', async (wrong, message) => {
    const error = await evaluate({ ...right, ...wrong } as never, generator).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: 'BAD_TASK', message: expect.stringMatching(message) });
  });

  it.each([
    ['./model', /needs a generator: an object with generate\(requests\), not ".\/model"/],
    [undefined, /not undefined/],
    [{ network: {}, weights: {} }, /Give it new LocalGenerator\(model\)/],
  ])('names a model that is none: %j', async (model, message) => {
    const error = await evaluate(right as never, model as never).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: 'BAD_MODEL', message: expect.stringMatching(message) });
  });

  it.each([undefined, 'gsm8k'])('names a task that is none: %j', async (task) => {
    await expect(evaluate(task as never, generator)).rejects.toThrow(/evaluate: task is .*; it must be a task/);
  });

  it('names a log that is none', async () => {
    await expect(readLog(undefined as never)).rejects.toThrow('readLog: file is undefined; it must be a path');
  });

  it.each<[object, string, string]>([
    [{ batchsize: 4 }, 'UNKNOWN_OPTION', 'evaluate: unknown option "batchsize". Did you mean "batchSize"?'],
    [{ samples: 4 }, 'UNKNOWN_OPTION', 'unknown option "samples". It belongs to the task.'],
    [{ batchSize: 0 }, 'INVALID_OPTION', 'batchSize is 0; it must be a whole number of at least 1'],
    [{ limit: '5' }, 'INVALID_OPTION', 'limit is "5"; it must be a whole number of at least 0, or Infinity'],
    [{ seed: 'a' }, 'INVALID_OPTION', 'seed is "a"; it must be a whole number (default 0)'],
    [{ log: '' }, 'INVALID_OPTION', 'log is ""; it must be the path of a file'],
    [{ signal: true }, 'INVALID_OPTION', 'signal is true; it must be an AbortSignal'],
  ])('names an option that cannot be meant: %j', async (options, code, message) => {
    const error = await evaluate(right as never, generator, options).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(OptionError);
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
  });

  it.each<[() => unknown, string]>([
    [() => compare('log.jsonl' as never, {} as never, { metric: 'm' }), 'first is "log.jsonl"; it must be a result'],
    [() => compare(Promise.resolve() as never, {} as never, { metric: 'm' }), '(await it first)'],
    [() => compare({} as never, {} as never, 'mean' as never), 'Did you mean { metric: "mean" }?'],
    [() => compare({} as never, {} as never, {} as never), 'compare: metric is missing; it must be a text'],
    [() => pairedBootstrap([1], [2], { level: 95 }), 'level is 95; it must be a number above 0 and below 1'],
    [() => bestAtK(2, 'judge' as never), 'Did you mean { by: "judge" }?'],
    [() => renderTable(undefined as never), 'renderTable: rows is undefined; it must be a list of objects'],
    [() => normalizeAnswer(5 as never), 'normalizeAnswer: answer is 5; it must be a text'],
    [() => extractFinalAnswer(undefined as never), 'extractFinalAnswer: text is undefined; it must be a text'],
    [() => fitScalingLaw([], { delta: 0 }), 'delta is 0; it must be a number above 0'],
  ])('%s says what was meant', (misuse, message) => {
    expect(misuse).toThrow(message);
  });
});

describe('the log', () => {
  it('is read back as what was returned', async () => {
    const result = await evaluate(sumTask(sumRows(9)), noisyAdder(0.4), { log, batchSize: 4 });
    expect(await readLog(log)).toEqual(JSON.parse(JSON.stringify(result)));
    const lines = readFileSync(log, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string });
    expect(lines.map(({ type }) => type)).toEqual(['header', ...Array(9).fill('problem'), 'result']);
    expect(lines[0]).toMatchObject({
      format: 'posttrain-eval-log',
      version: 1,
      config: { task: 'sums', model: 'adder-0.4', seed: 0, samples: 4 },
    });
  });

  it.each([2, 6])('a run killed in call %i continues without asking what was finished', async (fatalCall) => {
    const script = fileURLToPath(new URL('./killed-run.ts', import.meta.url));
    expect(() =>
      execFileSync(process.execPath, ['--import', 'tsx', script, log, String(fatalCall)], { stdio: 'pipe' }),
    ).toThrow(expect.objectContaining({ signal: 'SIGKILL' }));
    await expect(readLog(log)).rejects.toThrow(/no result/);
    const seen: GenerateRequest[] = [];
    const resumed = await evaluate(sumTask(sumRows(40)), noisyAdder(0.4, seen), { log, batchSize: 16, seed: 3 });
    expect(seen).toHaveLength(40 - 4 * (fatalCall - 1));
    const whole = await evaluate(sumTask(sumRows(40)), noisyAdder(0.4), { seed: 3 });
    expect(timeless(resumed)).toEqual(timeless(whole));
    expect(timeless(await readLog(log))).toEqual(JSON.parse(JSON.stringify(timeless(whole))));
  });

  it('drops a line that was cut off at any byte, and asks that problem again', async () => {
    const whole = timeless(await evaluate(sumTask(sumRows(4)), noisyAdder(0.4), { log }));
    const bytes = readFileSync(log);
    const withoutResult = bytes.lastIndexOf('\n', bytes.length - 2) + 1;
    for (const size of [0, 10, withoutResult - 1, withoutResult - 200, withoutResult]) {
      writeFileSync(log, bytes);
      truncateSync(log, size);
      expect(timeless(await evaluate(sumTask(sumRows(4)), noisyAdder(0.4), { log }))).toEqual(whole);
      await readLog(log);
    }
  });

  it('extends a finished run to more problems and other metrics, asking only what is new', async () => {
    await evaluate(sumTask(sumRows(10)), noisyAdder(0.4), { log, limit: 6 });
    const seen: GenerateRequest[] = [];
    const longer = await evaluate({ ...sumTask(sumRows(10)), metrics: [passAtK(2)] }, noisyAdder(0.4, seen), { log });
    expect(seen).toHaveLength(4);
    expect(longer.metrics.map(({ metric, count }) => [metric, count])).toEqual([['pass@2', 10]]);
  });

  it('refuses to mix runs, and says what differs', async () => {
    await evaluate(sumTask(sumRows(4)), noisyAdder(0.4), { log });
    const again = (change: object, seed = 0, model = noisyAdder(0.4)) =>
      evaluate({ ...sumTask(sumRows(4)), ...change }, model, { log, seed });
    await expect(again({}, 1)).rejects.toThrow(/written with seed 0, but this run has 1/);
    await expect(again({}, 0, noisyAdder(0.5))).rejects.toThrow(/model "adder-0.4"/);
    await expect(again({ sampling: { temperature: 1 } })).rejects.toThrow(/sampling/);
    await expect(again({ prompt: ({ a, b }: SumRow) => `What is ${a} + ${b}?` })).rejects.toThrow(
      /problem "0" was asked with another prompt/,
    );
    const kept = readFileSync(log);
    expect(readFileSync(log)).toEqual(kept);
  });

  it('names the line that is broken, and files that are not logs', async () => {
    await evaluate(sumTask(sumRows(2)), noisyAdder(0.4), { log });
    appendFileSync(log, '{"type": oops}\n');
    await expect(readLog(log)).rejects.toThrow(/sums\.jsonl:5 is not JSON/);
    writeFileSync(log, '{"type":"header","format":"posttrain-eval-log","version":2}\n');
    await expect(readLog(log)).rejects.toThrow(/found posttrain-eval-log version 2/);
    writeFileSync(log, '{"a":1}\n');
    await expect(evaluate(sumTask(sumRows(2)), noisyAdder(0.4), { log })).rejects.toThrow(/another kind of file/);
    expect(readFileSync(log, 'utf8')).toBe('{"a":1}\n');
  });

  it('keeps what was finished when the model fails or the signal fires', async () => {
    const adder = noisyAdder(0.4);
    let calls = 0;
    const failing: Generator = {
      name: adder.name,
      generate: async (requests) => {
        if (++calls > 2) throw new Error('rate limited');
        return adder.generate(requests);
      },
    };
    await expect(evaluate(sumTask(sumRows(10)), failing, { log, batchSize: 2 })).rejects.toThrow('rate limited');
    const controller = new AbortController();
    const stopped = evaluate(sumTask(sumRows(10)), adder, {
      log,
      batchSize: 2,
      signal: controller.signal,
      onProgress: ({ done }) => done === 6 && controller.abort(),
    });
    await expect(stopped).rejects.toThrow(expect.objectContaining({ code: 'ABORTED' }));
    const seen: GenerateRequest[] = [];
    await evaluate(sumTask(sumRows(10)), noisyAdder(0.4, seen), { log });
    expect(seen).toHaveLength(4);
  });

  it('says so when the disk is full, and continues once there is room', async () => {
    const script = fileURLToPath(new URL('./killed-run.ts', import.meta.url));
    // A limit on the file size stands in for the disk: the write that crosses it fails half-way.
    const shell = `ulimit -f 8; trap '' XFSZ; exec "$0" --import tsx "$1" "$2" 0`;
    expect(() => execFileSync('bash', ['-c', shell, process.execPath, script, log], { stdio: 'pipe' })).toThrow(
      /Could not append to .*sums\.jsonl/,
    );
    expect(statSync(log).size).toBe(8192);
    const seen: GenerateRequest[] = [];
    const resumed = await evaluate(sumTask(sumRows(40)), noisyAdder(0.4, seen), { log, seed: 3 });
    expect(seen.length).toBeGreaterThan(0);
    expect(seen.length).toBeLessThan(40);
    expect(timeless(resumed)).toEqual(timeless(await evaluate(sumTask(sumRows(40)), noisyAdder(0.4), { seed: 3 })));
  });
});

describe('evaluate with a scorer', () => {
  const task: MultipleChoiceTask<{ question: string; options: string[]; gold: number }> = {
    type: 'multiple_choice',
    name: 'shortest',
    dataset: [
      { question: 'short?', options: ['abc', 'a', 'ab'], gold: 1 },
      { question: 'long?', options: ['abc', 'a', 'ab'], gold: 0 },
      { question: 'two?', options: ['aaaaa', 'aa'], gold: 1 },
    ],
    prompt: ({ question }) => question,
    choices: ({ options }) => options,
    gold: ({ gold }) => gold,
    metrics: [accuracy(), accuracyPerCharacter()],
  };

  it('weighs delimiter + choice, and normalises by the choice alone', async () => {
    const result = await evaluate(task, brevityScorer, { log });
    expect(result.problems[0]!.choices.map(({ logProb }) => logProb)).toEqual([-4, -2, -3]);
    expect(metricOf(result, 'acc').values).toEqual([1, 0, 1]);
    // −4/3, −2/1, −3/2: the longest wins once divided by its length.
    expect(metricOf(result, 'acc_norm').values).toEqual([0, 1, 0]);
    expect(result.usage).toBeUndefined();
    expect(await readLog(log)).toEqual(JSON.parse(JSON.stringify(result)));
    const bare = await evaluate({ ...task, delimiter: '' }, brevityScorer);
    expect(bare.problems[0]!.choices[0]!.logProb).toBe(-3);
  });

  it('rejects problems that are not multiple choice', async () => {
    const withRow = (row: object) =>
      evaluate({ ...task, dataset: [{ ...task.dataset, ...row }] as never }, brevityScorer);
    await expect(withRow({ question: 'q', options: ['a', 'b'], gold: 2 })).rejects.toThrow(
      /gold 2, but its choices are 0 to 1/,
    );
    await expect(withRow({ question: 'q', options: ['a', ''], gold: 0 })).rejects.toThrow(/none of them empty/);
  });
});

describe('compare', () => {
  it('pairs by problem id, whatever the order', async () => {
    const rows = sumRows(60);
    const task = { ...sumTask(rows, 1), id: ({ a }: SumRow) => `sum-${a}`, metrics: [meanScore()] };
    const weak = await evaluate(task, noisyAdder(0.6));
    const strong = await evaluate({ ...task, dataset: [...rows].reverse() }, noisyAdder(0.1));
    const found = compare(weak, strong, { metric: 'mean' });
    expect(found.difference).toBeCloseTo(metricOf(strong, 'mean').value! - metricOf(weak, 'mean').value!, 12);
    expect(found.pValue).toBeLessThan(0.01);
    expect(found.interval![0]).toBeGreaterThan(0);
    expect(found.mcnemar!.onlySecond - found.mcnemar!.onlyFirst).toBe(Math.round(found.difference * 60));
    const inOrder = compare(weak, await evaluate(task, noisyAdder(0.1)), { metric: 'mean' });
    expect(found).toEqual(inOrder);
    const same = compare(weak, weak, { metric: 'mean' });
    // What it can tell, what it cannot, and that no difference found is none.
    expect(found.statement).toMatch(/is higher, beyond the chance in which problems were picked\. .*\(holm\)/);
    expect(same.statement).toMatch(/is 0 on 60 problems, which cannot say how well that is known/);
    const near = compare(strong, await evaluate(task, noisyAdder(0.13)), { metric: 'mean' });
    expect(near.statement).toMatch(
      /No difference was found, which does not say that there is none: .* would have been found 4 times in 5/,
    );
    expect(same).toMatchObject({ difference: 0, interval: null, pValue: 1, warning: expect.stringMatching(/all 60/) });
  });

  it('refuses other graders, problems without values and double ids, and says what it leaves out', async () => {
    const run = await evaluate({ ...sumTask(sumRows(3)), metrics: [meanScore()] }, noisyAdder(0));
    const metric = 'mean';
    const [result] = run.metrics;
    const other = (changes: object) => ({ ...run, metrics: [{ ...result!, ...changes }] });
    expect(() => compare(run, other({ grader: 'judge' }), { metric })).toThrow(/by "exact_match" .* by "judge"/);
    expect(() => compare(run, other({ values: [null, null, null] }), { metric })).toThrow(/no problem has a value/);
    const twice = { ...run, problems: [run.problems[0]!, run.problems[0]!, run.problems[1]!] };
    expect(() => compare(run, twice, { metric })).toThrow(/two problems "0"/);
    const part = compare(run, other({ values: [1, 0, null] }), { metric });
    expect(part.missing).toEqual([run.problems[2]!.id]);
    const renamed = { ...run, config: { ...run.config, task: 'another' } };
    expect(() => compare(run, renamed, { metric })).toThrow(/the second of "another"; give runs of one task/);
    expect(compare(run, renamed, { metric, sameTask: true }).difference).toBe(0);
    expect(part).toMatchObject({ pairs: 2, warning: expect.stringMatching(/^1 of 3 problems/) });
  });

  it('refuses runs over different problems', async () => {
    const short = await evaluate(sumTask(sumRows(3)), noisyAdder(0));
    const long = await evaluate(sumTask(sumRows(4)), noisyAdder(0));
    expect(() => compare(short, long, { metric: 'mean' })).toThrow(/of 3 and 4 only 3 are shared/);
  });
});
