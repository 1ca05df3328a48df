import type { Key } from '@posttrain/core-tensor';
import { type ChatMessage, type DecisiveSettings, excerpt, PosttrainError } from '@posttrain/interfaces';
import type { RenderChatOptions } from '@posttrain/lm';
import type { PromptRow } from '../rewards/reward.js';

/** What an assistant said in one turn, as an environment gets it. */
export interface Reply extends ChatMessage {
  readonly role: 'assistant';
  /** Functions that it calls, as far as they were found. */
  readonly tool_calls?: readonly ToolCallOfReply[];
  /** What was wrong, where `parseReply` could not read it; the option `parseErrors` says what comes of it, and no environment sees it. */
  readonly parseError?: string;
}

/** A call of a function. */
export interface ToolCallOfReply {
  readonly id: string;
  readonly type: 'function';
  readonly function: { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> };
}

/** What an episode knows of the run. */
export interface EpisodeContext {
  /** The episode's place among those of its row. */
  readonly sample: number;
  /** Training step, counted from 0. */
  readonly step: number;
  /** Random numbers of this episode: what an environment draws must come from them, or a resumed run is another one. */
  readonly key: Key;
  /** Fires at the end of the episode, or of the run: what the environment still does for it is not needed any more. */
  readonly signal?: AbortSignal | undefined;
}

/** What an environment answers a reply. */
export interface EpisodeStep {
  /** Tool results or a user's next message, in order; not read when the episode is done. */
  readonly messages: readonly ChatMessage[];
  /** What the reply was worth. Default: nothing. */
  readonly reward?: number;
  readonly done: boolean;
}

/** One run through an environment. */
export interface Episode {
  /** The conversation that the first reply answers. */
  readonly messages: readonly ChatMessage[];
  /** JSON schemas of the functions that the assistant may call. Default: those of the row. */
  readonly tools?: NonNullable<RenderChatOptions['tools']>;
  step(reply: Reply): EpisodeStep | Promise<EpisodeStep>;
  /** What the whole episode was worth beside the rewards of its turns, asked once at its end; null: not scorable. */
  reward?(): number | null | Promise<number | null>;
  /** Called once, whatever happens. */
  close?(): void | Promise<void>;
}

/** A world to talk to: a tool, a user, a game. */
export interface Environment<Row extends PromptRow = PromptRow> {
  readonly name: string;
  /** What it was made with, which a resumed run must share. Left out: the source text of its functions stands for it. */
  readonly settings?: DecisiveSettings;
  start(row: Row, context: EpisodeContext): Episode | Promise<Episode>;
}

/** Whether a value is a list of messages: what nobody could render otherwise. */
export const areMessages = (value: unknown): value is readonly ChatMessage[] =>
  Array.isArray(value) && value.every((one) => typeof (one as Partial<ChatMessage> | null)?.role === 'string');

/** An environment that threw, or with which a conversation could not go on. Code `ENVIRONMENT`. */
export class EnvironmentError extends PosttrainError {
  constructor(environment: string, problem: string, row: PromptRow, options?: ErrorOptions) {
    const prompt = typeof row.prompt === 'string' ? row.prompt : JSON.stringify(row.prompt);
    super(
      'ENVIRONMENT',
      `environment "${environment}" ${problem} (prompt ${JSON.stringify(excerpt(prompt, 80))})`,
      options,
    );
  }
}
