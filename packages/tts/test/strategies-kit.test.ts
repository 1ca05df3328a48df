import { describe, expect, it } from 'vitest';
import {
  bestOfN,
  graphOfThoughts,
  majorityVote,
  mcts,
  Search,
  type Strategy,
  stepBeamSearch,
  type VerifiedStrategyOptions,
  weightedBestOfN,
} from '../src/index.js';
import { type KitOptions, testStrategy } from '../src/testing/index.js';

describe('the kit', () => {
  testStrategy(it, 'bestOfN', bestOfN, (kit) => kit);
  testStrategy(it, 'weightedBestOfN', weightedBestOfN, (kit) => kit);
  testStrategy(it, 'majorityVote', majorityVote, ({ verifier: _, ...kit }) => kit);
  testStrategy(it, 'stepBeamSearch', stepBeamSearch, (kit) => ({ ...kit, beamWidth: 2, stop: ['\n'] }));
  testStrategy(it, 'mcts with rollouts', mcts, (kit) => ({ ...kit, width: 2, stop: ['\n'] }));
  testStrategy(it, 'mcts with values', mcts, (kit) => ({
    ...kit,
    width: 3,
    stop: ['\n'],
    simulation: 'value' as const,
  }));
  testStrategy(it, 'graphOfThoughts', graphOfThoughts, (kit) => ({
    ...{ ...kit, keep: 3, aggregates: 2, refinements: 2, refinementWidth: 2 },
    aggregatePrompt: (thoughts) => `Together: ${thoughts.join(' ')}`,
    refinePrompt: (thought) => `Better: ${thought}`,
  }));
});

describe('the kit finds', () => {
  /** The names of the checks that a strategy does not pass. */
  async function failures(strategy: Strategy<VerifiedStrategyOptions>): Promise<string[]> {
    const checks: [string, () => Promise<void>][] = [];
    testStrategy(
      (name, body) => checks.push([name.slice('it '.length), body]),
      'it',
      strategy,
      (kit: KitOptions) => kit,
    );
    const failed: string[] = [];
    for (const [name, body] of checks) await body().catch(() => failed.push(name));
    return failed;
  }
  const chosen = (search: Search, nodes: Awaited<ReturnType<Search['draw']>>) => {
    if (!nodes[0]) throw search.nothing('nothing');
    return search.finish(nodes[0]);
  };

  it('nothing in a strategy that is in order', async () => {
    expect(
      await failures(async (problem, options) => {
        const search = new Search('fine', problem, options, ['verifier']);
        return chosen(search, await search.draw());
      }),
    ).toEqual([]);
  });

  it('who asks the generator past the search', async () => {
    const failed = await failures(async (problem, options) => {
      const search = new Search('past', problem, options, ['verifier']);
      await options.generator.generate([{ prompt: problem.prompt, n: 1 }]);
      return chosen(search, await search.draw());
    });
    expect(failed).toEqual([
      'never exceeds a budget',
      'is charged for calls that fail, and tried again only within the budget',
      'ends with the caller’s signal, and leaves nothing running',
    ]);
  });

  it('who goes by what was faster', async () => {
    let runs = 0;
    const failed = await failures(async (problem, options) => {
      const search = new Search('racing', problem, options, ['verifier']);
      const nodes = await search.expand(search.root, { n: 2 + (runs++ % 2) });
      return chosen(search, nodes);
    });
    expect(failed).toEqual(['finds the same tree at any concurrency and with any delays']);
  });
});
