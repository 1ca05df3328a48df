import { boolean, type Given, integer, number, oneOf, options, PosttrainError } from '@posttrain/interfaces';
import { zerosBuffer } from '../create.js';
import type { Tensor } from '../tensor.js';
import { adamW } from './adamw.js';
import {
  decayed,
  decayOptions,
  mapNamed,
  type Named,
  type Optimizer,
  type ParameterFilter,
  splitOptions,
} from './optimizer.js';
import { type ParameterGroupsState, parameterGroups } from './parameter-groups.js';

/** How the rate is adjusted to a matrix [A, B], by torch's names; see `muonMatrices`. */
export type MuonAdjustment = keyof typeof ADJUSTMENTS;

const ADJUSTMENTS = {
  original: (rows: number, columns: number) => Math.sqrt(Math.max(1, rows / columns)),
  match_rms_adamw: (rows: number, columns: number) => 0.2 * Math.sqrt(Math.max(rows, columns)),
  spectral_unclamped: (rows: number, columns: number) => Math.sqrt(rows / columns),
} as const;

const matricesShape = {
  /** Decay of the mean of the gradients. Default 0.95. */
  momentum: number({ default: 0.95, min: 0, below: 1 }),
  /** Look ahead along the momentum. Default true. */
  nesterov: boolean({ default: true }),
  /** Decoupled decay: θ ← θ (1 - η·weightDecay) before the step, with the rate that is not adjusted. Default 0.1. */
  weightDecay: number({ default: 0.1, min: 0 }),
  /** Which parameters decay, by name. Default: all that Muon updates. */
  decays: decayOptions.decays,
  /** Newton-Schulz iterations. Default 5. */
  steps: integer({ default: 5, min: 1 }),
  /** Default `original`. With `match_rms_adamw` rates and decay that suit AdamW can be used as they are. */
  adjustment: oneOf(Object.keys(ADJUSTMENTS) as MuonAdjustment[], { default: 'original' }),
};
const muonMatricesOptions = options('muonMatrices', matricesShape);
/** Options of `muonMatrices`. */
export type MuonMatricesOptions = Given<typeof muonMatricesOptions>;

/** The state of `muon`. */
export interface MuonState {
  /** Mean of the gradients per parameter. */
  readonly momentum: Named;
}

/** The quintic with the steepest slope at 0 (Keller Jordan, "Muon", 2024): singular values end in about [0.7, 1.2]. */
const [A, B, C] = [3.4445, -4.775, 2.0315];

/**
 * About U Vᵀ for a matrix U S Vᵀ: X ← G / ‖G‖, then X ← aX + (bM + cM²)X with M = XXᵀ, `steps` times. [n, m] in and out.
 */
export function newtonSchulz(matrix: Tensor, steps: number): Tensor {
  const isTall = matrix.shape[0]! > matrix.shape[1]!;
  const norm = matrix.square().sum().sqrt().maximum(1e-7);
  let x = (isTall ? matrix.transpose() : matrix).div(norm);
  for (let i = 0; i < steps; i++) {
    const gram = x.matmul(x, { transposeB: true });
    x = x.mul(A).add(gram.mul(B).add(gram.matmul(gram).mul(C)).matmul(x));
  }
  return isTall ? x.transpose() : x;
}

/**
 * Muon (Jordan 2024; arXiv 2502.16982) for parameters that are all matrices, as torch.optim.Muon defines it, but with the
 * iteration in float32: b ← μb + (1-μ)g, O = NewtonSchulz((1-μ)g + μb if nesterov else b),
 * θ ← θ(1 - ηλ) - η · s · O, where for θ of shape [A, B] the factor s is √max(1, A/B) (`original`), 0.2 √max(A, B)
 * (`match_rms_adamw`) or √(A/B) (`spectral_unclamped`).
 *
 * @throws PosttrainError for a parameter that is no matrix
 */
export function muonMatrices(given: MuonMatricesOptions = {}): Optimizer<MuonState> {
  const { momentum, nesterov, weightDecay, decays = () => true, steps, adjustment } = muonMatricesOptions.read(given);
  const adjust = ADJUSTMENTS[adjustment];
  return {
    name: 'muon',
    settings: muonMatricesOptions.settings(given),
    init: (parameters) => ({
      momentum: mapNamed(parameters, (p, name) => {
        if (p.rank !== 2) throw new PosttrainError('MUON', `${name} is ${p}; Muon updates matrices only`);
        return zerosBuffer(p.shape);
      }),
    }),
    update(parameters, gradients, state, learningRate) {
      const buffers = { ...state.momentum };
      const mix = (old: Tensor, g: Tensor) => old.mul(momentum).add(g.mul(1 - momentum));
      const updated = mapNamed(parameters, (p, name) => {
        const g = gradients[name];
        if (!g) return p;
        const buffer = mix(buffers[name]!, g);
        buffers[name] = buffer;
        const direction = newtonSchulz(nesterov ? mix(buffer, g) : buffer, steps);
        const [rows, columns] = p.shape as [number, number];
        const decay = decays(name, p) ? weightDecay : 0;
        return decayed(p, learningRate, decay).sub(direction.mul(learningRate.mul(adjust(rows, columns))));
      });
      return { parameters: updated, state: { momentum: buffers } };
    },
  };
}

const muonOptions = options('muon', {
  ...matricesShape,
  ...splitOptions,
  /** Learning rate of the others as a multiple of Muon's. Default 1, which suits `match_rms_adamw`. */
  othersFactor: number({ default: 1, min: 0 }),
});
/** Options of `muon`. */
export type MuonOptions = Given<typeof muonOptions>;

const EMBEDDING = /embed|lm_head|(^|\.)wte\.|(^|\.)wpe\./;

/** Matrices that are neither an embedding nor the head, by their Hugging Face names. */
export const isHiddenMatrix: ParameterFilter = (name, p) => p.rank === 2 && !EMBEDDING.test(name);

/** Muon for the hidden matrices and another optimizer, AdamW by default, for the rest; see `muonMatrices`. */
export function muon(given: MuonOptions = {}): Optimizer<ParameterGroupsState> {
  const { appliesTo = isHiddenMatrix, others, othersFactor, ...matrices } = muonOptions.read(given);
  const { weightDecay, decays } = matrices;
  const groups = [
    { match: appliesTo, optimizer: muonMatrices(matrices) },
    { optimizer: others ?? adamW({ weightDecay, ...(decays && { decays }) }), learningRateFactor: othersFactor },
  ];
  return { ...parameterGroups(groups), name: 'muon', settings: muonOptions.settings(given) };
}
