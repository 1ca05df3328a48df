import { type Engine, Key, type Tensor, tensor } from '@posttrain/core-tensor';
import { onEngine } from '@posttrain/core-tensor/testing';
import { array, asyncProperty, assert as check, constantFrom, integer, record } from 'fast-check';
import { expect } from 'vitest';
import {
  type Adapter,
  type CausalLM,
  type LayerHooks,
  type LocalGenerateRequest,
  LocalGenerator,
  type LocalGeneratorOptions,
  NonFiniteLogitsError,
} from '../src/index.js';
import { tinyModel } from './support.js';

type LowRank = Readonly<Record<string, { readonly a: Tensor; readonly b: Tensor }>>;

const hooks = (own: LowRank): LayerHooks => ({
  linear(x, layer) {
    const it = own[layer.name];
    const y = layer.apply(x);
    return it ? y.add(x.matmul(it.a, { transposeB: true }).matmul(it.b, { transposeB: true })) : y;
  },
});
const lowRank = (own: LowRank) =>
  Object.fromEntries(Object.entries(own).map(([name, it]) => [name, { ...it, scale: 1 }]));

/** B·A on a few layers, drawn or all the same number. */
function adapterOf(model: CausalLM, name: string, fill: number | undefined, isStacked = true): Adapter<LowRank> {
  const targets = [...model.network.modules.values()].filter(({ name }) => /q_proj|k_proj|v_proj|down_proj/.test(name));
  const parameters = Object.fromEntries(
    targets.map((module, i) => {
      const draw = (n: number, shape: readonly [number, number]) =>
        tensor(
          Float32Array.from(Key.fromSeed(n).normalHost(shape[0] * shape[1]), (x) => fill ?? 0.3 * x),
          shape,
        );
      return [module.name, { a: draw(i, [2, module.inFeatures]), b: draw(name.length + i, [module.outFeatures, 2]) }];
    }),
  );
  return { name, parameters, hooks, ...(isStacked ? { lowRank } : {}) };
}

/** Of another model: no product has its shape. */
const strange = (model: CausalLM): Adapter<LowRank> => {
  const { parameters } = adapterOf(model, 'strange', 1);
  return {
    name: 'strange',
    parameters: Object.fromEntries(Object.entries(parameters).map(([name, { b }]) => [name, { a: b, b }])),
    hooks: (own) => hooks(own),
  };
};

/** What a request is in a world of its own; `adapter` makes those that every model has for itself. */
type Make = (model: CausalLM) => Pick<LocalGenerateRequest, 'adapter' | 'hook' | 'constraint' | 'logitBias' | 'prompt'>;

const failing = (): never => {
  throw new TypeError('a fault of its own');
};
const prompts = [
  'One and one is',
  'One and one is two, and',
  'x',
  'The quick brown fox jumps over the lazy dog. '.repeat(3),
];

const HEALTHY: Readonly<Record<string, Make>> = {
  plain: () => ({ prompt: prompts[0]! }),
  'same beginning': () => ({ prompt: prompts[1]! }),
  short: () => ({ prompt: prompts[2]! }),
  long: () => ({ prompt: prompts[3]! }),
  adapted: (model) => ({ prompt: prompts[0]!, adapter: adapterOf(model, 'good', undefined) }),
  'adapted otherwise': (model) => ({ prompt: prompts[1]!, adapter: adapterOf(model, 'other', undefined, false) }),
  biased: () => ({ prompt: prompts[1]!, logitBias: { 5: 3, 6: Number.NEGATIVE_INFINITY } }),
};
const poisoned =
  (fill: number, isStacked: boolean, prompt = 0): Make =>
  (model) => ({ prompt: prompts[prompt]!, adapter: adapterOf(model, 'bad', fill, isStacked) });
const BAD: Readonly<Record<string, Make>> = {
  'NaN adapter': poisoned(Number.NaN, true),
  'NaN adapter, not of low rank': poisoned(Number.NaN, false, 3),
  'infinite adapter': poisoned(Number.POSITIVE_INFINITY, true, 3),
  'adapter that overflows': poisoned(1e30, true, 1),
  'adapter of another model': (model) => ({ prompt: prompts[0]!, adapter: strange(model) }),
  'adapter that throws': () => ({ prompt: prompts[0]!, adapter: { name: 'throws', parameters: {}, hooks: failing } }),
  'hook that throws': () => ({ prompt: prompts[0]!, hook: () => ({ next: failing }) }),
  'hook that forces no token': () => ({ prompt: prompts[0]!, hook: () => ({ next: () => ({ force: [1e9] }) }) }),
  'constraint that throws': () => ({
    prompt: prompts[0]!,
    constraint: () => ({ allowed: failing, accept: failing, isComplete: false }),
  }),
  'no token allowed': () => ({
    prompt: prompts[0]!,
    constraint: () => ({ allowed: () => new Uint32Array(0), accept: () => undefined, isComplete: false }),
  }),
  'NaN bias': () => ({ prompt: prompts[0]!, logitBias: { 5: Number.NaN } }),
  'no token ids': () => ({ prompt: { tokenIds: [1, Number.NaN, 1e9] } }),
  'too long': () => ({ prompt: { tokenIds: Array.from({ length: 1000 }, () => 1) } }),
};

const request = record({
  kind: constantFrom(...Object.keys(HEALTHY), ...Object.keys(BAD)),
  maxTokens: integer({ min: 1, max: 12 }),
  n: integer({ min: 1, max: 2 }),
  temperature: constantFrom(0, 1),
  seed: integer({ min: 0, max: 9 }),
  /** Turns of the event loop before it begins, and before it is cancelled if it is. */
  delay: integer({ min: 0, max: 6 }),
  cancelled: constantFrom(undefined, undefined, undefined, 0, 3, 9),
});
type Request = Parameters<Parameters<typeof request.map>[0]>[0];

const turns = async (count: number) => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

/** Two models of the same numbers that share nothing, each with its own adapters. */
async function worlds() {
  const [shared, fresh] = [await tinyModel(), await tinyModel()];
  const requests = (model: CausalLM) =>
    Object.fromEntries(Object.entries({ ...HEALTHY, ...BAD }).map(([kind, make]) => [kind, make(model)]));
  return { shared, fresh, ofShared: requests(shared), ofFresh: requests(fresh) };
}

/** The tokens are the same up to where two were equally likely, and so are their log-probabilities. */
function expectSame(got: Awaited<ReturnType<LocalGenerator['generate']>>[number], wanted: typeof got) {
  expect(got.length).toBe(wanted.length);
  wanted.forEach(({ tokenIds, logProbs, topLogProbs, finishReason }, sample) => {
    const own = got[sample]!;
    const differs = tokenIds!.findIndex((token, i) => token !== own.tokenIds![i]);
    if (differs >= 0) {
      const [first, second] = topLogProbs![differs]!;
      expect(first!.logProb - second!.logProb, `token ${differs}`).toBeLessThan(1e-4);
      return;
    }
    expect(own.finishReason).toBe(finishReason);
    own.logProbs!.forEach((logProb, i) => {
      expect(Math.abs(logProb - logProbs![i]!)).toBeLessThan(1e-4);
    });
  });
}

export const GENERATORS: Readonly<Record<string, (draft: CausalLM) => LocalGeneratorOptions>> = {
  plain: () => ({}),
  'a small cache': () => ({ cacheTokens: 256, maxBatch: 4, prefillTokens: 16 }),
  'prompt lookup': () => ({ speculative: { promptLookup: { tokens: 3 } } }),
  'a draft': (draft) => ({ speculative: { draft, tokens: 3 } }),
};

/**
 * Runs sequences of requests, healthy, cancelled and bad, in one generator: what is healthy gets what it gets alone.
 * Every kind of request is met.
 */
export async function testIsolation(
  makeEngine: () => Engine,
  options: (draft: CausalLM) => LocalGeneratorOptions,
  {
    temperatures,
    runs,
    seed,
  }: { readonly temperatures: readonly number[]; readonly runs: number; readonly seed: number },
): Promise<void> {
  await onEngine(makeEngine(), async () => {
    const { shared, fresh, ofShared, ofFresh } = await worlds();
    const draft = () => tinyModel('byte-level-bpe', {}, 11);
    const generator = new LocalGenerator(shared, options(await draft()));
    const freshDraft = await draft();
    const alone = new Map<string, Awaited<ReturnType<LocalGenerator['generate']>>[number]>();
    const counts = { healthy: 0, bad: 0, cancelled: 0 };
    const run = async ({ kind, delay, cancelled, ...settings }: Request) => {
      const temperature = temperatures.find((it) => it === settings.temperature) ?? 0;
      const asked = { ...settings, temperature, logProbs: true, topLogProbs: 2 };
      await turns(delay);
      const controller = new AbortController();
      if (cancelled !== undefined) void turns(cancelled).then(() => controller.abort());
      const work = generator.generate([{ ...asked, ...ofShared[kind]!, signal: controller.signal }]);
      if (kind in BAD) {
        const outcome = await work.then(
          ([completions]) => completions!.every(({ finishReason }) => finishReason === 'abort'),
          (error: Error) => error,
        );
        counts.bad++;
        if (outcome === true && cancelled !== undefined) return;
        // The reference engine's doubles do not.
        if (kind === 'adapter that overflows' && outcome === false) return;
        expect(outcome, kind).toBeInstanceOf(Error);
        if (/^(NaN|infinite) adapter/.test(kind)) {
          expect(outcome).toBeInstanceOf(NonFiniteLogitsError);
          expect((outcome as NonFiniteLogitsError).message).toContain(
            'the adapter "bad" is not finite in model.layers.0',
          );
        }
        return;
      }
      const [got] = await work;
      if (cancelled !== undefined) {
        counts.cancelled++;
        return;
      }
      const key = JSON.stringify([kind, asked]);
      const wanted =
        alone.get(key) ??
        (await new LocalGenerator(fresh, options(freshDraft)).generate([{ ...asked, ...ofFresh[kind]! }]))[0]!;
      alone.set(key, wanted);
      expectSame(got!, wanted);
      counts.healthy++;
    };
    await check(
      asyncProperty(array(request, { minLength: 1, maxLength: 6 }), async (requests) => {
        const outcomes = await Promise.allSettled(requests.map(run));
        for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
      }),
      { numRuns: runs, seed },
    );
    expect(Math.min(counts.healthy, counts.bad, counts.cancelled)).toBeGreaterThan(0);
  });
}
