import { type DecisiveSettings, PosttrainError, type Prompt, showValue } from '@posttrain/interfaces';
import {
  chatOptionsOf,
  NoChatTemplateError,
  rowMessages,
  type SequenceClassifier,
  type TextModel,
  type TokenClassifier,
  withEndToken,
} from '@posttrain/lm';
import type { Loss, Readout, ReadoutValue } from '../loss/loss.js';
import type { TrainingRow } from '../loss/rows.js';
import type { ValuesOfRows } from '../trainer/row-values.js';

/** A model that `trainRewardModel` trains: of whole answers, or of their steps. */
export type RewardModel = SequenceClassifier | TokenClassifier;

/** A row of data as a reward model is trained on it. */
export interface RewardExample {
  /** One row, or a group of them. Their weights add up to `count`, in each row of a group. */
  readonly rows: readonly TrainingRow[];
  /** What the mean of the loss counts: 1 for a pair or an answer, the labelled steps of a solution. */
  readonly count: number;
}

/** What a row of data is made ready with. */
export interface RewardExampleOptions {
  /** Which row it is, for errors. */
  readonly index: number;
  /** Most tokens of prompt and completion. */
  readonly maxLength: number;
  /** Whether it is one of `evaluationRows`. */
  readonly isHeldOut: boolean;
}

/** A loss of reward models that also says which rows of data it is for, and what they are as tokens and labels. */
export interface RewardModelLoss<Row extends object = object> extends Loss {
  /** What a resumed run must share. */
  readonly settings: DecisiveSettings;
  /** The row as tokens and labels; or, as the end of a sentence, why it is left out. @throws RewardRowError */
  example(
    model: Pick<RewardModel, 'labels'> & TextModel,
    row: Row,
    options: RewardExampleOptions,
  ): RewardExample | string;
  /**
   * What a loss that couples the rows of a step needs to know of all of them: the rows with annotations that no row knows by itself, from
   * what the model says of them now. Called before every update and evaluation. Default: the rows as they are.
   */
  annotate?(rows: readonly TrainingRow[], read: ReadRows): Promise<readonly TrainingRow[]>;
}

/** A readout of rows under the parameters as they are, without a gradient. */
export type ReadRows = <T extends ReadoutValue>(readout: Readout<T>) => Promise<ValuesOfRows<T>>;

/** A row of data that no reward model can be trained on. */
export class RewardRowError extends PosttrainError {
  constructor(row: number, problem: string, options?: ErrorOptions) {
    super('REWARD_ROW', `reward row ${row}: ${problem}`, options);
  }
}

/** Training rows of examples. The loss is the mean over all that these count. */
export function rewardExampleRows(examples: readonly RewardExample[]): TrainingRow[] {
  const total = examples.reduce((sum, { count }) => sum + count, 0);
  return examples.flatMap(({ rows }, example) =>
    rows.map((row) => ({
      ...row,
      weights: Float32Array.from(row.weights, (weight) => weight / total),
      // The same example may come twice.
      ...(row.group !== undefined && { group: example }),
    })),
  );
}

/** A row that is read once, at its end. */
export const readAtEnd = (tokens: readonly number[], annotations: TrainingRow['annotations'] = {}): TrainingRow => ({
  tokens,
  weights: tokens.slice(1).map((_, t) => (t === tokens.length - 2 ? 1 : 0)),
  annotations,
});

/**
 * The tokens of an answer, as TRL's RewardTrainer has them: texts are joined to the prompt and get the end token
 * behind them, messages go through the chat template.
 *
 * @throws RewardRowError
 */
export function answerTokens(
  model: TextModel,
  row: { readonly prompt?: Prompt; readonly tools?: unknown; readonly chat_template_kwargs?: unknown },
  column: string,
  index: number,
): number[] {
  const { prompt } = row;
  const answer = (row as Readonly<Record<string, unknown>>)[column] as Prompt | undefined;
  const isText = typeof answer === 'string';
  if (!isText && !Array.isArray(answer)) {
    const columns = Object.keys(row).join(', ') || 'none';
    const problem = `${column} must be a text or a list of messages, and is ${showValue(answer)}`;
    throw new RewardRowError(index, `${problem}; its columns are ${columns}`);
  }
  if (prompt !== undefined && (typeof prompt === 'string') !== isText) {
    throw new RewardRowError(index, `prompt and ${column} must both be texts or both be lists of messages`);
  }
  try {
    const tokens = isText
      ? model.tokenizer.encode(withEndToken(model, `${(prompt as string | undefined) ?? ''}${answer}`))
      : chatTokens(model, row, [...((prompt as typeof answer | undefined) ?? []), ...answer]);
    if (tokens.length >= 2) return tokens;
  } catch (cause) {
    throw new RewardRowError(index, (cause as Error).message, { cause });
  }
  throw new RewardRowError(index, `${column} has fewer than 2 tokens, its prompt included`);
}

function chatTokens(
  model: TextModel,
  row: Parameters<typeof chatOptionsOf>[0],
  messages: Parameters<typeof rowMessages>[0],
): number[] {
  if (!model.chatTemplate) throw new NoChatTemplateError(model.name);
  return model.chatTemplate.renderChat(rowMessages(messages), chatOptionsOf(row)).tokenIds;
}

/** Why a row is left out that has too many tokens: cut off, it would lack the token that is read. */
export const tooLong = (maxLength: number): string => `have more than maxLength ${maxLength} tokens`;
