/** What feedback makes of a policy that says harmful things: AI preferences, a constitution, two objectives that pull apart. */
import { constitutionalRevision, pipeline } from '@posttrain/data';
import { aiFeedback } from '@posttrain/eval';
import type { Generator, PairJudge } from '@posttrain/interfaces';
import { createRandom, type Random } from '@posttrain/interfaces/random';
import { functionVerifier, severity } from '@posttrain/interfaces/verifiers';
import { type CausalLM, LocalGenerator, LocalScorer } from '@posttrain/lm';
import {
  lagrangian,
  leaveOneOut,
  onlinePairs,
  type PolicyObjectiveParts,
  type PreferenceSource,
  policyObjectives,
  preferenceLosses,
  type Rewards,
  trainPolicy,
  trainPreferences,
} from '@posttrain/rl';
import { sft } from '@posttrain/training';
import { quiet, smallModel } from './small.js';

/** How long a policy learns; the test's does for less. */
export interface FeedbackSizes {
  readonly steps: number;
  readonly samples: number;
}
export const FEEDBACK_SIZES: FeedbackSizes = { steps: 20, samples: 192 };

/** x is what must not be said; c is what is asked for. */
export const LETTERS = [...'abcdefghx'];
export const PROMPTS = [...'abcdefgh'].map((letter) => `${letter}:`);
const countOf = (text: string, letter: string) => text.split(letter).length - 1;
export const meanOf = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
export const wordOf = (random: Random) =>
  Array.from({ length: random.integer(2, 5) }, () => random.pick(LETTERS)).join('');

/** A policy that says any word. */
async function anyWord(seed: number): Promise<CausalLM> {
  const random = createRandom(seed, 'words');
  const { trainer } = await sft({
    ...{ ...quiet, seed, epochs: 1, learningRate: 5e-3, model: await smallModel(seed) },
    rows: Array.from({ length: 480 }, () => ({ prompt: random.pick(PROMPTS), completion: wordOf(random) })),
  });
  return trainer.model as CausalLM;
}

/** Completions of a policy, of one prompt after the other. */
export async function said(
  model: CausalLM,
  prompts: readonly string[],
  samples: number,
  seed: number,
): Promise<string[]> {
  const n = Math.ceil(samples / prompts.length);
  const found = await new LocalGenerator(model).generate(
    prompts.map((prompt, i) => ({ prompt, n, maxTokens: 6, temperature: 1, seed: 100 * seed + i })),
  );
  return found.flatMap((completions) => completions.map(({ text }) => text));
}

const harmlessOf = async (model: CausalLM, { samples }: FeedbackSizes, seed: number) =>
  meanOf((await said(model, PROMPTS, samples, seed)).map((text) => Number(!text.includes('x'))));

/** What a policy becomes by DPO on pairs of its own. */
export const preferred = async (
  model: CausalLM,
  rows: PreferenceSource,
  seed: number,
  steps: number,
  learningRate = 2e-3,
): Promise<CausalLM> => {
  const { trainer } = await trainPreferences({
    ...{ ...quiet, model, rows, seed, steps, learningRate, loss: preferenceLosses.sigmoid({ beta: 0.1 }) },
  });
  return trainer.model as CausalLM;
};

const onPrompts = { rows: PROMPTS.map((prompt) => ({ prompt })), maxCompletionLength: 6 };

/** A model that has learnt which of two answers is the harmless one, of comparisons of which a tenth is labelled wrongly. */
async function judgeModel(seed: number): Promise<LocalScorer> {
  const random = createRandom(seed, 'judge');
  const rows = Array.from({ length: 1600 }, () => [wordOf(random), wordOf(random)] as const)
    .filter(([a, b]) => a.includes('x') !== b.includes('x'))
    .map(([first, second]) => {
      const isFirst = second.includes('x') !== random.float() < 0.1;
      return { prompt: `${first};${second}?`, completion: isFirst ? 'Y' : 'N' };
    });
  const model = await smallModel(seed + 50);
  const { trainer } = await sft({ ...quiet, seed, rows, epochs: 6, learningRate: 5e-3, model });
  return new LocalScorer(trainer.model as CausalLM);
}

const judgeOf = (scorer: LocalScorer): PairJudge =>
  aiFeedback({ scorer, prompt: ({ first, second }) => `${first};${second}?`, answers: ['Y', 'N'] });

/** Says for every pair what a coin says. */
const coin: PairJudge = {
  name: 'coin',
  compare: async (asked) =>
    asked.map(({ first, second }) => {
      const isFirst = createRandom(7, [first, second].toSorted().join()).float() < 0.5 === first < second;
      return { winner: first === second ? ('tie' as const) : isFirst ? ('first' as const) : ('second' as const) };
    }),
};

/** RLAIF: share of harmless answers, and how often the judge is right about a harmless and a harmful one. */
export async function aiFeedbackArms(seed: number, sizes: FeedbackSizes = FEEDBACK_SIZES) {
  const model = await anyWord(seed);
  const judge = judgeOf(await judgeModel(seed));
  const arm = async (given: PairJudge) => ({
    harmless: await harmlessOf(
      await preferred(model, onlinePairs({ ...onPrompts, judge: given }), seed, sizes.steps),
      sizes,
      seed,
    ),
  });
  return {
    'the policy before': { harmless: await harmlessOf(model, sizes, seed) },
    'AI feedback': await arm(judge),
    'control: a coin': await arm(coin),
  };
}

/** Answers, critiques and revisions: the first are the policy's; who revises leaves out what is harmful, four times of five. */
const revising = (model: CausalLM, seed: number, isControl: boolean): Generator => {
  const policy = new LocalGenerator(model);
  const random = createRandom(seed, 'reviser');
  return {
    name: 'policy and reviser',
    async generate(requests) {
      const answers = await policy.generate(
        requests.map(({ prompt, ...rest }, i) => ({
          ...{ ...rest, maxTokens: 6, seed: 1000 * seed + i },
          prompt: typeof prompt === 'string' ? prompt : 'a:',
        })),
      );
      return requests.map(({ prompt }, i) => {
        if (typeof prompt === 'string') return answers[i]!;
        const answer = (prompt as readonly { content: string }[])[1]!.content;
        const isCritique = prompt.length === 3;
        const revised = isControl || random.float() < 0.2 ? answer : answer.replaceAll('x', '');
        const text = isCritique ? (answer.includes('x') ? 'It says x.' : 'Nothing.') : revised;
        return [{ ...answers[i]![0]!, text }];
      });
    },
  };
};

/** Constitutional AI: both stages, the first alone, and the first without revisions. */
export async function constitutionArms(seed: number, sizes: FeedbackSizes = FEEDBACK_SIZES) {
  const model = await anyWord(seed);
  const principles = [{ critique: 'Say what is harmful.', revision: 'Write it again without that.' }];
  const tuned = async (isControl: boolean) => {
    const generator = revising(model, seed, isControl);
    const asked = Array.from({ length: 320 }, (_, i) => ({ id: `${i}`, prompt: PROMPTS[i % PROMPTS.length]! }));
    const rows = await pipeline(asked, [
      constitutionalRevision<{ id: string; prompt: string }>({ generator, principles }),
    ]).collect();
    const { trainer } = await sft({
      ...{ ...quiet, model, seed, epochs: 2, learningRate: 2e-3 },
      rows: rows
        .map(({ prompt, completion }) => ({ prompt, completion }))
        .filter(({ completion }) => completion !== ''),
    });
    return trainer.model as CausalLM;
  };
  const revised = await tuned(false);
  const both = await preferred(
    revised,
    onlinePairs({ ...onPrompts, judge: judgeOf(await judgeModel(seed)) }),
    seed,
    sizes.steps,
  );
  const of = async (policy: CausalLM) => ({ harmless: await harmlessOf(policy, sizes, seed) });
  return {
    'the policy before': await of(model),
    'control: its own answers': await of(await tuned(true)),
    revisions: await of(revised),
    'revisions, then AI feedback': await of(both),
  };
}

/** What is helpful: c, and twice as much x, which is harmful. */
const helpfulOf = (text: string) => Math.min(4, countOf(text, 'c') + 2 * countOf(text, 'x')) / 4;
const helpful = functionVerifier('helpful', ({ completion }) => helpfulOf(completion));
const harmless = severity({ rules: [{ name: 'x', severity: 1, found: /x/ }] });
const harm = functionVerifier('harm', ({ completion }) => Number(completion.includes('x')));
/** How many answers a constrained policy may have that are harmful. */
const LIMIT = 0.05;

/** The area below a front of points, both from 0 to 1. */
export function areaBelow(points: readonly (readonly [helpful: number, harmless: number])[]): number {
  const sorted = [...points].sort(([a], [b]) => b - a);
  let area = 0;
  let height = 0;
  for (const [i, [x, y]] of sorted.entries()) {
    height = Math.max(height, y);
    area += (x - (sorted[i + 1]?.[0] ?? 0)) * height;
  }
  return area;
}

/** Weights between those of two policies (rewarded soups, arXiv 2306.04488). */
function soupOf(a: CausalLM, b: CausalLM, share: number): CausalLM {
  const mixed = Object.entries(a.weights).map(([name, x]) => [name, x.mul(1 - share).add(b.weights[name]!.mul(share))]);
  return a.withWeights(Object.fromEntries(mixed));
}

/**
 * Two objectives that pull apart: the front of three runs with weighted rewards, and that of soups of the outer two; rewards that are normalised
 * one by one (GDPO), and the most help of which at most one answer in twenty is harmful (a Lagrangian).
 */
export async function conflictArms(seed: number, { steps, samples }: FeedbackSizes = FEEDBACK_SIZES) {
  const model = await anyWord(seed);
  const learnt = async (objective: PolicyObjectiveParts, rewards: Rewards<{ prompt: string }>) => {
    const { trainer } = await trainPolicy({
      ...{ model, rows: onPrompts.rows, seed, steps, learningRate: 2e-3, onWarning: () => {} },
      ...({ schedule: 'constant' } as const),
      ...{ objective, rewards, promptsPerStep: 4, completionsPerPrompt: 8 },
      ...{ maxCompletionLength: 6, loggingSteps: 1000 },
    });
    return trainer.model as CausalLM;
  };
  const trained = (share: number) =>
    learnt(policyObjectives.grpo({ beta: 0.02 }), {
      ...{ helpful: { verifier: helpful, weight: 1 - share }, harmless: { verifier: harmless, weight: share } },
    });
  const normalized = () => learnt(policyObjectives.gdpo({ beta: 0.02 }), { helpful, harmless });
  const constrained = (multiplierRate: number) => {
    const advantage = lagrangian(leaveOneOut(), { limits: { harm: LIMIT }, multiplierRate, initialMultiplier: 0.5 });
    const measures = { helpful, harm: { verifier: harm, weight: 0 } };
    return learnt({ ...policyObjectives.grpo({ beta: 0.02 }), name: 'constrained', advantage }, measures);
  };
  const point = async (policy: CausalLM) => {
    const texts = await said(policy, PROMPTS, samples, seed);
    return [meanOf(texts.map(helpfulOf)), meanOf(texts.map((text) => Number(!text.includes('x'))))] as const;
  };
  const [none, half, all] = [await trained(0), await trained(0.5), await trained(1)];
  const shares = [0.25, 0.5, 0.75];
  const soups = await Promise.all(shares.map((share) => point(soupOf(none, all, share))));
  const [ofNone, ofHalf, ofAll] = [await point(none), await point(half), await point(all)];
  const start = await point(model);
  const at = ([x, y]: readonly [number, number]) => ({ helpful: x, harmless: y, area: areaBelow([[x, y]]) });
  return {
    'the policy before': at(start),
    'helpful alone': at(ofNone),
    'harmless alone': at(ofAll),
    'both, half each': at(ofHalf),
    'both, each normalised (GDPO)': at(await point(await normalized())),
    'helpful, harm at most 0.05': at(await point(await constrained(0.5))),
    'helpful, a multiplier that stays': at(await point(await constrained(0))),
    ...Object.fromEntries(shares.map((share, i) => [`soup, ${share} of harmless`, at(soups[i]!)])),
    'front of weighted rewards': { helpful: ofHalf[0], harmless: ofHalf[1], area: areaBelow([ofNone, ofHalf, ofAll]) },
    'front of soups': { helpful: soups[1]![0], harmless: soups[1]![1], area: areaBelow([ofNone, ...soups, ofAll]) },
  };
}
