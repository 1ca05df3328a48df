import { join } from 'node:path';
import { referenceEngine } from '@posttrain/core-tensor';
import { onEngine } from '@posttrain/core-tensor/testing';
import { accuracy, evaluate, metricOf } from '@posttrain/eval';
import { CausalLM, LocalGenerator, LocalScorer, SequenceClassifier, TokenClassifier } from '@posttrain/lm';
import { policyObjectives, trainPolicy } from '@posttrain/rl';
import { distill, rewardModelLosses, trainRewardModel } from '@posttrain/training';
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

describe('what is trained under the other packages', () => {
  const drills = Array.from({ length: 40 }, (_, i) => {
    const [a, b] = [10 + ((7 * i) % 40), 1 + ((11 * i) % 9)];
    return { prompt: `7+8=15\n20+30=50\n${a}+${b}=`, right: `${a + b}`, wrong: `${a + b + [-3, 2, 10, 5][i % 4]!}` };
  });
  const learning = { learningRate: 1e-3, epochs: 4, batchSize: 16, onWarning: () => {} };

  it('a reward model of sums leads a search of tts, and is the reward of a policy', async () => {
    const { trainer, history } = await trainRewardModel({
      ...{ model: await SequenceClassifier.fromCausalLM(model, { seed: 1 }), ...learning },
      rows: drills.slice(0, 32).map(({ prompt, right, wrong }) => ({ prompt, chosen: right, rejected: wrong })),
      evaluationRows: drills.slice(32).map(({ prompt, right, wrong }) => ({ prompt, chosen: right, rejected: wrong })),
    });
    expect(history.at(-2)!.metrics.loss!).toBeLessThan(history[0]!.metrics.loss! / 2);
    expect(history.at(-1)!.metrics.eval_accuracy!).toBeGreaterThan(0.5);
    const verifier = trainer.model.verifier();
    const [{ prompt }] = drills as [(typeof drills)[number]];
    const found = await bestOfN(
      { prompt },
      {
        ...{ generator: new LocalGenerator(model), verifier, n: 8, extractAnswer: firstNumber },
        sampling: { maxTokens: 3, stop: ['\n'], temperature: 2, seed: 2 },
      },
    );
    const texts = found.trace.nodes.flatMap(({ text }) => text ?? []);
    const scores = (await verifier.verify(texts.map((completion) => ({ prompt, completion })))).map(
      ({ score }) => score!,
    );
    expect(new Set(texts).size).toBeGreaterThan(1);
    expect(found.score).toBeCloseTo(Math.max(...scores), 4);

    const { history: steps } = await trainPolicy({
      ...{ model, rows: [{ prompt }], rewards: { verifier }, objective: policyObjectives.grpo(), steps: 1 },
      ...{ promptsPerStep: 1, completionsPerPrompt: 4, maxCompletionLength: 3, learningRate: 1e-4 },
    });
    expect(steps[0]!.metrics.reward!).toBeLessThan(Math.max(...scores) + 1e-3);
    expect(steps[0]!.metrics.reward_std!).toBeGreaterThan(0);
  });

  it('a reward model of steps leads a search over steps', async () => {
    const { trainer } = await trainRewardModel({
      ...{ model: await TokenClassifier.fromCausalLM(model, { seed: 1 }), ...learning },
      rows: drills.map(({ prompt, right, wrong }, i) => ({
        ...{ prompt, completions: i % 2 ? [right] : [wrong], labels: [i % 2 === 1] },
      })),
      loss: rewardModelLosses.process(),
    });
    const verifier = trainer.model.verifier({ stepTag: '\n', stepDelimiter: '\n' });
    const found = await stepBeamSearch(problem, {
      ...{ generator: new LocalGenerator(model), verifier, n: 4, beamWidth: 2, maxSteps: 2, stop: ['\n'] },
      ...{ sampling: { maxTokens: 6, seed: 5 }, extractAnswer: firstNumber },
    });
    const [verdict] = await verifier.verify([{ prompt: problem.prompt, completion: found.text }]);
    expect(found.score).toBeCloseTo(verdict!.score!, 4);
    expect(verdict!.stepScores!.length).toBeGreaterThan(0);
  });

  it('a student of other weights comes to say what its teacher says', async () => {
    const weaker = model.withWeights(
      Object.fromEntries(
        Object.entries(model.weights).map(([name, w]) => [name, name.includes('norm') ? w : w.mul(0.7)]),
      ),
    );
    const prompts = drills.map(({ prompt }) => ({ prompt }));
    const { history } = await distill({
      ...{ model: weaker, teacher: model, rows: prompts.slice(0, 24), evaluationRows: prompts.slice(24, 32) },
      ...{ lmbda: 1, beta: 1, maxCompletionLength: 3, evaluateOnStart: true },
      ...{ learningRate: 2e-4, epochs: 2, batchSize: 8, onWarning: () => {} },
    });
    expect(history.at(-1)!.metrics.eval_loss!).toBeLessThan(history[0]!.metrics.eval_loss! / 2);
  });
});
