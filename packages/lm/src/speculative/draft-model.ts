import type { RunnableModel } from '../model/network.js';
import type { CachedSequence } from '../runner/extend-inputs.js';
import { RowFollower } from '../runner/row-follower.js';
import { type Logits, tokenDistribution } from '../sampling/sampler.js';
import { TokenHistory } from '../sampling/token-history.js';
import { type DraftSchedule, nextDraftLength } from './draft-length.js';
import { NO_PROPOSAL, type Proposal, type ProposalRequest, type Proposer, type VerifiedRun } from './proposer.js';
import { type TokenDistribution, tokenAt } from './token-distribution.js';
import { positionUniforms } from './verify-proposal.js';

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
  readonly request: ProposalRequest;
  readonly sequence: CachedSequence;
  /** How many tokens it is to have; fewer where the draft knows no way on. */
  length: number;
  /** Not in the draft's cache yet. */
  pending: readonly number[];
  readonly tokens: number[];
  readonly distributions: TokenDistribution[];
  /** The row with the tokens; without a constraint, which would have to be told and untold of them. */
  readonly history: TokenHistory;
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
      const { row, state } = request;
      const history = new TokenHistory(row.prompt);
      for (const token of state.generated) history.push(token);
      return { request, ...followed[i]!, length: lengthOf(request), tokens: [], distributions: [], history };
    });
    // One token at a time is a cheaper pass than a few for the rows that had all of theirs kept.
    const behind = drafts.filter(({ pending }) => pending.length > 1);
    if (behind.length > 0) {
      await runner.extend(behind.map(({ sequence, pending }) => ({ sequence, tokens: pending.slice(0, -1) })));
      for (const draft of behind) draft.pending = draft.pending.slice(-1);
    }
    for (let live = drafts; live.length > 0; live = live.filter(({ tokens, length }) => tokens.length < length)) {
      const results = await runner.extend(live.map(({ sequence, pending }) => ({ sequence, tokens: pending })));
      live.forEach((draft, i) => {
        this.#draw(draft, results[i]!.logits[0]!);
      });
    }
    const proposals = new Map(
      drafts.map(({ request, tokens, distributions }): [number, Proposal] => {
        return [request.id, request.row.temperature === 0 ? { tokens } : { tokens, distributions }];
      }),
    );
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

  /** Undefined where the draft has nothing to propose: its numbers are not finite, or the settings leave it no token. */
  #distribution(logits: Logits, { request, history }: Drafting): TokenDistribution | undefined {
    try {
      return tokenDistribution(logits, request.row, history);
    } catch {
      return undefined;
    }
  }

  #draw(draft: Drafting, allLogits: Logits): void {
    const { row, state } = draft.request;
    const logits = allLogits.subarray(0, this.#options.vocabSize);
    const distribution = this.#distribution(logits, draft);
    if (!distribution) {
      draft.length = draft.tokens.length;
      return;
    }
    const uniforms = positionUniforms(row, state.generated.length + draft.tokens.length);
    const token = tokenAt(distribution, uniforms.draw(0));
    draft.tokens.push(token);
    draft.distributions.push(distribution);
    draft.history.push(token);
    draft.pending = [token];
  }
}
