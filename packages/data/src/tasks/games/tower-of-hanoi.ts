import { range } from '../answers.js';
import { reasoningTask } from '../reasoning-task.js';

type Move = { readonly disk: number; readonly from: number; readonly to: number };

function moves(disks: number, from: number, to: number): Move[] {
  if (disks === 0) return [];
  const other = 6 - from - to;
  return [...moves(disks - 1, from, other), { disk: disks, from, to }, ...moves(disks - 1, other, to)];
}

/** The moves that take a tower from one of three pegs to another. As few as there can be score 1, more score 0.5. */
export const towerOfHanoi = reasoningTask({
  name: 'tower_of_hanoi',
  attributes: { disks: [1, 2, 3, 5] },
  make: (random, { disks }) => {
    const [from, to] = random.shuffled([1, 2, 3]);
    const names = random.shuffled([...'ABCDEFGHJK']).slice(0, disks);
    return { disks, from: from!, to: to!, names };
  },
  question: ({ disks, from, to, names }) =>
    `Tower of Hanoi: the disks ${names.join(', ')}, the smallest first, lie on peg ${from}. Take all ${disks} to peg ${to} in as few moves as can be, one disk at a time, never a larger on a smaller. Write one move a line: Move disk ${names[0]} from Peg ${from} to Peg ${to}`,
  answer: ({ disks, from, to, names }) =>
    moves(disks, from, to)
      .map((move) => `Move disk ${names[move.disk - 1]} from Peg ${move.from} to Peg ${move.to}`)
      .join('\n'),
  score: ({ disks, from, to, names }, answer) => {
    const pegs: number[][] = [[], [], []];
    pegs[from - 1] = range(disks).map((i) => disks - i);
    const lines = answer.split('\n').filter((line) => line.trim() !== '');
    for (const line of lines) {
      const [, name, start, end] = /^Move disk (\w) from Peg ([123]) to Peg ([123])$/i.exec(line.trim()) ?? [];
      if (name === undefined) return 0;
      const [source, target] = [pegs[Number(start) - 1]!, pegs[Number(end) - 1]!];
      const disk = source.at(-1);
      if (disk === undefined || names[disk - 1] !== name.toUpperCase() || (target.at(-1) ?? disks + 1) <= disk)
        return 0;
      target.push(source.pop()!);
    }
    if (pegs[to - 1]!.length !== disks) return 0;
    return lines.length === 2 ** disks - 1 ? 1 : 0.5;
  },
});
