// The door of advantages and rollouts: a critic with GAE, a greedy baseline, tools in several turns, and restarts.
import assert from 'node:assert/strict';
import { ValueModel } from '@posttrain/lm';
import {
  adaptiveKl,
  cosineLength,
  lagrangian,
  languageConsistency,
  leaveOneOut,
  multiTurn,
  policyObjectives,
  pretrainingLoss,
  rejectMismatch,
  repetitionPenalty,
  restartBuffer,
  samplerHead,
  scoreCentering,
  singleTurn,
  stopProperly,
  tokenRatio,
  toolEnvironment,
  trainPolicy,
  valueModelCritic,
} from '@posttrain/rl';
import { testAdvantage, testEnvironment, testRolloutSource } from '@posttrain/rl/testing';
import { it, trainingProof } from './proof.mjs';
import { idOf, rows, tinyModel } from './tiny.mjs';

const vowels = (text) => [...text].filter((letter) => 'aeiou'.includes(letter)).length / 6;
const options = { promptsPerStep: 2, completionsPerPrompt: 4, maxCompletionLength: 6, steps: 3, learningRate: 1e-2 };
const train = async (run, more) =>
  trainPolicy({ ...run, ...options, model: await tinyModel(), rows, rewards: { vowels }, ...more });

trainingProof('PPO with a value head and GAE', async (run) => {
  const critic = await valueModelCritic(await ValueModel.fromCausalLM(await tinyModel()), { learningRate: 1e-2 });
  return train(run, { objective: policyObjectives.ppo({ critic, lambda: 0.95 }) });
});

trainingProof('ReMax', (run) => train(run, { objective: policyObjectives.remax() }));

trainingProof(
  'GRPO with a KL that a controller holds, rejection and score centering',
  (run) =>
    train(run, {
      oldLogProbs: 'recomputed',
      maxLogProbDifference: 1e-3,
      objective: {
        ...policyObjectives.grpo(),
        annotators: [samplerHead({ k: 8 })],
        ratio: rejectMismatch(tokenRatio(), { criteria: [{ statistic: 'seq_mean_k3', high: 0.01 }] }),
        regularisers: [adaptiveKl({ initKlCoef: 0.1, target: 0.05, horizon: 16 }), scoreCentering({ k: 8 })],
      },
    }),
  ({ history }) => {
    const weights = history.map(({ metrics }) => metrics.kl_coef);
    assert.ok(weights[2] !== weights[0], `β moves: ${weights}`);
    // One set of kernels: nothing to correct for.
    for (const { metrics } of history) assert.ok(metrics['sampling/kl_v2'] < 1e-9, `${metrics['sampling/kl_v2']}`);
  },
);

trainingProof(
  'GRPO in one language, within a limit, beside plain texts',
  (run) =>
    train(run, {
      // Of letters, digits and signs at random: what has no word is in no language.
      rewards: {
        vowels,
        latin: languageConsistency({ scripts: ['Latin'] }),
        long: { verifier: (text) => text.length / 6, weight: 0 },
      },
      objective: {
        ...policyObjectives.grpo(),
        advantage: lagrangian(leaveOneOut(), { limits: { long: 0.2 }, multiplierRate: 1 }),
        beside: pretrainingLoss({ rows: rows.map(({ prompt, completion }) => ({ text: prompt + completion })) }),
      },
    }),
  ({ history }) => {
    const multipliers = history.map(({ metrics }) => metrics['multiplier/long']);
    assert.ok(multipliers[2] > multipliers[0], `λ rises while the limit is broken: ${multipliers}`);
    assert.ok(history.every(({ metrics }) => metrics.pretraining_loss > 0));
    const shares = history.map(({ metrics }) => metrics['rewards/latin/mean']);
    assert.ok(
      shares.every((share) => share > 0 && share <= 1),
      `${shares}`,
    );
  },
);

const always = { name: 'always', verify: async (requests) => requests.map(() => ({ score: 1 })) };
let calls = 0;
const calculator = () =>
  toolEnvironment('calculator', {
    add: {
      description: 'Adds two numbers.',
      parameters: {
        type: 'object',
        properties: { a: { type: 'number' }, b: { type: 'number' } },
        required: ['a', 'b'],
      },
      call: ({ a, b }) => {
        calls++;
        return String(a + b);
      },
    },
  });
/** A call in a form of our own, so that random weights call: a digit, to which 1 is added. */
const parseReply = (text) => {
  const [digit] = /\d/.exec(text) ?? [];
  const call = { type: 'function', function: { name: 'add', arguments: { a: Number(digit), b: 1 } } };
  return { role: 'assistant', content: text, ...(digit && { tool_calls: [call] }) };
};
trainingProof(
  'a multi-turn environment of tools',
  (run) =>
    train(run, {
      rollouts: multiTurn(calculator(), {
        ...{
          maxTurns: 2,
          maxSampledTokens: 40,
          maxToolCalls: 3,
          onLimit: 'zero',
          minViableGroup: 2,
          retries: 1,
          parseReply,
        },
      }),
      rewards: {
        vowels,
        repeated: { verifier: repetitionPenalty({ n: 2 }), weight: 0.1 },
        ended: { verifier: stopProperly({ verifier: cosineLength({ correct: always, maxLength: 24 }) }), weight: 0.1 },
      },
      scoring: { onError: 'null' },
      rows: [{ prompt: [{ role: 'user', content: '1+2?' }] }, { prompt: [{ role: 'user', content: '2+2?' }] }],
      objective: policyObjectives.grpo(),
      maxCompletionLength: 48,
    }),
  ({ history }) => {
    assert.ok(calls > 0, 'no tool was called');
    for (const { metrics } of history) {
      const stops = Object.entries(metrics).filter(([name]) => name.startsWith('stop/'));
      assert.ok(Math.abs(stops.reduce((sum, [, share]) => sum + share, 0) - 1) < 1e-9, `${stops}`);
    }
  },
);

trainingProof('a restart buffer', (run) =>
  train(run, {
    rows: restartBuffer(rows, { stepTokens: [...'abcdefgh'].map(idOf), capacity: 8 }),
    objective: policyObjectives.grpo(),
  }),
);

if (process.argv.length === 2) {
  testAdvantage(it, () => leaveOneOut(), { shiftInvariant: 'group' });
  testRolloutSource(it, () => singleTurn());
  testEnvironment(it, calculator, { rows: [{ prompt: [{ role: 'user', content: '1+2?' }] }] });
}
