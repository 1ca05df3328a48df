import { type Decompose, differentiateDecomposition } from '../autodiff/backward.js';
import { barrier } from '../autodiff/barrier.js';
import { KernelOptionError, ShapeError } from '../errors.js';
import { concat, type Tensor, where } from '../tensor.js';
import { softCap } from './activations.js';
import { applyKernel } from './apply-kernel.js';
import { checkFloats, checkIndices } from './check.js';
import type { Kernel } from './kernel.js';

/** What log-probabilities of chosen tokens are compiled for. */
export interface TokenLogProbsConfig {
  /** Divides the logits before the softmax, as the sampler does. */
  readonly temperature: number;
  /** Vocabulary entries whose logits exist at one time, for all rows: bounds the memory at rows × chunkSize. */
  readonly chunkSize: number;
  /** Logits become softCap · tanh(logit / softCap) before the temperature (Gemma 2, arXiv 2408.00118). */
  readonly softCap?: number;
}

/** Memory for the logits of one chunk when no chunk size is given, and the smallest chunk that is worth a product. */
const DEFAULT_CHUNK_BYTES = 32 * 2 ** 20;
const SMALLEST_DEFAULT_CHUNK = 2048;

/** [start, end) of equal parts of the vocabulary. */
function chunksOf(vocabulary: number, chunkSize: number): [start: number, end: number][] {
  const count = Math.max(1, Math.ceil(vocabulary / chunkSize));
  return Array.from({ length: count }, (_, i) => [
    Math.floor((i * vocabulary) / count),
    Math.floor(((i + 1) * vocabulary) / count),
  ]);
}

/** softmax's argument for the vocabulary entries of `head`, in float32: [n, entries]. */
function scaledLogits(hidden: Tensor, head: Tensor, { temperature, softCap: cap }: TokenLogProbsConfig): Tensor {
  const logits = hidden.matmul(head, { transposeB: true });
  if (cap === undefined) return logits.mul(1 / temperature).cast('float32');
  return softCap(logits.cast('float32'), cap).mul(1 / temperature);
}

/** tanh' = 1 - tanh², of the cap that gave the scaled logits z; undefined without a cap. */
const capSlope = (z: Tensor, { temperature, softCap: cap }: TokenLogProbsConfig): Tensor | undefined =>
  cap === undefined
    ? undefined
    : z
        .mul(temperature / cap)
        .square()
        .neg()
        .add(1);

/** x · factor, where there is one. */
const times = (x: Tensor, factor: Tensor | undefined): Tensor => (factor ? x.mul(factor) : x);

/** The target's column among the entries [start, end), if it is one of them: int32 and bool, [n, 1]. */
function targetIn(targets: Tensor, start: number, end: number): { column: Tensor; isHere: Tensor } {
  const wanted = targets.expandDims(1).sub(start);
  const column = wanted.maximum(0).minimum(end - start - 1);
  return { column, isHere: wanted.equal(column) };
}

/** Sums over the part of the vocabulary seen so far, by row, relative to the largest logit in it. */
interface Running {
  /** max z: [n, 1], as the four that follow. */
  readonly largest: Tensor;
  /** Σ e^s with s = z - largest. */
  readonly sum: Tensor;
  /** Σ e^s s. */
  readonly weighted: Tensor;
  /** s of the target; 0 while it was not seen. */
  readonly target: Tensor;
  /** Whether the target is the largest. */
  readonly isGreedy: Tensor;
  /** Σ e^s c head, c being the slope of the soft cap, 1 without one: [n, d]. */
  readonly head: Tensor;
  /** Σ e^s s c head: [n, d]. */
  readonly weightedHead: Tensor;
}

/** The sums after one more chunk: the online softmax of FlashAttention (arXiv 2205.14135), with the head as keys and values. */
function extend(
  before: Running | undefined,
  logits: Tensor,
  head: Tensor,
  target: ReturnType<typeof targetIn>,
  slope: Tensor | undefined,
): Running {
  const highest = logits.max(1, { keepDims: true });
  const largest = before ? before.largest.maximum(highest) : highest;
  const shifted = logits.sub(largest);
  const exponentials = shifted.exp();
  const weights = exponentials.mul(shifted);
  const values = head.cast('float32');
  // Of the logits, so that nothing but the next operation needs `shifted`.
  const chosen = logits.takeAlongAxis(target.column, 1).sub(largest);
  const here: Running = {
    largest,
    sum: exponentials.sum(1, { keepDims: true }),
    weighted: weights.sum(1, { keepDims: true }),
    target: where(target.isHere, chosen, 0),
    isGreedy: target.isHere.and(chosen.equal(0)),
    head: times(exponentials, slope).matmul(values),
    weightedHead: times(weights, slope).matmul(values),
  };
  if (!before) return here;
  // What was relative to the old largest logit: e^(s + fall) = e^s e^fall, and (s + fall) is added up likewise.
  const fall = before.largest.sub(largest);
  const scale = fall.exp();
  return {
    largest,
    sum: before.sum.mul(scale).add(here.sum),
    weighted: before.weighted.add(before.sum.mul(fall)).mul(scale).add(here.weighted),
    target: where(target.isHere, chosen, before.target.add(fall)),
    isGreedy: here.isGreedy.or(before.isGreedy.and(fall.equal(0))),
    head: before.head.mul(scale).add(here.head),
    weightedHead: before.weightedHead.add(before.head.mul(fall)).mul(scale).add(here.weightedHead),
  };
}

/**
 * Inputs hidden [n, d], head [vocabulary, d], int32 targets [n]. With z = cap(hidden headᵀ) / temperature and
 * p = softmax(z), the outputs, all float32, are
 *
 * - 0: log p(target) = z_target - logsumexp z, [n], natural logarithm;
 * - 1: the entropy -Σ p log p, [n];
 * - 2: 1 where no token is more likely than the target, else 0, [n]; it has no gradient;
 * - 3: logsumexp z, [n];
 * - 4: Σ p c head and 5: Σ p log p c head, [n, d], c being the slope of the cap, of which the gradients of the others to
 *   hidden are made, so that a frozen head needs the logits once.
 *
 * The logits of `chunkSize` vocabulary entries exist at a time, forward and backward. The gradient to the head computes them
 * again; it has the target's part inside, and is written chunk by chunk.
 */
export const tokenLogProbsKernel: Kernel<TokenLogProbsConfig> = {
  name: 'tokenLogProbs',
  infer: ([hidden, head, targets], { softCap: cap = 1 }) => {
    checkFloats('tokenLogProbs', hidden!, head!);
    checkIndices('tokenLogProbs', targets!, 'targets');
    if (!(cap > 0)) throw new KernelOptionError('tokenLogProbs', `softCap must be positive, not ${cap}`);
    const [n, d] = hidden!.shape;
    const fits = hidden!.shape.length === 2 && head!.shape.length === 2 && head!.shape[1] === d && head!.shape[0]! > 0;
    if (!fits || targets!.shape.length !== 1 || targets!.shape[0] !== n) {
      throw new ShapeError(
        'tokenLogProbs',
        [hidden!.shape, head!.shape, targets!.shape],
        'needs hidden [n, d], head [vocabulary, d] and targets [n]',
      );
    }
    const row = { shape: [n!], dtype: 'float32' } as const;
    const vector = { shape: [n!, d!], dtype: 'float32' } as const;
    return [row, row, row, row, vector, vector];
  },
  decompose: ([hidden, head, targets], config, wanted = [true, true, true, true, true, true]) => {
    let running: Running | undefined;
    for (const [start, end] of chunksOf(head!.shape[0]!, config.chunkSize)) {
      // The next chunk waits until everything that is wanted of this one exists, and its logits can go.
      const part = (running ? barrier(head!, tokensOf(running, wanted)) : head!).slice(0, start, end);
      const logits = scaledLogits(hidden!, part, config);
      running = extend(running, logits, part, targetIn(targets!, start, end), capSlope(logits, config));
    }
    const { largest, sum, weighted, target, isGreedy, head: sums, weightedHead } = running!;
    const logSum = sum.log();
    const expected = sums.div(sum);
    return [
      target.sub(logSum).squeeze(1),
      logSum.sub(weighted.div(sum)).squeeze(1),
      isGreedy.cast('float32').squeeze(1),
      logSum.add(largest).squeeze(1),
      expected,
      weightedHead.div(sum).sub(expected.mul(logSum)),
    ];
  },
  vjp: ({ inputs, outputs, cotangents, config, needed }) => {
    const [hidden, head, targets] = inputs as [Tensor, Tensor, Tensor];
    const [dLogProbs, dEntropies, , dLogSumExps, dExpected, dWeighted] = cotangents;
    // Only a gradient of a gradient reaches the last two outputs.
    if (dExpected || dWeighted) {
      const decompose: Decompose = (xs, wanted) => tokenLogProbsKernel.decompose!(xs, config, wanted);
      return differentiateDecomposition(decompose, inputs, cotangents);
    }
    const column = (x: Tensor | undefined) => x?.mul(1 / config.temperature).expandDims(1);
    const [a, b, c] = [column(dLogProbs), column(dEntropies), column(dLogSumExps)];
    // dz_j = a [j = target] + p_j (factor - b log p_j), where d log p(y)/dz_j = [j = y] - p_j, dH/dz_j = -p_j (log p_j + H).
    const terms = [a?.neg(), b?.mul(outputs[1]!.expandDims(1)).neg(), c].filter((term) => term !== undefined);
    if (terms.length === 0) return [undefined, undefined, undefined];
    const factor = terms.reduce((x, y) => x.add(y));
    if (!needed[1]) {
      const slope = capSlope(outputs[0]!.add(outputs[3]!), config)?.expandDims(1);
      const target = a && times(head.gather(targets).cast('float32').mul(a), slope);
      const rest = outputs[4]!.mul(factor).sub(b ? outputs[5]!.mul(b) : 0);
      return [(target ? target.add(rest) : rest).cast(hidden.dtype), undefined, undefined];
    }
    const parts: Tensor[] = [];
    let dHidden: Tensor | undefined;
    const chunks = chunksOf(head.shape[0]!, config.chunkSize);
    for (const [start, end] of chunks) {
      // One chunk is what the forward pass keeps; of several, each is computed again when its turn has come.
      const before = parts.length === 0 ? [factor] : [parts.at(-1)!, ...(dHidden ? [dHidden] : [])];
      const part = (chunks.length === 1 ? head : barrier(head, before)).slice(0, start, end);
      const logits = scaledLogits(hidden, part, config);
      const logProbs = logits.sub(outputs[3]!.expandDims(1));
      const spread = logProbs.exp().mul(b ? factor.sub(logProbs.mul(b)) : factor);
      const dCapped = a ? addToTarget(spread, targetIn(targets, start, end), a) : spread;
      const dLogits = times(dCapped, capSlope(logits, config)).cast(head.dtype);
      parts.push(dLogits.matmul(hidden, { transposeA: true }));
      if (!needed[0]) continue;
      const contribution = dLogits.matmul(part);
      dHidden = dHidden ? dHidden.add(contribution) : contribution;
    }
    return [dHidden, concat(parts, 0), undefined];
  },
};

/** x with `amount` added at the target's column, in the rows that have it. */
function addToTarget(x: Tensor, { column, isHere }: ReturnType<typeof targetIn>, amount: Tensor): Tensor {
  return x.putAlongAxis(column, x.takeAlongAxis(column, 1).add(where(isHere, amount, 0)), 1);
}

/** What the outputs that are asked for need of a chunk. */
function tokensOf(running: Running, wanted: readonly boolean[]): Tensor[] {
  const [logProbs, entropies, isGreedy, logSumExps, head, weightedHead] = wanted;
  return [
    ...(logProbs || entropies || logSumExps || head || weightedHead ? [running.sum] : [running.largest]),
    ...(entropies ? [running.weighted] : []),
    ...(logProbs ? [running.target] : []),
    ...(isGreedy ? [running.isGreedy] : []),
    ...(head || weightedHead ? [running.head] : []),
    ...(weightedHead ? [running.weightedHead] : []),
  ];
}

/** Options of `tokenLogProbs`. */
export interface TokenLogProbsOptions {
  /** Default 1. */
  readonly temperature?: number;
  /** Vocabulary entries whose logits exist at one time. Default: as many as fit 32 MiB, but not fewer than 2,048. */
  readonly chunkSize?: number;
  /** Logits become softCap · tanh(logit / softCap), before the temperature. Default: they stay as they are. */
  readonly softCap?: number | undefined;
}

/** Per row, float32 [n]. */
export interface TokenLogProbs {
  /** Natural logarithm of the probability of the target. */
  readonly logProbs: Tensor;
  /** Entropy of the prediction, in nats. */
  readonly entropies: Tensor;
  /** 1 where greedy decoding gives the target, else 0; no gradient. */
  readonly isGreedy: Tensor;
  /** log Σ e^logit, of the logits divided by the temperature. */
  readonly logSumExps: Tensor;
}

/**
 * Log-probability of the target token in each row, and what else is known of the prediction, straight from the hidden
 * states: hidden [n, d], head [vocabulary, d], int32 targets [n] (0 … vocabulary - 1). The logits never exist for the whole
 * vocabulary: memory is n × chunkSize, forward and backward.
 */
export function tokenLogProbs(
  hidden: Tensor,
  head: Tensor,
  targets: Tensor,
  { temperature = 1, chunkSize, softCap: cap }: TokenLogProbsOptions = {},
): TokenLogProbs {
  const fitting = Math.floor(DEFAULT_CHUNK_BYTES / 4 / Math.max(1, hidden.shape[0]!));
  const [logProbs, entropies, isGreedy, logSumExps] = applyKernel(tokenLogProbsKernel, [hidden, head, targets], {
    temperature,
    chunkSize: chunkSize ?? Math.max(SMALLEST_DEFAULT_CHUNK, fitting),
    ...(cap === undefined ? {} : { softCap: cap }),
  });
  return { logProbs: logProbs!, entropies: entropies!, isGreedy: isGreedy!, logSumExps: logSumExps! };
}
