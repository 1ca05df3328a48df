import type { Completion, SamplingParams } from './generate.js';

/** Completions of one prompt of token ids: what a server of a fleet is asked for at a time. */
export interface TokenSampleRequest extends SamplingParams {
  readonly prompt: readonly number[];
  /** Completions of it; sample i of seed s is sample 0 of seed s + i, where the server knows seeds. */
  readonly n: number;
  readonly seed: number;
  /** Name of a loaded adapter. Default: the base. */
  readonly adapter?: string | undefined;
  /**
   * That the end of the prompt is the start of the completion, which is gone on with (`n` is 1). A server that knows this draws what it would have drawn without
   * a stop; another one goes on from the prompt with `seed`, so that it draws other numbers of the same distribution. Default: it begins.
   */
  readonly begun?: BegunSample | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What there is of a completion already. */
export interface BegunSample {
  /** How many of the prompt's last tokens are of it. */
  readonly tokens: number;
  /** The seed that it was begun with. */
  readonly seed: number;
}

/** One completion, as tokens. */
export interface TokenSample {
  /** As drawn, the end token included; of a completion that was gone on with, those that are new. */
  readonly tokenIds: readonly number[];
  /** log p of each, natural log, of the distribution that it was drawn from where the server reports that. */
  readonly logProbs: readonly number[];
  readonly text: string;
  readonly finishReason: Completion['finishReason'];
  /** Which weights it is of, where the server says so. */
  readonly weightVersion?: string;
}

/** What a server is found to have. */
export interface SamplerServerFacts {
  /** What it is, as far as it says: `vLLM 0.32.0`. */
  readonly kind: string;
  /** The name of its base model. */
  readonly model: string;
  /** Most tokens of prompt and completion together, where it says so. */
  readonly contextLength?: number;
  /** Adapters are loaded and unloaded over HTTP. */
  readonly hasAdapters: boolean;
  /** It can be paused. */
  readonly hasPause: boolean;
}

/**
 * An inference server that takes and gives token ids, and serves adapters that come and go by name: what a trainer with samplers
 * elsewhere needs of each. An object with these methods is one; `vllmServer` and `sglangServer` of `@posttrain/openai` speak HTTP.
 * All throw a `PosttrainError` where the server does not answer, or not usably.
 */
export interface SamplerServer {
  /** Tells servers apart in messages: its address. */
  readonly name: string;
  /** What it has, asked once before a run. @throws PosttrainError naming what is missing, where it gives no token ids or log-probabilities */
  probe(signal?: AbortSignal): Promise<SamplerServerFacts>;
  /** Whether it is there; never throws but the signal's reason. */
  isHealthy(signal?: AbortSignal): Promise<boolean>;
  /** `n` completions, in the order of their seeds. */
  sample(request: TokenSampleRequest): Promise<readonly TokenSample[]>;
  /** log p of each token but the first. */
  score(
    tokens: readonly number[],
    options?: { readonly adapter?: string | undefined; readonly signal?: AbortSignal | undefined },
  ): Promise<readonly number[]>;
  /** Serves the adapter of a folder, by the path that the server has it under. `version` is what it calls the weights, where it can. */
  loadAdapter(
    name: string,
    folder: string,
    options?: { readonly version?: string; readonly signal?: AbortSignal },
  ): Promise<void>;
  /** Serves it no more; nothing where it is not there. */
  unloadAdapter(name: string, signal?: AbortSignal): Promise<void>;
  /** `abort`: what runs ends with what it has; `wait`: it comes to its end first; `keep`: it is frozen. Absent: it cannot. */
  pause?(mode: 'abort' | 'wait' | 'keep', signal?: AbortSignal): Promise<void>;
  resume?(signal?: AbortSignal): Promise<void>;
}
