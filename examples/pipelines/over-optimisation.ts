/** Gold against proxy: a learned reward model that is optimised until it is wrong (arXiv 2210.10760), and what is done against it. */
import { fitOverOptimization, type OverOptimizationPoint } from '@posttrain/eval';
import type { Verifier } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import { functionVerifier } from '@posttrain/interfaces/verifiers';
import type { CausalLM, SequenceClassifier } from '@posttrain/lm';
import { type Annotator, policyObjectives, refitRewardModel, rewardEnsemble, rewardHackMonitors } from '@posttrain/rl';
import { klOf } from './rlhf.js';
import {
  baseModel,
  GENERAL,
  meanOf,
  people,
  reinforced,
  rewardModel,
  said,
  tuned,
  wordOf,
  wordPairs,
} from './world.js';

/** How long a policy learns, and how often it is looked at. */
export interface OverSizes {
  readonly steps: number;
  readonly every: number;
  readonly samples: number;
}
export const OVER_SIZES: OverSizes = { steps: 48, every: 3, samples: 8 };

const countOf = (text: string) => [...text].filter((one) => one === 'c').length;
/** What people want: three times the letter c. Words of the first policy have seldom more than two, so that pairs of them say: more is better. */
export const goldOf = (text: string): number => 1 - ((countOf(text) - 3) / 3) ** 2;

/** A policy at a moment of its run. */
export interface Moment {
  readonly step: number;
  readonly kl: number;
  readonly proxy: number;
  readonly gold: number;
}

const PAIRS = 320;
const LONG = 10;

/** What a run came to: its last moment and its best, and what the law says. */
function outcomeOf(moments: readonly Moment[], alarms: readonly number[]) {
  const last = moments.slice(-3);
  const best = moments.reduce((a, b) => (b.gold > a.gold ? b : a));
  return {
    gold: meanOf(last.map(({ gold }) => gold)),
    'best gold': best.gold,
    proxy: meanOf(last.map(({ proxy }) => proxy)),
    kl: meanOf(last.map(({ kl }) => kl)),
    'step of the best': best.step,
    'first alarm': alarms[0] ?? moments.at(-1)!.step,
    'alarmed steps': alarms.length / moments.at(-1)!.step,
  };
}

/** Every arm with its curve. */
export async function overRuns(seed: number, { steps, every, samples }: OverSizes = OVER_SIZES) {
  const random = createRandom(seed, 'long words');
  const words = Array.from({ length: 480 }, () => ({
    prompt: random.pick(GENERAL).prompt,
    completion: wordOf(random, LONG),
  }));
  const policy = await tuned(await baseModel(seed), words, seed, { epochs: 2 });
  const pairs = wordPairs(PAIRS, seed, goldOf, LONG);
  const member = async (k: number) =>
    rewardModel(
      policy,
      pairs.filter((_, i) => i % 4 !== k),
      10 * seed + k,
    );
  const trainers = [await member(0), await member(1), await member(2), await member(3)];
  const members = trainers.map(({ model }) => (model as SequenceClassifier).verifier());
  const proxy: Verifier = members[0]!;
  const gold = functionVerifier('gold', ({ completion }) => goldOf(completion));

  const run = async (reward: Verifier, { beta = 0, annotators = [] as Annotator[] } = {}) => {
    const moments: Moment[] = [];
    const alarms: number[] = [];
    const look = async (model: CausalLM, step: number) => {
      const texts = await said(model, GENERAL, samples, 100 * seed + step);
      const verdicts = await proxy.verify(texts.map(({ row, text }) => ({ prompt: row.prompt, completion: text })));
      moments.push({
        step,
        kl: Math.max(0, await klOf(model, policy, texts)),
        proxy: meanOf(verdicts.map(({ score }) => score!)),
        gold: meanOf(texts.map(({ text }) => goldOf(text))),
      });
    };
    const objective = policyObjectives.grpo({ beta, scaleRewards: 'none' });
    const monitors = rewardHackMonitors();
    await look(policy, 0);
    await reinforced({
      ...{
        model: policy,
        rows: GENERAL,
        rewards: { reward },
        seed,
        steps,
        maxCompletionLength: 12,
        learningRate: 7e-4,
      },
      objective: { ...objective, annotators: [...annotators, monitors] },
      async afterStep({ step, model, metrics }) {
        if (metrics['hack/alarms']! > 0) alarms.push(step + 1);
        if ((step + 1) % every === 0) await look(model, step + 1);
      },
    });
    return { moments, alarms };
  };
  const ensemble = (objective: 'wco' | 'lcb') =>
    rewardEnsemble({ verifiers: members, objective, uncertaintyWeight: 1 });
  const refitted = await member(0);
  const refit = refitRewardModel({ trainer: refitted, judge: people(goldOf), learningRate: 3e-3, iterations: 4 });
  return {
    'one reward model': await run(proxy),
    'β 0.05': await run(proxy, { beta: 0.05 }),
    'β 0.2': await run(proxy, { beta: 0.2 }),
    'β 0.5': await run(proxy, { beta: 0.5 }),
    'ensemble, worst case': await run(ensemble('wco')),
    'ensemble, lower bound': await run(ensemble('lcb')),
    'fitted again': await run(refit.reward, { annotators: [refit] }),
    'gold itself': await run(gold),
  };
}

/** What the arms came to. */
export async function overArms(seed: number, sizes: OverSizes = OVER_SIZES) {
  const runs = await overRuns(seed, sizes);
  const arms = Object.fromEntries(
    Object.entries(runs).map(([name, { moments, alarms }]) => [name, outcomeOf(moments, alarms)]),
  );
  return { ...arms, ...lawOf(runs['one reward model'].moments), ...curvesOf(runs) };
}

/** R = d (α − β ln d) of the run without a budget, of gains over the first policy. */
function lawOf(moments: readonly Moment[]) {
  const start = moments[0]!.gold;
  const points = moments.map(({ kl, gold }): OverOptimizationPoint => ({ kl, reward: gold - start }));
  const { alpha, beta, peak, residual } = fitOverOptimization(points, { law: 'rl' });
  const mean = meanOf(points.map(({ reward }) => reward));
  const spread = Math.sqrt(meanOf(points.map(({ reward }) => (reward - mean) ** 2)));
  return {
    'law of RL': {
      ...{ α: alpha, β: beta, 'explained share': 1 - (residual / spread) ** 2 },
      'KL at the top': peak?.kl ?? -1,
    },
  };
}

/** A moment an arm of its own: the points of the plot. */
function curvesOf(runs: Readonly<Record<string, { readonly moments: readonly Moment[] }>>) {
  return Object.fromEntries(
    ['one reward model', 'gold itself'].flatMap((name) =>
      runs[name]!.moments.map(({ step, kl, proxy, gold }) => [
        `${name}, step ${step}`,
        { 'curve: kl': kl, 'curve: proxy': proxy, 'curve: gold': gold },
      ]),
    ),
  );
}
