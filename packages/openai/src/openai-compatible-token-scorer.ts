import { options as declare, excerpt, OptionError, type TokenScorer, type TokenScores } from '@posttrain/interfaces';
import { allOrAbort } from '@posttrain/interfaces/concurrency';
import { createEndpoint, type EndpointOptions, endpointShape, isRecord } from './endpoint.js';
import { answered, EndpointError } from './errors.js';

const WHERE = 'openaiCompatibleTokenScorer';
const scorerOptions = declare(WHERE, endpointShape);

/**
 * Log-probabilities of tokens that are given as ids, over the `/completions` API of a server that takes prompts of token ids and has
 * `prompt_logprobs` (vLLM and what is built on it; our own server): a teacher of on-policy distillation that runs elsewhere. Its model must have
 * the student's token ids. One token is generated and ignored, so a sequence must be shorter than the server's context.
 *
 * @throws OptionError before anything is sent; EndpointError, also for a server that gives no log-probabilities of the prompt
 */
export function openaiCompatibleTokenScorer(options: EndpointOptions): TokenScorer {
  const endpoint = createEndpoint(WHERE, scorerOptions.read(options));

  const score = async (tokens: readonly number[], signal: AbortSignal): Promise<TokenScores> => {
    if (tokens.length < 2) {
      throw new OptionError('INVALID_OPTION', WHERE, 'sequences', 'sequences must have two tokens or more.');
    }
    const body = { prompt: tokens, max_tokens: 1, temperature: 0, prompt_logprobs: 0 };
    const answer = await endpoint.post('completions', body, signal);
    const scores = scoresOf(answer, tokens);
    if (scores) return scores;
    throw new EndpointError(
      `${WHERE}: "${options.model}" did not return the log-probability of every token of the prompt (prompt_logprobs of a ` +
        `prompt of token ids); use a server that does, such as vLLM: ${excerpt(JSON.stringify(answer))}`,
      answered,
    );
  };

  return {
    name: options.model,
    scoreTokens: (sequences, { signal } = {}) =>
      allOrAbort(
        [signal],
        sequences.map((tokens) => (stop: AbortSignal) => score(tokens, stop)),
      ),
  };
}

/** Undefined where a place lacks the number of its own token. */
function scoresOf(answer: Record<string, unknown>, tokens: readonly number[]): TokenScores | undefined {
  const choice: unknown = Array.isArray(answer.choices) ? answer.choices[0] : undefined;
  const places = isRecord(choice) ? (choice.prompt_logprobs ?? answer.prompt_logprobs) : undefined;
  if (!Array.isArray(places) || places.length !== tokens.length) return undefined;
  const logProbs: number[] = [];
  const texts: string[] = [];
  for (let t = 1; t < tokens.length; t++) {
    const own: unknown = isRecord(places[t]) ? places[t][String(tokens[t])] : undefined;
    if (!isRecord(own) || typeof own.logprob !== 'number') return undefined;
    logProbs.push(own.logprob);
    if (typeof own.decoded_token === 'string') texts.push(own.decoded_token);
  }
  return { logProbs, ...(texts.length === logProbs.length && { texts }) };
}
