import { OutOfBlocksError } from '@posttrain/core-tensor';
import {
  assertArgument,
  type Completion,
  type GenerateRequest,
  type Generator,
  type Given,
  integer,
  options,
  PosttrainError,
  type Read,
} from '@posttrain/interfaces';
import { askedAdapterOption } from '../model/adapter-option.js';
import type { CausalLM } from '../model/causal-lm.js';
import { returnRunner, takeRunner } from '../runner/idle-runners.js';
import type { ModelRunner } from '../runner/model-runner.js';
import { explained } from '../runner/non-finite.js';
import { type BeamSearchOptions, beamSearch } from './beam-search.js';
import { type ContrastiveDecodingOptions, contrastiveDecoding } from './contrastive-decoding.js';
import { type ContrastiveSearchOptions, contrastiveSearch } from './contrastive-search.js';
import { type DiverseBeamSearchOptions, diverseBeamSearch } from './diverse-beam-search.js';
import type { SearchHypothesis } from './search-prompt.js';
import { type SearchRequest, searchRequest } from './search-request.js';

/** A search and its options: those of the function of the same name, models being models and not runners. */
export type SearchMethod =
  | ({ readonly method: 'beamSearch' } & Omit<BeamSearchOptions, 'adapter'>)
  | ({ readonly method: 'diverseBeamSearch' } & Omit<DiverseBeamSearchOptions, 'adapter'>)
  | ({ readonly method: 'contrastiveSearch' } & Omit<ContrastiveSearchOptions, 'adapter'>)
  | ({ readonly method: 'contrastiveDecoding'; readonly amateur: CausalLM } & Omit<
      ContrastiveDecodingOptions,
      'adapter' | 'amateur'
    >);

const searchOptions = options('search', {
  /** Asked before every call. Default: none. */
  adapter: askedAdapterOption,
  /** For requests that do not say. Default: `max_new_tokens` of generation_config.json, else 256. */
  maxTokens: integer({ optional: true, min: 1 }),
  /** Most hypotheses computed together; prompts wait for each other. Default 64. */
  maxBatch: integer({ default: 64, min: 1, decisive: false }),
  /** Most tokens that the cache holds, as `ModelRunner` has it. */
  cacheTokens: integer({ optional: true, min: 1, decisive: false }),
});
/** Options of `SearchGenerator`. */
export type SearchGeneratorOptions = Given<typeof searchOptions>;

/** A completion that a search found, with its score. */
export interface SearchCompletion extends Completion {
  /** What the method ranks by; see there. */
  readonly score: number;
}

const METHODS: readonly SearchMethod['method'][] = [
  'beamSearch',
  'diverseBeamSearch',
  'contrastiveSearch',
  'contrastiveDecoding',
];

/**
 * A local model as a `Generator` that searches instead of sampling: deterministic, `n` completions of a prompt being the
 * n best, best first (fewer where fewer exist). Prompts, stop strings and texts are those of `LocalGenerator`.
 */
export class SearchGenerator implements Generator {
  readonly name: string;
  readonly #model: CausalLM;
  readonly #method: SearchMethod;
  readonly #settings: Read<typeof searchOptions>;

  constructor(model: CausalLM, method: SearchMethod, given: SearchGeneratorOptions = {}) {
    const settings = searchOptions.read(given);
    const isMethod = typeof method === 'object' && method !== null;
    assertArgument('search', 'method', method, isMethod, "an object: { method: 'beamSearch', numBeams: 4 }");
    if (!METHODS.includes(method.method)) {
      throw new PosttrainError('SEARCH', `search: no method "${method.method}"; there are ${METHODS.join(', ')}`);
    }
    this.name = model.name;
    this.#model = model;
    this.#method = method;
    this.#settings = settings;
  }

  /** @throws ContextLengthError, NoChatTemplateError and `PosttrainError` for settings out of range or a cache too small */
  async generate(requests: readonly GenerateRequest[]): Promise<SearchCompletion[][]> {
    assertArgument('search', 'requests', requests, Array.isArray(requests), 'a list of requests: [{ prompt }]');
    const searches = requests.map((request) => this.#searchOf(request));
    const together = Math.max(1, Math.floor(this.#settings.maxBatch / hypothesesOf(this.#method)));
    const completions: SearchCompletion[][] = [];
    for (let from = 0; from < searches.length; from += together) {
      const batch = searches.slice(from, from + together);
      const found = await this.#search(batch);
      completions.push(...found.map((hypotheses, i) => completionsOf(batch[i]!, hypotheses)));
    }
    return completions;
  }

  async #search(prompts: readonly SearchRequest[]): Promise<SearchHypothesis[][]> {
    const { cacheTokens, adapter } = this.#settings;
    const adapted = adapter ? { adapter: adapter() } : {};
    const taken: ModelRunner[] = [];
    const runnerOf = ({ network, weights }: CausalLM): ModelRunner => {
      taken.push(takeRunner(network, weights, cacheTokens === undefined ? {} : { cacheTokens }));
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
      if (!(error instanceof OutOfBlocksError)) throw await explained(error, { ...this.#model, ...adapted });
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
    const { maxTokens = this.#model.generationConfig?.maxNewTokens ?? 256 } = this.#settings;
    const search = searchRequest(this.#model, request, maxTokens);
    const { n = 1 } = request;
    assertArgument('search', 'n', n, Number.isInteger(n) && n >= 1, 'a whole number of at least 1');
    const most = this.#method.method === 'contrastiveSearch' ? 1 : hypothesesOf(this.#method);
    if (n <= most) return search;
    throw new PosttrainError('SEARCH', `search: n is ${n}, but ${this.#method.method} finds ${most} here`);
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
      stop: completion.stop,
      usage: { promptTokens: prompt.length, completionTokens: tokens.length },
      tokenIds: tokens,
      ...(request.logProbs ? { logProbs } : {}),
      score,
    };
  });
}
