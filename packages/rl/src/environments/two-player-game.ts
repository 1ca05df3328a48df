import { assertArgument, type DecisiveSettings } from '@posttrain/interfaces';
import type { PromptRow } from '../rewards/reward.js';
import type { MultiAgentEnvironment } from '../rollout/multi-agent.js';
import { user } from './task-environment.js';

/** A game of two who move in turn and see all; what one wins the other loses. */
export interface TwoPlayerGame<State> {
  readonly name: string;
  readonly settings: DecisiveSettings;
  readonly start: State;
  /** Moves as they are said; none: the game is over. */
  moves(state: State): readonly string[];
  play(state: State, move: string): State;
  /** What the position is worth to who is to move, where the game is over: 1, 0 or −1. */
  ended(state: State): number;
  /** A position as it is told to who is to move. */
  show(state: State): string;
}

const isGame = (value: unknown): boolean =>
  typeof (value as Partial<TwoPlayerGame<unknown>> | null)?.play === 'function';

/**
 * What a position is worth to who is to move when both play best: minimax, exact, each position once. A solver of small games, by which self-play is measured.
 */
export function minimax<State>(game: TwoPlayerGame<State>): (state: State) => number {
  const known = new Map<string, number>();
  const worthOf = (state: State): number => {
    const id = JSON.stringify(state);
    const there = known.get(id);
    if (there !== undefined) return there;
    const moves = game.moves(state);
    const value =
      moves.length === 0 ? game.ended(state) : Math.max(...moves.map((move) => 0 - worthOf(game.play(state, move))));
    known.set(id, value);
    return value;
  };
  return worthOf;
}

/** The moves that keep what a position is worth. */
export function bestMoves<State>(game: TwoPlayerGame<State>, state: State, worthOf = minimax(game)): readonly string[] {
  const best = worthOf(state);
  return game.moves(state).filter((move) => 0 - worthOf(game.play(state, move)) === best);
}

/**
 * A game of two as an environment of the roles `first` and `second`, for `multiAgent`: `policies: { first: 'player', second: 'player' }` is self-play. A reply
 * is a move, the first legal one that it names; who names none has lost. Each role is worth 1, 0 or −1. A row may have a `state` to begin from.
 *
 * @throws OptionError
 */
export function gameEnvironment<
  State,
  Row extends PromptRow & { readonly state?: State } = PromptRow & { readonly state?: State },
>(game: TwoPlayerGame<State>): MultiAgentEnvironment<Row> {
  assertArgument('gameEnvironment', 'game', game, isGame(game), 'a game, such as nim() or ticTacToe()');
  const roles = ['first', 'second'] as const;
  return {
    name: game.name,
    settings: game.settings,
    roles,
    start(row) {
      let state = row.state ?? game.start;
      let turn = 0;
      let loser: string | undefined;
      return {
        next() {
          if (loser !== undefined || game.moves(state).length === 0) return undefined;
          return { role: roles[turn % 2]!, messages: [user(game.show(state))] };
        },
        take(role, { content }) {
          const move = moveIn(content, game.moves(state));
          if (move === undefined) loser = role;
          else state = game.play(state, move);
          turn++;
        },
        rewards() {
          if (loser !== undefined) return { first: loser === 'first' ? -1 : 1, second: loser === 'second' ? -1 : 1 };
          if (game.moves(state).length > 0) return { first: null, second: null };
          const toMove = game.ended(state);
          // Without a loser 0, and not −0.
          const first = toMove === 0 ? 0 : turn % 2 === 0 ? toMove : -toMove;
          return { first, second: first === 0 ? 0 : -first };
        },
      };
    },
  };
}

/** The legal move that a reply names first. */
function moveIn(reply: string, moves: readonly string[]): string | undefined {
  const found = moves
    .map((move) => ({ move, at: reply.search(new RegExp(`(?<![\\w-])${move}(?![\\w-])`, 'i')) }))
    .filter(({ at }) => at >= 0)
    .sort((a, b) => a.at - b.at || b.move.length - a.move.length);
  return found[0]?.move;
}
