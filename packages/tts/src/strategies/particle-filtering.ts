import { type Given, integer, number, oneOf } from '@posttrain/interfaces';
import { createRandom, type Random } from '@posttrain/interfaces/random';
import { roleScores } from '../role-scores.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { byScore, stepScore } from '../step-score.js';
import { aggregationOption, type Growing, nextSteps, stopOption } from '../steps.js';
import { mostOf } from '../tree-statistics.js';

const particleFilteringOptions = strategyOptions('particle-filtering', {
  verifier: verifierOption,
  /** What ends a step. Default `['\n\n']`. */
  stop: stopOption,
  /** Steps at most; the last one runs to the model's own end. Default 25. */
  maxSteps: integer({ default: 25, min: 1 }),
  /** What the scores of a text's steps become, where the verifier gives `stepScores`. Default `last`. */
  aggregation: aggregationOption,
  /** How ancestors are drawn. Systematic resampling has the same expectation with less variance. Default `multinomial`, as the paper. */
  resampling: oneOf(['multinomial', 'systematic'], { default: 'multinomial' }),
  /** Resample where the effective sample size is at most this share of n. Default 1: after every step. */
  essThreshold: number({ default: 1, min: 0, max: 1 }),
  /**
   * Entropic annealing: weights are w^{1/T} while resampling, with T ≥ 1 falling to 1 over `maxSteps`, so that particles are not
   * given up early. `ess`: T = max(1, (N / ESS)(1 − progress)) where ESS < N/2 in the first half; `entropy`:
   * T = 1 / (H + (1 − H) progress), H the entropy of the weights over ln N. Default `none`.
   */
  annealing: oneOf(['none', 'ess', 'entropy'], { default: 'none' }),
  /** Which particle is returned: the one that the verifier (`verifiers.outcome` where there is one) scores highest, or one by weight. Default `best`. */
  selection: oneOf(['best', 'sample'], { default: 'best' }),
});
/** Options of `particleFiltering`. `n` is the number of particles. */
export type ParticleFilteringOptions = Given<typeof particleFilteringOptions>;

/** 1 / Σ W² of weights that sum to 1: between 1 and their number. */
export const effectiveSampleSize = (weights: readonly number[]): number =>
  1 / weights.reduce((sum, weight) => sum + weight * weight, 0);

/** log of p / (1 − p), the weight of a particle by its score p from 0 to 1; p is kept 1e-7 away from both. */
export function particleLogWeight(score: number): number {
  const p = Math.min(1 - 1e-7, Math.max(1e-7, score));
  return Math.log(p) - Math.log1p(-p);
}

interface Particle {
  readonly node: SearchNode;
  /** Its weight since it was last drawn, and that of its last step alone. */
  readonly logWeight: number;
  readonly logStep: number;
}

/**
 * Particle filtering over steps (arXiv 2502.01618): the model is the transition of a state-space model and the process verifier says how
 * likely it is that the text so far is right, with p = score and weight w = p / (1 − p), so that the softmax is over logits.
 *
 * 1. every particle goes on by one step and its weight becomes W_i ∝ W_i w_i;
 * 2. where ESS = 1 / Σ W_i² is at most `essThreshold` n, n ancestors are drawn with probabilities W (tempered by `annealing`, entropic
 *    particle filtering of arXiv 2510.05825), and all weights are equal again.
 *
 * Sampling in place of an argmax keeps texts alive that a verifier which is not perfect scores low. A particle that the model has
 * ended stays among the particles with the weight of its last step. Σ_t log Σ_i W_i w_i is an unbiased estimate of the evidence
 * (`logEvidence` in the root's payload; absent with annealing, which biases it, where texts end at different steps or a particle is
 * lost). What is not scorable has weight 0. n = 1 is a sample of the model. Throws `NoCandidateError` when no particle has a score.
 */
export async function particleFiltering(problem: Problem, options: ParticleFilteringOptions): Promise<SearchResult> {
  const settings = particleFilteringOptions.read(options);
  const { n, stop, maxSteps, aggregation, essThreshold, annealing, selection, resampling } = settings;
  const search = new Search(particleFilteringOptions, problem, options);
  const random = createRandom(options.sampling?.seed ?? 0, particleFilteringOptions.where);
  const scoreOf = (node: SearchNode) => stepScore(node, aggregation);
  let particles: readonly Particle[] = new Array<Particle>(n).fill({ node: search.root, logWeight: 0, logStep: 0 });
  let logEvidence: number | null = annealing === 'none' ? 0 : null;
  for (let step = 1; step <= maxSteps && particles.some(({ node }) => node.state === 'open'); step++) {
    const growing = together(particles.filter(({ node }) => node.state === 'open'));
    const level = { stop: step === maxSteps ? [] : stop, aggregation, lookahead: 0 };
    const drawn = await nextSteps(search, growing, level);
    const next = new Map(growing.map(({ node }, i) => [node, drawn[i]!.values()]));
    const before = logSum(particles.map(({ logWeight }) => logWeight));
    const moved = particles.flatMap((particle): Particle[] => {
      const { node, logWeight, logStep } = particle;
      if (node.state !== 'open') {
        logEvidence = null;
        return [{ node, logWeight: logWeight + logStep, logStep }];
      }
      const grown = next.get(node)!.next().value;
      const score = grown && scoreOf(grown);
      if (grown === undefined || score === undefined || score === null) return [];
      const logThis = particleLogWeight(score);
      return [{ node: grown, logWeight: logWeight + logThis, logStep: logThis }];
    });
    if (moved.length < n) logEvidence = null;
    if (moved.length === 0) break;
    if (logEvidence !== null) logEvidence += logSum(moved.map(({ logWeight }) => logWeight)) - before;
    particles = resample(moved, { n, step, maxSteps, essThreshold, annealing, resampling }, random);
    const alive = new Set(particles.map(({ node }) => node));
    for (const { node } of moved) if (!alive.has(node)) node.node.reason = `not drawn after step ${step}`;
    if (search.exhausted !== null) break;
  }
  if (logEvidence !== null) search.root.payload = { logEvidence };

  const whole = together(particles.filter(({ node }) => node.state !== 'open')).map(({ node }) => node);
  const candidates = byScore(whole, scoreOf);
  if (candidates.length === 0) throw search.nothing('no particle has ended with a score.');
  const outcomes = options.verifiers?.outcome ? await roleScores(search, candidates, 'outcome') : [];
  const worth = new Map(
    candidates.map((node, i) => [node, outcomes.length > 0 ? (outcomes[i] ?? null) : scoreOf(node)]),
  );
  if (selection === 'best') {
    const best = mostOf(candidates, (node) => worth.get(node) ?? Number.NEGATIVE_INFINITY)!;
    return search.finish(best, { reason: 'lower score' });
  }
  const ended = particles.filter(({ node }) => node.state !== 'open');
  const [index] = ancestors(normalized(ended.map(({ logWeight }) => logWeight)), 1, 'multinomial', random);
  return search.finish(ended[index!]!.node, { reason: 'another particle was drawn' });
}

/** Each node once, with how many particles are at it. */
function together(particles: readonly Particle[]): Growing[] {
  const counts = new Map<SearchNode, number>();
  for (const { node } of particles) counts.set(node, (counts.get(node) ?? 0) + 1);
  return [...counts].map(([node, n]) => ({ node, n }));
}

interface Resampling {
  readonly n: number;
  readonly step: number;
  readonly maxSteps: number;
  readonly essThreshold: number;
  readonly annealing: 'none' | 'ess' | 'entropy';
  readonly resampling: 'multinomial' | 'systematic';
}

function resample(particles: readonly Particle[], how: Resampling, random: Random): readonly Particle[] {
  const { n, step, maxSteps, essThreshold, annealing, resampling } = how;
  const logWeights = particles.map(({ logWeight }) => logWeight);
  const weights = normalized(logWeights);
  if (effectiveSampleSize(weights) > essThreshold * n * (1 + 1e-12)) return particles;
  const temperature = annealingTemperature(annealing, weights, step / maxSteps);
  const tempered = temperature === 1 ? weights : normalized(logWeights.map((log) => log / temperature));
  return ancestors(tempered, n, resampling, random).map((i) => {
    const { node, logStep } = particles[i]!;
    return { node, logWeight: 0, logStep };
  });
}

/** T of entropic annealing at this share of the steps; 1 changes nothing. */
export function annealingTemperature(
  annealing: 'none' | 'ess' | 'entropy',
  weights: readonly number[],
  progress: number,
): number {
  const n = weights.length;
  if (annealing === 'none' || n === 1) return 1;
  if (annealing === 'ess') {
    const share = effectiveSampleSize(weights) / n;
    return share < 0.5 && progress < 0.5 ? Math.max(1, (1 - progress) / share) : 1;
  }
  const entropy = weights.reduce((sum, p) => sum - (p > 0 ? p * Math.log(p) : 0), 0) / Math.log(n);
  // All weight on one particle at the start would be T = ∞: even weights.
  return 1 / Math.max(Number.EPSILON, entropy + (1 - entropy) * progress);
}

/** Indices of n draws with these probabilities: of each by itself, or at even distances with one random start. */
function ancestors(
  weights: readonly number[],
  n: number,
  resampling: 'multinomial' | 'systematic',
  random: Random,
): number[] {
  const start = resampling === 'systematic' ? random.float() : 0;
  const points = Array.from({ length: n }, (_, i) => (resampling === 'systematic' ? (i + start) / n : random.float()));
  return points.map((point) => {
    let left = point;
    for (let i = 0; i < weights.length - 1; i++) {
      left -= weights[i]!;
      if (left < 0) return i;
    }
    return weights.length - 1;
  });
}

function logSum(logs: readonly number[]): number {
  const most = Math.max(...logs);
  return most + Math.log(logs.reduce((sum, log) => sum + Math.exp(log - most), 0));
}

function normalized(logs: readonly number[]): number[] {
  const total = logSum(logs);
  return logs.map((log) => Math.exp(log - total));
}
