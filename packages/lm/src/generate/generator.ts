import { Key } from '@posttrain/core-tensor';
import {
  assertArgument,
  assertKnownOptions,
  type Completion,
  type Constraint,
  custom,
  options as declare,
  GENERATE_HINTS,
  type GenerateRequest,
  type Generator,
  type Given,
  integer,
  isPosttrainError,
  PosttrainError,
  type Prompt,
  type Read,
  type TokenLogProb,
} from '@posttrain/interfaces';
import { BatchLoop, type OnToken } from '../batching/batch-loop.js';
import { Channel } from '../batching/channel.js';
import type { ScheduledToken } from '../batching/scheduler.js';
import { compileConstraint } from '../constraint/compile-constraint.js';
import type { TokenConstraint } from '../constraint/token-constraint.js';
import { type Adapter, adapterFor, NO_ADAPTER, type RowInputs } from '../model/adapter.js';
import { askedAdapterOption } from '../model/adapter-option.js';
import { assertCausalLM } from '../model/assert-causal-lm.js';
import type { CausalLM } from '../model/causal-lm.js';
import { promptTokens, type TokenPrompt } from '../prompts/prompt-tokens.js';
import { cacheTokens, kvCacheDtype, packWeights } from '../runner/runner-options.js';
import type { DecodeHook } from '../sampling/decode-hook.js';
import { checkRow, type DecodeRow } from '../sampling/decode-row.js';
import type { DecodingMix } from '../sampling/decoding-mix.js';
import type { TokenStatistics } from '../sampling/report-token.js';
import { type LocalReports, samplerSettings } from '../sampling/sampler-settings.js';
import {
  SpeculativeDecoding,
  type SpeculativeOptions,
  type SpeculativeStatistics,
} from '../speculative/speculative-decoding.js';
import { completionDecoder, continuesText } from './completion-decoder.js';
import { RunningCompletion } from './running-completion.js';
import { StopStrings } from './stop-strings.js';

const generatorOptions = declare('LocalGenerator', {
  /** Asked before every call, so that a training run samples from its present parameters. Default: none. */
  adapter: askedAdapterOption,
  /** Completions decoded together. Default 64. */
  maxBatch: integer({ default: 64, min: 1, decisive: false }),
  /**
   * Chunked prefill: prompt tokens computed between two decoding steps of running completions. Fewer make those wait
   * less, more make prompts cheaper. Default 2048.
   */
  prefillTokens: integer({ default: 2048, min: 1, decisive: false }),
  /** Capacity of the KV cache in tokens; requests queue when it is full. Default: as many as 1 GiB holds. */
  cacheTokens,
  /** What the cache holds keys and values as: `int8` takes a quarter of the memory and a little. Default `float32`. */
  kvCacheDtype,
  /** Whether the weights are packed for products: `auto` or, for runs that give the same digits again, `at-once`. Default `auto`. */
  packWeights,
  /** For requests that do not say. Default: `max_new_tokens` of generation_config.json, else 256. */
  maxTokens: integer({ optional: true, min: 1 }),
  /** Guess several tokens ahead and check them in one pass: faster, same distribution. Default: none. */
  speculative: custom<SpeculativeOptions>()('an object', (value) => typeof value === 'object' && value !== null, {
    optional: true,
  }),
  /** Seed of requests that do not say; each request goes on from the last. Default 0. */
  seed: integer({ default: 0, min: 0 }),
});
/** Options of `LocalGenerator`. */
export type LocalGeneratorOptions = Given<typeof generatorOptions>;

/** What a local model takes. */
export interface LocalGenerateRequest extends Omit<GenerateRequest, 'constraint' | 'prompt'>, LocalReports {
  readonly prompt: Prompt | TokenPrompt;
  /** One that is described, or one's own: called once for each completion. */
  readonly constraint?: Constraint | (() => TokenConstraint);
  /** Default: the generator's. */
  readonly adapter?: Adapter;
  /** What the adapter reads of the sequence, beside what it finds in the prompt: `taskIds` of Poly, say. Default: nothing. */
  readonly adapterInputs?: RowInputs;
  /** Makes what controls a completion while it is generated, such as `budgetForcing`: one for each. Default: none. */
  readonly hook?: () => DecodeHook;
  /**
   * Resumption: what an earlier call has generated of this completion, and was stopped (a signal, `maxTokens`). With the same seed and
   * settings it goes on as if it had never stopped; the completion is the whole, and `maxTokens` counts the whole. One completion at a
   * time, since each has its own: sample i of seed s is that of seed s + i. Default: it begins.
   */
  readonly begun?: BegunCompletion;
  /** Other models that have a part in what is drawn: `contrastive`, `valueGuided`, `teacherMixture`, `proxyTuning`. Default: none. */
  readonly mix?: DecodingMix;
}

/** The start of a completion, as an earlier call gave it. */
export interface BegunCompletion {
  readonly tokenIds: readonly number[];
  /** Needed where `logProbs` are asked for. */
  readonly logProbs?: readonly number[];
}

/** One token of a streamed completion. */
export interface StreamEvent {
  /** Text that is now certain; possibly none. */
  readonly text: string;
  readonly tokenId: number;
  /** Where `logProbs` was asked for. */
  readonly logProb?: number;
  /** Where `topLogProbs` was asked for. */
  readonly topLogProbs?: readonly TokenLogProb[];
  /** Where `entropies` was asked for. */
  readonly entropy?: number;
  /** Where `statistics` were asked for. */
  readonly statistics?: TokenStatistics;
  /** Where `samplingLogProbs` was asked for. */
  readonly samplingLogProb?: number;
  /** Where `keptTokens` was asked for. */
  readonly keptTokens?: readonly number[] | null;
  /** The request's hook put it there: it was not drawn. */
  readonly forced?: true;
  /** Why the completion ended with this token; undefined while it goes on. */
  readonly finishReason: Completion['finishReason'] | undefined;
  /** With the last token: the stop string that ended it; null when none did. */
  readonly stop?: string | null;
}

const REQUEST_OPTIONS = [
  ...['adapter', 'adapterInputs', 'hook', 'mix', 'statistics', 'samplingLogProbs', 'keptTokens', 'begun'],
  ...['prompt', 'n', 'prefix', 'logProbs', 'signal', 'maxTokens', 'temperature'],
  ...['topK', 'topP', 'minP', 'repetitionPenalty', 'stop', 'seed', 'topLogProbs', 'entropies'],
  ...['typicalP', 'epsilonCutoff', 'etaCutoff', 'presencePenalty', 'frequencyPenalty', 'logitBias', 'badWordsIds'],
  ...['noRepeatNgramSize', 'minNewTokens', 'constraint', 'includeStop'],
];

interface Row extends DecodeRow {
  readonly completion: RunningCompletion;
}

/**
 * A local model as a `Generator`: batched, seeded, with stop strings and log-probabilities. What a request does not say
 * has the default that `SamplingParams` documents: of generation_config.json only the end tokens and `max_new_tokens`
 * count, so that the distribution sampled from is the model's own unless the request changes it.
 */
export class LocalGenerator implements Generator {
  readonly name: string;
  readonly #model: CausalLM;
  readonly #settings: Read<typeof generatorOptions>;
  readonly #loop: BatchLoop;
  readonly #speculation: SpeculativeDecoding | undefined;
  #unseeded = 0;

  constructor(model: CausalLM, options: LocalGeneratorOptions = {}) {
    assertCausalLM('LocalGenerator', model);
    const settings = generatorOptions.read(options);
    const { maxBatch, prefillTokens, cacheTokens, packWeights, kvCacheDtype, speculative } = settings;
    this.name = model.name;
    this.#model = model;
    this.#settings = settings;
    this.#speculation = speculative && new SpeculativeDecoding(model, speculative);
    this.#loop = new BatchLoop(model, {
      speculation: this.#speculation,
      maxBatch,
      prefillTokens,
      ...(cacheTokens === undefined ? {} : { cacheTokens }),
      ...{ packWeights, kvCacheDtype },
    });
  }

  /** Queue lengths: completions that wait, and those that run. */
  get load(): { readonly waiting: number; readonly active: number } {
    return this.#loop.load;
  }

  /** What speculation has done so far; undefined without it. */
  get speculation(): SpeculativeStatistics | undefined {
    return this.#speculation?.statistics;
  }

  /**
   * One list of `n` completions per request. A request that cannot be right rejects the whole call, naming the request,
   * before a token of any is generated: with a part of the completions in the place of an error, a caller that does not look
   * would train or vote on fewer than it asked for. Requests that may fail alone are given in calls of their own, which are
   * decoded together all the same.
   *
   * @throws OptionError, ContextLengthError, CacheTooSmallError, NoChatTemplateError and `PosttrainError` for settings out of
   *   range
   */
  async generate(requests: readonly LocalGenerateRequest[]): Promise<Completion[][]> {
    const isList = Array.isArray(requests);
    assertArgument('generate', 'requests', requests, isList, 'a list of requests: [{ prompt }]');
    const rows = requests.map((request, i) => {
      const where = `request ${i}`;
      return requests.length === 1 ? this.#rowsOf(request, where) : naming(where, () => this.#rowsOf(request, where));
    });
    let hasFailed = false;
    const run = (row: Row) =>
      this.#run(
        row,
        (token) => row.completion.push(token),
        () => hasFailed,
      );
    try {
      await Promise.all(rows.flat().map(run));
    } finally {
      hasFailed = true;
    }
    return rows.map((group, i) =>
      group.map(
        ({
          prompt,
          completion: { text, finishReason, stop, tokens, forced, reports, cachedPromptTokens },
        }): Completion => ({
          text,
          // Only a row that was cancelled before its first token has no reason of its own.
          finishReason: finishReason ?? 'abort',
          stop,
          usage: {
            promptTokens: prompt.length,
            ...(cachedPromptTokens !== undefined && { cachedPromptTokens }),
            completionTokens: tokens.length,
          },
          tokenIds: tokens,
          ...reports(requests[i]!),
          ...(forced.length > 0 ? { forced } : {}),
        }),
      ),
    );
  }

  /**
   * One completion of one request, token by token: the texts joined are the text that `generate` gives. Stop reading to
   * end it. When the reader itself fires the signal, nothing more comes, not even text that was held back.
   */
  async *stream(request: LocalGenerateRequest): AsyncGenerator<StreamEvent> {
    assertKnownOptions('stream', request, REQUEST_OPTIONS, GENERATE_HINTS);
    if (request.n !== undefined && request.n !== 1) {
      throw new PosttrainError('STREAM', 'stream: one completion at a time; leave n out');
    }
    const [row] = this.#rowsOf(request, 'the prompt') as [Row];
    const { completion } = row;
    const tokens = new Channel<ScheduledToken>();
    let isLeft = false;
    this.#run(
      row,
      (token) => tokens.push(token),
      () => isLeft,
    ).then(
      () => tokens.end(),
      (error) => tokens.fail(error),
    );
    try {
      for await (const token of tokens) {
        if (completion.finishReason !== undefined) return;
        const text = completion.push(token);
        const { id: _, token: tokenId, finish: __, cachedPromptTokens: ___, ...report } = token;
        const { finishReason, stop } = completion;
        yield { text, tokenId, ...report, finishReason, ...(finishReason === undefined ? {} : { stop }) };
      }
    } finally {
      isLeft = true;
    }
  }

  /**
   * Drops what the key/value cache keeps of an adapter for prompts that come again, with the adapter's numbers: for one that will not
   * be asked for any more. What has been asked for with it is finished first, and waited for.
   */
  forget(adapter: Adapter): Promise<void> {
    return this.#loop.forget(adapter);
  }

  /** Freezes all completions where they are, and lets new ones wait. Resolves when nothing is computed any more. */
  pause(): Promise<void> {
    return this.#loop.pause();
  }

  /** Goes on after `pause`, with the same tokens as if there had been none. */
  resume(): void {
    this.#loop.resume();
  }

  #run(row: Row, onToken: OnToken, isLeft: () => boolean): Promise<void> {
    return this.#loop.run(row, onToken, () => isLeft() || row.completion.finishReason !== undefined);
  }

  #rowsOf(request: LocalGenerateRequest, where: string): Row[] {
    assertKnownOptions('generate', request, REQUEST_OPTIONS, GENERATE_HINTS);
    const { n = 1, seed, stop = [], includeStop = false, signal } = request;
    const given: unknown = request.prompt;
    const isPrompt = typeof given === 'string' || (typeof given === 'object' && given !== null);
    assertArgument('generate', 'prompt', given, isPrompt, 'a text, a list of messages, or { tokenIds }');
    const isStop = Array.isArray(stop) && stop.every((text) => typeof text === 'string');
    assertArgument('generate', 'stop', stop, isStop, 'a list of texts');
    assertArgument('generate', 'includeStop', includeStop, typeof includeStop === 'boolean', 'true or false');
    const isSeed = seed === undefined || (Number.isSafeInteger(seed) && seed >= 0);
    assertArgument('generate', 'seed', seed, isSeed, 'a whole number from 0 to 2^53 - 1');
    assertArgument('generate', 'n', n, Number.isSafeInteger(n) && n >= 1, 'a whole number of at least 1');
    const { endTokens, generationConfig, network } = this.#model;
    const prompt = promptTokens(this.#model, request.prompt, request.prefix);
    const unseeded = seed === undefined ? Key.fromSeed(this.#settings.seed).child(this.#unseeded++) : undefined;
    const isEnd = (token: number) => endTokens.has(token);
    const adapter = adapterFor(
      request.adapter ?? this.#settings.adapter?.() ?? NO_ADAPTER,
      prompt,
      request.adapterInputs,
    );
    const constraint = this.#constraintOf(request);
    const { begun } = request;
    if (begun) checkBegun(begun, request);
    const rows = Array.from({ length: n }, (_, sample) => ({
      prompt,
      maxTokens: request.maxTokens ?? this.#settings.maxTokens ?? generationConfig?.maxNewTokens ?? 256,
      ...samplerSettings(request, endTokens),
      // Sample i of seed s is sample 0 of seed s + i, so that asking in parts gives the same samples.
      key: unseeded?.child(sample) ?? Key.fromSeed(seed! + sample),
      isEnd,
      ...(begun && { begun: begun.tokenIds }),
      ...(constraint ? { constraint } : {}),
      ...(adapter === NO_ADAPTER ? {} : { adapter }),
      ...(request.hook ? { hook: request.hook() } : {}),
      ...(request.mix ? { mix: request.mix } : {}),
      completion: new RunningCompletion({
        decoder: completionDecoder(this.#model.tokenizer, request, prompt),
        stops: new StopStrings(stop, includeStop),
        isEnd,
        signal,
        begun,
      }),
    }));
    checkRow(network, rows[0]!, where);
    return rows;
  }

  #constraintOf(request: LocalGenerateRequest): (() => TokenConstraint) | undefined {
    const { constraint } = request;
    if (constraint === undefined || typeof constraint === 'function') return constraint;
    const compiled = compileConstraint(this.#model.tokenizer, constraint);
    return () => compiled.begin(!continuesText(request));
  }
}

/** Reports of a completion that only whole completions have. */
const NOT_RESUMED = ['hook', 'topLogProbs', 'entropies', 'statistics', 'samplingLogProbs'] as const;

function checkBegun({ tokenIds, logProbs }: BegunCompletion, request: LocalGenerateRequest): void {
  const { n = 1 } = request;
  const isList = Array.isArray(tokenIds);
  assertArgument('generate', 'begun', tokenIds, isList, '{ tokenIds } of an earlier completion');
  assertArgument('generate', 'n', n, n === 1, '1 with begun, since each completion has a start of its own');
  const hasLogProbs = !request.logProbs || logProbs?.length === tokenIds.length;
  assertArgument(
    'generate',
    'begun',
    logProbs,
    hasLogProbs,
    'with logProbs one for each of its tokens, as they were asked for',
  );
  for (const name of NOT_RESUMED) {
    assertArgument('generate', name, request[name], !request[name], 'left out with begun: its start is not known');
  }
}

/** `work`, whose error says which of several requests it is about. */
function naming<T>(where: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (isPosttrainError(error) && !error.message.includes(where)) error.message = `${where}: ${error.message}`;
    throw error;
  }
}
