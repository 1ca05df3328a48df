import { randomUUID } from 'node:crypto';
import type {
  LanguageModelV3,
  LanguageModelV3CallOptions,
  LanguageModelV3Content,
  LanguageModelV3FinishReason,
  LanguageModelV3StreamPart,
  LanguageModelV3Usage,
  SharedV3Warning,
} from '@ai-sdk/provider';
import { assembleCall, type ToolCall } from '@posttrain/lm';
import { type ChatTurnEvent, chatTurn } from '../chat-turn.js';
import type { LocalModel } from '../local-models.js';
import { DEFAULT_CHAT_TOKENS } from '../served-model.js';
import { turnRequestOf } from './chat-input.js';

/** A served model as a language model of the AI SDK, in this process. */
export function languageModel(name: string, model: LocalModel): LanguageModelV3 {
  return {
    specificationVersion: 'v3',
    provider: 'posttrain',
    modelId: name,
    supportedUrls: {},
    async doGenerate(options) {
      const { events, promptTokens, warnings } = await begin(
        model,
        options,
        options.abortSignal ?? new AbortController().signal,
      );
      const toolCalls: ToolCall[] = [];
      let reasoning = '';
      let text = '';
      let last: ChatTurnEvent['finishReason'];
      let completionTokens = 0;
      for await (const event of events) {
        completionTokens++;
        reasoning += event.reasoning;
        text += event.text;
        for (const call of event.calls) assembleCall(toolCalls, call);
        last = event.finishReason;
      }
      const content: LanguageModelV3Content[] = toolCalls.map((call) => toolCallPart(call, randomUUID()));
      if (text !== '') content.unshift({ type: 'text', text });
      if (reasoning !== '') content.unshift({ type: 'reasoning', text: reasoning });
      return { content, finishReason: finishReasonOf(last), usage: usageOf(promptTokens, completionTokens), warnings };
    },
    async doStream(options) {
      // Who stops reading ends the completion.
      const left = new AbortController();
      const signal = options.abortSignal ? AbortSignal.any([options.abortSignal, left.signal]) : left.signal;
      const { events, promptTokens, warnings } = await begin(model, options, signal);
      const parts = streamParts(events, promptTokens, warnings);
      const stream = new ReadableStream<LanguageModelV3StreamPart>({
        async pull(controller) {
          const { value, done } = await parts.next();
          if (done) controller.close();
          else controller.enqueue(value);
        },
        cancel: () => left.abort(),
      });
      return { stream };
    },
  };
}

async function begin(model: LocalModel, options: LanguageModelV3CallOptions, signal: AbortSignal) {
  signal.throwIfAborted();
  const { request, warnings } = turnRequestOf(options);
  const turn = await chatTurn(model, request, signal);
  const { tokenIds, continuesText, constraint } = turn;
  const given = {
    temperature: options.temperature,
    topP: options.topP,
    topK: options.topK,
    presencePenalty: options.presencePenalty || undefined,
    frequencyPenalty: options.frequencyPenalty || undefined,
    stop: options.stopSequences,
    constraint,
  };
  const settings = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const completion = model.complete({
    ...settings,
    tokenIds,
    continuesText,
    maxTokens: options.maxOutputTokens ?? Math.min(DEFAULT_CHAT_TOKENS, model.contextLength),
    seed: options.seed ?? Math.floor(Math.random() * 2 ** 31),
    signal,
  });
  async function* events(): AsyncGenerator<ChatTurnEvent> {
    const reader = turn.reader();
    for await (const event of completion) {
      signal.throwIfAborted();
      yield reader.read(event);
    }
    signal.throwIfAborted();
  }
  return { events: events(), promptTokens: tokenIds.length, warnings };
}

async function* streamParts(
  events: AsyncIterable<ChatTurnEvent>,
  promptTokens: number,
  warnings: SharedV3Warning[],
): AsyncGenerator<LanguageModelV3StreamPart> {
  yield { type: 'stream-start', warnings };
  let open: { readonly kind: 'text' | 'reasoning'; readonly id: string } | undefined;
  function* close(): Generator<LanguageModelV3StreamPart> {
    if (open) yield { type: `${open.kind}-end`, id: open.id };
    open = undefined;
  }
  function* write(kind: 'text' | 'reasoning', delta: string): Generator<LanguageModelV3StreamPart> {
    if (delta === '') return;
    if (open?.kind !== kind) {
      yield* close();
      open = { kind, id: randomUUID() };
      yield { type: `${kind}-start`, id: open.id };
    }
    yield { type: `${kind}-delta`, id: open.id, delta };
  }
  let completionTokens = 0;
  let last: ChatTurnEvent['finishReason'];
  const toolCalls: ToolCall[] = [];
  let callId = '';
  for await (const { reasoning, text, calls, finishReason } of events) {
    completionTokens++;
    last = finishReason;
    yield* write('reasoning', reasoning);
    yield* write('text', text);
    for (const call of calls) {
      yield* close();
      assembleCall(toolCalls, call);
      if (call.name !== undefined) {
        callId = randomUUID();
        yield { type: 'tool-input-start', id: callId, toolName: call.name };
      }
      if (call.arguments !== '') yield { type: 'tool-input-delta', id: callId, delta: call.arguments };
      if (!call.done) continue;
      yield { type: 'tool-input-end', id: callId };
      yield toolCallPart(toolCalls[call.index]!, callId);
    }
  }
  yield* close();
  yield { type: 'finish', finishReason: finishReasonOf(last), usage: usageOf(promptTokens, completionTokens) };
}

const toolCallPart = ({ name, arguments: input }: ToolCall, toolCallId: string) => ({
  type: 'tool-call' as const,
  toolCallId,
  toolName: name,
  input,
});

function finishReasonOf(reason: ChatTurnEvent['finishReason']): LanguageModelV3FinishReason {
  const unified = { stop: 'stop', length: 'length', tool_calls: 'tool-calls', abort: 'other' } as const;
  return { unified: reason === undefined ? 'other' : unified[reason], raw: reason };
}

const usageOf = (promptTokens: number, completionTokens: number): LanguageModelV3Usage => ({
  inputTokens: { total: promptTokens, noCache: promptTokens, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: completionTokens, text: completionTokens, reasoning: undefined },
});
