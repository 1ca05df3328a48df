import type { GenerateRequest } from '@posttrain/interfaces';
import { EditableScores } from '../sampling/processors/editable-scores.js';
import { applyProcessors, checkSamplerSettings } from '../sampling/sampler.js';
import { samplerSettings } from '../sampling/sampler-settings.js';
import { TokenHistory } from '../sampling/token-history.js';
import type { SearchPrompt } from './search-prompt.js';

/** What changes the scores of single tokens. */
export const PROCESSOR_OPTIONS = [
  ...['repetitionPenalty', 'presencePenalty', 'frequencyPenalty', 'logitBias'],
  ...['noRepeatNgramSize', 'badWordsIds', 'minNewTokens'],
];

/**
 * The sampler's processors that a request asks for, as Hugging Face `generate` applies them in a search: to log p instead of
 * logits, and without making the sum 1 again. Undefined when it asks for none.
 */
export function scoreProcessor(
  request: GenerateRequest,
  prompt: readonly number[],
  model: { readonly endTokens: ReadonlySet<number>; readonly vocabSize: number },
): SearchPrompt['process'] {
  if (!PROCESSOR_OPTIONS.some((name) => request[name as keyof GenerateRequest] !== undefined)) return undefined;
  const settings = samplerSettings(request, model.endTokens);
  checkSamplerSettings(settings, model.vocabSize);
  return (scores, generated) => {
    const history = new TokenHistory(prompt);
    for (const token of generated) history.push(token);
    applyProcessors(new EditableScores(scores), settings, history);
  };
}
