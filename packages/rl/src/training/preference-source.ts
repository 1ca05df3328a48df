import type { DecisiveSettings } from '@posttrain/interfaces';
import type { Adapter, CausalLM } from '@posttrain/lm';
import type { Metrics, RowRequest, TrainingSettings } from '@posttrain/training';
import type { TokenizedPair } from '../preference/preference-loss.js';
import type { PreferenceRow } from '../preference/preference-rows.js';
import type { TokenizedRanking } from '../preference/ranked-loss.js';
import type { RankedRow } from '../preference/ranked-rows.js';
import type { TokenizedCompletion, UnpairedRow } from '../preference/unpaired-rows.js';
import type { SamplingRequest } from '../rollout/rollout-source.js';
import type { Stateful } from '../stateful.js';

/** A row of any kind: text or messages, or tokens, which are taken as they are. */
export type AnyPreferenceRow =
  | PreferenceRow
  | UnpairedRow
  | RankedRow
  | TokenizedPair
  | TokenizedCompletion
  | TokenizedRanking;

/** What a source knows before the first step. */
export interface PreferenceSourceContext
  extends Pick<TrainingSettings, 'model' | 'adapter' | 'onWarning' | 'onProgress'> {
  readonly seed: number;
  /** Most tokens of a prompt with its completion. */
  readonly maxLength: number;
}

/** What a source of preferences is asked for. */
export interface PreferenceRequest
  extends RowRequest,
    Pick<SamplingRequest, 'model' | 'adapter' | 'packWeights' | 'signal'> {
  /** What the loss compares the policy with: an adapter, also "no adapter", of `referenceModel`. */
  readonly reference: Adapter;
  /** The model of the reference. Left out: that which the run began with. */
  readonly referenceModel?: CausalLM;
  readonly maxLength: number;
}

/** The preferences of a step. */
export interface PreferenceBatch {
  /** Of the kind that the loss takes: `count` or fewer. With none there is no update, which the run says. */
  readonly rows: readonly AnyPreferenceRow[];
  /** What is logged beside the metrics of the loss. */
  readonly metrics?: Metrics;
}

/**
 * Preferences that are asked for anew in every step, with the policy as it is then: completions that it samples and a judge
 * compares (`onlinePairs`), a curriculum, a replay. It is a pure function of the request, its settings and its state.
 */
export interface PreferenceSource extends Partial<Stateful> {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  /** Called once, before the first step, also of a resumed run. What it gives (a digest of its rows) a resumed run must share too. */
  begin?(context: PreferenceSourceContext): Promise<DecisiveSettings>;
  next(request: PreferenceRequest): Promise<PreferenceBatch>;
}

/** Whether a value is a source of preferences, and no list or iterator of them. */
export const isPreferenceSource = (value: unknown): value is PreferenceSource =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as Partial<PreferenceSource>).next === 'function' &&
  !(Symbol.iterator in value || Symbol.asyncIterator in value);
