import assert from 'node:assert/strict';
import type { LayerHooks } from '@posttrain/lm';
import type { AnyPreferenceLoss } from '../preference/lift-preference-loss.js';
import { trainPreferences } from '../training/dpo-trainer.js';
import { evaluatePreference, type ScriptedCompletion, type ScriptedPreference } from './evaluate-preference.js';
import { tinyPolicy } from './tiny-model.js';

/** Options of `testPreferenceLoss`. */
export interface TestPreferenceLossOptions {
  /**
   * Whether it is a function of differences alone: the same constant for the log-probability of all completions of a prompt changes
   * nothing. Checked either way. Default: true for pairs and rankings without a likelihood, false for all others.
   */
  readonly shiftInvariant?: boolean;
  /**
   * Whether it stops a gradient somewhere, so that it has another than differences say (WPO's weights, TDPO2). Checked either way.
   * Default false.
   */
  readonly stopsGradient?: boolean;
  /** Largest difference that counts as rounding. Default 1e-4, for float32; on `referenceEngine` 1e-6 is enough. */
  readonly tolerance?: number;
}

/** Log-ratios, best completion first; far enough apart for losses with a margin, and not for the gradient to vanish. */
const RATIOS = [
  [0.9, -0.7, -1.3],
  [0.4, 0.1, -0.6],
  [-0.2, -1.1, -1.9],
];
const LENGTHS = [3, 2, 4];
const TRL_METRICS = ['rewards/chosen', 'rewards/rejected', 'rewards/margins', 'logps/chosen', 'logps/rejected'];

/**
 * Registers the checks that every preference loss must pass, with the test function of any framework:
 * `testPreferenceLoss(it, myLoss())`. They run on the current engine.
 */
export function testPreferenceLoss(
  it: (name: string, body: () => Promise<void>) => void,
  loss: AnyPreferenceLoss,
  options: TestPreferenceLossOptions = {},
): void {
  const { kind = 'pairs' } = loss;
  const nll = loss.kind === 'unpaired' ? undefined : loss.nll;
  const { shiftInvariant = kind !== 'unpaired' && !nll, tolerance = 1e-4 } = options;
  const { stopsGradient = false } = options;
  const needsReference = loss.kind === 'unpaired' || loss.reference !== false;
  const isCoupled = loss.kind !== 'unpaired' && loss.kind !== 'ranked' && loss.coupled === true;
  const size = kind === 'ranked' ? 3 : 2;
  const check = (name: string, body: () => Promise<void>) => it(`${loss.name} ${name}`, body);

  /** Preferences whose completions have these log-ratios, by token where `lengths` differ. */
  const scripted = (
    ratios: readonly (readonly number[])[] = RATIOS,
    { lengths = LENGTHS, shift = 0, reference = 0 } = {},
  ): ScriptedPreference[] =>
    ratios.map((row, p) => ({
      completions: row.slice(0, size).map((ratio, i): ScriptedCompletion => {
        const length = lengths[(i + p) % lengths.length]!;
        const of = Array.from({ length }, (_, t) => -0.5 - 0.3 * ((t + p + i) % 3));
        return {
          logProbs: of.map((x, t) => x + (ratio / length) * (1 + 0.2 * (t - (length - 1) / 2)) + shift),
          reference: needsReference ? of.map((x) => x + reference * (i + 1)) : undefined,
        };
      }),
    }));
  const lossOf = async (preferences: readonly ScriptedPreference[]) =>
    (await evaluatePreference(loss, preferences)).loss;
  const close = (a: number, b: number, what: string, scale = 1) =>
    assert.ok(Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b)) * scale, `${what}: ${a}, not ${b}`);

  check('is lower where what is better is likelier', async () => {
    const lengths = [3];
    const [right, wrong] = [
      [1.2, 0, -1.2],
      [-1.2, 0, 1.2],
    ].map((row) => [size === 2 ? [row[0]!, row[2]!] : row]);
    const [low, high] = [await lossOf(scripted(right, { lengths })), await lossOf(scripted(wrong, { lengths }))];
    assert.ok(low < high, `the right order has the loss ${low}, the wrong one ${high}`);
  });

  check(stopsGradient ? 'stops a gradient' : 'has the gradient that differences say', async () => {
    const { gradient } = await evaluatePreference(loss, scripted());
    assert.ok(
      gradient.flat().some((slope) => Math.abs(slope) > tolerance),
      'there is no gradient',
    );
    const step = 1e-2;
    let largest = 0;
    for (const direction of [1, 2, 3]) {
      // Fixed numbers that look random: a wrong slope of any token shows in one of the directions.
      const way = (i: number, t: number) => Math.sin(12.9898 * (i + 1) * direction + 78.233 * (t + 1));
      const moved = async (by: number) => {
        let i = 0;
        const along = ({ completions }: ScriptedPreference) => ({
          completions: completions.map(({ logProbs, ...rest }) => {
            const at = i++;
            return { ...rest, logProbs: logProbs.map((x, t) => x + by * way(at, t)) };
          }),
        });
        return lossOf(scripted().map(along));
      };
      const rise = ((await moved(step)) - (await moved(-step))) / (2 * step);
      const slope = gradient.reduce((sum, row, i) => sum + row.reduce((all, g, t) => all + g * way(i, t), 0), 0);
      largest = Math.max(largest, Math.abs(slope - rise));
      // What a central difference with this step is wrong by.
      if (!stopsGradient) close(slope, rise, `the slope in direction ${direction}`, 10);
    }
    const problem = 'stopsGradient is true; it has the gradient that differences say';
    if (stopsGradient) assert.ok(largest > 10 * tolerance, problem);
  });

  const [verb, what] = shiftInvariant ? ['sees', 'only'] : ['sees more than', 'alone'];
  check(`${verb} differences between completions of a prompt ${what}`, async () => {
    const at = (shift: number) => lossOf(scripted(RATIOS, { lengths: [3], shift }));
    const change = Math.abs((await at(-0.4)) - (await at(0)));
    assert.equal(
      change < tolerance,
      shiftInvariant,
      `shiftInvariant is ${shiftInvariant}; a shift changes it by ${change}`,
    );
  });

  check(needsReference ? 'compares with the reference' : 'asks for no reference', async () => {
    if (!needsReference) return void (await lossOf(scripted()));
    const change = Math.abs((await lossOf(scripted(RATIOS, { reference: -0.3 }))) - (await lossOf(scripted())));
    assert.ok(change > tolerance, 'another reference changes nothing: say reference: false, and none is run');
  });

  check('depends neither on padding nor on the order of a step', async () => {
    const expected = await evaluatePreference(loss, scripted());
    const padded = isCoupled ? expected : await evaluatePreference(loss, scripted(), { width: 3, groups: 2 });
    close(padded.loss, expected.loss, 'the loss with padding');
    for (const [i, row] of expected.gradient.entries()) {
      for (const [t, slope] of row.entries()) close(padded.gradient[i]![t]!, slope, 'a gradient with padding');
    }
    for (const [name, value] of Object.entries(expected.metrics))
      close(padded.metrics[name]!, value, `${name} with padding`);
    close(await lossOf(scripted().reverse()), expected.loss, 'the loss in another order');
  });

  check('is finite at log-ratios of 50 and -50, of one token each, and logs the metrics of TRL', async () => {
    for (const isRight of [true, false]) {
      const completion = (i: number): ScriptedCompletion => {
        const isHigh = (i === 0) === isRight;
        return { logProbs: [isHigh ? -1 : -51], reference: needsReference ? [isHigh ? -51 : -1] : undefined };
      };
      const far = { completions: Array.from({ length: size }, (_, i) => completion(i)) };
      const { loss: value, gradient, metrics } = await evaluatePreference(loss, [far, scripted()[0]!]);
      const where = `with what is better ${isRight ? 'far likelier' : 'far unlikelier'} than under the reference`;
      assert.ok([value, ...gradient.flat()].every(Number.isFinite), `loss or gradient is not finite ${where}`);
      const accuracies = kind === 'unpaired' ? [] : ['rewards/accuracies'];
      for (const name of [...TRL_METRICS, ...accuracies]) {
        assert.ok(Number.isFinite(metrics[name]), `${name} is ${metrics[name]} ${where}`);
      }
    }
  });

  check('is the same however a step is split over micro-batches, and runs a reference only if it says so', async () => {
    const reference = { name: 'never run', parameters: {}, hooks: neverRun };
    if (needsReference) await assert.rejects(trained(loss, 4096, reference), /the reference was run/);
    const split = await trained(loss, 16);
    const whole = await trained(loss, 4096, needsReference ? undefined : reference);
    for (const name of ['loss', 'grad_norm', 'rewards/margins']) close(split[name]!, whole[name]!, name);
  });
}

const neverRun = (): LayerHooks => {
  throw new Error('the reference was run');
};

/** The metrics of one step of a tiny policy. */
async function trained(
  loss: AnyPreferenceLoss,
  maxTokensPerPass: number,
  reference?: { hooks: () => LayerHooks; name: string; parameters: object },
) {
  const letters = [...'abdefg'];
  const rows = letters.map((letter) => {
    const [prompt, chosen, rejected] = [`${letter}ab`, 'cc', letter.repeat(3)];
    const numbers = loss.kind === 'ranked' ? [] : (loss.columns ?? []).map((name) => [name, letter < 'd'] as const);
    const columns = Object.fromEntries(numbers);
    if (loss.kind === 'unpaired')
      return { prompt, completion: letter < 'd' ? chosen : rejected, label: letter < 'd', ...columns };
    if (loss.kind === 'ranked') return { prompt, completions: [rejected, chosen, `c${letter}`], scores: [0, 1, 0.5] };
    return { prompt, chosen, rejected, ...columns };
  });
  const { history } = await trainPreferences({
    ...{
      model: await tinyPolicy(),
      rows: rows as never,
      loss,
      batchSize: rows.length,
      maxTokensPerPass,
      learningRate: 1e-3,
    },
    ...(reference && { reference }),
  });
  return history[0]!.metrics;
}
