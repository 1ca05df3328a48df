import {
  assertArgument,
  assertKnownOptions,
  type ContinuationScore,
  options as declare,
  type Given,
  PosttrainError,
  type ScoreRequest,
  type Scorer,
} from '@posttrain/interfaces';
import { askedAdapterOption } from '../model/adapter-option.js';
import type { CausalLM } from '../model/causal-lm.js';
import { promptTokens } from '../prompts/prompt-tokens.js';
import { assertText } from '../tokenizer/errors.js';
import { type ContinuationLogProbs, continuationLogProbs } from './continuation-log-probs.js';
import { rollingLogProbs, rollingShape } from './rolling-log-probs.js';

/** Asked before every call. Default: none. */
const scorerOptions = declare('LocalScorer', { adapter: askedAdapterOption });
/** Options of `LocalScorer`. */
export type LocalScorerOptions = Given<typeof scorerOptions>;

const rollingScoreOptions = declare('scoreRolling', rollingShape);
/** Options of `LocalScorer.scoreRolling`. */
export type RollingScoreOptions = Given<typeof rollingScoreOptions>;

/** A local model as a `Scorer`: log-likelihoods of continuations. */
export class LocalScorer implements Scorer {
  readonly name: string;
  readonly #model: CausalLM;
  readonly #options: LocalScorerOptions;

  constructor(model: CausalLM, options: LocalScorerOptions = {}) {
    scorerOptions.read(options);
    this.name = model.name;
    this.#model = model;
    this.#options = options;
  }

  /**
   * The continuation's tokens are those that follow the prompt's in the tokens of prompt + continuation, with spaces at
   * the end of the prompt counted to the continuation, as lm-evaluation-harness splits them. Common prefixes of prompts
   * are computed once.
   */
  async score(requests: readonly ScoreRequest[]): Promise<ContinuationScore[]> {
    assertArgument(
      'score',
      'requests',
      requests,
      Array.isArray(requests),
      'a list of requests: [{ prompt, continuation }]',
    );
    const sequences = requests.map((request, i) => this.#split(request, i));
    const adapter = this.#options.adapter?.();
    const scored = await continuationLogProbs(this.#model, sequences, adapter ? { adapter } : {});
    return scored.map(sumOf);
  }

  /**
   * Log-likelihoods of whole texts of any length, in windows: `loglikelihood_rolling` of lm-evaluation-harness. A begin
   * token (or, where the tokenizer has none, the end token) is put in front, so that the first token is predicted too.
   *
   * @throws PosttrainError for a text without tokens, and for a tokenizer with neither token
   */
  async scoreRolling(texts: readonly string[], options: RollingScoreOptions = {}): Promise<ContinuationScore[]> {
    assertArgument('scoreRolling', 'texts', texts, Array.isArray(texts), 'a list of texts');
    rollingScoreOptions.read(options);
    const { tokenizer, name } = this.#model;
    const prefix = tokenizer.bosId ?? tokenizer.eosId;
    if (prefix === undefined) throw new PosttrainError('SCORE', `${name}: its tokenizer has no begin and no end token`);
    for (const [i, text] of texts.entries()) assertText(text, `scoreRolling: text ${i}`);
    const sequences = texts.map((text) => [prefix, ...tokenizer.encode(text, { addSpecialTokens: false })]);
    const empty = sequences.findIndex(({ length }) => length === 1);
    if (empty >= 0) throw new PosttrainError('SCORE', `text ${empty} has no tokens`);
    const adapter = this.#options.adapter?.();
    const scored = await rollingLogProbs(this.#model, sequences, { ...options, ...(adapter && { adapter }) });
    return scored.map(sumOf);
  }

  #split(request: ScoreRequest, i: number): { tokens: number[]; start: number } {
    const { prompt, continuation } = checkedRequest(request, i);
    const trailing = typeof prompt === 'string' ? prompt.length - prompt.trimEnd().length : 0;
    const context = typeof prompt === 'string' ? prompt.slice(0, prompt.length - trailing) : prompt;
    const rest = (typeof prompt === 'string' ? prompt.slice(prompt.length - trailing) : '') + continuation;
    const start = promptTokens(this.#model, context).length;
    const tokens = promptTokens(this.#model, context, rest);
    if (start === 0 || tokens.length <= start) {
      throw new PosttrainError('SCORE', `score request ${i}: the prompt or the continuation has no tokens`);
    }
    return { tokens, start };
  }
}

/** Refuses requests that do not have the two texts under their names: what is missing would be scored as "undefined". */
function checkedRequest(request: ScoreRequest, i: number): ScoreRequest {
  const where = `score request ${i}`;
  if (typeof request !== 'object' || request === null) throw new PosttrainError('SCORE', `${where} is no object`);
  assertKnownOptions(where, request, ['prompt', 'continuation']);
  const { prompt, continuation } = request;
  if (typeof continuation !== 'string') {
    throw new PosttrainError('SCORE', `${where}: continuation must be a text, not ${shown(continuation)}`);
  }
  if (typeof prompt !== 'string' && !Array.isArray(prompt)) {
    throw new PosttrainError('SCORE', `${where}: prompt must be a text or a conversation, not ${shown(prompt)}`);
  }
  return request;
}

const shown = (value: unknown): string => (value === null || typeof value !== 'object' ? String(value) : 'an object');

const sumOf = ({ logProbs, isGreedy }: ContinuationLogProbs): ContinuationScore => ({
  logProb: logProbs.reduce((a, b) => a + b, 0),
  tokens: logProbs.length,
  isGreedy: isGreedy.every((flag) => flag === 1),
});
