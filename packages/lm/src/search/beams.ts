import { BeamGroup, type BeamRules } from './beam-group.js';
import type { Hypotheses, Step } from './hypotheses.js';
import type { SearchHypothesis, SearchPrompt } from './search-prompt.js';

/** Groups of beams that search from the same prompts, one after the other in every step. */
export interface GroupRules extends BeamRules {
  readonly groups: number;
  /** Taken from the score of a token for each beam of an earlier group that chose it in the same step. */
  readonly diversityPenalty: number;
}

/**
 * Grows the beams of all prompts to their end, all in one pass a step, and gives each prompt's `groups · size` best
 * hypotheses, best first. Releases `hypotheses`, whatever happens.
 */
export async function searchBeams(
  hypotheses: Hypotheses,
  prompts: readonly SearchPrompt[],
  { groups: count, diversityPenalty, ...rules }: GroupRules,
): Promise<SearchHypothesis[][]> {
  const searches = prompts.map((prompt, i) => Array.from({ length: count }, () => new BeamGroup(prompt, i, rules)));
  try {
    let rows = await hypotheses.start(prompts.map(({ prompt }) => prompt));
    for (;;) {
      const steps: Step[] = [];
      for (const [i, groups] of searches.entries()) {
        if (prompts[i]!.isCancelled?.()) for (const group of groups) group.abort();
        const taken = new Map<number, number>();
        for (const group of groups) {
          if (!group.isOpen) continue;
          group.grow(rows, taken, diversityPenalty);
          for (const beam of group.running) {
            const token = beam.tokens.at(-1)!;
            taken.set(token, (taken.get(token) ?? 0) + 1);
            if (group.isOpen) beam.row = steps.push({ parent: beam.row, token }) - 1;
          }
        }
      }
      if (steps.length === 0) break;
      rows = await hypotheses.advance(steps);
    }
  } finally {
    hypotheses.release();
  }
  return searches.map((groups) => groups.flatMap(({ finished }) => finished).sort((a, b) => b.score - a.score));
}
