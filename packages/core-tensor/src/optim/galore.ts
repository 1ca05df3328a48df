import { type Given, integer, number, options, PosttrainError } from '@posttrain/interfaces';
import { tensor, zerosBuffer } from '../create.js';
import type { Tensor } from '../tensor.js';
import { adamStep, momentOptions } from './adam-step.js';
import { adamW } from './adamw.js';
import { isHiddenMatrix } from './muon.js';
import {
  decayed,
  decayOptions,
  decaysByDefault,
  mapNamed,
  type Named,
  type Optimizer,
  splitOptions,
} from './optimizer.js';
import { type ParameterGroupsState, parameterGroups } from './parameter-groups.js';
import { leftSingularVectors } from './singular-vectors.js';

const matricesShape = {
  /** Rows that a projected gradient has. Default 128; at most the smaller side of a matrix. */
  rank: integer({ default: 128, min: 1 }),
  /** Updates between new projections. Default 200. */
  updateInterval: integer({ default: 200, min: 1 }),
  /** The change is multiplied by this. Default 0.25. */
  scale: number({ default: 0.25, above: 0 }),
  ...momentOptions,
  ...decayOptions,
};

/** The decay is decoupled: θ ← θ (1 - η·weightDecay) after the step, as galore_torch has it. */
const galoreMatricesOptions = options('galoreMatrices', matricesShape);
/** Options of `galoreMatrices`. */
export type GaloreMatricesOptions = Given<typeof galoreMatricesOptions>;

/** The state of `galore`. */
export interface GaloreState {
  /** Number of updates made, int32 scalar. */
  readonly step: Tensor;
  /** Orthonormal columns [smaller side, rank]. */
  readonly projection: Named;
  /** In the projected space: [rank, m] or [n, rank]. */
  readonly mean: Named;
  readonly square: Named;
}

/**
 * GaLore (arXiv 2403.03507) for parameters that are all matrices: with P the leading singular vectors of the gradient on
 * its smaller side, R = PᵀG (or GP, when G is tall), Adam's change N of R, θ ← (θ - scale · P N)(1 - ηλ). State: rank
 * rows instead of all, and P.
 *
 * P is made anew every `updateInterval` updates, by `refresh`, off the compiled update: a decomposition is rare, has no
 * use for a graph, and would otherwise be in every update. Until the first `refresh` P is the first rows of the identity.
 *
 * @throws PosttrainError for a parameter that is no matrix
 */
export function galoreMatrices(given: GaloreMatricesOptions = {}): Optimizer<GaloreState> {
  const read = galoreMatricesOptions.read(given);
  const { rank, updateInterval, scale, weightDecay, decays = decaysByDefault } = read;
  const rankOf = (shape: readonly number[]) => Math.min(rank, ...shape);
  return {
    name: 'galore',
    settings: galoreMatricesOptions.settings(given),
    init(parameters) {
      const projected = (p: Tensor) =>
        zerosBuffer(isTall(p.shape) ? [p.shape[0]!, rankOf(p.shape)] : [rankOf(p.shape), p.shape[1]!]);
      return {
        step: zerosBuffer([], 'int32'),
        projection: mapNamed(parameters, (p, name) => {
          if (p.rank !== 2) throw new PosttrainError('GALORE', `${name} is ${p}; GaLore projects matrices only`);
          const [rows, columns] = [Math.min(...p.shape), rankOf(p.shape)];
          const start = new Float32Array(rows * columns);
          for (let i = 0; i < columns; i++) start[i * columns + i] = 1;
          return tensor(start, [rows, columns]);
        }),
        mean: mapNamed(parameters, projected),
        square: mapNamed(parameters, projected),
      };
    },
    update(parameters, gradients, state, learningRate) {
      const step = state.step.add(1);
      const adam = adamStep(read, step, learningRate);
      const [mean, square] = [{ ...state.mean }, { ...state.square }];
      const updated = mapNamed(parameters, (p, name) => {
        const g = gradients[name];
        if (!g) return p;
        const projection = state.projection[name]!;
        const tall = isTall(p.shape);
        const low = tall ? g.matmul(projection) : projection.matmul(g, { transposeA: true });
        const next = adam(low, { mean: mean[name]!, square: square[name]! });
        mean[name] = next.mean;
        square[name] = next.square;
        const change = tall ? next.change.matmul(projection, { transposeB: true }) : projection.matmul(next.change);
        return decayed(p.sub(change.mul(scale)), learningRate, decays(name, p) ? weightDecay : 0);
      });
      return { parameters: updated, state: { step, projection: state.projection, mean, square } };
    },
    refresh(gradients, state, step) {
      if (step % updateInterval !== 0) return undefined;
      const renewed = async (): Promise<GaloreState> => {
        const projection = { ...state.projection };
        for (const [name, g] of Object.entries(gradients)) {
          const { shape } = projection[name]!;
          const vectors = await leftSingularVectors(isTall(g.shape) ? g.transpose() : g, shape[1]!);
          projection[name] = tensor(vectors, shape);
        }
        return { ...state, projection };
      };
      return renewed();
    },
  };
}

const isTall = (shape: readonly number[]): boolean => shape[0]! >= shape[1]!;

/** `others` has the same decay and moments by default. */
const galoreOptions = options('galore', { ...matricesShape, ...splitOptions });
/** Options of `galore` (arXiv 2403.03507). */
export type GaloreOptions = Given<typeof galoreOptions>;

/** GaLore for the hidden matrices and another optimizer, AdamW by default, for the rest; see `galoreMatrices`. */
export function galore(given: GaloreOptions = {}): Optimizer<ParameterGroupsState> {
  const { appliesTo = isHiddenMatrix, others, ...matrices } = galoreOptions.read(given);
  const { rank: _, updateInterval: __, scale: ___, ...moments } = matrices;
  const groups = [{ match: appliesTo, optimizer: galoreMatrices(matrices) }, { optimizer: others ?? adamW(moments) }];
  return { ...parameterGroups(groups), name: 'galore', settings: galoreOptions.settings(given) };
}
