import { readFileSync } from 'node:fs';
import { Key, setEngine, type Tensor, tensor } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { candidateScorer } from '@posttrain/interfaces';
import {
  testCandidateScorer,
  testEmbedder,
  testEntailer,
  testGenerator,
  testRowFeatures,
  testRowGradients,
  testScorer,
} from '@posttrain/interfaces/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../peft/src/testing/tiny-model.js';
import { tinyPolicy } from '../../rl/src/testing/tiny-model.js';
import {
  budgetForcing,
  type CausalLM,
  classifierGradients,
  contrastive,
  type DecodingMix,
  dola,
  EagleHead,
  fudge,
  geometricMixture,
  LocalEmbedder,
  LocalGenerator,
  LocalScorer,
  logSoftmax,
  lookahead,
  MedusaHeads,
  nliEntailer,
  type Proposal,
  type Proposer,
  type ProposerRun,
  proxyTuning,
  RestDatastore,
  rest,
  rowFeatures,
  SequenceClassifier,
  type SpeculativeOptions,
  teacherMixture,
  valueGuided,
} from '../src/index.js';
import { SpeculativeDecoding } from '../src/speculative/speculative-decoding.js';
import { testDecodeHook, testDecodingMix, testProposer } from '../src/testing/index.js';
import { kitModel, kitRow } from '../src/testing/kit-run.js';

beforeAll(() => setEngine(onnxruntimeEngine()));

/** What is compiled for a model is so once. */
const through = (optionsOf: (model: CausalLM) => SpeculativeOptions) => {
  const made = new WeakMap<CausalLM, SpeculativeDecoding>();
  return ({ model, cacheTokens }: ProposerRun): Proposer => {
    const speculation = made.get(model) ?? new SpeculativeDecoding(model, optionsOf(model));
    made.set(model, speculation);
    return speculation.begin(cacheTokens);
  };
};

/** Heads that are not what the model says of the next token. */
function heads(model: CausalLM): MedusaHeads {
  const initial = MedusaHeads.initialize(model, { medusaNumHeads: 3 });
  const shaken = Object.entries(initial.weights).map(([name, { shape }], i) => {
    const size = shape.reduce((a, b) => a * b, 1);
    return [
      name,
      tensor(
        Key.fromSeed(i)
          .normalHost(size)
          .map((x) => x / 2),
        shape,
      ),
    ] as const;
  });
  return initial.withWeights(Object.fromEntries(shaken));
}

/** A model whose weights are between the given one's and others. */
const near = (model: CausalLM): CausalLM =>
  model.withWeights(
    Object.fromEntries(Object.entries(model.weights).map(([name, w]) => [name, name.includes('mlp') ? w.mul(0.6) : w])),
    'near',
  );

describe('testProposer', () => {
  testProposer(
    it,
    'a draft model',
    through((model) => ({ draft: near(model), tokens: 3 })),
  );
  testProposer(
    it,
    'prompt lookup',
    through(() => ({ promptLookup: { maxMatchingNgramSize: 1 } })),
  );
  // All n-grams of three tokens.
  const words = Array.from({ length: 27 }, (_, i) => [i % 3, Math.floor(i / 3) % 3, Math.floor(i / 9)]);
  testProposer(it, 'REST', rest(new RestDatastore([...words, [0, 1, 2, 0, 1, 2], [2, 0, 1]]), { depth: 4 }));
  for (const ngramSize of [2, 4]) {
    testProposer(it, `lookahead, ${ngramSize}`, lookahead({ windowSize: 5, ngramSize, guessSetSize: 3 }));
  }
  it('lookahead fills its pool from what was refused: tokens in a circle come N at a time', async () => {
    // A text whose next token is (last + 1) mod 7, and a model that knows it.
    const next = (token: number) => (token + 1) % 7;
    for (const ngramSize of [2, 3, 5]) {
      const proposer = lookahead({ windowSize: 8, ngramSize, guessSetSize: 1, poolFromPrompt: false })();
      const generated = [0];
      const accepted: number[] = [];
      for (let pass = 0; pass < 30; pass++) {
        const request = { id: 0, row: kitRow([6], 99), state: { generated } as never, most: 20 };
        const [{ tokens, parents }] = (await proposer.propose([request])) as [Required<Proposal>];
        const path: number[] = [];
        const drawn = [{ token: next(generated.at(-1)!) }];
        for (let at = -1; ; path.push(at)) {
          const wanted = drawn.at(-1)!.token;
          at = tokens.findIndex((token, i) => parents[i] === at && token === wanted);
          if (at < 0) break;
          drawn.push({ token: next(wanted) });
        }
        const logits = [generated.at(-1)!, ...tokens].map((token) =>
          Float32Array.from({ length: 7 }, (_, i) => Number(i === next(token))),
        );
        proposer.verified!(0, { drawn, proposed: tokens.length, accepted: path.length, path, logits });
        generated.push(...drawn.map(({ token }) => token));
        accepted.push(path.length);
      }
      expect(generated).toEqual(generated.map((_, i) => i % 7));
      // Nothing is guessed before the first n-grams are whole; then N − 1 guesses are kept, and one token is the model’s own.
      expect(accepted[0]).toBe(0);
      expect(Math.min(...accepted.slice(-10))).toBeGreaterThanOrEqual(ngramSize - 1);
    }
  });
  const eagles = new Map<number, EagleHead>();
  beforeAll(async () => {
    for (const vocabulary of [3, 40]) {
      eagles.set(vocabulary, await EagleHead.initialize(await kitModel(vocabulary, 1)));
    }
  });
  const eagleDrafts = {
    EAGLE: { tokens: 3 },
    // Greedy rows get the likeliest tokens of the same tree.
    'EAGLE, a tree that is drawn': {
      choices: [[0], [1], [0, 0], [0, 1], [1, 0], [0, 1, 0], [0, 1, 1]],
      candidates: 'sampled',
    },
    'EAGLE-2': { dynamicTree: { topK: 2, depth: 3, totalTokens: 5 } },
  } as const;
  for (const [name, draft] of Object.entries(eagleDrafts)) {
    testProposer(
      it,
      name,
      through(({ config }) => ({ eagle: eagles.get(config.vocabSize)!, ...draft })),
    );
  }
  testProposer(
    it,
    'Medusa, likeliest',
    through((model) => ({ medusa: heads(model) })),
  );
  testProposer(
    it,
    'Medusa, sampled',
    through((model) => ({
      medusa: heads(model),
      candidates: 'sampled',
      choices: [[0], [1], [0, 0], [0, 1], [1, 0], [0, 0, 0]],
    })),
  );
});

const [even, negative] = [{ alpha: 0.5 }, [4, 0]];
describe('testDecodingMix', () => {
  it('heads of other shapes are refused by name', async () => {
    const model = await tinyModel('llama');
    const given = MedusaHeads.initialize(model, { medusaNumHeads: 2 });
    const run = (weights: Readonly<Record<string, Tensor>>) =>
      new LocalGenerator(model, { speculative: { medusa: given.withWeights(weights) } });
    const square = Object.keys(given.weights).findLast((name) => String(given.weights[name]!.shape) === '16,16')!;
    expect(() => run({ ...given.weights, [square]: tensor(new Float32Array(128), [8, 16]) })).toThrow(
      /has the shape \[8, 16\], and tiny-llama needs \[16, 16\]/,
    );
    const { [square]: _, ...fewer } = given.weights;
    expect(() => run(fewer)).toThrow(/is missing, and tiny-llama needs/);
  });

  it('a mix that is none is refused by name', async () => {
    const model = await tinyModel('llama');
    const generate = (mix: unknown) =>
      new LocalGenerator(model).generate([{ prompt: 'ab', maxTokens: 1, mix: mix as never }]);
    for (const mix of [{}, 'contrastive', { name: 'm', models: [{}], combine: () => [] }]) {
      await expect(generate(mix)).rejects.toThrow(/mix is .*; it must be a decoding mix/);
    }
  });

  it('a model with other tokens is refused by name, but for rows of padding', async () => {
    const [policy, larger] = [await kitModel(5, 1), await kitModel(8, 2)];
    const run = (amateur: Pick<CausalLM, 'network' | 'weights'>, of = policy) =>
      new LocalGenerator(of).generate([
        { prompt: { tokenIds: [1] }, maxTokens: 1, mix: contrastive({ amateur: { model: amateur } }) },
      ]);
    // Its tokenizer has two tokens: what is behind them is padding.
    await expect(run(larger)).resolves.toHaveLength(1);
    const { network, weights } = larger;
    await expect(run({ network, weights })).rejects.toThrow('contrastive: model 0 has 8 tokens, and the policy 5');
    await expect(run(policy, larger)).rejects.toThrow('contrastive: model 0 has 5 tokens, and the policy 8');
  });

  testDecodingMix(it, 'contrastive', ({ others: [amateur] }) => contrastive({ amateur: { model: amateur } }));
  testDecodingMix(it, 'guidance', ({ policy }) =>
    contrastive({ amateur: { model: policy, prompt: negative }, alpha: 0, beta: 0.5 }),
  );
  testDecodingMix(it, 'teacherMixture', ({ others: [model] }) => teacherMixture({ teacher: { model }, ...even }));
  testDecodingMix(it, 'geometricMixture', ({ others: [model] }) => geometricMixture({ other: { model }, ...even }));
  it('geometric mixture: by hand, and at its ends one of the two, whatever the other excludes', () => {
    const [p, q] = [
      [0.5, 0.3, 0.2],
      [0.1, 0.1, 0.8],
    ].map((shares) => Float32Array.from(shares, Math.log));
    const of = (alpha: number, other = q!) => {
      const mixed = geometricMixture({ other: { model: { network: {}, weights: {} } as never }, alpha }).combine(
        p!,
        [other],
        [],
      );
      const shares = Array.from(mixed, Math.exp);
      return shares.map((share) => share / shares.reduce((a, b) => a + b));
    };
    const roots = [0.5 * 0.1, 0.3 * 0.1, 0.2 * 0.8].map(Math.sqrt);
    for (const [i, share] of of(0.5).entries()) {
      expect(share).toBeCloseTo(roots[i]! / roots.reduce((a, b) => a + b), 6);
    }
    const never = Float32Array.from([0, Number.NEGATIVE_INFINITY, 0]);
    for (const [i, share] of of(0, never).entries()) expect(share).toBeCloseTo([0.5, 0.3, 0.2][i]!, 6);
    expect(of(0.5, never)[1]).toBe(0);
  });
  testDecodingMix(it, 'proxyTuning of one model twice', ({ others: [model] }) =>
    proxyTuning({ expert: { model }, antiExpert: { model, prompt: negative }, ...even }),
  );
  testDecodingMix(it, 'proxyTuning', ({ others: [expert, antiExpert] }) =>
    proxyTuning({ expert: { model: expert }, antiExpert: { model: antiExpert } }),
  );
  testDecodingMix(it, 'DoLa', () => dola({ dolaLayers: 'high' }));
  it('DoLa: a layer that says the same adds nothing, one that says nothing leaves the model, and the farther one counts', () => {
    const config = (numHiddenLayers: number, tieWordEmbeddings: boolean) =>
      ({ numHiddenLayers, tieWordEmbeddings }) as CausalLM['config'];
    const { innerLayers } = dola({ dolaLayers: 'low' });
    const candidates = (dolaLayers: 'low' | 'high', ...of: [number, boolean]) =>
      (dola({ dolaLayers }).innerLayers as Exclude<typeof innerLayers, readonly number[] | undefined>)(config(...of));
    expect(candidates('low', 32, false)).toEqual([0, 2, 4, 6, 8, 10, 12, 14]);
    expect(candidates('high', 32, false)).toEqual([16, 18, 20, 22, 24, 26, 28, 30]);
    expect(candidates('low', 30, true)).toEqual([2, 4, 6, 8, 10, 12, 14]);
    expect(candidates('low', 2, true)).toEqual([1]);
    expect(candidates('low', 80, false)).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
    expect(candidates('high', 80, false)).toEqual([60, 62, 64, 66, 68, 70, 72, 74, 76, 78]);
    expect(() => candidates('low', 3, true)).toThrow(/none that is low/);

    const mature = Float32Array.of(2, 1, 1.5, -4);
    const silent = new Float32Array(4);
    const { combine } = dola({ dolaLayers: [0], relativeTop: 0.1 });
    expect([...combine(mature, [], [mature])]).toEqual([0, 0, 0, Number.NEGATIVE_INFINITY]);
    const said = [...combine(mature, [], [mature, silent, mature])];
    expect(said[0]! - said[1]!).toBeCloseTo(1, 12);
    expect(said[0]! - said[2]!).toBeCloseTo(0.5, 12);
    expect(said[3]).toBe(Number.NEGATIVE_INFINITY);
  });
  testDecodingMix(it, 'fudge', ({ others: [model] }) => fudge({ classifier: { model }, lambda: 1.5 }));
  const classifier = { model: { network: {}, weights: {} } as never };
  it('FUDGE goes on greedily as the authors’ loop does, over tables', () => {
    type Tables = number[][][];
    const url = new URL('../../../goldens/authors/fudge.json', import.meta.url);
    const { cases } = JSON.parse(readFileSync(url, 'utf8')) as {
      cases: { lambda: number; policy: Tables; classifier: Tables; begun: number[]; tokens: number[] }[];
    };
    for (const { lambda, policy, classifier: odds, begun, tokens } of cases) {
      const { combine } = fudge({ classifier, lambda });
      const text = [...begun];
      for (const _ of tokens) {
        const [a, b] = text.slice(-2) as [number, number];
        const mixed = combine(Float32Array.from(policy[a]![b]!), [Float32Array.from(odds[a]![b]!)], []);
        text.push(mixed.indexOf(Math.max(...mixed)));
      }
      expect(text.slice(begun.length)).toEqual(tokens);
    }
  });
  it('FUDGE with the true p(a | prefix) draws texts as they come given that they have the attribute', () => {
    const uniforms = Key.fromSeed(5).uniformHost(200);
    const texts = Array.from({ length: 27 }, (_, i) => [Math.floor(i / 9), Math.floor(i / 3) % 3, i % 3]);
    let at = 0;
    const tables = new Map<string, number[]>();
    /** p(· | prefix), of numbers drawn once. */
    const next = (prefix: readonly number[]): number[] => {
      const known = tables.get(prefix.join());
      if (known) return known;
      const row = [0, 1, 2].map(() => 0.05 + uniforms[at++]!);
      const shares = row.map((x) => x / row.reduce((a, b) => a + b));
      tables.set(prefix.join(), shares);
      return shares;
    };
    const policy = texts.map((text) => text.reduce((p, token, t) => p * next(text.slice(0, t))[token]!, 1));
    const attribute = texts.map(() => uniforms[at++]!);
    /** p(a | prefix), over all texts that begin so. */
    const chance = (prefix: readonly number[]): number => {
      const begun = texts.flatMap((text, i) => (prefix.every((token, t) => text[t] === token) ? [i] : []));
      const total = begun.reduce((sum, i) => sum + policy[i]!, 0);
      return begun.reduce((sum, i) => sum + policy[i]! * attribute[i]!, 0) / total;
    };
    const { combine } = fudge({ classifier });
    const drawn = texts.map((text) =>
      text.reduce((p, token, t) => {
        const prefix = text.slice(0, t);
        const odds = [0, 1, 2].map((y) => chance([...prefix, y])).map((a) => Math.log(a / (1 - a)));
        const mixed = combine(Float32Array.from(next(prefix), Math.log), [Float32Array.from(odds)], []);
        return p * Math.exp(logSoftmax(mixed)[token]!);
      }, 1),
    );
    const given = policy.map((p, i) => p * attribute[i]!);
    const total = given.reduce((a, b) => a + b);
    drawn.forEach((p, i) => {
      expect(p).toBeCloseTo(given[i]! / total, 6);
    });
  });
  testDecodingMix(it, 'valueGuided', ({ others: [model] }) => valueGuided({ q: { model }, lambda: 0.7 }));
});

describe('testDecodeHook', () => {
  testDecodeHook(it, 'budgetForcing', () =>
    budgetForcing({ endOfThinking: [3, 4], minTokens: 6, maxTokens: 12, wait: [5, 6] }),
  );
});

describe('what is wrong fails a check', () => {
  /** Whether the check whose name has these words fails. */
  async function fails(
    words: string,
    register: (it: (name: string, body: () => Promise<void>) => void) => void,
  ): Promise<boolean> {
    const checks: (() => Promise<void>)[] = [];
    register((name, body) => {
      if (name.includes(words)) checks.push(body);
    });
    expect(checks.length).toBe(1);
    return checks[0]!().then(
      () => false,
      () => true,
    );
  }
  const proposing =
    (propose: Proposer['propose'], rest: Partial<Proposer> = {}) =>
    () => ({
      ...{ propose, release: () => undefined, close: () => undefined, ...rest },
    });
  const one = (token: number) => ({ tokens: Int32Array.of(token), probabilities: Float64Array.of(1) });

  it('a proposer that says its tokens were drawn from something else', async () => {
    // The likeliest tokens come too often: they are said to have been unlikely.
    const wrong = proposing(async (requests) =>
      requests.map(({ most }) =>
        most < 1
          ? { tokens: [] }
          : {
              tokens: [0],
              distributions: [{ tokens: Int32Array.of(0, 1, 2), probabilities: Float64Array.of(0.02, 0.49, 0.49) }],
            },
      ),
    );
    expect(await fails('distribution', (fake) => testProposer(fake, 'wrong', wrong))).toBe(true);
    expect(await fails('any batch', (fake) => testProposer(fake, 'wrong', wrong))).toBe(false);
  });

  it('a proposer that goes too deep, or whose tokens its distributions do not have', async () => {
    const deep = proposing(async (requests) => requests.map(() => ({ tokens: [0, 1, 2, 0, 1, 2] })));
    expect(await fails('of use', (fake) => testProposer(fake, 'deep', deep))).toBe(true);
    const other = proposing(async (requests) =>
      requests.map(({ most }) => (most < 1 ? { tokens: [] } : { tokens: [0], distributions: [one(1)] })),
    );
    expect(await fails('of use', (fake) => testProposer(fake, 'other', other))).toBe(true);
  });

  it('a proposer that throws, which rows would go on without', async () => {
    const broken = proposing(async () => {
      throw new Error('broken');
    });
    for (const check of ['greedy', 'distribution', 'any batch', 'of use']) {
      expect(await fails(check, (fake) => testProposer(fake, 'broken', broken, { accepts: false }))).toBe(true);
    }
  });

  it('a mix that keeps what it was given, or changes it', async () => {
    const changing = (): DecodingMix => ({ name: 'changing', models: [], combine: (policy) => policy.fill(0) });
    expect(await fails('without a trace', (fake) => testDecodingMix(fake, 'changing', changing))).toBe(true);
    const counting = (): DecodingMix => {
      let calls = 0;
      return {
        name: 'counting',
        models: [],
        combine: (policy) => policy.map((x, i) => x + (i === 0 ? calls++ : 0)) as Float32Array,
      };
    };
    for (const words of ['without a trace', 'any batch']) {
      expect(await fails(words, (fake) => testDecodingMix(fake, 'counting', counting))).toBe(true);
    }
  });
});

describe('local models pass the kits of the interfaces', () => {
  const texts = ['abc', 'd', 'eadb'];
  const requests = [
    { prompt: 'ab', continuation: 'c' },
    { prompt: 'b', continuation: 'abc' },
    { prompt: 'cde', continuation: 'a' },
  ];
  const classifier = async (labels: number) => SequenceClassifier.fromCausalLM(await tinyPolicy(), { labels, seed: 1 });
  testGenerator(it, 'LocalGenerator', async () => new LocalGenerator(await tinyPolicy()), {
    ...{ prompts: ['ab', 'c', 'dea'], logProbs: true },
  });
  testScorer(it, 'LocalScorer', async () => new LocalScorer(await tinyPolicy()), { requests });
  testCandidateScorer(it, 'of LocalScorer', async () => candidateScorer(new LocalScorer(await tinyPolicy())), {
    requests,
  });
  testEmbedder(it, 'LocalEmbedder', async () => new LocalEmbedder(await tinyPolicy()), { texts });
  testRowFeatures(it, 'rowFeatures', async () => rowFeatures(await tinyPolicy()), { texts });
  const labels = { entailment: 'LABEL_0', neutral: 'LABEL_1', contradiction: 'LABEL_2' };
  testEntailer(it, 'nliEntailer', async () => nliEntailer(await classifier(3), { labels }), {
    texts,
    reflexive: false,
  });
  testRowGradients(it, 'classifierGradients', async () => classifierGradients(await classifier(2)), {
    ...{ texts, ask: { of: 'hallucinated', parameters: 'output' }, projects: false },
  });
});
