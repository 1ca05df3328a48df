import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Key, referenceEngine, setEngine, tensor } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { onEngine } from '@posttrain/core-tensor/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  CausalLM,
  contrastive,
  type DecodeRow,
  DraftVocabularyError,
  initialWeights,
  LocalGenerator,
  loadWeights,
  MedusaHeads,
  ModelRunner,
  networkOf,
  type ProposalRequest,
  type Proposer,
  RestDatastore,
  rest,
  type ScheduledToken,
  Scheduler,
  type SpeculativeOptions,
  sequenceLogProbs,
  Tokenizer,
  type Weights,
} from '../../src/index.js';
import { SpeculativeDecoding } from '../../src/speculative/speculative-decoding.js';
import { ENGINES, largestDifference, modelFolder, rowOf, tinyConfig, tinyModel, tokenizerFolder } from '../support.js';

beforeAll(() => setEngine(referenceEngine()));

interface AssistedGolden {
  readonly assisted: {
    readonly model: string;
    readonly scaled: string[];
    readonly factor: number;
    readonly schedule: 'constant' | 'heuristic';
    readonly tokens: number;
    readonly rows: { readonly prompt: number[]; readonly ids: number[]; readonly rounds: [number, number][] }[];
  }[];
}
const path = join(import.meta.dirname, '../../../../goldens/speculative/expected.json');
const golden: AssistedGolden = JSON.parse(readFileSync(path, 'utf8'));

/** The same weights with some of them times a factor. */
async function scaled(weights: Weights, names: readonly string[], factor: number): Promise<Weights> {
  const others = names.map(async (name) => {
    const { shape } = weights[name]!;
    const numbers = await weights[name]!.toArray();
    return [
      name,
      tensor(
        Float32Array.from(numbers, (x) => x * factor),
        shape,
      ),
    ] as const;
  });
  return { ...weights, ...Object.fromEntries(await Promise.all(others)) };
}

/** All tokens of rows, and the proposals that were made for each. */
async function run(
  model: CausalLM,
  rows: readonly DecodeRow[],
  speculation?: SpeculativeDecoding,
  maxBatch = 64,
  cacheTokens = 4096,
) {
  const runner = new ModelRunner(model, { cacheTokens });
  const inner = speculation?.begin(runner.capacity);
  const rounds = rows.map((): [number, number][] => []);
  const proposer: Proposer | undefined = inner && {
    ...inner,
    verified(id, verified) {
      rounds[id]!.push([verified.proposed, verified.accepted]);
      inner.verified!(id, verified);
    },
  };
  const scheduler = new Scheduler(runner, proposer ? { maxBatch, proposer } : { maxBatch });
  const events = rows.map((): ScheduledToken[] => []);
  for (const row of rows) scheduler.add(row);
  while (scheduler.size > 0) for (const token of await scheduler.step()) events[token.id]!.push(token);
  scheduler.close();
  proposer?.close();
  expect(runner.freeTokens).toBe(runner.capacity);
  const tokens = events.map((list) => list.map(({ token }) => token));
  const finishes = events.map((list) => list.map(({ finish }) => finish));
  return { events, tokens, finishes, rounds };
}

/** A model over a tokenizer that its tokens need not come from. */
async function withTokenizer(
  { network, weights }: { readonly network: CausalLM['network']; readonly weights: Weights },
  name = 'target',
): Promise<CausalLM> {
  const tokenizer = await Tokenizer.load(tokenizerFolder('byte-level-bpe'));
  return new CausalLM({ config: { ...network.config, vocabSize: 10_000 }, weights, tokenizer, name }, network);
}

/** A random model of a few tokens. */
async function tiny(overrides: Readonly<Record<string, unknown>> = {}, seed = 1): Promise<CausalLM> {
  const network = networkOf(tinyConfig(overrides));
  const weights = await onEngine(referenceEngine(), () => initialWeights(network, seed));
  return withTokenizer({ network, weights });
}

const range = <T>(n: number, f: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => f(i));
const sampled = (seed: number, overrides: Partial<DecodeRow> = {}): Partial<DecodeRow> => ({
  temperature: 0.9,
  key: Key.fromSeed(seed),
  ...overrides,
});

describe('the rounds of transformers', () => {
  it.each(golden.assisted)('$model, $schedule', async (one) => {
    const target = await withTokenizer(await loadWeights(modelFolder(one.model)));
    const draft = target.withWeights(await scaled(target.weights, one.scaled, one.factor), 'draft');
    const { tokens, schedule } = one;
    const rows = one.rows.map(({ prompt }) => rowOf(prompt, 24));
    const result = await run(target, rows, new SpeculativeDecoding(target, { draft, tokens, schedule }));
    expect(result.tokens).toEqual(one.rows.map(({ ids }) => ids));
    expect(result.rounds).toEqual(one.rows.map(({ rounds }) => rounds));
  });
});

describe.each(ENGINES)('speculative decoding on the %s engine', (_, makeEngine) => {
  const engine = makeEngine();

  it.each([
    ['llama', {}, 'model.layers.1.mlp.down_proj.weight', true],
    ['gpt2', { model_type: 'gpt2' }, 'transformer.h.1.mlp.c_proj.weight', true],
    // Recurrent states are kept for what is taken back.
    [
      'mamba2',
      { model_type: 'mamba2', num_heads: 4, head_dim: 8, n_groups: 2, state_size: 6 },
      'backbone.layers.1.mixer.out_proj.weight',
      false,
    ],
  ] as const)('%s: is greedy decoding, whatever the draft', (_family, config, output, repeats) =>
    onEngine(engine, async () => {
      const target = await tiny(config);
      const other = target.withWeights(await initialWeights(target.network, 9));
      const similar = target.withWeights(await scaled(target.weights, [output], 0.9));
      const rows = [[3], [9, 1, 4, 1, 5], range(18, (i) => (7 * i) % 64), [3]].map((prompt, i) =>
        rowOf(prompt, 14 - i),
      );
      const plain = await run(target, rows);
      const rates: number[] = [];
      for (const draft of [target, similar, other]) {
        const speculation = new SpeculativeDecoding(target, { draft, tokens: 4 });
        const { tokens, finishes } = await run(target, rows, speculation);
        expect(tokens).toEqual(plain.tokens);
        expect(finishes).toEqual(plain.finishes);
        rates.push(speculation.statistics.acceptanceRate);
      }
      expect(rates[0]).toBe(1);
      expect(rates[1]).toBeLessThan(1);
      expect(rates[2]).toBeLessThan(rates[1]!);
      const lookup = new SpeculativeDecoding(target, { promptLookup: { tokens: 3 } });
      const { tokens, rounds } = await run(target, rows, lookup);
      expect(tokens).toEqual(plain.tokens);
      expect(rounds.flat().some(([proposed]) => proposed === 0)).toBe(true);
      expect(lookup.statistics.accepted > 0).toBe(repeats);
    }),
  );

  it('a draft that is the model itself, and prompt lookup, change no sampled token and no log-probability', () =>
    onEngine(engine, async () => {
      const target = await tiny();
      const rows = range(5, (i) =>
        rowOf([i + 1, 4, i + 1], 20, sampled(i, i % 2 ? { topK: 12, topP: 0.9 } : { repetitionPenalty: 1.2 })),
      );
      const plain = await run(target, rows);
      for (const options of [{ draft: target }, { promptLookup: { maxMatchingNgramSize: 1 } }]) {
        const speculation = new SpeculativeDecoding(target, options);
        const { tokens, events } = await run(target, rows, speculation);
        expect(tokens).toEqual(plain.tokens);
        const logProbsOf = (lists: ScheduledToken[][]) => lists.flat().map(({ logProb }) => logProb!);
        expect(largestDifference(logProbsOf(events), logProbsOf(plain.events))).toBeLessThan(1e-4);
        const { acceptanceRate, tokensPerPass, accepted } = speculation.statistics;
        if ('draft' in options) expect(acceptanceRate).toBeGreaterThan(0.99);
        else expect(accepted).toBeGreaterThan(0);
        expect(tokensPerPass).toBeGreaterThan(1);
      }
    }));

  it('REST says what is in its store: the model’s own text at once, and of other text nothing', () =>
    onEngine(engine, async () => {
      const target = await tiny();
      const rows = range(4, (i) => rowOf([i + 1, 9, i + 5], 19));
      const plain = await run(target, rows);
      const own = plain.tokens.map((tokens, i) => [...rows[i]!.prompt, ...tokens]);
      const speculate = async (texts: readonly number[][]) => {
        const proposer = rest(new RestDatastore(texts), { depth: 8, tokens: 8 });
        const speculation = new SpeculativeDecoding(target, { proposer });
        const { tokens } = await run(target, rows, speculation);
        expect(tokens).toEqual(plain.tokens);
        return speculation.statistics;
      };
      const known = await speculate(own);
      // One from the prompt's own pass, then eight and one, twice.
      expect([known.passes, known.acceptanceRate]).toEqual([2 * rows.length, 1]);
      const unsaid = range(64, (token) => token).filter((token) => !own.flat().includes(token));
      expect(unsaid.length).toBeGreaterThan(3);
      const other = await speculate([unsaid]);
      expect([other.proposed, other.tokensPerPass]).toEqual([0, 1]);
    }));

  it('gives a row the same tokens in any batch', () =>
    onEngine(engine, async () => {
      const target = await tiny();
      const draft = target.withWeights(await initialWeights(target.network, 2));
      const rows = range(6, (i) =>
        rowOf(
          range(1 + 5 * (i % 3), (n) => n + 3),
          6 + i,
          sampled(i),
        ),
      );
      const options: SpeculativeOptions = { draft, tokens: 3, schedule: 'heuristic' };
      const together = await run(target, rows, new SpeculativeDecoding(target, options));
      const [pairs, ...alone] = [
        await run(target, rows, new SpeculativeDecoding(target, options), 2),
        ...(await Promise.all(rows.map((row) => run(target, [row], new SpeculativeDecoding(target, options))))),
      ];
      expect(pairs.tokens).toEqual(together.tokens);
      expect(alone.flatMap(({ tokens }) => tokens)).toEqual(together.tokens);
    }));
});

it('gives the same tokens when the cache is full on the way, of the target and of the draft', async () => {
  const target = await tiny({ max_position_embeddings: 128 });
  const draft = target.withWeights(await initialWeights(target.network, 2));
  const rows = range(4, (i) =>
    rowOf(
      range(5 * i + 1, (n) => n + 3),
      90,
      sampled(i),
    ),
  );
  const plain = await run(target, rows);
  const medusa = MedusaHeads.initialize(target);
  for (const options of [{ draft: target }, { draft, tokens: 3 }, { promptLookup: {} }, { medusa }]) {
    const roomy = await run(target, rows, new SpeculativeDecoding(target, options));
    const full = await run(target, rows, new SpeculativeDecoding(target, options), 4, 12 * 16);
    expect(full.tokens).toEqual(roomy.tokens);
    if (!('tokens' in options)) expect(full.tokens).toEqual(plain.tokens);
  }
  const mixed = rows.map((row) => ({ ...row, mix: contrastive({ amateur: { model: draft } }) }));
  const roomy = await run(target, mixed);
  expect((await run(target, mixed, undefined, 4, 12 * 16)).tokens).toEqual(roomy.tokens);
});

describe('the distribution of sampled completions', () => {
  /** How far the completions of many seeds are from the target's distribution, over all of them: chi-square. */
  async function statistic(acceptAll: boolean): Promise<number> {
    const small = { vocab_size: 3, num_hidden_layers: 1 };
    const [target, other] = [await tiny(small), await tiny(small, 2)];
    const draft = target.withWeights(other.weights);
    const all = range(3 ** 4, (i) => [27, 9, 3, 1].map((place) => Math.floor(i / place) % 3));
    const prompt = [1, 2];
    const scored = await sequenceLogProbs(
      target,
      all.map((tokens) => [...prompt, ...tokens]),
      { temperature: 0.9 },
    );
    const speculation = new SpeculativeDecoding(target, { draft, tokens: 2 });
    const rows = range(1000, (i) => rowOf(prompt, 4, sampled(i)));
    if (acceptAll) {
      const begin = speculation.begin.bind(speculation);
      // What was drawn from nothing is always kept: a draft that is not corrected.
      speculation.begin = (cacheTokens) => {
        const proposer = begin(cacheTokens);
        return {
          ...proposer,
          propose: async (requests: readonly ProposalRequest[]) =>
            (await proposer.propose(requests)).map((proposal) => {
              const { tokens, distributions = [] } = proposal;
              const nothing = { tokens: new Int32Array(0), probabilities: new Float64Array(0) };
              return { tokens, distributions: distributions.map(() => nothing) };
            }),
        };
      };
    }
    const { tokens } = await run(target, rows, speculation, 256);
    const counts = new Map<string, number>();
    for (const list of tokens) counts.set(list.join(), (counts.get(list.join()) ?? 0) + 1);
    expect(speculation.statistics.proposed).toBeGreaterThan(rows.length);
    // Rare completions are counted together.
    let [sum, rareCount, rareMean] = [0, 0, 0];
    for (const [i, completion] of all.entries()) {
      const mean = rows.length * Math.exp(scored[i]!.logProbs.subarray(-4).reduce((a, b) => a + b, 0));
      const count = counts.get(completion.join()) ?? 0;
      if (mean >= 8) sum += (count - mean) ** 2 / mean;
      else {
        rareCount += count;
        rareMean += mean;
      }
    }
    return sum + (rareCount - rareMean) ** 2 / rareMean;
  }

  it('is the target’s, in whole completions; without the correction the same test fails', async () => {
    await onEngine(onnxruntimeEngine(), async () => {
      // At most 81 cells: the 99.9 % point of chi-square with 80 degrees of freedom.
      expect(await statistic(false)).toBeLessThan(124.8);
      expect(await statistic(true)).toBeGreaterThan(124.8);
    });
  });
});

describe('the end of a completion', () => {
  it('lies where it lies without speculation, at every place of a run of tokens', async () => {
    const target = await tiny();
    const prompt = [5, 9, 2];
    const [free] = (await run(target, [rowOf(prompt, 14, sampled(3))])).tokens;
    const places = free!.map((token, i) => [token, i] as const).filter(([token, i]) => free!.indexOf(token) === i);
    expect(places.length).toBeGreaterThan(6);
    const rows = [
      ...places.map(([end]) => rowOf(prompt, 14, sampled(3, { isEnd: (token) => token === end }))),
      ...range(9, (i) => rowOf(prompt, i + 1, sampled(3))),
    ];
    const speculation = new SpeculativeDecoding(target, { draft: target, tokens: 4 });
    const { tokens, finishes } = await run(target, rows, speculation);
    expect(tokens).toEqual([
      ...places.map(([, i]) => free!.slice(0, i + 1)),
      ...range(9, (i) => free!.slice(0, i + 1)),
    ]);
    expect(finishes.map((list) => list.at(-1))).toEqual([...places.map(() => 'stop'), ...range(9, () => 'length')]);
    expect(finishes.flatMap((list) => list.slice(0, -1)).every((finish) => finish === undefined)).toBe(true);
  });

  it('is the end of the context, the model’s and the draft’s', async () => {
    const target = await tiny({ model_type: 'gpt2', n_positions: 20 });
    const draft = await tiny({ model_type: 'gpt2', n_positions: 14 });
    const rows = [
      rowOf(
        range(10, (i) => i),
        50,
      ),
      rowOf([3], 50),
      rowOf(
        range(17, (i) => i),
        50,
      ),
    ];
    const plain = await run(target, rows);
    expect(plain.tokens.map(({ length }) => length)).toEqual([10, 19, 3]);
    const medusa = await run(target, rows, new SpeculativeDecoding(target, { medusa: MedusaHeads.initialize(target) }));
    expect(medusa.tokens).toEqual(plain.tokens);
    for (const one of [target, draft]) {
      const { tokens, rounds } = await run(target, rows, new SpeculativeDecoding(target, { draft: one, tokens: 6 }));
      expect(tokens).toEqual(plain.tokens);
      expect(rounds[2]!.every(([proposed]) => proposed <= (one === target ? 2 : 0))).toBe(true);
    }
  });

  it('comes at a stop string in the middle of a run, and leaves the same text, counts and log-probabilities', async () => {
    const model = await tinyModel();
    const request = { prompt: 'One and one', maxTokens: 40, seed: 8, logProbs: true };
    const complete = async (stop: readonly string[], options = {}) => {
      const [completions] = await new LocalGenerator(model, options).generate([{ ...request, stop }]);
      return completions![0]!;
    };
    const free = await complete([]);
    const speculative = { draft: model, tokens: 5 };
    for (const from of [4, 9, 14, 19]) {
      const stop = [free.text.slice(from, from + 3)];
      const plain = await complete(stop);
      const { logProbs, ...rest } = await complete(stop, { speculative });
      expect(rest).toEqual({ ...plain, logProbs: undefined, ...rest, text: plain.text });
      expect(rest.tokenIds).toEqual(plain.tokenIds);
      expect(rest.usage.completionTokens).toBe(plain.usage.completionTokens);
      expect(rest.finishReason).toBe('stop');
      expect(largestDifference(logProbs!, plain.logProbs!)).toBeLessThan(1e-6);
      let text = '';
      for await (const event of new LocalGenerator(model, { speculative }).stream({ ...request, stop }))
        text += event.text;
      expect(text).toBe(plain.text);
    }
  });
});

describe('model.generator({ speculative })', () => {
  it('reports the target’s log-probabilities, and what speculation did', async () => {
    const model = await tinyModel();
    const draft = await tinyModel('byte-level-bpe', {}, 4);
    const generator = new LocalGenerator(model, { speculative: { draft, tokens: 3 } });
    const request = { prompt: 'A', n: 3, maxTokens: 12, temperature: 0.7, logProbs: true };
    const [completions] = await generator.generate([request]);
    const prompt = model.tokenizer.encode('A');
    for (const { tokenIds, logProbs } of completions!) {
      const [scored] = await sequenceLogProbs(model, [[...prompt, ...tokenIds!]], { temperature: 0.7 });
      expect(largestDifference(scored!.logProbs.subarray(-12), logProbs!)).toBeLessThan(1e-4);
    }
    const { passes, tokens, proposed, accepted, acceptanceRate, tokensPerPass } = generator.speculation!;
    // The first token of each comes from the prompt's own pass.
    expect(tokens).toBe(3 * 11);
    expect(accepted).toBe(tokens - passes);
    expect(acceptanceRate).toBe(accepted / proposed);
    expect(tokensPerPass).toBe(tokens / passes);
    expect(new LocalGenerator(model).speculation).toBeUndefined();
  });

  it('refuses a draft with other tokens, and options that make no sense', async () => {
    const model = await tinyModel();
    const other = await tinyModel('unigram');
    expect(() => new LocalGenerator(model, { speculative: { draft: other } })).toThrow(DraftVocabularyError);
    expect(() => new LocalGenerator(model, { speculative: { draft: other } })).toThrow(
      /does not have the tokens of tiny/,
    );
    expect(() => new LocalGenerator(model, { speculative: { draft: model, tokens: 0 } })).toThrow(
      /tokens is 0; it must be a whole number of at least 1/,
    );
    const schedule = 'Heuristic' as 'heuristic';
    expect(() => new LocalGenerator(model, { speculative: { draft: model, schedule } })).toThrow(
      /schedule is "Heuristic"; it must be one of .* Did you mean "heuristic"/,
    );
    expect(() => new LocalGenerator(model, { speculative: { promptLookup: { tokens: -1 } } })).toThrow(
      /tokens is -1; it must be a whole number of at least 1/,
    );
    const misspelt = { draft: model, token: 4 } as SpeculativeOptions;
    expect(() => new LocalGenerator(model, { speculative: misspelt })).toThrow(/Did you mean "tokens"/);
  });
});
