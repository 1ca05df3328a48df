import type { Random } from '@posttrain/interfaces/random';
import { range, shareEqual } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';
import { assignments, evaluate, type Formula } from './formulas.js';

const NAMES = ['Ada', 'Ben', 'Cleo', 'Dan', 'Eve', 'Finn', 'Gus'];

/** Who can be what: a knight says what is true, a knave what is not. */
const solutions = (statements: readonly Formula[]): boolean[][] =>
  assignments(statements.length).filter((isKnight) =>
    statements.every((statement, i) => evaluate(statement, isKnight) === isKnight[i]),
  );

function statementOf(random: Random, people: number): Formula {
  const someone = (): Formula => {
    const one = random.integer(0, people - 1);
    return random.integer(0, 1) === 0 ? one : ['not', one];
  };
  return random.integer(0, 2) === 0 ? someone() : [random.pick(['and', 'or', 'xor', 'implies']), someone(), someone()];
}

function said(formula: Formula): string {
  if (typeof formula === 'number') return `${NAMES[formula]} is a knight`;
  if (formula[0] === 'not') return `${NAMES[formula[1] as number]} is a knave`;
  const [operator, left, right] = formula;
  if (operator === 'implies') return `if ${said(left)} then ${said(right)}`;
  if (operator === 'xor') return `either ${said(left)} or ${said(right)}, but not both`;
  return `${said(left)} ${operator} ${said(right)}`;
}

/**
 * Knights, who say what is true, and knaves, who do not: who is what. Each problem has one solution. An answer names every
 * person with "knight" or "knave" behind the name; one of three people right is a third of 0.9.
 */
export const knightsKnaves = reasoningTask({
  name: 'knights_knaves',
  attributes: { people: [2, 3, 5, 7] },
  make: (random, { people }) => {
    for (;;) {
      const statements = range(people).map(() => statementOf(random, people));
      const [solution, ...others] = solutions(statements);
      if (solution !== undefined && others.length === 0) return { statements, solution };
    }
  },
  question: ({ statements }) =>
    `Knights always tell the truth, knaves always lie. ${statements.map((one, i) => `${NAMES[i]} says: "${said(one)}".`).join(' ')} What is each of them? Answer as: Ada is a knight, Ben is a knave.`,
  answer: ({ solution }) => solution.map((one, i) => `${NAMES[i]} is a ${one ? 'knight' : 'knave'}`).join(', '),
  score: ({ solution }, answer) => {
    const claims = [...answer.matchAll(/\b(\w+) is an? (knight|knave)\b/gi)];
    const found = solution.map((_, i) => {
      const own = claims.filter(([, name]) => name!.toLowerCase() === NAMES[i]!.toLowerCase());
      return own.length === 1 ? own[0]![2]!.toLowerCase() === 'knight' : null;
    });
    const rest = answer.replaceAll(/\b\w+ is an? (knight|knave)\b/gi, '').replaceAll(/\band\b|[,.;\s]/g, '');
    if (claims.length !== solution.length || rest !== '') return 0;
    const share = shareEqual(found, solution);
    return share === 1 ? 1 : 0.9 * share;
  },
});
