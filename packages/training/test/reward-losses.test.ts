// Losses of reward models beyond pairs, outcomes and steps: their formulas on logits, against goldens and what no formula says.
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { referenceEngine, setEngine, type Tensor, tensor, valueAndGrad } from '@posttrain/core-tensor';
import { onnxruntimeEngine } from '@posttrain/core-tensor/onnxruntime';
import { sgd } from '@posttrain/core-tensor/optim';
import { SequenceClassifier } from '@posttrain/lm';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  bradleyTerry,
  decision,
  estimatePropensities,
  implicitFeedback,
  type LossInputs,
  ODIN_LABELS,
  odin,
  odinQuality,
  outcomeReward,
  plackettLuce,
  processReward,
  type RewardModelLoss,
  type RewardPairRow,
  rewardExampleRows,
  rewardRows,
  stepValue,
  Trainer,
  type TrainingRow,
  trainRewardModel,
} from '../src/index.js';
import { drawing, gainOf, lettersModel } from './letters.js';
import { expectClose } from './model.js';
import { goldens } from './reward-goldens.js';

beforeAll(() => setEngine(referenceEngine()));

interface Formula {
  readonly logits: number[] | number[][];
  readonly loss: number;
  readonly gradient: number[] | number[][];
}
const expected = JSON.parse(readFileSync(join(goldens, 'reward-models/expected.json'), 'utf8')) as {
  plackett_luce: Formula & { scores: number[][] };
  soft_labels: Formula & { probability: number[]; margin: number[] };
  step_value: Formula & { values: number[][]; margin: number; rank_weight: number };
  implicit_feedback: Formula & { clicked: boolean[]; propensity: number[]; min_propensity: number };
  odin: {
    hidden: number[][];
    lengths: number[];
    weight: number[][];
    length_weight: number;
    orthogonal_weight: number;
    loss: number;
    gradient: number[][];
    correlations: number[];
    overlap: number;
  };
};
/** By allRank. */
const listMle = JSON.parse(readFileSync(join(goldens, 'reward-models/list-mle.json'), 'utf8')) as Formula & {
  scores: number[][];
};
type DecisionName = 'scoring' | 'ce_rps' | 'smooth_brier' | 'distill_rps';
const decisions = JSON.parse(readFileSync(join(goldens, 'decision/expected.json'), 'utf8')) as {
  kinds: string[];
  options: number[];
  logits: number[][];
  cases: Record<DecisionName, { target: number[][]; loss: number; gradient: number[][] }>;
};

type Annotations = Readonly<Record<string, readonly number[] | readonly (readonly number[])[]>>;

/** Inputs of rows that weigh `weight` each, as a loss sees them, with a row of padding behind. */
function inputsOf(count: number, weight: number, annotations: Annotations, groups?: readonly number[]): LossInputs {
  const column = (values: readonly number[] | readonly (readonly number[])[]) => {
    const flat = values.flat() as number[];
    const width = flat.length / count;
    const padded = Float32Array.from([...flat, ...new Array<number>(width).fill(0)]);
    return tensor(padded, Array.isArray(values[0]) ? [count + 1, width] : [count + 1]);
  };
  return {
    weights: tensor(Float32Array.from([...new Array<number>(count).fill(weight), 0]), [count + 1, 1]),
    segments: tensor(new Int32Array(2 * count + 2).fill(1), [count + 1, 2], 'int32'),
    annotations: Object.fromEntries(Object.entries(annotations).map(([name, values]) => [name, column(values)])),
    scalars: {},
    ...(groups && { groups: tensor(Int32Array.from([...groups, 0]), [count + 1], 'int32') }),
  };
}

/** Loss and gradient with respect to the logits of rows; that of padding must be 0. */
async function measured(loss: RewardModelLoss<never>, rows: readonly (readonly number[])[], inputs: LossInputs) {
  const labels = rows[0]!.length;
  const logits = tensor(Float32Array.from([...rows.flat(), ...new Array<number>(labels).fill(7)]), [
    rows.length + 1,
    labels,
  ]);
  const { value, gradient } = valueAndGrad((x: Tensor) => {
    const { loss: scalar, metrics } = loss.computeFrom(() => x as never, inputs);
    return [scalar, metrics] as const;
  })(logits);
  const metrics = await Promise.all(Object.entries(value[1]).map(async ([name, x]) => [name, await x.item()] as const));
  const slopes = await gradient.toArray();
  expect(slopes.slice(-labels).every((x) => x === 0)).toBe(true);
  return { loss: await value[0].item(), gradient: slopes.slice(0, -labels), metrics: Object.fromEntries(metrics) };
}
const alone = (rewards: readonly number[]) => rewards.map((reward) => [reward]);

const rankingInputs = (scores: readonly (readonly number[])[]) =>
  inputsOf(
    scores.flat().length,
    1 / scores.length,
    { score: scores.flat() },
    scores.flatMap((own, group) => own.map(() => group + 1)),
  );
const decisionInputs = (
  target: readonly (readonly number[])[],
  options: readonly number[],
  ordinal: readonly number[],
) => inputsOf(target.length, 1 / target.length, { target, options, ordinal });
const decisionLosses = {
  scoring: decision({ labels: 5 }),
  ce_rps: decision({ labels: 5, rpsWeight: 0.5 }),
  smooth_brier: decision({ labels: 5, labelSmoothing: 0.1, brierWeight: 1 }),
  distill_rps: decision({ labels: 5, rpsWeight: 0.5, rpsDivisor: 'levels' }),
} as const;

describe('value and gradient of the formula', () => {
  const { plackett_luce: ranked, soft_labels: soft, implicit_feedback: clicks, step_value: steps } = expected;
  const twice = (values: readonly number[]) => values.flatMap((x) => [x, x]);
  const cases: readonly (readonly [
    string,
    RewardModelLoss<never>,
    Formula,
    readonly (readonly number[])[],
    LossInputs,
  ])[] = [
    ['ListMLE of allRank', plackettLuce(), listMle, alone(listMle.logits as number[]), rankingInputs(listMle.scores)],
    ['plackettLuce', plackettLuce(), ranked, alone(ranked.logits as number[]), rankingInputs(ranked.scores)],
    [
      'bradleyTerry with softLabels',
      bradleyTerry({ softLabels: true }),
      soft,
      alone(soft.logits.flat()),
      // Pairs have an even number of rows: one of padding makes no pair.
      { ...inputsOf(8, 1 / 4, { margin: twice(soft.margin), probability: twice(soft.probability) }) },
    ],
    [
      'stepValue',
      stepValue({ margin: steps.margin, rankWeight: steps.rank_weight }),
      steps,
      alone(steps.logits.flat()),
      inputsOf(8, 1 / 4, { value: steps.values.flat() }),
    ],
    [
      'implicitFeedback',
      implicitFeedback({ minPropensity: clicks.min_propensity }),
      clicks,
      alone(clicks.logits as number[]),
      inputsOf(5, 1 / 5, {
        clicked_over_propensity: clicks.clicked.map(
          (x, i) => +x / Math.max(clicks.propensity[i]!, clicks.min_propensity),
        ),
      }),
    ],
    ...Object.entries(decisions.cases).map(
      ([name, golden]) =>
        [
          `decision: ${name} of ms-swift`,
          decisionLosses[name as DecisionName],
          { ...golden, logits: decisions.logits },
          decisions.logits,
          decisionInputs(
            golden.target,
            decisions.options,
            decisions.kinds.map((kind) => +(kind === 'score')),
          ),
        ] as const,
    ),
  ];
  it.each(cases)('%s', async (_, loss, golden, rows, inputs) => {
    const isPair = loss.groupSize === 2;
    const padded = isPair ? evened(inputs) : inputs;
    const found = await measured(loss, isPair ? [...rows, [7]] : rows, padded);
    expect(found.loss).toBeCloseTo(golden.loss, 5);
    expectClose(isPair ? found.gradient.slice(0, -1) : found.gradient, golden.gradient.flat());
  });
});

/** With one more row of padding. */
const evened = (inputs: LossInputs): LossInputs => ({
  ...inputs,
  weights: inputs.weights.pad(0, 0, 1),
  segments: inputs.segments.pad(0, 0, 1),
  annotations: Object.fromEntries(Object.entries(inputs.annotations).map(([name, x]) => [name, x.pad(0, 0, 1)])),
});

const permutations = (items: readonly number[]): number[][] =>
  items.length === 0
    ? [[]]
    : items.flatMap((item) => permutations(items.filter((other) => other !== item)).map((rest) => [item, ...rest]));

describe('what no formula says', () => {
  it('plackettLuce: the probabilities of all rankings add up to 1, of a best two of four as of all', async () => {
    const rewards = alone([0.3, -1.2, 2.1, 0.4]);
    for (const best of [4, 2]) {
      let total = 0;
      for (const order of permutations([0, 1, 2, 3])) {
        // Those behind the best are one last rank, in whatever order: count each choice once.
        if (best === 2 && order[2]! > order[3]!) continue;
        const scores = [0, 1, 2, 3].map((i) => Math.max(4 - order.indexOf(i), best === 4 ? 0 : 2));
        total += Math.exp(-(await measured(plackettLuce(), rewards, rankingInputs([scores]))).loss);
      }
      expect(total).toBeCloseTo(1, 5);
    }
  });

  it('plackettLuce: two are Bradley and Terry’s pair, and metrics are of ordered pairs', async () => {
    const pair = alone([0.3, -1.2]);
    const { loss, metrics } = await measured(plackettLuce(), pair, rankingInputs([[5, 1]]));
    const other = await measured(bradleyTerry(), [...pair, [0]], evened(inputsOf(2, 1, { margin: [0, 0] })));
    expect(loss).toBeCloseTo(other.loss, 6);
    expect(Object.keys(metrics).sort()).toEqual(Object.keys(other.metrics).sort());
    for (const [name, value] of Object.entries(other.metrics)) expect(metrics[name], name).toBeCloseTo(value, 6);
    const three = await measured(plackettLuce(), alone([1, 3, 0]), rankingInputs([[3, 2, 1]]));
    expect(three.metrics).toMatchObject({ min_reward: 0, max_reward: 3 });
    expect(three.metrics.accuracy).toBeCloseTo(2 / 3, 6);
    expect(three.metrics.margin).toBeCloseTo((-2 + 1 + 3) / 3, 6);
    expect(three.metrics.mean_reward).toBeCloseTo(4 / 3, 6);
  });

  it('implicitFeedback: in expectation over who looks it is the loss of the liking, and without propensities it is not', async () => {
    const [likes, seen, rewards] = [[1, 0, 1, 0], [0.9, 0.9, 0.2, 0.2], alone([0.4, -0.7, 1.5, 0.1])];
    const expectation = async (propensities: readonly number[]) => {
      let [value, slopes] = [0, [0, 0, 0, 0]];
      for (let look = 0; look < 16; look++) {
        const looked = seen.map((_, i) => (look >> i) & 1);
        const probability = seen.reduce((p, x, i) => p * (looked[i] ? x : 1 - x), 1);
        const ratios = likes.map((like, i) => (like && looked[i] ? 1 / propensities[i]! : 0));
        const found = await measured(
          implicitFeedback(),
          rewards,
          inputsOf(4, 1 / 4, { clicked_over_propensity: ratios }),
        );
        value += probability * found.loss;
        slopes = slopes.map((x, i) => x + probability * found.gradient[i]!);
      }
      return { loss: value, gradient: slopes };
    };
    const ideal = await measured(outcomeReward(), rewards, inputsOf(4, 1 / 4, { label: likes }));
    const debiased = await expectation(seen);
    expect(debiased.loss).toBeCloseTo(ideal.loss, 5);
    expectClose(debiased.gradient, ideal.gradient, 1e-5);
    // What is hardly shown seems to be hardly liked.
    const naive = await expectation([1, 1, 1, 1]);
    expect(naive.gradient[2]! - ideal.gradient[2]!).toBeGreaterThan(0.1);
  });

  it('stepValue: of values that are Q, as far apart as asked, nothing is left; nearer ones are driven apart alone', async () => {
    const of = async (better: number, worse: number) => {
      const inputs = evened(inputsOf(2, 1, { value: [better, worse] }));
      return measured(stepValue({ margin: 0.25 }), [...alone([better, worse]), [7]], inputs);
    };
    const apart = await of(0.875, 0.5);
    expect([apart.loss, ...apart.gradient]).toEqual([0, 0, 0, 0]);
    const near = await of(0.5, 0.5);
    expect(near.loss).toBeCloseTo(0.25, 6);
    expect(near.gradient).toEqual([-1, 1, 0]);
  });

  it('estimatePropensities: inverts what ULTRA finds of the same clicks, of lists that are shuffled', () => {
    const theirs = JSON.parse(readFileSync(join(goldens, 'authors/propensities.json'), 'utf8')) as {
      sessions: number;
      clicks: number[];
      inverse: number[];
    };
    const { sessions, clicks, inverse } = theirs;
    const log = [1, 2, 3].flatMap((k) =>
      [0, k].flatMap((place) =>
        Array.from({ length: sessions }, (_, i) => ({
          swappedWith: k + 1,
          position: place + 1,
          clicked: i < clicks[place]!,
        })),
      ),
    );
    // Theirs adds 1e-5 to a count, lest it divides by 0.
    expectClose(
      [...estimatePropensities(log).values()],
      inverse.map((x) => 1 / x),
      1e-6,
    );
  });

  it('estimatePropensities: of swaps that a coin makes, the rates are apart by who looks, whatever stood where', () => {
    const [looks, liked] = [
      [1, 0.5, 0.25],
      [0.2, 0.8, 0.5],
    ];
    // As many of each as are expected: of 2000 sessions for each k, half of them swapped, an item is clicked by looks times liking.
    const log = [2, 3].flatMap((k) =>
      [false, true].flatMap((isSwapped) =>
        [1, k].flatMap((position) => {
          const item = isSwapped ? (position === 1 ? k : 1) : position;
          const clicks = Math.round(1000 * looks[position - 1]! * liked[item - 1]!);
          return Array.from({ length: 1000 }, (_, i) => ({ swappedWith: k, position, clicked: i < clicks }));
        }),
      ),
    );
    const found = estimatePropensities(log);
    expect([...found.keys()]).toEqual([1, 2, 3]);
    expectClose([...found.values()], looks, 1e-9);
    // Without the swaps the rates are those of the items too: 0.4 / 0.2.
    expect((looks[1]! * liked[1]!) / (looks[0]! * liked[0]!)).toBe(2);
    expect(() => estimatePropensities([{ swappedWith: 1, position: 1, clicked: true }])).toThrow(/places are 1 and/);
    expect(() => estimatePropensities([])).toThrow(/the log is empty/);
    const wordy = { swappedWith: 2, position: 1, clicked: 'no' as never };
    expect(() => estimatePropensities([wordy])).toThrow(/entry 0: clicked is "no"; it must be true or false/);
    expect(() => estimatePropensities(log.filter(({ position }) => position > 1))).toThrow(/no click at place 1/);
  });

  it('decision: proper rules have their minimum at the probabilities, smoothing has not; RPS sees the distance', async () => {
    const p = [0.1, 0.2, 0.4, 0.3];
    const at = [[...p.map(Math.log), 9]];
    const inputs = decisionInputs([[...p, 0]], [4], [1]);
    const proper = decision({ labels: 5, brierWeight: 1, rpsWeight: 0.5 });
    expectClose((await measured(proper, at, inputs)).gradient, [0, 0, 0, 0, 0], 1e-6);
    const smoothed = await measured(decision({ labels: 5, labelSmoothing: 0.1 }), at, inputs);
    expect(Math.max(...smoothed.gradient.map(Math.abs))).toBeGreaterThan(0.005);
    const rps = async (level: number) => {
      const logits = [[8, 0, 0, 0, 0]];
      const target = [[0, 1, 2, 3, 4].map((i) => +(i === level))];
      return (await measured(decisionLosses.ce_rps, logits, decisionInputs(target, [5], [1]))).metrics.rps!;
    };
    const [near, far] = [await rps(1), await rps(4)];
    expect([near, far].map(Math.round)).toEqual([1, 4]);
    // A target that is sure of the last of two options is a sigmoid.
    const two = await measured(
      decision({ labels: 5 }),
      [[0.2, 0.9, 3, 3, 3]],
      decisionInputs([[0, 1, 0, 0, 0]], [2], [0]),
    );
    expect(two.loss).toBeCloseTo(Math.log1p(Math.exp(-0.7)), 6);
    expect(two.metrics.accuracy).toBe(1);
  });

  it('processReward: a soft label is the mean of both verdicts, of one output as of two', async () => {
    const inputs = (label: number) => ({
      weights: tensor(Float32Array.from([0, 1]), [1, 2]),
      annotations: { label: tensor(Float32Array.from([0, label]), [1, 2]) },
      segments: tensor(Int32Array.of(1, 1, 1), [1, 3], 'int32'),
      scalars: {},
    });
    const lossOf = (values: readonly number[], label: number) =>
      processReward({ softLabels: true })
        .computeFrom(() => tensor(Float32Array.from(values), [1, 3, values.length / 3]) as never, inputs(label))
        .loss.item();
    const [right, wrong] = [Math.log1p(Math.exp(-0.4)), Math.log1p(Math.exp(0.4))];
    for (const label of [0, 0.25, 1]) {
      const expected = label * right + (1 - label) * wrong;
      expect(await lossOf([9, 9, 0.4], label)).toBeCloseTo(expected, 6);
      expect(await lossOf([9, 9, 9, 9, 1.1, 1.5], label)).toBeCloseTo(expected, 6);
    }
    expect(() => lossOf([1, 2, 3, 4, 5, 6, 7, 8, 9], 1)).toThrow(/one or two labels, but the head has 3/);
  });

  it('bradleyTerry: a tie is the mean of both verdicts', async () => {
    const rows = alone([0.7, -0.4, 0, 0]);
    const of = async (probability: number) =>
      measured(
        bradleyTerry({ softLabels: true }),
        rows.slice(0, 3),
        evened(inputsOf(2, 1, { margin: [0, 0], probability: [probability, probability] })),
      );
    const [tie, first, second] = [await of(0.5), await of(1), await of(0)];
    expect(tie.loss).toBeCloseTo((first.loss + second.loss) / 2, 6);
    expect(first.loss).toBeCloseTo(Math.log1p(Math.exp(-1.1)), 6);
  });
});

describe('odin', () => {
  const { hidden, lengths, weight, ...golden } = expected.odin;

  it('is the formula’s value, and its gradient by the weights of the head, in one pass and in three', async () => {
    const loss = odin({ lengthWeight: golden.length_weight, orthogonalWeight: golden.orthogonal_weight });
    const logits = hidden.map((h) => weight.map((w) => w.reduce((sum, x, i) => sum + x * h[i]!, 0)));
    const rows: TrainingRow[] = rewardRows(
      [0, 2, 4].map((i) => ({
        chosenTokens: new Array(lengths[i]).fill(3),
        rejectedTokens: new Array(lengths[i + 1]).fill(4),
      })),
    );
    const annotated = await loss.annotate!(rows, async () => logits.map((row) => Float32Array.from(row)) as never);
    const run = async (parts: readonly (readonly number[])[]) => {
      const found = { loss: 0, gradient: [0, 0, 0, 0, 0, 0], metrics: {} as Record<string, number> };
      for (const part of parts) {
        const { value, gradient } = valueAndGrad((w: Tensor) => {
          const h = tensor(Float32Array.from(part.flatMap((i) => hidden[i]!)), [part.length, 3]);
          const network = { config: { hiddenSize: 3, head: { module: 'score', labels: ODIN_LABELS, bias: false } } };
          const pass = {
            ...{
              network: { ...network, modules: new Map([['score', {}]]) },
              weights: { 'score.weight': w },
              hooks: {},
            },
            ...{
              hidden: h.expandDims(1),
              batch: { tokens: tensor(new Int32Array(part.length), [part.length, 1], 'int32') },
            },
          };
          const read = (readout: { name: string; compute(pass: unknown): Tensor }) =>
            readout.name === 'sequenceLogits' ? h.matmul(w.transpose()) : readout.compute(pass);
          const of = (name: string) => part.map((i) => [...(annotated[i]!.annotations![name] as number[])]);
          const column = (name: string) =>
            tensor(Float32Array.from(of(name).flat()), [part.length, of(name)[0]!.length]);
          const { loss: scalar, metrics } = loss.computeFrom(read as never, {
            weights: tensor(new Float32Array(part.length).fill(1 / 3), [part.length, 1]),
            segments: tensor(new Int32Array(2 * part.length).fill(1), [part.length, 2], 'int32'),
            annotations: {
              margin: column('margin').squeeze(1),
              slopes: column('slopes'),
              correlations: column('correlations'),
            },
            scalars: {},
          });
          return [scalar, metrics] as const;
        })(tensor(Float32Array.from(weight.flat()), [2, 3]));
        found.loss += await value[0].item();
        const slopes = await gradient.toArray();
        found.gradient = found.gradient.map((x, i) => x + slopes[i]!);
        for (const [name, x] of Object.entries(value[1]))
          found.metrics[name] = (found.metrics[name] ?? 0) + (await x.item());
      }
      return found;
    };
    for (const parts of [
      [[0, 1, 2, 3, 4, 5]],
      [
        [0, 1],
        [2, 3],
        [4, 5],
      ],
    ]) {
      const found = await run(parts);
      expect(found.loss).toBeCloseTo(golden.loss, 5);
      expectClose(found.gradient, golden.gradient.flat(), 5e-6);
      expect(found.metrics['length_correlation/quality']).toBeCloseTo(golden.correlations[0]!, 5);
      expect(found.metrics['length_correlation/length']).toBeCloseTo(golden.correlations[1]!, 5);
      expect(found.metrics.head_overlap).toBeCloseTo(golden.overlap, 5);
    }
  });
});

describe('rows and runs', () => {
  beforeAll(() => setEngine(onnxruntimeEngine()));
  const base = { onWarning: () => {}, learningRate: 0.01 } as const;
  const single = async (seed: number) => SequenceClassifier.fromCausalLM(await lettersModel(seed), { seed });

  it('plackettLuce: learns an order of three from rankings, also where one comes twice in a step', async () => {
    const draw = drawing(3);
    const word = (start: string) => `${start}${'def'[Math.floor(draw() * 3)]}`;
    const rows = Array.from({ length: 24 }, () => ({
      prompt: 'g',
      completions: [word('b'), word('a'), word('c')],
      ranks: [2, 1, 3],
    }));
    const { trainer, history } = await trainRewardModel({
      ...{ ...base, model: await single(1), rows, loss: plackettLuce(), epochs: 3, batchSize: 30 },
      evaluationRows: rows.slice(0, 4),
    });
    const [a, b, c] = await trainer.model
      .verifier()
      .verify(['ad', 'bd', 'cd'].map((completion) => ({ prompt: 'g', completion })));
    expect(a!.score!).toBeGreaterThan(b!.score!);
    expect(b!.score!).toBeGreaterThan(c!.score!);
    expect(history.at(-1)!.metrics.eval_accuracy).toBe(1);
    expect(
      rewardExampleRows([
        { rows: [{ tokens: [1, 2], weights: [1], group: 7 }], count: 1 },
        { rows: [{ tokens: [1, 2], weights: [1], group: 7 }], count: 1 },
      ]).map(({ group }) => group),
    ).toEqual([0, 1]);
  });

  it('odin: of long answers that win, the quality head keeps less of the length than a reward of pairs', async () => {
    const gains: number[] = [];
    for (const seed of [1, 2, 3]) {
      const draw = drawing(seed);
      const word = (length: number, hasC: boolean) => {
        const letters = Array.from({ length }, () => 'abdef'[Math.floor(draw() * 5)]!);
        if (hasC) letters[Math.floor(draw() * length)] = 'c';
        return letters.join('');
      };
      // What wins has a c, or is longer: both are worth something to those who were asked.
      const pairs = Array.from({ length: 96 }, (_, i): RewardPairRow => {
        const [first, second] = [0, 1].map((side) => {
          const length = 1 + Math.floor(draw() * 9);
          const hasC = (i + side) % 2 === 0;
          return { text: word(length, hasC), worth: 2 * +hasC + 0.5 * length };
        }) as [{ text: string; worth: number }, { text: string; worth: number }];
        const isFirst = draw() < 1 / (1 + Math.exp(second.worth - first.worth));
        const [chosen, rejected] = isFirst ? [first, second] : [second, first];
        return { prompt: 'g', chosen: chosen.text, rejected: rejected.text };
      });
      const asked = Array.from({ length: 60 }, (_, i) => word(1 + (i % 9), i % 2 === 0));
      const corr = async (model: SequenceClassifier) => {
        const verdicts = await model.verifier().verify(asked.map((completion) => ({ prompt: 'g', completion })));
        const scores = verdicts.map(({ score }) => score!);
        const of = asked.map(({ length }) => length);
        const [ms, ml] = [scores, of].map((x) => x.reduce((u, v) => u + v, 0) / x.length) as [number, number];
        const dot = (u: readonly number[], mu: number, v: readonly number[], mv: number) =>
          u.reduce((sum, x, i) => sum + (x - mu) * (v[i]! - mv), 0);
        return Math.abs(dot(scores, ms, of, ml) / Math.sqrt(dot(scores, ms, scores, ms) * dot(of, ml, of, ml)));
      };
      const options = { ...base, rows: pairs, epochs: 4, batchSize: 32, seed };
      const plain = await trainRewardModel({ ...options, model: await single(seed) });
      const two = await SequenceClassifier.fromCausalLM(await lettersModel(seed), { labels: ODIN_LABELS, seed });
      const split = await trainRewardModel({ ...options, model: two, loss: odin(), evaluationRows: pairs.slice(0, 8) });
      expect(Object.keys(split.history.at(-1)!.metrics)).toContain('eval_length_correlation/quality');
      const quality = odinQuality(split.trainer.model);
      const both = await split.trainer.model.logits([[6, 2, 7]]);
      expect((await quality.logits([[6, 2, 7]]))[0]![0]).toBeCloseTo(both[0]![0]!, 5);
      gains.push((await corr(plain.trainer.model)) - (await corr(quality)));
    }
    expect(gainOf(gains).low).toBeGreaterThan(0);
    const folder = await mkdtemp(join(tmpdir(), 'odin-'));
    try {
      const two = await SequenceClassifier.fromCausalLM(await lettersModel(1), { labels: ODIN_LABELS });
      await odinQuality(two).save(folder);
      const loaded = await SequenceClassifier.load(folder);
      expect(loaded.labels).toEqual(['quality']);
      expect((await loaded.logits([[6, 2, 7]]))[0]![0]).toBeCloseTo((await two.logits([[6, 2, 7]]))[0]![0]!, 6);
    } finally {
      await rm(folder, { recursive: true });
    }
    expect(() => odinQuality({ name: 'x', labels: ['a'] } as never)).toThrow(
      /x has the labels a; those of odin are quality, length/,
    );
    await expect(
      Trainer.create(await single(1), { optimizer: sgd() }).then((trainer) =>
        trainer.forwardBackward(
          rewardRows([{ chosenTokens: [1, 2], rejectedTokens: [1, 3] }]).map((row) => ({
            ...row,
            annotations: { ...row.annotations, slopes: [0, 0], correlations: [0, 0] },
          })),
          odin(),
        ),
      ),
    ).rejects.toThrow(/odin has two outputs, quality and length, but the head has 1/);
  });

  it('say which row is wrong, and what to do', async () => {
    const model = {
      ...(await lettersModel(1)),
      tokenizer: (await lettersModel(1)).tokenizer,
      name: 'letters',
      labels: ['0'],
    };
    const example = <Row extends object>(loss: RewardModelLoss<Row>, row: unknown) =>
      loss.example(model as never, row as Row, { index: 3, maxLength: 16, isHeldOut: false });
    const choice = decision({ labels: 3 });
    const row = { prompt: 'a', completion: 'b' };
    const pair = { prompt: 'a', chosen: 'b', rejected: 'c' };
    const cases: readonly (readonly [() => unknown, RegExp])[] = [
      [
        () => example(plackettLuce(), { completions: ['a'], ranks: [1] }),
        /row 3: completions must be a list of at least 2/,
      ],
      [() => example(plackettLuce(), { completions: ['ab', 'b'] }), /row 3: has neither ranks nor scores; give one/],
      [
        () => example(plackettLuce(), { completions: ['ab', 'b'], ranks: [1] }),
        /ranks must be a number for each of the 2/,
      ],
      [() => example(plackettLuce(), { completions: ['ab', 7], ranks: [1, 2] }), /completions\[1\] must be a text/],
      [
        () => example(bradleyTerry(), { ...pair, probability: 0.5 }),
        /does not read; rewardModelLosses.bradleyTerry\(\{ softLabels/,
      ],
      [
        () => example(bradleyTerry({ softLabels: true }), { ...pair, probability: 2 }),
        /probability must be a number of 0 to 1, and is 2/,
      ],
      [
        () => example(implicitFeedback(), { ...row, clicked: 1, propensity: 1 }),
        /clicked must be true or false, and is 1/,
      ],
      [
        () => example(stepValue(), { ...pair, chosen_value: 0.1, rejected_value: 0.4 }),
        /row 3: prefers a step of the value 0.1 to one of 0.4/,
      ],
      [() => example(stepValue(), { ...pair, chosen_value: 0.1 }), /rejected_value must be a number, and is undefined/],
      [() => example(implicitFeedback(), { ...row, clicked: true, propensity: 0 }), /above 0 .* leave the row out/],
      [
        () => example(processReward({ softLabels: true }), { prompt: 'a', completions: ['b'], labels: [1.5] }),
        /labels\[0\] must be true, false or a number of 0 to 1, and is 1.5/,
      ],
      [() => example(choice, { ...row, target: 3 }), /target must be a whole number of 0 to 2, and is 3/],
      [() => example(choice, { ...row, target: [0.5, 0.6] }), /2 probabilities that add up to 1/],
      [() => example(choice, { ...row, target: 0, options: 4 }), /options must be a whole number of 2 to 3, and is 4/],
    ];
    for (const [made, said] of cases) expect(made).toThrow(said);
    expect(example(plackettLuce(), { completions: ['ab', 'b'], ranks: [1, 1] })).toBe(
      'have all completions in one rank',
    );
    expect(example(plackettLuce(), { completions: ['ab', 'ab'], ranks: [1, 2] })).toBe(
      'are the same in all completions',
    );
    expect(example(choice, { ...row, target: 1, options: 2, ordinal: true })).toMatchObject({
      rows: [{ annotations: { target: [0, 1, 0], options: [2], ordinal: [1] } }],
    });
  });
});
