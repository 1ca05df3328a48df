import type { SamplerContext } from '../token-history.js';
import type { EditableScores } from './editable-scores.js';

/** Forbids every token that would complete an n-gram that prompt and completion already hold (arXiv 1705.04304). */
export function applyNoRepeatNgram(scores: EditableScores, size: number, context: SamplerContext): void {
  const { prompt, generated } = context;
  const length = prompt.length + generated.length;
  const at = (i: number) => (i < prompt.length ? prompt[i] : generated[i - prompt.length])!;
  for (let end = size - 1; end < length; end++) {
    let same = 1;
    while (same < size && at(end - same) === at(length - same)) same++;
    if (same === size) scores.forbid(at(end));
  }
}
