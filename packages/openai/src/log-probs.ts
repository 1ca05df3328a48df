import type { TokenLogProb } from '@posttrain/interfaces';
import { isRecord } from './endpoint.js';
import type { EndpointError } from './errors.js';

type Api = 'chat' | 'completions';
type Unusable = (what: string) => EndpointError;

/** The log-probability of each token of a choice. @throws EndpointError when they are not there */
export function chosenLogProbs(logprobs: unknown, api: Api, unusable: Unusable): number[] {
  const list = listOf(logprobs, api, 'token_logprobs');
  const values = list?.map((entry) => (isRecord(entry) ? entry.logprob : entry));
  if (values?.every((value): value is number => Number.isFinite(value))) return values;
  throw unusable(
    'lacks the log-probabilities that were asked for; take a server that gives them (logprobs), or do not ask',
  );
}

/**
 * The `count` most likely tokens in the place of each token of a choice, falling.
 *
 * @throws EndpointError when they are not there, or have no ids
 */
export function alternatives(logprobs: unknown, api: Api, count: number, unusable: Unusable): TokenLogProb[][] {
  const list = listOf(logprobs, api, 'top_logprobs');
  if (!list) throw unusable('lacks the most likely tokens that were asked for');
  return list.map((entry) => {
    const pairs =
      api === 'completions' ? pairsOfObject(entry) : pairsOfList(isRecord(entry) ? entry.top_logprobs : undefined);
    if (pairs.length === 0) throw unusable('lacks the most likely tokens that were asked for');
    const found = pairs.map(([token, logProb]): TokenLogProb => {
      // The form of vLLM's return_tokens_as_token_ids.
      const id = typeof token === 'string' ? /^token_id:(\d+)$/.exec(token)?.[1] : undefined;
      if (id !== undefined && Number.isFinite(logProb)) return { tokenId: Number(id), logProb: logProb as number };
      throw unusable(
        'names the most likely tokens by text and not by id, so topLogProbs cannot be given; leave it out, or ask vLLM ' +
          'with extraBody: { return_tokens_as_token_ids: true }',
      );
    });
    // A completions endpoint may give the drawn token beside the most likely ones.
    return found.sort((a, b) => b.logProb - a.logProb).slice(0, count);
  });
}

function listOf(logprobs: unknown, api: Api, older: string): unknown[] | undefined {
  const list = isRecord(logprobs) ? logprobs[api === 'chat' ? 'content' : older] : undefined;
  return Array.isArray(list) ? list : undefined;
}

const pairsOfObject = (entry: unknown): [unknown, unknown][] => (isRecord(entry) ? Object.entries(entry) : []);

const pairsOfList = (entry: unknown): [unknown, unknown][] =>
  Array.isArray(entry) ? entry.map((it) => (isRecord(it) ? [it.token, it.logprob] : [undefined, undefined])) : [];
