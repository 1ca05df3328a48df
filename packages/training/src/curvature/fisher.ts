import { grad, jvp, stopGradient, type Tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { type Given, number, options } from '@posttrain/interfaces';
import type { ForwardPass } from '../loss/loss.js';
import { predictionLayer } from '../readouts/prediction-layer.js';
import { predictions } from '../readouts/predictions.js';
import { sumOverVocabulary, type VocabularyLogits } from '../readouts/vocabulary.js';
import type { Curvature } from '../trainer/curvature.js';

const fisherOptions = options('fisher', {
  /** Divides the logits before the softmax. Default 1. */
  temperature: number({ default: 1, above: 0 }),
});
/** Options of `fisher`. */
export type FisherOptions = Given<typeof fisherOptions>;

const known = new Map<number, Curvature>();

/**
 * The Fisher information of what the model predicts, F = Σ_t w_t Jᵀ (diag(p) - p pᵀ) J with J the derivative of the
 * logits of prediction t and w the rows' weights. It is the Hessian of Σ_t w_t KL(π_θ ‖ π) at π = π_θ (TRPO, arXiv
 * 1502.05477) and the generalised Gauss-Newton matrix of the cross-entropy (arXiv 1412.1193), and has no negative
 * eigenvalue where no weight is negative. The logits and their derivative along v exist for a chunk of the vocabulary
 * at a time.
 */
export function fisher(given: FisherOptions = {}): Curvature {
  const { temperature } = fisherOptions.read(given);
  const made: Curvature = known.get(temperature) ?? {
    name: 'fisher',
    annotations: [],
    product(pass, { weights }, parameters, vector) {
      const layerOf = (at: Named) => {
        const { states, matrix } = predictionLayer(pass(at), temperature);
        return { states, matrix };
      };
      const { tangent } = jvp(layerOf, [parameters], [vector]);
      const scores = (at: Named) => scoresAlong(pass(at), tangent, weights, temperature);
      return grad(scores)(parameters);
    },
  };
  known.set(temperature, made);
  return made;
}

/**
 * Σ c · z of logits z, with c = w p (ż - Σ p ż) held fixed: its gradient is F v, where ż is the derivative of z along
 * v.
 */
function scoresAlong(
  pass: ForwardPass,
  tangent: Readonly<Record<'states' | 'matrix', Tensor>>,
  weights: Tensor,
  temperature: number,
): Tensor {
  const layer = predictionLayer(pass, temperature);
  const n = layer.states.shape[0]!;
  const { softCap } = layer;
  const logSumExps = stopGradient(pass.read(predictions({ temperature })).logSumExps).reshape([n, 1]);
  const plain = { ...layer, softCap: undefined };
  // Of z = T⁻¹ s Mᵀ: the derivative along s, and along M.
  const layers: VocabularyLogits[] = [
    layer,
    { ...plain, states: tangent.states },
    { ...plain, matrix: tangent.matrix },
  ];
  const parts = ([z, alongStates, alongMatrix]: readonly Tensor[]) => {
    const linear = alongStates!.add(alongMatrix!);
    // z = cap tanh(x / cap) / T, of which the derivative is 1 - (z T / cap)².
    const slope =
      softCap === undefined
        ? undefined
        : z!
            .mul(temperature / softCap)
            .square()
            .neg()
            .add(1);
    return { p: z!.sub(logSumExps).exp(), along: slope ? linear.mul(slope) : linear };
  };
  const mean = sumOverVocabulary(layers, (logits) => {
    const { p, along } = parts(logits.map(stopGradient));
    return p.mul(along).sum(1, { keepDims: true });
  });
  const w = weights.reshape([n, 1]);
  return sumOverVocabulary(layers, (logits) => {
    const { p, along } = parts(logits.map(stopGradient));
    return p.mul(along.sub(mean)).mul(w).mul(logits[0]!).sum(1);
  }).sum();
}
