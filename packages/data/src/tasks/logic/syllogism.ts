import { isYesNo, range, yesNo } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { assignments } from './formulas.js';

const TERMS = ['poets', 'pilots', 'bakers', 'judges', 'sailors', 'doctors'];
const KINDS = ['all', 'no', 'some', 'some not'] as const;

type Statement = { readonly kind: string; readonly subject: number; readonly object: number };

const text = ({ kind, subject, object }: Statement): string => {
  const [first, ...not] = kind.split(' ');
  return `${first} ${TERMS[subject]} are ${not.length > 0 ? 'not ' : ''}${TERMS[object]}`;
};

/** Whether a statement holds in a world: which kinds of people, by the terms that they are, there are in it. */
function holds({ kind, subject, object }: Statement, world: readonly (readonly boolean[])[]): boolean {
  const both = world.some((one) => one[subject] && one[object]);
  const only = world.some((one) => one[subject] && !one[object]);
  return kind === 'all' ? !only : kind === 'no' ? !both : kind === 'some' ? both : only;
}

/** In no world where the premises hold, and every term has somebody, does the conclusion fail: by looking at all worlds of three terms. */
function follows(premises: readonly Statement[], conclusion: Statement): boolean {
  const kinds = assignments(3);
  return assignments(kinds.length).every((present) => {
    const world = kinds.filter((_, i) => present[i]);
    const isFull = range(3).every((term) => world.some((one) => one[term]));
    return !isFull || !premises.every((one) => holds(one, world)) || holds(conclusion, world);
  });
}

/** Whether a conclusion follows from two premises about three kinds of people, of each of which there is somebody. */
export const syllogism = reasoningTask({
  name: 'syllogism',
  attributes: { kinds: [2, 3, 4, 4], inverted: [0, 0, 0, 1] },
  make: (random, { kinds, inverted }) => {
    const draw = (pair: readonly [number, number]): Statement => {
      const [subject, object] = random.integer(0, 1) === 0 ? pair : [pair[1], pair[0]];
      return { kind: random.pick(KINDS.slice(0, kinds)), subject, object };
    };
    const wanted = random.integer(0, 1) === 1;
    const premises = [draw([0, 1]), draw([1, 2])];
    const options = KINDS.slice(0, kinds).flatMap((kind) => [
      { kind, subject: 0, object: 2 },
      { kind, subject: 2, object: 0 },
    ]);
    const of = options.filter((one) => follows(premises, one) === wanted);
    return { premises, conclusion: random.pick(of.length > 0 ? of : options), isNegated: inverted === 1 };
  },
  question: ({ premises, conclusion, isNegated }) =>
    `There are ${TERMS.slice(0, 3).join(', ')}. We know that ${premises.map(text).join(', and that ')}. Does it ${isNegated ? 'fail to follow' : 'follow'} that ${text(conclusion)}? Yes or No.`,
  answer: ({ premises, conclusion, isNegated }) => yesNo(follows(premises, conclusion) !== isNegated),
  score: ({ premises, conclusion, isNegated }, answer) => isYesNo(answer, follows(premises, conclusion) !== isNegated),
});
