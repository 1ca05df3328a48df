import { tensor, withEngine } from '@posttrain/core-tensor';
import { contextOf } from '../model/adapter.js';
import type { KvCache } from '../model/kv-cache.js';
import { roundUpToPowerOfTwo } from '../model/sizes.js';
import { BLOCK_SIZE } from '../runner/paged-steps.js';
import { treeInputs } from '../runner/pass-inputs.js';
import { rowsOf } from '../runner/step-memory.js';
import { hiddenStates } from '../score/hidden-states.js';
import type { EagleDraft, MakeEagleDraft } from './eagle-draft.js';
import type { EagleSteps } from './eagle-steps.js';
import { NO_PROPOSAL, type Proposal, type ProposalRequest, type Proposer, type VerifiedPass } from './proposer.js';

/** Pairs: a row that has more of them to read is read beside others of its kind. */
const LONG = 8;

/** A row as the head has it. */
interface EagleRow {
  /** Where it is in the cache. */
  readonly place: number;
  /** Pairs of a feature and the token behind it that the cache has for good; behind them are guesses. */
  done: number;
  /** Features of the tokens from `done` on. */
  readonly pending: Float32Array[];
}

/** A draft as it grows, and what the head reads next of it: tokens and features, behind `length` pairs. */
interface Drafting {
  readonly draft: EagleDraft;
  readonly row: EagleRow;
  /** Places in the draft of what has been read of a tree, which is read again with each depth: it is not in the cache. */
  readonly read: number[];
  /** f̂ after the row's last token (−1), and after each token of the draft that was read. */
  readonly states: Map<number, Float32Array>;
  length: number;
  tokens: readonly number[];
  features: readonly Float32Array[];
  parents?: readonly number[];
  /** Places in the draft that it asks about, −1 at first: the last ones of `tokens`. */
  asked: readonly number[];
}

/** Drafts with an EAGLE head for the rows of a run. */
export class EagleRun implements Proposer {
  readonly needsHidden = true;
  readonly #steps: EagleSteps;
  readonly #draft: MakeEagleDraft;
  readonly #rows = new Map<number, EagleRow>();
  /** Places of the cache that no row has. The first is for padding. */
  readonly #free: number[] = [];
  #cache: KvCache;
  /** Pairs that there is room for of each row: some blocks. */
  #capacity = BLOCK_SIZE;
  /** Rows that the cache has room for. */
  #room = 1;
  #places = 1;

  constructor(steps: EagleSteps, draft: MakeEagleDraft) {
    this.#steps = steps;
    this.#draft = draft;
    this.#cache = withEngine(steps.model.engine, () => steps.head.network.newPools(this.#capacity));
  }

  async propose(requests: readonly ProposalRequest[]): Promise<Proposal[]> {
    const able = requests.filter(({ most }) => most > 0);
    await this.#begin(able.filter((request) => !this.#knows(request)));
    const drafts = able.map((request): Drafting => {
      const row = this.#rows.get(request.id)!;
      const text = [...request.row.prompt, ...request.state.generated];
      return {
        ...{ draft: this.#draft(request, request.most), row, read: [], states: new Map(), asked: [-1] },
        ...{ tokens: text.slice(row.done + 1), features: [...row.pending], length: row.done },
      };
    });
    // Of prompts, and of few tokens: the width of a step is that of its longest row.
    const isLong = ({ tokens }: Drafting) => tokens.length > LONG;
    const groups = [drafts.filter(isLong), drafts.filter((draft) => !isLong(draft))];
    for (const group of groups) await this.#advance(group);
    for (const { row } of drafts) {
      // The last pair is computed again next time, so that there is one when nothing has come of this.
      row.done += row.pending.length - 1;
      row.pending.splice(0, row.pending.length - 1);
    }
    for (let live = drafts; live.length > 0; ) {
      for (const one of live) goOn(one);
      live = live.filter(({ asked }) => asked.length > 0);
      await this.#advance(live);
    }
    const proposals = new Map(able.map((request, i) => [request, drafts[i]!.draft.proposal]));
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
    const { model } = this.#steps;
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
    await this.#reserve(this.#places, longest);
  }

  /** Room for so many rows, and pairs of each. */
  async #reserve(rows: number, pairs: number): Promise<void> {
    const [places, capacity] = [roundUpToPowerOfTwo(rows), roundUpToPowerOfTwo(pairs)];
    const more = [Math.max(0, places - this.#room), Math.max(0, capacity - this.#capacity)] as const;
    if (more[0] + more[1] === 0) return;
    this.#cache = (await this.#steps.grow(this.#cache, this.#room, ...more)).cache;
    this.#room += more[0];
    this.#capacity += more[1];
  }

  /** Reads what is next of some rows in one step, and lets each go on from what the head says of it. */
  async #advance(drafts: readonly Drafting[]): Promise<void> {
    if (drafts.length === 0) return;
    const { head, model, step } = this.#steps;
    const most = (of: (draft: Drafting) => number) => drafts.reduce((max, draft) => Math.max(max, of(draft)), 0);
    await this.#reserve(
      this.#places,
      most(({ length, tokens }) => length + tokens.length),
    );
    const count = roundUpToPowerOfTwo(drafts.length);
    const width = roundUpToPowerOfTwo(most(({ tokens }) => tokens.length));
    const blocks = this.#capacity / BLOCK_SIZE;
    const [lengths, table, slots] = [
      new Int32Array(count),
      new Int32Array(count * blocks),
      new Int32Array(count * width),
    ];
    const places: number[] = [];
    const { hiddenSize } = head.config;
    const [tokens, features] = [new Int32Array(count * width), new Float32Array(count * width * hiddenSize)];
    for (const [i, { row, length, tokens: own, features: states, asked }] of drafts.entries()) {
      lengths[i] = length;
      for (let block = 0; block < blocks; block++) table[i * blocks + block] = row.place * blocks + block;
      for (const [t, token] of own.entries()) {
        tokens[i * width + t] = token;
        slots[i * width + t] = row.place * this.#capacity + length + t;
        features.set(states[t]!, (i * width + t) * hiddenSize);
      }
      asked.forEach((_, n) => {
        places.push(i * width + own.length - asked.length + n);
      });
    }
    const asked = new Int32Array(roundUpToPowerOfTwo(places.length));
    asked.set(places);
    const pass = drafts.map(({ parents, tokens: own }) => ({ row: { parents }, from: 0, to: own.length }));
    const tree = treeInputs(pass, count, width);
    const result = await step(head.weights, head.embedding, model.weights, this.#cache, {
      ...{
        lengths: tensor(lengths),
        asked: tensor(asked),
        table: tensor(table, [count, blocks]),
        ...(tree && { tree }),
      },
      ...{ tokens: tensor(tokens, [count, width]), slots: tensor(slots, [count, width]) },
      features: tensor(features, [count, width, hiddenSize]),
    });
    this.#cache = result.cache;
    const [logits, states] = [await rowsOf(result.logits), await rowsOf(result.features)];
    let at = 0;
    for (const one of drafts) {
      const from = at;
      for (const place of one.asked) one.states.set(place, states[at++]!.slice());
      one.asked = one.draft.next(logits.slice(from, at));
    }
  }
}

/** What is next of a draft: of a chain its last token, of a tree all of it that is asked about or was. */
function goOn(one: Drafting): void {
  const { draft, row, read, states, asked } = one;
  const { parents } = draft;
  if (!parents) {
    one.length += one.tokens.length;
    one.tokens = asked.map((place) => draft.tokens[place]!);
    one.features = [states.get(asked.length > 0 ? asked[0]! - 1 : -1)!];
    return;
  }
  const root = one.read.length > 0 ? one.tokens[0]! : one.tokens.at(-1)!;
  read.push(...asked);
  const at = new Map([[-1, 0], ...read.map((place, i) => [place, i + 1] as const)]);
  one.length = row.done;
  one.tokens = [root, ...read.map((place) => draft.tokens[place]!)];
  one.features = [row.pending[0]!, ...read.map((place) => states.get(parents[place]!)!)];
  one.parents = [-1, ...read.map((place) => at.get(parents[place]!)!)];
}
