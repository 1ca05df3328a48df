import { zeros } from '../create.js';
import { ShapeError } from '../errors.js';
import { concat, scatterAdd, type Tensor } from '../tensor.js';
import { applyKernel } from './apply-kernel.js';
import { checkFloats, checkIndices } from './check.js';
import type { Kernel } from './kernel.js';
import { logSoftmax } from './softmax.js';

export interface TokenLogProbsConfig {
  /** Divides the logits before the softmax, as the sampler does. */
  readonly temperature: number;
  /** Rows whose logits exist at one time: bounds the memory at chunkRows × vocabulary. */
  readonly chunkRows: number;
}

/** Memory for the logits of one chunk when no chunk size is given. */
const DEFAULT_CHUNK_BYTES = 128 * 2 ** 20;

/** Up to this much, the logits of all chunks are kept for the gradient and not computed again. */
const KEPT_LOGITS_BYTES = 512 * 2 ** 20;

function chunks(rows: number, chunkRows: number): [start: number, end: number][] {
  return Array.from({ length: Math.ceil(rows / chunkRows) }, (_, i) => [
    i * chunkRows,
    Math.min(rows, (i + 1) * chunkRows),
  ]);
}

const logProbsOf = (hidden: Tensor, head: Tensor, temperature: number): Tensor =>
  logSoftmax(hidden.matmul(head, { transposeB: true }).mul(1 / temperature));

/**
 * Inputs hidden [n, d], head [vocabulary, d], int32 targets [n]; outputs log p(target) [n] and entropy [n] of
 * softmax(hidden headᵀ / temperature), natural log: logit_y - logsumexp and -Σ p · log p; and 1 [n] where no token is more
 * likely than the target, else 0. The logits exist for `chunkRows` rows at a time. For the gradient, which the first two
 * outputs have, they are computed again when keeping them all would take much memory.
 */
export const tokenLogProbsKernel: Kernel<TokenLogProbsConfig> = {
  name: 'tokenLogProbs',
  infer: ([hidden, head, targets]) => {
    checkFloats('tokenLogProbs', hidden!, head!);
    checkIndices('tokenLogProbs', targets!, 'targets');
    const [n, d] = hidden!.shape;
    const fits = hidden!.shape.length === 2 && head!.shape.length === 2 && head!.shape[1] === d;
    if (!fits || targets!.shape.length !== 1 || targets!.shape[0] !== n) {
      throw new ShapeError(
        'tokenLogProbs',
        [hidden!.shape, head!.shape, targets!.shape],
        'needs hidden [n, d], head [vocabulary, d] and targets [n]',
      );
    }
    const row = { shape: [n!], dtype: hidden!.dtype };
    return [row, row, row];
  },
  decompose: ([hidden, head, targets], { temperature, chunkRows }) => {
    const n = hidden!.shape[0]!;
    if (n === 0) return [0, 1, 2].map(() => zeros([0], hidden!.dtype));
    const parts = chunks(n, chunkRows).map(([start, end]) => {
      const logProbs = logProbsOf(hidden!.slice(0, start, end), head!, temperature);
      const chosen = logProbs.takeAlongAxis(targets!.slice(0, start, end).expandDims(1), 1);
      const entropies = logProbs.exp().mul(logProbs).sum(1, { keepDims: true }).neg();
      const isGreedy = chosen.greaterEqual(logProbs.max(1, { keepDims: true })).cast(hidden!.dtype);
      return [chosen, entropies, isGreedy].map((column) => column.squeeze(1));
    });
    return [0, 1, 2].map((output) =>
      concat(
        parts.map((part) => part[output]!),
        0,
      ),
    );
  },
  vjp: ({ inputs: [hidden, head, targets], cotangents: [dLogProbs, dEntropies], config }) => {
    const { temperature, chunkRows } = config;
    const [n, vocabulary] = [hidden!.shape[0]!, head!.shape[0]!];
    if (n === 0) return [zeros(hidden!.shape, hidden!.dtype), zeros(head!.shape, head!.dtype), undefined];
    const keepsLogits = n * vocabulary * 4 <= KEPT_LOGITS_BYTES;
    const parts = chunks(n, chunkRows).map(([start, end]) => {
      const rows = hidden!.slice(0, start, end);
      // Equal computations become one node, which would keep the logits alive: dividing before the product is another.
      const logProbs = keepsLogits
        ? logProbsOf(rows, head!, temperature)
        : logProbsOf(rows.mul(1 / temperature), head!, 1);
      const probabilities = logProbs.exp();
      const column = (x: Tensor) => x.slice(0, start, end).expandDims(1);
      const terms: Tensor[] = [];
      // d log p(y) / dlogit_j = [j = y] - p_j; the first part is one row of the head, no need for a one-hot matrix.
      if (dLogProbs) terms.push(probabilities.mul(column(dLogProbs)).neg());
      if (dEntropies) {
        // dH/dlogit_j = -p_j (log p_j + H).
        const entropy = probabilities.mul(logProbs).sum(1, { keepDims: true }).neg();
        terms.push(probabilities.mul(logProbs.add(entropy)).mul(column(dEntropies)).neg());
      }
      const dLogits = terms.reduce((a, b) => a.add(b)).mul(1 / temperature);
      const dHidden = dLogits.matmul(head!);
      const dHead = dLogits.matmul(rows, { transposeA: true });
      if (!dLogProbs) return { dHidden, dHead };
      const target = targets!.slice(0, start, end);
      const scaled = column(dLogProbs).mul(1 / temperature);
      return {
        dHidden: dHidden.add(head!.gather(target).mul(scaled)),
        dHead: dHead.add(scatterAdd(target, rows.mul(scaled), { axis: 0, size: vocabulary })),
      };
    });
    return [
      concat(
        parts.map((part) => part.dHidden),
        0,
      ),
      parts.map((part) => part.dHead).reduce((a, b) => a.add(b)),
      undefined,
    ];
  },
};

export interface TokenLogProbsOptions {
  /** Default 1. */
  readonly temperature?: number;
  /** Default: as many rows as fit 128 MiB of logits. */
  readonly chunkRows?: number;
}

/**
 * Log-probability of the target token in each row, the entropy it was predicted with and whether greedy decoding gives
 * it (1 or 0), straight from the hidden states, without ever holding the logits of the whole batch: hidden [n, d],
 * head [vocabulary, d], int32 targets [n] → three tensors [n].
 */
export function tokenLogProbs(
  hidden: Tensor,
  head: Tensor,
  targets: Tensor,
  { temperature = 1, chunkRows }: TokenLogProbsOptions = {},
): { logProbs: Tensor; entropies: Tensor; isGreedy: Tensor } {
  const rows = chunkRows ?? Math.max(1, Math.floor(DEFAULT_CHUNK_BYTES / 4 / Math.max(1, head.shape[0]!)));
  const [logProbs, entropies, isGreedy] = applyKernel(tokenLogProbsKernel, [hidden, head, targets], {
    temperature,
    chunkRows: rows,
  });
  return { logProbs: logProbs!, entropies: entropies!, isGreedy: isGreedy! };
}
