import { custom, type Given, integer } from '@posttrain/interfaces';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';
import { findAnswers } from '../solution.js';
import { countVotes, withAnswer } from '../voting.js';

/** The meta-action tokens of a model that was trained to search within one text. */
export interface MetaActions {
  readonly continue: string;
  readonly reflect: string;
  readonly explore: string;
}

/** As Satori's models have them. */
export const SATORI_ACTIONS: MetaActions = {
  continue: '<|continue|>',
  reflect: '<|reflect|>',
  explore: '<|explore|>',
};
/** The name of a meta-action. */
export type MetaAction = keyof MetaActions;

/** One part of a chain of action and thought; the first may have no action. */
export interface ActionThought {
  readonly action: MetaAction | null;
  readonly text: string;
}

const KINDS = ['continue', 'reflect', 'explore'] as const;
const isActions = (value: unknown): boolean => {
  const tokens = KINDS.map((kind) => (value as Partial<MetaActions> | null)?.[kind]);
  return tokens.every((token) => typeof token === 'string' && token !== '') && new Set(tokens).size === KINDS.length;
};

const coatOptions = strategyOptions('coat', {
  /** The meta-action tokens. Default: Satori's. */
  actions: custom<MetaActions>()('three different texts: { continue, reflect, explore }', isActions, {
    default: SATORI_ACTIONS,
  }),
  /** Reflections that a text which has ended is made to go on with. Default 0. */
  forcedReflections: integer({ default: 0, min: 0 }),
  /** Meta-actions of a text at most. Default 40. */
  maxActions: integer({ default: 40, min: 1 }),
});
/** Options of `coat`. `n` is the number of texts. */
export type CoatOptions = Given<typeof coatOptions>;

/** The chain in a text; `formatCoat` of it is the text. */
export function parseCoat(text: string, actions: MetaActions = SATORI_ACTIONS): ActionThought[] {
  const parts: ActionThought[] = [];
  let action: MetaAction | null = null;
  let rest = text;
  for (;;) {
    const places = KINDS.map((kind) => ({ kind, at: rest.indexOf(actions[kind]) })).filter(({ at }) => at >= 0);
    const next = places.sort((a, b) => a.at - b.at || actions[b.kind].length - actions[a.kind].length)[0];
    const body = next ? rest.slice(0, next.at) : rest;
    if (action !== null || body !== '') parts.push({ action, text: body });
    if (!next) return parts;
    action = next.kind;
    rest = rest.slice(next.at + actions[next.kind].length);
  }
}

/** The text of a chain. */
export const formatCoat = (parts: readonly ActionThought[], actions: MetaActions = SATORI_ACTIONS): string =>
  parts.map(({ action, text }) => (action === null ? '' : actions[action]) + text).join('');

/**
 * Inference with a chain of action and thought (COAT; Satori, arXiv 2502.02508): a model that was trained to searches inside one text, by
 * tokens that say whether what follows goes on, reflects on what was written, or explores another way. No verifier and no tree: the
 * strategy draws the text action by action, so that each is a node with its cost, and counts them.
 *
 * - a part ends where the model writes the next meta-action, and is continued by what follows it;
 * - a text that has ended is made to reflect, up to `forcedReflections` times, by its token put after it.
 *
 * Of n texts the answer of most is returned (n = 1: the paper's), ties to the earlier; the payload of the last part has the counts. Throws
 * `NoCandidateError` when no text has ended with an answer.
 */
export async function coat(problem: Problem, options: CoatOptions): Promise<SearchResult> {
  const { n, actions, forcedReflections, maxActions } = coatOptions.read(options);
  const search = new Search(coatOptions, problem, options);
  const stop = KINDS.map((kind) => actions[kind]);
  const write = async (episode: number): Promise<SearchNode | undefined> => {
    let at = n === 1 ? search.root : search.merge([search.root], { episode });
    let forced = 0;
    for (let taken = 0; taken <= maxActions; taken++) {
      const [part] = await search.expand(at, { n: 1, stop: taken === maxActions ? [] : stop });
      if (!part) return undefined;
      at = part;
      if (part.state === 'open') continue;
      if (part.state === 'cut' || forced === forcedReflections || taken === maxActions) break;
      forced++;
      at = search.merge([part], { forced }, part.text + actions.reflect);
    }
    const counts = { continue: 0, reflect: 0, explore: 0 };
    for (const { action } of parseCoat(at.text, actions)) if (action !== null) counts[action]++;
    at.payload = { ...counts, forced };
    return at;
  };
  const texts = (await Promise.all(Array.from({ length: n }, (_, episode) => write(episode)))).flatMap(
    (it) => it ?? [],
  );
  findAnswers(texts, options.extractAnswer);
  const ballots = countVotes(withAnswer(texts), () => 1);
  const [winner] = ballots;
  if (!winner) throw search.nothing('no text has ended with an answer.');
  const support = winner.supporters as readonly SearchNode[];
  return search.finish(support[0]!, { support, votes: ballots.map(({ vote }) => vote), reason: 'outvoted' });
}
