import { jsonOf } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';

/** What is in the jugs after a move; `null` for one that there is not. */
function moved(state: readonly number[], capacities: readonly number[], move: string): number[] | null {
  const [, verb, first, second] = /^(fill|empty|pour) ([A-E])(?:->([A-E]))?$/.exec(move) ?? [];
  const a = (first ?? 'Z').charCodeAt(0) - 65;
  if (a >= capacities.length || (verb === 'pour') !== (second !== undefined)) return null;
  const next = [...state];
  if (verb === 'fill') next[a] = capacities[a]!;
  else if (verb === 'empty') next[a] = 0;
  else {
    const b = second!.charCodeAt(0) - 65;
    if (b >= capacities.length || a === b) return null;
    const amount = Math.min(state[a]!, capacities[b]! - state[b]!);
    next[a]! -= amount;
    next[b]! += amount;
  }
  return next;
}

/** The fewest moves until some jug has the target, breadth first; `null` where it cannot be. */
function fewest(capacities: readonly number[], target: number): string[] | null {
  const names = capacities.map((_, i) => String.fromCharCode(65 + i));
  const all = names.flatMap((a) => [
    `fill ${a}`,
    `empty ${a}`,
    ...names.filter((b) => b !== a).map((b) => `pour ${a}->${b}`),
  ]);
  const seen = new Set<string>();
  let frontier: { state: number[]; path: string[] }[] = [{ state: capacities.map(() => 0), path: [] }];
  while (frontier.length > 0) {
    const done = frontier.find(({ state }) => state.includes(target));
    if (done !== undefined) return done.path;
    frontier = frontier.flatMap(({ state, path }) =>
      all.flatMap((move) => {
        const next = moved(state, capacities, move)!;
        if (seen.has(next.join())) return [];
        seen.add(next.join());
        return [{ state: next, path: [...path, move] }];
      }),
    );
  }
  return null;
}

/** Jugs to be filled, emptied and poured until one has so much, as a JSON list of moves; any list that does it is right. */
export const jugs = reasoningTask({
  name: 'jugs',
  attributes: { jugs: [2, 2, 3, 4], capacity: [4, 7, 10, 15] },
  make: (random, { jugs, capacity }) => {
    for (;;) {
      const capacities = Array.from({ length: jugs }, () => random.integer(2, capacity));
      const target = random.integer(1, Math.max(...capacities));
      if (capacities.includes(target)) continue;
      const solution = fewest(capacities, target);
      if (solution !== null) return { capacities, target, solution };
    }
  },
  question: ({ capacities, target }) =>
    `Empty jugs hold ${capacities.map((one, i) => `${String.fromCharCode(65 + i)}: ${one}`).join(', ')} litres. Moves are "fill A", "empty A" and "pour A->B". Which moves leave exactly ${target} litres in one of them? Answer with a JSON list of texts.`,
  answer: ({ solution }) => JSON.stringify(solution),
  score: ({ capacities, target }, answer) => {
    const list = jsonOf(answer);
    if (!Array.isArray(list)) return 0;
    let state: number[] | null = capacities.map(() => 0);
    for (const move of list as unknown[])
      if (state !== null) state = typeof move === 'string' ? moved(state, capacities, move) : null;
    return state?.includes(target) ?? false;
  },
  key: ({ capacities, target }) => `${capacities.toSorted((a, b) => a - b)} ${target}`,
});
