import { join } from 'node:path';
import { maybeUnpairPreferenceDataset, type PreferenceRow } from '@posttrain/data';
import { accuracy, type ChoiceProblem, type EvalResult, evaluate, metricOf, pairedBootstrap } from '@posttrain/eval';
import { createRandom } from '@posttrain/interfaces/random';
import { CausalLM, LocalGenerator, LocalScorer } from '@posttrain/lm';
import { type DpoOptions, preferenceLosses, trainPreferences, trDpo } from '@posttrain/rl';
import { bestOfN, functionVerifier } from '@posttrain/tts';

/** The small model of this repository. */
export const loadModel = (): Promise<CausalLM> =>
  CausalLM.load(join(import.meta.dirname, '..', 'pretrain-tiny', 'model'));

/** A sum behind two others, which the base model goes on with. */
export type Sum = { readonly prompt: string; readonly answer: string };

/** Sums below 100; other seeds give other sums. */
export function sums(count: number, seed: number): Sum[] {
  const random = createRandom(seed, 'preferences');
  return Array.from({ length: count }, () => {
    const [a, b] = [random.integer(10, 60), random.integer(10, 39)];
    return { prompt: `7+8=15\n20+30=50\n${a}+${b}=`, answer: String(a + b) };
  });
}

const isRight = functionVerifier('right', ({ completion, row }) => Number(completion.trim() === row?.answer));

/** Pairs: the right result is preferred to a wrong one that the model says. */
export async function drawPairs(model: CausalLM, rows: readonly Sum[]): Promise<PreferenceRow[]> {
  const generator = new LocalGenerator(model);
  const found = await Promise.all(
    rows.map(async (row, seed) => {
      const { trace } = await bestOfN(
        { prompt: row.prompt, row },
        {
          ...{ generator, verifier: isRight, n: 8, extractAnswer: (text) => text },
          sampling: { maxTokens: 3, stop: ['\n'], temperature: 2, seed },
        },
      );
      const rejected = trace.nodes.find(({ text, score }) => text && score === 0)?.text;
      return rejected ? [{ prompt: row.prompt, chosen: row.answer, rejected }] : [];
    }),
  );
  return found.flat();
}

/** How well a model tells right results from others. */
export interface Judged {
  /** Share of sums whose right result is the most likely of four. */
  readonly accuracy: number;
  /** Of each sum, log p of the right result less the mean log p of the three others. */
  readonly margins: readonly number[];
}

/** An evaluation by multiple choice: the result, and three that have another digit. */
export async function judge(model: CausalLM, rows: readonly Sum[]): Promise<Judged> {
  const choices = ({ answer }: Sum) => [0, 1, -10, 10].map((slip) => String(Number(answer) + slip));
  const result = (await evaluate(
    {
      ...{ type: 'multiple_choice', name: 'sums', dataset: rows, delimiter: '', metrics: [accuracy()] },
      ...{ prompt: (row: Sum) => row.prompt, choices, gold: () => 0 },
    },
    new LocalScorer(model),
  )) as EvalResult<ChoiceProblem>;
  const margins = result.problems.map(({ choices: [right, ...others] }) => {
    const mean = others.reduce((sum, { logProb }) => sum + logProb, 0) / others.length;
    return right!.logProb - mean;
  });
  return { accuracy: metricOf(result, 'acc').value!, margins };
}

/** The same pairs, of which a coin says which completion is chosen: what training comes to without a preference. */
export function byChance(pairs: readonly PreferenceRow[], seed: number): PreferenceRow[] {
  const random = createRandom(seed, 'chance');
  return pairs.map((pair) =>
    random.integer(0, 1) === 1 ? pair : { ...pair, chosen: pair.rejected, rejected: pair.chosen },
  );
}

/**
 * Losses over pairs, and over single completions. Those over rankings and with other columns need other rows. `tr_dpo` is DPO whose
 * reference moves.
 */
export const LOSSES = [
  ...['sigmoid', 'sigmoid_norm', 'cdpo', 'robust', 'dpop', 'rpo', 'ipo', 'hinge', 'exo_pair', 'nca_pair'],
  ...['bco_pair', 'sppo_hard', 'apo_zero', 'apo_down', 'discopop', 'aot', 'aot_unpaired', 'cpo', 'simpo'],
  ...['alphapo', 'orpo', 'kto', 'bco', 'f_dpo', 'ld_dpo', 'tdpo', 'wpo', 'tr_dpo'],
] as LossName[];

const {
  bfpo: _,
  plackett_luce: __,
  lipo: ___,
  mdpo: ____,
  mipo: _____,
  sft: ______,
  xpo: _______,
  nash_md: ________,
  ...MADE
} = preferenceLosses;

/** What pairs are trained with. */
export type LossName = keyof typeof MADE | 'tr_dpo';

/** What training with a loss came to. */
export interface Outcome {
  readonly losses: readonly number[];
  readonly after: Judged;
  /** By how much the margins on held-out sums grew, with a 95 % interval over the sums. */
  readonly gain: ReturnType<typeof pairedBootstrap>;
}

/** Trains on pairs with one of the losses, and judges the result on sums that it has not seen. */
export async function trainWith(
  name: LossName,
  options: {
    readonly model: CausalLM;
    readonly pairs: readonly PreferenceRow[];
    readonly heldOut: readonly Sum[];
    readonly before: Judged;
    readonly learningRate?: number;
    readonly epochs?: number;
    readonly seed?: number;
  },
): Promise<Outcome> {
  const { model, pairs, heldOut, before, learningRate = 1e-4, epochs = 2, seed = 0 } = options;
  // DiscoPOP's own τ of 0.05 has a slope the wrong way where training starts.
  const loss = name === 'discopop' ? MADE.discopop({ tau: 1 }) : MADE[name === 'tr_dpo' ? 'sigmoid' : name]();
  const referenceUpdate = name === 'tr_dpo' ? trDpo({ refModelSyncSteps: 2 }) : undefined;
  const rows =
    'kind' in loss && loss.kind === 'unpaired' ? await collected(maybeUnpairPreferenceDataset(pairs)) : pairs;
  const { trainer, history } = await trainPreferences({
    ...{ model, rows, loss, epochs, batchSize: 8, learningRate, maxLength: 64, loggingSteps: 1, onWarning: () => {} },
    ...{ seed, referenceUpdate },
  } as DpoOptions);
  const after = await judge(trainer.model as CausalLM, heldOut);
  return {
    losses: history.flatMap(({ metrics }) => (metrics.loss === undefined ? [] : [metrics.loss])),
    after,
    gain: pairedBootstrap(before.margins, after.margins, { resamples: 2000 }),
  };
}

async function collected<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const row of rows) all.push(row);
  return all;
}
