import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { describeFaults, fuzz } from '../../../testing/fuzz.js';
import { hasFallen } from '../src/command/differences.js';
import { evalCommand } from '../src/command/eval-command.js';
import { readZip, writeZip } from '../src/formats/zip.js';
import {
  compare,
  type EvalResult,
  evaluate,
  type GenerateProblem,
  metricOf,
  readInspectLog,
  readLmEvalFiles,
  readLog,
  writeInspectLog,
  writeLmEvalFiles,
} from '../src/index.js';
import { brevityScorer, noisyAdder, sumRows, sumTask } from './models.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'posttrain-logs-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const inspect = (name: string): string => fileURLToPath(new URL(`../../../goldens/inspect/${name}`, import.meta.url));
const lmEval = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../../goldens/lm-eval-files/${name}.json`, import.meta.url), 'utf8'));

/** What Inspect's reader says of a log. */
interface Seen {
  readonly task: string;
  readonly model: string;
  readonly epochs: number;
  readonly temperature: number;
  readonly sample_ids: string[];
  readonly usage: Record<string, [number, number]>;
  readonly scores: { name: string; metrics: Record<string, number> }[];
  readonly samples: {
    id: string;
    epoch: number;
    input: string | [string, string][];
    completion: string;
    stop_reason: string;
    usage: [number, number];
    scores: Record<string, [unknown, string | null, string | null, number]>;
  }[];
}
const seen = (name: string): Seen => JSON.parse(readFileSync(inspect(name), 'utf8')) as Seen;

/** A run that is the same every time. */
async function fixedRun(): Promise<EvalResult<GenerateProblem>> {
  const result = await evaluate(sumTask(sumRows(4), 2), noisyAdder(0.4));
  const problems = result.problems.map((problem, i) => ({
    ...problem,
    seconds: 0.5,
    ...(i > 1 && { cluster: 'late' }),
    ...(i === 3 && {
      prompt: [
        { role: 'system', content: 'Add.' },
        { role: 'user', content: '3 + 6 =' },
      ],
    }),
    completions: problem.completions.map((completion, j) => ({
      ...completion,
      ...(i === 2 && j === 1 && { finishReason: 'length' as const }),
      ...(i === 1 && j === 0 && { grades: { exact_match: { score: null } } }),
    })),
  }));
  return {
    ...result,
    problems,
    startedAt: '2026-01-01T00:00:00.000Z',
    finishedAt: '2026-01-01T00:00:02.000Z',
    seconds: 2,
  };
}

describe("Inspect's logs", () => {
  it.each(['theirs.eval', 'theirs.json'])('%s is read as Inspect reads it', async (name) => {
    const theirs = seen('theirs-read.json');
    const ours = await readInspectLog(inspect(name));
    expect(ours.config).toMatchObject({
      task: theirs.task,
      model: theirs.model,
      samples: theirs.epochs,
      sampling: { temperature: theirs.temperature },
    });
    expect(ours.problems.map(({ id }) => id)).toEqual(theirs.sample_ids);
    expect([ours.usage!.promptTokens, ours.usage!.completionTokens]).toEqual(theirs.usage[theirs.model]);
    for (const sample of theirs.samples) {
      const problem = ours.problems.find(({ id }) => id === sample.id)!;
      const { text, usage, finishReason, grades } = problem.completions[sample.epoch - 1]!;
      const prompt =
        typeof problem.prompt === 'string'
          ? problem.prompt
          : problem.prompt.map(({ role, content }) => [role, content]);
      expect(prompt).toEqual(sample.input);
      expect([text, usage.promptTokens, usage.completionTokens]).toEqual([sample.completion, ...sample.usage]);
      expect(finishReason).toBe(sample.stop_reason === 'max_tokens' ? 'length' : 'stop');
      expect(
        Object.fromEntries(Object.entries(grades).map(([grader, { score, answer }]) => [grader, [score, answer]])),
      ).toEqual(
        Object.fromEntries(
          Object.entries(sample.scores).map(([scorer, [, answer, , value]]) => [scorer, [value, answer]]),
        ),
      );
    }
    for (const { name: scorer, metrics } of theirs.scores) {
      const { value, standardError } = metricOf(ours, 'mean', scorer);
      expect(value).toBeCloseTo(metrics.accuracy!, 12);
      expect(standardError).toBeCloseTo(metrics.stderr!, 12);
    }
  });

  it("what is written is what Inspect's reader was shown, and is read back whole", async () => {
    const run = await fixedRun();
    for (const name of ['ours.eval', 'ours.json']) {
      const file = join(folder, name);
      await writeInspectLog(file, run);
      if (process.env.UPDATE_GOLDENS || !existsSync(inspect(name))) writeFileSync(inspect(name), readFileSync(file));
      const bytes = (path: string) => {
        const content = Uint8Array.from(readFileSync(path));
        if (name.endsWith('.json')) return { whole: Buffer.from(content).toString('utf8') };
        return Object.fromEntries(
          [...readZip(content, path)].map(([member, read]) => [member, Buffer.from(read()).toString('utf8')]),
        );
      };
      expect(bytes(file)).toEqual(bytes(inspect(name)));
      const back = await readInspectLog(file);
      const { metrics: _, ...rest } = back;
      const { metrics: __, ...whole } = run;
      expect(rest).toEqual(JSON.parse(JSON.stringify(whole)));
      expect(compare(run, back, { metric: 'mean' })).toMatchObject({ difference: expect.any(Number) });
    }
    for (const name of ['ours-eval-read.json', 'ours-json-read.json']) {
      const read = seen(name);
      expect(read).toMatchObject({ task: 'sums', model: run.config.model, epochs: 2, temperature: 0.7 });
      expect(read.samples.map(({ id, epoch, completion }) => [id, epoch, completion])).toEqual(
        expect.arrayContaining(
          run.problems.flatMap(({ id, completions }) => completions.map(({ text }, i) => [id, i + 1, text])),
        ),
      );
      expect(read.samples.find(({ id, epoch }) => id === '2' && epoch === 2)!.stop_reason).toBe('max_tokens');
      expect(read.samples.find(({ id, epoch }) => id === '1' && epoch === 1)!.scores).toEqual({});
      for (const { metric, value } of run.metrics) expect(read.scores[0]!.metrics[metric]).toBeCloseTo(value!, 12);
      expect(read.usage[run.config.model]).toEqual([run.usage!.promptTokens, run.usage!.completionTokens]);
    }
  });

  it('refuses by name what it cannot hold or read', async () => {
    const choice = await evaluate(
      {
        type: 'multiple_choice',
        name: 'c',
        dataset: [{ q: 'a' }],
        prompt: ({ q }) => q,
        choices: () => ['x', 'yy'],
        gold: () => 0,
        metrics: [],
      },
      brevityScorer,
    );
    await expect(writeInspectLog(join(folder, 'c.eval'), choice)).rejects.toMatchObject({ code: 'LOG_KIND' });
    const theirs = JSON.parse(readFileSync(inspect('theirs.json'), 'utf8')) as Record<string, unknown> & {
      samples: Record<string, unknown>[];
    };
    const refused = async (change: (log: typeof theirs) => unknown, code: string, message: RegExp) => {
      const log = structuredClone(theirs);
      const file = join(folder, 'changed.json');
      writeFileSync(file, JSON.stringify(change(log) ?? log));
      const error = await readInspectLog(file).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
    };
    await refused((log) => ({ ...log, version: 3 }), 'LOG_VERSION', /found 3/);
    await refused((log) => ({ ...log, status: 'cancelled' }), 'LOG_UNFINISHED', /"cancelled"/);
    await refused((log) => ({ ...log, samples: null }), 'LOG_MALFORMED', /no samples/);
    await refused(
      (log) => ({ ...log, samples: [...log.samples, log.samples[0]] }),
      'LOG_MALFORMED',
      /two samples ".*" of epoch 1/,
    );
    await refused(
      (log) => ({ ...log, samples: [{ ...log.samples[0], scores: { match: { value: 'maybe' } } }] }),
      'LOG_SCORE',
      /"maybe"/,
    );
    await refused(
      (log) => ({ ...log, samples: [{ ...log.samples[0], input: [{ role: 'user', content: [{ type: 'image' }] }] }] }),
      'LOG_MALFORMED',
      /"image"/,
    );
    await refused(
      (log) => ({ ...log, eval: { ...(log.eval as object), dataset: { sample_ids: 5 } } }),
      'LOG_MALFORMED',
      /sample_ids" is no list/,
    );
    const cut = readFileSync(inspect('theirs.eval')).subarray(0, 3000);
    writeFileSync(join(folder, 'cut.eval'), cut);
    await expect(readInspectLog(join(folder, 'cut.eval'))).rejects.toMatchObject({ code: 'LOG_MALFORMED' });
  });

  it('a zip is what it was, however its files are packed; one flipped bit is seen', () => {
    const files = [
      { name: 'a.txt', bytes: Buffer.from('abc'.repeat(1000)) },
      { name: 'ü/b', bytes: Buffer.alloc(0) },
    ];
    const archive = writeZip(files);
    const back = readZip(archive, 'x');
    expect([...back].map(([name, read]) => ({ name, bytes: Buffer.from(read()) }))).toEqual(files);
    for (let i = 40; i < 50; i++) {
      const broken = Uint8Array.from(archive);
      broken[i]! ^= 1;
      expect(() => readZip(broken, 'x').get('a.txt')!()).toThrow(/damaged/);
    }
    expect(() => readZip(new Uint8Array(100), 'x')).toThrow(/no ZIP archive/);
  });
});

describe('files of lm-evaluation-harness', () => {
  const written = () => {
    const file = join(folder, 'results_2026-01-01T00-00-00.000.json');
    writeFileSync(file, JSON.stringify(lmEval('results')));
    for (const task of ['sums', 'choices']) {
      const rows = lmEval(`samples_${task}`) as object[];
      writeFileSync(
        join(folder, `samples_${task}_2026-01-01T00-00-00.000.jsonl`),
        rows.map((row) => `${JSON.stringify(row)}\n`).join(''),
      );
    }
    return file;
  };

  it('are read with every number and every problem', async () => {
    const results = await readLmEvalFiles(written());
    const { results: expected } = lmEval('results') as { results: Record<string, Record<string, unknown>> };
    expect(results.map(({ config }) => config.task)).toEqual(['sums', 'choices']);
    for (const result of results) {
      expect(result.problems).toHaveLength(4);
      for (const { metric, grader = 'none', value, values } of result.metrics) {
        expect(value).toBe(expected[result.config.task]![`${metric},${grader}`]);
        expect(values.reduce<number>((sum, x) => sum + x!, 0) / 4).toBeCloseTo(value!, 12);
      }
    }
    expect(metricOf(results[0]!, 'exact_match', 'strict').values).toEqual([1, 0, 0, 1]);
    expect((results[0]!.problems[0] as GenerateProblem).completions[0]).toMatchObject({
      text: 'The answer is 2',
      grades: { strict: { score: 1, answer: '2' }, none: { score: 0, answer: 'The answer is 2' } },
    });
    expect(results[1]!.problems[0]).toMatchObject({
      gold: 1,
      choices: [
        { text: '5', logProb: -2.25 },
        { text: '2', logProb: -1.75 },
      ],
    });
    expect(compare(results[0]!, results[0]!, { metric: 'exact_match', grader: 'strict' }).difference).toBe(0);
  });

  it('are written with its keys and hashes, and read back', async () => {
    const run = await evaluate(sumTask(sumRows(4), 1), noisyAdder(0.4));
    const choice = await evaluate(
      {
        type: 'multiple_choice',
        name: 'choices',
        dataset: (lmEval('samples_choices') as { doc: { question: string; choices: string[]; gold: number } }[]).map(
          ({ doc }) => doc,
        ),
        prompt: ({ question }) => question,
        choices: ({ choices }) => choices,
        gold: ({ gold }) => gold,
        metrics: [],
      },
      brevityScorer,
    );
    const target = join(folder, 'ours');
    const [results, sums, choices] = await writeLmEvalFiles(target, [
      run,
      {
        ...choice,
        metrics: [{ metric: 'acc', value: 1, standardError: 0, interval: null, count: 4, values: [1, 1, 1, 1] }],
      },
    ]);
    const rows = (file: string) =>
      readFileSync(file, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    const keys = (row: Record<string, unknown>, metrics: string[]) =>
      Object.keys(row)
        .filter((key) => !metrics.includes(key))
        .sort();
    const [theirSum] = lmEval('samples_sums') as Record<string, unknown>[];
    const theirChoices = lmEval('samples_choices') as Record<string, unknown>[];
    expect(
      keys(
        rows(sums!)[0]!,
        run.metrics.map(({ metric }) => metric),
      ),
    ).toEqual(keys(theirSum!, ['exact_match']));
    rows(choices!).forEach((row, i) => {
      const { doc_id, doc, target: gold, arguments: args, doc_hash, prompt_hash, target_hash } = theirChoices[i]!;
      expect(row).toMatchObject({
        doc_id,
        doc,
        target: gold,
        arguments: args,
        doc_hash,
        prompt_hash,
        target_hash,
      } as object);
      expect(keys(row, ['acc'])).toEqual(keys(theirChoices[i]!, ['acc', 'acc_norm']));
    });
    const theirs = Object.keys(lmEval('results') as object);
    expect(
      Object.keys(JSON.parse(readFileSync(results!, 'utf8')) as object).filter((key) => !theirs.includes(key)),
    ).toEqual([]);
    const [back] = await readLmEvalFiles(results!);
    for (const { metric, grader, value, standardError, values } of run.metrics)
      expect(metricOf(back!, metric, grader)).toMatchObject({ value, standardError, values });
    await expect(writeLmEvalFiles(target, [])).rejects.toThrow(/no runs/);
    await expect(writeLmEvalFiles(target, [run, run])).rejects.toThrow(/two runs/);
  });
});

describe('a JSONL log that is damaged', () => {
  it('is refused by its line', async () => {
    const file = join(folder, 'log.jsonl');
    await evaluate(sumTask(sumRows(3), 2), noisyAdder(0.4), { log: file });
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    const refused = async (line: number, text: string) => {
      writeFileSync(file, `${lines.map((old, i) => (i === line - 1 ? text : old)).join('\n')}\n`);
      const error = await readLog(file).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'LOG_MALFORMED', message: expect.stringContaining(`log.jsonl:${line} is`) });
    };
    await refused(1, JSON.stringify({ ...JSON.parse(lines[0]!), config: null }));
    for (const text of ['null', '3', '{"type":"problem"}', lines[1]!.slice(0, -2)]) await refused(3, text);
    for (const completions of [undefined, {}, [null], [{ text: 'x', grades: {} }]])
      await refused(3, JSON.stringify({ ...JSON.parse(lines[2]!), completions }));
    await refused(5, '{"type":"result"}');
  });

  const module = new URL('fuzz-targets.ts', import.meta.url);
  test.each([
    { target: 'text', kind: 'json' as const },
    { target: 'archive', kind: 'bytes' as const },
  ])('200 mutants of $target logs: a run or an EvaluationError, nothing else', async ({ target, kind }) => {
    const report = await fuzz({ module, target, kind, count: 200 });
    expect(describeFaults(report)).toBe('');
    expect(report.accepted + report.refused).toBe(200);
    expect(report.refused).toBeGreaterThan(0);
  });
});

describe('the command line', () => {
  const command = async (given: readonly string[], environment = {}) => {
    let [out, err] = ['', ''];
    const code = await evalCommand(given, {
      print: (text) => {
        out += text;
      },
      complain: (text) => {
        err += text;
      },
      environment,
    });
    return { code, out, err };
  };
  const at = (name: string) => join(folder, name);
  /** Right where its number says so. */
  const write = (name: string, right: (i: number) => boolean) => {
    const rows = Array.from({ length: 40 }, (_, i) => ({ i }));
    writeFileSync(
      at('task.mjs'),
      `export const task = { type: 'generate', name: 'numbers', dataset: ${JSON.stringify(rows)}, prompt: ({ i }) => 'number ' + i,
        graders: [{ name: 'g', verify: async (all) => all.map(({ completion }) => ({ score: Number(completion === 'right') })) }],
        metrics: [{ name: 'mean', value: ({ samples }) => samples[0].score }] };`,
    );
    const answers = rows.map(({ i }) => (right(i) ? 'right' : 'wrong'));
    writeFileSync(
      at(`${name}.mjs`),
      `const answers = ${JSON.stringify(answers)};
       export const model = { name: '${name}', generate: async (all) => all.map(({ prompt }) => [{ text: answers[Number(prompt.split(' ')[1])], finishReason: 'stop', usage: { promptTokens: 1, completionTokens: 1 } }]) };`,
    );
    return command(['run', at('task.mjs'), '--module', at(`${name}.mjs`), '--log', at(`${name}.jsonl`)]);
  };

  it('runs, compares, shows, and shuts a gate', async () => {
    const good = await write('good', (i) => i % 4 > 0);
    expect(good).toMatchObject({ code: 0, err: '' });
    expect(good.out).toMatch(/good\s+75\.0/);
    await write('bad', (i) => i % 4 === 1);
    await write('same', (i) => i % 4 !== 1);
    const compared = await command(['compare', at('good.jsonl'), at('bad.jsonl')]);
    expect(compared.code).toBe(0);
    expect(compared.out).toMatch(/mean \(g\)\s+good\s+bad\s+−0\.5/);
    expect((await command(['gate', at('good.jsonl'), at('bad.jsonl')])).code).toBe(1);
    expect((await command(['gate', at('good.jsonl'), at('bad.jsonl')])).err).toMatch(/mean \(g\) is worse/);
    expect((await command(['gate', at('good.jsonl'), at('bad.jsonl'), '--tolerance', '0.9'])).code).toBe(0);
    expect((await command(['gate', at('good.jsonl'), at('bad.jsonl'), '--lower-is-better', 'mean'])).code).toBe(0);
    expect((await command(['gate', at('bad.jsonl'), at('good.jsonl'), '--lower-is-better', 'mean'])).code).toBe(1);
    expect((await command(['gate', at('good.jsonl'), at('same.jsonl')])).code).toBe(0);
    // A metric that is no longer there is no metric that has not fallen.
    const log = readFileSync(at('good.jsonl'), 'utf8');
    writeFileSync(
      at('more.jsonl'),
      log.replace('"metrics":[{', '"metrics":[{"metric":"extra","grader":"g","values":[]},{'),
    );
    const lacking = await command(['gate', at('more.jsonl'), at('same.jsonl')]);
    expect(lacking).toMatchObject({ code: 1, err: expect.stringMatching(/the second run has no extra \(g\)/) });
    expect((await command(['gate', at('more.jsonl'), at('same.jsonl'), '--metric', 'mean'])).code).toBe(0);
    // Nor is a problem without a value one that was solved as before.
    const holes = await readLog(at('same.jsonl'));
    const file = readFileSync(at('same.jsonl'), 'utf8');
    const values = holes.metrics[0]!.values.map((value, i) => (i < 7 ? null : value));
    writeFileSync(
      at('holes.jsonl'),
      file.replace(JSON.stringify(holes.metrics[0]!.values), () => JSON.stringify(values)),
    );
    const incomplete = await command(['gate', at('same.jsonl'), at('holes.jsonl')]);
    expect(incomplete).toMatchObject({ code: 1, out: expect.stringMatching(/incomplete/) });
    expect(incomplete.err).toMatch(
      /mean \(g\) has no value in the second run for 7 problems of the first: 0, 1, 2, 3, 4, …; --allow-missing/,
    );
    expect((await command(['gate', at('same.jsonl'), at('holes.jsonl'), '--allow-missing'])).code).toBe(0);
    // Of problems that only the baseline lacks nothing is lost.
    expect((await command(['gate', at('holes.jsonl'), at('same.jsonl')])).code).toBe(0);
    // Equal ids make no pairs of what two tasks ask.
    writeFileSync(at('other.jsonl'), file.replaceAll('"task":"numbers"', '"task":"others"'));
    for (const name of ['compare', 'gate']) {
      const given = [name, at('same.jsonl'), at('other.jsonl')];
      expect(await command(given)).toMatchObject({ code: 1, err: expect.stringMatching(/task "numbers".*"others"/) });
      expect((await command([...given, '--same-task'])).code).toBe(0);
      expect((await command([...given, '--task', 'numbers', '--second-task', 'others'])).code).toBe(0);
      const wrong = await command([...given, '--task', 'numbers', '--second-task', 'letters']);
      expect(wrong).toMatchObject({
        code: 2,
        err: expect.stringMatching(/other.jsonl has the tasks others; name one/),
      });
      const half = await command([...given, '--second-task', 'others']);
      expect(half).toMatchObject({ code: 2, err: expect.stringMatching(/give both/) });
    }
    const page = await command(['view', at('good.jsonl'), at('bad.jsonl'), '--output', at('page.html')]);
    expect(page).toMatchObject({ code: 0, out: `${at('page.html')}\n` });
    expect(readFileSync(at('page.html'), 'utf8')).toContain('numbers');
    // Logs of others are compared, too.
    await writeInspectLog(at('good.eval'), await readLog(at('good.jsonl')));
    expect((await command(['compare', at('good.eval'), at('bad.jsonl')])).out).toMatch(/−0\.5/);
  });

  it('a gate is shut by what is beyond the interval only, on the side that is worse', () => {
    const of = (difference: number, interval: readonly [number, number] | null) => ({ difference, interval }) as never;
    expect(hasFallen(of(-0.1, [-0.2, 0.01]), false, 0)).toBe(false);
    expect(hasFallen(of(-0.1, [-0.2, -0.01]), false, 0)).toBe(true);
    expect(hasFallen(of(-0.1, [-0.2, -0.01]), false, 0.05)).toBe(false);
    expect(hasFallen(of(0.1, [0.05, 0.2]), false, 0)).toBe(false);
    expect(hasFallen(of(0.1, [0.05, 0.2]), true, 0)).toBe(true);
    expect(hasFallen(of(-1, null), false, 0)).toBe(true);
    expect(hasFallen(of(0, null), false, 0)).toBe(false);
  });

  it('asks an endpoint, with the key of the environment', async () => {
    await write('good', () => true);
    const keys = new Set<string | undefined>();
    const server = createServer((request, response) => {
      keys.add(request.headers.authorization);
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify({
          choices: [{ index: 0, message: { role: 'assistant', content: 'right' }, finish_reason: 'stop' }],
          usage: { prompt_tokens: 3, completion_tokens: 1 },
        }),
      );
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
      const given = [
        'run',
        at('task.mjs'),
        '--endpoint',
        url,
        '--model',
        'tiny',
        '--limit',
        '3',
        '--log',
        at('endpoint.jsonl'),
      ];
      const { code, out, err } = await command(given, { POSTTRAIN_API_KEY: 'secret' });
      expect([code, err]).toEqual([0, '']);
      expect(out).toMatch(/tiny\s+100/);
      expect([...keys]).toEqual(['Bearer secret']);
    } finally {
      server.close();
    }
  });

  it('says what is wrong with what was typed: 2, with what was found: 1', async () => {
    const cases: [string[], number, RegExp][] = [
      [[], 0, /posttrain-eval COMMAND/],
      [['run', '--help'], 0, /--batch-size NUMBER/],
      [['rum'], 2, /no command "rum"/],
      [['run'], 2, /one module/],
      [['run', at('task.mjs'), '--limt', '3'], 2, /no option --limt. Did you mean --limit/],
      [['run', at('task.mjs'), '--limit', 'x', '--module', at('good.mjs')], 2, /whole number of at least 0, not "x"/],
      [['run', at('task.mjs')], 2, /name the model/],
      [['run', at('none.mjs'), '--module', at('good.mjs')], 1, /could not be imported/],
      [['run', at('good.mjs'), '--module', at('good.mjs')], 1, /must export a task/],
      [['compare', at('good.jsonl')], 2, /two logs/],
      [['compare', at('good.txt'), at('good.jsonl')], 1, /a log ends in/],
      [['compare', at('good.jsonl'), at('bad.jsonl'), '--metric', 'none'], 1, /no metric none/],
      [['gate', at('good.jsonl'), at('bad.jsonl'), '--lower-is-better', 'loss'], 2, /loss: that metric/],
    ];
    await write('bad', () => false);
    for (const [given, code, message] of cases) {
      const found = await command(given);
      expect(found.code, given.join(' ')).toBe(code);
      expect(found.out + found.err).toMatch(message);
    }
  });
});
