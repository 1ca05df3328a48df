import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Engine, Key, referenceEngine, setEngine, type Tensor, tensor } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { adamW, parameterGroups, sgd } from '@posttrain/core-tensor/optim';
import { CausalLM, LocalGenerator, loadWeights, ValueModel, type Weights } from '@posttrain/lm';
import {
  hiddenStates,
  type Loss,
  negativeLogLikelihood,
  predictions,
  type TensorSnapshot,
  type TrainableModel,
  Trainer,
  type TrainingRow,
  tokenValues,
} from '@posttrain/training';
import { savedState, testLoss } from '@posttrain/training/testing';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import {
  type CqlOptions,
  cql,
  DecisionTransformer,
  type IlqlOptions,
  ilql,
  ilqlSampler,
  type NumericEnvironment,
  type NumericPolicy,
  oreoPolicy,
  oreoSteps,
  oreoValue,
  play,
  returnConditioned,
  returnOf,
  syncTargets,
  type Trajectory,
  trainDecisionTransformer,
  trajectoryRow,
  withQHeads,
} from '../src/index.js';
import { expectClose, goldenFolder } from './goldens.js';
import { tokenizer, toyModel } from './toy.js';

let engine: Engine;
beforeAll(() => {
  engine = referenceEngine();
  setEngine(engine);
});

describe('OREO, and an enumerated world', () => {
  const golden = JSON.parse(readFileSync(join(goldenFolder, 'losses/oreo.json'), 'utf8')) as {
    sequences: number[][];
    untrained: number;
    beta: number;
    alpha: number;
    rows: Record<string, number[]>[];
    losses: Record<'policy' | 'policy_with_kl' | 'value', number>;
    norm: Record<'policy' | 'policy_with_kl' | 'value', number[]>;
    head: number[];
    levels: Record<'step' | 'response', { steps: number[][]; loss: number; norm: number[] }>;
  };
  const rows: TrainingRow[] = golden.sequences.map((tokens, i) => {
    const actions = tokens.length - 1 - golden.untrained;
    const weights = tokens.slice(1).map((_, t) => (t < golden.untrained ? 0 : 1 / actions / golden.sequences.length));
    return { tokens, weights, annotations: golden.rows[i]! };
  });
  /** The same rows as one. A prediction of the next sequence's first token is no action. */
  const packed: TrainingRow = {
    tokens: rows.flatMap(({ tokens }) => tokens),
    weights: rows.flatMap(({ weights }, i) => [...(i === 0 ? [] : [0]), ...(weights as number[])]),
    annotations: Object.fromEntries(
      Object.keys(golden.rows[0]!).map((name) => [
        name,
        // Whatever stands there is not read.
        golden.rows.flatMap((row, i) => [...(i === 0 ? [] : [7]), ...row[name]!]),
      ]),
    ),
    lengths: rows.map(({ tokens }) => tokens.length),
  };
  const load = async (name: string) =>
    new CausalLM({ ...(await loadWeights(join(goldenFolder, 'models', name))), tokenizer, name });

  it.each(['policy', 'policy_with_kl', 'value'] as const)(
    'is what torch makes of the formula, value and gradient, packed or not: %s',
    async (which) => {
      const reference = await load('mistral');
      const { beta, alpha } = golden;
      const loss = {
        policy: oreoPolicy({ beta }),
        policy_with_kl: oreoPolicy({ beta, alpha, reference }),
        value: oreoValue({ beta }),
      }[which];
      const model: TrainableModel = which === 'value' ? await critic(await load('llama')) : await load('llama');
      for (const given of [rows, [packed]]) {
        const trainer = await Trainer.create(model, { optimizer: sgd() });
        expectClose([(await trainer.forwardBackward(given, loss)).loss], [golden.losses[which]], 1e-5);
        const gradients = await trainer.takeGradients();
        expectClose(await gradients['model.norm.weight']!.toArray(), golden.norm[which], 1e-5);
        if (which === 'value') expectClose(await gradients['score.weight']!.toArray(), golden.head, 1e-4);
      }
    },
  );

  async function critic(model: CausalLM): Promise<ValueModel> {
    const plain = await ValueModel.fromCausalLM(model);
    const head = Float32Array.from({ length: 32 }, (_, i) => Math.cos(0.9 * i));
    return plain.withWeights({ ...plain.weights, 'score.weight': tensor(head, [1, 32]) });
  }

  it.each(['step', 'response'] as const)('with %ss for actions too, however rows are packed', async (which) => {
    const { steps, loss: expected, norm } = golden.levels[which];
    const starts = steps.map((own) => own.map((step, t) => step > 0 && step !== own[t - 1]));
    const parted = rows.map((row, i): TrainingRow => {
      const count = Math.max(...steps[i]!);
      const weights = starts[i]!.map((isStart) => (isStart ? 1 / count / rows.length : 0));
      return { ...row, weights, annotations: { ...row.annotations, steps: steps[i]! } };
    });
    const together: TrainingRow = {
      ...packed,
      weights: parted.flatMap(({ weights }, i) => [...(i === 0 ? [] : [0]), ...Array.from(weights)]),
      annotations: { ...packed.annotations, steps: steps.flatMap((own, i) => [...(i === 0 ? [] : [0]), ...own]) },
    };
    const { beta, alpha } = golden;
    const loss = oreoPolicy({ beta, alpha, reference: await load('mistral'), level: 'step' });
    for (const given of [parted, [together]]) {
      const trainer = await Trainer.create(await load('llama'), { optimizer: sgd() });
      expectClose([(await trainer.forwardBackward(given, loss)).loss], [expected], 1e-5);
      const gradients = await trainer.takeGradients();
      expectClose(await gradients['model.norm.weight']!.toArray(), norm, 1e-5);
    }
    const made = oreoSteps([5, 9, 5, 5, 9], [9]);
    expect(made).toEqual({ steps: [1, 1, 2, 2, 2], isStart: [true, false, true, false, false] });
    expect(oreoSteps([5, 9]).steps).toEqual([1, 1]);
  });

  it('stopped between its two updates and resumed, with steps for actions, ends with the same weights', async () => {
    setEngine(onnxruntimeEngine());
    onTestFinished(() => setEngine(engine));
    const make = async () => {
      const model = await load('llama');
      return {
        policy: await Trainer.create(model, { optimizer: adamW() }),
        value: await Trainer.create(await critic(model), { optimizer: adamW() }),
      };
    };
    type Trainers = Awaited<ReturnType<typeof make>>;
    const losses = { policy: oreoPolicy({ level: 'step' }), value: oreoValue({ level: 'step' }) };
    const given = rows.map(({ tokens, annotations }): TrainingRow => {
      const [before, completion] = [tokens.slice(0, golden.untrained + 1), tokens.slice(golden.untrained + 1)];
      const { steps, isStart } = oreoSteps(Array.from(completion), [completion[1]!]);
      const none = Array.from(before.slice(1), () => 0);
      const weights = [...none, ...isStart.map((starts) => (starts ? 1 / steps.at(-1)! / rows.length : 0))];
      return { tokens, weights, annotations: { ...annotations, steps: [...none, ...steps] } };
    });
    const valueUpdate = async ({ policy, value }: Trainers) => {
      const { logProbs } = await policy.read(given, predictions());
      const valued = given.map((row, i) => {
        const log_ratios = Array.from(logProbs[i]!, (x, t) => x - row.annotations!.reference_log_probs![t]!);
        return { ...row, annotations: { ...row.annotations, log_ratios } };
      });
      await value.forwardBackward(valued, losses.value);
      await value.optimStep({ learningRate: 0.01 });
    };
    const policyUpdate = async ({ policy, value }: Trainers) => {
      const values = await value.read(given, tokenValues);
      const valued = given.map((row, i) => {
        return { ...row, annotations: { ...row.annotations, values: Array.from(values[i]!).slice(0, -1) } };
      });
      await policy.forwardBackward(valued, losses.policy);
      await policy.optimStep({ learningRate: 0.01 });
    };
    const numbers = async (trainers: Trainers) =>
      Promise.all(
        Object.values(trainers).flatMap(({ parameters }) => Object.values(parameters).map((x) => x.toArray())),
      );

    const straight = await make();
    for (const update of [valueUpdate, policyUpdate, valueUpdate]) await update(straight);
    const saved = async (trainer: Pick<Trainer, 'snapshot'>) =>
      (await savedState(await trainer.snapshot())) as TensorSnapshot;
    const snapshots = { policy: await saved(straight.policy), value: await saved(straight.value) };
    await policyUpdate(straight);

    const resumed = await make();
    await resumed.policy.restore(snapshots.policy);
    await resumed.value.restore(snapshots.value);
    expect(await numbers(resumed)).not.toEqual(await numbers(straight));
    await policyUpdate(resumed);
    expect(await numbers(resumed)).toEqual(await numbers(straight));
  });

  testLoss(it, 'oreoPolicy', oreoPolicy(), { stopsGradients: true });
  testLoss(it, 'oreoValue', oreoValue(), { head: 'value' });

  it('refuses a KL without a reference', () => {
    expect(() => oreoPolicy({ alpha: 0.1 })).toThrow(/needs a reference/);
  });

  // A world of three tokens a time, three times: every state is a beginning of a sequence, 1 + 3 + 9 of them.
  const [ACTIONS, STEPS, STATES] = [3, 3, 13];
  const strength = 0.7;
  const sequences = Array.from({ length: ACTIONS ** STEPS }, (_, i) => [
    Math.floor(i / 9),
    Math.floor(i / 3) % 3,
    i % 3,
  ]);
  const stateAfter = (taken: readonly number[]) => taken.reduce((state, action) => state * ACTIONS + action + 1, 0);
  const statesOf = (sequence: readonly number[]) => sequence.map((_, t) => stateAfter(sequence.slice(0, t)));
  const rewardOf = (taken: readonly number[]) => Math.sin(5 * stateAfter(taken));
  const referenceOf = (state: number) => {
    const exps = [0, 1, 2].map((action) => Math.exp(Math.cos(3 * state + action)));
    return exps.map((x) => x / exps.reduce((a, b) => a + b));
  };

  /** V* and π* by dynamic programming: V = β log Σ π_ref e^(Q/β), π = π_ref e^((Q - V)/β). */
  function solved() {
    const [values, policy] = [new Array<number>(STATES).fill(0), new Array<number[]>(STATES)];
    const solve = (taken: readonly number[]): number => {
      if (taken.length === STEPS) return 0;
      const state = stateAfter(taken);
      const q = [0, 1, 2].map((action) => rewardOf([...taken, action]) + solve([...taken, action]));
      const weighted = referenceOf(state).map((p, action) => p * Math.exp(q[action]! / strength));
      const sum = weighted.reduce((a, b) => a + b);
      [values[state], policy[state]] = [strength * Math.log(sum), weighted.map((x) => x / sum)];
      return values[state]!;
    };
    solve([]);
    return { values, policy };
  }

  /** A model that is a table: no tokenizer and no embeddings, its rows say by an input which state a token ends in. */
  function table(weights: Weights, hasHead = weights['table.weight']!.shape[1] === 1): TrainableModel {
    const width = weights['table.weight']!.shape[1]!;
    const ones = Float32Array.from({ length: 3 * width }, (_, i) => (i % width === Math.floor(i / width) ? 1 : 0));
    const identity = tensor(ones, [3, width]);
    const head = { task: 'value', architecture: 'Table', module: 'score', labels: ['value'] } as const;
    const config = { vocabSize: ACTIONS, maxPositionEmbeddings: STEPS + 1, hiddenSize: width };
    const score = {
      name: 'score',
      kind: 'head',
      inFeatures: 1,
      outFeatures: 1,
      layer: undefined,
      transposed: false,
    } as const;
    return {
      name: 'table',
      config,
      weights,
      network: {
        config: hasHead ? { ...config, head: { ...head, bias: false, hiddenLayer: false } } : config,
        engine,
        modules: new Map([['score', score]]),
        logitSoftCap: undefined,
        hidden: (given, { inputs }) => given['table.weight']!.gather(inputs!.state!.squeeze(2)),
        outputLayer: (_, states) => ({
          states,
          matrix: identity,
          isBase: true,
          logits: () => states,
        }),
      },
      withWeights(other) {
        return { ...this, ...table({ ...weights, ...other }, hasHead) };
      },
    };
  }
  const policyTable = (logits: readonly (readonly number[])[]) =>
    table({ 'table.weight': tensor(Float32Array.from(logits.flat()), [STATES, ACTIONS]) });
  const valueTable = (values: readonly number[]) =>
    table({
      'table.weight': tensor(Float32Array.from(values), [STATES, 1]),
      'score.weight': tensor([1], [1, 1]),
    });

  /**
   * All trajectories, as often as a behaviour that favours small numbers takes them; before the first action stands a
   * 0.
   */
  const trajectories: TrainingRow[] = sequences.map((sequence) => ({
    tokens: [0, ...sequence],
    inputs: { state: { data: [...statesOf(sequence), 0], width: 1, dtype: 'int32' } },
    weights: sequence.map(() => sequence.reduce((p, action) => p * [0.5, 0.3, 0.2][action]!, 1 / STEPS)),
    annotations: {
      rewards: sequence.map((_, t) => rewardOf(sequence.slice(0, t + 1))),
      reference_log_probs: statesOf(sequence).map((state, t) => Math.log(referenceOf(state)[sequence[t]!]!)),
    },
  }));
  const annotate = (name: string, of: (row: TrainingRow, i: number) => readonly number[]) =>
    trajectories.map((row, i) => ({ ...row, annotations: { ...row.annotations, [name]: of(row, i) } }));

  it('has no residual at the optimum, which the form without the later log-ratios has', async () => {
    const { values, policy } = solved();
    const [actor, value] = [
      await Trainer.create(policyTable(policy.map((p) => p.map(Math.log))), { optimizer: sgd() }),
      await Trainer.create(valueTable(values), { optimizer: sgd() }),
    ];
    const withValues = annotate('values', (row) =>
      (row.inputs!.state!.data as number[]).slice(0, 3).map((s) => values[s]!),
    );
    const { loss } = await actor.forwardBackward(withValues, oreoPolicy({ beta: strength }));
    expect(loss).toBeLessThan(1e-10);
    const { logProbs } = await actor.read(trajectories, predictions());
    const ratios = annotate('log_ratios', (row, i) =>
      [...logProbs[i]!].map((x, t) => x - row.annotations!.reference_log_probs![t]!),
    );
    expect((await value.forwardBackward(ratios, oreoValue({ beta: strength }))).loss).toBeLessThan(1e-10);
    const surveyed: Loss = {
      name: 'surveyed',
      annotations: ['residual'],
      computeFrom: (_, { weights, annotations }) => ({
        loss: annotations.residual!.square().mul(weights).sum(),
        metrics: {},
      }),
    };
    const residuals = annotate('residual', (row, i) => {
      const { rewards } = row.annotations!;
      return [0, 1, 2].map((t) => {
        const toCome = Array.from(rewards!)
          .slice(t)
          .reduce((a, b) => a + b, 0);
        const own = [...logProbs[i]!][t]! - row.annotations!.reference_log_probs![t]!;
        return values[(row.inputs!.state!.data as number[])[t]!]! - toCome + strength * own;
      });
    });
    expect((await actor.evaluate(residuals, surveyed)).loss).toBeGreaterThan(0.05);
  });

  it('of whole responses has a residual whose differences are DPO’s margins less what the rewards differ by', async () => {
    const actor = await Trainer.create(policyTable(Array.from({ length: STATES }, (_, s) => [0.3 * s, 0, -0.1 * s])), {
      optimizer: sgd(),
    });
    const { logProbs } = await actor.read(trajectories, predictions());
    const own = logProbs.map((row, i) =>
      Array.from(row).reduce((sum, x, t) => sum + x - trajectories[i]!.annotations!.reference_log_probs![t]!, 0),
    );
    const rewardsOf = trajectories.map(({ annotations }) => Array.from(annotations!.rewards!).reduce((a, b) => a + b));
    const residualOf = async (i: number) => {
      const annotations = { ...trajectories[i]!.annotations, values: [0, 0, 0], steps: [1, 1, 1] };
      const row = { ...trajectories[i]!, weights: [1, 0, 0], annotations };
      return (await actor.evaluate([row], oreoPolicy({ beta: strength, level: 'step' }))).metrics.residual!;
    };
    for (const [i, j] of [
      [0, 5],
      [7, 26],
      [13, 2],
    ] as const) {
      const margin = strength * (own[i]! - own[j]!);
      expect((await residualOf(i)) - (await residualOf(j))).toBeCloseTo(margin - rewardsOf[i]! + rewardsOf[j]!, 5);
    }
  });

  it('finds π* and V* from what another policy did, which cloning it does not', async () => {
    const start = Array.from({ length: STATES }, () => [0, 0, 0]);
    const optimizer = adamW({ weightDecay: 0 });
    const actor = await Trainer.create(policyTable(start), { optimizer, maxGradNorm: 0 });
    const value = await Trainer.create(valueTable(start.map(() => 0)), { optimizer, maxGradNorm: 0 });
    const losses = { actor: oreoPolicy({ beta: strength }), value: oreoValue({ beta: strength }) };
    for (let step = 0; step < 200; step++) {
      const { logProbs } = await actor.read(trajectories, predictions());
      const ratios = annotate('log_ratios', (row, i) =>
        [...logProbs[i]!].map((x, t) => x - row.annotations!.reference_log_probs![t]!),
      );
      const learningRate = 0.1 * (1 - step / 200);
      await value.forwardBackward(ratios, losses.value);
      await value.optimStep({ learningRate });
      const read = await value.read(trajectories, tokenValues);
      await actor.forwardBackward(
        annotate('values', (_, i) => [...read[i]!].slice(0, 3)),
        losses.actor,
      );
      await actor.optimStep({ learningRate });
    }
    const { policy } = solved();
    const found = await probabilities(actor.parameters['table.weight']!);
    const far = (p: readonly (readonly number[])[]) =>
      Math.max(...p.map((row, state) => Math.max(...row.map((x, a) => Math.abs(x - policy[state]![a]!)))));
    expect(far(found)).toBeLessThan(0.02);
    expect(far(start.map(() => [0.5, 0.3, 0.2]))).toBeGreaterThan(0.3);
  });

  it('has no gradient where ILQL with τ 0.5 knows what the behaviour is worth, but with another τ', async () => {
    // Q and V of the behaviour by dynamic programming, γ being 0.9. A state is one of the numbers of a hidden state.
    const [q, v] = [new Array<number>(STATES * ACTIONS).fill(0), new Array<number>(STATES).fill(0)];
    const worth = (taken: readonly number[]): number => {
      if (taken.length === STEPS) return 0;
      const state = stateAfter(taken);
      [0.5, 0.3, 0.2].forEach((p, action) => {
        q[action * STATES + state] = rewardOf([...taken, action]) + 0.9 * worth([...taken, action]);
        v[state]! += p * q[action * STATES + state]!;
      });
      return v[state]!;
    };
    worth([]);
    const heads = tensor(Float32Array.from(q), [ACTIONS, STATES]);
    const eye = Float32Array.from({ length: STATES ** 2 }, (_, i) => (i % (STATES + 1) === 0 ? 1 : 0));
    const weights = {
      'table.weight': tensor(eye, [STATES, STATES]),
      'score.weight': tensor(Float32Array.from(v), [1, STATES]),
      ...Object.fromEntries(
        ['q1_head', 'q2_head', 'target_q1_head', 'target_q2_head'].map((name) => [`${name}.weight`, heads] as const),
      ),
    };
    const gradientsWith = async (tau: number) => {
      const trainer = await Trainer.create(table(weights, true), { optimizer: sgd() });
      const { metrics } = await trainer.forwardBackward(
        trajectories,
        ilql({ tau, gamma: 0.9, cqlScale: 0, awacScale: 0 }),
      );
      const gradients = await trainer.takeGradients();
      const [ofV, ofQ] = ['score.weight', 'q1_head.weight'].map((name) => gradients[name]!.toArray());
      return { metrics, ofV: await ofV!, ofQ: await ofQ! };
    };
    const fair = await gradientsWith(0.5);
    expect(fair.metrics.q_loss).toBeLessThan(1e-10);
    expectClose([...fair.ofV, ...fair.ofQ], new Array(STATES * (1 + ACTIONS)).fill(0), 1e-6);
    // A greater V has a smaller loss, in every state.
    for (const slope of (await gradientsWith(0.9)).ofV) expect(slope).toBeLessThan(-1e-3);
  });

  it('CQL has no gradient where Q is what dynamic programming with its penalty says, below what Q-learning has', async () => {
    const behaviour = [0.5, 0.3, 0.2];
    const [gamma, alpha] = [0.9, 0.5];
    /** Q of every state by halving, in a world in which only Q(s, ·) itself has to be found: targets are known from the end backwards. */
    const solvedFor = (penalty: number): number[] => {
      const q = new Array<number>(STATES * ACTIONS).fill(0);
      const worth = (taken: readonly number[]): number => {
        if (taken.length === STEPS) return 0;
        const goals = [0, 1, 2].map((action) => rewardOf([...taken, action]) + gamma * worth([...taken, action]));
        // The optimum of Σ_a π_β ½ (Q - y)² + α (log Σ e^Q - Σ π_β Q), by Newton-like steps far past convergence.
        let own = [...goals];
        for (let i = 0; i < 4000; i++) {
          const exps = own.map(Math.exp);
          const sum = exps.reduce((a, b) => a + b);
          own = own.map((x, a) => {
            const slope = behaviour[a]! * (x - goals[a]!) + penalty * (exps[a]! / sum - behaviour[a]!);
            return x - 0.5 * slope;
          });
        }
        own.forEach((x, action) => {
          q[action * STATES + stateAfter(taken)] = x;
        });
        return Math.max(...own);
      };
      worth([]);
      return q;
    };
    const eye = Float32Array.from({ length: STATES ** 2 }, (_, i) => (i % (STATES + 1) === 0 ? 1 : 0));
    const gradientOf = async (q: readonly number[], penalty: number) => {
      const head = tensor(Float32Array.from(q), [ACTIONS, STATES]);
      const weights = {
        'table.weight': tensor(eye, [STATES, STATES]),
        'score.weight': tensor(new Float32Array(STATES), [1, STATES]),
        ...{ 'q1_head.weight': head, 'target_q1_head.weight': head },
      };
      const trainer = await Trainer.create(table(weights, true), { optimizer: sgd() });
      await trainer.forwardBackward(trajectories, cql({ gamma, alpha: penalty }));
      const gradients = await trainer.takeGradients();
      expect(await gradients['target_q1_head.weight']!.abs().sum().item()).toBe(0);
      return gradients['q1_head.weight']!.toArray();
    };
    const [plain, conservative] = [solvedFor(0), solvedFor(alpha)];
    for (const [q, penalty] of [
      [plain, 0],
      [conservative, alpha],
    ] as const)
      expectClose(await gradientOf(q, penalty), new Array(STATES * ACTIONS).fill(0), 1e-5);
    expect(Math.max(...(await gradientOf(plain, alpha)).map(Math.abs))).toBeGreaterThan(1e-2);
    // At the root, as in theory: the value of the behaviour under the conservative Q is a lower bound of that under the other.
    const underBehaviour = (q: readonly number[]) => behaviour.reduce((sum, p, a) => sum + p * q[a * STATES]!, 0);
    expect(underBehaviour(conservative)).toBeLessThan(underBehaviour(plain));
  });

  it('CQL learns not to take what the log does not, which Q-learning from the same log does', async () => {
    // The log has two of the three actions; what nobody took is worth nothing, and looks good in the network as it begins.
    const taken = trajectories.filter((_, i) => !sequences[i]!.includes(2));
    const sum = taken.reduce((all, row) => all + Array.from(row.weights).reduce((a, b) => a + b), 0);
    const log = taken.map((row) => ({ ...row, weights: Array.from(row.weights, (x) => x / sum) }));
    const eye = Float32Array.from({ length: STATES ** 2 }, (_, i) => (i % (STATES + 1) === 0 ? 1 : 0));
    const start = Float32Array.from({ length: ACTIONS * STATES }, (_, i) => (i >= 2 * STATES ? 2 : 0));
    const unseenTaken = async (alpha: number) => {
      const head = () => tensor(start, [ACTIONS, STATES]);
      const weights = {
        'table.weight': tensor(eye, [STATES, STATES]),
        'score.weight': tensor(new Float32Array(STATES), [1, STATES]),
        ...{ 'q1_head.weight': head(), 'target_q1_head.weight': head() },
        ...{ 'q2_head.weight': head(), 'target_q2_head.weight': head() },
      };
      const trainer = await Trainer.create(table(weights, true), {
        optimizer: parameterGroups([{ match: /^table/, frozen: true }, { optimizer: adamW({ weightDecay: 0 }) }]),
        maxGradNorm: 0,
      });
      for (let step = 0; step < 60; step++) {
        await trainer.forwardBackward(log, cql({ gamma: 0.9, alpha }));
        await trainer.optimStep({ learningRate: 0.1 });
        await syncTargets(trainer, { alpha: 0.3 });
      }
      const q = await trainer.parameters['q1_head.weight']!.toArray();
      const states = [...new Set(log.flatMap((row) => Array.from(row.inputs!.state!.data as number[]).slice(0, 3)))];
      const greedy = states.map((s) =>
        [0, 1, 2].reduce((best, a) => (q[a * STATES + s]! > q[best * STATES + s]! ? a : best)),
      );
      return greedy.filter((action) => action === 2).length / states.length;
    };
    expect(await unseenTaken(0)).toBeGreaterThan(0.5);
    expect(await unseenTaken(0.5)).toBe(0);
  });

  async function probabilities(logits: Tensor): Promise<number[][]> {
    const flat = await logits.toArray();
    return Array.from({ length: STATES }, (_, state) => {
      const exps = flat.slice(3 * state, 3 * state + 3).map(Math.exp);
      return exps.map((x) => x / exps.reduce((a, b) => a + b));
    });
  }
});

describe('ILQL', () => {
  const golden = JSON.parse(readFileSync(join(goldenFolder, 'losses/ilql.json'), 'utf8')) as {
    sequences: number[][];
    masks: number[][];
    rewards: number[][];
    options: IlqlOptions;
    loss: number;
    metrics: Record<string, number>;
    norm: number[];
    v_head: number[];
    q1_head: number[];
  };
  const actions = golden.masks.flat().reduce((a, b) => a + b, 0);
  const rows = golden.sequences.map((tokens, i): TrainingRow => {
    return {
      tokens,
      weights: golden.masks[i]!.map((x) => x / actions),
      annotations: { rewards: golden.rewards[i]! },
    };
  });
  const packed: TrainingRow = {
    tokens: golden.sequences.flat(),
    lengths: golden.sequences.map(({ length }) => length),
    weights: rows.flatMap(({ weights }, i) => [...(i === 0 ? [] : [0]), ...Array.from(weights)]),
    annotations: { rewards: golden.rewards.flatMap((row, i) => [...(i === 0 ? [] : [9]), ...row]) },
  };
  const [vocabulary, width] = [256, 32];

  async function model() {
    const base = new CausalLM({ ...(await loadWeights(join(goldenFolder, 'models/llama'))), tokenizer, name: 'llama' });
    const plain = withQHeads(await ValueModel.fromCausalLM(base, { format: 'v_head' }));
    const numbers = (of: (i: number, j: number) => number, count: number) =>
      Float32Array.from({ length: count * width }, (_, at) => of(Math.floor(at / width), at % width));
    const heads = ['q1_head', 'q2_head', 'target_q1_head', 'target_q2_head'].map((name, k) => {
      const values = numbers((i, j) => 0.1 * Math.sin(0.37 * i + 1.3 * j + k), vocabulary);
      return [`${name}.weight`, tensor(values, [vocabulary, width])] as const;
    });
    const v = numbers((_, j) => 0.3 * Math.cos(0.9 * j), 1);
    return plain.withWeights({
      ...plain.weights,
      ...Object.fromEntries(heads),
      'v_head.summary.weight': tensor(v, [1, width]),
    });
  }

  it('is what torch makes of trlX’s formula, value, terms and gradient, packed or not', async () => {
    for (const given of [rows, [packed]]) {
      const trainer = await Trainer.create(await model(), { optimizer: sgd() });
      const { loss, metrics } = await trainer.forwardBackward(given, ilql(golden.options));
      expectClose([loss], [golden.loss], 1e-5);
      for (const [name, value] of Object.entries(golden.metrics)) expectClose([metrics[name]!], [value], 1e-5, name);
      const gradients = await trainer.takeGradients();
      expectClose(await gradients['model.norm.weight']!.toArray(), golden.norm, 1e-5);
      expectClose(await gradients['v_head.summary.weight']!.toArray(), golden.v_head, 1e-5);
      expectClose(await gradients['q1_head.weight']!.sum(1).toArray(), golden.q1_head, 1e-5);
      // Targets are followed, not trained.
      expect(await gradients['target_q1_head.weight']!.abs().sum().item()).toBe(0);
    }
  });

  it('and CQL of one head what torch makes of the paper’s formula', async () => {
    const wanted = JSON.parse(readFileSync(join(goldenFolder, 'losses/cql.json'), 'utf8')) as Pick<
      typeof golden,
      'loss' | 'metrics' | 'norm' | 'q1_head'
    > & { readonly options: CqlOptions };
    for (const given of [rows, [packed]]) {
      const trainer = await Trainer.create(await model(), { optimizer: sgd() });
      const { loss, metrics } = await trainer.forwardBackward(given, cql(wanted.options));
      expectClose([loss], [wanted.loss], 1e-5);
      for (const [name, value] of Object.entries(wanted.metrics)) expectClose([metrics[name]!], [value], 1e-5, name);
      const gradients = await trainer.takeGradients();
      expectClose(await gradients['model.norm.weight']!.toArray(), wanted.norm, 1e-5);
      expectClose(await gradients['q1_head.weight']!.sum(1).toArray(), wanted.q1_head, 1e-5);
      expect(await gradients['target_q1_head.weight']!.abs().sum().item()).toBe(0);
    }
  });

  it('moves its targets a part of the way to the heads', async () => {
    const trainer = await Trainer.create(await model(), { optimizer: sgd() });
    const numbersOf = (name: string) => trainer.parameters[`${name}.weight`]!.toArray();
    const [own, before] = [await numbersOf('q2_head'), await numbersOf('target_q2_head')];
    await syncTargets(trainer, { alpha: 0.25 });
    const expected = before.map((x, i) => 0.75 * x + 0.25 * own[i]!);
    expectClose(await numbersOf('target_q2_head'), expected, 1e-6);
    expect(await numbersOf('q2_head')).toEqual(own);
  });
});

describe('ILQL’s sampler', () => {
  it('draws from π e^(β min Q), by hand; with β 0 from π; and refuses what has no Q', async () => {
    const base = await toyModel(3);
    const trained = withQHeads(await ValueModel.fromCausalLM(base, { format: 'v_head' }), 5);
    const heads = ['target_q1_head', 'target_q2_head'].map((name) => trained.weights[`${name}.weight`]!);
    const scaled = ['target_q1_head', 'target_q2_head'].map(
      (name, i) => [`${name}.weight`, heads[i]!.mul(40)] as const,
    );
    const valued = trained.withWeights({ ...trained.weights, ...Object.fromEntries(scaled) });
    const prompt = { tokenIds: [0, 1, 2] };
    const beta = 1.5;
    const probabilities = async (given: Parameters<typeof ilqlSampler>[1]) => {
      const { model, mix } = ilqlSampler(valued, given);
      const generator = new LocalGenerator(model);
      const ids = Array.from({ length: 8 }, (_, i) => i);
      const drawn = (
        await generator.generate([{ prompt, n: 48, seed: 1, maxTokens: 1, mix, samplingLogProbs: true }])
      )[0]!;
      const known = new Map(drawn.map((one) => [one.tokenIds![0]!, Math.exp(one.samplingLogProbs![0]!)]));
      return ids.map((id) => known.get(id));
    };
    const trainer = await Trainer.create(base, { optimizer: sgd() });
    const states = await trainer.read([{ tokens: [...prompt.tokenIds, 0], weights: [0, 0, 1] }], hiddenStates);
    const hidden = Array.from(states[0]!).slice(2 * 16, 3 * 16);
    const [lm, q1, q2] = await Promise.all(
      [base.weights['lm_head.weight']!, scaled[0]![1], scaled[1]![1]].map(async (x) => {
        const flat = await x.toArray();
        return Array.from({ length: 8 }, (_, id) => hidden.reduce((sum, h, j) => sum + h * flat[id * 16 + j]!, 0));
      }),
    );
    for (const strength of [beta, 0]) {
      const scores = lm!.map((x, id) => x + strength * Math.min(q1![id]!, q2![id]!));
      const exps = scores.map((x) => Math.exp(x - Math.max(...scores)));
      const expected = exps.map((x) => x / exps.reduce((a, b) => a + b));
      const known = await probabilities({ beta: strength });
      expect(known.filter((p) => p !== undefined).length).toBeGreaterThan(3);
      known.forEach((p, id) => {
        if (p !== undefined) expect(p, `token ${id}`).toBeCloseTo(expected[id]!, 5);
      });
    }
    const plain = await ValueModel.fromCausalLM(base, { format: 'v_head' });
    expect(() => ilqlSampler(plain)).toThrow(/has no target_q1_head\.weight; withQHeads gives/);
  });
});

describe('the Decision Transformer', () => {
  const folder = join(goldenFolder, 'decision-transformer');
  const golden = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as {
    loss: number;
    pieces: { from: number; observations: number[][]; actions: number[][]; returns: number[]; predicted: number[][] }[];
    gradients: Record<string, number[]>;
  };
  /** A trajectory of which the piece is the end: what comes before it is not read. */
  const trajectories = golden.pieces.map(({ from, observations, actions, returns }): Trajectory => {
    const before = <T>(x: T) => new Array<T>(from).fill(x);
    return {
      observations: [...before([9, 9, 9]), ...observations],
      actions: [...before([9, 9]), ...actions],
      rewards: [...before(9), ...returns.map((value, t) => value - (returns[t + 1] ?? 0))],
    };
  });
  const count = golden.pieces.reduce((sum, { actions }) => sum + actions.length, 0);
  const rowsFor = ({ config }: DecisionTransformer) =>
    trajectories.map((trajectory, i) =>
      trajectoryRow(config, trajectory, { from: golden.pieces[i]!.from, weight: 1 / count }),
    );

  it('is that of transformers, whose folder it loads: loss and gradients, and the actions it takes', async () => {
    const model = await DecisionTransformer.load(folder);
    const rows = rowsFor(model);
    const [first, second] = rows as [TrainingRow, TrainingRow];
    const join = (of: (row: TrainingRow) => ArrayLike<number>, between: readonly number[] = []) => [
      ...Array.from(of(first)),
      ...between,
      ...Array.from(of(second)),
    ];
    const packed: TrainingRow = {
      tokens: [...first.tokens, ...second.tokens],
      lengths: [first.tokens.length, second.tokens.length],
      weights: join(({ weights }) => weights, [0]),
      annotations: { actions: join(({ annotations }) => annotations!.actions!, [5, 5]) },
      inputs: Object.fromEntries(
        Object.entries(first.inputs!).map(([name, input]) => [
          name,
          { ...input, data: join((row) => row.inputs![name]!.data) },
        ]),
      ),
    };
    for (const given of [rows, [packed]]) {
      const trainer = await Trainer.create(model, { optimizer: sgd() });
      expectClose([(await trainer.forwardBackward(given, model.loss)).loss], [golden.loss], 1e-6);
      const gradients = await trainer.takeGradients();
      for (const [name, expected] of Object.entries(golden.gradients)) {
        expectClose(await gradients[name]!.toArray(), expected, 2e-6, name);
      }
    }
    // What is asked for is what was still to come at the beginning of the first piece.
    const [whole, piece] = [trajectories[0]!, golden.pieces[0]!];
    const policy = returnConditioned(model, { targetReturn: piece.returns[0]!, contextLength: 4 });
    for (const t of [0, 3]) {
      const seen = { ...whole, observations: whole.observations.slice(0, t + 1), actions: whole.actions.slice(0, t) };
      const [action] = await policy.act([seen], [Key.fromSeed(0)]);
      expectClose(action as number[], piece.predicted[t]!, 2e-6);
    }
  });

  it('refuses what does not fit it', async () => {
    const model = await DecisionTransformer.load(folder);
    const [first, second] = rowsFor(model) as [TrainingRow, TrainingRow];
    const trainer = await Trainer.create(model, { optimizer: sgd() });
    const { actions: _, ...others } = second.inputs!;
    const forward = (row: TrainingRow) => trainer.forwardBackward([first, row], model.loss);
    await expect(forward({ ...second, inputs: others })).rejects.toThrow(/row 1: the input actions is nothing/);
    const short = { ...second.inputs!.actions!, data: [1, 2] };
    await expect(forward({ ...second, inputs: { ...others, actions: short } })).rejects.toThrow(
      /actions has 2 entries for 9 tokens/,
    );
    await expect(trainer.forwardBackward([first], negativeLogLikelihood)).rejects.toThrow(/actions that are vectors/);
    expect(() => trajectoryRow(model.config, { observations: [[1]], actions: [[1, 2]], rewards: [0] })).toThrow(
      /has 1 numbers/,
    );
    await expect(DecisionTransformer.initialize({ state_dim: 0 })).rejects.toThrow(/state_dim is 0/);
    await expect(DecisionTransformer.load(join(goldenFolder, 'models/gpt2'))).rejects.toThrow(/model_type is "gpt2"/);
  });

  const MOVES = [
    [0, 1],
    [1, 0],
    [0, -1],
    [-1, 0],
  ] as const;
  /**
   * From one corner of a square of nine to the other; every step costs 0.1, and being there is worth 1. The shortest
   * way takes 4.
   */
  const gridworld: NumericEnvironment = {
    name: 'gridworld',
    settings: {},
    observationSize: 9,
    actions: { kind: 'discrete', count: MOVES.length },
    start() {
      let [x, y] = [0, 0];
      const within = (value: number) => Math.min(2, Math.max(0, value));
      const seen = () => Array.from({ length: 9 }, (_, place) => (place === 3 * x + y ? 1 : 0));
      return {
        observation: seen(),
        step(action) {
          const [dx, dy] = MOVES[action as number]!;
          [x, y] = [within(x + dx), within(y + dy)];
          const terminated = x === 2 && y === 2;
          return { observation: seen(), reward: terminated ? 1 : -0.1, terminated };
        },
      };
    },
  };
  const best = 0.7;
  const atRandom: NumericPolicy = {
    name: 'random',
    act: (_, keys) => keys.map((key) => Math.floor(4 * key.uniformHost(1)[0]!)),
  };
  const config = {
    ...{ state_dim: 9, act_dim: 4, discrete_actions: true, max_ep_len: 12, n_positions: 24 },
    ...{ hidden_size: 16, n_layer: 1, n_head: 2, n_inner: 32, initializer_range: 0.1 },
  };
  const shared = { steps: 120, batchSize: 32, contextLength: 4, learningRate: 2e-2, progress: false } as const;
  const maxSteps = 12;
  const meanOf = (x: readonly number[]) => x.reduce((a, b) => a + b, 0) / x.length;

  describe('trained', () => {
    let temporary: string;
    beforeAll(async () => {
      setEngine(onnxruntimeEngine());
      temporary = await mkdtemp(join(tmpdir(), 'decision-transformer-'));
    });
    afterAll(() => rm(temporary, { recursive: true, force: true }));

    it('on random walks finds shorter ways when asked to, and not where returns were shuffled', async () => {
      const gains = { overBehaviour: [] as number[], overShuffled: [] as number[] };
      for (const seed of [1, 2, 3]) {
        const walks = await play({ environment: gridworld, policy: atRandom, episodes: 200, maxSteps, seed });
        // Each has the return of another one, at its end.
        const shuffled = walks.map(({ observations, actions }, i) => {
          const total = returnOf(walks[(i + 7) % walks.length]!);
          return { observations, actions, rewards: actions.map((_, t) => (t === actions.length - 1 ? total : 0)) };
        });
        const returnFrom = async (trajectories: readonly Trajectory[]) => {
          const start = await DecisionTransformer.initialize(config, seed);
          const { model } = await trainDecisionTransformer({ ...shared, model: start, trajectories, seed });
          const policy = returnConditioned(model, { targetReturn: best, contextLength: 4, temperature: 1 });
          return meanOf((await play({ environment: gridworld, policy, episodes: 64, maxSteps, seed })).map(returnOf));
        };
        const asked = await returnFrom(walks);
        gains.overBehaviour.push(asked - meanOf(walks.map(returnOf)));
        gains.overShuffled.push(asked - (await returnFrom(shuffled)));
      }

      for (const gain of Object.values(gains)) {
        const mean = meanOf(gain);
        const deviation = Math.sqrt(gain.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (gain.length - 1));
        // The lower end of the 95% interval, Student's t with two degrees of freedom.
        expect(mean - (4.303 * deviation) / Math.sqrt(gain.length)).toBeGreaterThan(0.5);
      }
    }, 60_000);

    it('is saved, loaded, and goes on from a checkpoint to the same weights', async () => {
      const walks = await play({ environment: gridworld, policy: atRandom, episodes: 20, maxSteps });
      const start = await DecisionTransformer.initialize(config, 5);
      const run = { ...shared, model: start, trajectories: walks, steps: 4, saveSteps: 2 };
      const straight = await trainDecisionTransformer({ ...run, outputFolder: join(temporary, 'straight') });
      const controller = new AbortController();
      const outputFolder = join(temporary, 'stopped');
      const stopped = await trainDecisionTransformer({
        ...{ ...run, outputFolder, signal: controller.signal },
        afterStep: ({ step }) => {
          if (step === 1) controller.abort();
        },
      });
      expect(stopped.stopped).toEqual({ reason: 'signal', step: 2 });
      const resumed = await trainDecisionTransformer({ ...run, outputFolder, resume: true });
      const loaded = await DecisionTransformer.load(join(outputFolder, 'checkpoint-4'));
      expect(loaded.config).toEqual(start.config);
      for (const [name, weight] of Object.entries(straight.model.weights)) {
        const numbers = await weight.toArray();
        expect(await resumed.model.weights[name]!.toArray(), name).toEqual(numbers);
        expect(await loaded.weights[name]!.toArray(), name).toEqual(numbers);
      }
      const others = trainDecisionTransformer({ ...run, trajectories: walks.slice(1), outputFolder, resume: true });
      await expect(others).rejects.toThrow(/trajectories/);
    });
  });
});
