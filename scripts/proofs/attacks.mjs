// The door of attacks: what a model of ours gives away, by its gradients and by its log-probabilities, each beside its control.
import assert from 'node:assert/strict';
import { auroc, gcg, minKProb } from '@posttrain/eval';
import { createRandom } from '@posttrain/interfaces/random';
import { initialWeights, inputGradients, networkOf, parseModelConfig, sequenceLogProbs } from '@posttrain/lm';
import { sft } from '@posttrain/training';
import { proof } from './proof.mjs';
import { tinyModel } from './tiny.mjs';

const mean = (values) => values.reduce((sum, x) => sum + x, 0) / values.length;

proof(
  'GCG comes to lower losses than a random search at as many evaluations: three models, two targets each',
  async () => {
    const config = parseModelConfig({
      ...{ model_type: 'llama', vocab_size: 2048, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2 },
      ...{ num_attention_heads: 4, max_position_embeddings: 64, initializer_range: 0.1, eos_token_id: 0 },
    });
    const differences = [];
    for (const seed of [1, 2, 3]) {
      const network = networkOf(config);
      const model = inputGradients({ network, weights: await initialWeights(network, seed) });
      const random = createRandom(seed);
      const draw = (count) => Array.from({ length: count }, () => random.integer(1, 2047));
      const ofTargets = [];
      for (let target = 0; target < 2; target++) {
        const asked = { model, before: draw(4), suffix: draw(12), target: draw(2), stopEarly: false, seed };
        const found = { steps: 20, candidates: 32, topK: 64 };
        const attack = await gcg({ ...asked, ...found });
        const control = await gcg({ ...asked, ...found, proposal: 'random' });
        assert.equal(attack.evaluations, control.evaluations);
        ofTargets.push(control.loss - attack.loss);
      }
      differences.push(mean(ofTargets));
    }
    console.log(`control − attack, nats: ${differences.map((x) => x.toFixed(2)).join(', ')}`);
    assert.ok(
      differences.every((x) => x > 0),
      `control − attack: ${differences}`,
    );
  },
);

proof(
  'Min-K%++ with moments of the model itself knows rows that it was trained on, and an untrained model none',
  async () => {
    const areas = { trained: [], untrained: [] };
    for (const seed of [1, 2, 3]) {
      const random = createRandom(seed);
      const text = () => Array.from({ length: 24 }, () => 'abcdefghijklmnop'[random.integer(0, 15)]).join('');
      const texts = Array.from({ length: 48 }, text);
      const isMember = texts.map((_, i) => i < 24);
      const model = await tinyModel(seed);
      const rows = texts.slice(0, 24).map((completion) => ({ prompt: '=', completion }));
      const { trainer } = await sft({ model, rows, batchSize: 24, steps: 60, learningRate: 2e-2, seed });
      for (const [name, of] of Object.entries({ trained: trainer.model, untrained: await tinyModel(seed) })) {
        const sequences = texts.map((completion) => of.tokenizer.encode(`=${completion}`));
        const scored = await sequenceLogProbs(of, sequences, { moments: true });
        const scores = scored.map(({ logProbs, moments }) => minKProb(logProbs, { moments }));
        areas[name].push(auroc(scores, isMember).value);
      }
    }
    console.log(`AUROC ${JSON.stringify(areas)}`);
    assert.ok(
      areas.trained.every((area) => area > 0.8) && Math.abs(mean(areas.untrained) - 0.5) < 0.15,
      JSON.stringify(areas),
    );
  },
);
