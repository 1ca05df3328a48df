import { PosttrainError, type ScorerTrainer } from '@posttrain/interfaces';
import { type CausalLM, LocalScorer } from '@posttrain/lm';
import { sft } from '../sft/sft.js';
import type { SftOptions } from '../sft/sft-options.js';
import type { TrainableAdapter } from '../trainer/trainable-adapter.js';

/**
 * Options of `sftScorerTrainer`: those of `sft` but for what each call says, and what would make the calls share a
 * folder.
 */
export type SftScorerTrainerOptions<A extends TrainableAdapter = TrainableAdapter> = Omit<
  SftOptions<A>,
  'rows' | 'seed' | 'signal' | 'onProgress' | 'outputFolder' | 'resume'
>;

/**
 * Supervised fine-tuning as a `ScorerTrainer`: each call trains `model` (or `adapter` beside it) on its rows with
 * `sft`, from the same start, and gives the `LocalScorer` of what came of it. Shadow models of LiRA (arXiv
 * 2112.03570), for example. The seed is that of the order of rows, and of noise. The scorers hold their own weights:
 * with an adapter only its parameters, without one a whole model each.
 *
 * @throws what `sft` throws; PosttrainError `SFT_ROWS` for no rows; the signal's reason once it fires
 */
export function sftScorerTrainer<A extends TrainableAdapter = TrainableAdapter>(
  options: SftScorerTrainerOptions<A>,
): ScorerTrainer {
  return {
    name: `sft of ${options.model.name}`,
    async train(rows, { seed = 0, signal, onProgress } = {}) {
      signal?.throwIfAborted();
      if (rows.length === 0) throw new PosttrainError('SFT_ROWS', 'sftScorerTrainer: there are no rows to train on');
      const trained = rows.map(({ prompt, completion: content }) => ({
        prompt,
        completion: typeof prompt === 'string' ? content : [{ role: 'assistant', content }],
      }));
      const result = await sft<A>({
        ...(options as SftOptions<A>),
        ...{ rows: trained, seed },
        ...(signal && { signal }),
        ...(onProgress && { onProgress }),
      });
      // A run that is stopped keeps what it has; a scorer of half the rows is none.
      signal?.throwIfAborted();
      const { adapter, trainer } = result;
      return adapter
        ? new LocalScorer(options.model, { adapter: () => adapter })
        : new LocalScorer(trainer.model as CausalLM);
    },
  };
}
