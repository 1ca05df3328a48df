import { type AnyPreferenceLoss, type PreferenceLossName, preferenceLosses } from '../src/index.js';
import { evaluatePreference, type Layout, type ScriptedPreference } from '../src/testing/evaluate-preference.js';
import { expectClose, readGolden } from './goldens.js';

/** A case of a golden, with TRL's options. */
export interface Case {
  readonly options: Readonly<Record<string, unknown>>;
  readonly loss: number;
  readonly gradient: number[][];
  readonly metrics?: Readonly<Record<string, number>>;
}

export type Inputs = Readonly<Record<'logps' | 'mask', number[][]>> & {
  readonly ref_logps?: number[][];
  readonly entropies?: number[][];
  readonly log_sum_sq_probs?: number[][];
};

/** The prompts of goldens are their first three tokens, of which two are predicted. */
const PROMPT = 2;

export const completionOf = (inputs: Inputs, i: number) => {
  const trained = (values: number[][]) => values[i]!.filter((_, t) => inputs.mask[i]![t + 1] === 1);
  return {
    prompt: inputs.logps[i]!.slice(0, PROMPT),
    logProbs: trained(inputs.logps),
    ...(inputs.ref_logps && { reference: trained(inputs.ref_logps) }),
    ...(inputs.entropies && { entropies: trained(inputs.entropies) }),
    ...(inputs.log_sum_sq_probs && {
      readouts: { collisionEntropy: trained(inputs.log_sum_sq_probs).map((x) => -x) },
    }),
  };
};

/** Goldens have all chosen rows first, then all rejected ones; ours alternate. */
export const pairsOf = (inputs: Inputs, count: number): { pairs: ScriptedPreference[]; order: number[] } => ({
  pairs: Array.from({ length: count }, (_, i) => ({
    completions: [completionOf(inputs, i), completionOf(inputs, i + count)],
  })),
  order: Array.from({ length: count }, (_, i) => [i, i + count]).flat(),
});

/** Compares value, gradient and metrics; returns how many metrics there were. */
export async function expectGolden(
  loss: AnyPreferenceLoss,
  preferences: readonly ScriptedPreference[],
  expected: Case,
  order: readonly number[],
  layout: Layout = {},
): Promise<number> {
  const result = await evaluatePreference(loss, preferences, layout);
  expectClose([result.loss], [expected.loss], 1e-6 * Math.max(1, expected.loss), 'loss');
  const gradient = order.flatMap((i, row) => expected.gradient[i]!.slice(0, result.gradient[row]!.length));
  expectClose(result.gradient.flat(), gradient, 1e-6 * Math.max(1, ...gradient.map(Math.abs)), 'gradient');
  const metrics = Object.entries(expected.metrics ?? {});
  for (const [name, value] of metrics) {
    // TRL logs a likelihood that it does not use as 0.
    expectClose([result.metrics[name] ?? (name === 'nll_loss' ? 0 : Number.NaN)], [value], 1e-5, name);
  }
  return metrics.length;
}

/** TRL's options by our names. */
const NAMES: Readonly<Record<string, string>> = {
  label_smoothing: 'labelSmoothing',
  simpo_gamma: 'gamma',
  cpo_alpha: 'cpoAlpha',
  f_divergence_type: 'fDivergenceType',
  f_alpha_divergence_coef: 'fAlphaDivergenceCoef',
  ld_alpha: 'ldAlpha',
};
const IGNORED = ['loss_types', 'loss_weights', 'loss_type'];

export type Make = (options: object) => AnyPreferenceLoss;
/** The loss of that name with what TRL's options say. */
export const lossOf = (name: string, options: Case['options'], without: readonly string[] = []): AnyPreferenceLoss => {
  const given = Object.entries(options).filter(([key]) => !IGNORED.includes(key) && !without.includes(key));
  const ours = Object.fromEntries(given.map(([key, value]) => [NAMES[key] ?? key, value]));
  return (preferenceLosses[name as PreferenceLossName] as Make)(ours);
};

/** Of TRL's DPOTrainer. */
export const dpoGolden = readGolden<{
  pairs: number;
  inputs: Inputs;
  cases: Case[];
  moving_reference: {
    policies: number[][];
    cases: { ref_model_mixup_alpha: number; ref_model_sync_steps: number; references: number[][] }[];
  };
}>('dpo-loss.json');

/** Those that are no variants by flags of the trainer (f-divergences, LD-DPO, WPO). */
export const ofDpo = dpoGolden.cases.filter(({ options }) =>
  Object.keys(options).every((key) => ['loss_types', 'loss_weights', 'beta', 'label_smoothing'].includes(key)),
);
