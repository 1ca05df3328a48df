// The door of decoding: Medusa's heads change no greedy token, and a policy learns from what a mix of two models has
// drawn.
import assert from 'node:assert/strict';
import { adamW } from '@posttrain/core-tensor/optim';
import { contrastive, EagleHead, earlyExit, exitLayers, fudge, LocalGenerator, MedusaHeads } from '@posttrain/lm';
import { testDecodingMix, testProposer } from '@posttrain/lm/testing';
import { lcpo, noRatio, policyObjectives, singleTurn, trainPolicy, truncatedImportance } from '@posttrain/rl';
import { fudgeLoss, Trainer, trainEagleHead, trainMedusaHeads } from '@posttrain/training';
import { learnThenTest, lengthError } from '@posttrain/tts';
import { it, proof, trainingProof } from './proof.mjs';
import { idOf, rows, tinyModel } from './tiny.mjs';

/** That the mean of three gains is above 0 with 95 %: Student's t with two degrees of freedom. */
function assertGain(gains) {
  const mean = gains.reduce((a, b) => a + b) / 3;
  const deviation = Math.sqrt(gains.reduce((sum, gain) => sum + (gain - mean) ** 2, 0) / 2);
  const half = 4.303 * (deviation / Math.sqrt(3));
  console.log(`gain over the control: ${mean.toFixed(3)} ± ${half.toFixed(3)}`);
  assert.ok(mean - half > 0, `${mean} ± ${half}`);
}

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

proof('FUDGE with a trained classifier of prefixes has more texts with the attribute', async () => {
  const isSuch = (text) => [...text].filter((letter) => 'abcdefgh'.includes(letter)).length >= 2;
  const rowOf = (tokenIds, label) => ({
    tokens: [idOf('U'), ...tokenIds],
    weights: tokenIds.map(() => 1 / (64 * tokenIds.length)),
    annotations: { label: [Number(label)] },
  });
  const gains = [];
  for (const seed of [1, 2, 3]) {
    const model = await tinyModel(seed);
    const draw = async (from, n, mix) => {
      const request = { prompt: 'U', n, maxTokens: 6, minNewTokens: 6, seed: from, ...(mix && { mix }) };
      return (await new LocalGenerator(model).generate([request]))[0];
    };
    const texts = await draw(100 + seed, 512);
    const labels = texts.map(({ text }) => isSuch(text));
    const shareOf = async (learnt, lambda = 1) => {
      const trainer = await Trainer.create(model, { optimizer: adamW({ weightDecay: 0 }) });
      for (let step = 0; step < 48; step++) {
        const rows = Array.from({ length: 64 }, (_, i) => (step * 64 + i) % texts.length);
        await trainer.forwardBackward(
          rows.map((i) => rowOf(texts[i].tokenIds, learnt[i])),
          fudgeLoss(),
        );
        await trainer.optimStep({ learningRate: 3e-3 });
      }
      const drawn = await draw(900 + seed, 256, fudge({ classifier: { model: trainer.model }, lambda }));
      return drawn.filter(({ text }) => isSuch(text)).length / drawn.length;
    };
    const base = labels.filter(Boolean).length / labels.length;
    // The control: the same labels, of other texts.
    const control = await shareOf(labels.map((_, i) => labels[(i + 37) % labels.length]));
    const share = await shareOf(labels);
    console.log(`seed ${seed}: ${base} of the policy's texts, ${control} by the control, ${share} by FUDGE`);
    gains.push(share - control);
  }
  assertGain(gains);
});

proof('early exit: at 1 the model, below it fewer layers', async () => {
  const model = await tinyModel();
  const requests = [...'abcd'].map((prompt) => ({ prompt, maxTokens: 10, minNewTokens: 10, temperature: 0 }));
  const textsOf = async (adapter) =>
    (
      await new LocalGenerator(model).generate(requests.map((request) => ({ ...request, ...(adapter && { adapter }) })))
    ).map(([{ text }]) => text);
  const plain = await textsOf();
  assert.deepEqual(await textsOf(earlyExit(model, { threshold: 1 })), plain);
  for (const threshold of [0, 0.2, 0.5, 1]) {
    const exit = earlyExit(model, { threshold });
    const texts = await textsOf(exit);
    const ids = texts.map((text, i) => [...`${requests[i].prompt}${text}`].map(idOf));
    const layers = await exitLayers(
      model,
      exit,
      ids.map((tokens) => ({ tokens, promptTokens: 1 })),
    );
    const generated = layers.flatMap((each) => [...each.slice(1)]);
    const mean = generated.reduce((a, b) => a + b) / generated.length;
    const same = texts.filter((text, i) => text === plain[i]).length;
    console.log(
      `threshold ${threshold}: ${mean.toFixed(2)} layers a token, ${same} of ${texts.length} texts the model's`,
    );
    assert.ok(threshold === 0 ? mean === 1 : mean >= 1);
    if (threshold === 1) assert.equal(mean, 2);
  }
});

proof(
  'early exit at a calibrated threshold differs from the model no more often than is allowed, on other prompts',
  async () => {
    const model = await tinyModel();
    const letters = [...'abcdefghijklmnopqrstuvwxyz'];
    const pairs = letters.flatMap((a) => letters.map((b) => `${a}${b}`));
    // Every other pair calibrates; a loss is that the next token is another than the model's.
    const [calibration, others] = [0, 1].map((odd) => pairs.filter((_, i) => i % 2 === odd));
    const nextOf = async (prompts, adapter) =>
      (
        await new LocalGenerator(model).generate(
          prompts.map((prompt) => ({
            prompt,
            maxTokens: 2,
            minNewTokens: 2,
            temperature: 0,
            ...(adapter && { adapter }),
          })),
        )
      ).map(([{ text }]) => text);
    const lossesOf = async (prompts, thresholds) => {
      const plain = await nextOf(prompts);
      const losses = [];
      for (const threshold of thresholds) {
        const texts = await nextOf(prompts, earlyExit(model, { threshold }));
        losses.push(texts.map((text, i) => Number(text !== plain[i])));
      }
      return losses;
    };
    const thresholds = [1, 0.9, 0.7, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05, 0];
    const tolerance = 0.15;
    const { threshold, tested } = learnThenTest({
      thresholds,
      losses: await lossesOf(calibration, thresholds),
      tolerance,
    });
    const [held] = await lossesOf(others, [threshold]);
    const risk = held.reduce((a, b) => a + b) / held.length;
    console.log(`threshold ${threshold} of ${tested.length} tested; ${risk.toFixed(3)} of other prompts differ`);
    assert.ok(threshold < 1 && risk <= tolerance, `${threshold}: ${risk}`);
    // The control, at 0, does differ more often.
    const [all] = await lossesOf(others, [0]);
    assert.ok(all.reduce((a, b) => a + b) / all.length > tolerance);
  },
);

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

const vowels = (text) => [...text].filter((letter) => 'aeiou'.includes(letter)).length;
const bondRun = { promptsPerStep: 2, completionsPerPrompt: 8, maxCompletionLength: 4, rows, oldLogProbs: 'recomputed' };

trainingProof('J-BOND with its anchor', async (run) =>
  trainPolicy({
    ...{ ...run, ...bondRun, steps: 3, learningRate: 1e-2, model: await tinyModel(), rewards: { vowels } },
    objective: policyObjectives.j_bond({ eta: 0.3 }),
  }),
);

proof('J-BOND writes texts that beat those from before it, by its reward', async () => {
  const gains = [];
  // Other seeds than the settings were chosen on.
  for (const seed of [4, 5, 6]) {
    const scoresOf = async (model) => {
      const requests = rows.map(({ prompt }) => ({ prompt, n: 32, maxTokens: 4, seed: 50 + seed }));
      return (await new LocalGenerator(model).generate(requests)).flat().map(({ text }) => vowels(text));
    };
    const before = await scoresOf(await tinyModel(seed));
    /** How often a text of the trained policy has more vowels than one from before; as many count a half. */
    const winsAfter = async (rewards) => {
      const objective = policyObjectives.j_bond({ eta: 0.3 });
      const own = { steps: 40, learningRate: 3e-2, seed, model: await tinyModel(seed), rewards, objective };
      const after = await scoresOf((await trainPolicy({ ...bondRun, ...own })).trainer.model);
      const won = after.flatMap((a) => before.map((b) => (Math.sign(a - b) + 1) / 2));
      return won.reduce((x, y) => x + y) / won.length;
    };
    const wins = await winsAfter({ vowels });
    // The control distils the best by another reward.
    const control = await winsAfter({ others: (text) => [...text].filter((x) => 'bcdfg'.includes(x)).length });
    console.log(`seed ${seed}: wins ${control.toFixed(3)} by the control, ${wins.toFixed(3)} by J-BOND`);
    gains.push(wins - control);
  }
  assertGain(gains);
});

proof('LCPO: a policy comes to write as long as its prompt asks', async () => {
  const asked = { s: 1, l: 6 };
  const gains = [];
  // Other seeds than the settings were chosen on.
  for (const seed of [4, 5, 6]) {
    const after = async (targetOf) => {
      const correct = { name: 'anything', verify: async (requests) => requests.map(() => ({ score: 1 })) };
      const { trainer } = await trainPolicy({
        ...{ promptsPerStep: 2, completionsPerPrompt: 16, maxCompletionLength: 8, steps: 60, learningRate: 2e-2, seed },
        model: await tinyModel(seed),
        rows: Object.keys(asked).map((prompt) => ({ prompt, target_tokens: targetOf(asked[prompt]) })),
        rewards: { lcpo: lcpo({ correct, alpha: 0.1 }) },
        objective: policyObjectives.dr_grpo(),
      });
      const requests = Object.keys(asked).map((prompt) => ({ prompt, n: 64, maxTokens: 8, seed: 70 + seed }));
      const drawn = await new LocalGenerator(trainer.model).generate(requests);
      const errors = drawn.map((list, i) =>
        lengthError(
          list.map(({ tokenIds }) => tokenIds.length),
          asked[requests[i].prompt],
        ),
      );
      return (errors[0] + errors[1]) / 2;
    };
    const error = await after((target) => target);
    // The control is trained for the mean of both, whatever is asked.
    const control = await after(() => 3.5);
    console.log(
      `seed ${seed}: relative length error ${control.toFixed(3)} of the control, ${error.toFixed(3)} by LCPO`,
    );
    gains.push(control - error);
  }
  assertGain(gains);
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
