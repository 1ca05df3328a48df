import { readdirSync, readFileSync } from 'node:fs';
import type { GenerateRequest, Sandbox } from '@posttrain/interfaces';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { extractCode, quickjs } from '../../sandbox/src/index.js';
import * as tts from '../src/index.js';
import {
  NoCandidateError,
  programAided,
  Search,
  type Strategy,
  strategyOptions,
  type VerifiedStrategyOptions,
  verifierOption,
} from '../src/index.js';
import { type KitOptions, testStrategy } from '../src/testing/index.js';
import { type KitBehaviour, kitModel } from '../src/testing/kit-model.js';
import { goldenOf, hash32, scripted, seededUniform } from './doubles.js';
import { STRATEGIES, type StrategyRow } from './strategy-table.js';

describe('the kit', () => {
  for (const { name, strategy, optionsOf, kit } of STRATEGIES) testStrategy(it, name, strategy, optionsOf, kit);
});

/** What a search is with a kit's model that fails or is slow. */
async function runRow(
  { name, strategy, optionsOf, kit }: StrategyRow,
  given: Partial<KitOptions>,
  model: KitBehaviour,
) {
  const { generator, verifier, measured } = kitModel(model);
  const sampling = { maxTokens: 4, seed: 7 };
  const options = optionsOf({ generator, verifier, n: kit.n ?? 6, sampling, ...given });
  const search = strategy({ prompt: 'What is the digit?' }, options);
  const result = await search.catch((error: unknown) => {
    if (!(error instanceof NoCandidateError)) throw new Error(`${name}: ${error}`, { cause: error });
    return error;
  });
  return { result, measured };
}

describe('every strategy', () => {
  const bad = ({ prompt, prefix = '' }: GenerateRequest, seed: number) =>
    hash32(JSON.stringify([prompt, prefix, seed])) % 6 === 0;
  const breaks = (request: GenerateRequest) =>
    Array.from({ length: request.n ?? 1 }, (_, i) => (request.seed ?? 0) + i).some((seed) => bad(request, seed));

  it('is in the table of docs/tts: with its paper and needs as its source has them, and its cost where that is of n alone', async () => {
    const table = readFileSync(new URL('../../../docs/tts/table-of-strategies.md', import.meta.url), 'utf8');
    const cells = [...table.matchAll(/^\| `.*$/gm)].map(([line]) => line.split('|').map((cell) => cell.trim()));
    const listed = new Map(cells.map(([, name, ...rest]) => [name!.slice(1, -1), rest]));
    const source = new URL('../src/', import.meta.url);
    const noStrategies = ['episodes', 'bm25', 'retriever', 'pareto-front', 'reflection', 'system-aware-merge'];
    const files = ['strategies', 'agents', 'retrieval', 'prompt-optimization'].flatMap((folder) =>
      readdirSync(new URL(folder, source)).map((file) => `${folder}/${file}`),
    );
    const sources = new Map(
      files.flatMap((path) => {
        const file = path.replace(/^.*\/|\.ts$/g, '');
        const name = file.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
        return noStrategies.includes(file) ? [] : [[name, readFileSync(new URL(path, source), 'utf8')] as const];
      }),
    );
    const names = [...sources.keys()].sort();
    expect([...listed.keys()].sort()).toEqual(names);
    expect(names.filter((name) => typeof (tts as Record<string, unknown>)[name] !== 'function')).toEqual([]);
    const functionOf = ({ name }: StrategyRow) => name.replace(/ .*/, '');
    expect([...new Set(STRATEGIES.map(functionOf))].sort()).toEqual(names);
    for (const [name, [papers, needs, cost]] of listed) {
      const text = sources.get(name)!;
      for (const paper of papers!.split(', ')) expect(text, `${name}: paper`).toContain(paper);
      expect(/`verifier`/.test(needs!), `${name}: verifier`).toBe(/verifier: verifierOption/.test(text));
      expect(/`topLogProbs`/.test(needs!), `${name}: topLogProbs`).toBe(/topLogProbs: /.test(text));
      expect(/`logProbs`/.test(needs!), `${name}: logProbs`).toBe(/logProbs: true|logProbs: regularizer/.test(text));
      if (!/^c = n(, v = n)?$/.test(cost!)) continue;
      const row = STRATEGIES.find((it) => functionOf(it) === name)!;
      const { result } = await runRow(row, {}, {});
      const n = row.kit.n ?? 6;
      const { completions, verifierCalls } = result.trace.spent;
      expect([completions, verifierCalls], `${name}: cost`).toEqual([n, cost!.includes('v') ? n : 0]);
    }
  });

  it('keeps its budget with random delays and failures, and goes on without what has failed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          seed: fc.nat(),
          limit: fc.integer({ min: 0, max: 40 }),
          batchSize: fc.constantFrom(1, 3, 8),
          retries: fc.nat({ max: 2 }),
        }),
        async ({ seed, limit, batchSize, retries }) => {
          for (const row of STRATEGIES) {
            const budget = { maxCompletions: limit, maxCompletionTokens: 3 * limit, maxVerifierCalls: limit };
            const uniform = seededUniform(seed);
            const { measured } = await runRow(
              row,
              { budget, batchSize, retries, failures: 'drop' },
              { delay: () => (uniform() < 0.1 ? 1 : 0), fails: () => uniform() < 0.3 },
            );
            expect(measured.inFlight, row.name).toBe(0);
            expect(measured.completions, row.name).toBeLessThanOrEqual(limit);
            expect(measured.completionTokens, row.name).toBeLessThanOrEqual(3 * limit);
            expect(measured.verifierCalls, row.name).toBeLessThanOrEqual(limit);
          }
        },
      ),
      { numRuns: 4 },
    );
  });

  it('loses a branch that fails and no other, the same tree one call at a time and eight at once', async () => {
    let lost = 0;
    for (const row of STRATEGIES) {
      const trees = [];
      for (const batchSize of [1, 8]) {
        const { result } = await runRow(row, { batchSize, retries: 1, failures: 'drop' }, { breaks });
        const { nodes } = result.trace;
        for (const { finishReason, reason } of nodes) {
          if (finishReason !== 'abort') continue;
          lost++;
          expect(reason, row.name).toBe('failed: the kit’s generator cannot');
        }
        trees.push(nodes);
      }
      expect(trees[1], row.name).toEqual(trees[0]);
    }
    expect(lost).toBeGreaterThan(2 * STRATEGIES.length);
  });

  it('ends with the caller’s signal, whenever that is', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 12 }), async (last) => {
        for (const row of STRATEGIES) {
          const controller = new AbortController();
          const reason = new Error('enough');
          const delay = (request: number) => {
            if (request === last) controller.abort(reason);
            return request >= last ? 1000 : 0;
          };
          const running = runRow(row, { signal: controller.signal, failures: 'drop' }, { delay });
          const ended = await running.catch(({ cause }: Error) => cause);
          // Either it was done by then, or it says why it is not.
          if (controller.signal.aborted) expect(ended, row.name).toBe(reason);
        }
      }),
      { numRuns: 2 },
    );
  });
});

describe('the kit finds', () => {
  const judged = strategyOptions('judged', { verifier: verifierOption });
  /** The names of the checks that a strategy does not pass. */
  async function failures(strategy: Strategy<VerifiedStrategyOptions>): Promise<string[]> {
    const checks: [string, () => Promise<void>][] = [];
    testStrategy(
      (name, body) => checks.push([name.slice('it '.length), body]),
      'it',
      strategy,
      (kit: KitOptions) => kit,
    );
    const failed: string[] = [];
    for (const [name, body] of checks) await body().catch(() => failed.push(name));
    return failed;
  }
  const chosen = (search: Search, nodes: Awaited<ReturnType<Search['draw']>>) => {
    if (!nodes[0]) throw search.nothing('nothing');
    return search.finish(nodes[0]);
  };

  it('nothing in a strategy that is in order', async () => {
    expect(
      await failures(async (problem, options) => {
        const search = new Search(judged, problem, options);
        return chosen(search, await search.draw());
      }),
    ).toEqual([]);
  });

  it('who asks the generator past the search', async () => {
    const failed = await failures(async (problem, options) => {
      const search = new Search(judged, problem, options);
      await options.generator.generate([{ prompt: problem.prompt, n: 1 }]);
      return chosen(search, await search.draw());
    });
    expect(failed).toEqual([
      'never exceeds a budget',
      'is charged for calls that fail, and tried again only within the budget',
      'ends with the caller’s signal, and leaves nothing running',
    ]);
  });

  it('who goes by what was faster', async () => {
    let runs = 0;
    const failed = await failures(async (problem, options) => {
      const search = new Search(judged, problem, options);
      const nodes = await search.expand(search.root, { n: 2 + (runs++ % 2) });
      return chosen(search, nodes);
    });
    expect(failed).toEqual(['finds the same tree at any concurrency and with any delays']);
  });
});

describe('programAided', () => {
  const sandbox = quickjs();
  const question = { prompt: 'How many seats have 7 buses of 48?' };
  const ask = (programs: readonly string[], rest = {}) =>
    programAided(question, {
      generator: scripted(programs),
      n: programs.length,
      sandbox,
      limits: { wallMs: 2000 },
      ...rest,
    });

  it('answers what the programs compute, by majority, and says of the others why they have no vote', async () => {
    const result = await ask([
      'print(7 + 48)',
      'const seats = 48; print(7 * seats + ".0")',
      'throw new Error("no idea")',
      'print(BigInt(7) * 48n)',
      'while (true) {}',
      '',
    ]);
    expect(result).toMatchObject({ answer: String(7 * 48), text: 'const seats = 48; print(7 * seats + ".0")' });
    expect(result.votes).toEqual([
      { answer: '336', count: 2, weight: 2 },
      { answer: '55', count: 1, weight: 1 },
    ]);
    const reasons = result.trace.nodes.slice(1).map(({ reason }) => reason);
    expect(reasons).toEqual([
      ...['outvoted', undefined, expect.stringMatching(/^program failed .*no idea/), undefined],
      ...['program stopped: wall-time', 'no answer found'],
    ]);
    expect(result.trace.nodes.slice(1).map(({ answer }) => answer)).toEqual(['55', '336', null, '336', null, null]);
  });

  it.each(goldenOf<{ runs: { programs: (string | null)[]; answer: number | null }[] }>('programs', 'authors').runs)(
    'answers what the authors’ code does: $programs',
    async ({ programs, answer }) => {
      const written = programs.map((body) =>
        body === null ? 'const x = 1;' : `function solution() { return ${body}; }`,
      );
      const asked = ask(written, { answerExpression: 'solution()' });
      if (answer === null) return expect(asked).rejects.toThrow(/none of \d programs has an answer/);
      // Theirs is one interpreter for all: a program without `solution` votes with that of the one before.
      const kept = programs.includes(null) && programs.length > 2 ? 4 : answer;
      expect((await asked).answer).toBe(String(kept));
    },
  );

  it('takes programs out of text, asks for the value of an expression, and reads the answer as it is told', async () => {
    const program = (body: string) => `Let us see.\n\`\`\`js\nfunction solution() { return ${body}; }\n\`\`\``;
    const result = await ask([program('2 ** 100'), program('1n << 100n'), program('2n ** 100n'), 'I do not know.'], {
      ...{ answerExpression: 'solution()', extractAnswer: (stdout: string) => `<${stdout}>` },
      extractProgram: (text: string) => (text.includes('```') ? extractCode(text, 'javascript') : null),
    });
    expect(result.answer).toBe('<1267650600228229401496703205376>');
    expect(result.trace.nodes.at(-1)!.reason).toBe('no program found');
  });

  it('gives a program no file of this machine, and throws where none has an answer or the sandbox cannot run', async () => {
    await expect(
      ask(['print(read("/etc/passwd"))', 'import("node:fs").then((fs) => print(fs.readdirSync("/")))']),
    ).rejects.toThrow(/none of 2 programs has an answer/);
    const broken: Sandbox = { ...sandbox, run: () => Promise.reject(new Error('no isolation here')) };
    await expect(ask(['print(1)'], { sandbox: broken })).rejects.toThrow('no isolation here');
    await expect(ask(['print(1)'], { language: 'python' })).rejects.toThrow(/language is "python".*one of javascript/);
  });

  it('kills what runs when the wall time is over, and goes by the programs that came to their end', async () => {
    await expect(
      ask(['while (true) {}'], { limits: { wallMs: 60_000 }, budget: { maxWallTimeMs: 600 } }),
    ).rejects.toThrow(/maxWallTimeMs/);
    const reason = new Error('enough');
    await expect(ask(['print(1)'], { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});
