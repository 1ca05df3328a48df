import type { ChatMessage } from '@posttrain/interfaces';
import {
  callOpening,
  callSchema,
  forcedCallParser,
  type JsonObject,
  ReasoningParser,
  type ReasoningParserName,
  type ToolCallParser,
  type ToolCallPiece,
  toolCallParser,
} from '@posttrain/lm';
import { ApiError, invalidField } from './api-error.js';
import type { CompletionEvent, OutputConstraint, ServedModel } from './served-model.js';

/** The next turn of a conversation, asked of a model: what the OpenAI server and the AI SDK provider have in common. */
export interface ChatTurnRequest {
  readonly messages: readonly ChatMessage[];
  readonly tools: readonly JsonObject[];
  readonly toolChoice: 'auto' | 'none' | 'required' | { readonly name: string };
  readonly parallelToolCalls: boolean;
  readonly variables?: JsonObject;
  readonly constraint?: OutputConstraint;
}

/** What to give the model, and how to read what it writes. */
export interface ChatTurn {
  readonly tokenIds: readonly number[];
  /** Whether the prompt ends in the middle of the answer. */
  readonly continuesText: boolean;
  readonly constraint?: OutputConstraint;
  /** A parser for one completion of the turn. */
  reader(): ChatTurnReader;
}

export interface ChatTurnEvent {
  /** What a reasoning parser found; empty without one. */
  readonly reasoning: string;
  readonly text: string;
  readonly calls: readonly ToolCallPiece[];
  readonly logProb?: CompletionEvent['logProb'];
  readonly finishReason: 'stop' | 'length' | 'abort' | 'tool_calls' | undefined;
}

/** @throws ApiError and `PosttrainError` for a conversation that the model cannot take */
export async function chatTurn(model: ServedModel, request: ChatTurnRequest, signal?: AbortSignal): Promise<ChatTurn> {
  const { messages, tools, toolChoice, parallelToolCalls, variables, constraint } = request;
  const { chat } = model;
  if (!chat) {
    const message = 'This model has no chat template, so it takes no conversations. Use /v1/completions.';
    throw new ApiError(400, message, { param: 'model', apiCode: 'no_chat_template' });
  }
  const offered = toolChoice === 'none' ? [] : tools;
  const format = chat.toolFormat;
  if (offered.length > 0 && !format) {
    throw invalidField('tools', "this model's chat template has no tools that can be read.", 'unsupported_parameter');
  }
  const input = {
    messages,
    ...(offered.length > 0 ? { tools: offered } : {}),
    ...(variables ? { variables } : {}),
  };
  const tokenIds = await chat.tokenize(input, signal);
  if (tokenIds.length >= model.contextLength) throw contextLengthError(model, tokenIds.length, 'messages');
  const functions = offered.map((tool) => tool.function as JsonObject);
  const schemas = new Map(functions.map((it) => [String(it.name), it.parameters as JsonObject]));
  if (offered.length === 0 || !format || toolChoice === 'auto' || toolChoice === 'none') {
    const parser = () => (offered.length > 0 && format ? toolCallParser(format, schemas) : undefined);
    return {
      tokenIds,
      continuesText: false,
      ...(constraint ? { constraint } : {}),
      // What is constrained from its first character has no reasoning before it.
      reader: () => new ChatTurnReader(parser(), parallelToolCalls, constraint ? undefined : chat.reasoningParser),
    };
  }
  const chosen = toolChoice === 'required' ? functions : functions.filter(({ name }) => name === toolChoice.name);
  const opening = callOpening(format);
  return {
    tokenIds:
      opening === '' ? tokenIds : [...tokenIds, ...(await model.tokenize(opening, { addSpecialTokens: false }))],
    continuesText: opening !== '',
    constraint: { type: 'json-schema', schema: callSchema(chosen, format) },
    reader: () => new ChatTurnReader(forcedCallParser(schemas), false),
  };
}

export const contextLengthError = (model: ServedModel, tokens: number, param: string): ApiError =>
  new ApiError(
    400,
    `This model's context holds ${model.contextLength} tokens. Your ${param} resulted in ${tokens} tokens, which leaves none for the answer.`,
    { param, apiCode: 'context_length_exceeded' },
  );

/** Reads the completion of a turn: reasoning, text and calls apart. */
export class ChatTurnReader {
  readonly #parser: ToolCallParser | undefined;
  readonly #reasoning: ReasoningParser | undefined;
  readonly #parallel: boolean;
  /** Pieces of them. */
  #calls = 0;

  constructor(parser: ToolCallParser | undefined, parallel: boolean, reasoningParser?: ReasoningParserName) {
    this.#reasoning = reasoningParser && new ReasoningParser(reasoningParser);
    this.#parser = parser;
    this.#parallel = parallel;
  }

  read(event: CompletionEvent): ChatTurnEvent {
    const { logProb, finishReason } = event;
    const parted = this.#reasoning ? [this.#reasoning.push(event.text)] : [{ reasoning: '', text: event.text }];
    if (finishReason && this.#reasoning) parted.push(this.#reasoning.end());
    const written = parted.map(({ text }) => text).join('');
    const pieces = this.#parser ? [this.#parser.push(written)] : [{ text: written, calls: [] }];
    if (finishReason && this.#parser) pieces.push(this.#parser.end());
    const found = pieces.flatMap(({ calls }) => calls);
    const calls = this.#parallel ? found : found.filter(({ index }) => index === 0);
    this.#calls += calls.length;
    return {
      reasoning: parted.map(({ reasoning }) => reasoning).join(''),
      text: pieces.map(({ text }) => text).join(''),
      calls,
      ...(logProb ? { logProb } : {}),
      finishReason: finishReason === 'stop' && this.#calls > 0 ? 'tool_calls' : finishReason,
    };
  }
}
