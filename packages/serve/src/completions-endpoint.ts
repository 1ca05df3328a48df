import type { JsonObject } from '@posttrain/lm';
import { invalidField } from './api-error.js';
import { Fields } from './fields.js';
import { type PromptLogProbs, promptLogProbs } from './prompt-log-probs.js';
import { promptsOf } from './prompts.js';
import {
  type CompletionEnd,
  completionOf,
  endOf,
  finiteLogProb,
  modelOf,
  type Reply,
  replyHead,
  samples,
  shownName,
  usage,
} from './reply.js';
import { type RequestContext, runCompletions, type SampleEvent } from './run-completions.js';
import { SAMPLING_FIELDS, samplingFields, seedOf } from './sampling-fields.js';
import type { CompletionEvent, CompletionRequest, ReportedLogProb, ServedModel, TokenLogProb } from './served-model.js';
import { promptTokenIds, TokenIds } from './token-ids.js';
import { idName } from './token-names.js';

// `begun` is ours.
const FIELDS = [...SAMPLING_FIELDS, 'prompt', 'logprobs', 'best_of', 'begun'];
const UNSUPPORTED = {
  echo: 'this server gives back what was generated only.',
  suffix: 'this server does not fill in the middle.',
};
/** OpenAI's default, which differs from that of chats. */
const DEFAULT_MAX_TOKENS = 16;

/** `POST /v1/completions`: every prompt has `n` choices, in order. @throws ApiError before anything is generated */
export async function completions(body: JsonObject, context: RequestContext): Promise<Reply> {
  const fields = new Fields(body);
  if (body.echo === false) fields.refuseUnknown([...FIELDS, 'echo'], UNSUPPORTED);
  else fields.refuseUnknown(FIELDS, UNSUPPORTED);
  const { name, model, version } = modelOf(fields, context);
  const complete = completionOf(name, model);
  const maxTokens = Math.min(context.maxTokens, model.contextLength);
  const defaultMaxTokens = Math.min(DEFAULT_MAX_TOKENS, maxTokens);
  const sampling = samplingFields(fields, model, {
    n: context.slots.size,
    maxTokens,
    defaultMaxTokens,
  });
  const { n, settings, stream, tokensAsIds, returnTokenIds } = sampling;
  const bestOf = fields.integer('best_of', { min: 1 });
  if (bestOf !== undefined && bestOf !== n) throw invalidField('best_of', "must equal 'n'.", 'unsupported_value');
  const alternatives = fields.integer('logprobs', { min: 0, max: 5 });
  const prompts = await promptsOf(fields, model, Math.floor(context.slots.size / n), context);
  const begun = begunOf(fields, model, prompts, n);
  const promptTokens = prompts.reduce((sum, tokenIds) => sum + tokenIds.length, 0);
  context.metrics.promptTokens.inc({ model: name }, promptTokens);
  const asked = { ...sampling.settings, top: sampling.promptLogProbs };
  const scored = await promptLogProbs(model, prompts, asked, context);
  const requests = prompts.flatMap((tokenIds) =>
    samples(
      {
        ...settings,
        ...begun,
        tokenIds,
        continuesText: true,
        ...(alternatives === undefined ? {} : { topLogProbs: alternatives }),
      },
      n,
    ),
  );
  const events = runCompletions(context, name, complete, requests);
  const head = replyHead('cmpl', 'text_completion', name);
  const hasLogProbs = alternatives !== undefined;
  const choices = requests.map(({ tokenIds }, i): ChoicePrompt => {
    const prompt = scored && { prompt_logprobs: scored[Math.floor(i / n)]! };
    const exact = returnTokenIds && { ...promptTokenIds(true, tokenIds), weight_version: version };
    return { ...prompt, ...exact };
  });
  const answer = { head, promptTokens, events, choices, hasLogProbs, tokensAsIds, returnTokenIds };
  return stream ? { kind: 'events', events: chunks(answer, sampling.includeUsage) } : whole(answer);
}

/**
 * `begun: { tokens, seed }`: the last tokens of the prompt are the start of the completion, which was begun with this seed; it goes on as if it had never
 * stopped. `max_tokens` counts what is new.
 */
function begunOf(
  fields: Fields,
  { resumes }: ServedModel,
  prompts: readonly (readonly number[])[],
  n: number,
): Pick<CompletionRequest, 'begunTokens' | 'seed'> | undefined {
  const given = fields.fields('begun');
  if (!given) return undefined;
  given.refuseUnknown(['tokens', 'seed']);
  const prompt = fields.get('prompt');
  const isIds = Array.isArray(prompt) && typeof prompt[0] !== 'string';
  if (!resumes) throw invalidField('begun', 'this model cannot go on with a completion.', 'unsupported_parameter');
  if (n !== 1 || prompts.length !== 1 || !isIds)
    throw invalidField('begun', 'asks for one prompt of token ids, and n of 1.');
  const max = prompts[0]!.length - 1;
  const begunTokens = given.required('tokens', given.integer('tokens', { min: 1, max }));
  given.required('seed', given.integer('seed'));
  return { begunTokens, seed: seedOf(given) };
}

/** What is said of the prompt of a choice, where it is asked for. */
interface ChoicePrompt {
  readonly prompt_logprobs?: PromptLogProbs;
  readonly prompt_token_ids?: readonly number[];
  /** Which weights the choice is of: one version, whatever is loaded meanwhile. */
  readonly weight_version?: string;
}

interface Answer {
  readonly head: JsonObject;
  readonly promptTokens: number;
  readonly events: AsyncGenerator<SampleEvent>;
  readonly choices: readonly ChoicePrompt[];
  readonly hasLogProbs: boolean;
  readonly tokensAsIds: boolean;
  readonly returnTokenIds: boolean;
}

async function whole(answer: Answer): Promise<Reply> {
  const { head, promptTokens, events, choices, hasLogProbs, tokensAsIds, returnTokenIds } = answer;
  const texts = choices.map(() => '');
  const tokenIds = choices.map(() => new TokenIds(returnTokenIds));
  const logProbs = texts.map(() => new LogProbs(tokensAsIds, returnTokenIds));
  const ends = texts.map((): CompletionEnd => ({ finish_reason: null, stop_reason: null }));
  let completionTokens = 0;
  for await (const { index, event, isCut } of events) {
    if (!isCut) {
      completionTokens++;
      logProbs[index]!.add(event);
      tokenIds[index]!.add(event);
    }
    texts[index] += event.text;
    ends[index] = endOf(event);
  }
  const body = {
    ...head,
    choices: texts.map((text, index) => ({
      text,
      index,
      logprobs: hasLogProbs ? logProbs[index]!.take() : null,
      ...ends[index],
      ...choices[index],
      ...tokenIds[index]!.take(),
    })),
    usage: usage(promptTokens, completionTokens),
  };
  return { kind: 'json', body };
}

async function* chunks(answer: Answer, includeUsage: boolean): AsyncGenerator<JsonObject> {
  const { head, promptTokens, events, choices, hasLogProbs, tokensAsIds, returnTokenIds } = answer;
  const logProbs = choices.map(() => new LogProbs(tokensAsIds, returnTokenIds));
  const tokenIds = choices.map(() => new TokenIds(returnTokenIds));
  const isBegun = choices.map(() => false);
  const chunk = (list: readonly JsonObject[], counted: JsonObject | null = null): JsonObject => ({
    ...head,
    choices: list,
    ...(includeUsage ? { usage: counted } : {}),
  });
  let completionTokens = 0;
  for await (const { index, event, isCut } of events) {
    const { text, finishReason } = event;
    if (!isCut) {
      completionTokens++;
      logProbs[index]!.add(event);
      tokenIds[index]!.add(event);
    }
    if (text === '' && !finishReason && !hasLogProbs && completionTokens > 1) continue;
    const logprobs = hasLogProbs ? logProbs[index]!.take() : null;
    const prompt = isBegun[index] ? {} : choices[index];
    isBegun[index] = true;
    yield chunk([{ text, index, logprobs, ...endOf(event), ...prompt, ...tokenIds[index]!.take() }]);
  }
  if (includeUsage) yield chunk([], usage(promptTokens, completionTokens));
}

/**
 * Log-probabilities in the four parallel lists of the older API. Joined, `tokens` are the text: of the tokens of one
 * character the last has it. Offsets count code points from the start of the completion.
 */
class LogProbs {
  readonly #asIds: boolean;
  readonly #hasEnds: boolean;
  #offset = 0;
  #events: [ReportedLogProb, number][] = [];

  /** @param hasEnds whether an end token is among them, without a text: one entry for each of `token_ids` */
  constructor(asIds: boolean, hasEnds: boolean) {
    this.#asIds = asIds;
    this.#hasEnds = hasEnds;
  }

  add({ logProb, endLogProb, tokenId }: CompletionEvent): void {
    if (this.#hasEnds && endLogProb !== undefined) {
      const end = { token: '', text: '', logProb: endLogProb, alternatives: [] };
      this.#events.push([{ ...end, ...(tokenId !== undefined && { tokenId }) }, this.#offset]);
    }
    if (!logProb) return;
    this.#events.push([logProb, this.#offset]);
    for (const _ of logProb.text ?? logProb.token) this.#offset++;
  }

  /** Those since the last call. */
  take(): JsonObject {
    const events = this.#events;
    this.#events = [];
    return {
      tokens: events.map(([one]) => this.#nameOf(one)),
      token_logprobs: events.map(([{ logProb }]) => finiteLogProb(logProb)),
      top_logprobs: events.map(([one]) => this.#alternatives(one)),
      text_offset: events.map(([, offset]) => offset),
    };
  }

  #nameOf(one: ReportedLogProb): string {
    return this.#asIds && one.tokenId !== undefined ? idName(one.tokenId) : (one.text ?? one.token);
  }

  /** By name, the drawn token among them as OpenAI has it. Of two with one name the less likely is called by its id. */
  #alternatives(drawn: ReportedLogProb): JsonObject {
    const named = new Map<string, number>();
    const add = (name: string, { tokenId, logProb }: TokenLogProb) => {
      const free = named.has(name) && tokenId !== undefined ? idName(tokenId) : name;
      named.set(free, finiteLogProb(logProb));
    };
    const isDrawn = (one: TokenLogProb) =>
      one.tokenId === undefined ? one.token === drawn.token : one.tokenId === drawn.tokenId;
    if (drawn.alternatives.length > 0) add(this.#nameOf(drawn) || shownName(drawn, this.#asIds), drawn);
    for (const one of drawn.alternatives) if (!isDrawn(one)) add(shownName(one, this.#asIds), one);
    return Object.fromEntries([...named].sort(([, a], [, b]) => b - a));
  }
}
