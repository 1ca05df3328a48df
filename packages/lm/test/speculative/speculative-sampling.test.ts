import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Key, tensor } from '@posttrain/core-tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Acceptance,
  type DecodeRow,
  EagleHead,
  eagleStates,
  hiddenStates,
  LocalGenerator,
  MedusaHeads,
  medusaHead,
  type ProposalRequest,
  promptLookup,
  RestDatastore,
  residualDistribution,
  restProposal,
  sampleToken,
  typicalAcceptance,
  verifyCandidates,
  verifyToken,
} from '../../src/index.js';
import { startRow } from '../../src/sampling/draw-next.js';
import { logSoftmax } from '../../src/sampling/log-softmax.js';
import { tokenDistribution } from '../../src/sampling/sampler.js';
import { TokenHistory } from '../../src/sampling/token-history.js';
import type { EagleSpeculation } from '../../src/speculative/eagle.js';
import { type Eagle2Settings, eagle2Tree } from '../../src/speculative/eagle-2-tree.js';
import { SpeculativeDecoding } from '../../src/speculative/speculative-decoding.js';
import { probabilityOf, type TokenDistribution, tokenAt } from '../../src/speculative/token-distribution.js';
import { verifyProposal } from '../../src/speculative/verify-proposal.js';
import { largestDifference, rowOf, temporaryFolder, tinyModel } from '../support.js';

interface Golden {
  readonly prompt_lookup: {
    readonly sequence: number[];
    readonly options: { readonly tokens: number; readonly maxMatchingNgramSize: number };
    readonly candidates: number[];
  }[];
  readonly rest: {
    readonly texts: number[][];
    readonly text: number[];
    readonly options: object;
    readonly tokens: number[];
    readonly parents: number[];
  }[];
  readonly speculative_sampling: {
    readonly target: number[][];
    readonly draft: number[][];
    readonly tokens: number[];
    readonly uniforms: number[];
    readonly matches: number;
    readonly last: number[];
  }[];
  readonly typical: {
    readonly target: number[];
    readonly epsilon: number;
    readonly delta: number;
    readonly kept: boolean[];
  }[];
  readonly eagle: { readonly hidden: number[][][]; readonly tokens: number[][]; readonly states: number[][][] };
  readonly medusa: { readonly hidden: number[][][]; readonly logits: number[][][][] };
}
const path = join(import.meta.dirname, '../../../../goldens/speculative/expected.json');
const golden: Golden = JSON.parse(readFileSync(path, 'utf8'));

/** All tokens with their probabilities; those of zero are left out. */
const distributionOf = (weights: readonly number[]): TokenDistribution => {
  const tokens = [...weights.keys()].filter((token) => weights[token]! > 0);
  return { tokens: Int32Array.from(tokens), probabilities: Float64Array.from(tokens, (token) => weights[token]!) };
};

/** A distribution over a few tokens, some of which may be impossible. */
const distribution = (size: number) =>
  fc
    .array(fc.oneof(fc.constant(0), fc.double({ min: 1e-3, max: 1, noNaN: true })), {
      minLength: size,
      maxLength: size,
    })
    .filter((weights) => weights.some((weight) => weight > 0))
    .map((weights) => {
      const total = weights.reduce((a, b) => a + b, 0);
      return distributionOf(weights.map((weight) => weight / total));
    });

describe('tokenAt', () => {
  it('draws from tokenDistribution the token that sampleToken draws', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -8, max: 8 }), { minLength: 1, maxLength: 24 }),
        fc.record({
          temperature: fc.constantFrom(0, 0.7, 1, 1.6),
          topK: fc.option(fc.integer({ min: 1, max: 26 }), { nil: undefined }),
          topP: fc.constantFrom(0.01, 0.5, 0.9, 1),
          minP: fc.constantFrom(0, 0.05, 0.4, 1),
          repetitionPenalty: fc.constantFrom(1, 1.3, 0.8),
        }),
        fc.array(fc.double({ min: 0, max: 0.999999, noNaN: true }), { minLength: 12, maxLength: 12 }),
        // Halves make ties common.
        (halves, settings, uniforms) => {
          const logits = Float32Array.from(halves, (x) => x / 2);
          const context = new TokenHistory([0, halves.length - 1]);
          const distribution = tokenDistribution(logits, settings, context);
          for (const uniform of uniforms) {
            // Rounding decides on the border between two shares.
            const near = [-1e-6, 1e-6].map((step) => tokenAt(distribution, uniform + step));
            expect(near).toContain(sampleToken(logits, settings, context, uniform).token);
          }
        },
      ),
    );
  });
});

describe('verifyToken', () => {
  it.each(golden.speculative_sampling)('keeps and redistributes as transformers does: $matches of 3', (one) => {
    let matches = 0;
    const at = (rows: number[][], i: number) => distributionOf(rows[i]!);
    for (const [i, token] of one.tokens.entries()) {
      const uniforms = { accept: one.uniforms[i]!, residual: 0 };
      if (!verifyToken(at(one.target, i), at(one.draft, i), token, uniforms).accepted) break;
      matches++;
    }
    expect(matches).toBe(one.matches);
    const last =
      matches < 3 ? residualDistribution(at(one.target, matches), at(one.draft, matches))! : at(one.target, matches);
    for (const [token, p] of one.last.entries()) expect(probabilityOf(last, token)).toBeCloseTo(p, 5);
  });

  it('gives the target distribution exactly, and keeps 1 − TV of the proposals, whatever the draft', () => {
    fc.assert(
      fc.property(distribution(6), distribution(6), (p, q) => {
        // Over the draw from q and the two uniforms, in closed form: the border of acceptance by bisection.
        const outcome = new Float64Array(6);
        let kept = 0;
        for (const [i, token] of q.tokens.entries()) {
          const drawn = q.probabilities[i]!;
          let [low, high] = [0, 1];
          const accepts = (accept: number) => verifyToken(p, q, token, { accept, residual: 0.5 }).accepted;
          while (high - low > 1e-13) {
            const middle = (low + high) / 2;
            if (accepts(middle)) low = middle;
            else high = middle;
          }
          outcome[token]! += drawn * low;
          kept += drawn * low;
          const residual = residualDistribution(p, q);
          residual?.tokens.forEach((other, j) => {
            outcome[other]! += drawn * (1 - low) * residual.probabilities[j]!;
          });
        }
        let distance = 0;
        for (const [token, share] of outcome.entries()) {
          expect(share).toBeCloseTo(probabilityOf(p, token), 10);
          distance += Math.abs(probabilityOf(p, token) - probabilityOf(q, token)) / 2;
        }
        expect(kept).toBeCloseTo(1 - distance, 10);
      }),
    );
  });

  it('draws the refused ones from what it says it does (chi-square, seeded); accepting everything fails the same test', () => {
    const shares = [0.5, 0.2, 0.05, 0.15, 0.1];
    const p = distributionOf(shares);
    const q = distributionOf([0.1, 0.3, 0.4, 0.05, 0.15]);
    const draws = 20_000;
    const statistic = (always: boolean) => {
      const counts = new Array<number>(shares.length).fill(0);
      const key = Key.fromSeed(5);
      for (let i = 0; i < draws; i++) {
        const [u, accept, residual] = key.child(i).uniformHost(3) as unknown as [number, number, number];
        const proposed = tokenAt(q, u);
        counts[always ? proposed : verifyToken(p, q, proposed, { accept, residual }).token]!++;
      }
      return counts.reduce(
        (sum, count, token) => sum + (count - draws * shares[token]!) ** 2 / (draws * shares[token]!),
        0,
      );
    };
    // The 99.9 % point of chi-square with 4 degrees of freedom.
    expect(statistic(false)).toBeLessThan(18.47);
    expect(statistic(true)).toBeGreaterThan(18.47);
  });
});

/** The shares of [0, 1) in which a uniform number gives each outcome, by bisection of its borders. */
function shares<T>(at: (uniform: number) => T): [outcome: T, share: number][] {
  const found: [T, number][] = [];
  const last = JSON.stringify(at(1 - 2 ** -50));
  for (let start = 0; start < 1; ) {
    const outcome = at(start);
    let [low, high] = [start, 1];
    if (JSON.stringify(outcome) !== last) {
      while (high - low > 1e-13) {
        const middle = (low + high) / 2;
        if (JSON.stringify(at(middle)) === JSON.stringify(outcome)) low = middle;
        else high = middle;
      }
    }
    found.push([outcome, high - start]);
    start = high;
  }
  return found;
}

describe('verifyCandidates', () => {
  /** Over all draws of the candidates and all uniforms, in closed form; how often one of the candidates is kept, too. */
  function outcomes(p: TokenDistribution, q: TokenDistribution, count: number, replaced: boolean) {
    const outcome = new Float64Array(4);
    let kept = 0;
    const draw = (candidates: readonly { token: number; draft: TokenDistribution }[], share: number): void => {
      const used = candidates.map(({ token }) => token);
      const rest = [...q.tokens.keys()].filter((i) => replaced || !used.includes(q.tokens[i]!));
      const total = rest.reduce((sum, i) => sum + q.probabilities[i]!, 0);
      if (candidates.length < count && total > 1e-12) {
        const weights = new Array<number>(4).fill(0);
        for (const i of rest) weights[q.tokens[i]!] = q.probabilities[i]! / total;
        const draft = distributionOf(weights);
        for (const [i, token] of draft.tokens.entries()) {
          draw([...candidates, { token, draft }], share * draft.probabilities[i]!);
        }
        return;
      }
      // One uniform after the other: which candidate is kept, and what is drawn when none is.
      const verify = (at: number, accepts: readonly number[], part: number): void => {
        const refused = accepts.concat(new Array<number>(candidates.length - accepts.length).fill(0.999_999_999_999));
        if (at === candidates.length) {
          for (const [{ token }, own] of shares((residual) =>
            verifyCandidates(p, candidates, { accept: refused, residual }),
          )) {
            outcome[token]! += part * own;
          }
          return;
        }
        const isKept = (accept: number) => {
          const tried = refused.with(at, accept);
          const one = verifyCandidates(p, candidates.slice(0, at + 1), { accept: tried, residual: 0.5 });
          return one.accepted;
        };
        for (const [accepted, own] of shares(isKept)) {
          if (!accepted) {
            verify(at + 1, [...accepts, 0.999_999_999_999], part * own);
            continue;
          }
          outcome[candidates[at]!.token]! += part * own;
          kept += part * own;
        }
      };
      verify(0, [], share);
    };
    draw([], 1);
    return { outcome, kept };
  }

  it('gives the target distribution exactly, from one draft with and without replacement, and keeps more than one candidate does', () => {
    fc.assert(
      fc.property(distribution(4), distribution(4), fc.boolean(), (p, q, replaced) => {
        const alone = outcomes(p, q, 1, replaced);
        for (const count of [2, 3]) {
          const { outcome, kept } = outcomes(p, q, count, replaced);
          for (const [token, share] of outcome.entries()) expect(share).toBeCloseTo(probabilityOf(p, token), 8);
          expect(kept).toBeGreaterThan(alone.kept - 1e-8);
        }
      }),
      { numRuns: 25, seed: 4 },
    );
  });
});

/** The path of every token of a tree. */
function pathsOf(tokens: readonly number[], parents: readonly number[]): string[] {
  const paths: string[] = [];
  tokens.forEach((token, i) => {
    paths.push([...(parents[i]! < 0 ? [] : [paths[parents[i]!]!]), token].join());
  });
  return paths;
}

describe('an EAGLE head', () => {
  const folder = join(import.meta.dirname, '../../../../goldens/speculative/eagle');

  it('is read and saved in the reference’s layout, and makes of features what a layer of transformers does', async () => {
    const head = await EagleHead.load(folder);
    const { hidden, tokens, states } = golden.eagle;
    const [ids, features] = [tokens.map((row) => row.slice(1)), hidden.map((row) => row.slice(0, -1))];
    const found = eagleStates(
      head,
      head.weights,
      tensor(Int32Array.from(ids.flat()), [2, 5]),
      tensor(Float32Array.from(features.flat(2)), [2, 5, 8]),
    );
    expect(largestDifference(await found.toArray(), states.flat(2))).toBeLessThan(1e-5);
    const copy = await temporaryFolder();
    await head.save(copy);
    const again = await EagleHead.load(copy);
    expect(again.config).toEqual(head.config);
    for (const [name, weight] of Object.entries(head.weights)) {
      expect(await again.weights[name]!.toArray()).toEqual(await weight.toArray());
    }
    const config = JSON.parse(await readFile(join(copy, 'config.json'), 'utf8'));
    expect(config).toMatchObject({ bias: true, num_hidden_layers: 1, model_type: 'llama' });
  });

  it('drafts with a cache what it says of whole sequences, and is refused for another model', async () => {
    const model = await tinyModel();
    const head = await EagleHead.initialize(model, { seed: 3 });
    const proposer = new SpeculativeDecoding(model, { eagle: head, tokens: 3 }).begin(4096);
    const text = [1, 5, 9, 2, 7];
    const request = (generated: number[]): ProposalRequest => {
      const row = rowOf(text.slice(0, 3), 12);
      const state = startRow(row);
      for (const token of generated) state.push(token);
      return { id: 0, row, state, most: 9 };
    };
    /** The likeliest tokens, each from a pass over all pairs with the head's own features behind the model's. */
    const whole = async (tokens: readonly number[]) => {
      const [own] = await hiddenStates(model, [tokens.slice(0, -1)]);
      const drafted: number[] = [];
      const features = [...own!];
      for (let i = 0; i < 3; i++) {
        const ids = [...tokens.slice(1), ...drafted];
        const flat = new Float32Array(features.flatMap((feature) => [...feature]));
        const states = eagleStates(
          head,
          head.weights,
          tensor(Int32Array.from(ids), [1, ids.length]),
          tensor(flat, [1, ids.length, 16]),
        );
        const last = states.slice(1, ids.length - 1).reshape([1, 16]);
        const logits = await model.network.logits(model.weights, last).toArray();
        drafted.push(logits.indexOf(Math.max(...logits)));
        features.push(Float32Array.from(await last.toArray()));
      }
      return drafted;
    };
    const [first] = await proposer.propose([request([text[3]!])]);
    expect(first!.tokens).toEqual(await whole(text.slice(0, 4)));
    // A pass that keeps nothing but a token of the model's own, after what was guessed is in the cache.
    const [states] = await hiddenStates(model, [text.slice(0, 4)]);
    const seen = {
      drawn: [{ token: text[4]! }],
      proposed: 3,
      accepted: 0,
      path: [],
      logits: [],
      hidden: states!.slice(3),
    };
    proposer.verified!(0, seen);
    for (const _ of [1, 2]) {
      const [second] = await proposer.propose([request(text.slice(3))]);
      expect(second!.tokens).toEqual(await whole(text));
    }
    const other = await EagleHead.load(folder);
    expect(() => new LocalGenerator(model, { speculative: { eagle: other } })).toThrow(
      /EagleHead: fc.weight has the shape \[8, 16\], and tiny needs \[16, 32\]/,
    );
  });

  it('drafts trees of what it says of each path by itself; two trees, or none, are refused', async () => {
    const model = await tinyModel();
    const head = await EagleHead.initialize(model, { seed: 3 });
    const text = [1, 5, 9, 2, 7];
    const [own] = await hiddenStates(model, [text.slice(0, -1)]);
    /** log-probabilities behind a path, from passes over all of the text and the path. */
    const after = async (path: readonly number[]): Promise<Float64Array> => {
      const features = [...own!];
      for (let from = text.length - 1; ; from++) {
        const ids = [...text, ...path].slice(1, from + 1);
        const flat = Float32Array.from(features.flatMap((feature) => [...feature]));
        const states = eagleStates(
          head,
          head.weights,
          tensor(Int32Array.from(ids), [1, ids.length]),
          tensor(flat, [1, ids.length, 16]),
        );
        const last = states.slice(1, ids.length - 1).reshape([1, 16]);
        if (ids.length === text.length - 1 + path.length) {
          return logSoftmax(await model.network.logits(model.weights, last).toArray());
        }
        features.push(Float32Array.from(await last.toArray()));
      }
    };
    const likeliest = (logProbs: Float64Array) => [...logProbs.keys()].sort((a, b) => logProbs[b]! - logProbs[a]!);
    const proposed = async (options: Partial<EagleSpeculation>) => {
      const proposer = new SpeculativeDecoding(model, { eagle: head, ...options }).begin(4096);
      const row = rowOf(text.slice(0, 3), 12);
      const state = startRow(row);
      for (const token of text.slice(3)) state.push(token);
      const [proposal] = await proposer.propose([{ id: 0, row, state, most: 9 }]);
      proposer.close();
      return pathsOf(proposal!.tokens, proposal!.parents!);
    };
    const choices = [[1], [0], [0, 0], [0, 2], [0, 2, 1]];
    const wanted: number[][] = [];
    for (const ranks of choices) {
      const path: number[] = [];
      for (const rank of ranks) path.push(likeliest(await after(path))[rank]!);
      wanted.push(path);
    }
    expect(new Set(await proposed({ choices }))).toEqual(new Set(wanted.map(String)));

    // With three tokens of two depths all twelve paths are considered.
    const first = await after([]);
    const values: [path: string, value: number][] = [];
    for (const a of likeliest(first).slice(0, 3)) {
      const second = await after([a]);
      values.push([`${a}`, first[a]!]);
      for (const b of likeliest(second).slice(0, 3)) values.push([`${a},${b}`, first[a]! + second[b]!]);
    }
    values.sort((a, b) => b[1] - a[1]);
    const dynamicTree = { topK: 3, depth: 2, totalTokens: 7 };
    expect(await proposed({ dynamicTree })).toEqual(values.slice(0, 7).map(([path]) => path));

    const refused = (options: object) =>
      expect(() => new LocalGenerator(model, { speculative: { eagle: head, ...options } }));
    refused({ choices, dynamicTree }).toThrow(/two trees; give one/);
    refused({ choices: [[0, 0]] }).toThrow(/has \[0,0\], but not the path that it goes on from/);
    refused({ dynamicTree: { topk: 3 } }).toThrow(/Did you mean "topK"/);
  });

  it('chooses the tokens of EAGLE-2’s tree that SGLang chooses', () => {
    const file = join(import.meta.dirname, '../../../../goldens/eagle-trees/expected.json');
    interface Case extends Eagle2Settings {
      readonly logits: [path: number[], values: number[]][];
      readonly paths: number[][];
    }
    const { cases }: { readonly cases: readonly Case[] } = JSON.parse(readFileSync(file, 'utf8'));
    for (const { logits, paths, ...settings } of cases) {
      const said = new Map(logits.map(([path, values]) => [path.join(), Float32Array.from(values)]));
      const draft = eagle2Tree(settings)({} as never, 99);
      for (let asked = ['']; asked.length > 0; ) {
        const next = draft.next(asked.map((path) => said.get(path)!));
        const all = pathsOf(draft.tokens, draft.parents!);
        asked = next.map((place) => all[place]!);
      }
      const { tokens, parents } = draft.proposal;
      expect(new Set(pathsOf(tokens, parents!))).toEqual(new Set(paths.map(String)));
    }
  });
});

describe('typical acceptance', () => {
  const accepts = typicalAcceptance();
  const peaked = [0.97, 0.01, 0.01, 0.01];

  it.each(golden.typical)('keeps what the formula does in torch: $target', ({ target, epsilon, delta, kept }) => {
    const p = distributionOf(target);
    expect(target.map((_, token) => typicalAcceptance({ epsilon, delta })(p, token))).toEqual(kept);
  });

  it('keeps every token of an even distribution, and the likely ones of a peaked one', () => {
    // Even over n: e^-H = 1/n, and δ / n is less.
    for (const n of [2, 5, 40]) {
      const even = distributionOf(new Array<number>(n).fill(1 / n));
      expect([...even.tokens].every((token) => accepts(even, token))).toBe(true);
      expect(typicalAcceptance({ epsilon: 1, delta: 1.001 })(even, 0)).toBe(false);
    }
    expect(peaked.map((_, token) => accepts(distributionOf(peaked), token))).toEqual([true, false, false, false]);
    // Certain: e^-H = 1, so that ε decides.
    expect(accepts(distributionOf([0, 1]), 0)).toBe(false);
  });

  it('keeps the longest path, of equals the likeliest, and nothing of rows that must be exact', () => {
    const [flat, sharp] = [[0.3, 0.4, 0.2, 0.1], peaked].map((p) => Float32Array.from(p, Math.log));
    // 1 | 0 → 3 | 2 → 1 → 0: behind the second only its likeliest token, 0, is typical.
    const proposal = { tokens: [1, 0, 2, 3, 1, 0], parents: [-1, -1, -1, 1, 2, 4], accepts };
    const scores = [flat!, flat!, sharp!, flat!, flat!, flat!, flat!].map((logits) => ({ logits }));
    const run = (overrides: Partial<DecodeRow> = {}, given: typeof proposal = proposal) => {
      const row = rowOf([1], 9, { temperature: 1, key: Key.fromSeed(5), ...overrides });
      const { drawn, path, accepted } = verifyProposal(row, startRow(row), given, scores, () => false);
      return {
        tokens: drawn.map(({ token }) => token),
        path,
        accepted,
        logProbs: drawn.map(({ logProb }) => logProb!),
      };
    };
    const kept = run();
    expect([kept.path, kept.accepted, kept.tokens.slice(0, 3)]).toEqual([[2, 4, 5], 3, [2, 1, 0]]);
    expect(kept.logProbs[0]).toBeCloseTo(Math.log(0.2), 5);
    // Without the third branch one token is kept: the likeliest of the two.
    expect(run({}, { ...proposal, tokens: [0, 1], parents: [-1, -1] }).path).toEqual([1]);
    const { accepts: _, ...exact } = proposal;
    for (const overrides of [{ temperature: 0 }, { samplingLogProbs: true }, { keptTokens: true }, { hook: {} }]) {
      expect(run(overrides)).toEqual(run(overrides, exact as typeof proposal));
    }
  });

  it('is said to be not exact, and gives more tokens a pass than verification', async () => {
    const model = await tinyModel();
    const medusa = MedusaHeads.initialize(model, { medusaNumHeads: 2 });
    const speculation = async (acceptance?: Acceptance) => {
      const generator = new LocalGenerator(model, { speculative: { medusa, ...(acceptance && { acceptance }) } });
      await generator.generate([{ prompt: { tokenIds: [3] }, n: 8, maxTokens: 10, seed: 1 }]);
      return generator.speculation!;
    };
    const [exact, typical] = [await speculation(), await speculation(typicalAcceptance())];
    expect([exact.isExact, typical.isExact]).toEqual([true, false]);
    expect(typical.tokensPerPass).toBeGreaterThan(exact.tokensPerPass);
  });
});

describe('Medusa heads', () => {
  const folder = join(import.meta.dirname, '../../../../goldens/speculative/medusa');

  it('are read and saved in the reference’s layout, and say what it says', async () => {
    const heads = await MedusaHeads.load(folder);
    expect([heads.numHeads, heads.numLayers, heads.baseModel]).toEqual([3, 2, 'tiny']);
    const { hidden, logits } = golden.medusa;
    const flat = tensor(Float32Array.from(hidden.flat(2)), [18, 4]);
    for (const [head, wanted] of logits.entries()) {
      const { hidden: x, output } = medusaHead(heads.weights, flat, { head, numLayers: 2 });
      const found = await x.matmul(output, { transposeB: true }).toArray();
      expect(largestDifference(found, wanted.flat(2))).toBeLessThan(1e-5);
    }
    const copy = await temporaryFolder();
    await heads.save(copy);
    for (const name of ['config.json', 'medusa_lm_head.safetensors']) {
      const [ours, theirs] = await Promise.all([copy, folder].map((at) => readFile(join(at, name))));
      if (name === 'config.json') expect(JSON.parse(String(ours))).toEqual(JSON.parse(String(theirs)));
      else expect(ours!.equals(theirs!)).toBe(true);
    }
  });

  it('begin as the model’s own next token, and are refused for another model', async () => {
    const model = await tinyModel();
    const heads = MedusaHeads.initialize(model, { medusaNumHeads: 2 });
    const [states] = await hiddenStates(model, [[1, 5, 9]]);
    const state = tensor(states!.at(-1)!, [1, 16]);
    const own = await model.network.logits(model.weights, state).toArray();
    for (const head of [0, 1]) {
      const { hidden, output } = medusaHead(heads.weights, state, { head, numLayers: 1 });
      expect(largestDifference(await hidden.matmul(output, { transposeB: true }).toArray(), own)).toBeLessThan(1e-5);
    }
    const other = await MedusaHeads.load(folder);
    expect(() => new LocalGenerator(model, { speculative: { medusa: other } })).toThrow(/output layers are \[7, 4\]/);
    const refused = (choices: number[][]) => () =>
      new LocalGenerator(model, { speculative: { medusa: heads, choices } });
    expect(refused([[0], [1, 0]])).toThrow(/not the path that it goes on from/);
    expect(refused([[0], [0, 0], [0, 0, 0]])).toThrow(/a path has 1 to 2 ranks/);
    expect(refused([])).toThrow(/one path or more/);
  });
});

describe('rest', () => {
  it('proposes what a look through all texts finds', () => {
    const proposals = golden.rest.map(({ texts, text, options }) =>
      restProposal(new RestDatastore(texts), text, options),
    );
    const wanted = golden.rest.map(({ tokens, parents }) => (tokens.length > 0 ? { tokens, parents } : { tokens }));
    expect(proposals).toEqual(wanted);
    expect(new Set(wanted.map(({ tokens }) => tokens.length)).size).toBeGreaterThan(5);
  });

  it('does not go on from one text into the next, nor find one where it ends', () => {
    const store = new RestDatastore([[1, 2], [3, 4], []]);
    expect(restProposal(store, [1]).tokens).toEqual([2]);
    expect(restProposal(store, [9, 2]).tokens).toEqual([]);
    expect(restProposal(new RestDatastore([]), [1]).tokens).toEqual([]);
    expect(() => restProposal(store, [1], { depht: 3 } as object)).toThrow(/Did you mean "?depth/);
  });
});

describe('promptLookup', () => {
  it('proposes what transformers proposes', () => {
    const proposals = golden.prompt_lookup.map(({ sequence, options }) => promptLookup(sequence, options));
    expect(proposals).toEqual(golden.prompt_lookup.map(({ candidates }) => candidates));
    expect(new Set(proposals.map(({ length }) => length)).size).toBeGreaterThan(4);
  });

  it('proposes only what followed the present ending before', () => {
    const token = fc.integer({ min: 0, max: 3 });
    fc.assert(
      fc.property(fc.array(token, { maxLength: 40 }), fc.integer({ min: 1, max: 4 }), (sequence, size) => {
        const text = `,${sequence.join(',')},`;
        const proposal = promptLookup(sequence, { tokens: 5, maxMatchingNgramSize: size });
        const endings = Array.from({ length: Math.min(size, sequence.length) }, (_, i) => sequence.slice(-(i + 1)));
        const found = endings.some((ending) => text.includes(`,${[...ending, ...proposal].join(',')},`));
        expect(found || sequence.length === 0).toBe(true);
        const repeats = sequence.slice(0, -1).includes(sequence.at(-1)!);
        expect(proposal.length > 0).toBe(repeats);
      }),
    );
  });

  it('refuses options that make no sense', () => {
    expect(() => promptLookup([1], { tokens: 0 })).toThrow(/tokens is 0; it must be a whole number of at least 1/);
    expect(() => promptLookup([1], { maxMatchingNgramSize: 1.5 })).toThrow(/maxMatchingNgramSize/);
    expect(() => promptLookup([1], { token: 3 } as object)).toThrow(/Did you mean "tokens"/);
  });
});
