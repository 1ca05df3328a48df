import { type Given, integer, options } from '@posttrain/interfaces';

/** One call of a sampler in a conversation: all that it read, and what it sampled. */
export interface TurnRecord {
  readonly promptTokens: readonly number[];
  readonly tokens: readonly number[];
  /** Of each sampled token. */
  readonly logProbs: ArrayLike<number>;
}

/** A sequence to train on: the tokens of one or more turns. */
export interface TurnSequence {
  readonly promptTokens: readonly number[];
  readonly completionTokens: readonly number[];
  /** 1 for sampled tokens of a completion, 0 for what stands between replies. */
  readonly mask: readonly number[];
  /** Log-probabilities of sampled tokens, 0 for others. */
  readonly samplerLogProbs: readonly number[];
}

/** How a turn's prompt is related to the sequence before it. */
export type TurnDrift = 'append' | 'realign' | 'fork';

/** A sequence that grows by turns. Sampled tokens are kept as they were sampled. */
export class TurnSequenceBuilder {
  /** Of prompt and completion. */
  readonly tokens: number[];
  readonly promptLength: number;
  readonly #mask: number[] = [];
  readonly #logProbs: number[] = [];
  #lastReply: number | undefined;

  constructor(promptTokens: readonly number[]) {
    this.tokens = [...promptTokens];
    this.promptLength = promptTokens.length;
  }

  /** Tokens behind the prompt. */
  get completionLength(): number {
    return this.tokens.length - this.promptLength;
  }

  /**
   * `append`: the prompt begins with all that is held. `realign`: it differs from it only within the last reply, by fewer than
   * `forkThreshold` tokens. `fork`: it differs before that, or by more.
   */
  driftOf(promptTokens: readonly number[], forkThreshold: number): TurnDrift {
    const matched = commonPrefix(this.tokens, promptTokens);
    const drift = this.tokens.length - matched;
    if (drift === 0) return 'append';
    return this.#lastReply !== undefined && matched >= this.#lastReply && drift < forkThreshold ? 'realign' : 'fork';
  }

  /** Takes a prompt over, of which no token is trained: what the last reply has otherwise is overwritten. */
  follow(promptTokens: readonly number[]): void {
    const matched = commonPrefix(this.tokens, promptTokens);
    this.tokens.length = matched;
    this.#mask.length = matched - this.promptLength;
    this.#logProbs.length = this.#mask.length;
    this.say(promptTokens.slice(matched));
  }

  /** Tokens that nobody sampled. */
  say(tokens: readonly number[]): void {
    this.#add(tokens, 0, (_) => 0);
  }

  reply(tokens: readonly number[], logProbs: ArrayLike<number>): void {
    this.#lastReply = this.tokens.length;
    this.#add(tokens, 1, (t) => logProbs[t]!);
  }

  /** The last reply is not trained. */
  maskReply(): void {
    this.#mask.fill(0, (this.#lastReply ?? this.tokens.length) - this.promptLength);
  }

  sequence(): TurnSequence {
    return {
      promptTokens: this.tokens.slice(0, this.promptLength),
      completionTokens: this.tokens.slice(this.promptLength),
      mask: [...this.#mask],
      samplerLogProbs: [...this.#logProbs],
    };
  }

  #add(tokens: readonly number[], mask: 0 | 1, logProbOf: (t: number) => number): void {
    tokens.forEach((token, t) => {
      this.tokens.push(token);
      this.#mask.push(mask);
      this.#logProbs.push(logProbOf(t));
    });
  }
}

const reconcileOptions = options('reconcileTurns', {
  /** A last reply that is written otherwise in the next prompt by fewer tokens is context from there on; by as many, a fork. Default 1024. */
  forkThreshold: integer({ default: 1024, min: 0 }),
});
/** Options of `reconcileTurns`. */
export type ReconcileTurnsOptions = Given<typeof reconcileOptions>;

/**
 * The turns of one conversation, in order, as sequences to train on, whoever rendered their prompts: an agent over an endpoint, say, that sends
 * its whole history anew each time. A prompt that goes on from all before it continues the sequence; one in which an end of the last
 * reply has other tokens does so too, with that end as context that is not trained; one that was rewritten further back (reasoning taken out, a
 * history summarised) begins another sequence. No token is encoded: all are those that the sampler read and wrote. As TRL's asynchronous GRPO
 * (`fork_threshold_tokens`). Sequences of which nothing is trained any more are left out.
 *
 * @throws OptionError
 */
export function reconcileTurns(turns: readonly TurnRecord[], given: ReconcileTurnsOptions = {}): TurnSequence[] {
  const { forkThreshold } = reconcileOptions.read(given);
  const sequences: TurnSequenceBuilder[] = [];
  for (const { promptTokens, tokens, logProbs } of turns) {
    const last = sequences.at(-1);
    if (last === undefined || last.driftOf(promptTokens, forkThreshold) === 'fork') {
      sequences.push(new TurnSequenceBuilder(promptTokens));
    } else last.follow(promptTokens);
    sequences.at(-1)!.reply(tokens, logProbs);
  }
  return sequences.map((one) => one.sequence()).filter(({ mask }) => mask.includes(1));
}

function commonPrefix(a: readonly number[], b: readonly number[]): number {
  const most = Math.min(a.length, b.length);
  for (let i = 0; i < most; i++) if (a[i] !== b[i]) return i;
  return most;
}
