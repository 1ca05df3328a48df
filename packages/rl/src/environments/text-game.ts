import { Key } from '@posttrain/core-tensor';
import { type Given, integer, number, options } from '@posttrain/interfaces';
import type { PromptRow } from '../rewards/reward.js';
import { below, say, type TaskEnvironment, user } from './task-environment.js';

const textGameOptions = options('textGame', {
  /** Rooms along each side of the house. Default 3. */
  side: integer({ default: 3, min: 2, max: 6 }),
  /** What every command costs. Default 0.02. */
  cost: number({ default: 0.02, min: 0 }),
});
/** Options of `textGame`. */
export type TextGameOptions = Given<typeof textGameOptions>;

/** A house: where the player, the key and the chest are, as numbers of rooms, and between which rooms there is a wall. */
export interface TextGameRow extends PromptRow {
  readonly prompt: string;
  readonly start: number;
  readonly key: number;
  readonly chest: number;
  readonly walls: readonly (readonly [number, number])[];
}

const WAYS = { north: [-1, 0], south: [1, 0], west: [0, -1], east: [0, 1] } as const;
type Way = keyof typeof WAYS;

interface State {
  readonly room: number;
  readonly hasKey: boolean;
}

/**
 * A text game: a house of rooms with a key in one and a locked chest in another. Commands are `go north|south|east|west`, `take key` and `open chest`, one a
 * reply; another does nothing. To open the chest with the key is worth 1 and ends it; every command costs. The oracle takes the shortest way: 1 − cost · (its
 * commands).
 *
 * @throws OptionError
 */
export function textGame(given: TextGameOptions = {}): TaskEnvironment<TextGameRow> {
  const { side, cost } = textGameOptions.read(given);

  const neighbour = ({ walls }: TextGameRow, room: number, way: Way): number | undefined => {
    const [down, right] = WAYS[way];
    const [row, column] = [Math.floor(room / side) + down, (room % side) + right];
    if (row < 0 || column < 0 || row >= side || column >= side) return undefined;
    const next = row * side + column;
    return walls.some((pair) => pair.includes(room) && pair.includes(next)) ? undefined : next;
  };
  const ways = (row: TextGameRow, room: number): Way[] =>
    (Object.keys(WAYS) as Way[]).filter((way) => neighbour(row, room, way) !== undefined);
  const look = (row: TextGameRow, { room, hasKey }: State): string => {
    const things = [row.key === room && !hasKey ? 'a key' : '', row.chest === room ? 'a locked chest' : ''].filter(
      (thing) => thing !== '',
    );
    const seen = things.length === 0 ? '' : ` There is ${things.join(' and ')}.`;
    return `You are in room ${room + 1}.${seen} Doors lead ${ways(row, room).join(', ')}.${hasKey ? ' You have the key.' : ''}`;
  };
  /** The shortest way from a room, breadth first. */
  const wayTo = (row: TextGameRow, from: number, to: number): Way[] | undefined => {
    const reached = new Map<number, Way[]>([[from, []]]);
    for (const [room, path] of reached) {
      if (room === to) return path;
      for (const way of ways(row, room)) {
        const next = neighbour(row, room, way)!;
        if (!reached.has(next)) reached.set(next, [...path, way]);
      }
    }
    return undefined;
  };
  const plan = (row: TextGameRow, { room, hasKey }: State): string[] => {
    const go = (from: number, to: number) => wayTo(row, from, to)!.map((way) => `go ${way}`);
    if (hasKey) return [...go(room, row.chest), 'open chest'];
    return [...go(room, row.key), 'take key', ...go(row.key, row.chest), 'open chest'];
  };
  const after = (row: TextGameRow, state: State, command: string): State & { readonly isOpen: boolean } => {
    const [, way] = /^\s*go (north|south|east|west)\s*$/i.exec(command) ?? [];
    const room = way === undefined ? state.room : (neighbour(row, state.room, way.toLowerCase() as Way) ?? state.room);
    const takes = /^\s*take key\s*$/i.test(command) && state.room === row.key;
    const isOpen = /^\s*open chest\s*$/i.test(command) && state.hasKey && state.room === row.chest;
    return { room, hasKey: state.hasKey || takes, isOpen };
  };

  return {
    name: 'text-game',
    settings: textGameOptions.settings(given),
    start(row) {
      let state: State = { room: row.start, hasKey: false };
      return {
        messages: [user(`${row.prompt}\n${look(row, state)}`)],
        step({ content }) {
          const { isOpen, ...next } = after(row, state, content);
          const isSame = !isOpen && next.room === state.room && next.hasKey === state.hasKey;
          state = next;
          const messages = [user(`${isSame ? 'Nothing happens. ' : ''}${look(row, state)}`)];
          return { messages, reward: (isOpen ? 1 : 0) - cost, done: isOpen };
        },
      };
    },
    rows: (count, seed) =>
      Array.from({ length: count }, (_, i) => {
        // A house whose rooms are not joined is drawn anew.
        for (let attempt = 0; ; attempt++) {
          const row = drawHouse(side, Key.fromSeed(seed).child(i).child(attempt));
          if (Array.from({ length: side * side }, (_, room) => wayTo(row, 0, room)).every(Boolean)) return row;
        }
      }),
    oracle: (row, messages) => {
      let state: State = { room: row.start, hasKey: false };
      for (const { role, content } of messages) if (role === 'assistant') state = after(row, state, content);
      return say(plan(row, state)[0]!);
    },
    best: (row) => 1 - cost * plan(row, { room: row.start, hasKey: false }).length,
  };
}

function drawHouse(side: number, key: Key): TextGameRow {
  const rooms = side * side;
  const pairs = Array.from({ length: rooms }, (_, room) => [
    ...(room % side < side - 1 ? [[room, room + 1] as const] : []),
    ...(room + side < rooms ? [[room, room + side] as const] : []),
  ]).flat();
  const draws = Array.from(key.uniformHost(3 + pairs.length));
  const prompt =
    'You are in a house. Find the key and open the chest. Say one command: go north, go south, go east, go west, take key, open chest.';
  return {
    prompt,
    start: below(draws[0]!, rooms),
    key: below(draws[1]!, rooms),
    chest: below(draws[2]!, rooms),
    walls: pairs.filter((_, i) => draws[3 + i]! < 0.25),
  };
}
