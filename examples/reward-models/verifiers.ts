/** Seven ways to learn what is right from planted errors. */
import { firstError, generativeVerifierRows, mathShepherd, pipeline } from '@posttrain/data';
import { auroc } from '@posttrain/eval';
import type { Verifier } from '@posttrain/interfaces';
import { functionVerifier, generativeVerifier } from '@posttrain/interfaces/verifiers';
import { type CausalLM, LocalGenerator, LocalScorer, SequenceClassifier, TokenClassifier } from '@posttrain/lm';
import { implicitProcessReward, preferenceLosses, trainPreferences } from '@posttrain/rl';
import { rewardModelLosses, sft, trainRewardModel } from '@posttrain/training';
import { type Chain, chains, quiet, STEPS, smallModel } from './small.js';

/** How much there is of everything; the test has less of it. */
export interface VerifierSizes {
  /** Right solutions that the base model learns to write. */
  readonly written: number;
  /** Solutions, half of them wrong, that the verifiers learn from. */
  readonly labelled: number;
  readonly heldOut: number;
  readonly epochs: number;
  /** Completions of each prefix, for labels by rollouts. */
  readonly rollouts: number;
}

export const VERIFIER_SIZES: VerifierSizes = { written: 640, labelled: 320, heldOut: 240, epochs: 6, rollouts: 4 };

const textOf = (steps: readonly string[]): string => steps.map((step) => `${step}\n`).join('');

/** What a way to verify came to on held-out solutions. */
export interface Measured {
  /** Area under the ROC curve, of right against wrong solutions. */
  readonly auroc: number;
  /** Share of wrong solutions whose first error is the step at which the value falls most. */
  readonly located: number;
}

/** The values of every prefix of solutions: of their first step, of the first two … */
type Values = (rows: readonly Chain[]) => Promise<number[][]>;

/** A verifier that scores whole answers, asked about each prefix. */
const ofPrefixes =
  (verifier: Verifier): Values =>
  async (rows) => {
    const asked = rows.flatMap(({ prompt, steps }) =>
      steps.map((_, i) => ({ prompt, completion: textOf(steps.slice(0, i + 1)) })),
    );
    const verdicts = await verifier.verify(asked);
    return rows.map((_, i) => verdicts.slice(i * STEPS, (i + 1) * STEPS).map(({ score }) => score!));
  };

/** A verifier that scores steps. */
const ofSteps =
  (verifier: Verifier, sums = false): Values =>
  async (rows) => {
    const verdicts = await verifier.verify(rows.map(({ prompt, steps }) => ({ prompt, completion: textOf(steps) })));
    return verdicts.map(({ stepScores }) => {
      let sum = 0;
      return stepScores!.map((score) => {
        sum += score;
        return sums ? sum : score;
      });
    });
  };

/** @param score of a solution from the values of its prefixes: the last, or the least */
async function measured(values: Values, rows: readonly Chain[], score: 'last' | 'min'): Promise<Measured> {
  const found = await values(rows);
  const scores = found.map((own) => (score === 'last' ? own.at(-1)! : Math.min(...own)));
  const isRight = rows.map(({ error }) => error === undefined);
  // What is known before the first step is the mean after it.
  const start = found.reduce((sum, own) => sum + own[0]!, 0) / found.length;
  const wrong = rows.flatMap(({ error }, i) => (error === undefined ? [] : [{ error, own: found[i]! }]));
  const located = wrong.filter(({ error, own }) => {
    const falls = own.map((value, t) => (t === 0 ? start : own[t - 1]!) - value);
    return falls.indexOf(Math.max(...falls)) === error;
  });
  return { auroc: auroc(scores, isRight).value, located: located.length / wrong.length };
}

export type VerifierArm =
  | 'outcome'
  | 'outcome, shuffled labels'
  | 'process'
  | 'process, math-shepherd'
  | 'process, binary search'
  | 'implicit'
  | 'generative';

/** A model that has learnt to write right solutions. */
async function writer(seed: number, written: number): Promise<CausalLM> {
  const { trainer } = await sft({
    ...{ ...quiet, seed, epochs: 3, learningRate: 5e-3, model: await smallModel(seed) },
    rows: chains(written, 0, 10 * seed).map(({ prompt, steps }) => ({ prompt, completion: textOf(steps) })),
  });
  return trainer.model as CausalLM;
}

const whole = (of: readonly Chain[], right: readonly boolean[]) =>
  of.map(({ prompt, steps }, i) => ({ prompt, completion: textOf(steps), label: right[i]! }));

/** What a model that has learnt to say Yes of what is right thinks of solutions. */
async function generative(
  common: { readonly seed: number; readonly epochs: number; readonly learningRate: number },
  base: CausalLM,
  labelled: ReturnType<typeof whole>,
): Promise<Verifier> {
  const question = '?';
  const asked = await pipeline(labelled, [generativeVerifierRows({ question })]).collect();
  const { trainer } = await sft({
    ...{ ...quiet, ...common, model: base },
    rows: asked.map(({ prompt, completion }) => ({ prompt, completion })),
  });
  return generativeVerifier({ scorer: new LocalScorer(trainer.model as CausalLM), question });
}

/** How long a generative verifier learns, and how much there is of everything. */
export interface GenerativeSizes extends Pick<VerifierSizes, 'written' | 'labelled' | 'heldOut' | 'epochs'> {
  readonly learningRate: number;
}
export const GENERATIVE_SIZES: GenerativeSizes = {
  ...{ written: 640, labelled: 640, heldOut: 240, epochs: 12, learningRate: 3e-3 },
};

/** A generative verifier, and one whose labels say nothing. */
export async function generativeArms(
  seed: number,
  { written, labelled, heldOut, epochs, learningRate }: GenerativeSizes = GENERATIVE_SIZES,
): Promise<Readonly<Record<'generative' | 'generative, labels by chance', Pick<Measured, 'auroc'>>>> {
  const base = await writer(seed, written);
  const rows = chains(labelled, 0.5, 10 * seed + 1);
  const unseen = chains(heldOut, 0.5, 10 * seed + 2);
  const isRight = rows.map(({ error }) => error === undefined);
  const common = { seed, epochs, learningRate };
  const arm = async (labels: readonly boolean[]) => {
    const verifier = await generative(common, base, whole(rows, labels));
    const verdicts = await verifier.verify(
      unseen.map((row) => ({ prompt: row.prompt, completion: textOf(row.steps) })),
    );
    const isSound = unseen.map(({ error }) => error === undefined);
    return {
      auroc: auroc(
        verdicts.map(({ score }) => score!),
        isSound,
      ).value,
    };
  };
  return {
    generative: await arm(isRight),
    'generative, labels by chance': await arm(isRight.toReversed()),
  };
}

/** All of them, with one seed. */
export async function verifierArms(
  seed: number,
  sizes: VerifierSizes = VERIFIER_SIZES,
): Promise<Readonly<Record<VerifierArm, Measured>>> {
  const { written, labelled, heldOut, epochs, rollouts } = sizes;
  const common = { ...quiet, seed, epochs, learningRate: 3e-3 };
  const base = await writer(seed, written);
  const rows = chains(labelled, 0.5, 10 * seed + 1);
  const unseen = chains(heldOut, 0.5, 10 * seed + 2);
  const isRight = rows.map(({ error }) => error === undefined);

  const outcome = async (labels: readonly boolean[]) => {
    const run = await trainRewardModel({
      ...{ ...common, loss: rewardModelLosses.outcome(), rows: whole(rows, labels) },
      model: await SequenceClassifier.fromCausalLM(base, { labels: 1 }),
    });
    return measured(ofPrefixes((run.trainer.model as SequenceClassifier).verifier()), unseen, 'last');
  };
  const process = async (labels: readonly (readonly boolean[])[]) => {
    const run = await trainRewardModel({
      ...{ ...common, loss: rewardModelLosses.process() },
      rows: rows.map(({ prompt, steps }, i) => ({ prompt, completions: steps, labels: labels[i]! })),
      model: await TokenClassifier.fromCausalLM(base),
    });
    const verifier = (run.trainer.model as TokenClassifier).verifier({ stepTag: '\n', stepDelimiter: '\n' });
    return measured(ofSteps(verifier), unseen, 'min');
  };

  const generator = new LocalGenerator(base);
  const verifier = functionVerifier('ends rightly', ({ completion, row }) => {
    return Number(completion.trimEnd().split('\n').at(-1) === row?.answer);
  });
  const labelling = {
    ...{ generator, verifier, rollouts },
    sampling: { maxTokens: 2 * STEPS, temperature: 1 },
  };
  const solutions = rows.map(({ prompt, steps, answer }) => ({ prompt, answer, completions: steps }));
  const rowOf = new Map(rows.map((row) => [row, { answer: row.answer }]));
  /** Of all rows whose solution is wrong, the first step behind which no completion is right, as OmegaPRM finds it. */
  const searched = await Promise.all(
    rows.map(async (row, i) => {
      const { prompt, steps } = row;
      if (isRight[i]) return steps.length + 1;
      return firstError(steps.length, async (count) => {
        const start = textOf(steps.slice(0, count));
        const request = { ...labelling.sampling, prompt: prompt + start, n: rollouts, seed: 1000 * i + count };
        const [found] = await generator.generate([request]);
        const asked = found!.map(({ text }) => ({ prompt, completion: start + text, row: rowOf.get(row)! }));
        return (await verifier.verify(asked)).some(({ score }) => score === 1);
      });
    }),
  );
  const shepherd = await pipeline(solutions, [mathShepherd({ ...labelling, concurrency: 64 })]).collect();

  const implicit = await trainPreferences({
    ...{ ...common, model: base, rows: whole(rows, isRight), loss: preferenceLosses.implicit_prm({ beta: 0.3 }) },
  });
  const implicitReward = implicitProcessReward({
    policy: new LocalScorer(implicit.trainer.model as CausalLM),
    reference: new LocalScorer(base),
    ...{ beta: 0.3, stepDelimiter: '\n' },
  });

  const truth = rows.map(({ steps, error }) => steps.map((_, i) => error === undefined || i < error));
  return {
    outcome: await outcome(isRight),
    'outcome, shuffled labels': await outcome(isRight.toReversed()),
    process: await process(truth),
    'process, math-shepherd': await process(shepherd.map(({ labels }) => labels as boolean[])),
    'process, binary search': await process(searched.map((first) => rows[0]!.steps.map((_, i) => i + 1 < first))),
    implicit: await measured(ofSteps(implicitReward, true), unseen, 'last'),
    generative: await measured(ofPrefixes(await generative(common, base, whole(rows, isRight))), unseen, 'last'),
  };
}
