import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Engine, referenceEngine } from '@posttrain/core-tensor';
import { onEngine } from '@posttrain/core-tensor/testing';
import { arithmetic } from '@posttrain/data';
import * as evaluation from '@posttrain/eval';
import { accuracy, decoderParameters, evaluate, meanScore, metricOf, regex } from '@posttrain/eval';
import { candidateScorer, type Generator } from '@posttrain/interfaces';
import { equalAnswer, extractBoxed, markedAnswer, referenceAnswers } from '@posttrain/interfaces/answers';
import {
  CausalLM,
  LocalGenerator,
  LocalScorer,
  ModelRunner,
  parseModelConfig,
  SequenceClassifier,
  TokenClassifier,
  ValueModel,
} from '@posttrain/lm';
import { createAdapter, lora } from '@posttrain/peft';
import {
  exactMatch,
  missingEosPenalty,
  numericMatch,
  policyObjectives,
  trainPolicy,
  valueModelCritic,
} from '@posttrain/rl';
import { distill, RUN_LOCK, RunLockedError, rewardModelLosses, trainRewardModel } from '@posttrain/training';
import {
  adaptiveConsistency,
  bestOfN,
  candidateGenerator,
  cotDecoding,
  deepConf,
  deepConfOnline,
  earlyStoppingSelfConsistency,
  functionVerifier,
  gepa,
  majorityVote,
  mcts,
  mur,
  NoCandidateError,
  regularizedBestOfN,
  selfCertainty,
  speculativeRejection,
  stepBeamSearch,
  superContext,
  traceCosts,
  traceTexts,
  treeBon,
  weightedBestOfN,
} from '@posttrain/tts';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { OutputError, type OutputRequest, openOutput } from './output.js';
import { embeddedTask } from './task.js';
import { temporaryFolder } from './test-job.js';

const golden = new URL('../../goldens/answers/expected.json', import.meta.url);
const { cases } = JSON.parse(readFileSync(golden, 'utf8')) as { cases: { completion: string; gold: string }[] };

/** The answer that wins the vote of two completions; null when nobody votes. */
async function voted(completion: string): Promise<string | null> {
  const usage = { promptTokens: 1, completionTokens: 1 };
  const said = { text: completion, finishReason: 'stop' as const, usage };
  const generator = { name: 'said', generate: async () => [[said, said]] };
  return majorityVote({ prompt: 'q' }, { generator, n: 2 }).then(
    ({ answer }) => answer,
    () => null,
  );
}

describe('a policy is rewarded exactly for what the vote and the grade call right', () => {
  it.each(cases)('$completion against $gold', async ({ completion, gold }) => {
    const row = { answer: gold };
    const [grade] = await evaluation.exactMatch().verify([{ prompt: 'q', completion, row }]);
    const right = grade!.score;
    const answer = await voted(completion);
    expect(answer).toBe(grade!.answer);
    const isRight = answer !== null && equalAnswer(referenceAnswers('vote', gold), answer) !== undefined;
    expect(Number(isRight)).toBe(right);
    const [reward] = await exactMatch().verify([{ prompt: 'q', completion, row }]);
    expect(reward!.score).toBe(right);
    const [numeric] = await numericMatch().verify([{ prompt: 'q', completion, row }]);
    if (numeric!.score !== null) expect(numeric).toEqual({ score: right, answer: grade!.answer });
    const boxed = extractBoxed(completion);
    if (boxed !== null && boxed.trim() === markedAnswer(completion) && /^\d+$/.test(gold)) {
      const problem = { terms: [Number(gold)], operators: [] };
      expect(Number(arithmetic().check(problem, `# ${boxed}`).correct)).toBe(right);
    }
  });
});

const root = temporaryFolder();
let count = 0;
const newFolder = () => join(root, String(count++));
const settings = { seed: '0', steps: '2' };

/** A run that has written one file, finished or not. */
async function used(folder: string, finished: boolean, more: Partial<OutputRequest> = {}): Promise<void> {
  const output = await openOutput({ folder, settings, mode: 'new', ...more });
  writeFileSync(join(output.folder, 'result'), JSON.stringify(more.settings ?? settings));
  if (finished) await output.finish();
  // As if its process had ended.
  else rmSync(join(output.folder, RUN_LOCK));
}
const resultIn = (folder: string) => readFileSync(join(folder, 'result'), 'utf8');
const other = { ...settings, seed: '1' };

describe('openOutput', () => {
  it.each([
    ['new', false, settings, /holds a run that was interrupted; --resume goes on with it. --replace puts a new run/],
    ['new', true, settings, /holds the results of a run. --replace puts a new run in its place/],
    ['resume', true, settings, /it has ended: there is nothing to go on with/],
    ['resume', false, other, /holds another run: seed was 0 and is 1. Give the same flags/],
    ['resume', false, { seed: '0' }, /holds another run: steps was 2 and is not given/],
  ] as const)('mode %s refuses a used folder (finished: %s)', async (mode, finished, wanted, message) => {
    const folder = newFolder();
    await used(folder, finished);
    await expect(openOutput({ folder, settings: wanted, mode })).rejects.toThrow(message);
    await expect(openOutput({ folder, settings: wanted, mode })).rejects.toBeInstanceOf(OutputError);
    expect(resultIn(folder)).toBe(JSON.stringify(settings));
  });

  it.each(['new', 'resume', 'replace'] as const)('mode %s touches no folder of others', async (mode) => {
    const folder = newFolder();
    mkdirSync(folder);
    writeFileSync(join(folder, 'thesis.txt'), 'mine');
    await expect(openOutput({ folder, settings, mode })).rejects.toThrow(/not the folder of a run of this job/);
    expect(readFileSync(join(folder, 'thesis.txt'), 'utf8')).toBe('mine');
    await expect(openOutput({ folder: join(folder, 'thesis.txt'), settings, mode })).rejects.toThrow(/is a file/);
  });

  it('resumes an unfinished run of the same settings', async () => {
    const folder = newFolder();
    await used(folder, false);
    expect(await openOutput({ folder, settings, mode: 'resume' })).toMatchObject({ folder, resumed: true });
  });

  it('without a word about it, goes on with an unfinished run or takes the next free folder', async () => {
    const folder = newFolder();
    expect(await openOutput({ folder, settings, mode: 'next' })).toMatchObject({ folder, resumed: false });
    await expect(openOutput({ folder, settings, mode: 'next' })).rejects.toBeInstanceOf(RunLockedError);
    rmSync(join(folder, RUN_LOCK));
    const again = await openOutput({ folder, settings, mode: 'next' });
    expect(again).toMatchObject({ folder, resumed: true });
    expect(await openOutput({ folder, settings: other, mode: 'next' })).toMatchObject({ folder: `${folder}-2` });
    await again.finish();
    expect(await openOutput({ folder, settings, mode: 'next' })).toMatchObject({ folder: `${folder}-3` });
  });

  it('replaces a folder when all is there: a kill at any point before leaves the old or the new results whole', async () => {
    const folder = newFolder();
    await used(folder, true);
    const request = { folder, settings: other, mode: 'replace' } as const;
    await used(folder, false, request);
    expect(resultIn(folder)).toBe(JSON.stringify(settings));
    const again = await openOutput(request);
    expect(again).toMatchObject({ folder: `${folder}.new`, resumed: true });
    rmSync(join(`${folder}.new`, RUN_LOCK));
    // Killed between the two renames.
    renameSync(folder, `${folder}.old`);
    const after = await openOutput(request);
    expect(after).toMatchObject({ folder: `${folder}.new`, resumed: true });
    expect(await after.finish()).toBe(folder);
    expect(resultIn(folder)).toBe(JSON.stringify(other));
    for (const leftover of ['.new', '.old']) expect(existsSync(folder + leftover)).toBe(false);
  });

  it('puts old results back that a killed replacement had moved aside, when another one begins', async () => {
    const folder = newFolder();
    await used(folder, true);
    renameSync(folder, `${folder}.old`);
    await openOutput({ folder, settings: other, mode: 'replace' });
    expect(resultIn(folder)).toBe(JSON.stringify(settings));
  });
});

it('counts only a marked answer of a completion that has ended, and rewards what the grader calls right', async () => {
  const { grader, rewards } = embeddedTask(1, 2);
  const row = { prompt: [], answer: '66' };
  const judge = async (completion: string, finishReason: 'stop' | 'length' = 'stop') =>
    (await grader.verify([{ prompt: '', completion, row, finishReason }]))[0]!;
  const solution = '47+38=85, 85-19=66 #### 66';
  const verdicts = await Promise.all(
    [solution, '47+38=85, 85-19=66', '#### -66', '#### 066', '#### 66 or 67'].map((completion) => judge(completion)),
  );
  expect(verdicts.slice(0, 3).map(({ answer }) => answer)).toEqual(['66', null, '-66']);
  expect(verdicts.map(({ score }) => score)).toEqual([1, 0, 0, 1, 0]);
  expect(await judge(solution, 'length')).toEqual({ score: 0, answer: null });
  expect(rewards.answer).toBe(grader);
});

/** The reference engine, with the floating-point operations of the matrix products that it has run: 2 a multiply and add. */
function countingEngine(): { readonly engine: Engine; readonly counted: { flops: number } } {
  const reference = referenceEngine();
  const counted = { flops: 0 };
  const engine: Engine = {
    ...reference,
    async compile(graph, options) {
      const flops = graph.nodes.reduce((sum, { op, inputs, outputs, attributes }) => {
        if (op !== 'matmul') return sum;
        const { node, index } = inputs[0]!;
        const inner = node.outputs[index]!.shape.at((attributes as { transposeA?: boolean }).transposeA ? -2 : -1)!;
        return sum + 2 * inner * outputs[0]!.shape.reduce((a, b) => a * b, 1);
      }, 0);
      const executable = await reference.compile(graph, options);
      return {
        run(inputs) {
          counted.flops += flops;
          return executable.run(inputs);
        },
        dispose: () => executable.dispose(),
      };
    },
  };
  return { engine, counted };
}

describe('packages together', () => {
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
      // The same samples, each as loud as its number.
      const weighted = await weightedBestOfN(problem, { ...options, verifier: largest });
      for (const { answer, count, weight } of weighted.votes) expect(weight).toBeCloseTo(count * Number(answer), 6);
    });

    it('tells tts of its tokens: certainty, confidence, first tokens and steps that are unsure', async () => {
      const sampling = { maxTokens: 4, stop: ['\n'], seed: 5 };
      const options = { generator: new LocalGenerator(model), n: 6, sampling, extractAnswer: firstNumber };
      const textsOf = ({ trace }: { trace: { nodes: readonly { text: string }[] } }) =>
        trace.nodes.map(({ text }) => text);
      const vote = await majorityVote(problem, options);
      // Who stops early has drawn the first of the same samples, and no more of them.
      for (const early of [
        await adaptiveConsistency(problem, { ...options, threshold: 0.8 }),
        await earlyStoppingSelfConsistency(problem, { ...options, window: 2 }),
      ]) {
        expect(early.votes.reduce((sum, { count }) => sum + count, 0)).toBeLessThanOrEqual(6);
        expect(textsOf(vote).slice(0, early.trace.nodes.length)).toEqual(textsOf(early));
      }
      const certain = await selfCertainty(problem, options);
      const sure = await deepConf(problem, { ...options, topK: 5, window: 2, keep: 1 });
      for (const other of [certain, sure]) expect(textsOf(other)).toEqual(textsOf(vote));
      // KL(uniform ‖ p) of each token, and −mean log p of the likeliest: none is below 0.
      const payloads = [...certain.trace.nodes.slice(1), ...sure.trace.nodes.slice(1)].map(({ payload }) => payload);
      const numbers = payloads.flatMap((it) => Object.values(it as Record<string, number>));
      expect(numbers).toHaveLength(12);
      for (const value of numbers) expect(value).toBeGreaterThan(0);
      const shortest = functionVerifier('shortest', ({ completion }) => -completion.length);
      const near = await regularizedBestOfN(problem, { ...options, verifier: shortest, regularizer: 'kl', beta: 1e6 });
      const logProbs = near.trace.nodes.slice(1).map(({ payload }) => (payload as { regularizer: number }).regularizer);
      const chosen = near.trace.nodes.findIndex(({ status }) => status === 'chosen');
      expect(logProbs[chosen - 1]).toBe(Math.max(...logProbs));

      const paths = await cotDecoding(problem, { ...options, n: 3, answerPrompt: '\n', answerTokens: 2 });
      const firsts = paths.trace.nodes.filter(({ payload }) => payload && 'firstToken' in (payload as object));
      expect(new Set(firsts.map(({ payload }) => (payload as { firstToken: number }).firstToken)).size).toBe(3);
      const greedy = await bestOfN(problem, {
        ...{ ...options, verifier: shortest, n: 1, sampling: { ...sampling, temperature: 0 } },
      });
      const [first] = paths.trace.nodes.filter(
        ({ parent, completionTokens }) => parent === 0 && completionTokens === 1,
      );
      expect(greedy.text.startsWith(first!.text)).toBe(true);

      const pieces = { ...options, n: 4, sampling: { maxTokens: 4, seed: 5 } };
      const online = await deepConfOnline(problem, { ...pieces, topK: 5, window: 2, warmup: 2, together: 2, piece: 2 });
      const rejected = await speculativeRejection(problem, { ...pieces, verifier: shortest, piece: 2 });
      for (const { trace } of [online, rejected]) expect(trace.spent.completionTokens).toBeLessThanOrEqual(4 * 4);
      const steps = { ...options, verifier: shortest, n: 2, sampling: { maxTokens: 6, seed: 5 }, stop: ['\n'] };
      const plain = await mur(problem, { ...steps, gamma: 0, maxSteps: 3 });
      const scaled = await mur(problem, { ...steps, gamma: 1e9, maxSteps: 3 });
      expect([plain.trace.spent.verifierCalls, scaled.trace.spent.verifierCalls % 2]).toEqual([0, 0]);
    });

    // What stands before a drill can make it another one.
    it('has its prompt searched for, to the best of those that a reflection writes, and takes a small model’s word', async () => {
      const generator = new LocalGenerator(model);
      const sampling = { maxTokens: 4, stop: ['\n'], temperature: 0, seed: 5 };
      const tasks = ['40+5=45', '60+17=77', '30+20=50', '11+22=33'].map((drill) => {
        const [prompt, answer] = drill.split('=') as [string, string];
        return { prompt: `${prompt}=`, row: { answer } };
      });
      const verifier = functionVerifier('right', ({ completion, row }) => firstNumber(completion) === row?.answer);
      const texts = ['7+8=15\n20+30=50\n', '1', '7+8=15 '];
      let written = 0;
      const usage = { promptTokens: 1, completionTokens: 1 };
      const reflector = {
        name: 'reflector',
        generate: async () => [[{ text: texts[written++ % 3]!, finishReason: 'stop' as const, usage }]],
      };
      const found = await gepa(
        { prompt: '9' },
        {
          ...{ generator, generators: { reflector }, verifier, sampling, train: tasks, n: 6, minibatch: 4 },
          program: ({ candidate, instance, ask }) => ask(candidate.instruction + String(instance.prompt)),
          parse: (text: string) => text,
        },
      );
      const right = async (instruction: string) => {
        const asked = tasks.map(({ prompt }) => ({ prompt: instruction + prompt, ...sampling }));
        const said = await generator.generate(asked);
        return said.filter(([one], i) => firstNumber(one!.text) === tasks[i]!.row.answer).length / tasks.length;
      };
      const scores = await Promise.all(['9', ...texts].map(right));
      expect(found.score).toBe(Math.max(...scores));
      expect(await right(found.candidate.instruction!)).toBe(found.score);
      expect(Math.max(...scores)).toBeGreaterThan(scores[0]!);

      // A receipt is the distribution of the model over the labels; shown as a drill, it is what the large one copies.
      const labels = ['45', '54'];
      const scorer = candidateScorer(new LocalScorer(model));
      const said = await superContext(problem, {
        ...{ generator, generators: { small: candidateGenerator(scorer, labels) }, n: 1, sampling },
        contextPrompt: ({ question, receipt }) => `${question}${receipt!.prediction}\n40+5=`,
        extractAnswer: firstNumber,
      });
      const [distribution] = await scorer.distributions([{ ...problem, candidates: labels }]);
      const most = Math.max(...distribution!.probabilities);
      expect(said.receipt!.confidence).toBeCloseTo(most, 10);
      expect(said.answer).toBe(labels[distribution!.probabilities.indexOf(most)]);
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
          // What the cache had is another matter the second time.
          return { text, nodes: trace.nodes.map(({ cachedPromptTokens: _, ...node }) => node) };
        };
        const together = await search();
        expect(together.nodes.some(({ stop }) => stop === '\n')).toBe(true);
        expect(await search(1)).toEqual(together);
      }));

    it('is searched as a tree: no token of it is computed twice, but for one a fork', async () => {
      const verifier = functionVerifier('any', ({ completion }) => ((completion.length * 7) % 5) / 5);
      const searches = {
        stepBeamSearch: (generator: Generator) =>
          stepBeamSearch(problem, { ...steps, generator, n: 8, beamWidth: 2, maxSteps: 4 }),
        mcts: (generator: Generator) =>
          mcts(problem, { ...steps, generator, n: 8, width: 3, maxDepth: 4, exploration: 4 }),
      };
      const steps = { verifier, stop: ['\n'], sampling: { maxTokens: 8, seed: 5, temperature: 2 } };
      for (const [name, search] of Object.entries(searches)) {
        // A cache of its own.
        const local = await CausalLM.load(join(import.meta.dirname, '..', 'pretrain-tiny', 'model'));
        const extend = vi.spyOn(ModelRunner.prototype, 'extend');
        const { trace } = await search(new LocalGenerator(local)).catch((error: unknown) => {
          if (error instanceof NoCandidateError) return error;
          throw error;
        });
        const passed = extend.mock.calls.flatMap(([inputs]) => inputs.map(({ tokens }) => tokens.length));
        extend.mockRestore();
        const drawn = trace.nodes.filter(({ finishReason }) => finishReason !== null);
        // Of a completion all tokens but the last are computed, by the pass that draws the next.
        const written = drawn.reduce((sum, { completionTokens }) => sum + completionTokens - 1, 0);
        const computed = passed.reduce((a, b) => a + b, 0) - written;
        const texts = traceTexts(trace);
        const forks = [...new Set(drawn.map(({ parent }) => texts.get(parent!)!))];
        const prompts = forks.map((text) => local.tokenizer.encode(problem.prompt + text));
        const distinct = new Set(prompts.flatMap((tokens) => tokens.map((_, i) => tokens.slice(0, i + 1).join())));
        expect(forks.length, name).toBeGreaterThan(3);
        expect(computed, name).toBeLessThanOrEqual(distinct.size + forks.length);
        const asked = drawn.reduce((sum, { promptTokens }) => sum + promptTokens, 0);
        const cached = drawn.reduce((sum, { cachedPromptTokens }) => sum + cachedPromptTokens!, 0);
        expect(asked - cached, name).toBe(computed);
        expect(asked, name).toBeGreaterThan(4 * computed);
      }
    });

    it('costs the FLOPs that its trace says, within a third of the products that an engine has run', () => {
      const { engine, counted } = countingEngine();
      return onEngine(engine, async () => {
        const { tokenizer } = model;
        const config = parseModelConfig({
          ...{ model_type: 'llama', vocab_size: 103, hidden_size: 64, intermediate_size: 192, num_hidden_layers: 2 },
          ...{
            num_attention_heads: 4,
            num_key_value_heads: 2,
            max_position_embeddings: 128,
            tie_word_embeddings: true,
          },
          ...{ bos_token_id: null, eos_token_id: null, initializer_range: 0.2 },
        });
        const parameters = decoderParameters({
          ...{ layers: 2, width: 64, heads: 4, keyValueHeads: 2, headWidth: 16, mlpWidth: 192 },
          ...{ gatedMlp: true, vocabulary: 103, tiedHead: true },
        });
        const verifier = functionVerifier('any', ({ completion }) => ((completion.length * 7) % 5) / 5);
        const sampling = { maxTokens: 8, seed: 5 };
        const searches = {
          bestOfN: (generator: Generator) => bestOfN(problem, { generator, verifier, sampling, n: 4 }),
          treeBon: (generator: Generator) =>
            treeBon(problem, { generator, verifier, sampling, n: 4, layers: 2, children: 2, segmentTokens: 8 }),
        };
        for (const [name, search] of Object.entries(searches)) {
          // A cache of its own.
          const local = await CausalLM.initialize({ config, tokenizer, name: 'random' }, 1);
          counted.flops = 0;
          const { trace } = await search(new LocalGenerator(local));
          const { flops } = traceCosts(trace, { generator: parameters });
          // Beyond what is counted: attention over the context, and rows and widths that passes are padded to.
          expect(counted.flops / flops, name).toBeGreaterThan(0.9);
          expect(counted.flops / flops, name).toBeLessThan(4 / 3);
          const uncached = { ...trace, nodes: trace.nodes.map(({ cachedPromptTokens: _, ...node }) => node) };
          expect(traceCosts(uncached, { generator: parameters }).flops / flops, name).toBeGreaterThan(2);
        }
      });
    });

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
        evaluationRows: drills
          .slice(32)
          .map(({ prompt, right, wrong }) => ({ prompt, chosen: right, rejected: wrong })),
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

      // A tree search whose rollouts the same model scores.
      const asked = { prompt: 'Q: 40+5\nA: ' };
      const tree = await mcts(asked, {
        ...{ generator: new LocalGenerator(model), verifier, n: 8, width: 2, maxDepth: 1, stop: ['\n'] },
        ...{ sampling: { maxTokens: 60, seed: 5 }, extractAnswer: firstNumber },
      });
      const valued = tree.trace.nodes.filter(({ score }) => typeof score === 'number');
      const texts = valued.map(({ text }) => text!);
      const again = await verifier.verify(texts.map((completion) => ({ prompt: asked.prompt, completion })));
      for (const [i, { score }] of valued.entries()) expect(score).toBeCloseTo(again[i]!.score!, 4);
      expect(tree.trace.nodes.some(({ payload }) => (payload as { visits?: number } | undefined)?.visits === 8)).toBe(
        true,
      );
    });

    it.each(['ppo', 'remax'] as const)(
      '%s has the grader of an evaluation as its reward, and its policy is evaluated by it',
      async (name) => {
        const grader = evaluation.exactMatch({ filters: [regex(/^\d+/)] });
        const rows = drills.slice(0, 8).map(({ prompt, right }) => ({ prompt, answer: right }));
        const critic = async () => valueModelCritic(await ValueModel.fromCausalLM(model, { seed: 1 }));
        const objective =
          name === 'ppo' ? policyObjectives.ppo({ critic: await critic(), beta: 0 }) : policyObjectives.remax();
        const { history, trainer } = await trainPolicy({
          ...{ model, rows, rewards: { grader }, objective, steps: 2, learningRate: 1e-5, temperature: 1.5 },
          ...{ promptsPerStep: 4, completionsPerPrompt: 2, maxCompletionLength: 3 },
        });
        for (const { metrics } of history) {
          expect(metrics.reward!).toBeCloseTo(metrics['rewards/grader/mean']!, 6);
          expect(metrics.reward!).toBeGreaterThanOrEqual(0);
          expect(metrics.reward!).toBeLessThanOrEqual(1);
          if (name === 'ppo') expect(metrics['loss/value_avg']!).toBeGreaterThan(0);
        }
        const result = await evaluate(
          {
            ...{ name: 'sums', dataset: rows, prompt: (row: { readonly prompt: string }) => row.prompt },
            ...{ sampling: { maxTokens: 3, stop: ['\n'], temperature: 0 }, graders: [grader], metrics: [meanScore()] },
            type: 'generate',
          },
          new LocalGenerator(trainer.model),
        );
        expect(metricOf(result, 'mean').value).toBeGreaterThan(0.5);
      },
    );

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

  describe('rl trains a local model beside adapters of peft', () => {
    const rows = [
      { prompt: '7+8=15\n20+30=50\n40+5=', answer: 45 },
      { prompt: '7+8=15\n20+30=50\n11+22=', answer: 33 },
    ];
    const critic = async () => {
      const value = await ValueModel.fromCausalLM(model, { seed: 1 });
      return valueModelCritic(value, { learningRate: 1e-3, vfCoef: 1, cliprangeValue: 10, iterationsPerBatch: 2 });
    };

    it.each([
      [
        'PPO, with a value model that begins as the policy does',
        async () => policyObjectives.ppo({ critic: await critic() }),
      ],
      ['ReMax, with the greedy answer as its baseline', async () => policyObjectives.remax()],
    ])('by %s', async (_, objectiveOf) => {
      const objective = await objectiveOf();
      const adapter = await createAdapter(model, lora, { r: 4, targetModules: 'all-linear' }, { seed: 1 });
      const { adapter: trained, history } = await trainPolicy({
        ...{ model, adapter, rows, objective, rewards: { right: numericMatch(), ended: missingEosPenalty() } },
        ...{ steps: 2, promptsPerStep: 2, completionsPerPrompt: 8, maxCompletionLength: 4, stop: ['\n'], seed: 5 },
        ...{ learningRate: 1e-3, schedule: 'constant' as const },
      });
      const rewards = history.map(({ metrics }) => metrics['rewards/right/mean']!);
      expect(rewards.every((reward) => reward >= 0 && reward <= 1)).toBe(true);
      // Two updates of the value model in each of two steps.
      if (objective.name === 'ppo') expect(objective.annotators![0]!.trainers!.critic!.step).toBe(4);
      const generator = new LocalGenerator(model, { adapter: () => trained! });
      const answers = await generator.generate([{ prompt: rows[0]!.prompt, maxTokens: 3, temperature: 0 }]);
      expect(firstNumber(answers[0]![0]!.text)).toMatch(/^\d+$/);
    });
  });
});
