import { type Compiled, compile, type Tensor, tensor, withEngine } from '@posttrain/core-tensor';
import { custom, type Given, integer, options } from '@posttrain/interfaces';
import { contextOf, NO_ADAPTER } from '../model/adapter.js';
import type { CausalLM } from '../model/causal-lm.js';
import type { Weights } from '../model/layers.js';
import type { KvCache } from '../model/network.js';
import { roundUpToPowerOfTwo } from '../model/sizes.js';
import type { Logits } from '../sampling/sampler.js';
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
  /** int32 [1, s], padded on the right. */
  readonly tokens: Tensor;
  /** [1, s, width]. */
  readonly features: Tensor;
  /** int32 [1]: pairs that the cache has. */
  readonly lengths: Tensor;
  /** int32 [1]: which of the s is asked about. */
  readonly last: Tensor;
}

interface StepOutput {
  readonly cache: KvCache;
  /** f̂ [1, width]. */
  readonly feature: Tensor;
  /** [1, vocabulary]. */
  readonly logits: Tensor;
}

/** A row as the head has it. */
interface EagleRow {
  cache: KvCache;
  readonly capacity: number;
  /** Pairs of a feature and the token behind it that the cache has for good; behind them are guesses. */
  done: number;
  /** Features of the tokens from `done` on. */
  readonly pending: Float32Array[];
}

/**
 * EAGLE (arXiv 2401.15077) as a chain: the head reads the features of what a row has and goes on from features of its own, a step
 * a token, row by row, with a key/value cache of its one layer. Tokens are drawn with the row's own settings and verified like
 * those of a draft model. The features of a prompt take a pass of the model of their own; those of what is generated come from
 * the passes that verify it.
 */
export class Eagle implements Proposer {
  readonly needsHidden = true;
  readonly #model: CausalLM;
  readonly #head: EagleHead;
  readonly #tokens: number;
  readonly #step: Compiled<
    [own: Weights, embedding: Tensor, target: Weights, cache: KvCache, input: StepInput],
    StepOutput
  >;
  readonly #rows = new Map<number, EagleRow>();

  /** @throws OptionError, and PosttrainError for a head that does not fit the model */
  constructor(model: CausalLM, given: EagleSpeculation) {
    const { eagle: head, tokens } = eagleOptions.read(given);
    head.checkFits(model);
    this.#model = model;
    this.#head = head;
    this.#tokens = tokens;
    this.#step = withEngine(model.engine, () =>
      compile(
        (own: Weights, embedding: Tensor, target: Weights, cache: KvCache, input: StepInput): StepOutput => {
          const { tokens, features, lengths, last } = input;
          const hooks = eagleHooks(own, features);
          const pass = head.network.extend(eagleWeights(own, embedding), { tokens, lengths, cache }, hooks);
          const feature = pass.hidden.reshape(features.shape.slice(1)).gather(last, 0);
          return { cache: pass.cache, feature, logits: model.network.logits(target, feature) };
        },
        { name: 'eagle', donate: { 3: 'cache' } },
      ),
    );
  }

  async propose(requests: readonly ProposalRequest[]): Promise<Proposal[]> {
    await this.#begin(requests.filter((request) => request.most > 0 && !this.#knows(request)));
    const proposals: Proposal[] = [];
    for (const request of requests) proposals.push(request.most > 0 ? await this.#draft(request) : NO_PROPOSAL);
    return proposals;
  }

  verified(id: number, { hidden, path }: VerifiedPass): void {
    const row = this.#rows.get(id);
    if (!row || !hidden) return;
    for (const place of [-1, ...path]) row.pending.push(hidden[place + 1]!.slice());
  }

  release(id: number): void {
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

  /** Computes the features of rows that are new, of those with one text once. */
  async #begin(requests: readonly ProposalRequest[]): Promise<void> {
    const features = new Map<string, Promise<Float32Array[][]>>();
    for (const { id, row, state } of requests) {
      const { prompt, adapter = NO_ADAPTER, maxTokens } = row;
      const text = [...prompt, ...state.generated.slice(0, -1)];
      const own = adapter === NO_ADAPTER ? {} : { adapter, adapterInputs: [adapter.inputs ?? {}] };
      const known = adapter === NO_ADAPTER ? features.get(text.join()) : undefined;
      const asked = known ?? hiddenStates(this.#model, [text], own);
      if (adapter === NO_ADAPTER) features.set(text.join(), asked);
      const [states] = (await asked) as [Float32Array[]];
      const longest = Math.min(contextOf(this.#model.network.config, adapter), prompt.length + maxTokens);
      const capacity = roundUpToPowerOfTwo(longest + this.#tokens + 1);
      const cache = withEngine(this.#model.engine, () => this.#head.network.newCache(1, capacity));
      this.#rows.set(id, { cache, capacity, done: 0, pending: [...states] });
    }
  }

  async #draft(request: ProposalRequest): Promise<Proposal> {
    const { id, row: asked, state, most } = request;
    const row = this.#rows.get(id)!;
    const text = [...asked.prompt, ...state.generated];
    const run = new DraftRun(request);
    let step = await this.#run(row, text.slice(row.done + 1), row.pending, row.done);
    // The last pair is computed again next time, so that there is one when nothing has come of this.
    row.done = text.length - 2;
    row.pending.splice(0, row.pending.length - 1);
    for (let at = text.length - 1; run.tokens.length < Math.min(this.#tokens, most); at++) {
      const token = run.draw(step.logits);
      if (token === undefined || run.tokens.length === Math.min(this.#tokens, most)) break;
      step = await this.#run(row, [token], [step.feature], at);
    }
    return run.proposal;
  }

  /** The feature and the logits after the last of some pairs, which come behind `length` others. */
  async #run(
    row: EagleRow,
    tokens: readonly number[],
    features: readonly Float32Array[],
    length: number,
  ): Promise<{ readonly feature: Float32Array; readonly logits: Logits }> {
    const { hiddenSize } = this.#head.config;
    const width = Math.min(roundUpToPowerOfTwo(tokens.length), row.capacity - length);
    const [ids, states] = [new Int32Array(width), new Float32Array(width * hiddenSize)];
    ids.set(tokens);
    for (const [i, feature] of features.entries()) states.set(feature, i * hiddenSize);
    const { cache, feature, logits } = await this.#step(
      this.#head.weights,
      this.#head.embedding,
      this.#model.weights,
      row.cache,
      {
        tokens: tensor(ids, [1, width]),
        features: tensor(states, [1, width, hiddenSize]),
        lengths: tensor(Int32Array.of(length), [1]),
        last: tensor(Int32Array.of(tokens.length - 1), [1]),
      },
    );
    row.cache = cache;
    const [own, scores] = await Promise.all([feature.data(), logits.data()]);
    return { feature: Float32Array.from(own), logits: Float32Array.from(scores) };
  }
}
