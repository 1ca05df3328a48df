import { OutOfBlocksError } from '@posttrain/core-tensor';
import {
  assertKnownOptions,
  type Completion,
  type GenerateRequest,
  type Generator,
  PosttrainError,
} from '@posttrain/interfaces';
import { completionDecoder } from '../generate/completion-decoder.js';
import { returnRunner, takeRunner } from '../generate/idle-runners.js';
import type { ModelRunner } from '../generate/model-runner.js';
import { promptTokens } from '../generate/prompt-tokens.js';
import { RunningCompletion } from '../generate/running-completion.js';
import { StopStrings } from '../generate/stop-strings.js';
import type { Adapter } from '../model/adapter.js';
import type { CausalLM } from '../model/causal-lm.js';
import { type BeamSearchOptions, beamSearch } from './beam-search.js';
import { checkCount } from './beams.js';
import { type ContrastiveDecodingOptions, contrastiveDecoding } from './contrastive-decoding.js';
import { type ContrastiveSearchOptions, contrastiveSearch } from './contrastive-search.js';
import { type DiverseBeamSearchOptions, diverseBeamSearch } from './diverse-beam-search.js';
import { repetitionPenalty } from './repetition-penalty.js';
import type { SearchHypothesis, SearchPrompt } from './search-prompt.js';

/** A search and its options: those of the function of the same name, models being models and not runners. */
export type SearchMethod =
  | ({ readonly method: 'beamSearch' } & Omit<BeamSearchOptions, 'adapter'>)
  | ({ readonly method: 'diverseBeamSearch' } & Omit<DiverseBeamSearchOptions, 'adapter'>)
  | ({ readonly method: 'contrastiveSearch' } & Omit<ContrastiveSearchOptions, 'adapter'>)
  | ({ readonly method: 'contrastiveDecoding'; readonly amateur: CausalLM } & Omit<
      ContrastiveDecodingOptions,
      'adapter' | 'amateur'
    >);

export interface SearchGeneratorOptions {
  /** Asked before every call. Default: none. */
  readonly adapter?: () => Adapter;
  /** For requests that do not say. Default: `max_new_tokens` of generation_config.json, else 256. */
  readonly maxTokens?: number;
  /** Most hypotheses computed together; prompts wait for each other. Default 64. */
  readonly maxBatch?: number;
  /** Most tokens that the cache holds, as `ModelRunner` has it. */
  readonly cacheTokens?: number;
}

export interface SearchCompletion extends Completion {
  /** What the method ranks by; see there. */
  readonly score: number;
}

const REQUEST_OPTIONS = [
  'prompt',
  'n',
  'prefix',
  'logProbs',
  'signal',
  'maxTokens',
  'repetitionPenalty',
  'stop',
  'seed',
];
/** What only sampling has, with the values that say nothing; temperature 0 says it rightly. */
const SAMPLING_OPTIONS = { temperature: 0, topK: undefined, topP: 1, minP: 0 } as const;

const METHODS: readonly SearchMethod['method'][] = [
  'beamSearch',
  'diverseBeamSearch',
  'contrastiveSearch',
  'contrastiveDecoding',
];

interface SearchRequest extends SearchPrompt {
  readonly request: GenerateRequest;
  /** A completion with these tokens; its text ends before the first stop string. */
  complete(tokens: readonly number[]): RunningCompletion;
}

/**
 * A local model as a `Generator` that searches instead of sampling: deterministic, `n` completions of a prompt being the
 * n best, best first (fewer where fewer exist). Prompts, stop strings and texts are those of `LocalGenerator`.
 */
export class SearchGenerator implements Generator {
  readonly name: string;
  readonly #model: CausalLM;
  readonly #method: SearchMethod;
  readonly #options: SearchGeneratorOptions;

  constructor(model: CausalLM, method: SearchMethod, options: SearchGeneratorOptions = {}) {
    assertKnownOptions('search', options, ['adapter', 'maxTokens', 'maxBatch', 'cacheTokens']);
    checkCount('maxBatch', options.maxBatch ?? 64);
    if (!METHODS.includes(method.method)) {
      throw new PosttrainError('SEARCH', `search: no method "${method.method}"; there are ${METHODS.join(', ')}`);
    }
    this.name = model.name;
    this.#model = model;
    this.#method = method;
    this.#options = options;
  }

  /** @throws ContextLengthError, NoChatTemplateError and `PosttrainError` for settings out of range or a cache too small */
  async generate(requests: readonly GenerateRequest[]): Promise<SearchCompletion[][]> {
    const searches = requests.map((request) => this.#searchOf(request));
    const together = Math.max(1, Math.floor((this.#options.maxBatch ?? 64) / hypothesesOf(this.#method)));
    const completions: SearchCompletion[][] = [];
    for (let from = 0; from < searches.length; from += together) {
      const batch = searches.slice(from, from + together);
      const found = await this.#search(batch);
      completions.push(...found.map((hypotheses, i) => completionsOf(batch[i]!, hypotheses)));
    }
    return completions;
  }

  async #search(prompts: readonly SearchRequest[]): Promise<SearchHypothesis[][]> {
    const { cacheTokens, adapter } = this.#options;
    const adapted = adapter ? { adapter: adapter() } : {};
    const taken: ModelRunner[] = [];
    const runnerOf = ({ network, weights }: CausalLM): ModelRunner => {
      taken.push(takeRunner(network, weights, cacheTokens));
      return taken.at(-1)!;
    };
    const runner = runnerOf(this.#model);
    try {
      switch (this.#method.method) {
        case 'beamSearch': {
          const { method: _, ...options } = this.#method;
          return await beamSearch(runner, prompts, { ...options, ...adapted });
        }
        case 'diverseBeamSearch': {
          const { method: _, ...options } = this.#method;
          return await diverseBeamSearch(runner, prompts, { ...options, ...adapted });
        }
        case 'contrastiveSearch': {
          const { method: _, ...options } = this.#method;
          const found = await contrastiveSearch(runner, prompts, { ...options, ...adapted });
          return found.map((hypothesis) => [hypothesis]);
        }
        case 'contrastiveDecoding': {
          const { method: _, ...options } = this.#method;
          const amateur = runnerOf(options.amateur);
          return await contrastiveDecoding(runner, prompts, { ...options, ...adapted, amateur });
        }
      }
    } catch (error) {
      if (!(error instanceof OutOfBlocksError)) throw error;
      throw new PosttrainError(
        'CACHE_TOO_SMALL',
        `search: ${prompts.length} prompts with ${hypothesesOf(this.#method)} hypotheses each do not fit the cache of ${runner.capacity} tokens; lower maxBatch, the number of hypotheses or maxTokens, or raise cacheTokens`,
        { cause: error },
      );
    } finally {
      taken.forEach(returnRunner);
    }
  }

  #searchOf(request: GenerateRequest): SearchRequest {
    assertKnownOptions('search', request, [...REQUEST_OPTIONS, ...Object.keys(SAMPLING_OPTIONS)]);
    for (const [name, nothing] of Object.entries(SAMPLING_OPTIONS)) {
      const value = request[name as keyof typeof SAMPLING_OPTIONS];
      if (value === undefined || value === nothing) continue;
      throw new PosttrainError(
        'SEARCH',
        `search: ${name} ${value} is for sampling, which a search does not do; leave it out`,
      );
    }
    const { n = 1, stop = [], signal, repetitionPenalty: penalty = 1 } = request;
    checkCount('n', n);
    const most = this.#method.method === 'contrastiveSearch' ? 1 : hypothesesOf(this.#method);
    if (n > most)
      throw new PosttrainError('SEARCH', `search: n is ${n}, but ${this.#method.method} finds ${most} here`);
    if (!(penalty > 0))
      throw new PosttrainError('SEARCH', `search: repetitionPenalty must be positive, not ${penalty}`);
    const { endTokens, generationConfig, tokenizer } = this.#model;
    const prompt = promptTokens(this.#model, request.prompt, request.prefix);
    const complete = (tokens: readonly number[]): RunningCompletion => {
      const completion = new RunningCompletion({
        decoder: completionDecoder(tokenizer, request, prompt),
        stops: new StopStrings(stop),
        isEnd: (token) => endTokens.has(token),
        signal: undefined,
      });
      for (const [i, token] of tokens.entries()) {
        completion.push({ token, logProb: 0, finish: i === tokens.length - 1 ? 'length' : undefined });
      }
      return completion;
    };
    return {
      request,
      prompt,
      complete,
      maxTokens: request.maxTokens ?? this.#options.maxTokens ?? generationConfig?.maxNewTokens ?? 256,
      endTokens,
      isCancelled: () => signal?.aborted === true,
      ...(penalty === 1 ? {} : { process: repetitionPenalty(penalty, prompt) }),
      ...(stop.length === 0 ? {} : { isFinished: (tokens) => complete(tokens).finishReason === 'stop' }),
    };
  }
}

/** How many hypotheses of a prompt are computed together. */
function hypothesesOf(method: SearchMethod): number {
  return method.method === 'contrastiveSearch' ? method.topK : (method.numBeams ?? 5);
}

function completionsOf(search: SearchRequest, hypotheses: readonly SearchHypothesis[]): SearchCompletion[] {
  const { request, prompt, complete } = search;
  return hypotheses.slice(0, request.n ?? 1).map(({ tokens, logProbs, score, finishReason }) => {
    const completion = complete(tokens);
    return {
      text: completion.text,
      finishReason: completion.finishReason === 'stop' ? 'stop' : finishReason,
      usage: { promptTokens: prompt.length, completionTokens: tokens.length },
      tokenIds: tokens,
      ...(request.logProbs ? { logProbs } : {}),
      score,
    };
  });
}
