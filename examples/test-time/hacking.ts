import { fitOverOptimization, type MeanEstimate, meanDifference, type OverOptimizationLaw } from '@posttrain/eval';
import type { Completion, Generator, Verifier } from '@posttrain/interfaces';
import { createRandom, type Random } from '@posttrain/interfaces/random';
import {
  bestOfN,
  bestOfNKl,
  functionVerifier,
  regularizedBestOfN,
  type SearchResult,
  softBestOfN,
} from '@posttrain/tts';

/** What a problem is made of: completions that are points, what they are worth, and what is thought that they are. */
interface Problem {
  readonly draw: (random: Random) => { readonly point: readonly number[]; readonly logDensity: number };
  readonly gold: (point: readonly number[]) => number;
  readonly proxy: (point: readonly number[]) => number;
}

const normal = (random: Random): number =>
  Math.sqrt(-2 * Math.log(1 - random.float())) * Math.cos(2 * Math.PI * random.float());
const logNormal = (x: number): number => -(x * x) / 2 - Math.log(2 * Math.PI) / 2;

/** A completion is its worth and an error of the proxy, which is independent of it. */
function planted(error: (random: Random) => number, logDensity: (error: number) => number): (seed: Random) => Problem {
  return () => ({
    draw: (random) => {
      const point = [normal(random), error(random)];
      return { point, logDensity: logNormal(point[0]!) + logDensity(point[1]!) };
    },
    gold: ([worth]) => worth!,
    proxy: ([worth, wrong]) => worth! + wrong!,
  });
}

/** Student's t with 2 degrees of freedom: z / √(E/1), E exponential. Its mean exists and its variance does not. */
const heavy = (random: Random): number => normal(random) / Math.sqrt(-Math.log(1 - random.float()));
const logHeavy = (x: number): number => -1.5 * Math.log(1 + (x * x) / 2) - Math.log(2 * Math.SQRT2);

const DIMENSIONS = 3;
const LABELS = 48;
const LABEL_NOISE = 1;
/** All products of up to three of the coordinates. */
const MONOMIALS = Array.from({ length: DIMENSIONS + 1 }, (_, a) =>
  Array.from({ length: DIMENSIONS + 1 - a }, (_, b) =>
    Array.from({ length: DIMENSIONS + 1 - a - b }, (_, c) => [a, a + b, a + b + c]),
  ),
).flat(2);

/**
 * A scorer that was learned: a cubic fitted by ridge regression to a few noisy labels of ordinary completions, of a reward that is best at
 * a point. Where no label was, it is wrong.
 */
function learned(random: Random): Problem {
  const target = Array.from({ length: DIMENSIONS }, () => 0.7 * normal(random));
  const gold = (point: readonly number[]) => -point.reduce((sum, x, i) => sum + (x - target[i]!) ** 2, 0) / 2;
  const draw = (source: Random) => {
    const point = Array.from({ length: DIMENSIONS }, () => normal(source));
    return { point, logDensity: point.reduce((sum, x) => sum + logNormal(x), 0) };
  };
  const seen = Array.from({ length: LABELS }, () => draw(random).point);
  const labels = seen.map((point) => gold(point) + LABEL_NOISE * normal(random));
  const weights = ridge(seen.map(featuresOf), labels, 1e-3);
  return { draw, gold, proxy: (point) => featuresOf(point).reduce((sum, x, i) => sum + x * weights[i]!, 0) };
}

/** Index 0 is 1, and index i coordinate i: a product of three of them. */
const featuresOf = (point: readonly number[]): number[] =>
  MONOMIALS.map((factors) => factors.reduce((product, i) => product * (i === 0 ? 1 : point[i - 1]!), 1));

/** (XᵀX + λI)⁻¹ Xᵀy, by elimination. */
function ridge(x: readonly (readonly number[])[], y: readonly number[], lambda: number): number[] {
  const width = x[0]!.length;
  const rows = Array.from({ length: width }, (_, i) => [
    ...Array.from({ length: width }, (_, j) => x.reduce((sum, row) => sum + row[i]! * row[j]!, i === j ? lambda : 0)),
    x.reduce((sum, row, k) => sum + row[i]! * y[k]!, 0),
  ]);
  for (let i = 0; i < width; i++) {
    for (let j = 0; j < width; j++) {
      if (i === j) continue;
      const factor = rows[j]![i]! / rows[i]![i]!;
      for (let k = i; k <= width; k++) rows[j]![k]! -= factor * rows[i]![k]!;
    }
  }
  return rows.map((row, i) => row[width]! / row[i]!);
}

/** Proxies by name; `light` is the control, whose best is never worse for being chosen among more. */
export const PROXIES: Readonly<Record<string, (random: Random) => Problem>> = {
  light: planted(normal, logNormal),
  heavy: planted(heavy, logHeavy),
  learned,
};

interface Setting {
  readonly generator: Generator;
  readonly verifier: Verifier;
  readonly n: number;
  readonly sampling: { readonly seed: number };
}

const nearness = (a: string, b: string): number => {
  const [p, q] = [pointOf(a), pointOf(b)];
  return 1 - Math.hypot(...p.map((x, i) => x - q[i]!));
};

/** How a completion is chosen, by the proxy alone or by more. */
export const CHOICES: Readonly<Record<string, (setting: Setting) => Promise<SearchResult>>> = {
  bestOfN: (it) => bestOfN({ prompt: '' }, it),
  'soft, λ = 1': (it) => softBestOfN({ prompt: '' }, { ...it, lambda: 1 }),
  'near its log-probability, β = 1': (it) => regularizedBestOfN({ prompt: '' }, { ...it, regularizer: 'kl', beta: 1 }),
  'near the other samples, β = 1': (it) =>
    regularizedBestOfN({ prompt: '' }, { ...it, regularizer: 'wasserstein', beta: 1, utility: nearness }),
};

const points = new Map<string, readonly number[]>();
const pointOf = (text: string): readonly number[] => {
  const known = points.get(text);
  if (known) return known;
  const point = text.split(' ').map(Number);
  points.set(text, point);
  return point;
};

function generatorOf({ draw }: Problem): Generator {
  return {
    name: 'points',
    generate: async (requests) =>
      requests.map(({ n = 1, seed = 0 }) =>
        Array.from({ length: n }, (_, i): Completion => {
          const { point, logDensity } = draw(createRandom(seed + i, 'completion'));
          const usage = { promptTokens: 1, completionTokens: 1 };
          return { text: point.join(' '), finishReason: 'stop', logProbs: [logDensity], usage };
        }),
      ),
  };
}

/** One choice by one proxy among n. */
export interface HackingRow {
  readonly proxyName: string;
  readonly choice: string;
  readonly n: number;
  /** Over problems and seeds, less the same problem's first completion. */
  readonly proxy: MeanEstimate;
  readonly gold: MeanEstimate;
  /** Mean gold of each seed by itself. */
  readonly goldBySeed: readonly number[];
}

/** What a study of reward hacking is of. */
export interface HackingSettings {
  readonly seeds: readonly number[];
  readonly problems: number;
  readonly ns: readonly number[];
}

export interface HackingStudy {
  readonly rows: readonly HackingRow[];
  /** R = d (α − β d) fitted to the gold reward of best-of-n, by proxy. */
  readonly laws: Readonly<Record<string, Pick<OverOptimizationLaw, 'alpha' | 'beta' | 'peak' | 'residual'>>>;
}

/** Reward hacking of best-of-N (arXiv 2210.10760, 2404.01054): what the proxy and what the gold reward make of choosing among more. */
export async function hackingStudy({ seeds, problems, ns }: HackingSettings): Promise<HackingStudy> {
  const rows: HackingRow[] = [];
  for (const [proxyName, make] of Object.entries(PROXIES)) {
    const found = new Map<string, { proxy: number; gold: number }[][]>();
    for (const [s, seed] of seeds.entries()) {
      for (let problem = 0; problem < problems; problem++) {
        const one = make(createRandom(seed * 100_003 + problem, proxyName));
        const generator = generatorOf(one);
        const verifier = functionVerifier('proxy', ({ completion }) => one.proxy(pointOf(completion)));
        const sampling = { seed: seed * 1_000_003 + problem * 2_003 };
        const [[first]] = (await generator.generate([{ prompt: '', seed: sampling.seed }])) as [[Completion]];
        const start = pointOf(first.text);
        for (const [choice, choose] of Object.entries(CHOICES)) {
          for (const n of ns) {
            const point = pointOf((await choose({ generator, verifier, n, sampling })).text);
            const bySeed = found.get(`${choice}\n${n}`) ?? seeds.map(() => []);
            found.set(`${choice}\n${n}`, bySeed);
            bySeed[s]!.push({
              proxy: one.proxy(point) - one.proxy(start),
              gold: one.gold(point) - one.gold(start),
            });
          }
        }
        points.clear();
      }
    }
    for (const [key, bySeed] of found) {
      const [choice, n] = key.split('\n') as [string, string];
      const all = bySeed.flat();
      rows.push({
        ...{ proxyName, choice, n: Number(n) },
        proxy: meanDifference(all.map(({ proxy }) => proxy)),
        gold: meanDifference(all.map(({ gold }) => gold)),
        goldBySeed: bySeed.map((list) => list.reduce((sum, { gold }) => sum + gold, 0) / list.length),
      });
    }
  }
  const laws = Object.fromEntries(
    Object.keys(PROXIES).map((name) => {
      const curve = rows.filter(({ proxyName, choice, n }) => proxyName === name && choice === 'bestOfN' && n > 1);
      const { alpha, beta, peak, residual } = fitOverOptimization(
        curve.map(({ n, gold }) => ({ kl: bestOfNKl(n), reward: gold.value! })),
        { law: 'best-of-n' },
      );
      return [name, { alpha, beta, peak, residual }];
    }),
  );
  return { rows, laws };
}
