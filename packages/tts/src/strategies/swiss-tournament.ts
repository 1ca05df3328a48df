import { type Given, integer } from '@posttrain/interfaces';
import { compareShape, duel, judgeRole } from '../choosing.js';
import { questionOf, withQuestion } from '../prompting.js';
import { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';
import { type Problem, strategyOptions } from '../search-options.js';
import type { SearchResult } from '../search-types.js';

const swissOptions = strategyOptions('swiss-tournament', {
  ...compareShape,
  /** How often a pair is compared, every other time in the other order. Default 2. */
  comparisons: integer({ default: 2, min: 1 }),
  /** Rounds. Default ⌈log₂ n⌉. */
  rounds: integer({ optional: true, min: 1 }),
});
/** Options of `swissTournament`. `n` is the number of candidates. */
export type SwissTournamentOptions = Given<typeof swissOptions>;

interface Player {
  readonly node: SearchNode;
  points: number;
  readonly opponents: Player[];
  hadBye: boolean;
}

/**
 * Who plays whom: from the top of the table down, each with the next whom it has not met (else the next). Of an odd number the
 * lowest without a bye is left out, the second of what is returned.
 */
function swissPairs(table: readonly Player[]): readonly [(readonly [Player, Player])[], Player | undefined] {
  const bye = table.length % 2 === 1 ? (table.findLast(({ hadBye }) => !hadBye) ?? table.at(-1)) : undefined;
  const left = table.filter((player) => player !== bye);
  const pairs: (readonly [Player, Player])[] = [];
  while (left.length > 0) {
    const player = left.shift()!;
    const at = left.findIndex((other) => !player.opponents.includes(other));
    pairs.push([player, left.splice(Math.max(0, at), 1)[0]!]);
  }
  return [pairs, bye];
}

/**
 * Swiss tournament: every candidate plays in every round, against one of as many points, so that log₂ N rounds put N candidates in an order
 * that one unlucky comparison does not end. Who wins most comparisons of a duel has 1 point, a draw gives 1/2, a bye 1. The table
 * goes by points, then by the sum of the opponents' points (Buchholz), then by who was drawn first; its first is returned. ⌊N/2⌋ duels a round.
 *
 * `judge` compares, or else a model by a prompt: `generators.judge` where there is one. Throws `NoCandidateError` when the budget allows no completion.
 */
export async function swissTournament(problem: Problem, options: SwissTournamentOptions): Promise<SearchResult> {
  const { judge, comparePrompt, parse, comparisons, rounds, ...settings } = swissOptions.read(options);
  const search = new Search(swissOptions, problem, options);
  const question = questionOf(problem.prompt);
  const dueling = {
    ...{ search, judge, parse, comparisons, role: judgeRole(settings) },
    prompt: (a: string, b: string) => withQuestion(problem.prompt, comparePrompt(question, a, b)),
  };
  const players = (await search.draw()).map((node): Player => ({ node, points: 0, opponents: [], hadBye: false }));
  if (players.length === 0) throw search.nothing('there is no completion.');
  const buchholz = ({ opponents }: Player): number => opponents.reduce((sum, { points }) => sum + points, 0);
  const table = (): Player[] => [...players].sort((a, b) => b.points - a.points || buchholz(b) - buchholz(a));
  const most = rounds ?? Math.ceil(Math.log2(players.length));
  for (let round = 0; round < most && players.length > 1; round++) {
    const [pairs, bye] = swissPairs(table());
    if (bye) {
      bye.points++;
      bye.hadBye = true;
    }
    const shares = await Promise.all(pairs.map(([a, b]) => duel(dueling, [a.node, b.node])));
    pairs.forEach(([a, b], i) => {
      const share = shares[i]!;
      a.points += share > 0.5 ? 1 : share === 0.5 ? 0.5 : 0;
      b.points += share < 0.5 ? 1 : share === 0.5 ? 0.5 : 0;
      a.opponents.push(b);
      b.opponents.push(a);
    });
  }
  const [first] = table();
  for (const player of players) player.node.payload = { points: player.points, buchholz: buchholz(player) };
  return search.finish(first!.node, { reason: 'lower in the table' });
}
