import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { adamW } from '@posttrain/core-tensor/optim';
import { badgeSelect, lessSelect, pipeline } from '@posttrain/data';
import {
  auroc,
  type EvalResult,
  evaluate,
  type GenerateProblem,
  liraAttack,
  meanScore,
  semanticEntropy,
} from '@posttrain/eval';
import type { ContinuationScore, FeatureRequest, TrainableRow } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import {
  CausalLM,
  classifierGradients,
  LocalGenerator,
  nliEntailer,
  parseModelConfig,
  SequenceClassifier,
  Tokenizer,
} from '@posttrain/lm';
import { policyObjectives, singleTurn, trainPolicy } from '@posttrain/rl';
import { quickjs, unitTests } from '@posttrain/sandbox';
import {
  negativeLogLikelihood,
  rowGradients,
  sftScorerTrainer,
  Trainer,
  tokenizeRows,
  toTrainingRows,
} from '@posttrain/training';
import { bestOfN } from '@posttrain/tts';
import { describe, expect, it } from 'vitest';
import { jobIn, temporaryFolder } from './test-job.js';

/** A small random model whose tokens are these texts and an end. */
async function modelOf(texts: readonly string[], seed: number): Promise<CausalLM> {
  const end = texts.length;
  const added = [...texts, '</s>'].map((content, id) => ({
    ...{ id, content, special: id === end },
    ...{ single_word: false, lstrip: false, rstrip: false, normalized: false },
  }));
  const tokenizer = new Tokenizer({
    tokenizer: {
      ...{ version: '1.0', added_tokens: added, normalizer: null, pre_tokenizer: null, post_processor: null },
      ...{ decoder: { type: 'Fuse' }, model: { type: 'BPE', vocab: { [texts[0]!]: 0 }, merges: [] } },
    },
    config: { eos_token: '</s>' },
  });
  const config = parseModelConfig({
    ...{ model_type: 'llama', vocab_size: end + 1, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1 },
    ...{ num_attention_heads: 2, max_position_embeddings: 32, initializer_range: 0.2, eos_token_id: end },
  });
  return CausalLM.initialize({ config, tokenizer, name: 'small' }, seed);
}

/** The mean over three seeds, and the half of its 95 % interval (Student, 2 degrees of freedom). */
function over(values: readonly number[]): { readonly mean: number; readonly half: number } {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - 1);
  return { mean, half: 4.303 * Math.sqrt(variance / values.length) };
}

describe('unit tests in a sandbox', () => {
  const programs = ['a + b', 'a - b', 'b + a', 'a * b', '0'].map((body) => `const add = (a, b) => ${body};`);
  const row = {
    prompt: 'Add.',
    test: "require('assert').equal(add(2, 3), 5)",
    entry_point: 'add',
  };

  it('are one object as a reward, as a grader and as a verifier of a search, which score alike', async () => {
    const model = await modelOf([row.prompt, ...programs], 1);
    const tests = unitTests({ sandbox: quickjs() });
    const seen: Record<'reward' | 'grade' | 'search', Map<string, number | null>> = {
      ...{ reward: new Map(), grade: new Map(), search: new Map() },
    };

    const source = singleTurn();
    const texts: string[] = [];
    const { history } = await trainPolicy({
      ...{ model, rows: [row], rewards: { tests }, objective: policyObjectives.grpo(), steps: 1 },
      ...{ promptsPerStep: 1, completionsPerPrompt: 8, maxCompletionLength: 1, learningRate: 1e-4 },
      rollouts: {
        ...source,
        async sample(request) {
          const rollouts = await source.sample(request);
          texts.push(...rollouts.map(({ text }) => text!));
          return rollouts;
        },
      },
    });

    const generator = new LocalGenerator(model);
    const result = (await evaluate(
      {
        type: 'generate',
        ...{ name: 'add', dataset: [row], prompt: () => row.prompt, graders: [tests] },
        ...{ samples: 8, sampling: { maxTokens: 1, temperature: 1 }, metrics: [meanScore()] },
      },
      generator,
    )) as EvalResult<GenerateProblem>;
    const graded = result.problems[0]!.completions;
    for (const { text, grades } of graded) seen.grade.set(text, Object.values(grades)[0]!.score);
    const found = await bestOfN(
      { prompt: row.prompt, row },
      { generator, verifier: tests, n: 8, sampling: { maxTokens: 1, seed: 3 }, extractAnswer: (text) => text },
    );
    for (const { text, score } of found.trace.nodes) if (text !== undefined) seen.search.set(text, score!);

    // What a person says of them.
    const isRight = (text: string) => Number(text === programs[0] || text === programs[2]);
    expect(history[0]!.metrics['rewards/tests/mean']).toBeCloseTo(
      texts.reduce((sum, text) => sum + isRight(text), 0) / texts.length,
      6,
    );
    expect(new Set(texts.map(isRight)).size).toBe(2);
    for (const scores of [seen.grade, seen.search]) {
      expect(scores.size).toBeGreaterThan(2);
      for (const [text, score] of scores) expect(score, text).toBe(isRight(text));
    }
    expect(found.score).toBe(1);
  });
});

describe('doors of local models', () => {
  const letters = [...'abcdefghijklmnop'];
  /** Four letters in order, of the first or the second half of the alphabet. */
  const rowOf = (half: number, place: number) => {
    const [first, ...others] = letters.slice(8 * half + place, 8 * half + place + 4);
    return { prompt: first!, completion: others.join('') };
  };
  const isFirst = ({ prompt }: { readonly prompt: unknown }) => letters.indexOf(prompt as string) < 8;

  it('LESS keeps rows of the task of its targets, of which a model learns more for that task than of as many by chance', async () => {
    const [shares, gains]: [number[], number[]] = [[], []];
    for (const seed of [1, 2, 3]) {
      const random = createRandom(seed, 'less');
      const model = await modelOf(letters, seed);
      const rows = Array.from({ length: 40 }, (_, i) => rowOf(i % 2, random.integer(0, 4)));
      const trainer = await Trainer.create(model, { optimizer: adamW() });
      const warmUp = toTrainingRows(tokenizeRows(model, rows.slice(0, 8)).rows);
      for (let i = 0; i < 3; i++) {
        await trainer.forwardBackward(warmUp, negativeLogLikelihood);
        await trainer.optimStep({ learningRate: 0.01 });
      }
      const target = [0, 2, 4].map((place) => rowOf(0, place));
      const step = lessSelect<TrainableRow>({
        ...{ checkpoints: [{ gradients: rowGradients(trainer) }], targets: { first: target }, count: 12 },
        projection: 512,
      });
      const chosen = await pipeline<TrainableRow>(rows, [step]).collect();
      shares.push(chosen.filter(isFirst).length / chosen.length);
      const learn = sftScorerTrainer({ model, learningRate: 0.005, epochs: 2, batchSize: 4, onWarning: () => {} });
      const asked = target.map(({ prompt, completion }) => ({
        ...{ prompt, continuation: completion },
      }));
      const likelihood = (scores: readonly ContinuationScore[]) =>
        scores.reduce((sum, { logProb, tokens }) => sum + logProb / tokens, 0) / scores.length;
      const of = async (some: readonly TrainableRow[]) =>
        likelihood(await (await learn.train(some, { seed })).score(asked));
      gains.push((await of(chosen)) - (await of(random.shuffled(rows).slice(0, 12))));
    }
    expect(over(shares).mean).toBeGreaterThan(0.9);
    const { mean, half } = over(gains);
    expect(mean - half, String(gains)).toBeGreaterThan(0);
  });

  it('BADGE chooses rows that a classifier is unsure of, and not one of them twice', async () => {
    const ratios: number[] = [];
    for (const seed of [1, 2, 3]) {
      const random = createRandom(seed, 'badge');
      const head = await SequenceClassifier.fromCausalLM(await modelOf(letters, seed), { labels: 3, seed });
      // Surer than a new head is, of some rows.
      const model = head.withWeights({ ...head.weights, 'score.weight': head.weights['score.weight']!.mul(4) });
      const rows = Array.from({ length: 40 }, () => ({
        ...{ prompt: Array.from({ length: 3 }, () => random.pick(letters)).join(''), completion: '' },
      }));
      const gradients = classifierGradients(model);
      const chosen = await pipeline(rows, [badgeSelect<FeatureRequest>({ gradients, count: 8, seed })]).collect();
      const length = async (some: readonly FeatureRequest[]) => {
        const vectors = await gradients.gradients(some, { of: 'hallucinated', parameters: 'output' });
        return vectors.reduce((sum, vector) => sum + Math.hypot(...vector), 0) / some.length;
      };
      expect(new Set(chosen).size).toBe(8);
      ratios.push(Math.log((await length(chosen)) / (await length(rows))));
    }
    const { mean, half } = over(ratios);
    expect(mean - half, String(ratios)).toBeGreaterThan(0);
  });

  it('LiRA finds the rows that a model was trained on, and of rows that none was trained on it finds nothing', async () => {
    const [found, control]: [number[], number[]] = [[], []];
    for (const seed of [1, 2, 3]) {
      const random = createRandom(seed, 'lira');
      const model = await modelOf(letters, seed);
      // By chance, so that they can only be known by heart.
      const chance = (): TrainableRow => ({
        ...{ prompt: random.pick(letters), completion: Array.from({ length: 4 }, () => random.pick(letters)).join('') },
      });
      const rows = Array.from({ length: 24 }, chance);
      const isMember = rows.map((_, i) => i % 2 === 0);
      const twins = rows.map(chance);
      const trainer = sftScorerTrainer({ model, learningRate: 0.02, epochs: 8, batchSize: 12, onWarning: () => {} });
      // Of as many rows as the shadow models.
      const others = rows.filter((_, i) => !isMember[i]).map(chance);
      const target = await trainer.train([...rows.filter((_, i) => isMember[i]), ...others], { seed: 99 });
      const { scores } = await liraAttack({ target, trainer, shadows: 6, seed, rows: [...rows, ...twins] });
      found.push(auroc(scores.slice(0, 24), isMember).value);
      // Nobody was trained on the twins: the labels mean nothing.
      control.push(auroc(scores.slice(24), isMember).value);
    }
    const [hit, none] = [over(found), over(control)];
    expect(hit.mean - hit.half, String(found)).toBeGreaterThan(0.6);
    expect(Math.abs(none.mean - 0.5), String(control)).toBeLessThan(Math.max(none.half, 0.1));
    expect(hit.mean).toBeGreaterThan(none.mean + 0.2);
  });

  it('semantic entropy of answers that a model draws, by what a local classifier says they entail', async () => {
    const model = await modelOf(letters, 1);
    const labels = ['contradiction', 'neutral', 'entailment'];
    const head = await SequenceClassifier.fromCausalLM(model, { labels, seed: 1 });
    const entailer = nliEntailer(head);
    const [completions] = await new LocalGenerator(model).generate([
      { prompt: 'a', n: 6, maxTokens: 2, temperature: 1, seed: 1 },
    ]);
    const answers = completions!.map(({ text }) => ({ text: text || 'a' }));
    const { clusters, entropy } = await semanticEntropy(answers, { entailer });
    // Members of a cluster entail its first text, and are entailed by it.
    for (const [i, cluster] of clusters.entries()) {
      const first = clusters.indexOf(cluster);
      if (first === i) continue;
      const [a, b] = [answers[first]!.text, answers[i]!.text];
      for (const { entailment, neutral, contradiction } of await entailer.entail([
        { premise: a, hypothesis: b },
        { premise: b, hypothesis: a },
      ])) {
        expect(entailment).toBeGreaterThan(Math.max(neutral, contradiction));
      }
    }
    expect(entropy).toBeLessThanOrEqual(Math.log(6) + 1e-9);
  });
});

describe('the main job', () => {
  const folder = temporaryFolder();
  const { run, runUntil, results } = jobIn(folder);

  it('goes on from every stage, and replaces a used folder only when all is there', async () => {
    expect(run('whole').status).toBe(0);
    const wanted = results('whole');
    const stages = ['eval-base.jsonl', 'sft/checkpoint-1', 'eval-sft.jsonl', 'grpo/checkpoint-1', 'grpo/checkpoint-2'];
    for (const [i, file] of [...stages, 'eval-grpo.jsonl'].entries())
      await runUntil(`killed/${file}`, 'killed', ...(i === 0 ? [] : ['--resume']));
    expect(run('killed', '--resume').stdout).toContain('Going on with the run in');
    expect(results('killed')).toEqual(wanted);

    await runUntil('killed.new/grpo/checkpoint-1', 'killed', '--replace', '--seed', '1');
    expect(results('killed')).toEqual(wanted);
    expect(run('killed', '--replace', '--seed', '1').stdout).toContain('Going on with the run in');
    expect(results('killed')).not.toEqual(wanted);
    for (const leftover of ['killed.new', 'killed.old']) expect(existsSync(join(folder, leftover))).toBe(false);
  });
});
