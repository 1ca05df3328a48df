import { OptionError, PosttrainError } from '@posttrain/interfaces';
import { type Adapter, type CausalLM, sequenceLogProbs } from '@posttrain/lm';
import {
  collectRows,
  contentHash,
  type EvaluationOnRows,
  evaluateCoupled,
  forwardBackwardCoupled,
  lossOnRows,
  type Rows,
  sequenceLogProb,
  type Trainer,
  type TrainingRow,
  type TrainingSettings,
  type UpdateResult,
  update,
  updateBy,
  warn,
} from '@posttrain/training';
import {
  annotatePairs,
  coupledPairs,
  type PreferenceLoss,
  preferenceTokenLoss,
  type ReferredPair,
  type TokenizedPair,
} from '../preference/preference-loss.js';
import { type PreferenceRow, tokenizePair } from '../preference/preference-rows.js';
import {
  annotateUnpaired,
  type UnpairedCompletion,
  type UnpairedLoss,
  unpairedLoss,
} from '../preference/unpaired-loss.js';
import { tokenizeUnpaired, type UnpairedRow } from '../preference/unpaired-rows.js';

/** A preference loss of any kind. */
export type AnyPreferenceLoss = PreferenceLoss | UnpairedLoss;

/** What preferences are made ready with. */
export interface PreferenceSettings
  extends Pick<TrainingSettings, 'model' | 'maxTokensPerPass' | 'onWarning' | 'onProgress'> {
  readonly reference: Adapter;
  readonly maxLength: number;
}

/** Rows that are ready to be trained on. */
export interface PreferenceData {
  /** What they are as tokens, for the identity of a run. */
  readonly rows: readonly object[];
  /** Left out because their prompt alone fills `maxLength`. */
  readonly dropped: number;
  /** Left out because there is no difference to learn. */
  readonly identical: number;
  /** One update with some of the rows. */
  update(trainer: Trainer, indices: readonly number[], rate: number): Promise<UpdateResult>;
  /** Evaluation on all of them. */
  readonly evaluation: () => EvaluationOnRows;
}

/**
 * The settings with a `maxLength` that the model can take: what is longer than the context can neither be scored nor trained.
 *
 * @param given what was asked for, if anything; only the default is made shorter
 * @throws OptionError for one that is longer than the context
 */
export function preferenceSettings<Settings extends PreferenceSettings>(
  where: string,
  settings: Settings,
  given: number | undefined,
): Settings {
  const { model, maxLength } = settings;
  const { maxPositionEmbeddings: context } = model.config;
  if (given === undefined) return { ...settings, maxLength: Math.min(maxLength, context) };
  if (given <= context) return settings;
  const problem = `maxLength is ${given}; the context of ${model.name} holds ${context} tokens.`;
  throw new OptionError('INVALID_OPTION', where, 'maxLength', problem);
}

type RowOption = 'rows' | 'evaluationRows';

/** The rows that teach something, with what the reference thinks of them where the loss asks for that. Says what is left out. */
export const preferenceData = (
  where: string,
  option: RowOption,
  rows: Rows<PreferenceRow | UnpairedRow>,
  loss: AnyPreferenceLoss,
  settings: PreferenceSettings,
): Promise<PreferenceData> =>
  loss.kind === 'unpaired'
    ? unpairedData(where, option, rows as Rows<UnpairedRow>, loss, settings)
    : pairData(where, option, rows as Rows<PreferenceRow>, loss, settings);

async function pairData(
  where: string,
  option: RowOption,
  given: Rows<PreferenceRow>,
  loss: PreferenceLoss,
  settings: PreferenceSettings,
): Promise<PreferenceData> {
  const { model, maxLength } = settings;
  const { rows } = await collectRows(where, given, settings, option);
  const fitting = rows.flatMap((row, i) => tokenizePair(model, row, i, maxLength) ?? []);
  const dropped = rows.length - fitting.length;
  // Their gradient is zero but for rounding, of which Adam would make updates of full size.
  const pairs = fitting.filter(({ chosenTokens, rejectedTokens }) => String(chosenTokens) !== String(rejectedTokens));
  const identical = fitting.length - pairs.length;
  if (pairs.length === 0) {
    throw new PosttrainError(
      'DPO',
      `${where}: none of ${rows.length} ${option} has a prompt shorter than maxLength ${maxLength} and two completions that differ before it`,
    );
  }
  const say = (count: number, why: string) => {
    const what = option === 'rows' ? 'pairs' : `pairs of ${option}`;
    if (count > 0) warn(settings, `${where}: ${count} of ${rows.length} ${what} are left out: ${why}`);
  };
  say(identical, `nothing differs within maxLength ${maxLength}`);
  say(dropped, 'their prompt fills maxLength');
  const referred = loss.reference === false ? pairs : await withReferences(pairs, settings);
  const tokenLoss = loss.coupled ? undefined : preferenceTokenLoss(loss);
  return {
    ...{ rows: pairs, dropped, identical },
    update(trainer, indices, rate) {
      const chosen = indices.map((i) => referred[i]!);
      const annotated = annotatePairs(chosen, loss);
      if (tokenLoss) return update(trainer, annotated, tokenLoss, rate);
      const coupled = coupledPairs(loss, chosen);
      return updateBy(trainer, () => forwardBackwardCoupled(trainer, annotated, coupled), rate);
    },
    evaluation() {
      const annotated = annotatePairs(referred, loss);
      if (tokenLoss) return lossOnRows(annotated, tokenLoss);
      return measuring(annotated, (trainer) => evaluateCoupled(trainer, annotated, coupledPairs(loss, referred)));
    },
  };
}

/** An evaluation by one function. */
const measuring = (
  rows: readonly TrainingRow[],
  measure: (trainer: Trainer) => Promise<Pick<UpdateResult, 'loss' | 'metrics'>>,
): EvaluationOnRows => ({
  digest: contentHash(rows),
  async measure(trainer, signal) {
    signal?.throwIfAborted();
    const { loss, metrics } = await measure(trainer);
    return { loss, ...metrics };
  },
});

async function withReferences(
  pairs: readonly TokenizedPair[],
  settings: Pick<PreferenceSettings, 'model' | 'reference' | 'maxTokensPerPass'>,
): Promise<ReferredPair[]> {
  const scored = await completionLogProbs(
    settings,
    pairs.flatMap(({ promptTokens, chosenTokens, rejectedTokens }) => [
      { promptTokens, completionTokens: chosenTokens },
      { promptTokens, completionTokens: rejectedTokens },
    ]),
  );
  return pairs.map((pair, i) => ({ ...pair, reference: { chosen: scored[2 * i]!, rejected: scored[2 * i + 1]! } }));
}

/** log π_ref of every token of completions. */
async function completionLogProbs(
  { model, reference, maxTokensPerPass }: Pick<PreferenceSettings, 'model' | 'reference' | 'maxTokensPerPass'>,
  completions: readonly Pick<UnpairedCompletion, 'promptTokens' | 'completionTokens'>[],
): Promise<Float32Array[]> {
  const sequences = completions.map(({ promptTokens, completionTokens }) => [...promptTokens, ...completionTokens]);
  const scored = await sequenceLogProbs(model, sequences, { adapter: reference, maxTokensPerPass });
  return completions.map(({ promptTokens }, i) => scored[i]!.logProbs.subarray(promptTokens.length - 1));
}

async function unpairedData(
  where: string,
  option: RowOption,
  given: Rows<UnpairedRow>,
  preference: UnpairedLoss,
  settings: PreferenceSettings,
): Promise<PreferenceData> {
  const { model, maxLength } = settings;
  const { rows } = await collectRows(where, given, settings, option);
  const fitting = rows.flatMap((row, i) => tokenizeUnpaired(model, row, i, maxLength) ?? []);
  const dropped = rows.length - fitting.length;
  if (fitting.length === 0) {
    const problem = `none of ${rows.length} ${option} has a prompt shorter than maxLength ${maxLength}`;
    throw new PosttrainError('PREFERENCE_ROWS', `${where}: ${problem}`);
  }
  if (dropped > 0) {
    const what = `${dropped} of ${rows.length} completions of ${option} are left out: their prompt fills maxLength`;
    warn(settings, `${where}: ${what}`);
  }
  const references = await completionLogProbs(settings, fitting);
  const completions = fitting.map((completion, i) => ({ ...completion, reference: references[i]! }));
  const loss = unpairedLoss(preference);
  const numbersOf = async (trainer: Trainer, chosen: readonly UnpairedCompletion[]) =>
    (await preference.before?.({ mismatchedLogRatios: () => mismatchedLogRatios(trainer, chosen, settings) })) ?? {};
  return {
    ...{ rows: fitting, dropped, identical: 0 },
    async update(trainer, indices, rate) {
      const chosen = indices.map((i) => completions[i]!);
      const scalars = await numbersOf(trainer, chosen);
      const result = await update(trainer, annotateUnpaired(chosen), loss, rate, { scalars });
      return { ...result, metrics: { ...result.metrics, ...scalars } };
    },
    evaluation() {
      const annotated = annotateUnpaired(completions);
      return measuring(annotated, async (trainer) => {
        const scalars = await numbersOf(trainer, completions);
        const { loss: value, metrics } = await trainer.evaluate(annotated, loss, { scalars });
        return { loss: value, metrics: { ...metrics, ...scalars } };
      });
    },
  };
}

/** See `UnpairedStep`. */
async function mismatchedLogRatios(
  trainer: Trainer,
  completions: readonly UnpairedCompletion[],
  settings: PreferenceSettings & { readonly model: CausalLM },
): Promise<number[]> {
  const mismatched = completions.map(({ promptTokens }, i) => {
    const { completionTokens } = completions[(i + completions.length - 1) % completions.length]!;
    const room = Math.max(1, settings.maxLength - promptTokens.length);
    return { promptTokens, completionTokens: completionTokens.slice(0, room) };
  });
  const rows = mismatched.map(({ promptTokens, completionTokens }): TrainingRow => {
    const weights = [...promptTokens.slice(1).map(() => 0), ...completionTokens.map(() => 1)];
    return { tokens: [...promptTokens, ...completionTokens], weights };
  });
  const policy = await trainer.read(rows, sequenceLogProb);
  const reference = await completionLogProbs(settings, mismatched);
  return policy.map(([sum], i) => sum! - reference[i]!.reduce((a, b) => a + b, 0));
}
