import { assembleCall, type JsonObject, type ToolCall } from '@posttrain/lm';
import { chatTurnRequest, topLogProbs } from './chat-request.js';
import { type ChatTurnReader, chatTurn } from './chat-turn.js';
import { Fields } from './fields.js';
import { bytesOf, checkPromptBytes } from './prompt-bytes.js';
import { promptLogProbs } from './prompt-log-probs.js';
import {
  type CompletionEnd,
  completionOf,
  endOf,
  modelOf,
  type Reply,
  replyHead,
  samples,
  tokenLogProb,
  usage,
} from './reply.js';
import { type RequestContext, runCompletions } from './run-completions.js';
import { samplingFields } from './sampling-fields.js';
import { type CompletionEvent, DEFAULT_CHAT_TOKENS } from './served-model.js';
import { promptTokenIds, TokenIds } from './token-ids.js';

/** `POST /v1/chat/completions`. @throws ApiError and `PosttrainError` before anything is generated */
export async function chatCompletions(body: JsonObject, context: RequestContext): Promise<Reply> {
  const fields = new Fields(body);
  const request = chatTurnRequest(fields);
  const { name, model } = modelOf(fields, context);
  const complete = completionOf(name, model);
  const maxTokens = Math.min(context.maxTokens, model.contextLength);
  const sampling = samplingFields(fields, model, {
    n: context.slots.size,
    maxTokens,
    defaultMaxTokens: Math.min(DEFAULT_CHAT_TOKENS, maxTokens),
  });
  const alternatives = topLogProbs(fields);
  checkPromptBytes(model, bytesOf(request), 'messages', context.maxPromptBytes);
  const turn = await chatTurn(model, request, context.signal);
  const { tokenIds, continuesText, constraint } = turn;
  context.metrics.promptTokens.inc({ model: name }, tokenIds.length);
  const asked = { ...sampling.settings, top: sampling.promptLogProbs };
  const scored = await promptLogProbs(model, [tokenIds], asked, context);
  const requests = samples(
    {
      ...sampling.settings,
      tokenIds,
      continuesText,
      ...(constraint ? { constraint } : {}),
      ...(alternatives === undefined ? {} : { topLogProbs: alternatives }),
    },
    sampling.n,
  );
  const answer: Answer = {
    name,
    promptTokens: tokenIds.length,
    prompt: {
      ...(scored ? { prompt_logprobs: scored[0] } : {}),
      ...promptTokenIds(sampling.returnTokenIds, tokenIds),
    },
    returnTokenIds: sampling.returnTokenIds,
    readers: requests.map(() => turn.reader()),
    events: runCompletions(context, name, complete, requests),
    hasLogProbs: alternatives !== undefined,
    tokensAsIds: sampling.tokensAsIds,
    includeUsage: sampling.includeUsage,
  };
  return sampling.stream ? { kind: 'events', events: chunks(answer) } : whole(answer);
}

interface Answer {
  readonly name: string;
  readonly promptTokens: number;
  /** What is said of the prompt, where it is asked for: once for all choices, as in vLLM. */
  readonly prompt: JsonObject;
  readonly returnTokenIds: boolean;
  readonly readers: readonly ChatTurnReader[];
  readonly events: ReturnType<typeof runCompletions>;
  readonly hasLogProbs: boolean;
  readonly tokensAsIds: boolean;
  readonly includeUsage: boolean;
}

async function whole(answer: Answer): Promise<Reply> {
  const { name, promptTokens, prompt, readers, events, hasLogProbs, tokensAsIds, returnTokenIds } = answer;
  const choices = readers.map((reader) => ({
    reader,
    reasoning: '',
    text: '',
    calls: [] as ToolCall[],
    logProbs: [] as JsonObject[],
    tokenIds: new TokenIds(returnTokenIds),
    end: endOf({ finishReason: 'stop' }),
  }));
  let completionTokens = 0;
  for await (const { index, event, isCut } of events) {
    const choice = choices[index]!;
    const { reasoning, text, calls, finishReason } = choice.reader.read(event);
    if (!isCut) {
      completionTokens++;
      choice.tokenIds.add(event);
    }
    choice.reasoning += reasoning;
    choice.text += text;
    for (const call of calls) assembleCall(choice.calls, call);
    choice.logProbs.push(...logProbsOf(event, tokensAsIds));
    choice.end = endOf({ ...event, finishReason });
  }
  const body = {
    ...replyHead('chatcmpl', 'chat.completion', name),
    choices: choices.map(({ reasoning, text, calls, logProbs, tokenIds, end }, index) => ({
      index,
      message: {
        role: 'assistant',
        content: text === '' && calls.length > 0 ? null : text,
        refusal: null,
        ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
        ...(calls.length > 0
          ? { tool_calls: calls.map((call, i) => ({ id: callId(index, i), type: 'function', function: call })) }
          : {}),
      },
      logprobs: hasLogProbs ? { content: logProbs, refusal: null } : null,
      ...end,
      ...tokenIds.take(),
    })),
    usage: usage(promptTokens, completionTokens),
    ...prompt,
  };
  return { kind: 'json', body };
}

async function* chunks(answer: Answer): AsyncGenerator<JsonObject> {
  const { name, promptTokens, prompt, readers, events, hasLogProbs, tokensAsIds, includeUsage, returnTokenIds } =
    answer;
  const head = replyHead('chatcmpl', 'chat.completion.chunk', name);
  const chunk = (choices: readonly JsonObject[], counted: JsonObject | null = null): JsonObject => ({
    ...head,
    choices,
    ...(includeUsage ? { usage: counted } : {}),
  });
  const state = readers.map((reader) => ({ reader, begun: false, tokenIds: new TokenIds(returnTokenIds) }));
  let said: JsonObject = prompt;
  let completionTokens = 0;
  for await (const { index, event, isCut } of events) {
    if (!isCut) completionTokens++;
    const choice = state[index]!;
    const read = choice.reader.read(event);
    const logProbs = logProbsOf(event, tokensAsIds);
    const logprobs = hasLogProbs && logProbs.length > 0 ? { content: logProbs, refusal: null } : null;
    const delta = (it: JsonObject, lists: JsonObject | null = null, end?: CompletionEnd) =>
      chunk([{ ...part(index, it, lists), ...end, ...choice.tokenIds.take() }]);
    // Before anything is sent: a model that does not say its tokens is refused with a status.
    if (!isCut) choice.tokenIds.add(event);
    if (!choice.begun) {
      yield { ...chunk([part(index, { role: 'assistant', content: '', refusal: null }, null)]), ...said };
    }
    said = {};
    choice.begun = true;
    if (read.reasoning !== '') yield delta({ reasoning_content: read.reasoning });
    if (read.text !== '' || logprobs) yield delta({ content: read.text }, logprobs);
    for (const { index: at, name, arguments: text } of read.calls) {
      const begin = name === undefined ? {} : { id: callId(index, at), type: 'function' };
      const it = { ...(name === undefined ? {} : { name }), arguments: text };
      yield delta({ tool_calls: [{ index: at, ...begin, function: it }] });
    }
    if (read.finishReason) yield delta({}, null, endOf({ ...event, finishReason: read.finishReason }));
  }
  if (includeUsage) yield chunk([], usage(promptTokens, completionTokens));
}

const part = (index: number, delta: JsonObject, logprobs: JsonObject | null): JsonObject => ({
  ...{ index, delta, logprobs },
  finish_reason: null,
});

const logProbsOf = ({ logProb }: CompletionEvent, asIds: boolean): JsonObject[] =>
  logProb
    ? [
        {
          ...tokenLogProb(logProb, asIds),
          top_logprobs: logProb.alternatives.map((one) => tokenLogProb(one, asIds)),
        },
      ]
    : [];

/** Unique in a conversation, which is all that an id is for; nine characters, which is all that Mistral's template takes. */
const callId = (choice: number, at: number): string =>
  `${choice.toString(36)}${at.toString(36)}${Math.random().toString(36).slice(2).padEnd(9, '0')}`.slice(0, 9);
