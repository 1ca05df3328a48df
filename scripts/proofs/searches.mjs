// The door of searches: over the steps of a local model and of a script, by process verifiers, within a budget.
import assert from 'node:assert/strict';
import { LocalGenerator } from '@posttrain/lm';
import { functionVerifier, graphOfThoughts, mcts, stepBeamSearch } from '@posttrain/tts';
import { testStrategy } from '@posttrain/tts/testing';
import { it, proof } from './proof.mjs';
import { END, tinyModel } from './tiny.mjs';

/** How many letters are vowels, step by step: a process verifier. */
const share = (text) => [...text].filter((letter) => 'aeiou'.includes(letter)).length / Math.max(1, text.length);
const verifier = {
  name: 'vowels, step by step',
  verify: async (requests) =>
    requests.map(({ completion }) => {
      const stepScores = completion.split('\n').map(share);
      return { score: stepScores.at(-1), stepScores };
    }),
};
const sampling = { maxTokens: 24, temperature: 1, seed: 3, logitBias: { [END]: 2 } };
const problem = { prompt: 'a' };

const searches = {
  'step beam search with a process verifier': (shared) =>
    stepBeamSearch(problem, {
      ...shared,
      verifier,
      n: 4,
      beamWidth: 2,
      stop: ['e', 'i'],
      maxSteps: 3,
      aggregation: 'min',
    }),
  'Monte Carlo tree search': (shared) =>
    mcts(problem, { ...shared, verifier, n: 6, width: 2, stop: ['e', 'i'], maxDepth: 3, simulation: 'value' }),
  'graph of thoughts': (shared) =>
    graphOfThoughts(problem, {
      ...{ ...shared, n: 4, keep: 2, aggregates: 2, refinements: 1 },
      verifier: functionVerifier('vowels', ({ completion }) => share(completion)),
      aggregatePrompt: (thoughts) => thoughts.join(' '),
      refinePrompt: (thought) => thought,
    }),
};
for (const [name, search] of Object.entries(searches)) {
  proof(`${name} is the same again, and keeps to its budget`, async () => {
    const generator = new LocalGenerator(await tinyModel());
    const budget = { maxCompletions: 40, maxCompletionTokens: 1000 };
    const [one, other] = [await search({ generator, sampling, budget }), await search({ generator, sampling, budget })];
    assert.equal(one.text, other.text);
    assert.equal(one.exhausted, null);
    assert.ok(one.score >= 0 && one.trace.spent.completionTokens <= 1000);
    const small = await search({ generator, sampling, budget: { maxCompletions: 6 } }).catch((error) => error);
    assert.ok(small.trace.spent.completions <= 6);
  });
}

testStrategy(it, 'mcts', mcts, (kit) => ({ ...kit, width: 2, stop: ['\n'] }));
