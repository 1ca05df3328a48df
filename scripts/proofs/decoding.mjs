// The door of decoding: Medusa's heads change no greedy token, and a policy learns from what a mix of two models has
// drawn.
import assert from 'node:assert/strict';
import { contrastive, EagleHead, LocalGenerator, MedusaHeads } from '@posttrain/lm';
import { testDecodingMix, testProposer } from '@posttrain/lm/testing';
import { noRatio, policyObjectives, singleTurn, trainPolicy, truncatedImportance } from '@posttrain/rl';
import { trainEagleHead, trainMedusaHeads } from '@posttrain/training';
import { it, proof, trainingProof } from './proof.mjs';
import { rows, tinyModel } from './tiny.mjs';

proof('Medusa with trained heads is greedy decoding', async (folder) => {
  const model = await tinyModel();
  const requests = [...'abcdefgh'].map((prompt) => ({ prompt, maxTokens: 12, minNewTokens: 12, temperature: 0 }));
  const plain = await new LocalGenerator(model).generate(requests);
  const answered = plain.map(([{ tokenIds }]) => ({ tokens: tokenIds, weights: tokenIds.slice(1).map(() => 1) }));
  const start = MedusaHeads.initialize(model, { medusaNumHeads: 2 });
  const { heads, losses } = await trainMedusaHeads(model, start, answered, {
    steps: 20,
    batchSize: 8,
    learningRate: 0.05,
  });
  assert.ok(losses.at(-1) < losses[0]);
  await heads.save(folder);
  const generator = new LocalGenerator(model, { speculative: { medusa: await MedusaHeads.load(folder) } });
  const fast = await generator.generate(requests);
  assert.deepEqual(
    fast.map(([{ text }]) => text),
    plain.map(([{ text }]) => text),
  );
  assert.ok(generator.speculation.tokensPerPass > 1, `${generator.speculation.tokensPerPass} tokens a pass`);
});

proof('EAGLE with a trained head is greedy decoding, as a chain and as trees', async () => {
  const model = await tinyModel();
  const requests = [...'abcdefgh'].map((prompt) => ({ prompt, maxTokens: 12, minNewTokens: 12, temperature: 0 }));
  const plain = await new LocalGenerator(model).generate(requests);
  const learnt = (of) =>
    of.flat().map(({ tokenIds }) => ({ tokens: tokenIds, weights: tokenIds.slice(1).map(() => 1) }));
  const drawn = await new LocalGenerator(model).generate(
    requests.map((request, seed) => ({ ...request, temperature: 1, n: 4, seed })),
  );
  const start = await EagleHead.initialize(model);
  const options = { steps: 30, batchSize: 16, learningRate: 0.01 };
  const { head: eagle } = await trainEagleHead(model, start, learnt([...plain, ...drawn]), options);
  const choices = [[0], [1], [2], [0, 0], [0, 1], [1, 0], [0, 0, 0], [0, 0, 0, 0]];
  const drafts = {
    chain: { tokens: 4 },
    tree: { choices },
    drawn: { choices, candidates: 'sampled' },
    dynamic: { dynamicTree: { topK: 3, depth: 4, totalTokens: 8 } },
  };
  for (const temperature of [0, 1]) {
    const kept = {};
    for (const [name, draft] of Object.entries(drafts)) {
      const generator = new LocalGenerator(model, { speculative: { eagle, ...draft } });
      const fast = await generator.generate(requests.map((request, seed) => ({ ...request, temperature, seed })));
      const texts = (of) => of.map(([{ text }]) => text);
      if (temperature === 0) assert.deepEqual(texts(fast), texts(plain));
      kept[name] = generator.speculation.tokensPerPass;
    }
    console.log(`temperature ${temperature}, tokens a pass of the model: ${JSON.stringify(kept)}`);
    assert.ok(Math.min(kept.tree, kept.dynamic) > 1);
  }
});

trainingProof('contrastive decoding in a rollout, with importance weights', async (run) => {
  const mix = contrastive({ amateur: { model: await tinyModel(2) }, alpha: 0, beta: 0.5 });
  const { ratio: _, ...parts } = policyObjectives.reinforce();
  const objective = { ...parts, ratio: truncatedImportance(noRatio(), { level: 'sequence', cap: 4 }) };
  const options = { promptsPerStep: 2, completionsPerPrompt: 4, maxCompletionLength: 4, steps: 3, learningRate: 1e-2 };
  const rewards = { vowels: (text) => [...text].filter((letter) => 'aeiou'.includes(letter)).length };
  const rollouts = singleTurn({ mix });
  return trainPolicy({
    ...run,
    ...options,
    model: await tinyModel(),
    rows,
    rewards,
    objective,
    rollouts,
    oldLogProbs: 'recomputed',
  });
});

/** Says the last token again. */
const again = () => ({
  propose: async (requests) =>
    requests.map(({ state: { prompt, generated }, most }) => ({
      tokens: [generated.at(-1) ?? prompt.at(-1)].slice(0, most),
    })),
  release() {},
  close() {},
});

if (process.argv.length === 2) {
  testProposer(it, 'the last token again', again, { accepts: false });
  testDecodingMix(it, 'contrastive', ({ others: [amateur] }) => contrastive({ amateur: { model: amateur } }));
}
