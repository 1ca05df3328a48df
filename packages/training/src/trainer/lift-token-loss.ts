import type { Loss } from '../loss/loss.js';
import type { TokenLoss } from '../loss/token-loss.js';
import { predictions } from '../readouts/predictions.js';

const lifted = new WeakMap<TokenLoss, Loss>();

/** A loss over tokens as a loss over readouts, of which it reads the predictions. One for each object, for what is compiled. */
export function liftTokenLoss(loss: TokenLoss): Loss {
  const known = lifted.get(loss);
  if (known) return known;
  const { temperature = 1, ...description } = loss;
  const readout = predictions({ temperature });
  const made: Loss = {
    ...description,
    computeFrom: (read, { weights, annotations }) => {
      const { logProbs, entropies, isGreedy } = read(readout);
      return loss.compute({ logProbs, entropies, isGreedy, weights, annotations });
    },
  };
  lifted.set(loss, made);
  return made;
}

/** What a trainer takes: a loss over readouts, or one over tokens. */
export type AnyLoss = Loss | TokenLoss;

/** The loss over readouts that is meant. */
export const asLoss = (loss: AnyLoss): Loss => ('computeFrom' in loss ? loss : liftTokenLoss(loss));
