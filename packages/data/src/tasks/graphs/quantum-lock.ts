import { range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';

type Button = { readonly name: string; readonly type: string; readonly value: number; readonly active: string };
type State = { readonly value: number; readonly isRed: boolean };

function pressed({ value, isRed }: State, button: Button): State {
  const isActive = button.active === 'any' || (button.active === 'red') === isRed;
  const by = button.value;
  const next = button.type === 'add' ? value + by : button.type === 'subtract' ? value - by : value * by;
  return { value: isActive ? next : value, isRed: !isRed };
}

/** Every state that so many presses or fewer lead to, with the first way there. */
function reach(buttons: readonly Button[], steps: number): Map<string, string[]> {
  const found = new Map<string, string[]>([['0 true', []]]);
  let frontier: { state: State; path: string[] }[] = [{ state: { value: 0, isRed: true }, path: [] }];
  for (const _ of range(steps)) {
    frontier = frontier.flatMap(({ state, path }) =>
      buttons.flatMap((button) => {
        const next = pressed(state, button);
        const name = `${next.value} ${next.isRed}`;
        if (found.has(name) || Math.abs(next.value) > 10_000) return [];
        found.set(name, [...path, button.name]);
        return [{ state: next, path: found.get(name)! }];
      }),
    );
  }
  return found;
}

/** Buttons that change a number, some of them in one colour of a light only, which every press switches. The fewest presses score 1, more 0.5. */
export const quantumLock = reasoningTask({
  name: 'quantum_lock',
  attributes: { buttons: [2, 3, 3, 4], presses: [2, 3, 5, 7] },
  make: (random, { buttons: count, presses }) => {
    for (;;) {
      const buttons = range(count).map((i) => ({
        name: String.fromCharCode(65 + i),
        type: random.pick(['add', 'subtract', 'multiply']),
        value: random.integer(2, 5),
        active: random.pick(['any', 'red', 'green']),
      }));
      const ways = reach(buttons, presses);
      const isBest = (path: readonly string[], value: string) =>
        path.length === presses &&
        (ways.get(`${value} true`) ?? path).length >= presses &&
        (ways.get(`${value} false`) ?? path).length >= presses;
      const targets = [...ways].filter(([state, path]) => isBest(path, state.split(' ')[0]!));
      if (targets.length === 0) continue;
      const [state, solution] = random.pick(targets);
      return { buttons, target: Number(state.split(' ')[0]), solution };
    }
  },
  question: ({ buttons, target }) =>
    `A number starts at 0 and a light at red; every press switches the light between red and green. A button works only while the light has its colour. ${buttons.map(({ name, type, value, active }) => `${name}: ${type} ${value} (${active})`).join('; ')}. Which are the fewest presses to ${target}, as A → B → C?`,
  answer: ({ solution }) => solution.join(' → '),
  score: ({ buttons, target, solution }, answer) => {
    const names = answer.split(/\s*(?:→|->|,)\s*/);
    let state: State = { value: 0, isRed: true };
    for (const name of names) {
      const button = buttons.find((one) => one.name === name);
      if (button === undefined) return 0;
      state = pressed(state, button);
    }
    if (state.value !== target) return 0;
    return names.length <= solution.length ? 1 : 0.5;
  },
});
