import { nameScope, type Tensor } from '@posttrain/core-tensor';
import type { ForwardPass } from '../loss/loss.js';
import type { VocabularyLogits } from './vocabulary.js';

/** The output layer over what predicts tokens in hidden states [b, s, width]: n = b · (s - 1) rows. */
export function predictionLayer(
  { network, weights, hooks, hidden }: Pick<ForwardPass, 'network' | 'weights' | 'hooks' | 'hidden'>,
  temperature: number,
): VocabularyLogits {
  const [b, s, width] = hidden.shape as [number, number, number];
  const predicting: Tensor = hidden.slice(1, 0, s - 1).reshape([b * (s - 1), width]);
  const { states, matrix } = nameScope('lm_head', () => network.outputLayer(weights, predicting, hooks));
  return { states, matrix, temperature, softCap: network.logitSoftCap };
}
