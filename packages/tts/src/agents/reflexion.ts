import { type Given, integer, number, type Prompt } from '@posttrain/interfaces';
import { promptOption } from '../function-option.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions, verifierOption } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { bestOf } from '../step-score.js';
import { episodeShape, runEpisodes } from './episodes.js';
import { answered } from './react.js';

const reflexionOptions = strategyOptions('reflexion', {
  ...episodeShape,
  /** The evaluator: whether the whole text of a trial, actions and observations among it, has succeeded. */
  verifier: verifierOption,
  /** What is asked for what is to be learned of a trial that has failed. */
  reflectPrompt: promptOption<(trial: string) => Prompt>('a trial that has failed'),
  /** The problem's prompt with the memory, the latest reflection last. */
  memoryPrompt: promptOption<(reflections: readonly string[]) => Prompt>('reflections'),
  /** Ω, reflections that are remembered. 0: trials are independent. Default 3. */
  memory: integer({ default: 3, min: 0 }),
  /** A score of at least this is a success, and ends the search. Default 1. */
  success: number({ default: 1 }),
});
/** Options of `reflexion`. `n` is the most trials. */
export type ReflexionOptions = Given<typeof reflexionOptions>;

/**
 * Reflexion (arXiv 2303.11366): an agent that learns over trials in words. In each trial the actor runs an episode (ReAct; without tools
 * a chain of thought, which ends with `finish[answer]` or by itself), the evaluator scores it, and of a failure the model writes what went wrong. The last Ω
 * of these reflections are the episodic memory that the next trial's prompt is made with.
 *
 * The authors' agent for questions remembers all reflections, the one for households the last 3.
 *
 * The first trial that succeeds is returned; else the one of highest score, the first of several. With no memory it is best-of-n over episodes, one after
 * the other. Throws `NoCandidateError` when no trial has a score.
 */
export async function reflexion(problem: Problem, options: ReflexionOptions): Promise<SearchResult> {
  const read = reflexionOptions.read(options);
  const { n, reflectPrompt, memoryPrompt, memory, success } = read;
  const search = new Search(reflexionOptions, problem, options);
  const trials: SearchNode[] = [];
  const reflections: string[] = [];
  for (let trial = 0; trial < n && search.exhausted === null; trial++) {
    const root = search.merge([search.root], { trial });
    const remembered = memory === 0 ? [] : reflections.slice(-memory);
    const prompt = remembered.length === 0 ? undefined : memoryPrompt(remembered);
    const episodes = await runEpisodes(search, [root], read, prompt);
    answered(episodes);
    const { node } = episodes[0]!;
    if (node === root) break;
    await search.verify([node]);
    trials.push(node);
    if ((node.score ?? Number.NEGATIVE_INFINITY) >= success) break;
    if (memory === 0 || trial === n - 1) continue;
    const [reflection] = await search.expand(node, { n: 1, prompt: reflectPrompt(node.text) });
    if (!reflection) break;
    reflection.node.reason = 'a reflection';
    reflections.push(reflection.text);
  }
  const best = bestOf(trials, ({ score }) => score ?? null);
  if (!best) throw search.nothing('no trial has a score.');
  best.payload = { ...(best.payload as object), trials: trials.length };
  return search.finish(best, { reason: 'lower score' });
}
