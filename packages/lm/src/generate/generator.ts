import { Key } from '@posttrain/core-tensor';
import {
  assertKnownOptions,
  type Completion,
  type GenerateRequest,
  type Generator,
  PosttrainError,
} from '@posttrain/interfaces';
import type { Adapter } from '../model/adapter.js';
import type { CausalLM } from '../model/causal-lm.js';
import { type DecodeRow, decode } from './decode.js';
import { promptTokens } from './prompt-tokens.js';
import { StopStrings } from './stop-strings.js';

export interface LocalGeneratorOptions {
  /** Asked before every call, so that a training run samples from its present parameters. Default: none. */
  readonly adapter?: () => Adapter;
  /** Completions decoded together. Default 64. */
  readonly maxBatch?: number;
  /** For requests that do not say. Default: generation_config.json, else 256. */
  readonly maxTokens?: number;
  /** Seed of requests that do not say; each call goes on from the last. Default 0. */
  readonly seed?: number;
}

/** One token of a streamed completion. */
export interface StreamEvent {
  /** Text that is now certain; possibly none. */
  readonly text: string;
  readonly tokenId: number;
  readonly logProb: number;
}

const REQUEST_OPTIONS = [
  ...['prompt', 'n', 'prefix', 'logProbs', 'signal', 'maxTokens', 'temperature'],
  ...['topK', 'topP', 'minP', 'repetitionPenalty', 'stop', 'seed'],
];

interface Row extends DecodeRow {
  readonly stops: StopStrings;
  readonly signal: AbortSignal | undefined;
}

/** A local model as a `Generator`: batched, seeded, with stop strings and log-probabilities. */
export class LocalGenerator implements Generator {
  readonly name: string;
  readonly #model: CausalLM;
  readonly #options: LocalGeneratorOptions;
  #unseeded = 0;

  constructor(model: CausalLM, options: LocalGeneratorOptions = {}) {
    assertKnownOptions('LocalGenerator', options, ['adapter', 'maxBatch', 'maxTokens', 'seed']);
    this.name = model.name;
    this.#model = model;
    this.#options = options;
  }

  /** @throws ContextLengthError, NoChatTemplateError and `PosttrainError` for settings out of range */
  async generate(requests: readonly GenerateRequest[]): Promise<Completion[][]> {
    const rows = requests.map((request) => this.#rowsOf(request));
    const flat = rows.flat();
    const done = flat.map(() => ({
      tokens: [] as number[],
      logProbs: [] as number[],
      finish: 'length' as Completion['finishReason'],
    }));
    const decoders = flat.map(() => this.#model.tokenizer.streamDecoder({ skipSpecialTokens: true }));
    const events = decode(this.#model.network, this.#model.weights, flat, {
      ...this.#decodeOptions(),
      isCancelled: (row) => flat[row]!.stops.stopped || flat[row]!.signal?.aborted === true,
    });
    for await (const { row, token, logProb, finish } of events) {
      const result = done[row]!;
      result.tokens.push(token);
      result.logProbs.push(logProb);
      flat[row]!.stops.push(decoders[row]!.push(token));
      if (finish) flat[row]!.stops.push(decoders[row]!.flush());
      if (flat[row]!.stops.stopped) result.finish = 'stop';
      else if (finish) result.finish = finish;
      else if (flat[row]!.signal?.aborted) result.finish = 'abort';
    }
    let next = 0;
    return rows.map((group, i) =>
      group.map((row): Completion => {
        const { tokens, logProbs, finish } = done[next++]!;
        return {
          text: row.stops.text,
          finishReason: finish,
          usage: { promptTokens: row.prompt.length, completionTokens: tokens.length },
          tokenIds: tokens,
          ...(requests[i]!.logProbs ? { logProbs } : {}),
        };
      }),
    );
  }

  /** One completion of one request, token by token. Stop reading to end it. */
  async *stream(request: GenerateRequest): AsyncGenerator<StreamEvent> {
    const [row, ...more] = this.#rowsOf(request);
    if (more.length > 0) throw new PosttrainError('STREAM', 'stream: one completion at a time; leave n out');
    const { stops, signal } = row!;
    const decoder = this.#model.tokenizer.streamDecoder({ skipSpecialTokens: true });
    const isCancelled = () => stops.stopped || signal?.aborted === true;
    const events = decode(this.#model.network, this.#model.weights, [row!], { ...this.#decodeOptions(), isCancelled });
    for await (const { token, logProb, finish } of events) {
      let text = stops.push(decoder.push(token));
      if (finish) text += stops.push(decoder.flush()) + stops.flush();
      yield { text, tokenId: token, logProb };
    }
  }

  #decodeOptions() {
    const { adapter, maxBatch } = this.#options;
    return { ...(adapter ? { adapter: adapter() } : {}), ...(maxBatch === undefined ? {} : { maxBatch }) };
  }

  #rowsOf(request: GenerateRequest): Row[] {
    assertKnownOptions('generate', request, REQUEST_OPTIONS);
    const { generationConfig } = this.#model;
    const endTokens = this.#model.endTokens;
    const unseeded =
      request.seed === undefined ? Key.fromSeed(this.#options.seed ?? 0).child(this.#unseeded++) : undefined;
    const prompt = promptTokens(this.#model, request.prompt, request.prefix);
    return Array.from({ length: request.n ?? 1 }, (_, sample) => ({
      prompt,
      maxTokens: request.maxTokens ?? this.#options.maxTokens ?? generationConfig?.maxNewTokens ?? 256,
      temperature: request.temperature ?? 1,
      topK: request.topK,
      topP: request.topP ?? 1,
      minP: request.minP ?? 0,
      repetitionPenalty: request.repetitionPenalty ?? 1,
      // Sample i of seed s is sample 0 of seed s + i, so that asking in parts gives the same samples.
      key: unseeded?.child(sample) ?? Key.fromSeed(request.seed! + sample),
      isEnd: (token: number) => endTokens.has(token),
      stops: new StopStrings(request.stop ?? []),
      signal: request.signal,
    }));
  }
}
