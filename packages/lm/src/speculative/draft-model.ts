import type { RunnableModel } from '../model/network.js';
import type { CachedSequence } from '../runner/extend-inputs.js';
import { RowFollower } from '../runner/row-follower.js';
import { type DraftSchedule, nextDraftLength } from './draft-length.js';
import { DraftRun } from './draft-run.js';
import { NO_PROPOSAL, type Proposal, type ProposalRequest, type Proposer, type VerifiedRun } from './proposer.js';

export interface DraftModelOptions {
  /** Tokens to propose, or to begin with. */
  readonly tokens: number;
  readonly schedule: DraftSchedule;
  /** Ids that the target has; the draft's further ones (padding of its embedding) are never proposed. */
  readonly vocabSize: number;
  /** What the draft's cache must hold. */
  readonly cacheTokens: number;
}

/** A proposal as it grows. */
interface Drafting {
  readonly id: number;
  readonly run: DraftRun;
  readonly sequence: CachedSequence;
  /** How many tokens it is to have; fewer where the draft knows no way on. */
  length: number;
  /** Not in the draft's cache yet. */
  pending: readonly number[];
}

/**
 * A smaller model as the draft of speculative decoding: continues every row by itself, drawing with the row's own
 * settings, a pass for each further token of all rows.
 */
export class DraftModel implements Proposer {
  readonly #follower: RowFollower;
  readonly #options: DraftModelOptions;
  readonly #lengths = new Map<number, number>();

  constructor(model: RunnableModel, options: DraftModelOptions) {
    this.#follower = new RowFollower(model, options.cacheTokens);
    this.#options = options;
  }

  async propose(requests: readonly ProposalRequest[]): Promise<Proposal[]> {
    const { runner } = this.#follower;
    const context = runner.network.config.maxPositionEmbeddings;
    const lengthOf = ({ id, row, state, most }: ProposalRequest) => {
      const past = row.prompt.length + state.generated.length;
      return Math.min(this.#lengths.get(id) ?? this.#options.tokens, most, context - past + 1);
    };
    const able = requests.filter((request) => lengthOf(request) > 0);
    const followed = await this.#follower.follow(
      able.map(({ id, row, state }) => ({ id, prompt: row.prompt, generated: state.generated })),
    );
    const drafts = able.map((request, i): Drafting => {
      return { id: request.id, run: new DraftRun(request), ...followed[i]!, length: lengthOf(request) };
    });
    // One token at a time is a cheaper pass than a few for the rows that had all of theirs kept.
    const behind = drafts.filter(({ pending }) => pending.length > 1);
    if (behind.length > 0) {
      await runner.extend(behind.map(({ sequence, pending }) => ({ sequence, tokens: pending.slice(0, -1) })));
      for (const draft of behind) draft.pending = draft.pending.slice(-1);
    }
    for (let live = drafts; live.length > 0; live = live.filter(({ run, length }) => run.tokens.length < length)) {
      const results = await runner.extend(live.map(({ sequence, pending }) => ({ sequence, tokens: pending })));
      live.forEach((draft, i) => {
        const token = draft.run.draw(results[i]!.logits[0]!.subarray(0, this.#options.vocabSize));
        if (token === undefined) draft.length = draft.run.tokens.length;
        else draft.pending = [token];
      });
    }
    const proposals = new Map(drafts.map(({ id, run }) => [id, run.proposal]));
    return requests.map(({ id }) => proposals.get(id) ?? NO_PROPOSAL);
  }

  verified(id: number, { proposed, accepted }: VerifiedRun): void {
    const { schedule, tokens } = this.#options;
    this.#lengths.set(id, nextDraftLength(schedule, this.#lengths.get(id) ?? tokens, proposed, accepted));
  }

  release(id: number): void {
    this.#follower.release(id);
    this.#lengths.delete(id);
  }

  close(): void {
    this.#follower.close();
  }
}
