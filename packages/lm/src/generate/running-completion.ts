import type { Completion, GenerateRequest, TokenLogProb } from '@posttrain/interfaces';
import type { ScheduledToken } from '../batching/scheduler.js';
import type { TokenStatistics } from '../sampling/report-token.js';
import type { LocalReports } from '../sampling/sampler-settings.js';
import type { TokenStatistic } from '../sampling/token-statistics.js';
import type { StreamDecoder } from '../tokenizer/index.js';
import type { StopStrings } from './stop-strings.js';

/** One completion as it grows: its text, watched for stop strings, and why it ended. */
export class RunningCompletion {
  readonly tokens: number[] = [];
  /** Of the tokens that report them; empty where none do. */
  readonly #logProbs: number[] = [];
  readonly #topLogProbs: (readonly TokenLogProb[])[] = [];
  readonly #entropies: number[] = [];
  readonly #samplingLogProbs: number[] = [];
  readonly #keptTokens: (readonly number[] | null)[] = [];
  readonly #statistics: TokenStatistics[] = [];
  /** Places of the tokens that were not drawn. */
  readonly forced: number[] = [];
  readonly #decoder: StreamDecoder;
  readonly #stops: StopStrings;
  readonly #isEnd: (token: number) => boolean;
  readonly #signal: AbortSignal | undefined;
  #finishReason: Completion['finishReason'] | undefined;
  /** Tokens of its prompt that were not computed for it; undefined before its first token. */
  cachedPromptTokens: number | undefined;

  constructor(parts: {
    readonly decoder: StreamDecoder;
    readonly stops: StopStrings;
    readonly isEnd: (token: number) => boolean;
    readonly signal: AbortSignal | undefined;
    /** What an earlier call has generated of it. */
    readonly begun?: { readonly tokenIds: readonly number[]; readonly logProbs?: readonly number[] } | undefined;
  }) {
    this.#decoder = parts.decoder;
    this.#stops = parts.stops;
    this.#isEnd = parts.isEnd;
    this.#signal = parts.signal;
    const { tokenIds = [], logProbs = [] } = parts.begun ?? {};
    this.tokens.push(...tokenIds);
    this.#logProbs.push(...logProbs);
    for (const token of tokenIds) this.#stops.push(this.#decoder.push(token));
  }

  /** undefined while it goes on. */
  get finishReason(): Completion['finishReason'] | undefined {
    return this.#finishReason ?? (this.#signal?.aborted ? 'abort' : undefined);
  }

  /** The stop string that ended it; null when none did. */
  get stop(): string | null {
    return this.#stops.found;
  }

  get text(): string {
    return this.#stops.text;
  }

  /** What was asked for of its tokens. */
  readonly reports = (
    asked: LocalReports & Pick<GenerateRequest, 'logProbs' | 'topLogProbs' | 'entropies'>,
  ): Pick<Completion, 'logProbs' | 'topLogProbs' | 'entropies' | 'samplingLogProbs' | 'keptTokens' | 'statistics'> => {
    const names = asked.statistics ?? [];
    const listOf = (name: TokenStatistic) => this.#statistics.map((values) => values[name]!);
    return {
      ...(asked.logProbs && { logProbs: this.#logProbs }),
      ...(asked.topLogProbs && { topLogProbs: this.#topLogProbs }),
      ...(asked.entropies && { entropies: this.#entropies }),
      ...(asked.samplingLogProbs && { samplingLogProbs: this.#samplingLogProbs }),
      ...(asked.keptTokens && { keptTokens: this.#keptTokens }),
      ...(names.length > 0 && { statistics: Object.fromEntries(names.map((name) => [name, listOf(name)])) }),
    };
  };

  /** Adds a token; gives the text that is now certain. An end token has no text, whatever the tokenizer calls it. */
  push({ token, forced, finish, cachedPromptTokens, ...report }: Omit<ScheduledToken, 'id'>): string {
    // Tokens that were computed together may go on after the one that ended it.
    if (this.#finishReason) return '';
    this.cachedPromptTokens ??= cachedPromptTokens;
    if (forced) this.forced.push(this.tokens.length);
    this.tokens.push(token);
    const { logProb, topLogProbs, entropy, samplingLogProb, keptTokens, statistics } = report;
    if (logProb !== undefined) this.#logProbs.push(logProb);
    if (topLogProbs) this.#topLogProbs.push(topLogProbs);
    if (entropy !== undefined) this.#entropies.push(entropy);
    if (samplingLogProb !== undefined) this.#samplingLogProbs.push(samplingLogProb);
    if (keptTokens !== undefined) this.#keptTokens.push(keptTokens);
    if (statistics) this.#statistics.push(statistics);
    let text = this.#isEnd(token) ? '' : this.#stops.push(this.#decoder.push(token));
    const ended = finish ?? (this.#signal?.aborted ? 'abort' : undefined);
    if (ended && !this.#stops.stopped) text += this.#stops.push(this.#decoder.flush()) + this.#stops.flush();
    this.#finishReason = this.#stops.stopped ? 'stop' : ended;
    return text;
  }
}
