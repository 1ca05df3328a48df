import type { Adapter, CausalLM } from '@posttrain/lm';
import { sequenceLogProbs } from '@posttrain/lm';
import type { PromptLogProb, ScoreOptions } from './served-model.js';
import { Turns } from './turns.js';

/** `ServedModel.score` of a local model, at temperature 1. @throws the signal's reason */
export async function scorePrompt(
  model: CausalLM,
  tokenIds: readonly number[],
  adapter: Adapter | undefined,
  { top, signal, adapterInputs }: ScoreOptions,
): Promise<(readonly PromptLogProb[] | null)[]> {
  const found: (readonly PromptLogProb[] | null)[] = [null];
  // Nothing is predicted.
  if (tokenIds.length < 2) return found;
  const given = { ...(adapter && { adapter }), ...(adapterInputs && { adapterInputs: [adapterInputs] }) };
  const options = { topLogProbs: Math.min(top, model.config.vocabSize), ranks: true, ...given };
  const [scored] = await sequenceLogProbs(model, [tokenIds], options);
  const { logProbs, ranks, topLogProbs } = scored!;
  const turns = new Turns();
  const { tokenizer } = model;
  // A row of a padded embedding is no token and has no text.
  const textOf = (id: number) => (tokenizer.idToToken(id) === undefined ? '' : tokenizer.decode([id]));
  for (const [i, logProb] of logProbs.entries()) {
    signal.throwIfAborted();
    const own = tokenIds[i + 1]!;
    const best = topLogProbs?.[i] ?? [];
    const place = best.findIndex(({ tokenId }) => tokenId === own);
    // What is not among the best has a higher rank than they.
    const rank = place >= 0 ? place + 1 : Math.max(best.length + 1, ranks![i]!);
    const others = best.map((one, at) => ({ ...one, rank: at + 1, token: textOf(one.tokenId) }));
    found.push([{ tokenId: own, logProb, rank, token: textOf(own) }, ...others.filter((_, at) => at !== place)]);
    await turns.next();
  }
  return found;
}
