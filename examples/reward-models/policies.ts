/** What a policy makes of a reward: of steps and the outcome, of reward models that like length, of one that is fitted again. */
import type { PairJudge, Verifier } from '@posttrain/interfaces';
import { createRandom, type Random } from '@posttrain/interfaces/random';
import { functionVerifier } from '@posttrain/interfaces/verifiers';
import { type CausalLM, LocalGenerator, SequenceClassifier } from '@posttrain/lm';
import {
  hybridReward,
  type PolicyTrainingOptions,
  type PreferenceRow,
  type PromptRow,
  policyObjectives,
  preferenceLosses,
  refitRewardModel,
  rewardEnsemble,
  stepDpoPair,
  trainPolicy,
  trainPreferences,
} from '@posttrain/rl';
import { ODIN_LABELS, odin, odinQuality, rewardModelLosses, sft, trainRewardModel } from '@posttrain/training';
import { chains, quiet, STEPS, smallModel } from './small.js';

/** How long a policy learns; the test's does for less. */
export interface PolicySizes {
  readonly steps: number;
  readonly samples: number;
}
export const POLICY_SIZES: PolicySizes = { steps: 20, samples: 192 };

const meanOf = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

const learn = async (
  given: Partial<PolicyTrainingOptions<PromptRow>> &
    Pick<PolicyTrainingOptions<PromptRow>, 'model' | 'rows' | 'rewards' | 'steps'>,
) =>
  trainPolicy<PromptRow>({
    ...{ objective: policyObjectives.grpo({ beta: 0.02 }), schedule: 'constant', loggingSteps: 1000 },
    ...{ promptsPerStep: 4, completionsPerPrompt: 8, maxCompletionLength: 12, learningRate: 2e-3, onWarning: () => {} },
    ...given,
  });

/** Completions of a policy. */
async function said(model: CausalLM, prompts: readonly string[], samples: number, seed: number): Promise<string[]> {
  const n = Math.ceil(samples / prompts.length);
  const found = await new LocalGenerator(model).generate(
    prompts.map((prompt, i) => ({ prompt, n, maxTokens: 12, temperature: 1, seed: 100 * seed + i })),
  );
  return found.flatMap((completions) => completions.map(({ text }) => text));
}

// Steps and outcomes.

const stepsRight = functionVerifier('steps', ({ completion, row }) => {
  const steps = completion.split('\n').filter((step) => step !== '');
  const scores = steps.map((step, i) => Number(step === (row!.steps as readonly string[])[i]) / STEPS);
  return { score: scores.reduce((a, b) => a + b, 0), stepScores: scores };
});
const outcomeRight = functionVerifier('outcome', ({ completion, row }) => {
  return Number(completion === `${(row!.steps as readonly string[]).join('\n')}\n`);
});

/** A policy that has seen solutions of which most are wrong. */
async function reader(seed: number): Promise<CausalLM> {
  const { trainer } = await sft({
    ...{ ...quiet, seed, epochs: 2, learningRate: 5e-3, model: await smallModel(seed) },
    rows: chains(320, 0.9, seed).map((one) => ({ prompt: one.prompt, completion: textOf(one.steps) })),
  });
  return trainer.model as CausalLM;
}

const textOf = (steps: readonly string[]): string => steps.map((step) => `${step}\n`).join('');
/** The right steps of every prompt. */
const RIGHT = new Map(chains(200, 0, 99).map(({ prompt, steps }) => [prompt, steps]));

async function rightOf(model: CausalLM, samples: number, seed: number): Promise<{ right: number }> {
  const n = Math.ceil(samples / RIGHT.size);
  const texts = await said(model, [...RIGHT.keys()], samples, seed);
  const right = [...RIGHT.values()].map(textOf);
  return { right: meanOf(texts.map((text, i) => Number(text === right[Math.floor(i / n)]))) };
}

/** Share of right solutions of a policy that has learnt from the outcome, from steps and the outcome, or from nothing. */
export async function hybridArms(seed: number, { steps, samples }: PolicySizes = POLICY_SIZES) {
  const model = await reader(seed);
  const rows = [...RIGHT].map(([prompt, own]) => ({ prompt, steps: own }));
  const arm = async (reward: Verifier | undefined) => {
    const learnt = reward && (await learn({ model, rows, seed, steps, rewards: { reward } }));
    return rightOf((learnt?.trainer.model as CausalLM | undefined) ?? model, samples, seed);
  };
  return {
    'no reward': await arm(undefined),
    outcome: await arm(outcomeRight),
    hybrid: await arm(hybridReward({ process: stepsRight, outcome: outcomeRight })),
    'hybrid, weight of steps 0': await arm(
      hybridReward({ process: stepsRight, outcome: outcomeRight, processWeight: 0 }),
    ),
  };
}

/** The same share behind preferences of right solutions over wrong ones: whole ones, or from the first step that differs (Step-DPO). */
export async function stepwiseArms(seed: number, { steps, samples }: PolicySizes = POLICY_SIZES) {
  const model = await reader(seed);
  const random = createRandom(seed, 'stepwise');
  const solutions = chains(320, 1, seed + 10).map(({ prompt, steps: wrong }) => {
    const lines = (own: readonly string[]) => own.map((step) => `${step}\n`);
    return { prompt, chosen: lines(RIGHT.get(prompt)!), rejected: lines(wrong) };
  });
  const whole = solutions.map(({ prompt, chosen, rejected }) => ({
    ...{ prompt, chosen: chosen.join(''), rejected: rejected.join('') },
  }));
  const arm = async (rows: readonly PreferenceRow[]) => {
    const { trainer } = await trainPreferences({
      ...{ ...quiet, model, rows, seed, steps: 2 * steps, learningRate: 1e-3 },
      loss: preferenceLosses.sigmoid({ beta: 0.3 }),
    });
    return rightOf(trainer.model as CausalLM, samples, seed);
  };
  return {
    'the policy before': await rightOf(model, samples, seed),
    'whole solutions': await arm(whole),
    'whole solutions, labels by chance': await arm(
      whole.map((row) => (random.float() < 0.5 ? row : { ...row, chosen: row.rejected, rejected: row.chosen })),
    ),
    'the first steps that differ': await arm(solutions.map((row) => stepDpoPair(row)!)),
  };
}

// Reward models that like length.

const LETTERS = [...'abcdefgh'];
const PROMPTS = LETTERS.map((letter) => `${letter}:`);
const countOf = (text: string, letter: string) => text.split(letter).length - 1;
/** What an answer is worth: how much of it is c. */
const worthOf = (text: string) => (text === '' ? 0 : countOf(text, 'c') / text.length);

const wordOf = (random: Random) => Array.from({ length: random.integer(2, 10) }, () => random.pick(LETTERS)).join('');

/** A policy that says anything, and pairs of which raters like the better one, and the longer one. */
async function raters(seed: number, lengthBias: number) {
  const random = createRandom(seed, 'raters');
  const { trainer } = await sft({
    ...{ ...quiet, seed, epochs: 1, learningRate: 5e-3, model: await smallModel(seed) },
    rows: Array.from({ length: 320 }, () => ({ prompt: random.pick(PROMPTS), completion: wordOf(random) })),
  });
  const pairs = Array.from({ length: 320 }, () => {
    const [a, b] = [wordOf(random), wordOf(random)];
    const gap = 4 * (worthOf(a) - worthOf(b)) + lengthBias * (a.length - b.length);
    const isFirst = random.float() < 1 / (1 + Math.exp(-2 * gap));
    const [chosen, rejected] = isFirst ? [a, b] : [b, a];
    return { prompt: random.pick(PROMPTS), chosen, rejected };
  });
  return { policy: trainer.model as CausalLM, pairs };
}

/** What a policy comes to with one reward model, with ensembles of three, and with ODIN's quality head: worth, and length. */
export async function hackingArms(seed: number, { steps, samples }: PolicySizes = POLICY_SIZES) {
  const { policy, pairs } = await raters(seed, 0.4);
  const common = { ...quiet, epochs: 4, learningRate: 3e-3 };
  const plain = async (member: number) => {
    const loss = rewardModelLosses.bradleyTerry({ centerRewardsCoefficient: 0.01 });
    const { trainer } = await trainRewardModel({
      ...{ ...common, loss, seed: 10 * seed + member },
      rows: pairs.filter((_, i) => i % 3 !== member),
      model: await SequenceClassifier.fromCausalLM(policy, { labels: 1, seed: 10 * seed + member }),
    });
    return (trainer.model as SequenceClassifier).verifier();
  };
  const members = [await plain(0), await plain(1), await plain(2)];
  const { trainer: split } = await trainRewardModel({
    ...{ ...common, seed, rows: pairs, loss: odin() },
    model: await SequenceClassifier.fromCausalLM(policy, { labels: ODIN_LABELS, seed }),
  });
  const arm = async (reward: Verifier | undefined) => {
    const rows = PROMPTS.map((prompt) => ({ prompt }));
    const learnt = reward && (await learn({ model: policy, rows, seed, steps, rewards: { reward } }));
    const texts = await said((learnt?.trainer.model as CausalLM | undefined) ?? policy, PROMPTS, samples, seed);
    return { worth: meanOf(texts.map(worthOf)), length: meanOf(texts.map((text) => text.length)) };
  };
  return {
    'one reward model': await arm(members[0]!),
    'ensemble, WCO': await arm(rewardEnsemble({ verifiers: members, objective: 'wco' })),
    'ensemble, UWO': await arm(rewardEnsemble({ verifiers: members, objective: 'uwo' })),
    'ODIN, quality': await arm(odinQuality(split.model as SequenceClassifier).verifier()),
    'no reward': await arm(undefined),
  };
}

// A reward model that is fitted again.

/** Every c is worth one, and an e too; every e behind the first costs two, which the first pairs do not show. */
const trapOf = (text: string) => {
  const e = countOf(text, 'e');
  return Math.min(3, countOf(text, 'c')) + Math.min(1, e) - 2 * Math.max(0, e - 1);
};
const judge: PairJudge = {
  name: 'people',
  compare: async (asked) =>
    asked.map(({ first, second }) => {
      const gap = trapOf(first) - trapOf(second);
      return { winner: gap === 0 ? ('tie' as const) : gap > 0 ? ('first' as const) : ('second' as const) };
    }),
};

/** What answers are worth after a policy has learnt from a reward model that stays, that is fitted again, or that stops it at a plateau. */
export async function refitArms(seed: number, { steps, samples }: PolicySizes = POLICY_SIZES) {
  const { policy } = await raters(seed, 0);
  const random = createRandom(seed, 'trap');
  const word = (): string => {
    const text = wordOf(random);
    return countOf(text, 'e') > 1 ? word() : text;
  };
  const pairs = Array.from({ length: 320 }, () => [word(), word()] as const)
    .filter(([a, b]) => trapOf(a) !== trapOf(b))
    .map(([a, b]) => {
      const [chosen, rejected] = trapOf(a) > trapOf(b) ? [a, b] : [b, a];
      return { prompt: random.pick(PROMPTS), chosen, rejected };
    });
  const rows = PROMPTS.map((prompt) => ({ prompt }));
  const arm = async (kind: 'frozen' | 'refit' | 'plateau') => {
    const { trainer } = await trainRewardModel({
      ...{ ...quiet, seed, rows: pairs, epochs: 4, learningRate: 3e-3, loss: rewardModelLosses.bradleyTerry() },
      model: await SequenceClassifier.fromCausalLM(policy, { labels: 1, seed }),
    });
    const refit = refitRewardModel({ trainer, judge, learningRate: 2e-3, iterations: 2 });
    const objective = policyObjectives.grpo({ beta: 0.02 });
    const learnt = await learn({
      ...{ model: policy, rows, seed, steps: 2 * steps, rewards: { reward_model: refit.reward } },
      objective: kind === 'frozen' ? objective : { ...objective, annotators: [...(objective.annotators ?? []), refit] },
      ...(kind === 'plateau' && { evaluationRows: rows, evaluateEvery: 5, patience: 3, minDelta: 0.1 }),
    });
    const texts = await said(learnt.trainer.model as CausalLM, PROMPTS, samples, seed);
    return { worth: meanOf(texts.map(trapOf)), steps: learnt.trainer.step };
  };
  return {
    frozen: await arm('frozen'),
    'fitted again': await arm('refit'),
    'fitted again, to a plateau': await arm('plateau'),
  };
}
