import {
  type Compiled,
  compile,
  concat,
  putRows,
  type Tensor,
  tensor,
  withEngine,
  zeros,
} from '@posttrain/core-tensor';
import { custom, type Given, integer, options } from '@posttrain/interfaces';
import { contextOf } from '../model/adapter.js';
import type { CausalLM } from '../model/causal-lm.js';
import type { Weights } from '../model/layers.js';
import type { KvCache } from '../model/network.js';
import { roundUpToPowerOfTwo } from '../model/sizes.js';
import { rowsOf } from '../runner/step-memory.js';
import { hiddenStates } from '../score/hidden-states.js';
import { DraftRun } from './draft-run.js';
import { EagleHead, eagleHooks, eagleWeights } from './eagle-head.js';
import { NO_PROPOSAL, type Proposal, type ProposalRequest, type Proposer, type VerifiedPass } from './proposer.js';

const eagleOptions = options('speculative', {
  /** Trained for this model. */
  eagle: custom<EagleHead>()('an EagleHead', (value) => value instanceof EagleHead, { settings: () => 'head' }),
  /** Tokens it proposes for a pass of the model. Default 5. */
  tokens: integer({ default: 5, min: 1 }),
});
/** Speculative decoding with an autoregressive head on the model's own features (EAGLE, arXiv 2401.15077). */
export type EagleSpeculation = Given<typeof eagleOptions>;

interface StepInput {
  /** int32 [n]: where rows are in the cache. */
  readonly places: Tensor;
  /** int32 [n, s], padded on the right. */
  readonly tokens: Tensor;
  /** [n, s, width]. */
  readonly features: Tensor;
  /** int32 [n]: pairs that the cache has of each. */
  readonly lengths: Tensor;
  /** int32 [n]: which of the n · s are asked about. */
  readonly last: Tensor;
}

interface StepOutput {
  readonly cache: KvCache;
  /** f̂ [n, width]. */
  readonly features: Tensor;
  /** [n, vocabulary]. */
  readonly logits: Tensor;
}

/** What is compiled for a model and a head. */
interface EagleParts {
  readonly model: CausalLM;
  readonly head: EagleHead;
  readonly tokens: number;
  readonly step: Compiled<
    [own: Weights, embedding: Tensor, target: Weights, cache: KvCache, input: StepInput],
    StepOutput
  >;
  /** The cache with room for so many rows more, and so many pairs more of each. */
  readonly grow: Compiled<[cache: KvCache, rows: number, pairs: number], { readonly cache: KvCache }>;
}

/**
 * EAGLE (arXiv 2401.15077) as a chain: the head reads the features of what a row has and goes on from features of its own, a step
 * a token for all rows, with a key/value cache of its one layer. Tokens are drawn with the row's own settings and verified like
 * those of a draft model. The features of a prompt take a pass of the model of their own; those of what is generated come from
 * the passes that verify it.
 *
 * @returns what makes a proposer for a run of rows
 * @throws OptionError, and PosttrainError for a head that does not fit the model
 */
export function eagle(model: CausalLM, given: EagleSpeculation): () => Proposer {
  const { eagle: head, tokens } = eagleOptions.read(given);
  head.checkFits(model);
  const step = (own: Weights, embedding: Tensor, target: Weights, cache: KvCache, input: StepInput): StepOutput => {
    const { places, features, last, ...rest } = input;
    const hooks = eagleHooks(own, features);
    const every = (change: (one: Tensor, key: keyof KvCache) => Tensor): KvCache => ({
      keys: cache.keys.map((one) => change(one, 'keys')),
      values: cache.values.map((one) => change(one, 'values')),
    });
    const ofRows = every((one) => one.gather(places, 0));
    const pass = head.network.extend(eagleWeights(own, embedding), { ...rest, cache: ofRows }, hooks);
    const width = features.shape[2]!;
    const asked = pass.hidden.reshape([features.size / width, width]).gather(last, 0);
    return {
      cache: every((one, key) => putRows(one, places, pass.cache[key][0]!)),
      features: asked,
      logits: model.network.logits(target, asked),
    };
  };
  const grow = (cache: KvCache, rows: number, pairs: number) => {
    const grown = (one: Tensor): Tensor => {
      const [b, heads, capacity, d] = one.shape as [number, number, number, number];
      const longer = pairs === 0 ? one : concat([one, zeros([b, heads, pairs, d])], 2);
      return rows === 0 ? longer : concat([longer, zeros([rows, heads, capacity + pairs, d])], 0);
    };
    return { cache: { keys: cache.keys.map(grown), values: cache.values.map(grown) } };
  };
  const parts = withEngine(
    model.engine,
    (): EagleParts => ({
      ...{ model, head, tokens },
      step: compile(step, { name: 'eagle', donate: { 3: 'cache' } }),
      grow: compile(grow, { name: 'eagleGrow' }),
    }),
  );
  return () => new EagleRun(parts);
}

/** A row as the head has it. */
interface EagleRow {
  /** Where it is in the cache. */
  readonly place: number;
  /** Pairs of a feature and the token behind it that the cache has for good; behind them are guesses. */
  done: number;
  /** Features of the tokens from `done` on. */
  readonly pending: Float32Array[];
}

/** A chain as it grows: what the head reads next, and behind how many pairs. */
interface Drafting {
  readonly run: DraftRun;
  readonly row: EagleRow;
  readonly most: number;
  tokens: readonly number[];
  features: readonly Float32Array[];
  length: number;
}

class EagleRun implements Proposer {
  readonly needsHidden = true;
  readonly #parts: EagleParts;
  readonly #rows = new Map<number, EagleRow>();
  /** Places of the cache that no row has. The first is for padding. */
  readonly #free: number[] = [];
  #cache: KvCache;
  #capacity = 16;
  #places = 1;

  constructor(parts: EagleParts) {
    this.#parts = parts;
    this.#cache = withEngine(parts.model.engine, () => parts.head.network.newCache(1, this.#capacity));
  }

  async propose(requests: readonly ProposalRequest[]): Promise<Proposal[]> {
    const able = requests.filter(({ most }) => most > 0);
    await this.#begin(able.filter((request) => !this.#knows(request)));
    const drafts = able.map((request): Drafting => {
      const row = this.#rows.get(request.id)!;
      const text = [...request.row.prompt, ...request.state.generated];
      return {
        ...{ run: new DraftRun(request), row, most: Math.min(this.#parts.tokens, request.most) },
        ...{ tokens: text.slice(row.done + 1), features: [...row.pending], length: row.done },
      };
    });
    // Of prompts, and of few tokens: the width of a step is that of its longest row.
    const isLong = ({ tokens }: Drafting) => tokens.length > this.#parts.tokens + 2;
    for (const group of [drafts.filter(isLong), drafts.filter((draft) => !isLong(draft))]) await this.#advance(group);
    for (const { row, tokens } of drafts) {
      // The last pair is computed again next time, so that there is one when nothing has come of this.
      row.done += tokens.length - 1;
      row.pending.splice(0, row.pending.length - 1);
    }
    let live = drafts.filter(({ run, most }) => run.tokens.length > 0 && run.tokens.length < most);
    while (live.length > 0) {
      const before = live.map(({ run }) => run.tokens.length);
      for (const draft of live) draft.tokens = draft.run.tokens.slice(-1);
      await this.#advance(live);
      live = live.filter(({ run, most }, i) => run.tokens.length > before[i]! && run.tokens.length < most);
    }
    const proposals = new Map(able.map((request, i) => [request, drafts[i]!.run.proposal]));
    return requests.map((request) => proposals.get(request) ?? NO_PROPOSAL);
  }

  verified(id: number, { hidden, path }: VerifiedPass): void {
    const row = this.#rows.get(id);
    if (!row || !hidden) return;
    for (const place of [-1, ...path]) row.pending.push(hidden[place + 1]!.slice());
  }

  release(id: number): void {
    const row = this.#rows.get(id);
    if (row) this.#free.push(row.place);
    this.#rows.delete(id);
  }

  close(): void {
    this.#rows.clear();
  }

  /** Whether the features of all tokens but the last are there. */
  #knows({ id, row, state }: ProposalRequest): boolean {
    const known = this.#rows.get(id);
    return known !== undefined && known.done + known.pending.length === row.prompt.length + state.generated.length - 1;
  }

  /** Computes the features of rows that are new, of those with one text once, and gives them their places. */
  async #begin(requests: readonly ProposalRequest[]): Promise<void> {
    if (requests.length === 0) return;
    const { model, tokens } = this.#parts;
    const textOf = ({ row, state }: ProposalRequest) => [...row.prompt, ...state.generated.slice(0, -1)];
    const plain = new Map(
      requests.filter(({ row }) => !row.adapter).map((request) => [textOf(request).join(), textOf(request)]),
    );
    const ofPlain = await hiddenStates(model, [...plain.values()]);
    const known = new Map([...plain.keys()].map((text, i) => [text, ofPlain[i]!]));
    let longest = 0;
    for (const request of requests) {
      const { id, row } = request;
      const { adapter, prompt, maxTokens } = row;
      const text = textOf(request);
      const asked = adapter && { adapter, adapterInputs: [adapter.inputs ?? {}] };
      const states = asked ? (await hiddenStates(model, [text], asked))[0]! : known.get(text.join())!;
      this.release(id);
      this.#rows.set(id, { place: this.#free.pop() ?? this.#places++, done: 0, pending: [...states] });
      longest = Math.max(longest, Math.min(contextOf(model.network.config, adapter), prompt.length + maxTokens));
    }
    // A step may be twice as wide as the few tokens of a row that is under way.
    const capacity = Math.max(this.#capacity, roundUpToPowerOfTwo(longest + 2 * (tokens + 2)));
    const places = Math.max(this.#cache.keys[0]!.shape[0]!, roundUpToPowerOfTwo(this.#places));
    const more = [places - this.#cache.keys[0]!.shape[0]!, capacity - this.#capacity] as const;
    if (more[0] + more[1] === 0) return;
    this.#capacity = capacity;
    this.#cache = (await this.#parts.grow(this.#cache, ...more)).cache;
  }

  /** Reads what is next of some rows, in one step, and draws a token of each. */
  async #advance(drafts: readonly Drafting[]): Promise<void> {
    if (drafts.length === 0) return;
    const { head, model, step } = this.#parts;
    const { hiddenSize } = head.config;
    const count = roundUpToPowerOfTwo(drafts.length);
    const width = roundUpToPowerOfTwo(drafts.reduce((most, { tokens }) => Math.max(most, tokens.length), 0));
    const [places, lengths, last] = [new Int32Array(count), new Int32Array(count), new Int32Array(count)];
    const [tokens, features] = [new Int32Array(count * width), new Float32Array(count * width * hiddenSize)];
    for (const [i, draft] of drafts.entries()) {
      places[i] = draft.row.place;
      lengths[i] = draft.length;
      last[i] = i * width + draft.tokens.length - 1;
      tokens.set(draft.tokens, i * width);
      for (const [t, feature] of draft.features.entries()) features.set(feature, (i * width + t) * hiddenSize);
    }
    const result = await step(head.weights, head.embedding, model.weights, this.#cache, {
      ...{ places: tensor(places), lengths: tensor(lengths), last: tensor(last) },
      ...{ tokens: tensor(tokens, [count, width]), features: tensor(features, [count, width, hiddenSize]) },
    });
    this.#cache = result.cache;
    const [logits, guessed] = [await rowsOf(result.logits), await rowsOf(result.features)];
    for (const [i, draft] of drafts.entries()) {
      draft.length += draft.tokens.length;
      draft.features = [guessed[i]!.slice()];
      draft.run.draw(logits[i]!);
    }
  }
}
