import assert from 'node:assert/strict';
import { sequenceLogProbs } from '../score/token-log-probs.js';
import type { Proposal, ProposalRequest, Proposer } from '../speculative/proposer.js';
import type { ProposerRun } from '../speculative/speculative-decoding.js';
import { probabilityOf } from '../speculative/token-distribution.js';
import { assertDistribution, kitModel, kitRow, runRows, tokensOf } from './kit-run.js';

/** Options of `testProposer`. */
export interface TestProposerOptions {
  /** Whether some of what it proposes must be kept: that of a model with random weights may be good for nothing. Default true. */
  readonly accepts?: boolean;
}

const PROMPTS = [[1], [0, 2, 1, 2, 0, 2, 1, 2, 0], [2, 2], [1], [0, 1, 2, 0, 1, 2, 0, 1]];
const VOCABULARY = 3;
const TOKENS = 4;
const SAMPLES = 1000;

/**
 * Registers the checks that every proposer of speculative decoding must pass, with the test function of any framework:
 * `testProposer(it, 'lookahead', (run) => new Lookahead(run.model))`. They run on the current engine.
 *
 * - greedy rows get the tokens that they get without it, whatever they are batched with;
 * - sampled completions have the model's own distribution, over all completions of a small vocabulary;
 * - a row gets the same in any batch;
 * - proposals are trees of tokens, no deeper than is of use, drawn from what they say they were;
 * - rows end where they end without it, and every row is released once.
 */
export function testProposer(
  it: (name: string, body: () => Promise<void>) => void,
  name: string,
  make: (run: ProposerRun) => Proposer,
  { accepts = true }: TestProposerOptions = {},
): void {
  it(`${name} changes no greedy token`, async () => {
    for (const [vocabulary, seed] of [
      [VOCABULARY, 1],
      [40, 2],
    ] as const) {
      const model = await kitModel(vocabulary, seed);
      const rows = PROMPTS.map((prompt, i) => kitRow(prompt, 20 - i));
      const plain = await runRows(model, rows);
      let kept = 0;
      const counting = watched(make, {
        verified: (accepted) => {
          kept += accepted;
        },
      });
      for (const maxBatch of [64, 2]) {
        const events = await runRows(model, rows, { proposer: counting, maxBatch });
        assert.deepEqual(tokensOf(events), tokensOf(plain), 'the tokens differ');
        assert.deepEqual(
          events.map((list) => list.at(-1)!.finish),
          plain.map((list) => list.at(-1)!.finish),
        );
      }
      if (accepts && vocabulary === VOCABULARY) assert.ok(kept > 0, 'nothing that it proposed was kept');
    }
  });

  it(`${name} leaves sampled completions the model’s own distribution`, async () => {
    const model = await kitModel(VOCABULARY, 3);
    const all = Array.from({ length: VOCABULARY ** TOKENS }, (_, i) =>
      Array.from({ length: TOKENS }, (_, t) => Math.floor(i / VOCABULARY ** t) % VOCABULARY),
    );
    const prompt = PROMPTS[1]!;
    const temperature = 0.8;
    const scored = await sequenceLogProbs(
      model,
      all.map((tokens) => [...prompt, ...tokens]),
      { temperature },
    );
    const probabilities = scored.map(({ logProbs }) => Math.exp(logProbs.slice(-TOKENS).reduce((a, b) => a + b, 0)));
    const rows = Array.from({ length: SAMPLES }, (_, seed) => kitRow(prompt, TOKENS, seed, { temperature }));
    const counts = new Map<string, number>();
    for (const tokens of tokensOf(await runRows(model, rows, { proposer: make, maxBatch: 256 }))) {
      counts.set(tokens.join(), (counts.get(tokens.join()) ?? 0) + 1);
    }
    assertDistribution(
      all.map((tokens) => counts.get(tokens.join()) ?? 0),
      probabilities,
      name,
    );
  });

  it(`${name} gives a row the same in any batch`, async () => {
    const model = await kitModel(40, 2);
    const rows = PROMPTS.map((prompt, seed) => kitRow(prompt, 12, seed, { temperature: 0.9, topK: 12 }));
    const together = tokensOf(await runRows(model, rows, { proposer: make }));
    for (const [i, row] of rows.entries()) {
      assert.deepEqual(tokensOf(await runRows(model, [row], { proposer: make }))[0], together[i]);
    }
  });

  it(`${name} proposes trees that are of use, and is told the end of every row`, async () => {
    const model = await kitModel(VOCABULARY, 1);
    const seen = new Set<number>();
    let wrong: { readonly error: unknown } | undefined;
    const released = new Map<number, number>();
    const checking = watched(make, {
      proposed: (request, proposal) => {
        seen.add(request.id);
        try {
          assertProposal(request, proposal, VOCABULARY);
        } catch (error) {
          // A row goes on without a proposer that has failed.
          wrong ??= { error };
        }
      },
      released: (id) => released.set(id, (released.get(id) ?? 0) + 1),
    });
    const settings = [{}, { temperature: 1 }, { temperature: 0.7, topK: 2 }, { isEnd: (token: number) => token === 2 }];
    const rows = settings.flatMap((overrides, i) =>
      PROMPTS.map((prompt, n) => kitRow(prompt, 1 + 5 * n, i, overrides)),
    );
    await runRows(model, rows, { proposer: checking });
    if (wrong) throw wrong.error;
    for (const id of seen) assert.equal(released.get(id), 1, `row ${id} was released ${released.get(id) ?? 0} times`);
  });
}

/** A proposer that is looked at. */
function watched(
  make: (run: ProposerRun) => Proposer,
  on: {
    readonly proposed?: (request: ProposalRequest, proposal: Proposal) => void;
    readonly verified?: (accepted: number) => void;
    readonly released?: (id: number) => void;
  },
): (run: ProposerRun) => Proposer {
  return (run) => {
    const proposer = make(run);
    return {
      needsHidden: proposer.needsHidden ?? false,
      async propose(requests) {
        for (const { hidden } of requests) {
          if (proposer.needsHidden) assert.equal(hidden?.length, run.model.config.hiddenSize);
        }
        const proposals = await proposer.propose(requests);
        assert.equal(proposals.length, requests.length, 'one proposal per request');
        requests.forEach((request, i) => {
          on.proposed?.(request, proposals[i]!);
        });
        return proposals;
      },
      verified(id, verified) {
        on.verified?.(verified.accepted);
        proposer.verified?.(id, verified);
      },
      release(id) {
        on.released?.(id);
        proposer.release(id);
      },
      close: () => proposer.close(),
    };
  };
}

function assertProposal({ most }: ProposalRequest, proposal: Proposal, vocabulary: number): void {
  const { tokens, parents = tokens.map((_, i) => i - 1), distributions } = proposal;
  assert.equal(parents.length, tokens.length, 'one parent a token');
  const depths: number[] = [];
  for (const [i, token] of tokens.entries()) {
    assert.ok(Number.isInteger(token) && token >= 0 && token < vocabulary, `${token} is no token`);
    const parent = parents[i]!;
    assert.ok(Number.isInteger(parent) && parent >= -1 && parent < i, 'a parent comes before its children');
    depths.push((depths[parent] ?? 0) + 1);
  }
  assert.ok(
    depths.every((depth) => depth <= most),
    `more than ${most} tokens one after the other`,
  );
  if (!distributions) return;
  assert.equal(distributions.length, tokens.length, 'one distribution a token');
  for (const [i, distribution] of distributions.entries()) {
    const total = distribution.probabilities.reduce((a, b) => a + b, 0);
    assert.ok(Math.abs(total - 1) < 1e-6, `probabilities add up to ${total}`);
    assert.ok(probabilityOf(distribution, tokens[i]!) > 0, 'a token that its distribution does not have');
    assert.ok(
      distribution.tokens.every((token, n) => n === 0 || token > distribution.tokens[n - 1]!),
      'tokens rise',
    );
  }
}
