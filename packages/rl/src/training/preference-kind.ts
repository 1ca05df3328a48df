import {
  contentHash,
  type EvaluationOnRows,
  type ForwardBackwardResult,
  type Loss,
  type Trainer,
  type TrainingRow,
  type TrainingSettings,
  type UpdateResult,
} from '@posttrain/training';
import { type AnyPreferenceLoss, liftPreferenceLoss } from '../preference/lift-preference-loss.js';
import { type PromptedCompletion, referenceLogProbs } from './reference-log-probs.js';
import { type ReferencePolicy, referenceInPass } from './reference-policy.js';

/** What preferences are made ready with. */
export interface PreferenceSettings
  extends Pick<TrainingSettings, 'model' | 'adapter' | 'fp16' | 'maxTokensPerPass' | 'onWarning' | 'onProgress'> {
  readonly reference: ReferencePolicy;
  /** Whether the reference moves with the policy, so that what it thinks of rows is computed in every step. */
  readonly referenceMoves: boolean;
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

/** What is done with rows of one kind: pairs, single completions, rankings. One for a run, as losses are compiled once. */
export interface PreferenceKind<Row> {
  /** What messages call the rows. */
  readonly called: string;
  /** What a row must have beside a prompt that is short enough; for the error of a run that is left with none. */
  readonly needs: string;
  /** The code of that error. */
  readonly code: string;
  /**
   * Rows as tokens, with what the reference thinks of them where the loss asks for that. Those that teach nothing are left out.
   *
   * @throws PreferenceRowError
   */
  ready(rows: readonly Row[]): Promise<PreferenceData>;
  /** What it knows of the steps before, in checkpoints: for a loss that does. */
  state?(): unknown;
  load?(state: unknown): void;
}

/** What rows of one kind are, and how a loss over them is trained. `Referred` are tokens with what the reference thinks of them. */
export interface PreferenceRows<Row, Tokens extends object, Referred>
  extends Pick<PreferenceKind<Row>, 'called' | 'needs' | 'code' | 'state' | 'load'> {
  readonly loss: AnyPreferenceLoss;
  /** Undefined where the prompt fills `maxLength`. */
  tokenize(row: Row, index: number): Tokens | undefined;
  /** Whether there is a difference to learn. Default: of all. */
  differs?(row: Tokens): boolean;
  completionsOf(row: Tokens): readonly PromptedCompletion[];
  /** @param logProbs log π_ref of every token of its completions; undefined where the loss has no reference */
  refer(row: Tokens, logProbs: readonly Float32Array[] | undefined): Referred;
  annotate(rows: readonly Referred[]): TrainingRow[];
  update(trainer: Trainer, step: PreferenceStep<Referred>, rate: number): Promise<UpdateResult>;
  evaluate(trainer: Trainer, step: PreferenceStep<Referred>): Promise<Pick<ForwardBackwardResult, 'loss' | 'metrics'>>;
}

/** Rows of a step, and the loss over them. */
export interface PreferenceStep<Referred> {
  readonly referred: readonly Referred[];
  readonly rows: readonly TrainingRow[];
  /** @throws PosttrainError COUPLED_LOSS for one that couples the pairs of a step */
  readonly loss: () => Loss;
}

/** What is done with rows of such a kind. */
export function preferenceKindOf<Row, Tokens extends object, Referred>(
  kind: PreferenceRows<Row, Tokens, Referred>,
  settings: PreferenceSettings,
): PreferenceKind<Row> {
  const { called, needs, code, state, load, differs = () => true } = kind;
  const hasReference = kind.loss.kind === 'unpaired' || kind.loss.reference !== false;
  const lifted = liftedOver(kind.loss, settings);
  const refer = async (tokens: readonly Tokens[]): Promise<readonly Referred[]> => {
    if (!hasReference) return tokens.map((row) => kind.refer(row, undefined));
    const completions = tokens.map((row) => kind.completionsOf(row));
    const scored = await referenceLogProbs(settings, completions.flat());
    let taken = 0;
    return tokens.map((row, i) => {
      const from = taken;
      taken += completions[i]!.length;
      return kind.refer(row, scored.slice(from, taken));
    });
  };
  const step = (referred: readonly Referred[]): PreferenceStep<Referred> => ({
    ...{ referred, rows: kind.annotate(referred), loss: lifted },
  });
  return {
    ...{ called, needs, code, ...(state && { state }), ...(load && { load }) },
    async ready(given) {
      const fitting = given.flatMap((row, i) => kind.tokenize(row, i) ?? []);
      const rows = fitting.filter(differs);
      // One that moves is asked in the step: the same rows together give the same digits after an interruption.
      const known = settings.referenceMoves ? undefined : await refer(rows);
      const referredOf = async (indices: readonly number[]) =>
        known ? indices.map((i) => known[i]!) : refer(indices.map((i) => rows[i]!));
      return {
        ...{ rows, dropped: given.length - fitting.length, identical: fitting.length - rows.length },
        update: async (trainer, indices, rate) => kind.update(trainer, step(await referredOf(indices)), rate),
        evaluation() {
          const all = known && step(known);
          return {
            digest: contentHash(all?.rows ?? rows),
            async measure(trainer, signal) {
              signal?.throwIfAborted();
              const { loss, metrics } = await kind.evaluate(trainer, all ?? step(await refer(rows)));
              return { loss, ...metrics };
            },
          };
        },
      };
    },
  };
}

/** The loss as it is compiled: once, and anew for a reference that has moved where the pass runs it. */
function liftedOver(loss: AnyPreferenceLoss, { reference, adapter, fp16 }: PreferenceSettings): () => Loss {
  let made: { readonly loss: Loss; readonly version: number } | undefined;
  return () => {
    const { version } = reference;
    if (!made || (loss.runsReference && made.version !== version)) {
      const pass = { sharesWeights: adapter !== undefined, fp16 };
      const given = loss.runsReference ? { reference: referenceInPass(reference, pass) } : {};
      made = { loss: liftPreferenceLoss(loss, given), version };
    }
    return made.loss;
  };
}
