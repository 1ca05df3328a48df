import { assertKnownOptions, type ContinuationScore, type ScoreRequest, type Scorer } from '@posttrain/interfaces';
import { allOrAbort } from '../concurrency.js';
import { EndpointError, excerpt, InvalidArgumentError } from '../errors.js';
import { createEndpoint, ENDPOINT_KEYS, type EndpointOptions, isRecord } from './endpoint.js';

/**
 * A scorer over the `/completions` API of a server that reports log-probabilities of the prompt (`echo` with
 * `logprobs`): vLLM and SGLang do, OpenAI's chat models and llama.cpp do not, and a server that leaves them out is an
 * error, never a score of 0. Prompts are plain text and not empty.
 *
 * The tokens of the continuation are found by their character offsets in prompt + continuation; a token that lies
 * across the boundary is an error, because the continuation then has no log-probability of its own: put the space at
 * the start of the continuation, not at the end of the prompt. One token is generated and ignored, since servers
 * refuse `max_tokens: 0`.
 */
export function openaiCompatibleScorer(options: EndpointOptions): Scorer {
  const where = 'openaiCompatibleScorer';
  assertKnownOptions(where, options, ENDPOINT_KEYS);
  const endpoint = createEndpoint(where, options);

  const score = async ({ prompt, continuation }: ScoreRequest, signal: AbortSignal): Promise<ContinuationScore> => {
    if (typeof prompt !== 'string' || prompt === '' || continuation === '') {
      throw new InvalidArgumentError(`${where}: prompt and continuation must be texts that are not empty.`);
    }
    const body = { prompt: prompt + continuation, max_tokens: 1, temperature: 0, echo: true, logprobs: 1 };
    const answer = await endpoint.post('completions', body, signal);
    const tokens = echoedTokens(answer);
    if (!tokens) {
      throw new EndpointError(
        `${where}: "${options.model}" did not return log-probabilities of the prompt (echo with logprobs); use a server ` +
          `that does, such as vLLM: ${excerpt(JSON.stringify(answer))}`,
      );
    }
    const start = codePoints(prompt);
    const end = start + codePoints(continuation);
    const first = tokens.findIndex(({ offset }) => offset >= start);
    const scored = tokens.filter(({ offset }) => offset >= start && offset < end);
    if (tokens[first]?.offset !== start || scored.length === 0) {
      throw new EndpointError(
        `${where}: a token of "${options.model}" lies across the end of the prompt "…${excerpt(prompt.slice(-20))}"; ` +
          'move the space to the start of the continuation.',
      );
    }
    return {
      logProb: scored.reduce((sum, token) => sum + token.logProb, 0),
      tokens: scored.length,
      isGreedy: scored.every(({ isMostLikely }) => isMostLikely),
    };
  };

  return {
    name: options.model,
    score: (requests) =>
      allOrAbort(
        [],
        requests.map((request) => (signal: AbortSignal) => score(request, signal)),
      ),
  };
}

/** Every token of the echoed text after the first, or `undefined` when the answer lacks them. Offsets count code points. */
function echoedTokens(
  answer: Record<string, unknown>,
): { offset: number; logProb: number; isMostLikely: boolean }[] | undefined {
  const choice: unknown = Array.isArray(answer.choices) ? answer.choices[0] : undefined;
  const logprobs = isRecord(choice) ? choice.logprobs : undefined;
  if (!isRecord(logprobs)) return undefined;
  const { token_logprobs: values, top_logprobs: top, text_offset: offsets } = logprobs;
  if (!Array.isArray(values) || !Array.isArray(top) || !Array.isArray(offsets)) return undefined;
  // Servers without echo return generated tokens only; an echo begins at offset 0 with a token that has no log-probability.
  if (offsets[0] !== 0 || values[0] !== null || offsets.length !== values.length || top.length !== values.length) {
    return undefined;
  }
  const tokens = [];
  for (let i = 1; i < values.length; i++) {
    const [offset, logProb, alternatives]: [unknown, unknown, unknown] = [offsets[i], values[i], top[i]];
    if (typeof offset !== 'number' || typeof logProb !== 'number' || !isRecord(alternatives)) return undefined;
    const best = Math.max(...Object.values(alternatives).filter((value) => typeof value === 'number'));
    tokens.push({ offset, logProb, isMostLikely: logProb >= best });
  }
  return tokens;
}

function codePoints(text: string): number {
  return [...text].length;
}
