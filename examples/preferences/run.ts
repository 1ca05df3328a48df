/**
 * Every preference loss on pairs that a model makes itself: `npx tsx examples/preferences/run.ts [loss …]`. See
 * README.md.
 */
import { PosttrainError } from '@posttrain/interfaces';
import { drawPairs, judge, LOSSES, loadModel, sums, trainWith } from './preferences.js';

const named = process.argv.slice(2);
const unknown = named.find((name) => !LOSSES.includes(name as (typeof LOSSES)[number]));
if (unknown !== undefined) {
  throw new PosttrainError(
    'LOSS',
    `there is no loss "${unknown}" here; give some of ${LOSSES.join(', ')}, or nothing for all of them`,
  );
}

const model = await loadModel();
const heldOut = sums(64, 2);
const pairs = await drawPairs(model, sums(64, 1));
const before = await judge(model, heldOut);
const mean = before.margins.reduce((sum, margin) => sum + margin, 0) / before.margins.length;
console.log(
  `${pairs.length} pairs of 64 sums; before: accuracy ${before.accuracy.toFixed(3)}, margin ${mean.toFixed(2)}`,
);
for (const name of LOSSES) {
  if (named.length > 0 && !named.includes(name)) continue;
  const { after, gain, losses } = await trainWith(name, { model, pairs, heldOut, before });
  const [low, high] = gain.interval ?? [Number.NaN, Number.NaN];
  const grown = `margin grew by ${gain.difference.toFixed(2)} [${low.toFixed(2)}, ${high.toFixed(2)}]`;
  const fell = `loss ${losses[0]!.toFixed(3)} → ${losses.at(-1)!.toFixed(3)}`;
  console.log(`${name.padEnd(13)} ${fell.padEnd(24)} accuracy ${after.accuracy.toFixed(3)}  ${grown}`);
}
