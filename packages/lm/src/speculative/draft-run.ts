import { type Logits, tokenDistribution } from '../sampling/sampler.js';
import { TokenHistory } from '../sampling/token-history.js';
import type { Proposal, ProposalRequest } from './proposer.js';
import { type TokenDistribution, tokenAt } from './token-distribution.js';
import { positionUniforms } from './verify-proposal.js';

/** A chain of tokens that a draft draws one after the other, with the row's own settings. */
export class DraftRun {
  readonly tokens: number[] = [];
  readonly #request: ProposalRequest;
  readonly #distributions: TokenDistribution[] = [];
  /** The row with the tokens; without a constraint, which would have to be told and untold of them. */
  readonly #history: TokenHistory;

  constructor(request: ProposalRequest) {
    const { row, state } = request;
    this.#request = request;
    this.#history = new TokenHistory(row.prompt);
    for (const token of state.generated) this.#history.push(token);
  }

  /** The next token; undefined where there is none: the numbers are not finite, or the settings leave no token. */
  draw(logits: Logits): number | undefined {
    const { row, state } = this.#request;
    let distribution: TokenDistribution;
    try {
      distribution = tokenDistribution(logits, row, this.#history);
    } catch {
      return undefined;
    }
    const uniforms = positionUniforms(row, state.generated.length + this.tokens.length);
    const token = tokenAt(distribution, uniforms.draw(0));
    this.tokens.push(token);
    this.#distributions.push(distribution);
    this.#history.push(token);
    return token;
  }

  get proposal(): Proposal {
    const { tokens } = this;
    return this.#request.row.temperature === 0 ? { tokens } : { tokens, distributions: this.#distributions };
  }
}
