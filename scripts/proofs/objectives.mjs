// The door of objectives: a teacher that is shown what was right, a mask that is replayed, a critic that learns first, steps as actions, and
// values of tokens from a log.
import assert from 'node:assert/strict';
import { long2shortPairs, pipeline, shortestRejectionSampling } from '@posttrain/data';
import { LocalGenerator, ValueModel } from '@posttrain/lm';
import {
  cql,
  kimiLength,
  oreoPolicy,
  oreoSteps,
  policyObjectives,
  pretrainCritic,
  qPolicy,
  samplingMaskReplay,
  singleTurn,
  syncTargets,
  trainPolicy,
  valueModelCritic,
  withQHeads,
} from '@posttrain/rl';
import { Trainer } from '@posttrain/training';
import { proof, trainingProof } from './proof.mjs';
import { idOf, rows, tinyModel, tokenizer } from './tiny.mjs';

const hasVowel = (text) => (/[aeiou]/.test(text) ? 1 : 0);
const options = { promptsPerStep: 2, completionsPerPrompt: 4, maxCompletionLength: 6, steps: 3, learningRate: 1e-2 };
const train = async (run, more) =>
  trainPolicy({ ...run, ...options, model: await tinyModel(), rows, rewards: { hasVowel }, ...more });
const asked = rows.map(({ prompt }) => ({ prompt: [{ role: 'user', content: prompt }] }));

trainingProof('SDPO: the student as its own teacher, shown what was right', (run) =>
  train(run, {
    ...{ rows: asked, maxCompletionLength: 8 },
    objective: policyObjectives.sdpo({
      repromptTemplate: '{prompt}{solution}',
      solutionTemplate: ' {successful_previous_attempt}',
    }),
  }),
);

trainingProof(
  'GRPO of tokens that top-k has left, and prompts that are neither easy nor hard',
  (run) =>
    train(run, {
      objective: { ...policyObjectives.grpo(), samplingMask: samplingMaskReplay({ keptTokens: 5 }) },
      ...{ rollouts: singleTurn({ keptTokens: 5 }), topK: 5 },
      dynamicSampling: { maxRounds: 3, accuracy: { reward: 'hasVowel', from: 0.2, to: 0.8 } },
      rewards: { hasVowel, short: { verifier: kimiLength({ correct: verifierOf(hasVowel) }), weight: 0.1 } },
    }),
  ({ history }) => {
    for (const { metrics } of history) {
      const mass = metrics['sampling_mask/mass'];
      assert.ok(mass > 0 && mass < 1, `of all that could be said top-k leaves ${mass}`);
    }
  },
);

/** A reward as a verifier. */
function verifierOf(reward) {
  return {
    ...{ name: 'reward', settings: {} },
    verify: async (requests) => requests.map(({ completion }) => ({ score: reward(completion) })),
  };
}

proof('value pretraining: a critic knows the returns of a fixed policy better and better', async () => {
  const model = await tinyModel();
  const critic = await valueModelCritic(await ValueModel.fromCausalLM(model), { learningRate: 1e-2 });
  const sampling = { completionsPerPrompt: 8, maxCompletionLength: 4, seed: 1 };
  const found = await pretrainCritic({ model, rows, rewards: { hasVowel }, critic, steps: 6, ...sampling });
  const [first, last] = [found[0], found.at(-1)].map(({ metrics }) => metrics.explained_variance);
  assert.ok(found.length === 6 && last > first, `explained variance ${first} to ${last}`);
});

const completion = tokenizer.encode('ab.cd.e');
/** A trajectory of those letters, worth 1 at its end. */
const trajectory = (weights, annotations) => ({
  tokens: [idOf('x'), ...completion],
  weights,
  annotations: { rewards: completion.map((_, t) => (t === completion.length - 1 ? 1 : 0)), ...annotations },
});

proof('OREO with steps as actions', async () => {
  const { steps, isStart } = oreoSteps(completion, [idOf('.')]);
  assert.deepEqual([...steps], [1, 1, 1, 2, 2, 2, 3]);
  const model = await tinyModel();
  const trainer = await Trainer.create(model, { optimizer: 'adamw_torch' });
  const weights = isStart.map((starts) => (starts ? 1 / 3 : 0));
  const annotations = { steps, values: completion.map(() => 0.5), reference_log_probs: completion.map(() => -4) };
  const losses = [];
  for (let step = 0; step < 8; step++) {
    const row = trajectory(weights, annotations);
    losses.push((await trainer.forwardBackward([row], oreoPolicy({ level: 'step' }))).loss);
    await trainer.optimStep({ learningRate: 1e-2 });
  }
  assert.ok(losses.at(-1) < losses[0], `${losses}`);
});

proof('CQL: what a log says comes to be what is said', async () => {
  const model = withQHeads(await tinyModel());
  const trainer = await Trainer.create(model, { optimizer: 'adamw_torch' });
  const log = trajectory(
    completion.map(() => 1 / completion.length),
    {},
  );
  for (let step = 0; step < 40; step++) {
    await trainer.forwardBackward([log], cql({ gamma: 0.9, alpha: 1 }));
    await trainer.optimStep({ learningRate: 3e-2 });
    await syncTargets(trainer, { alpha: 0.1 });
  }
  const generator = new LocalGenerator(qPolicy(trainer.model));
  const request = { prompt: { tokenIds: [idOf('x')] }, maxTokens: completion.length, temperature: 0 };
  const [[{ text }]] = await generator.generate([request]);
  assert.equal(text, 'ab.cd.e');
});

proof('long2short: the shortest that is right, alone and beside what is longer', async () => {
  const drawn = ['a', 'aaa', 'z', 'zzzz'];
  const generator = {
    name: 'scripted',
    generate: async (requests) =>
      requests.map(() =>
        drawn.map((text) => ({
          text,
          finishReason: 'stop',
          usage: { promptTokens: 1, completionTokens: text.length },
        })),
      ),
  };
  const given = { generator, verifier: verifierOf(hasVowel), rollouts: 4 };
  const short = await pipeline(rows.slice(0, 1), [shortestRejectionSampling(given)]).collect();
  assert.deepEqual(short, [{ prompt: 'a', completion: 'a' }]);
  const pairs = await pipeline(rows.slice(0, 1), [long2shortPairs(given)]).collect();
  assert.deepEqual(
    pairs.map(({ rejected }) => rejected),
    ['aaa', 'zzzz'],
  );
});
