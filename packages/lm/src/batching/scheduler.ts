import { OutOfBlocksError } from '@posttrain/core-tensor';
import { custom, type Given, integer, options, PosttrainError } from '@posttrain/interfaces';
import { type Adapter, NO_ADAPTER, sameAdapter, sameCache } from '../model/adapter.js';
import type { ExtendInput, ExtendOptions, ExtendResult } from '../runner/extend-inputs.js';
import type { ModelRunner } from '../runner/model-runner.js';
import { BLOCK_SIZE } from '../runner/paged-steps.js';
import { commonPrefix } from '../runner/sequence.js';
import type { DecodeRow } from '../sampling/decode-row.js';
import { type DrawnToken, startRow } from '../sampling/draw-next.js';
import { asksForReport, usesSoftmax } from '../sampling/sampler.js';
import { cutProposal, NO_PROPOSAL, type Proposal, type Proposer, type VerifiedRun } from '../speculative/proposer.js';
import { verifyProposal } from '../speculative/verify-proposal.js';
import { RowMixer, type RowMixes } from './row-mixer.js';
import { type Prefill, RowRoom, type Scheduled, virtualOf } from './row-room.js';

const schedulerOptions = options('Scheduler', {
  /** Rows decoded together. Default 64. */
  maxBatch: integer({ default: 64, min: 1, decisive: false }),
  /**
   * Prompt tokens computed between two steps of the rows that are generating already: fewer make those wait less, more make
   * prompts cheaper. Default 512.
   */
  prefillTokens: integer({ default: 512, min: 1, decisive: false }),
  /** Guesses tokens that are computed together with a row's last one (speculative decoding). Default: none. */
  proposer: custom<Proposer>()('an object with propose', (value) => typeof value === 'object' && value !== null, {
    optional: true,
  }),
});
/** Options of `Scheduler`. */
export type SchedulerOptions = Given<typeof schedulerOptions>;

/** What `Scheduler.step` did for one row. */
export interface ScheduledToken extends DrawnToken {
  /** What `add` gave. */
  readonly id: number;
  /** Why the row ended with this token; undefined while it goes on. */
  readonly finish: 'stop' | 'length' | undefined;
  /** With the first token: those of the prompt that were not computed for this row. */
  readonly cachedPromptTokens?: number;
  /** The row ended without a token (`token` is −1), because none could be drawn. */
  readonly error?: unknown;
}

/** A row that could never run: it needs more of the cache than there is. */
export class CacheTooSmallError extends PosttrainError {
  constructor(needed: number, capacity: number) {
    super(
      'CACHE_TOO_SMALL',
      `the prompt and maxTokens need ${needed} tokens of the cache, which holds ${capacity}; lower maxTokens, shorten the prompt, or raise cacheTokens`,
    );
  }
}

/**
 * Continuous batching (Orca, OSDI 2022; vLLM, arXiv 2309.06180): rows join and leave between steps. A step computes a
 * piece of the waiting prompts, then one token of every row that is generating. Rows with one prompt share its
 * computation and its memory. A row begins when the cache has room for what it has and a little more; until then it waits
 * its turn. When the cache is full all the same, the row that came last is preempted: it begins again later, with what it
 * has generated (recomputation).
 */
export class Scheduler {
  #runner: ModelRunner;
  readonly #maxBatch: number;
  readonly #prefillTokens: number;
  readonly #proposer: Proposer | undefined;
  readonly #mixer: RowMixer;
  #room: RowRoom;
  #waiting: Scheduled[] = [];
  #prefills: Prefill[] = [];
  #running: Scheduled[] = [];
  #drawn: ScheduledToken[] = [];
  #proposes = true;
  #nextId = 0;

  constructor(runner: ModelRunner, given: SchedulerOptions = {}) {
    const { maxBatch, prefillTokens, proposer } = schedulerOptions.read(given);
    this.#runner = runner;
    this.#maxBatch = maxBatch;
    this.#prefillTokens = prefillTokens;
    this.#proposer = proposer;
    this.#mixer = new RowMixer(runner.network, runner.capacity);
    this.#room = new RowRoom(runner);
  }

  /** Rows that are not done. */
  get size(): number {
    return this.#waiting.length + this.active;
  }

  /** Rows that have begun and are not done. */
  get active(): number {
    return this.#running.length + this.#prefills.reduce((sum, { members }) => sum + members.length, 0);
  }

  /** Queues a checked row; its name. `isCancelled` is asked before every step. @throws CacheTooSmallError */
  add(row: DecodeRow, isCancelled: () => boolean = () => false): number {
    const needed = this.#room.mostBlocks(row) * BLOCK_SIZE;
    if (needed > this.#runner.capacity) throw new CacheTooSmallError(needed, this.#runner.capacity);
    const { adapter = NO_ADAPTER } = row;
    const id = this.#nextId++;
    const isUseful = row.mix ? asksForReport(row) : usesSoftmax(row);
    const asks = isUseful ? { temperature: row.temperature } : {};
    const begun = { sequence: undefined, hidden: undefined };
    this.#waiting.push({ id, row, adapter, asks, isCancelled, state: startRow(row), ...begun });
    return id;
  }

  /** Computes the next tokens of some or all rows. Rows that ended or were cancelled have given back their room after it. */
  async step(): Promise<ScheduledToken[]> {
    this.dropCancelled();
    this.#admit();
    if (this.#prefills.length > 0) this.#drawn.push(...(await this.#prefill()));
    this.#drawn.push(...(await this.#decode(this.#drawn)));
    return this.takeDrawn();
  }

  /** Undelivered tokens: drawn in a step that failed after them. */
  takeDrawn(): ScheduledToken[] {
    return this.#drawn.splice(0);
  }

  /**
   * Goes on in another runner when a step has failed: all rows begin again with what they have. Those with the adapter that
   * is to blame do not; gives their names.
   */
  restart(runner: ModelRunner, blamed?: Adapter): number[] {
    const begun = [...this.#running, ...this.#prefills.flatMap(({ members }) => members)].sort((a, b) => a.id - b.id);
    for (const one of begun) one.sequence = undefined;
    [this.#prefills, this.#running, this.#runner, this.#room] = [[], [], runner, new RowRoom(runner)];
    const all = [...begun, ...this.#waiting];
    const ended = blamed ? all.filter(({ adapter }) => sameAdapter(adapter, blamed)) : [];
    this.#waiting = all.filter((one) => !ended.includes(one));
    for (const one of ended) this.#end(one);
    return ended.map(({ id }) => id);
  }

  /** Gives back all room; no row goes on. */
  close(): void {
    for (const { sequence } of this.#prefills) this.#runner.release(sequence);
    for (const one of this.#running) this.#end(one);
    this.#mixer.close();
    this.#waiting.length = 0;
    [this.#prefills, this.#running] = [[], []];
  }

  /** Rows that were cancelled end, and give back their room. */
  dropCancelled(): void {
    const keep = (list: readonly Scheduled[]) => {
      const [kept, gone]: [Scheduled[], Scheduled[]] = [[], []];
      for (const one of list) (one.isCancelled() ? gone : kept).push(one);
      return { kept, gone };
    };
    // Thousands may wait.
    if (this.#waiting.some(({ isCancelled }) => isCancelled())) this.#waiting = keep(this.#waiting).kept;
    const { kept, gone } = keep(this.#running);
    this.#running = kept;
    for (const one of gone) this.#end(one);
    this.#prefills = this.#prefills.filter((prefill) => {
      const { kept: members, gone: left } = keep(prefill.members);
      prefill.members.splice(0, Infinity, ...members);
      for (const one of left) this.#end(one);
      if (members.length === 0) this.#runner.release(prefill.sequence);
      return members.length > 0;
    });
  }

  /** Lets rows begin in the order they came, as long as there is room. */
  #admit(): void {
    // When more wait than there is room for, they come in groups: prompts are cheaper together, and between two groups the rows
    // that generate stay the same.
    const places = this.#maxBatch - this.active;
    if (this.active > 0 && this.#waiting.length > places && places < this.#maxBatch / 4) return;
    while (this.#waiting.length > 0 && this.active < this.#maxBatch) {
      const [next] = this.#waiting as [Scheduled];
      const tokens = [...next.row.prompt, ...next.state.generated.slice(0, -1)];
      const known = this.#prefills.find(
        (prefill) => sameCache(prefill.adapter, next.adapter) && sameTokens(prefill.tokens, tokens),
      );
      const blocks = known ? 0 : Math.ceil((virtualOf(next.adapter) + tokens.length) / BLOCK_SIZE);
      if (
        this.active > 0 &&
        blocks + this.#room.blocksAhead(next) > this.#room.freeBlocks(this.#prefills, this.#running)
      )
        return;
      this.#waiting.shift();
      if (known) known.members.push(next);
      else {
        const sequence = this.#runner.start(tokens, next.adapter);
        const began = { sequence, found: sequence.length, isHeld: false };
        this.#prefills.push({ tokens, adapter: next.adapter, members: [next], ...began });
      }
    }
  }

  /**
   * Holds back prompts that begin as one before them does which is being computed, so that what they share is computed once;
   * what was held takes what there is of it by now. The first is never held.
   */
  #hold(): void {
    for (const [i, prefill] of this.#prefills.entries()) {
      // Beginning late costs a pass; having waited, the rest of what is shared comes with the next one anyway.
      const least = prefill.isHeld ? 1 : BLOCK_SIZE;
      if (prefill.isHeld) {
        this.#runner.release(prefill.sequence);
        prefill.sequence = this.#runner.start(prefill.tokens, prefill.adapter);
        prefill.found = prefill.sequence.length;
      } else if (prefill.sequence.length > prefill.found) continue;
      prefill.isHeld = this.#prefills.slice(0, i).some((other) => {
        const { length } = prefill.sequence;
        const most = Math.min(other.tokens.length, prefill.tokens.length - 1);
        if (most - length < least || !sameCache(other.adapter, prefill.adapter)) return false;
        return commonPrefix(other.tokens, prefill.tokens, most) - length >= least;
      });
    }
  }

  /**
   * Preemption by recomputation (as vLLM): the row that came last begins again later. False where only one is left, which has
   * the whole cache.
   */
  #giveWay(): boolean {
    const { length } = this.#prefills;
    if (length > 1 || (length === 1 && this.#running.length > 0)) {
      const { sequence, members } = this.#prefills.pop()!;
      this.#runner.release(sequence);
      this.#waiting.unshift(...members);
      return true;
    }
    if (this.#running.length < 2) return false;
    const last = this.#running.reduce((a, b) => (a.id > b.id ? a : b));
    this.#remove(last);
    last.sequence = undefined;
    this.#waiting.unshift(last);
    return true;
  }

  /** Chunked prefill: computes a piece of the prompts, first come first served; draws the first tokens of those that are whole. */
  async #prefill(): Promise<ScheduledToken[]> {
    let room = this.#prefillTokens;
    const pieces: { prefill: Prefill; tokens: readonly number[] }[] = [];
    this.#hold();
    for (const prefill of this.#prefills) {
      if (room === 0) break;
      if (prefill.isHeld) continue;
      const { length } = prefill.sequence;
      const tokens = prefill.tokens.slice(length, length + room);
      room -= tokens.length;
      pieces.push({ prefill, tokens });
    }
    const inputs = pieces.map(({ prefill: { sequence, adapter, members }, tokens }) => {
      // Samples of one prompt ask the same as a rule; where not, each computes its own softmax.
      const [first, ...others] = members.map(({ asks }) => asks.temperature);
      const isShared = first !== undefined && others.every((other) => other === first);
      return { sequence, tokens, adapter, ...(isShared ? { temperature: first } : {}) };
    });
    const first = pieces.flatMap(({ prefill, tokens }) => {
      const isWhole = prefill.sequence.length + tokens.length === prefill.tokens.length;
      return isWhole ? prefill.members.filter(({ state }) => state.generated.length === 0) : [];
    });
    const computed = await this.#unlessFull(() => this.#compute(first, inputs, { hidden: this.#needsHidden }));
    if (!computed) return [];
    const { results, mixes } = computed;
    const drawn: ScheduledToken[] = [];
    for (const [i, { prefill }] of pieces.entries()) {
      const { tokens, sequence, found, members } = prefill;
      if (sequence.length < tokens.length) continue;
      this.#prefills.splice(this.#prefills.indexOf(prefill), 1);
      for (const [k, member] of members.entries()) {
        member.sequence = this.#runner.fork(sequence);
        member.hidden = results[i]!.hidden?.[0]?.slice();
        this.#running.push(member);
        if (member.state.generated.length > 0) continue;
        const cachedPromptTokens = k === 0 ? found : tokens.length;
        drawn.push(...this.#draw(member, results[i]!, mixes).map((token) => ({ ...token, cachedPromptTokens })));
      }
      this.#runner.release(sequence);
    }
    return drawn;
  }

  /** Decode step: the next token of every row that generates, and the proposed ones; not of rows that have just had their first. */
  async #decode(first: readonly ScheduledToken[]): Promise<ScheduledToken[]> {
    const fresh = new Set(first.map(({ id }) => id));
    for (;;) {
      const rows = this.#running.filter(({ id }) => !fresh.has(id));
      if (rows.length === 0) return [];
      const drawn = await this.#unlessFull(() => this.#decodeRows(rows));
      if (drawn) return drawn;
    }
  }

  async #decodeRows(rows: readonly Scheduled[]): Promise<ScheduledToken[]> {
    const proposals = await this.#propose(rows);
    const inputs = rows.map(({ sequence, state, adapter, asks }, i) => {
      const { tokens, parents } = proposals[i]!;
      return {
        ...{ sequence: sequence!, tokens: [state.generated.at(-1)!, ...tokens], adapter, ...asks },
        ...(parents && { parents: [-1, ...parents.map((parent) => parent + 1)] }),
      };
    });
    const room = Math.max(
      ...rows.map(({ row }) => virtualOf(row.adapter) + row.prompt.length + this.#room.mostTokens(row)),
    );
    const { results, mixes } = await this.#compute(rows, inputs, { logits: 'all', hidden: this.#needsHidden, room });
    return rows.flatMap((one, i) => this.#draw(one, results[i]!, mixes, proposals[i]));
  }

  /** A pass, and what rows which draw after it are mixed with. */
  async #compute(rows: readonly Scheduled[], inputs: readonly ExtendInput[], options: ExtendOptions) {
    // These first: they can be asked again when there is no room for the pass.
    const mixes = await this.#mixer.mixesOf(rows);
    return { mixes, results: await this.#runner.extend(inputs, { ...options, innerLayers: mixes.innerLayers }) };
  }

  /** Undefined where there was no room, which has been made now. */
  async #unlessFull<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof OutOfBlocksError) || !this.#giveWay()) throw error;
      return undefined;
    }
  }

  async #propose(rows: readonly Scheduled[]): Promise<readonly Proposal[]> {
    if (!this.#proposer || !this.#proposes) return rows.map(() => NO_PROPOSAL);
    // What a mix would make of a proposal is not known.
    const asked = rows.filter(({ row }) => !row.mix);
    try {
      const proposals = await this.#proposer.propose(
        asked.map(({ id, row, state, hidden }) => ({
          ...{ id, row, state, ...(hidden && { hidden }) },
          // A pass gives one token more than was proposed.
          most: this.#room.mostTokens(row) - state.generated.length - 1,
        })),
      );
      const known = new Map(asked.map((one, i) => [one, cutProposal(proposals[i]!, this.#room.ofProposal(one))]));
      return rows.map((one) => known.get(one) ?? NO_PROPOSAL);
    } catch (error) {
      if (error instanceof OutOfBlocksError) throw error;
      // Only the speed depends on it.
      this.#proposes = false;
      process.emitWarning(`speculative decoding: the draft failed, so rows go on without it: ${error}`);
      return rows.map(() => NO_PROPOSAL);
    }
  }

  #draw(one: Scheduled, results: ExtendResult, mixes: RowMixes, proposal?: Proposal): ScheduledToken[] {
    const { id, row, state } = one;
    // The row's last token, and what was guessed after it.
    const before = one.sequence!.length - (proposal ? 1 + proposal.tokens.length : 0);
    const finishOf = (token: number) => {
      if (row.isEnd(token) || state.isExhausted) return 'stop';
      return state.generated.length >= this.#room.mostTokens(row) ? 'length' : undefined;
    };
    let run: VerifiedRun;
    try {
      const scores = results.logits.map((logits, i) => ({
        ...{ logits, softmax: results.softmax?.[i] },
        mixed: mixes.mixed(one, logits, results.inner?.[i]),
      }));
      run = verifyProposal(row, state, proposal ?? NO_PROPOSAL, scores, (token) => finishOf(token) !== undefined);
    } catch (error) {
      this.#runner.truncate(one.sequence!, before);
      // What is wrong with one row is not the others' affair.
      this.#remove(one);
      return [{ id, token: -1, finish: 'stop', error }];
    }
    const finish = finishOf(run.drawn.at(-1)!.token);
    // The last token drawn is computed with the next pass; what was guessed wrongly is forgotten.
    if (proposal) {
      this.#runner.keep(one.sequence!, before, [0, ...run.path.map((place) => place + 1)]);
      one.hidden = results.hidden?.[(run.path.at(-1) ?? -1) + 1]?.slice();
      const { logits, hidden } = results;
      this.#proposer?.verified?.(id, { ...run, logits, ...(hidden && { hidden }) });
    }
    if (finish) this.#remove(one);
    return run.drawn.map((drawn, i) => ({ id, ...drawn, finish: i === run.drawn.length - 1 ? finish : undefined }));
  }

  get #needsHidden(): boolean {
    return this.#proposes && this.#proposer?.needsHidden === true;
  }

  #remove(one: Scheduled): void {
    this.#running.splice(this.#running.indexOf(one), 1);
    this.#end(one);
  }

  #end({ id, sequence }: Scheduled): void {
    this.#proposer?.release(id);
    this.#mixer.release(id);
    if (sequence) this.#runner.release(sequence);
  }
}

const sameTokens = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((token, i) => token === b[i]);
