import { join } from 'node:path';
import { referenceEngine } from '@posttrain/core-tensor';
import { onEngine } from '@posttrain/core-tensor/testing';
import { accuracy, evaluate, metricOf } from '@posttrain/eval';
import { CausalLM, LocalGenerator, LocalScorer } from '@posttrain/lm';
import { bestOfN, functionVerifier, majorityVote, stepBeamSearch } from '@posttrain/tts';
import { beforeAll, describe, expect, it } from 'vitest';

let model: CausalLM;
beforeAll(async () => {
  model = await CausalLM.load(join(import.meta.dirname, '..', 'pretrain-tiny', 'model'));
});

/** The start of a drill, which the base model goes on with. */
const problem = { prompt: '7+8=15\n20+30=50\n40+5=' };
const firstNumber = (text: string) => /^\d+/.exec(text)?.[0] ?? null;

describe('a local model under the other packages', () => {
  it('is searched by tts: votes and scores are of the very samples that were drawn', async () => {
    const sampling = { maxTokens: 4, stop: ['\n'], seed: 5 };
    const options = { generator: new LocalGenerator(model), n: 12, sampling, extractAnswer: firstNumber };
    const vote = await majorityVote(problem, options);
    expect(vote.answer).toBe('45');
    expect(vote.votes.reduce((sum, { weight }) => sum + weight, 0)).toBeLessThanOrEqual(12);
    const largest = functionVerifier('largest', ({ completion }) => Number(firstNumber(completion) ?? 0));
    const best = await bestOfN(problem, { ...options, verifier: largest });
    const answers = best.trace.nodes.flatMap(({ text }) =>
      text === undefined ? [] : [Number(firstNumber(text) ?? 0)],
    );
    expect(best.score).toBe(Math.max(...answers));
  });

  it('is searched step by step: the same tree in one batch and in calls of one completion, on an engine of doubles', () =>
    onEngine(referenceEngine(), async () => {
      const local = await CausalLM.load(join(import.meta.dirname, '..', 'pretrain-tiny', 'model'));
      const verifier = functionVerifier('in order', ({ completion }) => 1 / (1 + completion.length));
      const search = async (batchSize?: number) => {
        const { trace, text } = await stepBeamSearch(problem, {
          ...{ generator: new LocalGenerator(local), verifier, n: 4, beamWidth: 2, maxSteps: 2, stop: ['\n'] },
          ...{ sampling: { maxTokens: 6, seed: 5 }, extractAnswer: firstNumber },
          ...(batchSize === undefined ? {} : { batchSize }),
        });
        return { text, nodes: trace.nodes };
      };
      const together = await search();
      expect(together.nodes.some(({ stop }) => stop === '\n')).toBe(true);
      expect(await search(1)).toEqual(together);
    }));

  it('is scored by eval: it knows which of four results is right', async () => {
    const rows = [
      { prompt: '7+8=15\n20+30=50\n40+5=', choices: ['45', '54', '35', '46'], gold: 0 },
      { prompt: '7+8=15\n20+30=50\n11+22=', choices: ['23', '34', '33', '43'], gold: 2 },
      { prompt: '7+8=15\n20+30=50\n60+17=', choices: ['87', '77', '76', '67'], gold: 1 },
    ];
    const result = await evaluate(
      {
        type: 'multiple_choice',
        name: 'sums',
        dataset: rows,
        prompt: (row) => row.prompt,
        choices: (row) => row.choices,
        gold: (row) => row.gold,
        delimiter: '',
        metrics: [accuracy()],
      },
      new LocalScorer(model),
    );
    expect(metricOf(result, 'acc').value).toBe(1);
  });
});
