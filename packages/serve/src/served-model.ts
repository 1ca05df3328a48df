import type { ChatMessage, SamplingParams } from '@posttrain/interfaces';
import type { JsonObject, ReasoningParserName, ToolFormat } from '@posttrain/lm';

/** JSON that satisfies a JSON Schema, and nothing else. */
export interface OutputConstraint {
  readonly type: 'json-schema';
  readonly schema: JsonObject;
}

/** One completion asked of a model. Sampling settings that are left out have the defaults of `SamplingParams`. */
export interface CompletionRequest extends SamplingParams {
  readonly tokenIds: readonly number[];
  /** Whether the completion's text goes on from the prompt's, or stands alone as a message does. */
  readonly continuesText: boolean;
  readonly maxTokens: number;
  readonly seed: number;
  /** Alternatives to report for each token; undefined: no log-probabilities at all. */
  readonly topLogProbs?: number;
  /** Added to logits by token id, before everything else. */
  readonly logitBias?: Readonly<Record<number, number>>;
  readonly presencePenalty?: number;
  readonly frequencyPenalty?: number;
  readonly constraint?: OutputConstraint;
  /**
   * How many of the last tokens are the start of the completion, which was begun with this seed: it goes on as if it had never stopped. Asked only of models that
   * say `resumes`.
   */
  readonly begunTokens?: number;
  /** What the model's adapter reads of a sequence, by its own names. */
  readonly adapterInputs?: Readonly<Record<string, number>>;
  readonly signal: AbortSignal;
}

/** What scoring a prompt is asked. */
export interface ScoreOptions extends Pick<CompletionRequest, 'adapterInputs' | 'signal'> {
  /** Alternatives at each place. */
  readonly top: number;
}

/** A token with its log-probability, as the API gives them. */
export interface TokenLogProb {
  /** What the API calls it: its text as a rule. */
  readonly token: string;
  readonly logProb: number;
  /** What it adds to the text; null where it has no bytes of its own. Default: the UTF-8 of `token`. */
  readonly bytes?: readonly number[] | null;
  /** Where it is known, tokens of one name can be told apart. */
  readonly tokenId?: number;
}

/** The log-probability of a generated token. */
export interface ReportedLogProb extends TokenLogProb {
  readonly alternatives: readonly TokenLogProb[];
  /** The text that is certain with it and was not before: all of them joined are the text. Default: `token`. */
  readonly text?: string;
}

/** A token that could stand at a place of a prompt. */
export interface PromptLogProb {
  readonly tokenId: number;
  readonly logProb: number;
  /** 1 for the most likely token of the vocabulary. */
  readonly rank: number;
  /** Its text alone. */
  readonly token: string;
}

/** One generated token. */
export interface CompletionEvent {
  /** Without it nobody can ask for `return_token_ids`. */
  readonly tokenId?: number;
  /** Text that is now certain; possibly none. */
  readonly text: string;
  /** Where log-probabilities were asked for and the token is not an end token. */
  readonly logProb?: ReportedLogProb;
  /** Where log-probabilities were asked for and the token is an end token: what `return_token_ids` reports of it. */
  readonly endLogProb?: number;
  /** With the last token. */
  readonly finishReason: 'stop' | 'length' | 'abort' | undefined;
  /** With the last token: the stop string that ended it. Default: none did. */
  readonly stop?: string | null;
}

/** A conversation with its tools and variables, for a chat template. */
export interface ChatInput {
  readonly messages: readonly ChatMessage[];
  /** In the form of the OpenAI API: `{ type: 'function', function: { name, description, parameters } }`. */
  readonly tools?: readonly JsonObject[];
  /** Further variables of the chat template. */
  readonly variables?: JsonObject;
}

/** Default `max_tokens`. The cache reserves blocks for all of them at admission. */
export const DEFAULT_CHAT_TOKENS = 1024;

/** What the server asks of a model. `localModels` makes them of a `CausalLM`; anything else that answers will do. */
export interface ServedModel {
  /** Most tokens of prompt and completion together. */
  readonly contextLength: number;
  readonly vocabularySize: number;
  /** What `/v1/models` says of where it is from: `root`, and of an adapter the model that it is of. Default: its own name, and none. */
  readonly card?: { readonly root?: string; readonly parent?: string };
  /** An adapter of this model, from its folder, as a model of its own. Absent: it takes none. */
  loadAdapter?(folder: string, name: string): Promise<ServedModel>;
  /** Called once when the model is not served any more; what was asked of it before goes on. */
  unload?(): void | Promise<void>;
  /** Freezes what it generates, for itself and its adapters, where it is; resolves when nothing is computed any more. */
  freeze?(): Promise<void>;
  /** Goes on after `freeze`. */
  thaw?(): void;
  /** Absent for a model without a chat template. */
  readonly chat?: {
    /** Absent where the template has no tools. */
    readonly toolFormat: ToolFormat | undefined;
    /** How to part reasoning from answers. Absent: it stays in the text. */
    readonly reasoningParser?: ReasoningParserName | undefined;
    /** @throws PosttrainError (`CHAT_TEMPLATE`) when the template refuses the conversation */
    tokenize(input: ChatInput, signal?: AbortSignal): readonly number[] | Promise<readonly number[]>;
  };
  /** Runs on the event loop, which it blocks: long work should return a promise. The signal cancels it. */
  tokenize(
    text: string,
    options: { readonly addSpecialTokens: boolean; readonly signal?: AbortSignal },
  ): readonly number[] | Promise<readonly number[]>;
  /** Whether `complete` heeds `begunTokens`. Default false: such requests are refused. */
  readonly resumes?: boolean;
  /** Ends early, without an error, when the signal fires. */
  complete?(request: CompletionRequest): AsyncIterable<CompletionEvent>;
  /**
   * What the model says of the tokens of a prompt: null for the first, then the prompt's own token and the `top` most likely
   * ones that are others, falling.
   */
  score?(tokenIds: readonly number[], options: ScoreOptions): Promise<readonly (readonly PromptLogProb[] | null)[]>;
  /** @param tokens what `tokenize` has given for each of the texts, special tokens included */
  embed?(texts: readonly string[], tokens: readonly (readonly number[])[]): Promise<readonly Float32Array[]>;
}
