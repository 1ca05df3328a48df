import {
  type ContinuationScore,
  options as declare,
  excerpt,
  OptionError,
  type ScoreRequest,
  type Scorer,
} from '@posttrain/interfaces';
import { allOrAbort } from '@posttrain/interfaces/concurrency';
import { createEndpoint, type EndpointOptions, endpointShape, isRecord } from './endpoint.js';
import { answered, EndpointError } from './errors.js';

const scorerOptions = declare('openaiCompatibleScorer', endpointShape);

/**
 * A scorer over the `/completions` API of a server that reports log-probabilities of the prompt (`echo` with
 * `logprobs`): vLLM does, llama.cpp's does not, and a server that leaves them out is an error, never a score of 0.
 * Prompts are plain text and not empty.
 *
 * The tokens of the continuation are found by their offsets, in code points, in prompt + continuation, and must spell
 * it; a token that lies across the boundary is an error, because the continuation then has no log-probability of its
 * own: put the space at the start of the continuation, not at the end of the prompt. One token is generated and
 * ignored, since not every server allows `max_tokens: 0`.
 */
export function openaiCompatibleScorer(options: EndpointOptions): Scorer {
  const where = 'openaiCompatibleScorer';
  const endpoint = createEndpoint(where, scorerOptions.read(options));

  const score = async ({ prompt, continuation }: ScoreRequest, signal: AbortSignal): Promise<ContinuationScore> => {
    if (typeof prompt !== 'string' || prompt === '' || continuation === '') {
      const option = continuation === '' ? 'continuation' : 'prompt';
      const problem = 'prompt and continuation must be texts that are not empty.';
      throw new OptionError('INVALID_OPTION', where, option, problem);
    }
    const body = { prompt: prompt + continuation, max_tokens: 1, temperature: 0, echo: true, logprobs: 1 };
    const answer = await endpoint.post('completions', body, signal);
    const tokens = echoedTokens(answer, prompt);
    if (!tokens) {
      throw new EndpointError(
        `${where}: "${options.model}" did not return log-probabilities of the prompt (echo with logprobs); use a server ` +
          `that does, such as vLLM: ${excerpt(JSON.stringify(answer))}`,
        answered,
      );
    }
    const start = codePoints(prompt);
    const end = start + codePoints(continuation);
    const scored = tokens.filter(({ offset }) => offset >= start && offset < end);
    const spelled = scored.map(({ token }) => token).join('');
    if (spelled !== continuation) {
      throw new EndpointError(
        `${where}: the tokens of "${options.model}" after the prompt "…${excerpt(prompt.slice(-20))}" spell ` +
          `${JSON.stringify(excerpt(spelled))}, not the continuation: a token lies across its start (move the space ` +
          'from the end of the prompt to the start of the continuation) or ends inside a character.',
        answered,
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

interface EchoedToken {
  readonly token: string;
  /** In code points from the start of the prompt. */
  readonly offset: number;
  readonly logProb: number;
  readonly isMostLikely: boolean;
}

/** Every token after the first, or `undefined` when the answer lacks them or their log-probabilities. */
function echoedTokens(answer: Record<string, unknown>, prompt: string): EchoedToken[] | undefined {
  const choice: unknown = Array.isArray(answer.choices) ? answer.choices[0] : undefined;
  const logprobs = isRecord(choice) ? choice.logprobs : undefined;
  if (!isRecord(logprobs)) return undefined;
  const columns = [logprobs.tokens, logprobs.text_offset, logprobs.token_logprobs, logprobs.top_logprobs];
  if (!columns.every(Array.isArray)) return undefined;
  const [texts, offsets, values, top] = columns as unknown[][] as [unknown[], unknown[], unknown[], unknown[]];
  // An echo begins at offset 0 with a token that has no log-probability; without one, only generated tokens come back.
  if (offsets[0] !== 0 || values[0] !== null || typeof texts[0] !== 'string') return undefined;
  // A leading special token is no part of the text; some servers count its spelling in the offsets, some do not.
  const shift = prompt.startsWith(texts[0]) ? 0 : offsets[1];
  const tokens: EchoedToken[] = [];
  for (let i = 1; i < values.length; i++) {
    const [token, offset, logProb, alternatives] = [texts[i], offsets[i], values[i], top[i]];
    if (typeof token !== 'string' || typeof offset !== 'number' || typeof shift !== 'number') return undefined;
    if (typeof logProb !== 'number' || !isRecord(alternatives)) return undefined;
    const others = Object.values(alternatives).filter((value) => typeof value === 'number');
    if (others.length === 0) return undefined;
    tokens.push({ token, offset: offset - shift, logProb, isMostLikely: logProb >= Math.max(...others) });
  }
  return tokens;
}

function codePoints(text: string): number {
  return [...text].length;
}
