import type { JsonObject } from '@posttrain/lm';
import { invalidField } from './api-error.js';
import type { Fields } from './fields.js';
import { finiteLogProb } from './reply.js';
import type { RequestContext } from './run-completions.js';
import type { ScoreOptions, ServedModel } from './served-model.js';

/** vLLM's default. */
const MOST_ALTERNATIVES = 20;

/** vLLM's `prompt_logprobs`: for each prompt null, then what could stand at each place, by token id. */
export type PromptLogProbs = readonly (JsonObject | null)[];

/** How many alternatives `prompt_logprobs` asks for; undefined: nothing. @throws ApiError */
export function promptLogProbsField(fields: Fields, stream: boolean, model: ServedModel): number | undefined {
  const top = fields.integer('prompt_logprobs', { min: 0, max: MOST_ALTERNATIVES });
  if (top === undefined) return undefined;
  if (stream) throw invalidField('prompt_logprobs', "only allowed when 'stream' is not enabled.", 'unsupported_value');
  if (model.score) return top;
  throw invalidField('prompt_logprobs', 'this model does not score prompts.', 'unsupported_parameter');
}

/** Sequential over prompts, in one slot; undefined when they were not asked for. */
export async function promptLogProbs(
  model: ServedModel,
  prompts: readonly (readonly number[])[],
  { top, adapterInputs }: Pick<ScoreOptions, 'adapterInputs'> & { readonly top: number | undefined },
  { slots, pauses, signal }: RequestContext,
): Promise<PromptLogProbs[] | undefined> {
  if (top === undefined) return undefined;
  const run = await pauses.begin(signal);
  let release = () => {};
  try {
    release = await slots.acquire(1, signal);
    const found: PromptLogProbs[] = [];
    for (const tokenIds of prompts) {
      signal.throwIfAborted();
      const scored = await model.score!(tokenIds, { top, signal, ...(adapterInputs && { adapterInputs }) });
      found.push(scored.map((place) => place && Object.fromEntries(place.map(entry))));
    }
    return found;
  } finally {
    release();
    run.done();
  }
}

type Place = NonNullable<Awaited<ReturnType<NonNullable<ServedModel['score']>>>[number]>;

const entry = ({ tokenId, logProb, rank, token }: Place[number]): [string, JsonObject] => [
  String(tokenId),
  { logprob: finiteLogProb(logProb), rank, decoded_token: token },
];
